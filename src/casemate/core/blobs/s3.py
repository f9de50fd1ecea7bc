"""Objects in an S3-compatible bucket. What leaves is sealed already; the server sees names, sizes
and times.

New objects are written under `If-None-Match: *` and changes under `If-Match` (conditional writes of
S3, 2024), so that two writers cannot undo one another. Large objects go in parts of 16 MiB, or
whole to a server that minds no condition where it joins parts; nothing of an interrupted upload
becomes visible.
"""

import contextlib
import functools
import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

from casemate.core.blobs.client import PART, REFUSED, S3Place, client, pages, sent
from casemate.core.errors import BackendError, BusyError, Error, TransientError
from casemate.core.files import make_folder

LOST = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}
ABSENT = {"NoSuchKey", "404"}


class S3Blobs:
    """Blobs as objects of a bucket, by S3's protocol; see `Blobs`."""

    def __init__(self, place: S3Place, scratch: Path) -> None:
        self.place = place
        self.scratch = scratch
        self.where = place.url
        self._s3 = client(place)

    def call(self, method: str, name: str | None = None, **words: Any) -> Any:
        """One request; FileNotFoundError when `name` is not there."""
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, SSLError

        if name is not None:
            words["Key"] = self.place.prefix + name
        try:
            return getattr(self._s3, method)(Bucket=self.place.bucket, **words)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in ABSENT and name is not None:
                raise FileNotFoundError(2, "not in the bucket", f"{self.where}{name}") from error
            if code in LOST:
                raise BusyError(
                    f"{self.where}{name or ''} is there already, or was changed meanwhile",
                    hint="run the command again",
                ) from error
            if code in REFUSED:
                raise BackendError(f"{self.where}: {error}"[:500], hint=REFUSED[code]) from error
            raise TransientError(f"{self.where}: {error}"[:500], hint="see the server") from error
        except NoCredentialsError as error:
            raise BackendError(
                f"{self.where}: there are no credentials",
                hint="set [store] access_key and secret_key",
            ) from error
        except BotoCoreError as error:
            trust = "AWS_CA_BUNDLE names the file with the authority of the server's certificate"
            raise TransientError(
                f"{self.where} did not answer: {error}"[:500],
                hint=trust if isinstance(error, SSLError) else "see the server and the network",
            ) from error

    def names(self) -> list[str]:
        """See `Blobs.names`."""
        listed = chain.from_iterable(pages(self.call, self.place.prefix))
        found = (item["Key"].removeprefix(self.place.prefix) for item in listed)
        return sorted(name for name in found if name[2:3] == "/")

    def has(self, name: str) -> bool:
        """See `Blobs.has`."""
        try:
            self.call("head_object", name)
        except FileNotFoundError:
            return False
        return True

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """See `Blobs.open`."""
        with self._opened(self.call("get_object", name), name) as reader:
            yield reader

    @contextlib.contextmanager
    def _opened(self, answer: Any, name: str) -> Iterator[IO[bytes]]:
        body = answer["Body"]
        with (
            contextlib.closing(body),
            io.BufferedReader(_Body(body, f"{self.where}{name}")) as reader,
        ):
            yield reader

    def read(self, name: str) -> bytes:
        """See `Blobs.read`."""
        with self.open(name) as file:
            return file.read()

    @contextlib.contextmanager
    def draft(self) -> Iterator["_Draft"]:
        """See `Blobs.draft`; it lies on this machine, sealed, until it is committed."""
        make_folder(self.scratch)
        with tempfile.TemporaryFile(dir=self.scratch) as file:
            yield _Draft(self, file)

    def create(self, name: str, content: bytes) -> None:
        """See `Blobs.create`."""
        self.call("put_object", name, **sent(content), IfNoneMatch="*")

    def replace(self, name: str, before: bytes, after: bytes) -> None:
        """See `Blobs.replace`."""
        found = self.call("get_object", name)
        with self._opened(found, name) as reader:
            same = reader.read() == before
        if not same:
            raise BusyError(
                f"another process changed {self.where}{name} meanwhile",
                hint="casemate keys rotate --resume",
            )
        try:
            self.call("put_object", name, **sent(after), IfMatch=found["ETag"])
        except BusyError:
            # Ceph compares it with one that it keeps without quotes; what was changed is refused
            # again
            self.call("put_object", name, **sent(after), IfMatch=found["ETag"].strip('"'))

    def remove(self, name: str) -> None:
        """See `Blobs.remove`."""
        with contextlib.suppress(FileNotFoundError):
            self.call("delete_object", name)

    def upload(self, name: str, file: IO[bytes], *, replace: bool) -> bool:
        """Send a file of any size; False when `name` was there already and `replace` is off."""
        size, condition = file.seek(0, os.SEEK_END), {} if replace else {"IfNoneMatch": "*"}
        file.seek(0)
        try:
            if size <= PART or (condition and not self._joins_on_condition):
                self.call("put_object", name, **sent(file), **condition)
            else:
                self._in_parts(name, file, condition)
        except BusyError:
            return False
        return True

    def _in_parts(self, name: str, file: IO[bytes], condition: dict[str, str]) -> None:
        upload = self.call("create_multipart_upload", name)["UploadId"]
        try:
            parts = []
            for number, content in enumerate(iter(lambda: file.read(PART), b""), 1):
                answer = self.call(
                    "upload_part", name, UploadId=upload, PartNumber=number, **sent(content)
                )
                parts.append({"PartNumber": number, "ETag": answer["ETag"]})
            self.call(
                "complete_multipart_upload",
                name,
                UploadId=upload,
                MultipartUpload={"Parts": parts},
                **condition,
            )
        except BaseException:
            # the first fault is the one to tell
            with contextlib.suppress(Error, FileNotFoundError):
                self.call("abort_multipart_upload", name, UploadId=upload)
            raise

    @functools.cached_property
    def _joins_on_condition(self) -> bool:
        """Whether the server minds `If-None-Match` where it joins parts: Ceph 16 does not."""
        with self._probe() as name:
            try:
                self._in_parts(name, io.BytesIO(b"2"), {"IfNoneMatch": "*"})
            except BusyError:
                return True
            return False

    @contextlib.contextmanager
    def _probe(self) -> Iterator[str]:
        """The name of an object `b"1"` that is there for the block's time and is no blob."""
        name = f"probe-{os.urandom(8).hex()}"
        self.create(name, b"1")
        try:
            yield name
        finally:
            self.remove(name)

    def require_conditions(self) -> None:
        """Whether the server refuses to write over what is there when it is asked to, and only
        then; leaves nothing behind.

        Raises:
            BackendError: it does not.
        """
        hint = (
            "use a server with conditional writes; some have them in buckets without versions only"
        )
        other = hashlib.md5(b"2", usedforsecurity=False).hexdigest()
        unmet = (
            ("If-None-Match", {"IfNoneMatch": "*"}),
            ("If-Match", {"IfMatch": f'"{other}"'}),
            ("If-Match", {"IfMatch": other}),
        )
        with self._probe() as name:
            for header, condition in unmet:
                with contextlib.suppress(BusyError):
                    self.call("put_object", name, **sent(b"3"), **condition)
                    raise BackendError(
                        f"the server of {self.where} ignores {header}: two writers could undo one"
                        " another",
                        hint=hint,
                    )
            try:
                self.replace(name, b"1", b"2")
            except BusyError as error:
                raise BackendError(
                    f"the server of {self.where} refuses a write under If-Match although nothing"
                    " changed: keys could not be rotated",
                    hint=hint,
                ) from error


@dataclass(frozen=True)
class _Draft:
    blobs: S3Blobs
    file: IO[bytes]

    def commit(self, name: str, *, replace: bool) -> bool:
        return self.blobs.upload(name, self.file, replace=replace)


class _Body(io.RawIOBase):
    """The answer of a GET; a connection that breaks is a TransientError."""

    def __init__(self, body: Any, where: str) -> None:
        self._body, self._where = body, where

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        from botocore.exceptions import BotoCoreError

        try:
            content = self._body.read(len(buffer))
        except (BotoCoreError, OSError) as error:
            raise TransientError(
                f"reading {self._where} broke off: {error}"[:500],
                hint="see the server and the network",
            ) from error
        buffer[: len(content)] = content
        return len(content)
