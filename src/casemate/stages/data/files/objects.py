"""An object of a bucket in the place of a file, by S3's protocol: read in blocks into memory, never
written, and never laid on this machine's disk.

What was seen of it first is what is read: every request names its ETag (`If-Match`, RFC 9110
section 13.1.1), so that an object which somebody replaces meanwhile is refused and never read half
and half. An ETag may be an MD5, of which two contents can have the same: a block that is fetched
again must be the one that was seen.
"""

import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from casemate.core.blobs.client import client, pages
from casemate.core.errors import BackendError, ConfigError, DataError, Error, TransientError
from casemate.core.text import clean

BLOCK = 8 << 20
"""Bytes that are asked for at once: a request's latency is small beside them."""
KEPT = 4
"""Blocks that a bucket's readers keep together: the one that is looked at, the next one, which is
fetched meanwhile, and those before, in which rows began.
"""
TRIES = 3
"""Of a block whose answer breaks off; a request that gets no answer is repeated by the client."""
_GONE = {"PreconditionFailed", "412", "NoSuchKey", "NoSuchVersion", "404"}
CREDENTIALS = "AWS_PROFILE, AWS_ACCESS_KEY_ID, a login or a role: where the AWS SDK finds them"
_ACTION = {"list_objects_v2": "s3:ListBucket", "get_object": "s3:GetObject"}
_DENIED = {"AccessDenied", "403", "AllAccessDisabled", "AccountProblem", "Forbidden"}
_REFUSALS: list[tuple[set[str], type[Error], str, str]] = [
    (
        {"NoSuchBucket"},
        ConfigError,
        "[data] source: there is no bucket {bucket!r} at {server}",
        "see its name, and AWS_ENDPOINT_URL_S3 and AWS_DEFAULT_REGION, which say who is asked",
    ),
    (
        {"NoSuchKey", "404"},
        ConfigError,
        "[data] source: there is no object {where}",
        "a folder of objects ends with /: s3://BUCKET/PREFIX/",
    ),
    ({"InvalidRange", "416"}, DataError, "{where} is empty", "export the table again"),
    (
        {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"},
        BackendError,
        "{where}: the credentials have expired",
        f"log in again: {CREDENTIALS}",
    ),
    (
        {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidClientTokenId"},
        BackendError,
        "{where}: the server does not know these credentials ({code})",
        f"see {CREDENTIALS}",
    ),
    (
        {"InvalidObjectState"},
        ConfigError,
        "{where} lies in an archive, by its storage class, and cannot be read",
        "restore it, or copy it to another storage class",
    ),
    (
        {"PermanentRedirect", "301", "AuthorizationHeaderMalformed"},
        ConfigError,
        "{where}: the bucket is in another region",
        "set AWS_DEFAULT_REGION to its own",
    ),
    (
        {"RequestTimeTooSkewed"},
        BackendError,
        "{where}: this machine's clock is wrong",
        "set it, best by NTP",
    ),
]
"""Codes of S3's answers -> what they mean to whoever runs the command, and what to do."""


class Bucket:
    """A bucket and how it is asked; credentials, region and endpoint are those that the AWS SDK
    finds.
    """

    def __init__(self, name: str) -> None:
        """Who is asked.

        Raises:
            BackendError: boto3 is not installed. ConfigError: requests would go out in plain text.
        """
        self.name = name
        self._client = client()
        address = str(self._client.meta.endpoint_url)
        parts = urlsplit(address)
        self.endpoint = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        """As it is told: without what may stand before the host."""
        self._blocks: OrderedDict[tuple[str, int], Future[bytes]] = OrderedDict()
        self._lock = threading.Lock()
        self._fetching = ThreadPoolExecutor(2, "bucket")

    def listed(self, prefix: str) -> Iterator[list[dict[str, Any]]]:
        """What begins with `prefix`, a page at a time, as S3 lists it."""
        return pages(partial(self._ask, key=prefix), prefix)

    def first(self, key: str) -> "S3Object":
        """An object as it is now.

        Raises:
            ConfigError: there is none. DataError: it is empty. BackendError: it may not be read.
        """
        answer = self._ask("get_object", key, Key=key, Range="bytes=0-0")
        answer["Body"].close()
        return S3Object(self, key, _whole(answer), str(answer.get("ETag", "")))

    def block(self, held: "S3Object", number: int) -> bytes:
        """Bytes of an object from `number` times `BLOCK` on, at most so many.

        Raises:
            DataError: it is another one than at the first look.
        """
        with self._lock:
            found = self._wanted(held, number)
            if (held.key, number - 1) in self._blocks and number + 1 < held.blocks:
                self._wanted(held, number + 1)  # whoever reads in order will ask for it
        return found.result()

    def _wanted(self, held: "S3Object", number: int) -> Future[bytes]:
        place = held.key, number
        if place not in self._blocks:
            self._blocks[place] = self._fetching.submit(self._fetched, held, number)
        self._blocks.move_to_end(place)
        while len(self._blocks) > KEPT:
            self._blocks.popitem(last=False)
        return self._blocks[place]

    def _fetched(self, held: "S3Object", number: int) -> bytes:
        from botocore.exceptions import BotoCoreError

        begin = number * BLOCK
        size = min(BLOCK, held.size - begin)
        asked = {"Range": f"bytes={begin}-{begin + size - 1}", "IfMatch": held.etag}
        for left in reversed(range(TRIES)):
            answer = self._ask("get_object", held.key, pinned=True, Key=held.key, **asked)
            if answer.get("ETag") != held.etag or _whole(answer) != held.size:
                raise changed(self._shown(held.key))  # by a server that minds no condition
            held.version = str(answer.get("VersionId") or held.version)
            try:
                content = bytes(answer["Body"].read(size + 1))  # a server may send more
            except (BotoCoreError, OSError) as error:
                if not left:
                    raise self._away(held.key, error) from error
                continue
            if len(content) == size:
                seen = hashlib.sha256(content).digest()
                if held.seen.setdefault(number, seen) != seen:
                    raise changed(self._shown(held.key))
                return content
        raise self._away(held.key, EOFError("its answer is too short"))

    def _ask(self, method: str, key: str, *, pinned: bool = False, **words: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(self._client, method)(Bucket=self.name, **words)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if pinned and code in _GONE:
                raise changed(self._shown(key)) from error
            raise self._refused(method, key, code, error) from error
        except BotoCoreError as error:
            raise self._away(key, error) from error

    def _shown(self, key: str) -> str:
        return clean(f"s3://{self.name}/{key}")

    def _refused(self, method: str, key: str, code: str, error: Exception) -> Error:
        """What a server's refusal means, and who must act."""
        where = self._shown(key)
        if code in _DENIED:
            listing = method == "list_objects_v2"
            resource = clean(f"arn:aws:s3:::{self.name}" + ("" if listing else f"/{key}"))
            return BackendError(
                f"{where}: access is denied to these credentials",
                hint=f"whoever administers the bucket grants {_ACTION[method]} on {resource} (and"
                " kms:Decrypt where a key of KMS encrypts it); without s3:ListBucket a missing"
                " object looks like this too",
            )
        for codes, kind, text, hint in _REFUSALS:
            if code in codes:
                said = {"where": where, "bucket": self.name, "server": self.endpoint, "code": code}
                return kind(text.format_map(said), hint=hint)
        return TransientError(clean(f"{where}: {error}"[:500]), hint="see the server")

    def _away(self, key: str, error: Exception) -> Error:
        """What it means that there is no answer, or none that is whole."""
        from botocore import exceptions

        where = self._shown(key)
        if isinstance(error, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)):
            return BackendError(
                f"{where}: there are no credentials", hint=f"give some: {CREDENTIALS}"
            )
        if isinstance(
            error,
            (
                exceptions.CredentialRetrievalError,
                exceptions.SSOError,
                exceptions.TokenRetrievalError,
            ),
        ):
            return BackendError(
                f"{where}: the credentials cannot be had: {type(error).__name__}",
                hint=f"log in again: {CREDENTIALS}",
            )
        if isinstance(error, exceptions.SSLError):
            return BackendError(
                f"{where}: the server's certificate is not trusted here",
                hint="AWS_CA_BUNDLE names the file with its authority",
            )
        return TransientError(
            f"{where}: no answer from {self.endpoint} ({type(error).__name__})",
            hint="see the server, the network and AWS_ENDPOINT_URL_S3, then run again",
        )


class S3Object:
    """One object as it was at the first look; what a reader needs of a path."""

    def __init__(
        self, bucket: Bucket, key: str, size: int, etag: str, folders: Sequence[str] = ()
    ) -> None:
        """See `Bucket.first`.

        Args:
            bucket: it lies in.
            key: its name there.
            size: in bytes.
            etag: as the server gives it, with its quotes.
            folders: it lies in, below the one that is the table's.

        Raises:
            BackendError: the server gives none.
        """
        if not etag:
            raise BackendError(
                f"the server of {bucket.name} gives no ETag",
                hint="a change while it is read would go by: copy the table here",
            )
        self.bucket, self.key, self.size, self.etag = bucket, key, size, etag
        self.folders = folders
        self.version = ""
        """Its version, once something of it was read, where the bucket keeps any."""
        self.seen: dict[int, bytes] = {}
        """SHA-256 of each block that was fetched."""
        self._hash, self._hashed = hashlib.sha256(), 0
        self._lock = threading.Lock()

    def __str__(self) -> str:
        return clean(f"s3://{self.bucket.name}/{self.key}")

    @property
    def name(self) -> str:
        """The last part of its key."""
        return self.key.rpartition("/")[2]

    @property
    def blocks(self) -> int:
        """How many blocks it has."""
        return -(-self.size // BLOCK)

    def block(self, number: int) -> bytes:
        """See `Bucket.block`; whoever reads from the first to the last gives the digest too."""
        found = self.bucket.block(self, number)
        with self._lock:
            if number == self._hashed:
                self._hash.update(found)
                self._hashed += 1
        return found

    def digest(self) -> str:
        """SHA-256 of its bytes, in hex; what was not read in order until now is."""
        while self._hashed < self.blocks:
            self.block(self._hashed)
        return self._hash.hexdigest()

    def read(self) -> bytes:
        """All bytes."""
        held = io.BytesIO()
        for number in range(self.blocks):
            held.write(self.block(number))
        return held.getvalue()

    def open(self, mode: str = "rb", buffering: int = -1) -> Any:
        """As `Path.open` opens a file for reading: 0 is without a buffer."""
        if mode != "rb":
            raise ValueError(f"an object is read, not opened with {mode!r}")
        raw = _Reader(self)
        return raw if buffering == 0 else io.BufferedReader(raw, 1 << 16)


class _Reader(io.RawIOBase):
    """A place in an object's bytes."""

    def __init__(self, held: S3Object) -> None:
        self._held, self._place = held, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._held.size}[whence]
        if base + offset < 0:
            raise ValueError("a place before the first byte")
        self._place = base + offset
        return self._place

    def readinto(self, buffer: Any) -> int:
        """As many bytes as fit, or as there are."""
        view, done = memoryview(buffer).cast("B"), 0
        while done < len(view) and self._place < self._held.size:
            number, inside = divmod(self._place, BLOCK)
            part = memoryview(self._held.block(number))[inside : inside + len(view) - done]
            view[done : done + len(part)] = part
            done += len(part)
            self._place += len(part)
        return done


def _whole(answer: Any) -> int:
    """Bytes of the object of which an answer has a part.

    Raises:
        BackendError: it has not: the server minds no ranges.
    """
    said = str(answer.get("ContentRange", "")).rpartition("/")[2]
    if not said.isdecimal():
        answer["Body"].close()
        raise BackendError(
            "the S3 server does not answer in ranges", hint="copy the table here, or see the server"
        )
    return int(said)


def changed(where: str | list[str]) -> DataError:
    """Somebody wrote a table while it was read."""
    return DataError(
        f"{where} was changed while it was read", hint="run again when nobody writes it"
    )
