"""What leaving rows out would do to each group: told before anybody decides about rows under
suspicion.

A drop that looks small in the table can take every positive of one site. Counts are told as
`controls/privacy/disclosure` allows.
"""

from typing import Any

import numpy as np

from casemate.controls.privacy.disclosure import FEWEST, OTHERS, grouped
from casemate.core.types import Record

NOTABLE = 0.2
"""Share of a group's rows, or of its rows of one class, from which its loss is told even where
nobody asked about the group.
"""
MOST_GROUPS = 50
"""Values up to which a column makes groups."""
Array = np.ndarray[Any, Any]


class Loss(Record, frozen=True, kw_only=True):
    """What one group would lose."""

    column: str
    """The column that makes the group; empty: the whole table."""
    group: str
    """Its value there."""
    label: str
    """The class in question; empty: all rows of the group."""
    rows: int
    """Rows of the group, of that class; -1: too few to be told."""
    lost: int
    """How many of them would go; -1: too few to be told."""

    @property
    def share(self) -> float:
        """Part of the rows that would go; 0 where it is not told."""
        return self.lost / self.rows if self.rows > 0 and self.lost > 0 else 0.0

    def __str__(self) -> str:
        """For people."""
        what = f"{self.column} = {self.group}" if self.column else "the table"
        kind = f" of class {self.label!r}" if self.label else ""
        return (
            f"{'few' if self.lost < 0 else self.lost} of {'few' if self.rows < 0 else self.rows}"
            f" rows{kind} in {what}"
        )


def losses(
    columns: dict[str, Array],
    labels: Array,
    gone: Array,
    least: int = FEWEST,
    always: frozenset[str] = frozenset(),
) -> list[Loss]:
    """Per class and group what would go: all classes, all groups of `always`, and others that would
    lose `NOTABLE` of something.

    Args:
        columns: values by column name, [n] each.
        labels: names of the classes, text [n].
        gone: bool [n], the rows in question.
        least: fewest rows that a count may stand for, none and all excepted.
        always: columns all of whose groups are told.
    """
    if not gone.any():
        return []
    found = [
        _loss(
            "",
            "",
            label,
            labels == label if label else np.ones(len(labels), dtype=bool),
            gone,
            least,
        )
        for label in ["", *np.unique(labels)]
    ]
    for name, values in columns.items():
        groups = grouped(values, least)
        kinds = np.unique(groups.astype(str))
        if len(kinds) > MOST_GROUPS:
            continue
        for kind in kinds:
            inside = groups == kind
            if name not in always and (kind == OTHERS or not gone[inside].any()):
                continue
            mine = [
                _loss(
                    name, kind, label, inside & (labels == label) if label else inside, gone, least
                )
                for label in ["", *np.unique(labels)]
            ]
            found += [
                loss
                for loss in mine
                if loss.rows != 0 and (name in always or loss.share >= NOTABLE)
            ]
    return found


def _loss(column: str, group: str, label: Any, inside: Array, gone: Array, least: int) -> Loss:
    rows, lost = int(inside.sum()), int((inside & gone).sum())
    few = 0 < lost < least or 0 < rows - lost < least
    return Loss(
        column=column,
        group=str(group),
        label=str(label),
        rows=-1 if 0 < rows < least else rows,
        lost=-1 if few else lost,
    )
