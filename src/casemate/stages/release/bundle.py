"""The signed model: OpenSSF model-signing v1.0 (a Sigstore bundle v0.3 around a DSSE envelope), verified before use.

Signing goes through the `model-signing` library, so that its stock tool verifies the result; an ML-DSA-65 signature is
then appended. Verifying is our own short path: both signatures, every digest, no missing and no extra file.
Spec: https://github.com/ossf/model-signing-spec
"""

import base64
import hashlib
import importlib
import secrets
import sys
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import msgspec
from cryptography.hazmat.primitives import serialization

from casemate.core.digest import sha256
from casemate.core.errors import VerificationError
from casemate.core.signatures import Signer, Verifier, read_envelope
from casemate.core.types import FORMAT, Reading, Record, Schema

PREDICATE = "https://model_signing/signature/v1.0"
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
CARD, PROFILE = "model.json", "profile.json"
MODEL_FOLDER, BUNDLE = "model", "model.sig"
PUBLIC_KEYS = ("signer.pub", "signer-mldsa65.pub")
PROOF = "signature.proof"


class Card(Record, frozen=True, kw_only=True):
    """`model.json`: what a server needs to know about the model, signed with it."""

    name: str
    """Model name."""
    model_version: int
    """Version in the registry."""
    inputs: Schema
    """Pinned schema: features, classes, ranges."""
    serve_format: str
    """`onnx` or `skops`."""
    purpose: str
    """Why the data was processed."""
    lineage: dict[str, str]
    """Where the model came from."""
    metrics: dict[str, float]
    """Hold-out figures."""
    stage: str = "production"
    """The stage that the model is signed for."""
    waived: dict[str, str] = {}
    """Gates that it passed by waiver only, with the end of each waiver (ISO 8601, UTC): after it the model is not served."""
    labels: Literal["likeliest", "own"] = "likeliest"
    """How the labels were measured and are served: by the model's own answer; models that casemate 0.1 signed by the largest probability."""
    order: list[int] = []
    """Of an imported scikit-learn model: the class number in `inputs` of each of its own classes; none: they are the same."""
    reading: Reading | None = None
    """How features are read from, and made of, the table's own columns; None: only ready features are taken."""
    version: int = FORMAT
    """Version of this format."""


class _PublicKey(msgspec.Struct, forbid_unknown_fields=True):
    hint: str


class _Material(msgspec.Struct, forbid_unknown_fields=True):
    publicKey: _PublicKey  # noqa: N815 - the specification's name
    tlogEntries: Annotated[list[None], msgspec.Meta(max_length=0)]  # noqa: N815


class VerifiedModel:
    """Files and card of a model whose signatures and digests hold; only `verify` makes one."""

    def __init__(self, files: dict[str, bytes], card: Card, signer: Verifier, _proof: object = None) -> None:
        if _proof is not _PROOF:
            raise VerificationError("a model can only be obtained by verifying its bundle")
        self.files = files
        self.card = card
        self.signer = signer

    @property
    def fingerprint(self) -> str:
        """Of the signer's keys."""
        return self.signer.fingerprint


_PROOF = object()


def sign(files: dict[str, bytes], signer: Signer, scratch: Path) -> bytes:
    """The bundle over `files` (path -> content); `scratch` is an empty private folder."""
    signing = _signing()
    folder, signature, key = scratch / MODEL_FOLDER, scratch / BUNDLE, scratch / "key.pem"
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    # The library wants a key file: it gets one encrypted under a password that lives in memory only.
    password = secrets.token_urlsafe(32)
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key.write_bytes(signer.classical.private_bytes(*pem, serialization.BestAvailableEncryption(password.encode())))
    key.chmod(0o600)
    configuration: Any = signing.Config  # the library's annotation says str, its code needs bytes
    configuration().use_elliptic_key_signer(private_key=key, password=password.encode()).sign(folder, signature)
    document = msgspec.json.decode(signature.read_bytes(), type=dict[str, Any])
    document["dsseEnvelope"] = signer.countersign(document["dsseEnvelope"])
    return msgspec.json.encode(document)


