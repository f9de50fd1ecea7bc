"""Copies of checkpoints outside the operator's reach: what makes a rollback or a rewritten history
visible.

A place is `file:FOLDER` (a mount that others control), `git:REPOSITORY` (a commit a checkpoint;
push it elsewhere with a hook) or `s3:BUCKET/PREFIX` (object lock in compliance mode: nobody can
delete a version before its time, and the first one of a name is the copy, whatever was laid over it
since). Names are the tree size with 20 digits, so that a copy is never replaced by another one of
the same size.
"""

import contextlib
import datetime
import os
import re
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from casemate.controls.audit.checkpoint import VerifiedCheckpoint, parse_head, verify_checkpoint
from casemate.controls.audit.note import parse_note
from casemate.core.blobs.client import REFUSED, client, sent
from casemate.core.errors import BackendError, ConfigError, HistoryError, TransientError
from casemate.core.files import write_atomic

GIT_SECONDS = 60
_NAME = re.compile(r"[0-9]{20}(-[0-9a-f]{16})?")
"""The tree size; of a fork that was met here, with the beginning of its root."""


class Copies(ABC):
    """One place that keeps checkpoints."""

    def __init__(self, where: str) -> None:
        self.where = where

    @abstractmethod
    def names(self) -> list[str]:
        """Names of the copies that are there, oldest first."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The bytes of one copy, by its name."""

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Add a copy under a name that is not there yet."""

    def put(self, checkpoint: bytes) -> None:
        """Keep `checkpoint`, unless this very head is kept already.

        Raises:
            HistoryError: another head of the same size is kept, which proves a fork; this one is
                kept beside it.
            BackendError: the place cannot be reached or written.
        """
        head = parse_head(parse_note(checkpoint))
        name = f"{head.size:020d}"
        if name in self.names():
            if parse_head(parse_note(self.read(name))) != head:
                self.put_beside(checkpoint)
                raise HistoryError(
                    f"{self.where} holds another checkpoint of {head.size} entries: a fork",
                    hint="keep both as proof",
                )
            return
        self.write(name, checkpoint)

    def put_beside(self, checkpoint: bytes) -> None:
        """Keep a head of another history than the one that is kept here: both are proof, and
        neither verifies beside the other.
        """
        head = parse_head(parse_note(checkpoint))
        name = f"{head.size:020d}-{head.root[:8].hex()}"
        if name not in self.names():
            self.write(name, checkpoint)

    def newest(self, vkeys: str) -> VerifiedCheckpoint | None:
        """The newest copy, verified; None when there is none. Of a fork the one that was here
        first.
        """
        names = [name for name in self.names() if name.isdigit()]
        return verify_checkpoint(self.read(names[-1]), vkeys) if names else None


class FileCopies(Copies):
    """Copies in a folder, such as one on another machine's disk."""

    def __init__(self, where: str, folder: Path) -> None:
        super().__init__(where)
        self.folder = folder

    def names(self) -> list[str]:
        """See `Copies.names`."""
        return (
            sorted(path.name for path in self.folder.iterdir() if _NAME.fullmatch(path.name))
            if self.folder.is_dir()
            else []
        )

    def read(self, name: str) -> bytes:
        """See `Copies.read`."""
        return (self.folder / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """See `Copies.write`."""
        try:
            write_atomic(self.folder / name, content, mode=0o444)
        except OSError as error:
            raise TransientError(
                f"{self.where} was not written: {error.strerror}",
                hint="see its permissions and free space",
            ) from error


class GitCopies(FileCopies):
    """A git repository's work tree; every copy is a commit."""

    def _git(self, *words: str) -> str:
        identity = [
            "-c",
            "user.name=casemate",
            "-c",
            "user.email=casemate@localhost",
            "-c",
            "commit.gpgsign=false",
            "-c",
            "core.hooksPath=/dev/null",
        ]
        environment = {
            name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ
        } | {"GIT_TERMINAL_PROMPT": "0"}
        try:
            done = subprocess.run(
                [  # noqa: S607 - the user's own git
                    "git",
                    *identity,
                    "-C",
                    str(self.folder),
                    *words,
                ],
                capture_output=True,
                text=True,
                timeout=GIT_SECONDS,
                env=environment,
                stdin=subprocess.DEVNULL,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise TransientError(f"git did not run: {error}", hint="install git") from error
        if done.returncode:
            raise TransientError(
                f"{self.where}: git {words[0]} failed: {done.stderr.strip()[:300]}",
                hint="see the repository",
            )
        return done.stdout

    def names(self) -> list[str]:
        """See `Copies.names`; what is committed, not what lies in the work tree."""
        if not (self.folder / ".git").exists():
            raise BackendError(f"{self.where} is no git repository", hint=f"git init {self.folder}")
        if not self._git("rev-list", "-n1", "--all"):
            return []
        return sorted(
            name
            for name in self._git("ls-tree", "--name-only", "HEAD").split()
            if _NAME.fullmatch(name)
        )

    def read(self, name: str) -> bytes:
        """See `Copies.read`."""
        return self._git("show", f"HEAD:{name}").encode()

    def write(self, name: str, content: bytes) -> None:
        """See `Copies.write`."""
        super().write(name, content)
        self._git("add", "--", name)
        self._git("commit", "--quiet", "-m", f"checkpoint {name.lstrip('0') or '0'}", "--", name)


class S3Copies(Copies):
    """A bucket with object lock; credentials come from the usual places of the AWS SDK."""

    def __init__(self, where: str, bucket: str, prefix: str, days: int) -> None:
        super().__init__(where)
        self._s3 = client()
        from botocore.exceptions import BotoCoreError, ClientError

        self._faults: tuple[type[Exception], ...] = (BotoCoreError, ClientError, OSError)
        self.bucket, self.prefix, self.days = bucket, prefix, days

    @contextlib.contextmanager
    def _asked(self) -> Iterator[None]:
        try:
            yield
        except self._faults as error:
            code = getattr(error, "response", {}).get("Error", {}).get("Code")
            lasting = code in REFUSED or code == "InvalidRequest"  # a lock where there is none
            raise (BackendError if lasting else TransientError)(
                f"{self.where}: {error}"[:500],
                hint="see the bucket, its object lock, and whether the credentials may"
                " ListBucketVersions, GetObjectVersion, PutObject and PutObjectRetention",
            ) from error

    def _first(self, begin: str = "") -> dict[str, str]:
        """Names that begin so, each with the version that was there first: a later one, or a
        deletion, takes nothing away from a copy.
        """
        found: dict[str, tuple[datetime.datetime, str]] = {}
        more: dict[str, str] = {}
        while True:
            with self._asked():
                page = self._s3.list_object_versions(
                    Bucket=self.bucket, Prefix=self.prefix + begin, **more
                )
            for one in page.get("Versions", []):  # the newest one of a name comes first
                name, time = one["Key"].removeprefix(self.prefix), one["LastModified"]
                if _NAME.fullmatch(name) and (name not in found or time <= found[name][0]):
                    found[name] = time, one["VersionId"]
            if not page.get("IsTruncated"):
                return {name: version for name, (_, version) in found.items()}
            more = {"KeyMarker": page["NextKeyMarker"]}
            if page.get("NextVersionIdMarker"):
                more["VersionIdMarker"] = page["NextVersionIdMarker"]

    def names(self) -> list[str]:
        """See `Copies.names`."""
        return sorted(self._first())

    def read(self, name: str) -> bytes:
        """See `Copies.read`."""
        version = self._first(name).get(name)
        if version is None:
            raise TransientError(f"{self.where} has no copy {name}", hint="see the bucket")
        with self._asked():
            answer = self._s3.get_object(
                Bucket=self.bucket, Key=self.prefix + name, VersionId=version
            )
            return bytes(answer["Body"].read())

    def write(self, name: str, content: bytes) -> None:
        """See `Copies.write`."""
        until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=self.days)
        lock = {
            "ObjectLockMode": "COMPLIANCE",
            "ObjectLockRetainUntilDate": until,
            "IfNoneMatch": "*",
        }
        with self._asked():
            answer = self._s3.put_object(
                Bucket=self.bucket, Key=self.prefix + name, **sent(content), **lock
            )
        if answer.get("VersionId", "null") == "null":
            raise BackendError(
                f"{self.where}: the server keeps no versions there, so that nothing is locked",
                hint="make a bucket with object lock, on a server that has it",
            )
        if self.read(name) != content:  # Ceph minds no condition where versions are kept
            raise TransientError(
                f"{self.where} has another copy {name}, which was there first",
                hint="run the command again",
            )


def open_copies(where: str, days: int) -> Copies:
    """The place that `where` names.

    Raises:
        ConfigError: it is of no known kind.
    """
    kind, _, place = where.partition(":")
    if kind == "file" and place:
        return FileCopies(where, Path(place))
    if kind == "git" and place:
        return GitCopies(where, Path(place))
    if kind == "s3" and place:
        bucket, _, prefix = place.removeprefix("//").partition("/")
        return S3Copies(where, bucket, f"{prefix.strip('/')}/" if prefix.strip("/") else "", days)
    raise ConfigError(
        f"[audit] copies: {where!r} is no place for checkpoints",
        hint="file:FOLDER, git:REPOSITORY or s3:BUCKET/PREFIX",
    )
