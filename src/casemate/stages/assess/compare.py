"""This model against the one that passed last, on the same rows, which neither saw: paired
intervals and McNemar's test.

Sources: DeLong, DeLong, Clarke-Pearson, Biometrics 44 (1988), for areas, and their way with
influences for other figures; Agresti and Min, Simple improved confidence intervals for comparing
matched proportions (Statistics in Medicine 24, 2005); paired bootstrap of quantities as in Efron
and Tibshirani (1993); McNemar, Psychometrika 12 (1947), exact binomial form; of subjects with
several rows the exact law of the sum whose terms change sign together (Fisher, The Design of
Experiments, 1935, section 21).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from scipy import signal, stats

from casemate.config import AssessTable
from casemate.core.types import Interval, Schema
from casemate.ml.models import Model
from casemate.stages.assess import bootstrap, calibration, intervals, regression, subjects, weighted
from casemate.stages.assess.quality import USUAL, influences, statistics
from casemate.stages.assess.sample import Sample, checked
from casemate.stages.assess.subjects import Groups
from casemate.stages.assess.wishes import Wishes

LEAST = 50
"""Rows below which differences say nothing: their intervals are far too narrow."""
Array = np.ndarray[Any, Any]


class OtherShape(ValueError):
    """The models do not take the same features or give the same classes."""


class SeenBefore(ValueError):
    """Too few rows of the hold-out are new to the other model."""


def unseen(holdout: Sample, which: np.ndarray[Any, Any] | None, reference: str) -> Sample:
    """The rows to compare on.

    Args:
        holdout: rows that this model never saw.
        which: those that the other one was not trained on, bool [h]; None: every one.
        reference: the other one's.

    Raises:
        SeenBefore: they are too few, or of one class only; the message says how many are missing.
    """
    fair = holdout if which is None else holdout.of(np.flatnonzero(which))
    count, classes = (
        len(fair.target),
        (len(np.unique(holdout.target)) if holdout.target.ndim == 1 else 0),
    )
    if count < LEAST:
        raise SeenBefore(
            f"{count} of {len(holdout.target)} hold-out rows are known to be new to {reference};"
            f" {LEAST - count} more are needed"
        )
    if classes and len(np.unique(fair.target)) < classes:
        raise SeenBefore(f"the {count} hold-out rows that are new to {reference} miss a class")
    return fair


def measure(
    model: Model,
    previous: Model,
    shapes: tuple[Schema, Schema],
    holdout: Sample,
    options: AssessTable,
    seed: int,
    wishes: Wishes = USUAL,
) -> tuple[dict[str, Interval], dict[str, Any]]:
    """(per figure this model's less the other's with paired interval, McNemar's counts and p-value;
    no counts of regressors).
    """
    ours, theirs = ([(column.name, column.type) for column in schema.features] for schema in shapes)
    if (
        shapes[0].classes != shapes[1].classes
        or shapes[0].targets != shapes[1].targets
        or ours != theirs
    ):
        raise OtherShape("its features or classes are others")
    labels, probabilities = model.predict(holdout.frame)
    others, other = previous.predict(holdout.frame)
    checked(probabilities), checked(other)
    if shapes[0].regression:
        arrays = regression.scaled(holdout.target, probabilities, other)
        statistics = (
            regression.statistics() if holdout.weights is None else weighted.of_quantities()
        )
        compared = _drawn(
            statistics, arrays[:1], [arrays[1:2], arrays[2:]], options.bootstrap, seed, holdout
        )
        whose = holdout.groups, holdout.weights
        return (
            compared
            | wishes.differences(arrays[0], arrays[1], arrays[2], whose, options.bootstrap, seed),
            {},
        )
    ours_theirs = (labels.ravel(), probabilities), (others.ravel(), other)
    if holdout.weights is None:
        found = differences(holdout.target, *ours_theirs, holdout.groups)
    else:
        of_all = weighted.of_classes(probabilities.shape[1])
        found = _drawn(of_all, [holdout.target], ours_theirs, options.bootstrap, seed, holdout)
    whose = holdout.groups, holdout.weights
    found |= wishes.differences(
        holdout.target, ours_theirs[0][0], ours_theirs[1][0], whose, options.bootstrap, seed
    )
    right, before = labels.ravel() == holdout.target, others.ravel() == holdout.target
    return found, mcnemar(right, before, holdout.groups)


def mcnemar(right: Array, before: Array, groups: Groups = None) -> dict[str, float]:
    """Rows that only one of two models gets right, and how likely so uneven a number is if neither
    model is better.

    Were both equally good, the rows of a subject might as well speak for the one as for the other,
    all together: a subject who came ten times is one coin and not ten.

    Args:
        right: whether this model is right, bool [n].
        before: whether the other one is, bool [n].
        groups: whose each row is, [n]; see `subjects`.

    Returns:
        `gained`, `lost` (rows), the two-sided exact `p`, and where subjects have several rows
        `subjects`: how many speak for one model.
    """
    moves, whose = right.astype(int) - before.astype(int), subjects.repeated(groups)
    told = {"gained": float(np.sum(moves > 0)), "lost": float(np.sum(moves < 0))}
    nets = moves if whose is None else np.bincount(whose, moves).astype(int)
    nets = nets[nets != 0]
    told["p"] = _signs(nets)
    return told if whose is None else told | {"subjects": float(len(nets))}


def _signs(nets: Array) -> float:
    """Chance of a sum at least as far from 0 as that of `nets` [m], integers whose signs
    are coins.
    """
    law: Array = np.ones(1)
    for size, count in zip(*np.unique(np.abs(nets), return_counts=True), strict=True):
        own = np.zeros(size * count + 1)
        own[::size] = stats.binom.pmf(np.arange(count + 1), count, 0.5)
        law = signal.convolve(law, own)
    sums = 2 * np.arange(len(law)) - int(np.abs(nets).sum())
    return float(min(law[np.abs(sums) >= abs(int(nets.sum()))].sum(), 1.0))


def _drawn(
    statistics: dict[str, Callable[..., float]],
    truth: list[Array],
    sides: Sequence[Sequence[Array]],
    most: int,
    seed: int,
    rows: Sample,
) -> dict[str, Interval]:
    """Per figure ours less theirs by the paired bootstrap, of rows with their weights where they
    have some.
    """
    weights = [] if rows.weights is None else [rows.weights]
    width = len(sides[0])

    def difference(of: Callable[..., float], truth: Array, *rest: Array) -> float:
        weigh = rest[2 * width :]
        return of(truth, *rest[:width], *weigh) - of(truth, *rest[width : 2 * width], *weigh)

    arrays = [*truth, *sides[0], *sides[1], *weights]
    return {
        name: bootstrap.interval(partial(difference, statistic), arrays, most, seed, rows.groups)
        for name, statistic in statistics.items()
    }


def differences(
    codes: Array, ours: tuple[Array, Array], theirs: tuple[Array, Array], groups: Groups = None
) -> dict[str, Interval]:
    """Per figure of quality ours less theirs with its interval; without those that a missing class
    leaves undefined.

    Rows of the rarest class carry most of what differs, so Student's t has their degrees of
    freedom. Calibration errors are no
    means: their own intervals are put together as if they were independent, which is too wide for
    models that are alike.

    Args:
        codes: true class numbers, [n].
        ours: labels [n] and probabilities [n, classes].
        theirs: the same of the other model.
        groups: whose each row is, [n]; see `subjects`.
    """
    classes, groups = ours[1].shape[1], subjects.repeated(groups)
    sides = [influences(codes, *side) for side in (ours, theirs)]
    rarest = min(subjects.count(groups, codes == code) for code in np.unique(codes))
    found = {}
    for name, statistic in statistics(classes).items():
        if name == "calibration_error":
            each = [
                calibration.error_interval(*calibration.confidence(codes, *side), groups)
                for side in (ours, theirs)
            ]
            found[name] = intervals.total(each, [1.0, -1.0])
        elif name == "accuracy":
            found[name] = _paired((ours[0] == codes).astype(float) - (theirs[0] == codes), groups)
        # one row of a class does not tell how they differ
        elif name in sides[0] and rarest < 2 and name not in {"brier", "log_loss"}:
            found[name] = Interval(
                value=statistic(codes, *ours) - statistic(codes, *theirs), low=-1.0, high=1.0
            )
        elif name in sides[0]:
            value = statistic(codes, *ours) - statistic(codes, *theirs)
            moves = sides[0][name] - sides[1][name]
            # the same answers on every row: the same model, or one that nothing here tells from it
            if not moves.any():
                found[name] = Interval.exact(value)
                continue
            found[name] = intervals.smooth(
                value,
                moves,
                freedom=max(rarest - 1, 1),
                skewed=False,
                groups=groups,
                limits=_limits(name, sides),
            )
    return found


def _limits(name: str, sides: list[dict[str, Array]]) -> tuple[float, float]:
    """How far apart two models that answered alike may be on another row: by all of a share, by as
    much as losses differ of a loss.
    """
    most = float(np.ptp(sides[0][name])) if name in {"brier", "log_loss"} else 1.0
    return -most, most


def _paired(moves: Array, groups: Groups) -> Interval:
    """The mean of moves of -1, 0 and 1, [n], with two pseudo-rows, so that no discordant row is no
    certainty (Agresti and Min, 2005).
    """
    value, count = float(moves.mean()), len(moves)
    discordant, total = float(np.abs(moves).sum()), float(moves.sum())
    variance = (discordant + 1 - total**2 / (count + 2)) / (count + 2) ** 2
    freedom = float(count - 1)
    if groups is not None:
        sums = subjects.summed(moves - value, groups)
        freedom = max(len(sums) - 1.0, 1.0)
        variance = max(
            variance, float(np.var(sums, ddof=1)) / len(sums) if len(sums) > 1 else np.inf
        )
    half, middle = (
        float(stats.t.ppf((1 + intervals.LEVEL) / 2, freedom)) * variance**0.5,
        total / (count + 2),
    )
    return Interval(value=value, low=max(middle - half, -1.0), high=min(middle + half, 1.0))
