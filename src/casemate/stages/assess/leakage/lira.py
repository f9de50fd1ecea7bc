"""LiRA: membership by likelihood ratio, with shadow models; and how much single rows were
memorised.

Source: Carlini, Chien, Nasr, Song, Terzis, Tramèr, Membership Inference Attacks From First
Principles (IEEE S&P 2022), online attack: every shadow model is trained on a random half of the
pool of members and other rows; per row the logit of the true class is Gaussian among shadows with
it and without it, and the ratio of both likelihoods at the target's logit is the score.
Memorisation of a member is the target's probability of its label less the mean of the shadows
without it (Feldman and Zhang, What Neural Networks Memorize and Why, NeurIPS 2020). Of a regressor
the logarithm of the squared error takes the place of the logit, and memorisation is not measured.

The attacker here knows the estimator, its parameters and rows of the same table: stronger than most
real ones.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Self

import msgspec
import numpy as np
from scipy.stats import norm

from casemate.config import AssessTable
from casemate.core.sandbox.helpers import Answer, Task, unpacked
from casemate.core.threads import fitting
from casemate.ml.frame import sample_rows
from casemate.ml.models import Model
from casemate.ml.own.asked import AskedModel
from casemate.ml.refit import refitted
from casemate.stages.assess.intervals import share_of
from casemate.stages.assess.leakage.membership import LEAST_ROWS, TooFewRows
from casemate.stages.assess.leakage.rates import MAX_FALSE_POSITIVES, above, caught, told_apart
from casemate.stages.assess.sample import Sample, checked, sureness
from casemate.stages.assess.subjects import of

MEMORISED = 0.5
"""Gain in probability of its own label from which a row counts as memorised: it is likelier right
for having been there. Chosen; Feldman and Zhang (2020) look at rows from .25 on.
"""
FLOOR = 1e-6
"""Least distance of probabilities from 0 and 1, and least deviation: logits and likelihoods must be
finite.
"""
LEAST_SHADOWS = 4
"""Shadow models below which a row's means with and without it stand on one model, or none. Chosen;
the default of `[assess] shadows` is 16.
"""
Array = np.ndarray[Any, Any]


class NoEstimator(ValueError):
    """There is nothing to train shadow models with."""


def measure(
    model: Model,
    estimator: Any,
    members: Sample,
    holdout: Sample,
    options: AssessTable,
    seed: int,
    progress: Callable[[str, int, int], None],
    ask: Callable[[list[Task]], Iterator[Answer]] | None = None,
) -> dict[str, Any]:
    """`auc` and `tpr_at_1_fpr` with intervals, `memorised_share` of the members, and what it was
    measured on.

    `above_threshold` has the shares of both sides above a threshold that other rows chose: what a
    promised epsilon is held against.

    Args:
        model: the target.
        estimator: an estimator like it, which is cloned and trained anew; of a model with code of
            its own, a process that does so and whose other answers nobody measures.
        members: rows that the target was trained on.
        holdout: rows that it was not.
        options: the `[assess]` table.
        seed: of the halves.
        progress: hears how far it is.
        ask: has shadow models trained by helpers; None: they are trained here.
    """
    if estimator is None:
        raise NoEstimator("the model cannot be trained anew, so it has no shadows")
    drawn = Drawn.of(members, holdout, options, seed)
    pool, inside, count = drawn.pool, drawn.inside, drawn.side
    member = np.r_[np.ones(count), np.zeros(count)]
    target = _statistic(model.predict(pool.frame)[1], pool.target)
    shadows = np.zeros(inside.shape)
    found = (
        (drawn.shadow(estimator, number) for number in range(len(inside)))
        if ask is None
        else (unpacked(told["shadow"]) for told in ask([{"shadow": n} for n in range(len(inside))]))
    )
    progress("training shadow models", 0, len(inside))
    for number, statistic in enumerate(found):
        shadows[number] = statistic
        progress("training shadow models", number + 1, len(inside))
    score = _ratio(target, shadows, inside)
    auc = told_apart(member, score, pool.groups, options.bootstrap, seed)
    named, false = above(member, score, pool.groups, seed)
    held = {}
    if pool.target.ndim == 1:
        outside = np.where(~inside, shadows, np.nan)
        without = np.nanmean(_probability(outside), axis=0)
        memorised = (_probability(target) - without)[:count] > MEMORISED
        held = {
            "memorised_share": msgspec.to_builtins(
                share_of(memorised, of(pool.groups, np.arange(count)))
            )
        }
    return {
        "attack": "lira-online",
        "auc": msgspec.to_builtins(auc),
        "tpr_at_1_fpr": msgspec.to_builtins(caught(member, score, pool.groups, seed)),
        "above_threshold": {
            "members": msgspec.to_builtins(named),
            "others": msgspec.to_builtins(false),
        },
        "false_positive_rate": MAX_FALSE_POSITIVES,
        **held,
        "shadows": len(inside),
        "shadow_size": count + len(drawn.filling.target),
        "members": len(members.target),
        "rows_per_side": count,
    }


class Drawn(NamedTuple):
    """The rows of all shadow models."""

    pool: Sample
    """Members first, then as many others."""
    filling: Sample
    inside: Array
    """Which rows of the pool each shadow is trained on, bool [shadows, rows]."""
    side: int
    """Rows of each side."""
    seed: int

    @classmethod
    def of(cls, members: Sample, holdout: Sample, options: AssessTable, seed: int) -> Self:
        """Draw them; the same for the same arguments, as in `measure`.

        Raises:
            TooFewRows: or too few shadows, to say anything.
        """
        count = min(len(members.target), len(holdout.target), options.shadow_rows)
        if count < LEAST_ROWS:
            raise TooFewRows(f"{count} rows a side, at least {LEAST_ROWS} are needed")
        if options.shadows < LEAST_SHADOWS:
            raise TooFewRows(
                f"{options.shadows} shadow models, at least {LEAST_SHADOWS} are needed"
            )
        pool = members.take(count, seed).joined(holdout.take(count, seed))
        filling = _filling(members, count, options, seed)
        return cls(pool, filling, _halves(len(pool.target), options.shadows, seed), count, seed)

    def shadow(self, estimator: Any, number: int) -> Array:
        """What shadow `number` says of the pool, float64 [rows]: see `_statistic`."""
        np.random.seed((self.seed + number) % 2**32)  # noqa: NPY002 - an estimator may draw from it
        with fitting(self.pool.frame.size):  # the pool is small where the table is not
            return _shadow(estimator, self.pool, self.inside[number], self.filling)


def _halves(count: int, shadows: int, seed: int) -> Array:
    """Which rows each shadow is trained on, bool [shadows, count]; shadows come in complementary
    pairs.
    """
    generator = np.random.default_rng(seed)
    halves = []
    for _ in range((shadows + 1) // 2):
        chosen = np.zeros(count, dtype=bool)
        chosen[generator.permutation(count)[: count // 2]] = True
        halves += [chosen, ~chosen]
    return np.array(halves)


def _filling(members: Sample, count: int, options: AssessTable, seed: int) -> Sample:
    """Training rows that every shadow has besides its half of the pool, so that it is trained on as
    many rows as the target.

    A smaller shadow is another kind of model: it knows less and memorises more, and the attack is
    weaker for it. Above `shadow_size` rows that would cost too much, and shadows have no more than
    their half.
    """
    others = np.setdiff1d(
        np.arange(len(members.target)), sample_rows(len(members.target), count, seed)
    )
    rows = others if len(members.target) <= options.shadow_size else others[:0]
    return members.of(rows)


def _shadow(estimator: Any, pool: Sample, half: Array, filling: Sample) -> Array:
    taught = pool.of(half).joined(filling)
    rows = taught.frame, taught.target, taught.weights
    found = (
        estimator.refitted(rows, pool.frame)
        if isinstance(estimator, AskedModel)
        else refitted(estimator, rows, pool.frame)
    )
    if pool.target.ndim == 1:  # the last classes may have no row among those that were taught
        missing = max(0, int(pool.target.max()) + 1 - found.shape[1])
        found = np.pad(found, ((0, 0), (0, missing)))
    return _statistic(checked(found), pool.target)


def _statistic(found: Array, target: Array) -> Array:
    """What is about Gaussian among models: the logit of the true class, or the logarithm of the
    squared error, negative.
    """
    sure = sureness(np.asarray(found, dtype=np.float64), target)
    if target.ndim == 2:
        return np.asarray(-np.log(np.maximum(-sure, FLOOR)))
    true = np.clip(sure, FLOOR, 1 - FLOOR)
    return np.asarray(np.log(true) - np.log1p(-true))


def _probability(logits: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-logits))


def _ratio(target: Array, shadows: Array, inside: Array) -> Array:
    """Log-likelihood ratio per row; one deviation for all rows and both sides, because a row has
    few shadows.
    """
    values = [np.where(mask, shadows, np.nan) for mask in (inside, ~inside)]
    means = [np.nanmean(side, axis=0) for side in values]
    squares = np.concatenate(
        [((side - mean) ** 2).ravel() for side, mean in zip(values, means, strict=True)]
    )
    deviation = max(float(np.sqrt(np.nanmean(squares))), FLOOR)
    return np.asarray(
        norm.logpdf(target, means[0], deviation) - norm.logpdf(target, means[1], deviation)
    )
