"""Patterns that rows may carry: a value, a narrow band or a range of one feature, and combinations
of up to three.

A value is one number or category that repeats. A band is a run of numbers in which one class lies
denser than on both sides (the scan statistic of Kulldorff, 1997): a trigger with a little noise on
it. A range is a fortieth of a column and only ever a part of a combination. How many rows belong in
a place is told by its flanks, or by independence of the parts.
"""

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.stats import poisson

from casemate.stages.data.screen.columns import FEW_VALUES, ITEM_SHARE, Columns, Part
from casemate.stages.data.screen.interface import Array

# Where a limit names no source it was chosen on the generator of bench/assurance/triggers.py. What
# all of them together find, and how often
# they are wrong on seeds that they were not chosen with, is on the page of simulations
# (docs/explanation/assurance.md, Triggers; ADR 0036).
LEAST, LEAST_SHARE = 10, 0.0008
"""Fewest rows of a class that a pattern is looked at with: fewer teach a model hardly anything."""
MOST_ITEMS = 3_000
"""Items that are multiplied with each other: the products are dense."""
ALIKE = 0.8
"""Rows with both items over rows with either, from which two items are one."""
RANGES = 40
"""Ranges of a column, cut once more in their middles."""
BANDED = 60
"""Features up to which bands and ranges are looked for: wider tables are pictures, whose triggers
are exact.
"""
RANGED_ROWS = 200_000
"""Rows up to which ranges are combined: every row has one of each column, so their products cost
most of all.
"""
MOST_BAND = 0.06
"""Share of the rows up to which a run of numbers is a band: wider ones are effects of the feature.
Chosen.
"""
DENSE = 4.0
"""-log10 of the chance of so many rows of a class in a band, from which it is an item."""
ENDS = 60
"""Places at which a run may begin or end when it is focused."""
BLUR = 0.3
"""Part of a band's width that is added on both sides."""
BANDS = 8
"""Bands a column and class, the densest."""


@dataclass(frozen=True)
class Items:
    """All conditions that are looked at, and which rows meet them."""

    parts: list[Part]
    matrix: sparse.csc_array
    """Float32 [n, items]."""
    codes: Array
    """Class of each row, int64 [n]."""

    @cached_property
    def feature(self) -> Array:
        """Place of each item's feature."""
        return np.array([part.feature for part in self.parts], dtype=int)

    @cached_property
    def alone(self) -> Array:
        """Which items are patterns by themselves."""
        return np.array([part.exact for part in self.parts], dtype=bool)

    @cached_property
    def together(self) -> Array:
        """Rows that meet both, float32 [items, items]."""
        halves = self._halves
        return _both(self.matrix) if halves is None else halves[0] + halves[1]

    @cached_property
    def _halves(self) -> tuple[Array, Array] | None:
        """`together` of each of two classes: to count both costs what counting all rows does; None
        of more classes.
        """
        return (_both(self.of(0)), _both(self.of(1))) if self.codes.max(initial=0) == 1 else None

    def of(self, label: int) -> sparse.csc_array:
        """The rows of a class, float32 [members, items]."""
        return self.matrix[np.flatnonzero(self.codes == label)]

    def together_of(self, label: int) -> Array:
        """Rows of a class that meet both, float32 [items, items]."""
        return _both(self.of(label)) if self._halves is None else self._halves[label]

    def features(self, places: tuple[int, ...]) -> Array:
        """Features of the items and of those that go with one of them nearly always, as the pixels
        of one patch do.
        """
        both, sizes = self.together[list(places)], self.together.diagonal()
        alike = both >= ALIKE * (sizes[list(places)][:, None] + sizes - both)
        return np.unique(self.feature[alike.any(axis=0)])


def _both(matrix: sparse.csc_array) -> Array:
    return np.asarray((matrix.T @ matrix).todense())


