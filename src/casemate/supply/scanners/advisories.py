"""Snapshots of advisories: a zip file of OSV entries, as osv.dev gives one for each ecosystem, and
beside it a signed statement of its digest, age and size. What is old, damaged, cut off or not
signed by who should have signed it says nothing, and nothing said is no "none known".
"""

import datetime
import zipfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from casemate.core.digest import sha256_file
from casemate.core.errors import ConfigError, RefusedError, VerificationError
from casemate.core.files import write_atomic
from casemate.core.signatures import Signer, Verifier, read_envelope, subjects_of
from casemate.core.types import Record
from casemate.supply.scanners.osv import ECOSYSTEM, Advisory

PREDICATE = "https://casemate.dev/advisories/v1"
NAME = "advisories.zip"
"""Subject of the statement, and name of the file where a project keeps it."""
SIGNATURE = ".sig"
MOST_FILE = 2**30
MOST_ENTRIES = 500_000
MOST_ENTRY = 16 * 2**20
MOST_TOTAL = 8 * 2**30
"""Bytes and numbers of a snapshot, of one entry, and of all of them unpacked."""


class Snapshot(Record, frozen=True, kw_only=True):
    """What is signed of one."""

    ecosystem: str
    taken: str
    """When the youngest of its entries was changed, RFC 3339: it is no younger than that."""
    count: int
    """Entries."""
    sha256: str


def measured(path: Path) -> Snapshot:
    """What there is to be said of a zip file of OSV entries; each of them is read.

    Raises:
        ConfigError: it is none, too large, or an entry cannot be read.
    """
    newest, count, ours = "", 0, 0
    for advisory in entries(path):
        newest = max(newest, _moment(advisory.modified))
        count += 1
        ours += bool(advisory.packages())
    if not ours:
        raise ConfigError(
            f"{path} has no advisory about a package of {ECOSYSTEM}",
            hint="https://osv-vulnerabilities.storage.googleapis.com/PyPI/all.zip",
        )
    return Snapshot(ecosystem=ECOSYSTEM, taken=newest, count=count, sha256=sha256_file(path))


def entries(path: Path) -> Iterator[Advisory]:
    """Every advisory of a snapshot.

    Raises:
        ConfigError: it is none, too large, or an entry cannot be read.
    """
    try:
        if path.stat().st_size > MOST_FILE:
            raise ConfigError(f"{path} is larger than {MOST_FILE} bytes")
        with zipfile.ZipFile(path) as archive:
            inside = [one for one in archive.infolist() if not one.is_dir()]
            total = sum(one.file_size for one in inside)
            if len(inside) > MOST_ENTRIES or total > MOST_TOTAL:
                raise ConfigError(f"{path} holds {len(inside)} entries of {total} bytes: too much")
            for one in inside:
                if one.file_size > MOST_ENTRY:
                    raise ConfigError(f"{path}: {one.filename[:80]} is too large")
                yield msgspec.json.decode(archive.read(one), type=Advisory)
    except (
        zipfile.BadZipFile,
        msgspec.MsgspecError,
        ValueError,
        EOFError,
        RecursionError,
    ) as error:
        raise ConfigError(
            f"{path} is no snapshot of advisories: {error}", hint="get it again: it is incomplete"
        ) from error
    except (NotImplementedError, RuntimeError) as error:  # methods, encryption
        raise ConfigError(f"{path} cannot be unpacked: {error}") from error


def _moment(moment: datetime.datetime) -> str:
    """RFC 3339 in UTC, to the second."""
    if moment.tzinfo is None:
        raise ConfigError(f"an advisory was changed at {moment}, a time without a zone")
    return moment.astimezone(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def sign(path: Path, signer: Signer) -> Snapshot:
    """Write `PATH.sig` beside a snapshot; returns what is signed."""
    found = measured(path)
    statement = signer.sign_statement({NAME: found.sha256}, PREDICATE, msgspec.to_builtins(found))
    write_atomic(signature_of(path), statement, 0o644)
    return found


def signature_of(path: Path) -> Path:
    """Where the statement of a snapshot lies."""
    return path.with_name(path.name + SIGNATURE)


def verified(path: Path, verifier: Verifier) -> Snapshot:
    """What is signed of a snapshot, once signatures and digest were checked.

    Raises:
        VerificationError: it is not signed, by another one, or was changed.
    """
    try:
        statement = verifier.verify_statement(
            read_envelope(signature_of(path).read_bytes()), PREDICATE
        )
        said = msgspec.convert(statement["predicate"], Snapshot)
    except FileNotFoundError as error:
        raise VerificationError(
            f"the snapshot is not signed: no file *{SIGNATURE} lies beside it",
            hint="casemate scan advisories sign, by whoever fetched it",
        ) from error
    except msgspec.ValidationError as error:
        raise VerificationError("the statement says nothing of a snapshot") from error
    digest = sha256_file(path)
    if subjects_of(statement) != {NAME: digest} or said.sha256 != digest:
        raise VerificationError(
            "the snapshot is not what was signed", hint="get both files again from who signed them"
        )
    return said


def require_young(snapshot: Snapshot, now: datetime.datetime, days: int) -> None:
    """RefusedError when a snapshot is too old, or younger than now."""
    taken = datetime.datetime.fromisoformat(snapshot.taken)
    if taken > now + datetime.timedelta(days=1):
        raise RefusedError(
            f"the snapshot of advisories says that it is of {snapshot.taken}, which is to come",
            hint="see this machine's clock",
        )
    if now - taken > datetime.timedelta(days=days):
        raise RefusedError(
            f"the snapshot of advisories is of {snapshot.taken[:10]}, older than {days} days",
            hint="casemate scan advisories import FILE",
        )
