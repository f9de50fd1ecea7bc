"""Boosted trees over sites under noise: where they split is drawn by chance, and sites sum
derivatives by leaf alone, one question a tree.

What is best to split by is what the rows say, so asking for it costs noise for each column, bin and
level; a split that nobody looked for costs nothing. Maddock et al., Federated Boosted Decision
Trees with Differential Privacy, CCS 2022, find such trees with noisy Newton steps in their leaves
the best of what they compare. A tree has few columns, which take turns (Nori et al., Accuracy,
Interpretability, and Differential Privacy via Explainable Boosting, ICML 2021); bins follow from
the declared limits. A row lies in one leaf of a tree, and all rows of a subject count for no more
than the clip in all leaves together, whatever trees a coordinator asks about.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from msgspec import structs

from casemate.core.errors import ConfigError
from casemate.ml.federated.bins import CELLS, Bins
from casemate.ml.federated.encoding import Limits
from casemate.ml.federated.local import LocalPlan
from casemate.ml.federated.rules import COVERED
from casemate.ml.federated.trees import (
    ABSENT,
    CLASSIFIER,
    FIELDS,
    LEAF,
    Asked,
    Forest,
    Growth,
    Site,
    outputs_of,
)
from casemate.ml.learn.accountant import sigma_for
from casemate.ml.learn.encoder import edges
from casemate.ml.learn.noise import Noise

Array = np.ndarray[Any, Any]
SCALE_BINS = 16
"""Of a number on each of two scales at most: equal widths, and growing ones. A judgement: on Adult
8 to 32 differ by two thousandths of AUC at most.
"""
TURNS = 3
"""Trees that each column is in at least, where trees are few and columns many."""
LARGEST_STEP = 4.0
"""Of one leaf before the rate. A judgement: of chances, from even to fifty to one."""
SMALLEST_BEND = 1e-3
"""What is added where neither noise nor a penalty keeps a leaf from dividing by nought."""

Ask = Callable[[Asked], tuple[Array, int]]
"""(sums of all sites that answered, how many those are)."""


def rounds_of(growth: Growth) -> int:
    """Questions, each of them one noisy sum: of all rows, and of each tree's leaves."""
    return 1 + growth.trees


def require_covered(estimator: str) -> None:
    """Nothing.

    Args:
        estimator: name of its class.

    Raises:
        ConfigError: no noise covers the sums of such a model.
    """
    if estimator != CLASSIFIER:
        raise ConfigError(
            f"sums of a {estimator} are not clipped, so no noise covers them",
            hint=f"--rule {COVERED}; or a {CLASSIFIER} in train.py",
        )


def planned(plan: LocalPlan, growth: Growth, epsilon: float, delta: float) -> LocalPlan:
    """The plan with the least noise by which all rounds together cost a subject `epsilon`.

    Raises:
        BackendError: the accountant is not installed.
    """
    sigma = sigma_for(epsilon, delta, rounds_of(growth))
    return structs.replace(plan, sigma=sigma, epochs=1)


