"""Local accounts: passwords under Argon2id (RFC 9106: 64 MiB, 3 passes, 4 lanes), lock-out with
back-off, a list of breached ones.

Whether a name exists cannot be told from the answer or from the time it takes.
"""

import datetime
import hashlib
import os
from functools import cache
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa
from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from casemate.controls.access.identity.principals import Directory
from casemate.controls.access.identity.registered import touch
from casemate.core.errors import AccessDenied, ConfigError
from casemate.core.store import METADATA, explained

# NIST SP 800-63B-3, 5.1.1.2, wants at least 8 and room for 64; the upper end bounds what
# strangers have hashed
LEAST, MOST = 12, 256
# slips of the fingers; SP 800-63B-3, 5.2.2, allows a hundred
FREE_FAILURES = 5
FIRST_LOCK, LONGEST_LOCK = 30.0, 3600.0
"""Seconds after the fifth wrong password; doubled with each further one."""
COST = {"iterations": 3, "lanes": 4, "memory_cost": 1 << 16}
"""Of a new password's Argon2id: RFC 9106's choice where memory is scarce, in KiB. A stored one says
its own.
"""
ACCOUNTS = sa.Table(
    "account",
    METADATA,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("password", sa.String, nullable=False),
    sa.Column("changed", sa.String, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("locked", sa.String),
    info=explained(apart=("failures", "locked")),
)


def _derive(password: str) -> str:
    kdf = Argon2id(
        salt=os.urandom(16),
        length=32,
        iterations=COST["iterations"],
        lanes=COST["lanes"],
        memory_cost=COST["memory_cost"],
    )
    return kdf.derive_phc_encoded(password.encode())


@cache
def _nobody() -> str:
    return _derive("a password that nobody has")


def _same(password: str, stored: str) -> bool:
    try:
        Argon2id.verify_phc_encoded(password.encode(), stored)
    except InvalidKey:
        return False
    return True


def check(password: str, name: str, breached: Path | None) -> None:
    """Refuse a password that is too short, too long, the name itself, or in the list of breached
    ones.

    Args:
        password: the new one.
        name: whose.
        breached: a file as Have I Been Pwned offers it: lines `SHA1:COUNT` (or `SHA1`) in order of
            the upper-case hashes.

    Raises:
        ConfigError: take another one; or the list cannot be read.
    """
    if not LEAST <= len(password) <= MOST:
        raise ConfigError(
            f"a password has {LEAST} to {MOST} characters",
            hint="several words are easier to keep in mind than signs",
        )
    if name.lower() in password.lower() or len(set(password)) < 5:
        raise ConfigError(
            "the password is too easy to guess",
            hint="several words that have nothing to do with each other",
        )
    if breached is not None and _listed(
        breached,
        hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper().encode(),
    ):
        raise ConfigError("the password was published in a breach", hint="take another one")


def _listed(path: Path, digest: bytes) -> bool:
    """Binary search by byte position in a sorted file of any size."""
    try:
        with path.open("rb") as file:
            low, high = 0, file.seek(0, os.SEEK_END)
            while low < high:
                middle = (low + high) // 2
                file.seek(middle)
                if middle:
                    file.readline(200)
                line = file.readline(200)
                if not line or line[:40] > digest:
                    high = middle
                elif line[:40] == digest:
                    return True
                else:
                    low = middle + 1
            file.seek(0)
            return file.readline(200)[:40] == digest
    except OSError as error:
        raise ConfigError(
            f"[access] breached: {path} cannot be read",
            hint="name the file, or leave the option out",
        ) from error


class AccountRow(NamedTuple):
    """What is known of a person's password beside what is kept of it."""

    changed: str
    """When it was set, RFC 3339 in UTC."""
    locked: str | None
    """Until when no password is taken, after too many wrong ones."""


class Accounts:
    """Sets and checks passwords."""

    def __init__(self, directory: Directory, breached: Path | None = None) -> None:
        self.directory = directory
        self.store, self.clock = directory.store, directory.clock
        self.breached = breached

    def set(self, tx: sa.Connection, name: str, derived: str) -> None:
        """Give a person the password behind `derived` (from `derive`); earlier failures are
        forgotten.
        """
        tx.execute(ACCOUNTS.delete().where(ACCOUNTS.c.name == name))
        tx.execute(
            ACCOUNTS.insert().values(
                name=name,
                password=derived,
                changed=self.clock.now().isoformat(),
                failures=0,
                locked=None,
            )
        )
        touch(tx)

    def derive(self, name: str, password: str) -> str:
        """What is stored of a password, after checking it; slow by intention, so done outside of
        transactions.
        """
        check(password, name, self.breached)
        return _derive(password)

    def verify(self, name: str, password: str) -> None:
        """Check a password; AccessDenied, with one text for every reason, when it is wrong, unknown
        or locked.

        The answer during a lock-out is the same for the right password.
        """
        stored = self._try(name, self.clock.now())
        right = _same(password[: MOST + 1], stored or _nobody())
        if stored is None or not right:
            raise AccessDenied(
                "wrong name or password, or too many tries",
                hint="wait, or ask the project's owner to set a new password",
            )
        with self.store.transaction() as tx:
            tx.execute(
                ACCOUNTS.update().where(ACCOUNTS.c.name == name).values(failures=0, locked=None)
            )

    def _try(self, name: str, now: datetime.datetime) -> str | None:
        """The stored password if one more try is free; it counts as wrong before it is looked at,
        so that tries side by side count too.
        """
        with self.store.transaction() as tx:
            row = tx.execute(sa.select(ACCOUNTS).where(ACCOUNTS.c.name == name)).first()
            if row is None or (
                row.locked is not None and now < datetime.datetime.fromisoformat(row.locked)
            ):
                return None
            failures = row.failures + 1
            seconds = min(LONGEST_LOCK, FIRST_LOCK * 2.0 ** min(failures - FREE_FAILURES, 16))
            locked = (
                (now + datetime.timedelta(seconds=seconds)).isoformat()
                if failures >= FREE_FAILURES
                else None
            )
            tx.execute(
                ACCOUNTS.update()
                .where(ACCOUNTS.c.name == name)
                .values(failures=failures, locked=locked)
            )
            return str(row.password)

    def known(self) -> dict[str, AccountRow]:
        """Per person with a password: when it was changed, and until when the account is locked."""
        with self.store.reading() as tx:
            rows = tx.execute(
                sa.select(ACCOUNTS.c.name, ACCOUNTS.c.changed, ACCOUNTS.c.locked)
            ).all()
        return {row.name: AccountRow(row.changed, row.locked) for row in rows}
