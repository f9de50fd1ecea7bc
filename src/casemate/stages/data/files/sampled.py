"""A declared sample of a table that is too long to be held: so many of its rows, each as likely as
any other, whatever is in it. The others are counted, and not read as cells here.
"""

from collections.abc import Callable, Sequence

import numpy as np

from casemate.core.types import Finding
from casemate.stages.data.files.content import File
from casemate.stages.data.files.evenly import Numbers

DRAWN = "data.sample"
"""Says that a table has more rows than were drawn."""
SEED = 0
"""The same rows each time: a version of a data set is the same rows."""


def is_drawn(findings: Sequence[Finding]) -> bool:
    """Whether a table was read of which only some rows were drawn."""
    return any(one.id == DRAWN for one in findings)


def drawn(
    paths: Sequence[File], count: Callable[[File], int], most: int, findings: list[Finding]
) -> list[Numbers] | None:
    """The numbers of each file's rows that are taken, int64 from 0, ascending; None: all of all.

    Args:
        paths: the table's files, in their order.
        count: how many rows a file has.
        most: rows wanted.
        findings: hears that there are more.
    """
    counts = [count(path) for path in paths]
    total = sum(counts)
    if total <= most:
        return None
    numbers = np.sort(np.random.default_rng(SEED).choice(total, most, replace=False, shuffle=False))
    findings.append(
        Finding(
            id=DRAWN,
            severity="low",
            confidence="high",
            message=f"{most} of {total} rows were drawn ([data] sample)",
        )
    )
    first = np.cumsum([0, *counts])
    cuts = np.searchsorted(numbers, first)
    return [numbers[cuts[at] : cuts[at + 1]] - first[at] for at in range(len(paths))]
