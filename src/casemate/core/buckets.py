"""Addresses of buckets and of objects in them, as a configuration has them: `s3://BUCKET/KEY`."""

from typing import TypeGuard

SCHEME = "s3://"


def is_bucket(word: object) -> TypeGuard[str]:
    """Whether this is the address of a bucket, or of something in one."""
    return isinstance(word, str) and word.startswith(SCHEME)


def parted(address: str) -> tuple[str, str]:
    """(bucket, key) of an address; of either nothing is checked."""
    bucket, _, key = address.removeprefix(SCHEME).partition("/")
    return bucket, key


def holds_credentials(word: str) -> bool:
    """Whether it is an address with a user or password before the bucket's name."""
    return is_bucket(word) and "@" in parted(word)[0]
