"""The file key store: one JSON file, mode 0600, outside the project.

Layout (version 1): `{"version": 1, "keks": {name: {version: base64}}, "signer_ecdsa": PEM, "signer_mldsa65": base64
seed, "log_ed25519": base64, "log_mldsa44": base64 seed, "ca_key": PEM, "ca_certificate": PEM}`; public halves lie
beside it in `public/`. Wrapped keys: one format byte, 4-byte version, 12-byte nonce, AES-256-GCM ciphertext with the
KEK's name as associated data.
"""

import os
import secrets
import stat
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from casemate.controls.keys import pki
from casemate.controls.keys.interface import PURPOSES
from casemate.core.errors import BackendError, VerificationError
from casemate.core.files import make_folder, write_atomic
from casemate.core.signatures import Signer

FORMAT_BYTE = b"\x01"
CONFIG_HOME = Path("~/.config/casemate")


def keystore_folder(project_id: str) -> Path:
    """Where a project's keys live on this machine."""
    return CONFIG_HOME.expanduser() / project_id


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    keks: dict[str, dict[int, bytes]]
    signer_ecdsa: str
    signer_mldsa65: bytes
    log_ed25519: bytes
    log_mldsa44: bytes
    ca_key: str
    ca_certificate: str


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


class FileKeyStore:
    """A `KeyProvider` and the holder of the project's private keys."""

    def __init__(self, folder: Path, document: _Document) -> None:
        self.folder = folder
        self._document = document
        self._aead = {name: {version: AESGCM(kek) for version, kek in versions.items()} for name, versions in document.keks.items()}

    def __repr__(self) -> str:
        return f"FileKeyStore({str(self.folder)!r})"

    @classmethod
    def create(cls, folder: Path, project: str) -> "FileKeyStore":
        """Make all keys of a new project; BackendError when the folder already holds some."""
        path = folder / "keystore.json"
        if path.exists():
            raise BackendError(f"a key store exists already: {path}", hint="choose another project id")
        signer = Signer.generate()
        ca_key, ca_certificate = pki.create_authority(project)
        document = _Document(
            version=1,
            keks={name: {1: secrets.token_bytes(32)} for name in PURPOSES},
            signer_ecdsa=_pem(signer.classical),
            signer_mldsa65=signer.quantum.private_bytes_raw(),
            log_ed25519=ed25519.Ed25519PrivateKey.generate().private_bytes_raw(),
            log_mldsa44=mldsa.MLDSA44PrivateKey.generate().private_bytes_raw(),
            ca_key=_pem(ca_key),
            ca_certificate=ca_certificate.public_bytes(serialization.Encoding.PEM).decode(),
        )
        make_folder(folder)
        write_atomic(path, msgspec.json.encode(document))
        return cls(folder, document)

    @classmethod
    def open(cls, folder: Path) -> "FileKeyStore":
        """Read the key store; BackendError when absent, readable by others, or damaged."""
        path = folder / "keystore.json"
        try:
            status = os.stat(path)
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise BackendError(
                f"the project's key store is not on this machine: {path}",
                hint="copy it from the machine where `casemate init` ran, or restore its backup",
            ) from error
        except PermissionError as error:
            raise BackendError(f"this user may not read the key store {path}", hint="run as the project's owner") from error
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise BackendError(f"the key store {path} is open to other users", hint=f"chmod 600 {path}")
        try:
            document = msgspec.json.decode(content, type=_Document)
            if document.version != 1:
                raise BackendError(f"the key store has format {document.version}, this casemate reads 1")
            return cls(folder, document)
        except (msgspec.MsgspecError, ValueError) as error:
            raise BackendError(f"the key store {path} is damaged", hint="restore it from its backup") from error

    def upgrade(self) -> "FileKeyStore":
        """This key store with every KEK that this version of casemate needs; written only when one was missing."""
        missing = [name for name in PURPOSES if name not in self._document.keks]
        if not missing:
            return self
        self._document.keks.update({name: {1: secrets.token_bytes(32)} for name in missing})
        write_atomic(self.folder / "keystore.json", msgspec.json.encode(self._document))
        return FileKeyStore(self.folder, self._document)

    def wrap(self, key: str, data_key: bytes) -> bytes:
        """See `KeyProvider.wrap`."""
        version = max(self._aead[key])
        nonce = os.urandom(12)
        sealed = self._aead[key][version].encrypt(nonce, data_key, key.encode())
        return FORMAT_BYTE + version.to_bytes(4, "big") + nonce + sealed

    def unwrap(self, key: str, wrapped: bytes) -> bytes:
        """See `KeyProvider.unwrap`."""
        version = int.from_bytes(wrapped[1:5], "big")
        if wrapped[:1] != FORMAT_BYTE or len(wrapped) < 17 + 32:
            raise VerificationError("a wrapped key is malformed")
        if key not in self._aead or version not in self._aead[key]:
            raise BackendError(f"the key {key!r} version {version} is not in the key store", hint="restore the key store's backup")
        try:
            return self._aead[key][version].decrypt(wrapped[5:17], wrapped[17:], key.encode())
        except InvalidTag as error:
            raise VerificationError(f"a key wrapped under {key!r} was changed") from error

    def versions(self) -> dict[str, list[int]]:
        """See `KeyProvider.versions`."""
        return {name: sorted(keks) for name, keks in self._aead.items()}

    @property
    def signer(self) -> Signer:
        """Signs models, evidence and manifests."""
        classical = serialization.load_pem_private_key(self._document.signer_ecdsa.encode(), password=None)
        if not isinstance(classical, ec.EllipticCurvePrivateKey):
            raise BackendError("the key store's signing key is not an ECDSA key", hint="restore the key store's backup")
        return Signer(classical, mldsa.MLDSA65PrivateKey.from_seed_bytes(self._document.signer_mldsa65))

    @property
    def log_keys(self) -> tuple[ed25519.Ed25519PrivateKey, mldsa.MLDSA44PrivateKey]:
        """Sign the audit log's checkpoints."""
        return (
            ed25519.Ed25519PrivateKey.from_private_bytes(self._document.log_ed25519),
            mldsa.MLDSA44PrivateKey.from_seed_bytes(self._document.log_mldsa44),
        )

    @property
    def authority(self) -> pki.Authority:
        """The project's certificate authority."""
        return pki.Authority.from_pem(self._document.ca_key.encode(), self._document.ca_certificate.encode())
