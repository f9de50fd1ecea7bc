"""Second factors: time-based codes (RFC 6238) and recovery codes.

A time-based code counts once, within one step of now, compared in constant time; five wrong ones in
a minute close the factor for that minute. Its secret is wrapped by the key provider. Recovery codes
are 80 random bits each, stored hashed, good once.
"""

import base64
import hmac
import secrets
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from casemate.controls.access.identity.principals import Directory
from casemate.controls.access.identity.registered import FACTORS, touch
from casemate.controls.access.identity.tokens import hashed
from casemate.controls.keys.interface import KeyProvider
from casemate.core.errors import AccessDenied, ConfigError
from casemate.core.store import METADATA

# RFC 6238, 5.2, and what every app assumes
STEP = 30
# RFC 4226, 5.3: at least six; each try guesses one code in a million, three are valid at a time
DIGITS = 6
# a judgement: people mistype; who guesses patiently meets the limit of a day
TRIES, WINDOW = 5, 60.0
DAILY, DAY = 50, 86400.0
"""Wrong codes in a day; more close the factor until they are older. Recovery codes still count."""
RECOVERY_CODES = 10
KEK = "identity"
CHALLENGES = sa.Table(
    "challenge",
    METADATA,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("purpose", sa.String, primary_key=True),
    sa.Column("value", sa.LargeBinary, nullable=False),
    sa.Column("until", sa.String, nullable=False),
)
DENIED = "the code is wrong, was used already, or there were too many tries"


def codes_at(secret: bytes, step: int) -> list[tuple[int, str]]:
    """(step, code) of the step before, the step itself and the one after."""
    generator = TOTP(secret, DIGITS, SHA1(), STEP, enforce_key_length=False)  # noqa: S303 - what RFC 6238 and every app use
    return [
        (number, generator.generate(number * STEP).decode())
        for number in (step - 1, step, step + 1)
        if number >= 0
    ]