def items(columns: Columns) -> Items:
    """Values, bands and ranges of every feature."""
    codes, count = columns.rows.codes, len(columns.rows.codes)
    least = max(LEAST, LEAST_SHARE * count)
    parts: list[Part] = []
    members: list[Array] = []
    for feature in range(len(columns.names)):
        kinds, sizes, own = columns.distinct(feature)
        order = np.argsort(own, kind="stable")
        starts = np.r_[0, np.cumsum(sizes)] + int(np.sum(own < 0))

        def add(
            first: int,
            last: int,
            exact: bool,
            feature: int = feature,
            kinds: Array = kinds,
            order: Array = order,
            starts: Array = starts,
        ) -> None:
            parts.append(Part(feature, float(kinds[first]), float(kinds[last]), exact))
            members.append(order[starts[first] : starts[last + 1]].astype(np.int32))

        for kind in np.flatnonzero((sizes >= least) & (sizes <= ITEM_SHARE * count)):
            add(int(kind), int(kind), True)
        if columns.number(feature) and len(columns.names) <= BANDED and len(kinds) > 2:
            for first, last in _bands(columns, feature, codes):
                add(first, last, True)
            for first, last in (
                _ranges(sizes) if len(kinds) > FEW_VALUES and count <= RANGED_ROWS else []
            ):
                add(first, last, False)
    if len(parts) > MOST_ITEMS:
        keep = _foremost(members, codes)
        parts, members = [parts[place] for place in keep], [members[place] for place in keep]
    ends = np.cumsum([0, *(len(member) for member in members)])
    at = np.empty(ends[-1], dtype=np.int32 if count <= np.iinfo(np.int32).max else np.int64)
    for place, member in enumerate(members):
        at[ends[place] : ends[place + 1]] = np.sort(member)
    met = np.ones(len(at), dtype=np.float32)
    # put together by hand: from pairs of places it took four times the memory
    matrix = sparse.csc_array((met, at, ends.astype(at.dtype)), shape=(count, len(members)))
    return Items(parts, matrix, codes)


