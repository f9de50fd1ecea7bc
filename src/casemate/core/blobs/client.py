"""How a bucket is talked to by S3's protocol: client, bodies, listings, and what refusals mean."""

import base64
import hashlib
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import urlsplit

from casemate.core.errors import BackendError, ConfigError
from casemate.core.http import is_private

PART = 16 * 1024 * 1024
REFUSED = {
    "AccessDenied": (
        "the credentials have no right to it: they need GetObject, PutObject, DeleteObject and"
        " ListBucket"
    ),
    "403": (
        "the credentials have no right to it: they need GetObject, PutObject, DeleteObject and"
        " ListBucket"
    ),
    "InvalidAccessKeyId": "the access key is unknown to the server",
    "SignatureDoesNotMatch": "the secret key is wrong",
    "NoSuchBucket": "the bucket does not exist: create it",
    "NotImplemented": "the server lacks conditional writes, or another part of S3: use another one",
    "EntityTooLarge": (
        "the server takes no object of this size at once, and ignores conditions on uploads in"
        " parts: use another server"
    ),
}


@dataclass(frozen=True)
class S3Place:
    """A bucket, a prefix (empty or ending in `/`) and how to get there."""

    bucket: str
    prefix: str
    endpoint: str | None = None
    region: str | None = None
    access_key: str | None = None
    secret_key: str | None = None

    def __repr__(self) -> str:
        return f"S3Place({self.url!r})"

    @property
    def url(self) -> str:
        """The place as it is configured, `s3://BUCKET/PREFIX`."""
        return f"s3://{self.bucket}/{self.prefix}"


def split_url(url: str) -> tuple[str, str]:
    """(bucket, prefix) of `s3://BUCKET/PREFIX`; ConfigError when it is none."""
    parts = urlsplit(url)
    if (
        parts.scheme != "s3"
        or not parts.netloc
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
        or ".." in parts.path
    ):
        raise ConfigError(
            f"{url!r} is no place for objects", hint='[store] objects = "s3://BUCKET/PREFIX"'
        )
    prefix = parts.path.strip("/")
    return parts.netloc, f"{prefix}/" if prefix else ""


def client(place: S3Place | None = None) -> Any:
    """A client with bounded waiting; without keys in `place` they come from the usual places of the
    AWS SDK. What it sends has a length: the checksum that boto3 puts behind a body by itself, over
    https alone, is refused by servers that do not know that form (Ceph 16: MissingContentLength);
    see `sent`.

    Raises:
        BackendError: boto3 is not installed. ConfigError: the endpoint is not private.
    """
    if importlib.util.find_spec("boto3") is None:
        raise BackendError(
            "the S3 client (boto3) is not installed", hint='pip install "casemate[s3]"'
        )
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    options: dict[str, Any] = {}
    if place is not None:
        keys = {"aws_access_key_id": place.access_key, "aws_secret_access_key": place.secret_key}
        options = {
            name: value
            for name, value in {
                "endpoint_url": place.endpoint,
                "region_name": place.region,
                **keys,
            }.items()
            if value
        }
    config = Config(
        connect_timeout=10,
        read_timeout=30,
        retries={"max_attempts": 2},
        request_checksum_calculation="when_required",
    )
    try:
        # the default session keeps credentials that it found once
        made = boto3.session.Session().client("s3", config=config, **options)
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(
            f"the S3 client cannot be made: {error}",
            hint=(
                "see AWS_PROFILE, AWS_ENDPOINT_URL_S3 and ~/.aws/config"
                if place is None
                else "see [store] endpoint, region, access_key and secret_key"
            ),
        ) from error
    # the address may be one of this machine's settings, whatever [store] leaves open
    if not is_private(str(made.meta.endpoint_url)):
        if place is not None and place.endpoint:
            raise ConfigError(
                f"[store] endpoint {place.endpoint!r} must use https",
                hint="http is allowed to this machine only",
            )
        raise ConfigError(
            "the S3 endpoint of this machine's AWS settings must use https",
            hint="AWS_ENDPOINT_URL_S3, or endpoint_url of the profile: http is allowed to this"
            " machine only",
        )
    return made


def pages(ask: Callable[..., Any], prefix: str) -> Iterator[list[dict[str, Any]]]:
    """The objects that begin with `prefix`, a page at a time, as S3 lists them.

    Args:
        ask: makes a request, by the name of the client's method and its words.
        prefix: of their keys.
    """
    more: dict[str, str] = {}
    while True:
        page = ask("list_objects_v2", Prefix=prefix, **more)
        yield page.get("Contents", [])
        if not page.get("IsTruncated"):
            return
        more = {"ContinuationToken": page["NextContinuationToken"]}


def sent(body: bytes | IO[bytes]) -> dict[str, Any]:
    """A request's body, a file as a whole, with its MD5 (RFC 1864), which a server compares with
    what arrived, in whatever year it was made.
    """
    found = hashlib.md5(usedforsecurity=False)
    if isinstance(body, bytes):
        found.update(body)
    else:
        body.seek(0)
        for content in iter(lambda: body.read(PART), b""):
            found.update(content)
        body.seek(0)
    return {"Body": body, "ContentMD5": base64.b64encode(found.digest()).decode()}