def cuts_of(limits: Limits, most: int) -> list[list[int]]:
    """Of each number the last cells of all bins but the last, by the limits alone.

    Args:
        limits: of the features.
        most: bins of a number.
    """
    count = min(SCALE_BINS, max(2, (most + 1) // 2))
    inner = np.rint(edges(0.0, 1.0, count)[1:-1] * CELLS).astype(np.int64) - 1
    found = np.unique(np.clip(inner, 0, CELLS - 2))[1 - most :].tolist()
    return [found if high > low else [] for low, high in limits.numbers.values()]


def asked_leaves(forest: Forest) -> list[tuple[int, int]]:
    """(output, node) of the leaves of the last tree, in order.

    Raises:
        ConfigError: there is no tree, or one of another kind of question.
    """
    if not forest.trees or forest.open:
        raise ConfigError("no leaves, or trees that are not grown to their end")
    return [(int(output), int(at)) for output, at in np.argwhere(forest.trees[-1][..., 0] == LEAF)]


def sums_by_leaf(site: Site, asked: Asked, clip: float) -> Array:
    """Sums of first and of second derivatives in each leaf of the last tree, [2 * leaves], without
    noise yet.

    The derivatives of a subject's rows in all leaves together are a vector that is clipped to norm
    `clip` before it is added, so one subject more or less moves the sums by no more than that.

    Args:
        site: its rows.
        asked: trees and cuts.
        clip: largest norm of what one subject counts for; inf: all of it.

    Raises:
        ConfigError: there are no such trees.
    """
    forest, slope, bend = site.looked(asked)
    places = {leaf: place for place, leaf in enumerate(asked_leaves(forest))}
    where = np.zeros(slope.shape, dtype=np.int64)
    for output in range(len(forest.trees[-1])):
        for at, inside in site.members(forest, output).items():
            where[inside, output] = places[output, at]
    # of each subject and leaf one pair of numbers
    pairs = site.owners[:, None] * len(places) + where
    keys, each = np.unique(pairs, return_inverse=True)
    own = np.stack([np.bincount(each.ravel(), part.ravel(), len(keys)) for part in (slope, bend)])
    subjects = keys // len(places)
    lengths = np.sqrt(np.bincount(subjects, (own**2).sum(axis=0), site.subjects))
    own *= (np.minimum(1.0, clip / np.maximum(lengths, 1e-12)))[subjects]
    return np.concatenate([np.bincount(keys % len(places), part, len(places)) for part in own])


def noisy_sums(site: Site, asked: Asked, sigma: float, clip: float) -> Array:
    """What a site answers: `sums_by_leaf` and noise of `sigma` times the clip on each number."""
    found = sums_by_leaf(site, asked, clip)
    return np.asarray(found + Noise().normal(found.shape) * sigma * clip)


def grow(
    growth: Growth,
    limits: Limits,
    classes: int,
    noise: float,
    seed: int,
    ask: Ask,
    heard: Callable[[Forest], None] = lambda _: None,
) -> Forest:
    """The trees that the sites' noisy sums lead to; whatever is made of those is as private as
    they are.

    Args:
        growth: how many, how deep and how fast; `least` is of nothing here.
        limits: of the features.
        classes: how many there are.
        noise: standard deviation of what one site adds to each sum.
        seed: of the splits, which are no secret.
        ask: one question, to all sites.
        heard: hears of each tree.
    """
    bins = Bins(limits=limits, cuts=cuts_of(limits, growth.bins))
    outputs, chance = outputs_of(classes), np.random.default_rng(seed)
    forest = Forest(growth, bins, 0.0, 1.0, np.zeros(outputs), [])

    def asked() -> tuple[Array, float]:
        count = len(asked_leaves(forest))
        sums, sites = ask(Asked(forest.flat(), bins.cuts, 2 * count, None))
        return sums.reshape(2, count), noise * float(np.sqrt(sites))

    forest.trees.append(_stage(growth, outputs))
    sums, spread = asked()
    forest.base, forest.trees = begun(sums, spread, classes), []
    columns = _Columns(len(bins.widths), growth.trees, chance)
    for _ in range(growth.trees):
        tree = _drawn(growth, bins, columns.next(), chance)
        forest.trees.append(np.tile(tree, (outputs, 1, 1)))
        leaves = asked_leaves(forest)
        sums, spread = asked()
        for (output, at), slope, bend in zip(leaves, *sums, strict=True):
            forest.trees[-1][output, at, 3] = growth.rate * step(slope, bend, growth.l2, spread)
        heard(forest)
    return forest


def begun(sums: Array, spread: float, classes: int) -> Array:
    """Scores to begin with [k], from sums [2, k] over all rows at scores of nought: those of a
    class's chance, drawn to even ones as far as noise could have made them up.
    """
    even = 1 / max(classes, 2)
    rows = max(float(sums[1].mean()) / (even * (1 - even)), 0.0)
    least = max(spread, 1.0)
    if classes == 2:
        yes = float(np.clip(rows / 2 - sums[0, 0], 0.0, rows))
        return np.log([(yes + least) / (rows - yes + least)])
    counts = np.clip(rows * even - sums[0], 0.0, rows) + least
    logs = np.log(counts / counts.sum())
    return np.asarray(logs - logs.mean())


def step(slope: float, bend: float, l2: float, spread: float) -> float:
    """A leaf's value before the rate: the Newton step, drawn to nought as far as noise could have
    made it up.

    The sum of first derivatives is about minus the value times the bend, and noise of deviation
    `spread`; of values whose deviation is 1 this is the linear estimate of least mean square error.
    """
    bent = max(bend, 0.0)
    found = -slope * bent / (bent * (bent + l2) + spread**2 + SMALLEST_BEND**2)
    return float(np.clip(found, -LARGEST_STEP, LARGEST_STEP))


class _Columns:
    """Which columns a tree has: they take turns, each round of them in another order."""

    def __init__(self, count: int, trees: int, chance: np.random.Generator) -> None:
        self.count, self.chance = count, chance
        self.share = min(count, max(1, -(-TURNS * count // trees)))
        self._left: list[int] = []

    def next(self) -> list[int]:
        """Those of the next tree."""
        while len(self._left) < self.share:
            self._left += self.chance.permutation(self.count).tolist()
        found, self._left = self._left[: self.share], self._left[self.share :]
        return found


def _stage(growth: Growth, outputs: int) -> Array:
    """Trees of one leaf [outputs, slots, FIELDS]."""
    found = np.zeros((outputs, growth.slots, FIELDS))
    found[..., 0], found[:, 0, 0] = ABSENT, LEAF
    return found


def _drawn(growth: Growth, bins: Bins, columns: list[int], chance: np.random.Generator) -> Array:
    """A tree of these columns [slots, FIELDS] whose splits are drawn, and whose leaves are 0."""
    (tree,) = _stage(growth, 1)
    # what is missing is above all numbers, and a cut behind the last bin tells it from them
    possible = {0: {column: list(range(bins.widths[column])) for column in set(columns)}}
    for at in range(growth.slots // 2):
        cuts = {column: left for column, left in possible.pop(at, {}).items() if left}
        if not cuts:
            continue
        column = int(chance.choice(sorted(cuts)))
        cut = int(chance.choice(cuts[column]))
        tree[at] = column, cut, 0.0, 0.0
        below, above = dict(cuts), dict(cuts)
        if column < bins.numbers:
            below[column] = [one for one in cuts[column] if one < cut]
            above[column] = [one for one in cuts[column] if one > cut]
        else:  # one value goes right, all others left
            below[column], above[column] = [one for one in cuts[column] if one != cut], []
        for child, left in ((2 * at + 1, below), (2 * at + 2, above)):
            tree[child] = LEAF, 0.0, 0.0, 0.0
            possible[child] = left
    return np.asarray(tree)
