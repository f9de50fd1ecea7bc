"""The signed evidence of a run: the digest of every file in its folder, checked from public keys
alone.
"""

from pathlib import Path
from typing import Any

import msgspec

from casemate.core.digest import sha256_file
from casemate.core.errors import VerificationError
from casemate.core.signatures import Verifier, read_envelope, subjects_of

EVIDENCE = "evidence.dsse.json"
PREDICATE = "https://casemate.dev/run-evidence/v1"


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What the evidence says of its run, beside the digests of its files. The fields are in the
    order in which the signed statement has them; one that a newer casemate added is no fault.
    """

    model: str
    """`NAME@VERSION`."""
    outcome: str
    """`passed`, `refused` or `inconclusive`."""
    project: str
    """Id of the project."""
    run: str
    """Id of the run."""


def verify(folder: Path, verifier: Verifier) -> Said:
    """What a run's signed evidence says, after checking every file; VerificationError when anything
    was changed.
    """
    statement = checked(folder, verifier, EVIDENCE, PREDICATE)
    try:
        return msgspec.convert(statement.get("predicate"), Said)
    except msgspec.ValidationError as error:
        raise VerificationError(
            "the signed evidence says nothing of its run", hint="restore it from a backup"
        ) from error


def checked(folder: Path, verifier: Verifier, name: str, predicate: str) -> dict[str, Any]:
    """The signed statement over all files of a folder, after checking every one.

    Args:
        folder: holds them.
        verifier: of whoever signed.
        name: of the file with the signature.
        predicate: type of the statement.

    Raises:
        VerificationError: it is not there or not signed, or a file was changed, is missing or is
            extra.
    """
    try:
        envelope = read_envelope((folder / name).read_bytes())
    except FileNotFoundError as error:
        raise VerificationError(
            f"{folder} holds no signed evidence",
            hint="the run is not finished, or the file was removed",
        ) from error
    statement = verifier.verify_statement(envelope, predicate)
    listed = subjects_of(statement)
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {name}
    if found != set(listed):
        raise VerificationError(
            f"the evidence has missing or extra files: {', '.join(sorted(found ^ set(listed)))}"
        )
    for file, digest in listed.items():
        if sha256_file(folder / file) != digest:
            raise VerificationError(
                f"the evidence file {file} was changed after signing",
                hint="restore it from a backup",
            )
    return statement
