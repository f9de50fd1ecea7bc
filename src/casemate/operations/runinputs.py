"""What a run is made of, beside what a scan looked at: a scan of other inputs says nothing about a
model, however clean it was.
"""

from collections.abc import Collection, Mapping
from pathlib import PurePosixPath

from msgspec import structs

from casemate.core.digest import sha256, sha256_file
from casemate.core.errors import ConfigError
from casemate.core.types.scan import ENVIRONMENT, TRAINING_CODE, ScanKind
from casemate.ml.own import code as own
from casemate.respond.findings import Scanned
from casemate.stages.release.mlbom import environment_digest
from casemate.stages.train.training_code import IMPORTED, code_of, digest_of
from casemate.supply.scanners.interface import Looked
from casemate.supply.scanners.manifests import names_packages
from casemate.supply.scanners.place import listed
from casemate.wiring import Wiring

MOST_NAMED = 100
"""Files of training code that a scan remembers by name; of more it remembers the whole alone."""


def trained_by(project: Wiring, files: Collection[str]) -> dict[str, str]:
    """The training code that a run would take now: SHA-256 by path, of all of it together under
    `TRAINING_CODE`. What no scan looks at has none, and then all of it together has none either.

    Args:
        project: whose.
        files: that a scan looks at, below the project's folder.
    """
    try:
        code = code_of(project.root, project.config)
    except (ConfigError, OSError):
        return {TRAINING_CODE: ""}  # there is none yet, or none that a run would take
    known = set(files)
    each = {}
    for name, content in code.items():
        path = _path_of(project, name)
        each[path] = sha256(content) if path in known else ""
    whole = digest_of(code) if all(each.values()) else ""
    return {**dict(sorted(each.items())[:MOST_NAMED]), TRAINING_CODE: whole}


def _path_of(project: Wiring, name: str) -> str:
    """Where a file of the training code lies, by the name that a run knows it by."""
    train = project.config.train
    if name in IMPORTED.values() and train.model is not None:
        return str(PurePosixPath(train.model))
    for path in train.transformers:
        if own.place_of(path) == name:
            return str(PurePosixPath(path))
    return name


def with_inputs(project: Wiring, answer: Looked, code: Mapping[str, str]) -> Looked:
    """A scanner's answer with what of the training code it was given.

    Args:
        project: whose.
        answer: its answer.
        code: as `trained_by` has it.
    """
    if answer.kind not in _coded(project):
        return answer
    return structs.replace(answer, inputs={**answer.inputs, **code})


def _coded(project: Wiring) -> tuple[ScanKind, ...]:
    """Kinds that are about training code."""
    return ("code", "secrets") if project.config.train.model is None else ("artifacts",)


def compared(
    project: Wiring, newest: Mapping[ScanKind, Scanned]
) -> tuple[dict[ScanKind, str], list[str], list[str]]:
    """(digest of the training code that each kind was looked at in, its files that are others by
    now, what else is another, in a sentence each).

    Args:
        project: whose.
        newest: the last scan of each kind that counts.
    """
    inputs = {kind: _inputs(scan, kind) for kind, scan in newest.items()}
    files, _, _ = listed(project.root, project.config.scan.exclude)
    now = trained_by(project, files)
    code: dict[ScanKind, str] = {}
    changed: dict[str, None] = {}
    for kind in _coded(project):
        if kind not in inputs:
            continue
        then = inputs[kind]
        code[kind] = then.get(TRAINING_CODE, "")
        for path, digest in now.items():
            if path != TRAINING_CODE and (not then.get(path) or then[path] != digest):
                left = "" if digest else ", which no scan looks at"
                changed[path + left] = None
    others = _packages(project, inputs["dependencies"], files) if "dependencies" in inputs else []
    return code, list(changed), others


def _inputs(scan: Scanned, kind: ScanKind) -> dict[str, str]:
    return {
        name: digest
        for part in scan.parts
        if part.kind == kind
        for name, digest in part.inputs.items()
    }


def _packages(project: Wiring, then: Mapping[str, str], files: Collection[str]) -> list[str]:
    """What names packages, and what is installed, where it is another by now."""
    if ENVIRONMENT not in then:
        return ["dependencies: nobody kept what was looked at; casemate scan dependencies"]
    others = []
    if then.get(ENVIRONMENT) != environment_digest():
        others.append(
            "dependencies: other packages are installed here than were looked at; casemate scan"
            " dependencies, with this Python"
        )
    named = {path for path in files if names_packages(path)} | (then.keys() - {ENVIRONMENT})
    for path in sorted(named):
        file = project.root / path
        digest = sha256_file(file) if file.is_file() else ""
        if digest != then.get(path, ""):
            what = "is gone" if not digest else "was changed" if path in then else "is new"
            others.append(
                f"dependencies: {path} {what} since it was looked at; casemate scan dependencies"
            )
    return others
