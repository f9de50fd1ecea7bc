"""Bills in files: read whoever wrote them, written in the form that somebody asks for, signed."""

import os
from pathlib import Path
from typing import Any

import msgspec

from casemate.core.digest import sha256
from casemate.core.errors import ConfigError, VerificationError
from casemate.core.signatures import Signer, Verifier, read_envelope, subjects_of
from casemate.core.types import Record
from casemate.stages.release.bom import cyclonedx, cyclonedxfile, spdx, spdxfile
from casemate.stages.release.bom.forms import TITLES, Form
from casemate.stages.release.bom.materials import Bill

NAME = "mlbom.cdx.json"
"""Of the bill that is signed with a model: what every other one is made of."""
PREDICATE = "https://casemate.dev/bill-of-materials/v1"
SUBJECT = "bill"
"""Of the statement: a file may be called anything."""
SIGNATURE = ".sig"
MOST = 64 * 2**20
"""Bytes of a bill; ours have less than one MiB."""
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_TAKEN = "CycloneDX JSON 1.2 to 1.7, or SPDX 3.0 JSON-LD"


class Signed(Record, frozen=True, kw_only=True):
    """What is signed of a bill beside its bytes."""

    project: str
    """Id of the project whose keys signed."""
    reference: str
    """`NAME@VERSION` of the model."""
    run: str
    model: str
    """SHA-256 over the digests of the model's files, as its own signature has it; empty: it was
    refused, so nothing of it is signed.
    """


def read(content: bytes) -> Bill:
    """A bill, whichever of the formats it is in.

    Raises:
        ConfigError: it is none, of a version that is not known, too large or too deep.
    """
    value = _parsed(content)
    if value.get("bomFormat") == "CycloneDX":
        return cyclonedxfile.read(value)
    if "@graph" in value and "@context" in value:
        return spdxfile.read(value)
    if "spdxVersion" in value:
        raise ConfigError(
            f"{str(value['spdxVersion'])[:20]!r} is not read here", hint=f"taken is {_TAKEN}"
        )
    raise ConfigError("this is no bill of materials", hint=f"taken is {_TAKEN}")


def _parsed(content: bytes) -> dict[str, Any]:
    if len(content) > MOST:
        raise ConfigError(f"the bill is larger than {MOST // 2**20} MiB", hint="split it")
    if content.lstrip()[:1] == b"<":
        raise ConfigError("bills in XML are not read", hint=f"taken is {_TAKEN}")
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ConfigError("this is no JSON object", hint=f"taken is {_TAKEN}") from error


def content_of(path: Path) -> bytes:
    """What a file holds, no more than a bill may.

    Raises:
        ConfigError: it cannot be read, is no file, or is too large.
    """
    try:
        with open(os.open(path, _READ), "rb") as file:
            content = file.read(MOST + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", hint="name a file") from error
    if len(content) > MOST:
        raise ConfigError(f"{path} is larger than {MOST // 2**20} MiB", hint="split it")
    return content


def written(bill: Bill, form: Form) -> bytes:
    """The bill in a form, the same bytes each time; ConfigError: SPDX without its extra."""
    return spdx.written(bill) if form == "spdx-3.0" else cyclonedx.written(bill, form)


def signature_of(path: Path) -> Path:
    """Where the signature of a bill lies."""
    return Path(f"{path}{SIGNATURE}")


def require_name(path: Path) -> None:
    """ConfigError: a path to be written names a folder."""
    if path.is_dir():
        raise ConfigError(f"{path} is a folder", hint="name a file")


def sign(content: bytes, said: Signed, signer: Signer) -> bytes:
    """The signed statement about a bill."""
    return signer.sign_statement({SUBJECT: sha256(content)}, PREDICATE, msgspec.to_builtins(said))


def _beside(path: Path) -> bytes:
    with signature_of(path).open("rb") as file:
        return file.read(MOST + 1)


def unsigned(path: Path) -> VerificationError:
    """That nobody says whose a bill is."""
    return VerificationError(
        f"{path} is unsigned: there is no {signature_of(path).name} beside it",
        hint="ask whoever gave it for both files; casemate bom export writes them",
    )


def form_of(bill: Bill) -> Form:
    """The form that a bill was read from; ConfigError: no form that is written here."""
    for form, title in TITLES.items():
        if bill.format == title:
            return form
    raise ConfigError(f"{bill.format} is not written here", hint=", ".join(TITLES.values()))


def verified(path: Path, verifier: Verifier) -> tuple[Bill, Signed]:
    """A bill whose signature holds, and what was signed of it.

    Args:
        path: the bill; its signature lies beside it as `FILE.sig`.
        verifier: whose signature counts.

    Raises:
        VerificationError: it is unsigned, was changed, or is of another model than was signed.
            WrongSigner: others signed it. ConfigError: it is no bill.
    """
    content = content_of(path)
    try:
        statement = verifier.verify_statement(read_envelope(_beside(path)), PREDICATE)
        said = msgspec.convert(statement.get("predicate"), Signed)
    except OSError as error:
        raise unsigned(path) from error
    except msgspec.ValidationError as error:
        raise VerificationError(
            f"the signature of {path} says nothing of a bill", hint="ask for both files again"
        ) from error
    if subjects_of(statement) != {SUBJECT: sha256(content)}:
        raise VerificationError(
            f"{path} was changed after signing", hint="ask whoever gave it for both files again"
        )
    bill = read(content)
    if bill.reference != said.reference:
        raise VerificationError(
            f"{path} is of {bill.reference}, and signed as of {said.reference}",
            hint="ask whoever gave it what it is",
        )
    return bill, said
