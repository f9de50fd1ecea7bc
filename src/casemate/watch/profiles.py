"""What one feature is like in the reference, and whether a window of it is like that."""

from typing import Any

import numpy as np
import pandas as pd

from casemate.core.types import Record
from casemate.watch import chances, tables

Array = np.ndarray[Any, Any]
MOST_CATEGORIES = 200
"""That are looked at one by one; rarer ones count as one."""
FEWEST = 5
"""Rows of a category: rarer ones were met by chance, and would be met less often in any window."""
OTHERS = "(other)"
"""The rarer ones together."""
KINDS = {
    "numbers": "its numbers lie elsewhere",
    "categories": "categories are more or less frequent",
    "missing": "more or fewer gaps",
    "unreadable": "cells that are no finite number",
    "unseen": "categories that the reference has not",
    "range": "numbers outside the reference's range",
}
"""Kind of check -> what it means when it finds something."""


class Check(Record, frozen=True, kw_only=True):
    """One test of one feature in one window."""

    kind: str
    chance: float
    """By chance alone a window differs as much."""
    shift: float
    """Share of rows that would have to be others, at least: comparable between kinds."""
    detail: str
    blind: float = 0.0
    """Share of the window's rows whose like the reference has hardly met."""


class Numbers:
    """The profile of a column of quantities."""

    tests = 4

    def __init__(self, column: pd.Series) -> None:
        """Learn the reference's column."""
        values, unreadable = tables.numbers(column)
        self.rows = len(column)
        self.unreadable = int(unreadable.sum())
        self.sorted = np.sort(values[~np.isnan(values)])
        self.missing = self.rows - len(self.sorted) - self.unreadable
        if len(self.sorted):
            places = np.linspace(0, len(self.sorted) - 1, chances.MOST_SCORES).round().astype(int)
            ranks = self._ranks(self.sorted[places])
            self.location, self.spread = ranks, (ranks - 0.5) ** 2

    def _ranks(self, values: Array) -> Array:
        """Share of the reference below, ties by half."""
        below = np.searchsorted(self.sorted, values, side="left")
        upto = np.searchsorted(self.sorted, values, side="right")
        return np.asarray((below + upto) / (2 * len(self.sorted)))

    def checks(self, column: pd.Series) -> list[Check]:
        """Every test of a window."""
        values, unreadable = tables.numbers(column)
        held = values[~np.isnan(values)]
        strange = int(unreadable.sum())
        found = [
            _missing(len(values) - len(held) - strange, len(values), self.missing, self.rows),
            _more("unreadable", strange, len(values), self.unreadable, self.rows),
        ]
        if len(held) and len(self.sorted):
            found += [self._moved(held), self._outside(held, len(values))]
        return found

    def _moved(self, held: Array) -> Check:
        rows = 1 / (1 / len(held) + 1 / len(self.sorted))
        ranks = self._ranks(held)
        distance = self._distance(held)
        each = (
            chances.of_mean(self.location, float(ranks.mean()), rows),
            chances.of_mean(self.spread, float(((ranks - 0.5) ** 2).mean()), rows),
            chances.of_shape(distance, rows),
        )
        return Check(
            kind="numbers",
            chance=min(1.0, 3 * min(each)),
            shift=distance,
            detail=(
                f"median {np.median(held):.4g}, in the reference {np.median(self.sorted):.4g};"
                f" {('location', 'spread', 'shape')[int(np.argmin(each))]} differs"
            ),
        )

    def _distance(self, held: Array) -> float:
        values, counts = np.unique(held, return_counts=True)
        upto = np.cumsum(counts) / len(held)
        below = upto - counts / len(held)
        size = len(self.sorted)
        known = np.searchsorted(self.sorted, values, side="right") / size
        before = np.searchsorted(self.sorted, values, side="left") / size
        return float(max(np.abs(upto - known).max(), np.abs(below - before).max()))

    def _outside(self, held: Array, rows: int) -> Check:
        low, high = self.sorted[0], self.sorted[-1]
        below, above = int((held < low).sum()), int((held > high).sum())
        most = max(below, above)
        return Check(
            kind="range",
            chance=min(1.0, 2 * chances.of_outermost(most, len(held), len(self.sorted))),
            shift=(below + above) / rows,
            blind=(below + above) / rows,
            detail=f"{below} rows below {low:.4g}, {above} above {high:.4g}",
        )


