"""Bins of boosted trees over sites: numbers by cuts that a first round of counts leads to, a bin a
declared value of each category, and one for what is missing or unknown.

A grid over the declared limits is public; how many rows lie in each of its cells is a sum over
sites, so all sites cut alike and none shows a value. Quantiles from counts, as sketches have them
(Chen and Guestrin, XGBoost, KDD 2016, 3.2).
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from casemate.core.types import Record
from casemate.ml.federated.encoding import Limits

Array = np.ndarray[Any, Any]
CELLS = 4_096
"""Of the grid over a number's limits. A judgement: limits may be a hundred times wider than what
rows show of them, and forty cells are left.
"""


class Counts(NamedTuple):
    """What the first round asks for; those of two sites add up."""

    rows: float
    """How many."""
    target: Array
    """Of classes rows of each [k]; of a quantity its sum and the sum of its absolute values [2]."""
    cells: Array
    """Of each number, rows in each cell, and last those where it is missing [m, CELLS + 1]."""

    def flat(self) -> Array:
        """All of it as one vector."""
        return np.concatenate([[self.rows], self.target, self.cells.ravel()])

    @classmethod
    def from_flat(cls, vector: Array, limits: Limits) -> "Counts":
        """What `flat` made one vector of."""
        count = len(limits.numbers) * (CELLS + 1)
        cut = len(vector) - count
        cells = vector[cut:].reshape(len(limits.numbers), CELLS + 1)
        return cls(float(vector[0]), vector[1:cut], cells)


def counts_size(limits: Limits, classes: int) -> int:
    """Numbers of the first round; `classes` is 0 of a quantity."""
    return 1 + (classes or 2) + len(limits.numbers) * (CELLS + 1)


def grid_of(limits: Limits) -> Array:
    """Upper ends of all cells but the last [m, CELLS - 1]; a value that lies on one is below it."""
    given = np.array([*limits.numbers.values()], dtype=np.float64).reshape(-1, 2)
    low, high = given[:, :1], given[:, 1:]
    return np.asarray(low + (high - low) * (np.arange(1, CELLS) / CELLS))


def counts_of(frame: pd.DataFrame, target: Array, limits: Limits, classes: int) -> Counts:
    """A site's counts.

    Args:
        frame: features [n, ...].
        target: class numbers, or quantities [n].
        limits: of the features.
        classes: how many; 0 of a quantity.
    """
    about = (
        np.bincount(target, minlength=classes).astype(np.float64)
        if classes
        else np.array([target.sum(), np.abs(target).sum()])
    )
    found = np.zeros((len(limits.numbers), CELLS + 1))
    for place, (name, ends) in enumerate(zip(limits.numbers, grid_of(limits), strict=True)):
        cells = _ranked(frame[name].to_numpy(dtype=np.float64), ends, CELLS)
        found[place] = np.bincount(cells, minlength=CELLS + 1)
    return Counts(float(len(frame)), about, found)


def _ranked(values: Array, ends: Array, missing: int) -> Array:
    """Of each value how many ends lie below it; `missing` where there is none."""
    return np.where(np.isnan(values), missing, np.searchsorted(ends, values, side="left"))


def cuts_of(cells: Array, most: int, least: int) -> list[list[int]]:
    """Of each number the cells that are the last ones of a bin, but for the last bin.

    Args:
        cells: rows in each cell, of all sites together, as `Counts` has them.
        most: bins of a number.
        least: rows of each bin; only those of missing values and of categories may have fewer.
    """
    return [_cuts(row[:-1], most, least) for row in cells]


def _cuts(cells: Array, most: int, least: int) -> list[int]:
    filled, below = np.flatnonzero(cells > 0), np.cumsum(cells)
    if not len(filled):
        return []
    known = float(below[-1])
    found: list[int] = []
    taken = 0.0
    while len(found) < most - 1:
        # a value that many rows share fills a bin, and the others share the bins that are left
        size = max(float(least), (known - taken) / (most - len(found)))
        if known - taken < size + least:
            break
        cell = int(np.searchsorted(below, taken + size, side="left"))
        taken = float(below[cell])
        if known - taken < least:
            break
        # in the middle of what lies empty, so that new rows near either side fall where they belong
        after = int(filled[np.searchsorted(filled, cell, side="right")])
        found.append((cell + after - 1) // 2)
    return found


class Bins(Record, frozen=True, kw_only=True):
    """How every site cuts its columns: numbers first, then categories."""

    limits: Limits
    """Of the features."""
    cuts: list[list[int]]
    """As `cuts_of` has them."""

    @property
    def widths(self) -> list[int]:
        """Bins of each column, without the one for what is missing or unknown."""
        return [len(one) + 1 for one in self.cuts] + list(map(len, self.limits.categories.values()))

    @property
    def numbers(self) -> int:
        """How many of the columns are numbers."""
        return len(self.limits.numbers)

    @property
    def cells(self) -> int:
        """Bins of all columns together, those of missing values included."""
        return sum(self.widths) + len(self.widths)

    @property
    def thresholds(self) -> list[Array]:
        """Of each number, the greatest value of each bin but the last."""
        grid = grid_of(self.limits)
        return [
            ends[np.array(one, dtype=np.int64)] for ends, one in zip(grid, self.cuts, strict=True)
        ]

    def fits(self, most: int) -> bool:
        """Whether there can be such cuts, of at most so many bins of a number."""
        given = [np.array(one, dtype=np.int64) for one in self.cuts]
        return len(given) == self.numbers and all(
            len(one) < most
            and bool((np.diff(one) > 0).all() and (one >= 0).all() and (one < CELLS - 1).all())
            for one in given
        )

    def of(self, frame: pd.DataFrame) -> Array:
        """The bin of each cell of a table, int64 [n, c]; a column's width: missing or unknown."""
        parts = [
            _ranked(frame[name].to_numpy(dtype=np.float64), ends, len(ends) + 1)
            for name, ends in zip(self.limits.numbers, self.thresholds, strict=True)
        ]
        for name, kinds in self.limits.categories.items():
            parts.append(pd.Index(kinds).get_indexer(pd.Index(frame[name])))
            parts[-1] = np.where(parts[-1] < 0, len(kinds), parts[-1])
        return np.column_stack(parts).astype(np.int64)
