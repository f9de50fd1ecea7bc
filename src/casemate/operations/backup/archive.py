"""What a backup's files hold, and reading them to their authenticated end."""

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import msgspec

from casemate.controls.keys import sealedfile
from casemate.controls.keys.sealedfile import CHUNK, Kind, Opener
from casemate.core.errors import VerificationError
from casemate.core.types import Record
from casemate.wiring import Wiring

MANIFEST = "MANIFEST.json"


class Contents(Record, frozen=True, kw_only=True):
    """What a backup holds."""

    project: str
    """Project id."""
    created: str
    """When, RFC 3339 in UTC."""
    entries: int
    """Entries of the audit log in it."""
    files: dict[str, str]
    """SHA-256 of every file, by name."""
    size: int
    """Bytes before encryption."""


def about(project: Wiring) -> str:
    """The project's name in the log."""
    return f'Project::"{project.config.project.id}"'


def keys_of(target: Path) -> Path:
    """The file beside a backup that holds the key store."""
    return target.with_name(target.name + ".keys")


def subjects_of(target: Path) -> Path:
    """The file beside a backup that holds the subjects' keys."""
    return target.with_name(target.name + ".subjects")


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Append a file to an archive."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o600
    tar.addfile(member, io.BytesIO(content))


def members(
    path: Path, kind: Kind, opener: Opener, opened: Callable[[str | None], None]
) -> Iterator[tuple[str, bytes]]:
    """(name, content) of every file in a sealed archive, which is read to its authenticated end."""
    with sealedfile.opening(path, kind, opener) as stream:
        opened(stream.recipient)
        try:
            with tarfile.open(fileobj=stream, mode="r|") as tar:  # type: ignore[call-overload]
                for member in tar:
                    extracted = tar.extractfile(member)
                    if extracted is None or not _inside(member.name):
                        raise VerificationError(
                            f"the backup holds {member.name!r}, which is no plain file",
                            hint="do not use it",
                        )
                    yield member.name, extracted.read()
        except tarfile.TarError as error:
            raise VerificationError(
                f"{path} {sealedfile.CHANGED}", hint="try another copy of it"
            ) from error
        while stream.read(CHUNK):
            continue  # to the authenticated end


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return (
        not path.is_absolute()
        and ".." not in path.parts
        and (name == MANIFEST or path.parts[0] in {"project", "keys"})
    )


def read(
    path: Path,
    opener: Opener,
    take: Callable[[str, bytes], None] = lambda _name, _content: None,
    opened: Callable[[str | None], None] = lambda _recipient: None,
) -> Contents:
    """Read a backup to its end, give every file to `take`, and check all of them against the
    manifest.

    Args:
        path: the backup.
        opener: what it is opened with.
        take: gets (name, content) of every file.
        opened: hears which recipient's key opened it; None for a backup of version 1.

    Raises:
        AccessDenied: it is sealed to others. VerificationError: it was changed or cut, or the
            passphrase is wrong.
    """
    digests: dict[str, str] = {}
    manifest: bytes | None = None
    for name, content in members(path, "data", opener, opened):
        if manifest is not None or name in digests:
            raise VerificationError(
                "the backup holds more than its manifest says", hint="do not use it"
            )
        if name == MANIFEST:
            manifest = content
        else:
            digests[name] = hashlib.sha256(content).hexdigest()
            take(name, content)
    if manifest is None:
        raise VerificationError(f"{path} ends before its manifest", hint="try another copy of it")
    contents = msgspec.json.decode(manifest, type=Contents)
    if contents.files != digests:
        raise VerificationError(f"{path}: a file does not match the manifest", hint="do not use it")
    return contents