class Categories:
    """The profile of a column of anything else."""

    tests = 3

    def __init__(self, column: pd.Series) -> None:
        """Learn the reference's column."""
        cells = pd.Series(tables.categories(column), dtype=object)
        counts = cells.value_counts()
        self.rows, self.missing = len(cells), int(cells.isna().sum())
        self.known = set(counts.index)
        self.single = int((counts == 1).sum())
        frequent = counts[counts >= FEWEST].iloc[:MOST_CATEGORIES]
        self.counts = {str(cell): int(count) for cell, count in frequent.items()}
        if len(counts) > len(frequent):
            self.counts[OTHERS] = int(counts.iloc[len(frequent) :].sum())

    def checks(self, column: pd.Series) -> list[Check]:
        """Every test of a window."""
        cells = pd.Series(tables.categories(column), dtype=object)
        missing, rows = int(cells.isna().sum()), len(cells)
        counts = cells.value_counts()
        unseen = [cell for cell in counts.index if cell not in self.known]
        new = int(counts[unseen].sum())
        named = ", ".join(str(cell)[:40] for cell in unseen[:3])
        found = [
            _missing(missing, rows, self.missing, self.rows),
            # of the reference, rows whose category no other row has were unseen to the others
            _more("unseen", new, rows, self.single, self.rows, named),
        ]
        if self.counts and rows > missing:
            # among many rare categories an unseen one is nothing new
            found.append(
                self._moved(counts if OTHERS in self.counts else counts.drop(unseen), rows)
            )
        return found

    def _moved(self, counts: "pd.Series[int]", rows: int) -> Check:
        now = dict.fromkeys(self.counts, 0)
        for cell, count in counts.items():
            now[str(cell) if str(cell) in self.counts else OTHERS] += int(count)
        names = list(self.counts)
        hits, known = np.array([now[n] for n in names]), np.array(list(self.counts.values()))
        each = chances.of_counts(hits, rows, known, self.rows)
        change = hits / rows - known / self.rows
        first = int(np.argmin(each))
        return Check(
            kind="categories",
            chance=min(1.0, float(each[first]) * len(names)),
            shift=float(max(change[change > 0].sum(), -change[change < 0].sum())),
            detail=(
                f"{names[first][:40]!r} {hits[first] / rows:.1%} of rows,"
                f" in the reference {known[first] / self.rows:.1%}"
            ),
        )


Profile = Numbers | Categories


def profile(column: pd.Series) -> Profile:
    """The profile of a reference's column."""
    return Numbers(column) if tables.is_number(column) else Categories(column)


def _missing(hits: int, rows: int, known: int, reference: int) -> Check:
    chance = float(chances.of_counts(np.array([hits]), rows, np.array([known]), reference)[0])
    change = hits / rows - known / reference
    return Check(
        kind="missing",
        chance=chance,
        shift=abs(change),
        # twice the reference's share is beyond what the model has learnt from
        blind=change if change > known / reference else 0.0,
        detail=f"{hits / rows:.1%} of rows, in the reference {known / reference:.1%}",
    )


def _more(kind: str, hits: int, rows: int, known: int, reference: int, named: str = "") -> Check:
    return Check(
        kind=kind,
        chance=chances.of_more(hits, rows, known, reference) if hits else 1.0,
        shift=max(hits / rows - known / reference, 0.0),
        blind=hits / rows,
        detail=f"{hits} rows of {rows}" + (f": {named}" if named else ""),
    )
