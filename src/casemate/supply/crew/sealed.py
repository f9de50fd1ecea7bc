"""The key of a job: rows and answers travel, wait and are spilled to disks under it alone.

AES-256-GCM with the job's bounds as associated data; for each worker the key is sealed by HPKE (RFC
9180) with the hybrid KEM MLKEM768-X25519, for a key pair that the worker's process made when it
started and that dies with it.
"""

import os
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from casemate.core import hybrid
from casemate.core.errors import VerificationError
from casemate.supply.crew.messages import Bounds

JOB, TASK, ANSWER, FAILURE = b"job", b"task", b"answer", b"failure"
"""What is sealed: none can be taken for another."""
_NONCE = 12


class JobKey:
    """Seals and opens what belongs to one job."""

    def __init__(self, bounds: Bounds, key: bytes) -> None:
        self.bounds, self._key = bounds, key

    @classmethod
    def new(cls, bounds: Bounds) -> Self:
        """A key that nobody else has."""
        return cls(bounds, AESGCM.generate_key(256))

    def seal(self, kind: bytes, number: int, content: bytes) -> bytes:
        """Sealed as `kind` number `number` of this job."""
        nonce = os.urandom(_NONCE)
        return nonce + AESGCM(self._key).encrypt(nonce, content, self._about(kind, number))

    def open(self, kind: bytes, number: int, sealed: bytes) -> bytes:
        """What `seal` got.

        Raises:
            VerificationError: it is another job's, another number's, or was changed.
        """
        try:
            return AESGCM(self._key).decrypt(
                sealed[:_NONCE], sealed[_NONCE:], self._about(kind, number)
            )
        except (InvalidTag, ValueError) as error:
            raise VerificationError(
                f"a worker's {kind.decode()} cannot be opened: it was changed on its way",
                hint="look at who else holds a certificate of the cluster",
            ) from error

    def _about(self, kind: bytes, number: int) -> bytes:
        return b"casemate/crew/%s/%d/" % (kind, number) + self.bounds.raw

    def wrapped(self, public: bytes) -> bytes:
        """The key for the holder of this public key; ValueError when it is none."""
        return hybrid.SUITE.encrypt(self._key, hybrid.public_key(public), info=self.bounds.raw)

    @classmethod
    def unwrapped(cls, bounds: Bounds, private: bytes, wrapped: bytes) -> Self:
        """The key that was wrapped for this private key and these bounds; InvalidTag otherwise."""
        key = hybrid.SUITE.decrypt(wrapped, hybrid.private_key(private), info=bounds.raw)
        return cls(bounds, key)
