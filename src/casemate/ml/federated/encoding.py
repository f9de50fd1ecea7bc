"""Features as a linear model over sites sees them: numbers less their mean over their deviation,
both from the sites' sums, and one column a value of each category.

No site sees another's rows for it, and all sites encode alike. What lies outside of the declared
limits is clipped before it is summed, so that one site's typing error moves no other site's scale.
"""

from typing import Any

import numpy as np
import pandas as pd

from casemate.core.types import Record
from casemate.ml.federated.exact import Moments, moments_of, statistics

Array = np.ndarray[Any, Any]


class Limits(Record, frozen=True, kw_only=True):
    """What every site is told before it counts anything."""

    numbers: dict[str, tuple[float, float]]
    """(least, greatest) per numeric feature."""
    categories: dict[str, list[str]]
    """Values per category; others are none of them."""

    @property
    def width(self) -> int:
        """Encoded features."""
        return len(self.numbers) + sum(map(len, self.categories.values()))

    @property
    def middle(self) -> Array:
        """Of the numbers' limits [m], near which means lie."""
        return np.array([(low + high) / 2 for low, high in self.numbers.values()], dtype=np.float64)

    @property
    def halves(self) -> Array:
        """Half of the numbers' ranges [m]; 1 where a range is a point."""
        found = [(high - low) / 2 or 1.0 for low, high in self.numbers.values()]
        return np.array(found, dtype=np.float64)

    def clipped(self, frame: pd.DataFrame) -> Array:
        """The numbers [n, m] within their limits; NaN is missing."""
        parts = [
            np.clip(frame[name].to_numpy(dtype=np.float64), low, high)
            for name, (low, high) in self.numbers.items()
        ]
        return np.column_stack(parts) if parts else np.empty((len(frame), 0))

    def moments(self, frame: pd.DataFrame) -> Moments:
        """A site's sums, of numbers that the limits make -1 to 1: so no sum is larger than its
        rows are many, whatever the unit.
        """
        rows = (self.clipped(frame) - self.middle) / self.halves
        return moments_of(rows, np.zeros(len(self.numbers)))


class Scale(Record, frozen=True, kw_only=True):
    """Means and deviations of all sites' rows together."""

    means: list[float]
    """Of each number."""
    deviations: list[float]
    """Of each number, over n; 1 where it does not vary."""


def scale_of(found: list[Moments], limits: Limits) -> Scale:
    """Of the sites' sums; a number that nobody knows lies in the middle of its limits."""
    counts = np.maximum(sum(one.rows for one in found), 2.0)
    means, variances = statistics(found, np.zeros(len(limits.numbers)))
    spread = np.sqrt(np.maximum(np.nan_to_num(variances), 0.0) * (counts - 1) / counts)
    spread = spread * limits.halves
    return Scale(
        means=(limits.middle + np.nan_to_num(means) * limits.halves).tolist(),
        deviations=np.where(spread > 0, spread, 1.0).tolist(),
    )


def declared(limits: Limits) -> Scale:
    """From the limits alone, without a look at a row: what lies within is -1 to 1."""
    return Scale(means=limits.middle.tolist(), deviations=limits.halves.tolist())


def encode(frame: pd.DataFrame, limits: Limits, scale: Scale) -> Array:
    """Encoded features float64 [n, d]; a missing number is the mean."""
    numbers = (limits.clipped(frame) - np.array(scale.means)) / np.array(scale.deviations)
    parts = [np.nan_to_num(numbers, nan=0.0)]
    for name, kinds in limits.categories.items():
        values = frame[name].to_numpy(dtype=object)[:, None]
        parts.append(np.asarray(values == np.array(kinds, dtype=object)[None], dtype=np.float64))
    return np.ascontiguousarray(np.hstack(parts))
