"""Secrets in shares, of which so many bring the secret back and fewer tell nothing: Shamir, How to
Share a Secret, CACM 22(11), 1979, over GF(2^128), by PyCryptodome.
"""

from typing import Any

from casemate.core.errors import BackendError, VerificationError
from casemate.core.types import Record

HALF = 16
"""Bytes that PyCryptodome shares at once."""
SECRET = 2 * HALF


class Share(Record, frozen=True, kw_only=True):
    """One share of a 32-byte secret."""

    number: int
    """From 1."""
    halves: list[bytes]
    """Of its two halves, which are shared apart."""


def split(secret: bytes, threshold: int, count: int) -> list[Share]:
    """`count` shares, of which `threshold` bring the secret back."""
    shamir = _shamir()
    halves = [shamir.split(threshold, count, secret[at : at + HALF]) for at in (0, HALF)]
    return [
        Share(number=number, halves=[first, second])
        for (number, first), (_, second) in zip(*halves, strict=True)
    ]


def combine(shares: list[Share], threshold: int) -> bytes:
    """The secret.

    Raises:
        VerificationError: too few shares, or not of one secret's form. Shares that were made up
            give another secret: whoever asks must be able to tell.
    """
    if len({share.number for share in shares}) < threshold:
        raise VerificationError(
            f"{len(shares)} shares are there, and it takes {threshold}",
            hint="too many sites dropped out: the round counts for nothing",
        )
    found = {share.number: share for share in shares}
    chosen = [found[number] for number in sorted(found)[:threshold]]
    if any([len(half) for half in share.halves] != [HALF, HALF] for share in chosen):
        raise VerificationError("a share has another length")
    shamir = _shamir()
    return b"".join(
        shamir.combine([(share.number, share.halves[place]) for share in chosen])
        for place in (0, 1)
    )


def _shamir() -> Any:
    try:
        from Cryptodome.Protocol.SecretSharing import Shamir
    except ImportError as error:
        raise BackendError(
            "PyCryptodome is not installed, which masked sums need for sites that drop out",
            hint='pip install "casemate[federated]"',
        ) from error
    return Shamir
