"""The signed evidence of a run: the digest of every file in its folder, checked from public keys
alone.
"""

from pathlib import Path
from typing import Any

from casemate.core.digest import sha256_file
from casemate.core.errors import VerificationError
from casemate.core.signatures import Verifier, read_envelope, subjects_of

EVIDENCE = "evidence.dsse.json"
PREDICATE = "https://casemate.dev/run-evidence/v1"


def verify(folder: Path, verifier: Verifier) -> dict[str, Any]:
    """What a run's signed evidence says, after checking every file; VerificationError when anything
    was changed.
    """
    try:
        envelope = read_envelope((folder / EVIDENCE).read_bytes())
    except FileNotFoundError as error:
        raise VerificationError(
            f"{folder} holds no signed evidence",
            hint="the run is not finished, or the file was removed",
        ) from error
    statement = verifier.verify_statement(envelope, PREDICATE)
    listed = subjects_of(statement)
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {
        EVIDENCE
    }
    if found != set(listed):
        raise VerificationError(
            f"the evidence has missing or extra files: {', '.join(sorted(found ^ set(listed)))}"
        )
    for name, digest in listed.items():
        if sha256_file(folder / name) != digest:
            raise VerificationError(
                f"the evidence file {name} was changed after signing",
                hint="restore it from a backup",
            )
    return dict(statement["predicate"])
