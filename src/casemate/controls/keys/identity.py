"""The private keys of a project, which the key-encryption key `identity` protects."""

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa

from casemate.controls.keys.signers import SignerRecord
from casemate.core.signatures import Signer

IDENTITY = "identity"


class Identity(msgspec.Struct, forbid_unknown_fields=True):
    """All of them, as the key store holds them sealed."""

    signer_ecdsa: str
    signer_mldsa65: bytes
    log_ed25519: bytes
    log_mldsa44: bytes
    ca_key: str
    ca_certificate: str
    signer_since: str = ""
    former_signers: list[SignerRecord] = []


def pem(key: ec.EllipticCurvePrivateKey) -> str:
    """A private key as text."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def new_identity(project: str) -> Identity:
    """The private keys of a new project."""
    from casemate.controls.keys.pki import create_authority

    signer = Signer.generate()
    ca_key, ca_certificate = create_authority(project)
    return Identity(
        signer_ecdsa=pem(signer.classical),
        signer_mldsa65=signer.quantum.private_bytes_raw(),
        log_ed25519=ed25519.Ed25519PrivateKey.generate().private_bytes_raw(),
        log_mldsa44=mldsa.MLDSA44PrivateKey.generate().private_bytes_raw(),
        ca_key=pem(ca_key),
        ca_certificate=ca_certificate.public_bytes(serialization.Encoding.PEM).decode(),
    )