def _signing() -> Any:
    """The module `model_signing.signing`. It imports Sigstore's client (.4 s) for keys that are not ours: it comes when asked for."""
    name = "model_signing._signing.sign_sigstore"
    if "model_signing" in sys.modules:
        return importlib.import_module("model_signing.signing")
    later = ModuleType(name)

    def asked(attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        return getattr(importlib.import_module(name), attribute)

    later.__dict__["__getattr__"] = asked  # PEP 562
    sys.modules[name] = later
    try:
        return importlib.import_module("model_signing.signing")
    finally:
        del sys.modules[name]


def verify(files: dict[str, bytes], bundle: bytes, verifier: Verifier) -> VerifiedModel:
    """Check the bundle over `files`.

    Raises:
        VerificationError: a signature is missing or wrong, a file was changed, is missing or is extra.
    """
    envelope, signer = envelope_of(bundle, verifier)
    statement = signer.verify_statement(envelope, PREDICATE)
    listed = resources_of(statement)
    if set(listed) != set(files):
        odd = ", ".join(sorted(set(listed) ^ set(files)))
        raise VerificationError(f"the model has missing or extra files: {odd}", hint="obtain the model from its owner again")
    for name, digest in listed.items():
        if sha256(files[name]) != digest:
            raise VerificationError(f"the model file {name} was changed after signing", hint="obtain the model from its owner again")
    try:
        card = msgspec.json.decode(files[CARD], type=Card)
    except (KeyError, msgspec.MsgspecError) as error:
        raise VerificationError("the signed model has no readable model.json") from error
    return VerifiedModel(dict(files), card, signer, _PROOF)


def envelope_of(bundle: bytes, verifier: Verifier) -> tuple[dict[str, Any], Verifier]:
    """The DSSE envelope inside a Sigstore bundle, and the trusted signer that it names; VerificationError otherwise."""
    document = read_envelope(bundle)
    if set(document) != {"mediaType", "verificationMaterial", "dsseEnvelope"} or document["mediaType"] != MEDIA_TYPE:
        raise VerificationError("the signature file is not a model-signing bundle")
    try:
        material = msgspec.convert(document["verificationMaterial"], _Material)
    except msgspec.ValidationError as error:
        raise VerificationError("the signature file names no key, or more than that") from error
    signer = verifier.by_hint(material.publicKey.hint)
    if not isinstance(document["dsseEnvelope"], dict):
        raise VerificationError("the signature file is not a model-signing bundle")
    return document["dsseEnvelope"], signer


def payload_digest(bundle: bytes) -> str:
    """SHA-256 of what was signed."""
    return sha256(base64.b64decode(read_envelope(bundle)["dsseEnvelope"]["payload"]))


def resources_of(statement: dict[str, Any]) -> dict[str, str]:
    """File -> SHA-256 as listed, after checking the root digest over them."""
    try:
        resources = [(str(item["name"]), str(item["algorithm"]), str(item["digest"])) for item in statement["predicate"]["resources"]]
        subject = statement["subject"]
        root = subject[0]["digest"]["sha256"]
        raw = b"".join(bytes.fromhex(digest) for _, _, digest in resources)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise VerificationError("the signed manifest is malformed") from error
    if len(subject) != 1 or any(algorithm != "sha256" for _, algorithm, _ in resources):
        raise VerificationError("the signed manifest must hold one model with SHA-256 digests")
    if hashlib.sha256(raw).hexdigest() != root or len({name for name, _, _ in resources}) != len(resources):
        raise VerificationError("the signed manifest contradicts itself")
    return {name: digest for name, _, digest in resources}


def read_folder(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` by relative path; symbolic links are refused."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise VerificationError(f"{path} is a symbolic link", hint="obtain the model from its owner again")
        if path.is_file():
            files[path.relative_to(folder).as_posix()] = path.read_bytes()
    return files


def verify_folder(folder: Path, verifier: Verifier) -> VerifiedModel:
    """Verify an exported model: `folder/model/…` against `folder/model.sig`."""
    if not (folder / BUNDLE).is_file() or not (folder / MODEL_FOLDER).is_dir():
        raise VerificationError(f"{folder} holds no signed model", hint="expected model/ and model.sig, as `casemate model export` writes")
    return verify(read_folder(folder / MODEL_FOLDER), (folder / BUNDLE).read_bytes(), verifier)
