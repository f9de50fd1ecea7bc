"""The signed model: OpenSSF model-signing v1.0 (a Sigstore bundle v0.3 around a DSSE envelope),
verified before use.

Both directions are our own short path, with nothing but signatures and digests in it; the stock
tool verifies the ECDSA signature of what is written here, as a test in `tests/interop` sees. An
ML-DSA-65 signature stands behind it. Verifying wants both signatures, every digest, no missing and
no extra file.
Spec: https://github.com/ossf/model-signing-spec
"""

import base64
import datetime
import hashlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import msgspec

from casemate.core.digest import sha256
from casemate.core.errors import VerificationError
from casemate.core.signatures import Signer, Verifier, read_envelope
from casemate.core.types import FORMAT, Reading, Record, Schema
from casemate.ml.own import code

PREDICATE = "https://model_signing/signature/v1.0"
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SERIALIZATION = {
    "method": "files",
    "hash_type": "sha256",
    "allow_symlinks": False,
    "ignore_paths": [".git", ".gitattributes", ".github", ".gitignore"],
}
"""How the stock tool is to read the folder: as it does by itself, so that a model may be kept in a
git repository.
"""
CARD, PROFILE, BASELINE = "model.json", "profile.json", "baseline.json"
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
    """Gates that it passed by waiver only, with the end of each waiver (ISO 8601, UTC): after it
    the model is not served.
    """
    labels: Literal["likeliest", "own"] = "likeliest"
    """How the labels were measured and are served: by the model's own answer; models that casemate
    0.1 signed by the largest probability.
    """
    order: list[int] = []
    """Of an imported scikit-learn model: the class number in `inputs` of each of its own classes;
    none: they are the same.
    """
    code: dict[str, str] = {}
    """Files with code of its own among its files, with their SHA-256: they run in a sandbox
    wherever the model is used, and nowhere else.
    """
    reading: Reading | None = None
    """How features are read from, and made of, the table's own columns; None: only ready features
    are taken.
    """
    version: int = FORMAT
    """Version of this format."""

    def ended(self, now: datetime.datetime) -> list[str]:
        """Gates whose waivers have ended, and those of which nobody can read when they do.

        Args:
            now: with time zone.
        """
        return sorted(gate for gate, until in self.waived.items() if not _lasts(until, now))


def _lasts(until: str, now: datetime.datetime) -> bool:
    try:
        return now < datetime.datetime.fromisoformat(until)
    except (TypeError, ValueError):
        return False


class _PublicKey(msgspec.Struct, forbid_unknown_fields=True):
    hint: str


class _Material(msgspec.Struct, forbid_unknown_fields=True):
    publicKey: _PublicKey  # noqa: N815 - the specification's name
    tlogEntries: Annotated[list[None], msgspec.Meta(max_length=0)]  # noqa: N815


class VerifiedModel:
    """Files and card of a model whose signatures and digests hold; only `verify` makes one."""

    def __init__(
        self,
        files: dict[str, bytes],
        card: Card,
        signer: Verifier,
        digest: str,
        _proof: object = None,
    ) -> None:
        if _proof is not _PROOF:
            raise VerificationError("a model can only be obtained by verifying its bundle")
        self.files = files
        self.card = card
        self.signer = signer
        self.digest = digest
        """SHA-256 over the files' digests, as it was signed: names the whole model."""

    @property
    def fingerprint(self) -> str:
        """Of the signer's keys."""
        return self.signer.fingerprint


_PROOF = object()


def sign(files: dict[str, bytes], signer: Signer) -> bytes:
    """The bundle over `files` (path -> content)."""
    # In the order in which the stock tool lists them: folder by folder.
    digests = {name: sha256(files[name]) for name in sorted(files, key=PurePosixPath)}
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": MODEL_FOLDER, "digest": {"sha256": _root(digests.values())}}],
        "predicateType": PREDICATE,
        "predicate": {
            "serialization": SERIALIZATION,
            "resources": [
                {"name": name, "algorithm": "sha256", "digest": digest}
                for name, digest in digests.items()
            ],
        },
    }
    document = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": signer.verifier.hint}, "tlogEntries": []},
        "dsseEnvelope": signer.sign(msgspec.json.encode(statement)),
    }
    return msgspec.json.encode(document)


def _root(digests: Iterable[str]) -> str:
    """SHA-256 over the digests, one behind the other: what names the whole model."""
    return hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in digests)).hexdigest()


def verify(files: dict[str, bytes], bundle: bytes, verifier: Verifier) -> VerifiedModel:
    """Check the bundle over `files`.

    Raises:
        VerificationError: a signature is missing or wrong, a file was changed, is missing or is
            extra.
    """
    envelope, signer = envelope_of(bundle, verifier)
    statement = signer.verify_statement(envelope, PREDICATE)
    listed = resources_of(statement)
    if set(listed) != set(files):
        odd = ", ".join(sorted(set(listed) ^ set(files)))
        raise VerificationError(
            f"the model has missing or extra files: {odd}",
            hint="obtain the model from its owner again",
        )
    for name, digest in listed.items():
        if sha256(files[name]) != digest:
            raise VerificationError(
                f"the model file {name} was changed after signing",
                hint="obtain the model from its owner again",
            )
    try:
        card = msgspec.json.decode(files[CARD], type=Card)
    except (KeyError, msgspec.MsgspecError) as error:
        raise VerificationError("the signed model has no readable model.json") from error
    # said twice on purpose: what is executed is never only one file more in a folder
    if code.among(listed) != card.code:
        raise VerificationError(
            "the signed model.json names other code of its own than the model holds",
            hint="obtain the model from its owner again",
        )
    digest = statement["subject"][0]["digest"]["sha256"]
    return VerifiedModel(dict(files), card, signer, digest, _PROOF)


def envelope_of(bundle: bytes, verifier: Verifier) -> tuple[dict[str, Any], Verifier]:
    """The DSSE envelope inside a Sigstore bundle, and the trusted signer that it names;
    VerificationError otherwise.
    """
    document = read_envelope(bundle)
    if (
        set(document) != {"mediaType", "verificationMaterial", "dsseEnvelope"}
        or document["mediaType"] != MEDIA_TYPE
    ):
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


def digest_of(bundle: bytes) -> str:
    """SHA-256 of the bundle's bytes: what approvals and lists of withdrawn models name."""
    return sha256(bundle)


def resources_of(statement: dict[str, Any]) -> dict[str, str]:
    """File -> SHA-256 as listed, after checking the root digest over them."""
    try:
        resources = [
            (str(item["name"]), str(item["algorithm"]), str(item["digest"]))
            for item in statement["predicate"]["resources"]
        ]
        subject = statement["subject"]
        found, root = _root(digest for _, _, digest in resources), subject[0]["digest"]["sha256"]
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise VerificationError("the signed manifest is malformed") from error
    if len(subject) != 1 or any(algorithm != "sha256" for _, algorithm, _ in resources):
        raise VerificationError("the signed manifest must hold one model with SHA-256 digests")
    if found != root or len({name for name, _, _ in resources}) != len(resources):
        raise VerificationError("the signed manifest contradicts itself")
    return {name: digest for name, _, digest in resources}


def read_folder(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` by relative path; symbolic links are refused."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise VerificationError(
                f"{path} is a symbolic link", hint="obtain the model from its owner again"
            )
        if path.is_file():
            files[path.relative_to(folder).as_posix()] = path.read_bytes()
    return files