def _foremost(members: list[Array], codes: Array) -> list[int]:
    """Half are the rarest, for a trigger is rare; half those that say most about a class."""
    usual = np.bincount(codes) / len(codes)
    rarest = np.argsort([len(member) for member in members], kind="stable")[: MOST_ITEMS // 2]
    counts = np.array([np.bincount(codes[member], minlength=len(usual)) for member in members])
    sizes = counts.sum(axis=1, keepdims=True)
    telling = ((counts - sizes * usual) / np.sqrt(sizes * usual * (1 - usual) + 1)).max(axis=1)
    best = np.argsort(-telling, kind="stable")[: MOST_ITEMS // 2]
    return [int(place) for place in np.union1d(rarest, best)]


def _ranges(sizes: Array) -> list[tuple[int, int]]:
    """(first, last) distinct value of ranges with about as many rows each, and of those between
    their middles.
    """
    middle = (np.cumsum(sizes) - sizes / 2) / sizes.sum() * RANGES
    found = []
    for shift in (0.0, 0.5):
        starts = np.r_[np.flatnonzero(np.diff(np.floor(middle + shift), prepend=-1)), len(sizes)]
        found += [
            (int(first), int(last) - 1)
            for first, last in itertools.pairwise(starts)
            if last - first > 1
        ]
    return found


def _bands(columns: Columns, feature: int, codes: Array) -> list[tuple[int, int]]:
    """(first, last) distinct value of runs in which a class is denser than on both sides, at most
    `BANDS` a class.
    """
    own = columns.distinct(feature)[2]
    found: list[tuple[int, int]] = []
    for label in range(int(codes.max()) + 1):
        mine = np.sort(own[(codes == label) & (own >= 0)])
        if len(mine) < 3 * LEAST:
            continue
        found += [
            (first, last) for _, first, last in densest(columns, feature, mine) if first < last
        ]
    return found


def densest(columns: Columns, feature: int, mine: Array) -> list[tuple[float, int, int]]:
    """(-log10 of the chance, first and last distinct value) of disjoint runs that are denser than
    both sides, the densest first.

    Args:
        columns: of the table.
        feature: place of a number.
        mine: which distinct value each of the rows in question has, ascending.
    """
    low, high = columns.edges(feature)
    sizes = np.bincount(mine, minlength=len(low))[mine]
    nth = np.arange(len(mine)) - np.searchsorted(mine, mine)
    # equal values share their place evenly
    line = low[mine] + (high - low)[mine] * (nth + 0.5) / sizes
    scores, starts, ends = [], [], []
    # fewer rows of a class are no pattern
    width = max(LEAST, int(LEAST_SHARE * len(columns.rows.codes)))
    while width <= max(LEAST, MOST_BAND * len(columns.rows.codes)) and width < len(line) // 2:
        first = np.arange(0, len(line) - width + 1, max(1, width // 4))
        last = first + width - 1
        scores.append(_surprise(line, first, last))
        starts.append(first)
        ends.append(last)
        width = max(width + 1, int(width * 1.5))
    if not scores:
        return []
    score, start, end = np.concatenate(scores), np.concatenate(starts), np.concatenate(ends)
    found: list[tuple[float, int, int]] = []
    free = score >= DENSE
    while free.any() and len(found) < BANDS:
        best = int(np.argmax(np.where(free, score, 0.0)))
        begin, stop = _fitted(line, int(start[best]), int(end[best]))
        found.append((float(score[best]), int(mine[begin]), int(mine[stop])))
        free &= (end < start[best]) | (start > end[best])
    return found


def focused(columns: Columns, part: Part, mine: Array) -> Part:
    """The run of values near a condition that holds most rows beyond what the rest of the column
    expects (Kulldorff's likelihood ratio).

    Args:
        columns: of the table.
        part: limits of a number; looked at is as much again and once more on either side.
        mine: bool [n], the rows that meet all other conditions and have the class.
    """
    kinds, counts, own = columns.distinct(part.feature)
    reach = 2 * (part.high - part.low)
    first, last = (
        int(np.searchsorted(kinds, part.low - reach)),
        int(np.searchsorted(kinds, part.high + reach, side="right")) - 1,
    )
    sizes = np.bincount(own[mine & (own >= 0)], minlength=len(kinds))
    outside = (
        counts.sum() - counts[first : last + 1].sum(),
        sizes.sum() - sizes[first : last + 1].sum(),
    )
    ends = first + np.flatnonzero(sizes[first : last + 1])
    if not len(ends) or not outside[0]:
        return part
    ends = np.unique(ends[np.linspace(0, len(ends) - 1, ENDS).astype(int)])
    starts, stops = (side.ravel() for side in np.meshgrid(ends, ends))
    starts, stops = starts[starts <= stops], stops[starts <= stops]
    all_, here = (np.r_[0, np.cumsum(some)] for some in (counts, sizes))
    seen = (here[stops + 1] - here[starts]).astype(float)
    expected = (all_[stops + 1] - all_[starts]) * (outside[1] + 1) / (outside[0] + 1)
    ratio = np.where(
        seen > expected, seen * np.log(np.maximum(seen, 1) / expected) - (seen - expected), 0.0
    )
    best = int(np.argmax(ratio))
    low, high = kinds[starts[best]], kinds[stops[best]]
    more = BLUR / 2 * (high - low)
    near = kinds[(kinds >= low - more) & (kinds <= high + more)]
    return Part(part.feature, float(near[0]), float(near[-1]))


def _surprise(line: Array, first: Array, last: Array) -> Array:
    """-log10 of the chance of so many places in runs of `line`, where the fuller of their sides is
    what is usual.
    """
    span = line[last] - line[first]
    sides = (
        first - np.searchsorted(line, line[first] - span),
        np.searchsorted(line, line[last] + span, side="right") - 1 - last,
    )
    return np.asarray(-poisson.logsf(last - first, np.maximum(*sides) + 1.0) / np.log(10))


def _fitted(line: Array, first: int, last: int) -> tuple[int, int]:
    """The best run with ends near the given ones, and what is next to it: noise has no
    sharp end.
    """
    for _ in range(2):  # the second time from a better place
        width = last - first + 1
        shifts = np.unique(np.linspace(-0.75 * width, 0.75 * width, 16).astype(int))
        starts, ends = (side.ravel() for side in np.meshgrid(first + shifts, last + shifts))
        fits = (starts >= 0) & (ends < len(line)) & (ends - starts + 1 >= min(LEAST, width))
        starts, ends = starts[fits], ends[fits]
        best = int(np.argmax(_surprise(line, starts, ends)))
        first, last = int(starts[best]), int(ends[best])
    more = BLUR * (line[last] - line[first])
    low, high = line[first] - more, line[last] + more
    return int(np.searchsorted(line, low)), int(np.searchsorted(line, high, side="right")) - 1
