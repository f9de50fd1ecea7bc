"""k-anonymity by full-domain generalisation: every cell of a column is told equally exactly.

Of all ways to do it the one that hides least is taken, if there are few enough to try them all;
otherwise, from nothing told at all, columns are told more exactly one step at a time, always the
step that tells most, until no step is left that keeps the promise (Incognito, LeFevre et al.,
SIGMOD 2005, has why that is safe: what holds for a step holds for all above it). Libraries for this
were tried and cannot be installed beside pandas 3: docs/adr/0055.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from casemate.core.errors import DataError
from casemate.stages.data.identifiers import groups
from casemate.stages.data.identifiers.cells import Cells
from casemate.stages.data.identifiers.ladders import Ladder

Array = np.ndarray[Any, Any]
ALL = 500
"""Ways of telling that are all tried: some seconds for 30,000 rows."""
MARGIN = 1e-9
"""By how much a distance may miss `t` through rounding: sums of float64 shares differ in the last
digits only.
"""


@dataclass(frozen=True)
class Promise:
    """What must hold of every group."""

    k: int
    l: int  # noqa: E741 - the field's name for it
    t: float
    suppress: float
    """Greatest share of rows that may be left out."""


@dataclass(frozen=True)
class Generalised:
    """A table that keeps a promise."""

    table: pa.Table
    steps: dict[str, int]
    heights: dict[str, int]
    suppressed: int
    kept: Array
    """Which rows are left, bool [rows]."""


class _Search:
    def __init__(
        self,
        table: pa.Table,
        ladders: Sequence[Ladder],
        sensitive: Sequence[str],
        subject: Array | None,
        promise: Promise,
    ) -> None:
        self.rows, self.ladders, self.promise, self.subject = (
            table.num_rows, ladders, promise, subject,
        )  # fmt: skip
        self.sensitive = [groups.sensitive_codes(Cells(name, table[name])) for name in sensitive]

    def kept(self, steps: Sequence[int]) -> Array | None:
        """The rows that stay, bool [rows]; None if too many would have to go."""
        columns = [ladder.codes[at] for ladder, at in zip(self.ladders, steps, strict=True)]
        group = groups.joined(columns, self.rows)
        kept = self._sound(group, np.ones(self.rows, bool))
        if self.rows - kept.sum() > self.promise.suppress * self.rows or not kept.any():
            return None
        # without the others the table's own distribution is another one
        return kept if kept.all() or self._sound(group, kept)[kept].all() else None

    def _sound(self, group: Array, kept: Array) -> Array:
        """Of the rows in `kept`, those whose group keeps the promise among them."""
        _, dense = np.unique(group[kept], return_inverse=True)
        subjects = None if self.subject is None else self.subject[kept]
        sound = groups.sizes(dense, subjects) >= self.promise.k
        for values, ordered in self.sensitive:
            if self.promise.l > 1:
                sound &= groups.diversity(dense, values[kept]) >= self.promise.l
            if self.promise.t < 1:
                far = groups.distances(dense, values[kept], is_ordered=ordered)
                sound &= far <= self.promise.t + MARGIN
        result = np.zeros(self.rows, bool)
        result[kept] = sound[dense]
        return result

    def loss(self, steps: Sequence[int]) -> float:
        """What is hidden, summed over columns."""
        return sum(ladder.losses[at] for ladder, at in zip(self.ladders, steps, strict=True))

    def best(self) -> tuple[int, ...] | None:
        """The steps that hide least, as far as is tried; None if nothing told is too much."""
        heights = [ladder.height for ladder in self.ladders]
        if np.prod([float(height + 1) for height in heights]) <= ALL:
            ways = itertools.product(*(range(height + 1) for height in heights))
            return next((one for one in sorted(ways, key=self.loss) if self._holds(one)), None)
        steps = tuple(heights)
        if not self._holds(steps):
            return None
        while lower := [one for one in self._lower(steps) if self.loss(one) <= self.loss(steps)]:
            held = next((one for one in sorted(lower, key=self.loss) if self._holds(one)), None)
            if held is None:
                break
            steps = held
        return steps

    def _holds(self, steps: Sequence[int]) -> bool:
        return self.kept(steps) is not None

    @staticmethod
    def _lower(steps: tuple[int, ...]) -> list[tuple[int, ...]]:
        return [
            (*steps[:at], step - 1, *steps[at + 1 :]) for at, step in enumerate(steps) if step > 0
        ]


def generalise(
    table: pa.Table,
    ladders: Sequence[Ladder],
    sensitive: Sequence[str],
    subject: Array | None,
    promise: Promise,
) -> Generalised:
    """`table` with quasi-identifiers told so exactly as the promise allows, rows in their order.

    Args:
        table: the rows.
        ladders: one a quasi-identifier.
        sensitive: columns of which the promise speaks.
        subject: whose row it is, as numbers [rows]; None: every row is another person's.
        promise: what must hold.

    Raises:
        DataError: it cannot be kept, even if nothing is told.
    """
    search = _Search(table, ladders, sensitive, subject, promise)
    steps = search.best()
    kept = None if steps is None else search.kept(steps)
    if steps is None or kept is None:
        people = table.num_rows if subject is None else len(np.unique(subject))
        raise DataError(
            f"{people} people cannot hide in groups of {promise.k}"
            + (f" with {promise.l} sensitive values each" if promise.l > 1 else "")
            + ", even if nothing is told of the quasi-identifiers",
            hint="ask for a smaller k or l, or give more rows",
        )
    for ladder, step in zip(ladders, steps, strict=True):
        if step:
            at = table.column_names.index(ladder.name)
            table = table.set_column(at, ladder.name, ladder.steps[step])
    return Generalised(
        table=table.filter(pa.array(kept)),
        steps={ladder.name: step for ladder, step in zip(ladders, steps, strict=True)},
        heights={ladder.name: ladder.height for ladder in ladders},
        suppressed=int((~kept).sum()),
        kept=kept,
    )