class Factors:
    """Enrols people's second factors and checks what they answer with."""

    def __init__(self, directory: Directory, keys: KeyProvider) -> None:
        self.directory = directory
        self.store, self.clock = directory.store, directory.clock
        self.keys = keys

    def enrol(self, name: str) -> tuple[str, str, bytes]:
        """(factor id, secret in base32, wrapped secret) of a new time-based factor; `add` stores
        it, `confirm` makes it count.
        """
        secret = secrets.token_bytes(20)  # 160 bits, as RFC 4226 recommends in section 4
        return (
            secrets.token_hex(4),
            base64.b32encode(secret).decode(),
            self.keys.wrap(KEK, secret, f"factor of {name}"),
        )

    def add(self, tx: sa.Connection, name: str, identifier: str, wrapped: bytes) -> None:
        """Store a factor that does not count yet; an unconfirmed one of the same person is
        forgotten.
        """
        tx.execute(
            FACTORS.delete().where(
                FACTORS.c.name == name, FACTORS.c.kind == "totp", FACTORS.c.confirmed.is_(None)
            )
        )
        tx.execute(
            FACTORS.insert().values(
                id=identifier,
                name=name,
                kind="totp",
                secret=wrapped,
                counter=-1,
                confirmed=None,
                tries=[],
            )
        )

    def confirm(self, name: str, code: str) -> list[str]:
        """Let the newest unconfirmed factor count from now on; returns new recovery codes, shown
        once.

        Raises:
            ConfigError: nothing waits for a confirmation. AccessDenied: the code is wrong.
        """
        with self.store.reading() as tx:
            waiting = sa.select(FACTORS).where(
                FACTORS.c.name == name, FACTORS.c.kind == "totp", FACTORS.c.confirmed.is_(None)
            )
            row = tx.execute(waiting).first()
        if row is None:
            raise ConfigError(
                "no factor waits for its first code", hint="casemate access factor add totp"
            )
        if not self._accept(row, code):
            raise AccessDenied(
                DENIED,
                hint=(
                    "wait for the next code; see that clock and time zone of both devices are right"
                ),
            )
        now = self.clock.now().isoformat()
        with self.store.transaction() as tx:
            older = (
                FACTORS.c.name == name,
                FACTORS.c.id != row.id,
                FACTORS.c.kind.in_(("totp", "recovery")),
            )
            tx.execute(FACTORS.delete().where(*older))
            tx.execute(FACTORS.update().where(FACTORS.c.id == row.id).values(confirmed=now))
            codes = recovery_codes(tx, name, now)
            touch(tx)
        return codes

    def verify(self, name: str, code: str) -> str:
        """Which kind of factor the code proves, `totp` or `recovery`; it is used up. AccessDenied,
        with one text, otherwise.
        """
        given = "".join(code.split()).replace("-", "").lower()[:64]
        with self.store.reading() as tx:
            rows = tx.execute(
                sa.select(FACTORS).where(FACTORS.c.name == name, FACTORS.c.confirmed.is_not(None))
            ).all()
        for row in rows:
            if row.kind == "totp" and self._accept(row, given):
                return "totp"
        if self._use_recovery(rows, given):
            return "recovery"
        raise AccessDenied(DENIED, hint="wait for the next code, or use a recovery code")

    def _accept(self, row: sa.Row[Any], code: str) -> bool:
        now = self.clock.now()
        step = int(now.timestamp()) // STEP
        secret = self.keys.unwrap(KEK, row.secret, f"factor of {row.name}")
        matching = -1
        for number, expected in codes_at(secret, step):  # all three are compared, whatever matches
            if hmac.compare_digest(expected.encode(), code.encode()):
                matching = number
        with self.store.transaction() as tx:
            # What counts is read under the write lock: of two logins with one code, one comes too
            # late.
            current = tx.execute(
                sa.select(FACTORS.c.counter, FACTORS.c.tries).where(FACTORS.c.id == row.id)
            ).first()
            if current is None:
                return False
            tries = [moment for moment in current.tries if 0 <= now.timestamp() - moment < DAY]
            if (
                len(tries) >= DAILY
                or sum(now.timestamp() - moment < WINDOW for moment in tries) >= TRIES
            ):
                return False
            good = bool(matching > current.counter)  # once only: RFC 6238, 5.2
            values = (
                {"counter": matching, "tries": []} if good else {"tries": [*tries, now.timestamp()]}
            )
            tx.execute(FACTORS.update().where(FACTORS.c.id == row.id).values(**values))
        return good

    def _use_recovery(self, rows: Sequence[sa.Row[Any]], code: str) -> bool:
        digest = hashed(code, "recovery")
        found = [
            row.id
            for row in rows
            if row.kind == "recovery" and hmac.compare_digest(row.secret, digest)
        ]
        if not found:
            return False
        with self.store.transaction() as tx:
            return bool(tx.execute(FACTORS.delete().where(FACTORS.c.id == found[0])).rowcount)

    def kinds(self, name: str) -> dict[str, int]:
        """How many confirmed factors of each kind a person has."""
        with self.store.reading() as tx:
            rows = tx.execute(
                sa.select(FACTORS.c.kind).where(
                    FACTORS.c.name == name, FACTORS.c.confirmed.is_not(None)
                )
            ).all()
        kinds = [row.kind for row in rows]
        return {kind: kinds.count(kind) for kind in sorted(set(kinds))}

    def remove(self, tx: sa.Connection, name: str) -> int:
        """Forget all factors of a person; returns how many."""
        count = tx.execute(FACTORS.delete().where(FACTORS.c.name == name)).rowcount
        touch(tx)
        return count

    def wrapped(self, tx: sa.Connection) -> list[tuple[str, bytes]]:
        """(factor id, wrapped secret) of every time-based factor."""
        return [
            (row.id, row.secret)
            for row in tx.execute(sa.select(FACTORS).where(FACTORS.c.kind == "totp"))
        ]

    def replace(self, tx: sa.Connection, identifier: str, wrapped: bytes) -> None:
        """Keep the secret under another version of the key."""
        tx.execute(FACTORS.update().where(FACTORS.c.id == identifier).values(secret=wrapped))


def recovery_codes(tx: sa.Connection, name: str, now: str) -> list[str]:
    """New recovery codes of a person, stored hashed; what is returned is shown once."""
    codes = [
        base64.b32encode(secrets.token_bytes(10)).decode().lower() for _ in range(RECOVERY_CODES)
    ]
    for code in codes:
        values = {
            "id": secrets.token_hex(8),
            "name": name,
            "kind": "recovery",
            "secret": hashed(code, "recovery"),
        }
        tx.execute(FACTORS.insert().values(**values, counter=0, confirmed=now, tries=[]))
    return [f"{code[:4]}-{code[4:8]}-{code[8:12]}-{code[12:]}" for code in codes]


def uri(name: str, project: str, secret: str) -> str:
    """What an authenticator app reads from a QR code
    (https://github.com/google/google-authenticator/wiki/Key-Uri-Format).
    """
    return f"otpauth://totp/casemate:{quote(name)}%20({quote(project)})?secret={secret}&issuer=casemate&digits={DIGITS}&period={STEP}"
