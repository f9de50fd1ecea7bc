"""Gaussian noise that nobody can predict or read bits out of.

Uniform numbers from ChaCha20 under a fresh key (`cryptography`), through SciPy's inverse normal;
four draws are added, which hides the gaps of floating-point numbers that reveal an exact value
(Mironov, CCS 2012; Holohan and Braghin, 2021).
"""

import secrets

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from scipy.special import ndtri

DRAWS = 4
"""That are added up; see above."""
_HALF = 2.0**-54
"""Half of the grid of uniform numbers: neither 0 nor 1 is drawn, whose normal would be infinite."""


class Noise:
    """A stream of standard normal numbers under a key that exists in this process only."""

    def __init__(self) -> None:
        self._stream = Cipher(
            ChaCha20(secrets.token_bytes(32), secrets.token_bytes(16)), mode=None
        ).encryptor()

    def normal(self, shape: tuple[int, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        """Independent N(0, 1), float64."""
        count = int(np.prod(shape))
        total = np.zeros(count)
        for _ in range(DRAWS):
            bits = np.frombuffer(self._stream.update(bytes(8 * count)), dtype=np.uint64)
            total += ndtri((bits >> np.uint64(11)) * 2.0**-53 + _HALF)
        return np.asarray((total / np.sqrt(DRAWS)).reshape(shape))
