"""The register of issued certificates: short-lived, renewed at two thirds of their life, revoked at
once.

Servers ask `revoked` before every request; the same list leaves as an X.509 CRL (RFC 5280, section
5) for other people's.
"""

import datetime
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from casemate.core.clock import Clock
from casemate.core.errors import ConfigError, RefusedError, VerificationError
from casemate.core.files import (
    DRAFT,
    exchange,
    fsync_folder,
    fsync_tree,
    make_folder,
    remove_tree,
    write_atomic,
)
from casemate.core.store import METADATA, Store, explained

if TYPE_CHECKING:  # whoever only asks what is revoked waits for no X.509
    from cryptography import x509

    from casemate.controls.keys.pki import Algorithm, Authority, Kind

CERTIFICATES = sa.Table(
    "certificate",
    METADATA,
    sa.Column("serial", sa.String, primary_key=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("names", sa.JSON, nullable=False),
    sa.Column("algorithm", sa.String, nullable=False),
    sa.Column("issued", sa.String, nullable=False),
    sa.Column("until", sa.String, nullable=False),
    sa.Column("revoked", sa.String),
    info=explained(),
)
# a day below 398, beyond which browsers refuse a server's certificate since 2020
MAX_DAYS = 397
CHAIN, KEY, AUTHORITY = "cert.pem", "key.pem", "ca.pem"


class Certificates:
    """Issues, renews, lists and revokes."""

    def __init__(self, store: Store, authority: "Authority", clock: Clock) -> None:
        self.store = store
        self.authority = authority
        self.clock = clock

    def issue(
        self, tx: sa.Connection, kind: "Kind", names: list[str], days: int, algorithm: "Algorithm"
    ) -> tuple[str, bytes, bytes]:
        """(serial, certificate chain PEM, private key PEM), within a write transaction.

        Args:
            tx: takes the register's row.
            kind: `server`, `client` or `node` (both).
            names: DNS names and addresses of a server or node; a client's name.
            days: how long it is valid, 1 to 397.
            algorithm: `p256` or `mldsa65`.

        Raises:
            ConfigError: a name or the time is impossible.
        """
        if not 1 <= days <= MAX_DAYS:
            raise ConfigError(
                f"a certificate is valid for 1 to {MAX_DAYS} days",
                hint="short-lived ones are renewed by `casemate keys certificate renew`",
            )
        if not names or any(
            not name or len(name) > 253 or not name.isprintable() or " " in name for name in names
        ):
            raise ConfigError(
                f"these cannot be names in a certificate: {names}",
                hint="DNS names, addresses, or one client name",
            )
        try:
            chain, key = self.authority.issue(kind, names, days, algorithm)
        except ValueError as error:
            raise ConfigError(
                f"these cannot be names in a certificate: {names} ({error})",
                hint="other alphabets in their ASCII form, such as xn--…",
            ) from error
        from cryptography.x509 import load_pem_x509_certificate

        certificate = load_pem_x509_certificate(chain)
        serial = format(certificate.serial_number, "x")
        until = certificate.not_valid_after_utc.isoformat()
        row = {
            "serial": serial,
            "kind": kind,
            "names": names,
            "algorithm": algorithm,
            "issued": self.clock.now().isoformat(),
            "until": until,
        }
        tx.execute(CERTIFICATES.insert().values(**row))
        return serial, chain, key

    def list(self) -> list[dict[str, object]]:
        """Every certificate, newest first."""
        with self.store.reading() as tx:
            return [
                dict(row)
                for row in tx.execute(
                    sa.select(CERTIFICATES).order_by(CERTIFICATES.c.issued.desc())
                ).mappings()
            ]

    def revoke(self, tx: sa.Connection, serial: str) -> None:
        """Make a certificate useless; ConfigError when there is none with this serial number, or it
        is revoked already.
        """
        live = (CERTIFICATES.c.serial == serial, CERTIFICATES.c.revoked.is_(None))
        if (
            tx.execute(
                CERTIFICATES.update().where(*live).values(revoked=self.clock.now().isoformat())
            ).rowcount
            != 1
        ):
            raise ConfigError(
                f"no valid certificate has the serial number {serial!r}",
                hint="`casemate keys certificate list`",
            )

    def revoked(self) -> frozenset[int]:
        """Serial numbers of revoked certificates."""
        with self.store.reading() as tx:
            rows = tx.execute(
                sa.select(CERTIFICATES.c.serial).where(CERTIFICATES.c.revoked.is_not(None))
            ).scalars()
            return frozenset(int(serial, 16) for serial in rows)

    def crl(self) -> bytes:
        """The revocation list as PEM, valid for a day."""
        revoked = [
            (int(str(row["serial"]), 16), str(row["revoked"]))
            for row in self.list()
            if row["revoked"]
        ]
        return self.authority.crl(
            [(serial, datetime.datetime.fromisoformat(when)) for serial, when in revoked]
        )


def write(
    folder: Path, chain: bytes, key: bytes, authority: bytes, *, replace: bool = False
) -> None:
    """Write `cert.pem`, `key.pem` (0600) and `ca.pem` as `folder`, whole or not at all.

    Raises:
        ConfigError: it exists already and is not to be replaced.
    """
    if folder.exists() and not replace:
        raise ConfigError(f"{folder} exists already", hint="name a new folder, or renew it")
    parent = make_folder(folder.absolute().parent, 0o755)
    draft = Path(tempfile.mkdtemp(dir=parent, prefix=DRAFT))
    try:
        for name, content, mode in (
            (CHAIN, chain, 0o644),
            (KEY, key, 0o600),
            (AUTHORITY, authority, 0o644),
        ):
            write_atomic(draft / name, content, mode=mode)
        fsync_tree(draft)
        if replace:
            exchange(draft, folder)
            remove_tree(draft)
        else:
            draft.rename(folder)
    except BaseException:
        remove_tree(draft)
        raise
    fsync_folder(parent)


def due(
    folder: Path, now: datetime.datetime, authority: "Authority"
) -> tuple["x509.Certificate", bool]:
    """(certificate in `folder`, whether two thirds of its life are over); whoever renews it must
    hold its key.

    Raises:
        ConfigError: there is none, or not its key. VerificationError: `authority` did not sign it.
        RefusedError: it has expired: only `issue` gives a new one.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.x509 import load_pem_x509_certificate

    try:
        certificate = load_pem_x509_certificate((folder / CHAIN).read_bytes())
        key = serialization.load_pem_private_key((folder / KEY).read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"{folder} holds no certificate with its key",
            hint="`casemate keys certificate issue` writes such a folder",
        ) from error
    try:
        certificate.verify_directly_issued_by(authority.certificate)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise VerificationError(
            f"the certificate in {folder} is not of this project", hint="treat it as forged"
        ) from error
    if key.public_key() != certificate.public_key():
        raise ConfigError(
            f"the key in {folder} is not the certificate's", hint="renew it where it was issued"
        )
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now >= end:
        raise RefusedError(
            "the certificate has expired", hint="`casemate keys certificate issue` makes a new one"
        )
    return certificate, now >= begin + (end - begin) * 2 / 3
