"""Figures of what casemate.toml says besides: what mistakes cost, an order of the classes, a
quantile in place of the mean.

Sources: Cohen, Weighted kappa (Psychological Bulletin 70, 1968), with squared weights; Koenker and
Bassett, Regression Quantiles (Econometrica 46, 1978), for the pinball loss.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from sklearn.metrics import cohen_kappa_score

from casemate.core.types import Interval
from casemate.stages.assess import bootstrap, intervals
from casemate.stages.assess.subjects import Groups

Array = np.ndarray[Any, Any]


class Wishes(msgspec.Struct, frozen=True):
    """What `[data]` and `[train]` said beyond the plain case, as the assessment asks it."""

    costs: list[float] = []
    """Of a wrong answer for a row of each class."""
    ordinal: bool = False
    """Whether classes are numbered from the least to the greatest."""
    quantile: float | None = None
    """The quantile that a regressor predicts."""

    def rows(self, truth: Array, said: Array) -> dict[str, Array]:
        """Per figure that is a mean, what each row adds, [n].

        Args:
            truth: class numbers [n], or a quantity [n, 1].
            said: labels [n], or predictions [n, 1].
        """
        found = {}
        if self.costs:
            found["cost"] = np.where(truth == said, 0.0, np.asarray(self.costs)[truth])
        if self.ordinal:
            found["rank_error"] = np.abs(truth - said).astype(np.float64)
        if self.quantile is not None:
            short = (truth - said)[:, 0]
            found["pinball_loss"] = np.maximum(self.quantile * short, (self.quantile - 1) * short)
        return found

    def figures(
        self, truth: Array, said: Array, whose: tuple[Groups, Array | None], most: int, seed: int
    ) -> dict[str, Interval]:
        """Every figure with its interval; `whose` are subjects and weights, `most` resamples with
        `seed` where there is no closed form.
        """
        groups, weights = whose
        found = {
            name: intervals.mean(
                each, groups=groups, weights=weights, limits=(0.0, self._most(name, truth))
            )
            for name, each in self.rows(truth, said).items()
        }
        if self.quantile is not None:
            found["quantile_coverage"] = intervals.share_of(
                (truth <= said)[:, 0], groups, weights=weights
            )
        if self.ordinal:
            found["quadratic_kappa"] = bootstrap.interval(
                kappa, _with(weights, truth, said), most, seed, groups
            )
        return found

    def _most(self, name: str, truth: Array) -> float:
        """The most that one row can add, for rows that all add the same; see `intervals.alike`."""
        return max(self.costs) if name == "cost" else float(np.ptp(truth))

    def differences(
        self,
        truth: Array,
        ours: Array,
        theirs: Array,
        whose: tuple[Groups, Array | None],
        most: int,
        seed: int,
    ) -> dict[str, Interval]:
        """Per figure ours less theirs, on the same rows; the share below a quantile is no better
        for being larger, and is left out.
        """
        groups, weights = whose
        before = self.rows(truth, theirs)
        found = {}
        for name, each in self.rows(truth, ours).items():
            moves, largest = each - before[name], self._most(name, truth)
            found[name] = (
                intervals.mean(moves, groups=groups, weights=weights, limits=(-largest, largest))
                if moves.any()
                else Interval.exact(0.0)
            )
        if self.ordinal:
            less: Callable[..., float] = lambda y, a, b, *w: kappa(y, a, *w) - kappa(y, b, *w)  # noqa: E731 - one line
            found["quadratic_kappa"] = bootstrap.interval(
                less, _with(weights, truth, ours, theirs), most, seed, groups
            )
        return found


def kappa(truth: Array, said: Array, weights: Array | None = None) -> float:
    """Agreement beyond chance, misses counting by the square of their distance; ValueError where
    all rows are of one class.
    """
    if len(np.unique(truth)) < 2:
        raise ValueError("there is one class only")
    return float(cohen_kappa_score(truth, said, weights="quadratic", sample_weight=weights))


def _with(weights: Array | None, *arrays: Array) -> list[Array]:
    return [*arrays] if weights is None else [*arrays, weights]
