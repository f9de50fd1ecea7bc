"""What an outsider checks: an exported model, a run's evidence, an evidence pack, a sealed table or
an audit log, from public keys alone.

Trust comes from keys that the reader already has: given with `--key`, or those of the reader's own
projects under `~/.config/casemate`. Keys that merely lie beside the artifact prove nothing about
who signed it and are not used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from casemate.controls.audit import erasure
from casemate.controls.audit.checkpoint import verify_checkpoint
from casemate.controls.audit.note import Key, parse_keys
from casemate.controls.audit.proof import MAGIC, MAX_PROOF, verify_proof
from casemate.controls.audit.verify import WITNESSED, VerifiedLog, verify_log
from casemate.controls.keys import manifests
from casemate.core.clock import SystemClock
from casemate.core.errors import ConfigError, VerificationError, WrongSigner
from casemate.core.oci.layout import MAX_LAYERS
from casemate.core.oci.types import LAYOUT_FILE
from casemate.core.signatures import Verifier
from casemate.stages.release import admission, bundle, carried, drill, evidence, pack
from casemate.stages.release.admission import GATEWAY_TYPE
from casemate.stages.release.bom import files as bills
from casemate.stages.release.bom.materials import Bill
from casemate.stages.release.trust import (
    Trusted,
    first_trusted,
    judged,
    startable,
    trusted_keys,
)

KINDS = (
    "an exported model, a run's folder, an evidence pack, a drill's report, a sealed table, a bill"
    " of materials or an audit log"
)


@dataclass(frozen=True)
class Verified:
    """What was checked and holds."""

    kind: str
    summary: str
    signer: str


def verify_path(
    path: Path | str,
    keys: Sequence[Path | str] = (),
    checkpoints: Sequence[Path | str] = (),
    proof: Path | str | None = None,
) -> Verified:
    """Find out what `path` is and verify it: `casemate.verify` for Python users.

    Args:
        path: an exported model, an OCI image layout with one or with the gateway, a run's folder,
            an evidence pack, a drill's report, a sealed table, an audit log, a proof of one entry,
            a certificate of erasure, or a bill of materials with its signature beside it.
        keys: files or folders with public keys that the reader trusts.
        checkpoints: of a log, files with checkpoints that the reader kept: they must be former
            states of it.
        proof: the log's proof of when it was signed, for a signer that was compromised later;
            default: `signature.proof` in `path`.

    Raises:
        ConfigError: there is nothing at `path` that casemate signs, or a key file is missing.
        VerificationError: it was changed, or nobody trusted signed it.

    Returns:
        what it is, what it says, and who signed it.
    """
    path, trusted = Path(path), [Path(key) for key in keys]
    kept = [Path(checkpoint) for checkpoint in checkpoints]
    proof = None if proof is None else Path(proof)
    if not path.exists():
        raise ConfigError(f"no such file or folder: {path}", hint=KINDS)
    if path.is_file() and _begins_with(path, MAGIC):
        return first_trusted(_proof, path, trusted_keys(trusted))
    shown = None if proof is None else _shown(proof)
    if path.is_file() and bills.signature_of(path).is_file():
        return first_trusted(partial(_bill, shown), path, trusted_keys(trusted))
    lying = shown or (_proof_file(path / bundle.PROOF) if (path / bundle.PROOF).is_file() else None)
    for marker, check in (
        (LAYOUT_FILE, partial(_image, shown)),
        ("model.sig", partial(_model, shown)),
        (pack.PACK, partial(_pack, lying)),
        ("evidence.dsse.json", partial(_evidence, lying)),
        (drill.SIGNATURE, partial(_drill, lying)),
        ("manifest.dsse.json", partial(_table, lying)),
        (erasure.CERTIFICATE, partial(_erasure, lying)),
        ("checkpoint", partial(_log, kept)),
    ):
        if (path / marker).is_file():
            return first_trusted(check, path, trusted_keys(trusted))
    if (path / bundle.MODEL_FOLDER).is_dir():
        raise VerificationError(
            f"{path} holds a model without model.sig: it is unsigned", hint="do not use it"
        )
    if path.parent.name == "runs" and any(path.glob("[1-4]-*")):
        raise VerificationError(
            f"{path} holds evidence without a signature",
            hint="the run did not finish, or the signature was removed",
        )
    raise ConfigError(f"{path} is nothing that casemate signs", hint=KINDS)


def _begins_with(path: Path, text: str) -> bool:
    with path.open("rb") as file:
        return file.read(len(text)) == text.encode()


def _image(proof: bytes | None, path: Path, trusted: Trusted) -> Verified:
    """A model, or the gateway."""
    if not carried.is_program(path):
        return _model(proof, path, trusted)
    image, manifest, found = carried.program(path)
    verifier = trusted.signers(proof)
    signed = admission.attested(found, verifier)
    if not any(_build_type(one) == GATEWAY_TYPE for one in signed):
        raise VerificationError(
            "nobody who is trusted here signed where this image comes from",
            hint="casemate image gateway --sign; copy what is attached: oras copy --recursive",
        )
    told = f"{image.digest} on {(manifest.annotations or {})[carried.BASE_DIGEST]}"
    return Verified("gateway image", told, _who(trusted, verifier))


def _bill(proof: bytes | None, path: Path, trusted: Trusted) -> Verified:
    verifier = trusted.signers(proof)
    bill, said = bills.verified(path, verifier)
    counts = f"{len(bill.models)} models, {len(bill.data)} data sets, {len(bill.parts)} components"
    told = f"{bill.format} of {bill.reference}, run {said.run} of {said.project}: {counts}"
    return Verified("bill of materials", told, _who(trusted, verifier))


def bill_of(path: Path | str, keys: Sequence[Path | str] = ()) -> Bill:
    """The bill of materials of a model that was handed over, once all of it is verified.

    Args:
        path: an exported model, or an OCI image layout with one.
        keys: files or folders with public keys that the reader trusts; default: those of their own
            projects.

    Raises:
        ConfigError: there is no model at `path`, or it has no bill. VerificationError: it was
            changed, or nobody trusted signed it. RefusedError: its owner took it back.
    """
    found = carried.read(Path(path))

    def check(_path: Path, trusted: Trusted) -> Bill:
        model, _ = judged(found, None, trusted)
        if bills.NAME not in model.files:
            raise ConfigError(f"the model at {path} has no bill of materials")
        return bills.read(model.files[bills.NAME])

    return first_trusted(check, Path(path), trusted_keys([Path(key) for key in keys]))


def require_of(path: Path | str, model: Path | str, keys: Sequence[Path | str] = ()) -> Verified:
    """That a bill is that of a model, byte for byte as it is written of the verified model.

    Args:
        path: the bill.
        model: as `bill_of` takes it.
        keys: as `bill_of` takes them.

    Raises:
        VerificationError: it is not, or the model does not hold. ConfigError: either is none.
    """
    content = bills.content_of(Path(path))
    form = bills.form_of(bills.read(content))
    made = bill_of(model, keys)
    if bills.written(made, form) != content:
        raise VerificationError(
            f"{path} is not the bill of {made.reference}",
            hint="another version of casemate may write it otherwise: casemate bom diff says what"
            " differs",
        )
    return Verified("bill of materials", f"{made.format} of {made.reference}", f"the model {model}")


def _build_type(statement: dict[str, Any]) -> object:
    try:
        return statement["predicate"]["buildDefinition"]["buildType"]
    except (KeyError, TypeError):
        return None


def _model(proof: bytes | None, path: Path, trusted: Trusted) -> Verified:
    found = carried.read(path)
    model, _ = judged(found, proof, trusted)
    return _of_model(model, found, trusted)


def _of_model(model: bundle.VerifiedModel, found: carried.Carried, trusted: Trusted) -> Verified:
    told = (
        f"{model.card.name}@{model.card.model_version} for {model.card.stage}, {len(model.files)}"
        " files"
    )
    if model.card.code:
        told += f", with code of its own: {', '.join(model.card.code)}"
    if found.image:
        told += f", image {found.image}"
    return Verified("model", told, _who(trusted, model.signer))


def admit(
    path: Path | str,
    keys: Sequence[Path | str] = (),
    *,
    into: Path | str | None = None,
    rules: admission.Rules = admission.Rules(),  # noqa: B008 - it cannot be changed
    digest: str | None = None,
    proof: Path | str | None = None,
    limit: int = MAX_LAYERS,
) -> Verified:
    """Verify a model that is about to be started, and write the bytes that were verified.

    The model is read once. What is written to `into` comes from memory, so nobody can exchange a
    file between the check and the start.

    Args:
        path: an exported model, the mount of an image with one, or an OCI image layout.
        keys: files or folders with public keys that the reader trusts; none of them may lie within
            `path`.
        into: where the verified model goes, read-only; None: nowhere.
        rules: what else it must be.
        digest: of the image that is meant, `sha256:…`.
        proof: see `verify_path`.
        limit: bytes of its files, of which nobody's signature is known while they are read.

    Raises:
        ConfigError: there is no such model, or `into` holds something else.
        VerificationError: it was changed, or nobody trusted signed it.
        RefusedError: it is withdrawn, its waiver has ended, it is for another stage, it is not
            approved, or nobody has said lately what is withdrawn.

    Returns:
        what it is and who signed it.
    """
    if into is not None:
        admission.require_elsewhere(Path(path), Path(into))
    verified, model, found = admitted(
        path, keys, rules=rules, digest=digest, proof=proof, limit=limit
    )
    if into is not None:
        admission.place(model, found, Path(into))
    return verified


def admitted(
    path: Path | str,
    keys: Sequence[Path | str] = (),
    *,
    rules: admission.Rules = admission.Rules(),  # noqa: B008 - it cannot be changed
    digest: str | None = None,
    proof: Path | str | None = None,
    limit: int = MAX_LAYERS,
) -> tuple[Verified, bundle.VerifiedModel, carried.Carried]:
    """As `admit`, for a server that loads the model from memory: what was said of it, the model,
    and what lay beside it.
    """
    path = Path(path)
    admission.require_apart(path, keys)
    found = carried.read(path, digest, limit)
    shown = None if proof is None else _shown(Path(proof))

    def check(
        _path: Path, trusted: Trusted
    ) -> tuple[Verified, bundle.VerifiedModel, carried.Carried]:
        model, _ = startable(found, shown, trusted, rules, SystemClock().now())
        return _of_model(model, found, trusted), model, found

    return first_trusted(check, path, trusted_keys([Path(key) for key in keys]))


def _evidence(proof: bytes | None, path: Path, trusted: Trusted) -> Verified:
    verifier = trusted.signers(proof)
    said = evidence.verify(path, verifier)
    return Verified(
        "evidence",
        f"run {said.run} of {said.project}: {said.model} {said.outcome}",
        _who(trusted, verifier),
    )


def _drill(proof: bytes | None, path: Path, trusted: Trusted) -> Verified:
    verifier = trusted.signers(proof)
    said = drill.verify(path, verifier)
    played = "every attack" if said.whole else "every attack that was asked for"
    told = f"not as expected: {', '.join(said.broken)}" if said.broken else f"{played} as expected"
    return Verified("drill", f"{said.drill} of {said.project}, {told}", _who(trusted, verifier))


def _pack(proof: bytes | None, path: Path, trusted: Trusted) -> Verified:
    if trusted.log_vkeys is None:
        raise WrongSigner(
            "no log key was given, so nothing shows when checks were done", hint="--key log.vkey"
        )
    verifier = trusted.signers(proof)
    found = pack.verify(path, verifier, trusted.log_vkeys)
    results = found.results
    told = (
        f"of {results.project} on {results.time[:19]}Z: {results.count('passed')} checks passed,"
        f" {results.count('failed')} failed, {results.count('inconclusive')} inconclusive,"
        f" {results.count('not-applicable')} not applicable; {len(found.models)} models,"
        f" {found.files} files, {found.entries} entries of the log"
    )
    return Verified("evidence pack", told, _who(trusted, verifier))


def _table(proof: bytes | None, path: Path, trusted: Trusted) -> Verified:
    verifier = trusted.signers(proof)
    said = manifests.check(path, verifier)
    return Verified(
        "data set",
        f"{said.get('name')}@{said.get('version')}, {said.get('rows')} rows",
        _who(trusted, verifier),
    )


def _erasure(proof: bytes | None, path: Path, trusted: Trusted) -> Verified:
    if trusted.log_vkeys is None:
        raise WrongSigner("no log key was given", hint="pass --key log.vkey")
    verifier = trusted.signers(proof)
    said, proven = erasure.check(path, verifier, trusted.log_vkeys)
    closing, models = said.closing, said.closing.get("models", [])
    told = (
        f"request {said.request} of {said.project}, closed {said.closed[:10]}:"
        f" {closing['keys']} keys destroyed, {closing['rows']} rows without identifier, looked"
        f" through for {closing['identifiers']} identifiers, {len(models)} models;"
        f" entry {said.entry} of {proven.checkpoint.size}"
    )
    return Verified("certificate of erasure", told, _who(trusted, verifier))


def _log(checkpoints: list[Path], path: Path, trusted: Trusted) -> Verified:
    if trusted.log_vkeys is None:
        raise WrongSigner("no log key was given", hint="pass --key log.vkey")
    log = verify_log(path, trusted.log_vkeys)
    for kept in checkpoints:
        log.require_prefix(verify_checkpoint(kept.read_bytes(), trusted.log_vkeys), str(kept))
    told = f"{log.checkpoint.size} entries of {log.checkpoint.origin}"
    if witnesses := parse_keys(trusted.witness_vkeys or ""):
        names = _cosigners(path, log, witnesses, trusted.log_vkeys)
        told += f", cosigned by {', '.join(names)}"
    return Verified("audit log", told, f"log keys from {trusted.origin}")


def _cosigners(path: Path, log: VerifiedLog, keys: list[Key], vkeys: str) -> list[str]:
    """Every witness whose keys were given must have cosigned a former state of this log."""
    peers = {name: [key for key in keys if key.name == name] for name in {key.name for key in keys}}
    if not (path / WITNESSED).is_file():
        raise VerificationError(
            f"{path} has no cosigned checkpoint",
            hint="the log's owner must collect cosignatures: casemate audit cosign",
        )
    _, names = log.cosigned((path / WITNESSED).read_bytes(), vkeys, peers)
    missing = sorted(set(peers) - set(names))
    if missing:
        raise VerificationError(
            f"the witness {missing[0]} did not cosign this log",
            hint="ask the witness what it knows of the log",
        )
    return names


def _proof(path: Path, trusted: Trusted) -> Verified:
    if trusted.log_vkeys is None:
        raise WrongSigner("no log key was given", hint="pass --key log.vkey")
    proven = verify_proof(_proof_file(path), trusted.log_vkeys)
    entry = proven.entry
    told = (
        f"{entry.index} of {proven.checkpoint.origin}: {entry.time} {entry.principal}"
        f" {entry.action} {entry.resource} {entry.outcome}"
    )
    return Verified("entry", told, f"log keys from {trusted.origin}")


def _shown(proof: Path) -> bytes:
    """The proof that the reader was given."""
    if not proof.is_file():
        raise ConfigError(f"no such proof: {proof}", hint="as `casemate audit prove` writes it")
    return _proof_file(proof)


def _proof_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_PROOF + 1)


def _who(trusted: Trusted, verifier: Verifier) -> str:
    return f"keys from {trusted.origin}, SHA-256 {verifier.fingerprint}"
