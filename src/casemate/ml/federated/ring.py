"""Numbers modulo 2^64, in which masks cancel exactly: how real numbers get in and out, and masks
from a seed.

A number that does not fit is refused aloud: a clip that nobody notices changes the sum (Flower's
secure aggregation clips at 8.0). Rounding is bounded: each number by half a step, a sum of s sites
by s half steps.
"""

import math
from typing import Any

import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from casemate.core.errors import ConfigError, VerificationError

Array = np.ndarray[Any, Any]
BITS = 62
"""Of the greatest sum: a bit for the sign, and one to spare by which a sum that went wrong is
noticed.
"""
LEAST_FRACTION = 16
"""Binary digits behind the point at least: with fewer, rounding would be felt in a model."""
MOST_FRACTION = 40
"""And at most: beyond them float64 has no digits left for numbers near a thousand."""


class OutOfRange(VerificationError):
    """A number does not fit into what the sites agreed on, or a sum cannot be right."""

    code = "CM-OUT-OF-RANGE"
    who = "whoever chose the range of the round"


class Range:
    """What all sites of a round agree on before they mask.

    Args:
        most: largest absolute value of a number that a site may send.
        sites: how many there are at most.

    Raises:
        ConfigError: too few digits would be left.
    """

    def __init__(self, most: float, sites: int) -> None:
        if not (math.isfinite(most) and most > 0) or sites < 1:
            raise ConfigError(f"a range of {most:g} for {sites} sites", hint="a number above 0")
        left = BITS - math.ceil(math.log2(most * sites))
        if left < LEAST_FRACTION:
            raise ConfigError(
                f"sums of {sites} numbers up to {most:g} leave {left} binary digits behind the"
                f" point, and {LEAST_FRACTION} are the least",
                hint="a smaller range, or groups of fewer sites",
            )
        self.most, self.sites = float(most), sites
        self.step = 2.0 ** -min(left, MOST_FRACTION)
        """Distance of two numbers that can be told apart."""

    @property
    def error(self) -> float:
        """By which a sum can be off."""
        return self.sites * self.step / 2

    def encode(self, vector: Array) -> Array:
        """Uint64 [p] of float64 [p].

        Raises:
            OutOfRange: a number is not finite or too large; nothing is clipped.
        """
        largest = float(np.abs(vector).max(initial=0.0))
        if not largest <= self.most:  # NaN is not
            raise OutOfRange(
                f"a number to be masked is {largest:g}, and the round's range is {self.most:g}",
                hint="a smaller learning rate, or a larger range for the next round",
            )
        return np.rint(vector / self.step).astype(np.int64).view(np.uint64)

    def decode(self, total: Array, count: int) -> Array:
        """The sum of `count` sites, float64 [p] from uint64 [p].

        Raises:
            OutOfRange: it cannot be one: a mask is left in it, or a site sent nonsense.
        """
        found = total.view(np.int64).astype(np.float64) * self.step
        if float(np.abs(found).max(initial=0.0)) > count * (self.most + self.step):
            raise OutOfRange(
                "the masked sum is larger than sites can have sent",
                hint="a site broke the protocol: the round counts for nothing",
            )
        return found


def derived(secret: bytes, purpose: str, length: int = 32) -> bytes:
    """Another secret from one (HKDF-SHA-256, RFC 5869)."""
    info = b"casemate federated " + purpose.encode()
    return HKDF(hashes.SHA256(), length, salt=None, info=info).derive(secret)


def stream(seed: bytes, size: int) -> Array:
    """Uint64 [size] that nobody without the seed can tell from chance: AES-256 in counter mode
    (NIST SP 800-38A). A seed is used once.
    """
    encryptor = Cipher(algorithms.AES(seed), modes.CTR(bytes(16))).encryptor()
    return np.frombuffer(encryptor.update(bytes(8 * size)), dtype="<u8").astype(np.uint64)
