"""A file of feedback: one line a row of a request, as separated values with a header."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from casemate.controls.audit.feedback import KINDS, Kind
from casemate.core.errors import DataError
from casemate.operations.separated import Lines, is_torn

MOST_LINES = 100_000
"""Lines of one file: they are held in memory and written in one transaction, or none is."""
MOST_BYTES = 64 * 1024 * 1024
"""Of one file, for lines with notes of several hundred characters each."""


class Line(NamedTuple):
    """One line as it is written."""

    number: int
    request: str
    outcome: Any
    """None: empty."""
    kind: Kind
    note: str


class Fault(NamedTuple):
    """What is wrong with a line."""

    number: int
    text: str


def lines(
    told: Path | Mapping[str, Any], names: tuple[str, str], kind: Kind, faults: list[Fault]
) -> list[Line]:
    """Every line that can be read; what is wrong with the others goes into `faults`.

    Args:
        told: a file, or an outcome by request id.
        names: columns of the request id and the outcome.
        kind: where no column says it.
        faults: grows.

    Raises:
        DataError: the file is no table of this kind, or too large.
    """
    if isinstance(told, Mapping):
        if len(told) > MOST_LINES:
            raise _too_many()
        return [
            Line(number, request, value, kind, "")
            for number, (request, value) in enumerate(told.items(), 1)
        ]
    found: list[Line] = []
    for number, row in _rows(told, names):
        if len(found) + len(faults) >= MOST_LINES:
            raise _too_many()
        if is_torn(row):
            faults.append(Fault(number, "it has another number of cells than the header"))
            continue
        said = row.get("kind") or kind
        if said not in KINDS:
            faults.append(Fault(number, f"{said[:50]!r} is no kind: {', '.join(KINDS)}"))
            continue
        text = row.get(names[1], "").strip()
        found.append(
            Line(number, row[names[0]].strip(), _value(text), said, row.get("note", "").strip())
        )
    return found


def _rows(path: Path, names: tuple[str, str]) -> Lines:
    found = Lines(path, MOST_BYTES)
    missing = [name for name in names if name not in found.names]
    if missing:
        raise DataError(
            f"{found.name} has no column {missing[0]!r}",
            hint="--id and --outcome name the columns of request id and outcome",
        )
    return found


def _value(text: str) -> Any:
    """A cell: text, or, of several labels or targets, a list as JSON."""
    if text.startswith("["):
        try:
            return msgspec.json.decode(text, type=list[str | float])
        except msgspec.MsgspecError:
            return text
    return text or None


def _too_many() -> DataError:
    return DataError(f"more than {MOST_LINES} lines at once", hint="tell them in parts")
