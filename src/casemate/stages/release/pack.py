"""An evidence pack: a folder with the results of controls, the facts behind them, and the log's
proofs of both, which whoever has the project's public keys verifies without the project.

`pack.dsse.json` is a signed in-toto statement over every other file. What a signature cannot show,
the log does: when the results were recorded, and that they were these.
"""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from casemate.controls.audit.checkpoint import VerifiedCheckpoint, verify_checkpoint
from casemate.controls.audit.proof import MAX_PROOF, verify_proof
from casemate.core.digest import sha256, sha256_record
from casemate.core.entry import Entry
from casemate.core.errors import VerificationError
from casemate.core.signatures import Verifier, read_envelope, subjects_of
from casemate.core.types import Record
from casemate.stages.release import bundle

PACK = "pack.dsse.json"
PREDICATE = "https://casemate.dev/evidence-pack/v1"
RESULTS, INDEX, FACTS, LOG, MODELS = "controls.json", "index.html", "facts", "log", "models"
BILL = "mlbom.cdx.json"
OSCAL = "oscal/assessment-results.json"
CHECKPOINT, PROOF = f"{LOG}/checkpoint", ".tlog-proof"
CHECKED = "controls:checked"
"""The log's entries with the results of checks."""
MAX_FILE, MAX_FILES, MAX_DEPTH = 64 * 2**20, 5_000, 6
"""Bytes of a file, files, and folders within one another: what is read before it is trusted."""
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
Outcome = Literal["passed", "failed", "inconclusive", "not-applicable"]
"""`inconclusive` is not passed: the fact could not be had. `not-applicable`: there is nothing that
the check is about.
"""


class CheckResult(Record, frozen=True, kw_only=True):
    """One check in `controls.json`."""

    id: str
    title: str
    """What must hold."""
    answers: str
    """The role that answers for it."""
    outcome: Outcome
    said: str
    """Why, in one sentence."""
    digest: Digest
    """SHA-256 of `facts/ID.json`."""
    passed: str = ""
    """When it last passed, RFC 3339 in UTC; empty: never."""
    passed_entry: int | None = None
    """The entry of the log that says so."""


class ControlResult(Record, frozen=True, kw_only=True):
    """One control in `controls.json`."""

    section: str
    title: str
    checks: list[str]
    outside: str
    """What of it no check covers."""
    answers: list[str]
    """Everybody who answers for some of it."""


class FrameworkResult(Record, frozen=True, kw_only=True):
    """One framework in `controls.json`."""

    id: str
    name: str
    version: str
    source: str
    controls: list[ControlResult]

    @property
    def told(self) -> list[int | str]:
        """What the log's entry says of it: how many controls it has, and the SHA-256 of all that is
        said of them.
        """
        each = [
            [one.section, one.title, one.checks, one.outside, one.answers] for one in self.controls
        ]
        said = [self.id, self.name, self.version, self.source, each]
        return [len(each), sha256_record(said)]


class Results(Record, frozen=True, kw_only=True):
    """`controls.json`."""

    project: str
    """Its id."""
    time: str
    """When the checks were recorded, RFC 3339 in UTC."""
    entry: int
    """The entry of the log that recorded them."""
    catalogue: Digest
    """Which catalogue of controls they are of."""
    checks: list[CheckResult]
    frameworks: list[FrameworkResult]
    version: int = 1

    def count(self, outcome: Outcome) -> int:
        """How many checks ended so."""
        return sum(one.outcome == outcome for one in self.checks)


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What the signed statement says beside the digests of the files."""

    project: str
    time: str
    entry: int


class _Model(msgspec.Struct, frozen=True):
    name: str
    version: str


class _About(msgspec.Struct, frozen=True):
    component: _Model


class _Bill(msgspec.Struct, frozen=True):
    metadata: _About


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a fact says of itself; the rest is for people."""

    check: str
    outcome: Outcome
    said: str


