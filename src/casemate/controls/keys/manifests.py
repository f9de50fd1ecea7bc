"""The signed manifest of a sealed table: whoever has the public keys checks it, without reading the
table.

An in-toto statement with the SHA-256 of each data file; see `tables`, which seals and reads them.
"""

from pathlib import Path
from typing import Any

from casemate.core.digest import sha256_file
from casemate.core.errors import VerificationError
from casemate.core.signatures import Verifier, read_envelope, subjects_of

MANIFEST = "manifest.dsse.json"
REMOVED = "removed.json"
"""What stands in place of rows whose term ended."""
PREDICATE = "https://casemate.dev/dataset/v1"


def check(folder: Path, verifier: Verifier) -> dict[str, Any]:
    """Verify the manifest's signatures and every file's digest; return what the manifest says.

    Raises:
        VerificationError: a file is missing, extra, changed or swapped, or the manifest is not this
            signer's.
    """
    return verified(folder, verifier)[0]


def verified(folder: Path, verifier: Verifier) -> tuple[dict[str, Any], dict[str, str]]:
    """(what the manifest says, digest of every data file), after checking both."""
    said, expected = manifest(folder, verifier)
    compare(folder, expected)
    return said, expected


def manifest(folder: Path, verifier: Verifier) -> tuple[dict[str, Any], dict[str, str]]:
    """(what the manifest says, digest that every data file must have), after checking the
    signatures and the list of files.
    """
    if (folder / REMOVED).exists():
        raise VerificationError(
            f"the rows of {folder.parent.name}@{folder.name} were removed when their term ended",
            hint=f"{folder / REMOVED} names the entry of the log; a newer version has rows, and"
            " `casemate run --fresh` seals what the source has now",
        )
    try:
        envelope = read_envelope((folder / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise VerificationError(
            f"the sealed table {folder} has no manifest", hint="restore it from a backup"
        ) from error
    statement = verifier.verify_statement(envelope, PREDICATE)
    expected = subjects_of(statement)
    allowed = set(expected) | {MANIFEST} | {f"_KEY_MATERIAL_FOR_{name}.json" for name in expected}
    found = {entry.name for entry in folder.iterdir()}
    if found != allowed:
        odd = ", ".join(sorted(found ^ allowed))
        raise VerificationError(
            f"the sealed table {folder} has missing or extra files: {odd}",
            hint="restore it from a backup",
        )
    return dict(statement["predicate"]), expected


def compare(folder: Path, expected: dict[str, str]) -> None:
    """Hash every data file; VerificationError when one has another digest than the manifest
    says.
    """
    for name, digest in expected.items():
        if sha256_file(folder / name) != digest:
            raise VerificationError(
                f"the data file {folder / name} was changed or swapped",
                hint="restore it from a backup",
            )
