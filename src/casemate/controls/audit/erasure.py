"""Certificates of erasure, checked from public keys alone."""

from pathlib import Path
from typing import Any

import msgspec

from casemate.controls.audit.proof import MAX_PROOF, ProvenEntry, verify_proof
from casemate.core.digest import sha256
from casemate.core.errors import VerificationError
from casemate.core.signatures import Verifier, read_envelope, subjects_of
from casemate.core.types import Record

CERTIFICATE = "erasure.dsse.json"
PROOF = "entry.proof"
PREDICATE = "https://casemate.dev/erasure/v1"
ACTION = "request:fulfilled"


class Certified(Record, frozen=True, kw_only=True):
    """What a certificate says."""

    project: str
    """Id of the project."""
    request: int
    """Number of the request."""
    entry: int
    """Of the log, that says the same."""
    closed: str
    """When, ISO 8601."""
    closing: dict[str, Any]
    """What was seen, as the log's entry has it."""


def check(folder: Path, verifier: Verifier, vkeys: str) -> tuple[Certified, ProvenEntry]:
    """What a certificate says, and the log's entry that says the same.

    Raises:
        VerificationError: it was changed, nobody trusted signed it, or the log says something else.
    """
    try:
        envelope = read_envelope((folder / CERTIFICATE).read_bytes())
        with (folder / PROOF).open("rb") as file:
            proof = file.read(MAX_PROOF + 1)
    except FileNotFoundError as error:
        raise VerificationError(
            f"{folder} holds no whole certificate", hint="casemate privacy request certificate N"
        ) from error
    statement = verifier.verify_statement(envelope, PREDICATE)
    if subjects_of(statement) != {PROOF: sha256(proof)}:
        raise VerificationError("the certificate was signed with another proof of its entry")
    try:
        said = msgspec.convert(statement.get("predicate"), Certified)
    except msgspec.ValidationError as error:
        raise VerificationError("the certificate does not say what was erased") from error
    proven = verify_proof(proof, vkeys)
    entry = proven.entry
    same = (
        entry.action == ACTION
        and entry.outcome == "done"
        and entry.resource == f'Request::"{said.request}"'
        and entry.index == said.entry
        and entry.detail.get("closing") == said.closing
    )
    if not same:
        raise VerificationError("the log's entry says something else than the certificate")
    return said, proven