class VerifiedPack(Record, frozen=True, kw_only=True):
    """A pack in which everything holds; made by `verify` only."""

    results: Results
    models: list[str]
    """References of the models whose signatures were verified."""
    entries: int
    """Entries of the log that its checkpoint commits to."""
    files: int


def verify(folder: Path, verifier: Verifier, vkeys: str) -> VerifiedPack:
    """Check every file, signature and proof of a pack.

    Args:
        folder: the pack.
        verifier: the signers that are trusted.
        vkeys: the log's verifier keys.

    Raises:
        WrongSigner: others signed it. VerificationError: a file was changed, is missing or is too
            many, or the log never recorded these results.
    """
    statement = verifier.verify_statement(read_envelope(_read(folder / PACK)), PREDICATE)
    files = dict(_files(folder, subjects_of(statement)))
    try:
        said = msgspec.convert(statement.get("predicate"), Said)
        results = msgspec.json.decode(files[RESULTS], type=Results)
    except (KeyError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise VerificationError("the pack's results cannot be read", hint=AGAIN) from error
    if (said.project, said.time, said.entry) != (results.project, results.time, results.entry):
        raise VerificationError("the pack contradicts itself", hint=AGAIN)
    head = _facts_are_recorded(files, results, vkeys)
    models = [_model(files, name, verifier) for name in _below(files, MODELS)]
    return VerifiedPack(results=results, models=models, entries=head.size, files=len(files) + 1)


AGAIN = "ask whoever made it for the pack again, and for what happened to this one"


def _read(path: Path) -> bytes:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            content = file.read(MAX_FILE + 1)
    except OSError as error:
        raise VerificationError(f"{path} cannot be read: {error.strerror}", hint=AGAIN) from error
    if len(content) > MAX_FILE:
        raise VerificationError(f"{path} is larger than 64 MiB", hint=AGAIN)
    return content


def _files(folder: Path, listed: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    """(name, content) of every file but the statement, which must be those that it lists."""
    names = list(islice(_names(folder, folder, 0), MAX_FILES + 1))
    if len(names) > MAX_FILES:
        raise VerificationError("the pack has more files than any has", hint=AGAIN)
    found = set(names) - {PACK}
    if found != set(listed):
        odd = sorted(found ^ set(listed))
        raise VerificationError(
            f"the pack has missing or extra files: {', '.join(odd[:5])}", hint=AGAIN
        )
    for name, digest in sorted(listed.items()):
        content = _read(folder / name)
        if sha256(content) != digest:
            raise VerificationError(f"the pack's file {name} was changed after signing", hint=AGAIN)
        yield name, content


def _names(top: Path, folder: Path, depth: int) -> Iterator[str]:
    count = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            count += 1
            if count > MAX_FILES or depth > MAX_DEPTH:
                raise VerificationError("the pack has more files than any has", hint=AGAIN)
            if entry.is_dir(follow_symlinks=False):
                yield from _names(top, Path(entry.path), depth + 1)
            else:  # links too: no statement lists one
                yield Path(entry.path).relative_to(top).as_posix()


def _below(files: dict[str, bytes], folder: str) -> list[str]:
    """Names of the folders directly in `folder`."""
    parts = (PurePosixPath(name).parts for name in files)
    return sorted({part[1] for part in parts if len(part) > 2 and part[0] == folder})


def _facts_are_recorded(
    files: dict[str, bytes], results: Results, vkeys: str
) -> VerifiedCheckpoint:
    """The log's head, once it was shown that it recorded these results, of these facts."""
    ids = [one.id for one in results.checks]
    asked = {name for one in results.frameworks for each in one.controls for name in each.checks}
    if len(set(ids)) != len(ids) or not asked <= set(ids):
        odd = sorted({name for name in ids if ids.count(name) > 1} | asked - set(ids))
        raise VerificationError(
            f"the pack has not one result of each check: {', '.join(odd[:5])}", hint=AGAIN
        )
    for one in results.checks:
        content = files.get(f"{FACTS}/{one.id}.json", b"")
        if sha256(content) != one.digest or _told(content) != (one.id, one.outcome, one.said):
            raise VerificationError(f"the result of {one.id} is not of its fact", hint=AGAIN)
    head = verify_checkpoint(files.get(CHECKPOINT, b""), vkeys)
    entry = _proven(files, results.entry, vkeys, head)
    _require_frameworks(entry, results)
    told = entry.detail.get("results")
    if (
        entry.time != results.time
        or entry.detail.get("catalogue") != results.catalogue
        or told != {one.id: [one.outcome, one.digest] for one in results.checks}
    ):
        raise VerificationError("the log recorded other results than the pack has", hint=AGAIN)
    for one in results.checks:
        if one.passed_entry is None:
            continue
        before = _proven(files, one.passed_entry, vkeys, head)
        if before.time != one.passed or _outcome(before, one.id) != "passed":
            raise VerificationError(f"the log does not say when {one.id} passed", hint=AGAIN)
    return head


def _require_frameworks(entry: Entry, results: Results) -> None:
    """VerificationError: the pack leaves out a framework or a control that was recorded, or says
    something else of it. Entries of before casemate wrote them down have none.
    """
    recorded = entry.detail.get("frameworks")
    if recorded is None:
        return
    here = {one.id: one.told for one in results.frameworks}
    if len(here) == len(results.frameworks) and here == recorded:
        return
    listed = recorded if isinstance(recorded, dict) else {}
    odd = sorted(name for name in here.keys() | listed.keys() if here.get(name) != listed.get(name))
    raise VerificationError(
        f"the log recorded other controls than the pack has: {', '.join(odd[:5])}", hint=AGAIN
    )


def _told(fact: bytes) -> tuple[str, str, str] | None:
    """What a fact says of itself; None: it is none."""
    try:
        told = msgspec.json.decode(fact, type=Told)
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return None
    return told.check, told.outcome, told.said


def _outcome(entry: Entry, check: str) -> Any:
    told = entry.detail.get("results")
    found = told.get(check) if isinstance(told, dict) else None
    return found[0] if isinstance(found, list) and found else None


def _proven(files: dict[str, bytes], index: int, vkeys: str, head: VerifiedCheckpoint) -> Entry:
    """An entry with results, by its proof in the pack, in the tree of the pack's checkpoint."""
    content = files.get(f"{LOG}/{index}{PROOF}", b"")[: MAX_PROOF + 1]
    proven = verify_proof(content, vkeys)
    seen = proven.checkpoint
    if (seen.origin, seen.size, seen.root) != (head.origin, head.size, head.root):
        raise VerificationError("the pack's proofs are of another state of the log", hint=AGAIN)
    if proven.entry.index != index or proven.entry.action != CHECKED:
        raise VerificationError(f"entry {index} of the log has no results", hint=AGAIN)
    return proven.entry


def _model(files: dict[str, bytes], name: str, verifier: Verifier) -> str:
    """The reference of a model whose signature holds, over every file of it that the pack has."""
    place = f"{MODELS}/{name}"
    envelope, signer = bundle.envelope_of(files.get(f"{place}/{bundle.BUNDLE}", b""), verifier)
    listed = bundle.resources_of(signer.verify_statement(envelope, bundle.PREDICATE))
    inner = f"{place}/{bundle.MODEL_FOLDER}/"
    for file in (one for one in files if one.startswith(inner)):
        if listed.get(file.removeprefix(inner)) != sha256(files[file]):
            raise VerificationError(f"{file} is no file of the signed model", hint=AGAIN)
    if _billed(files.get(inner + BILL, b"")) != name:
        raise VerificationError(f"the signed model in {place} is another one", hint=AGAIN)
    return name


def _billed(bill: bytes) -> str:
    """The reference of the model that a bill of materials is of; empty: none."""
    try:
        about = msgspec.json.decode(bill, type=_Bill).metadata.component
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return ""
    return f"{about.name}@{about.version}"
