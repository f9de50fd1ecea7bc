"""Column names as everything after can hold them: no blanks at their ends, no line ends, none
empty. What was changed is told.
"""

import re
from collections import Counter

from casemate.core.errors import DataError
from casemate.core.text import listed
from casemate.core.types import Finding
from casemate.stages.data.files.content import File

SHOWN = 5
"""Columns that a message names; the count is told whole."""


def cleaned(written: list[str]) -> list[str]:
    """The names, in order; those that would only then be equal stay as they are written."""
    short = [
        re.sub(r"\s+", " ", re.sub(r"[\x00-\x08\x0e-\x1f\x7f]", "", name)).strip()
        for name in written
    ]
    count = Counter(short)
    names = [new if count[new] == 1 else old for old, new in zip(written, short, strict=True)]
    taken = set(names)
    for at, name in enumerate(names):
        if name.strip():
            continue
        new = f"unnamed_{at + 1}"
        while new in taken:
            new += "_"
        names[at] = new
        taken.add(new)
    return names


def require_distinct(names: list[str], path: File) -> None:
    """No name is there twice; DataError otherwise."""
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataError(
            f"{path}: the column name {repeated[0]!r} appears twice",
            hint="rename one of them; if the first line is no header, name the columns (header)",
        )


def told(written: list[str], names: list[str]) -> list[Finding]:
    """A finding that names what was renamed."""
    changed = [
        f"{old!r} is called {new!r}" for old, new in zip(written, names, strict=True) if old != new
    ]
    if not changed:
        return []
    many = (
        "1 column name is empty or has"
        if len(changed) == 1
        else f"{len(changed)} column names are empty or have"
    )
    message = f"{many} blanks at the ends: {listed(changed, SHOWN)}"
    return [Finding(id="data.renamed", severity="low", confidence="high", message=message)]
