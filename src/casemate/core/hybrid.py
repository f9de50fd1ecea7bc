"""Sealing for somebody's public key: HPKE (RFC 9180) with the hybrid KEM MLKEM768-X25519, so that
what is kept today is safe from tomorrow's quantum computer.
"""

from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519

# FIPS 203, 7.1: ML-KEM's key is kept as its seeds d and z, 32 bytes each
SEED = 64
SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
QUANTUM_PUBLIC = 1184
"""Bytes of an ML-KEM-768 public key."""
PRIVATE, PUBLIC = SEED + 32, QUANTUM_PUBLIC + 32
"""Bytes of either half of a pair."""


def pair() -> tuple[bytes, bytes]:
    """(private, public) bytes of a new hybrid pair: ML-KEM-768's half first, then X25519's."""
    quantum, classical = mlkem.MLKEM768PrivateKey.generate(), x25519.X25519PrivateKey.generate()
    public = quantum.public_key().public_bytes_raw() + classical.public_key().public_bytes_raw()
    return quantum.private_bytes_raw() + classical.private_bytes_raw(), public


def public_of(raw: bytes) -> bytes:
    """The public bytes that belong to private ones; ValueError when they are none."""
    quantum = mlkem.MLKEM768PrivateKey.from_seed_bytes(raw[:SEED])
    classical = x25519.X25519PrivateKey.from_private_bytes(raw[SEED:])
    return quantum.public_key().public_bytes_raw() + classical.public_key().public_bytes_raw()


def private_key(raw: bytes) -> hpke.MLKEM768X25519PrivateKey:
    """The key behind the private bytes of a pair; ValueError when they are none."""
    quantum = mlkem.MLKEM768PrivateKey.from_seed_bytes(raw[:SEED])
    return hpke.MLKEM768X25519PrivateKey(
        quantum, x25519.X25519PrivateKey.from_private_bytes(raw[SEED:])
    )


def public_key(raw: bytes) -> hpke.MLKEM768X25519PublicKey:
    """The key behind the public bytes of a pair; ValueError when they are none."""
    quantum = mlkem.MLKEM768PublicKey.from_public_bytes(raw[:QUANTUM_PUBLIC])
    return hpke.MLKEM768X25519PublicKey(
        quantum, x25519.X25519PublicKey.from_public_bytes(raw[QUANTUM_PUBLIC:])
    )
