"""What may be told of the training code's own words: nothing that could quote the data that it saw.

An exception's text, a parameter, the name of a class, the address in a finding: all of it comes
from code that holds the training rows, so it is data of the highest class that the code saw.
Records, evidence, log, notices and the catalogue hold what this module lets through: names from
fixed lists, places in the code that lie there, values that casemate.toml lists. The words
themselves are sealed (`Words`), for whoever may read those columns. Figures and the model depend on
the data too; see docs/adr/0030.
"""

import builtins
import re
from collections.abc import Collection, Mapping
from functools import cache
from importlib import resources
from typing import Any

import msgspec

from casemate.config import TrainTable
from casemate.core.findings import attempts
from casemate.core.sandbox.failure import JobFailed
from casemate.core.types import Finding, Record
from casemate.ml.own import code as own

LIBRARY = (
    "ArrowInvalid", "ArrowMemoryError", "BadEntry", "BadSearch", "FailedPreconditionError",
    "InvalidParameterError", "LinAlgError", "NotFittedError", "OutOfMemoryError", "UFuncTypeError",
    "_ArrayMemoryError",
)  # fmt: skip
"""Exceptions of ours and of libraries that are named; every other name was chosen by the code."""
OURS = frozenset({"PrivateClassifier", "NetworkClassifier"})
METRICS = {"roc_auc", "roc_auc_ovr", "r2", "neg_root_mean_squared_error", "neg_mean_pinball_loss"}
"""What is chosen where casemate.toml names no scorer."""
FRAME, IMPORTED = re.compile(r'File "[^"]*/in/([^"]+)", line (\d+)'), "an imported ONNX graph"
DIGITS = 6
"""Significant digits of a score; see `figure`."""
_NAMED = 10
"""Classes of the user's that a sentence lists."""
_LONG = 10
"""Digits that no number of a line has: 16 MiB of code have fewer lines."""


class Words(Record, frozen=True, kw_only=True):
    """What the training code said, sealed as an object."""

    salt: str
    """Random: the object's address is a digest of its content, and nobody shall find a short text
    by trying.
    """
    error: str = ""
    """Why it failed, and how it came to that."""
    estimator: str = ""
    """The estimator's repr."""
    findings: list[str] = []
    """Messages of the sandbox's findings."""
    export_problem: str = ""
    """Why there is no ONNX file."""


def failure(error: JobFailed, code: Mapping[str, bytes], entry: str) -> str:
    """Why the code failed: the exception's type, and where in the code, if both are what they can
    be.
    """
    told = {finding.id for finding in attempts(error.findings) if finding.severity == "high"}
    refused = f"; refused by the sandbox: {', '.join(sorted(told))}" if told else ""
    if error.from_outside:
        return f"{entry}: {error.plain}{refused}"
    known = error.kind in LIBRARY or isinstance(getattr(builtins, error.kind, None), type)
    return (
        f"{entry}:"
        f" {error.kind if known else 'an exception of its own'}{place(error.hint, code)}{refused}"
    )


def place(trace: str, code: Mapping[str, bytes]) -> str:
    """`, train.py line 12` for the innermost frame of a traceback that lies in the code; empty when
    none does.
    """
    for name, line in reversed(FRAME.findall(trace)):
        if name in code and len(line) < _LONG and 1 <= int(line) <= code[name].count(b"\n") + 1:
            return f", {name} line {int(line)}"
    return ""


def parameters(params: dict[str, Any], options: TrainTable) -> dict[str, Any] | None:
    """Parameters as told; None when casemate.toml does not list one of them."""
    told = {}
    for name, value in params.items():
        space = options.search.get(name)
        if isinstance(space, list) and any(
            type(value) is type(one) and value == one for one in _as_json(space)
        ):
            told[name] = value
        elif (
            isinstance(space, dict)
            and isinstance(value, int | float)
            and not isinstance(value, bool)
            and space["low"] <= value <= space["high"]
        ):
            told[name] = value if isinstance(value, int) else figure(value)
        else:
            return None
    return told


def figure(value: float) -> float:
    """A score as it is told: in further digits of many scores a row could be written."""
    return float(f"{value:.{DIGITS}g}")


def _as_json(values: list[Any]) -> list[Any]:
    found: list[Any] = msgspec.json.decode(msgspec.json.encode(values))
    return [
        other
        for value in found
        for other in ((value, float(value)) if type(value) is int else (value,))
    ]


def of_own_code(declared: Mapping[str, bytes], carried: Mapping[str, bytes]) -> list[Finding]:
    """What is said of the files of `[train] transformers`; their names are casemate.toml's and
    those that stand in them, so they may be told.
    """
    if not declared:
        return []
    listed = ", ".join(own.module_of(path) + ".py" for path in declared)
    if carried:
        names = ", ".join(own.plain_names(carried)[:_NAMED])
        kind, text = (
            "model.own-code",
            (
                f"the model carries code of its own, {listed} ({names}): it runs in a sandbox"
                " wherever the model is used, and has no ONNX form, because no operator stands"
                " for it"
            ),
        )
    else:
        kind, text = (
            "train.own-code-unused",
            f"nothing of {listed} is part of the model, so it is not signed with it",
        )
    return [Finding(id=kind, severity="low", confidence="high", message=text)]


def outline(text: str, own_names: Collection[str] = ()) -> str:
    """`Pipeline(StandardScaler, LogisticRegression)` for an estimator's repr: names of
    scikit-learn's classes, of ours and of those in the files of `[train] transformers` only.
    """
    if text == IMPORTED:
        return text
    named = known() | {*own_names}
    names = [name for name in re.findall(r"\b([A-Z]\w*)\(", text) if name in named]
    first, *rest = list(dict.fromkeys(names)) or ["an estimator"]
    return f"{first}({', '.join(rest)})" if rest else first


def known() -> frozenset[str]:
    """Classes that may be named."""
    return _sklearn() | OURS


@cache
def _sklearn() -> frozenset[str]:
    """Names that scikit-learn's packages and modules export, without importing them."""
    places = [
        place / "__init__.py" if place.is_dir() else place
        for place in resources.files("sklearn").iterdir()
    ]
    texts = [
        place.read_text(encoding="utf-8")
        for place in places
        if place.name.endswith(".py") and place.is_file()
    ]
    exports = [
        block
        for text in texts
        for block in re.findall(r"(?s)^__all__ = \[(.*?)\]", text, re.MULTILINE)
    ]
    return frozenset(name for block in exports for name in re.findall(r'"([A-Z]\w+)"', block))
