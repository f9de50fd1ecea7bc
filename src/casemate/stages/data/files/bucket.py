"""`[data] source = "s3://BUCKET/KEY"`, or `s3://BUCKET/PREFIX/` for a folder of objects: which
objects are the table's.
"""

import re
from collections.abc import Sequence

from casemate.core.buckets import SCHEME, holds_credentials, is_bucket, parted
from casemate.core.errors import ConfigError
from casemate.core.text import clean
from casemate.core.types import Finding
from casemate.stages.data.files import several
from casemate.stages.data.files.content import File
from casemate.stages.data.files.objects import CREDENTIALS, Bucket, S3Object

LONGEST = 1024
"""Bytes of a key, by S3's own rule."""
PAGES = 100
"""Of a thousand keys, that are looked through below one prefix."""
SHOWN = 5
"""Objects that a finding names; the count is told whole."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")


def named(source: str | list[str]) -> str | list[str]:
    """The source without where it lies: a table is the same one in any bucket, and in the project's
    folder.
    """
    if not is_bucket(source):
        return source
    return source.removeprefix(SCHEME).rstrip("/").rpartition("/")[2]


def split(source: str) -> tuple[str, str]:
    """(bucket, key); a key that is empty or ends in `/` is a folder.

    Raises:
        ConfigError: it is no address of one, or holds credentials.
    """
    bucket, key = parted(source)
    usual = "s3://BUCKET/KEY, or s3://BUCKET/PREFIX/ for a folder of objects"
    if holds_credentials(source):
        raise ConfigError(
            "[data] source holds credentials", hint=f"take them out; they come from {CREDENTIALS}"
        )
    if not _NAME.fullmatch(bucket):
        raise ConfigError(
            f"[data] source: {clean(bucket)!r} is no bucket's name",
            hint=f"{usual}; the server's address is AWS_ENDPOINT_URL_S3",
        )
    if len(key.encode()) > LONGEST or {".", ".."} & {*key.split("/")}:
        raise ConfigError(
            "[data] source: the key is longer than 1,024 bytes, or has . or .. among its parts",
            hint=usual,
        )
    return bucket, key


def look(source: str) -> list[S3Object]:
    """The table's objects as they are now, those of a folder in the order of their names.

    Raises:
        ConfigError: there are none, or too many. BackendError: the server does not give them.
    """
    name, key = split(source)
    bucket = Bucket(name)
    if key and not key.endswith("/"):
        return [bucket.first(key)]
    found: dict[tuple[str, ...], S3Object] = {}
    for number, page in enumerate(bucket.listed(key)):
        if number == PAGES or len(found) > several.MOST:
            raise ConfigError(
                f"{source} has more objects than are looked through",
                hint=f"a table has at most {several.MOST}: join them, or name a longer prefix",
            )
        for one in page:
            parts = tuple(one["Key"].removeprefix(key).split("/"))
            if parts[-1] and not several.is_hidden(parts):
                found[parts] = S3Object(bucket, one["Key"], one["Size"], one["ETag"], parts[:-1])
    several.require_any(source, list(found))
    return [found[parts] for parts in sorted(found)]


def tell(files: Sequence[File], findings: list[Finding]) -> None:
    """Which objects were read, with the versions that their bucket keeps, as part of the record."""
    read = [one for one in files if isinstance(one, S3Object)]
    if not read:
        return
    shown = [f"{one}, version {one.version}" if one.version else str(one) for one in read[:SHOWN]]
    more = f" and {len(read) - SHOWN} more" if len(read) > SHOWN else ""
    findings.append(
        Finding(
            id="data.bucket",
            severity="low",
            confidence="high",
            message=f"read from a bucket: {'; '.join(shown)}{more}",
        )
    )
