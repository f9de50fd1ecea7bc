"""Conditions on a feature, and its values sorted for counting."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from casemate.stages.data.screen.interface import Array, ScreenedRows

ITEM_SHARE = 0.5
"""Share of the rows above which a value is no item: what half of the table has is no trigger.
Chosen; combinations must be rarer still.
"""
FEW_VALUES = 30
"""Up to so many distinct numbers each value is an item and ranges add nothing."""
AT_AN_END = 0.15
"""Rows on one side of a place over those on the other, from which the place is an end of the
distribution.
"""


@dataclass(frozen=True, order=True)
class Part:
    """One condition: a feature's value lies between two limits, both included; categories are
    numbered by their names.
    """

    feature: int
    low: float
    high: float
    exact: bool = True
    """Whether a single value, or band, was meant; ranges are made narrower when a combination
    holds.
    """


class Columns:
    """The features as sorted values, for counting."""

    def __init__(self, rows: ScreenedRows) -> None:
        self.rows = rows
        self.values = rows.coded.to_numpy()
        self.numbers = set(rows.numbers)
        self.names = [str(name) for name in rows.frame.columns]
        self.sensitive = {
            column.name for column in rows.schema.features if column.column_class == "sensitive"
        }
        self._distinct: dict[int, tuple[Array, Array, Array]] = {}

    def number(self, feature: int) -> bool:
        """Whether a feature is a number."""
        return self.names[feature] in self.numbers

    def distinct(self, feature: int) -> tuple[Array, Array, Array]:
        """(values ascending, rows of each, which one each row has; -1 where it is missing)."""
        if feature not in self._distinct:
            codes, kinds = pd.factorize(self.values[:, feature], sort=True)
            self._distinct[feature] = (
                np.asarray(kinds),
                np.bincount(codes[codes >= 0], minlength=len(kinds)).astype(np.int32),
                codes.astype(np.int32),
            )
        return self._distinct[feature]

    def having(self, part: Part) -> Array:
        """Which rows meet a condition, bool [n]."""
        column = self.values[:, part.feature]
        return np.asarray((column >= part.low) & (column <= part.high))

    def edges(self, feature: int) -> tuple[Array, Array]:
        """Lower and upper end of each distinct value's own place: half-way to its neighbours, no
        farther than neighbours usually are.
        """
        kinds = self.distinct(feature)[0]
        gaps = np.diff(kinds)
        usual = float(np.median(gaps)) if len(gaps) else 1.0
        half = np.minimum(gaps, usual) / 2
        ends = [usual / 2]
        return kinds - np.r_[ends, half], kinds + np.r_[half, ends]

    def natural(self, part: Part) -> float | None:
        """Rows that belong between a number's limits, by as wide a stretch on either side; None of
        a category or a few numbers.

        Their geometric mean, which is right where a density falls by a constant factor; at an end
        of a distribution the fuller side.
        """
        kinds, counts, _ = self.distinct(part.feature)
        if not self.number(part.feature) or len(kinds) <= FEW_VALUES:
            return None
        low, high = self.edges(part.feature)
        first, last = (
            int(np.searchsorted(kinds, part.low)),
            int(np.searchsorted(kinds, part.high, side="right")) - 1,
        )
        width = high[last] - low[first]
        below = float(counts[(kinds >= low[first] - width) & (kinds < part.low)].sum())
        above = float(counts[(kinds <= high[last] + width) & (kinds > part.high)].sum())
        fewer, more = sorted((below, above))
        return more if fewer <= AT_AN_END * more else float(np.sqrt(fewer * more))

    def beside(self, part: Part, within: Array) -> float:
        """Rows of some (bool [n]) that lie on either side of a band, in a stretch as wide as it;
        the mean of both sides.
        """
        column, width = self.values[within, part.feature], part.high - part.low
        below = np.sum((column >= part.low - width) & (column < part.low))
        return float(below + np.sum((column > part.high) & (column <= part.high + width))) / 2

    def settled(self, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        """Without what is no condition: a band of which one value has most rows is that value, and
        one with most rows is none.
        """
        found = []
        for part in parts:
            kinds, counts, _ = self.distinct(part.feature)
            inside = np.flatnonzero((kinds >= part.low) & (kinds <= part.high))
            most, total = inside[np.argmax(counts[inside])], counts[inside].sum()
            if part.low < part.high and 2 * counts[most] >= total:
                found.append(Part(part.feature, float(kinds[most]), float(kinds[most]), part.exact))
            elif (
                part.low == part.high
                or total <= ITEM_SHARE / 2 * len(self.values)
                or len(parts) == 1
            ):
                found.append(part)
        return tuple(found) or parts

    def told(self, part: Part) -> str:
        """The condition for people; of sensitive columns without the value."""
        name = self.names[part.feature]
        if name in self.sensitive:
            return f"a certain {name}"
        if part.low < part.high:
            return f"{name} from {part.low:.6g} to {part.high:.6g}"
        if self.number(part.feature):
            return f"{name} = {part.low:.10g}"
        kinds = pd.factorize(self.rows.frame[name], sort=True)[1]
        return f"{name} = {kinds[int(part.low)]}"
