"""What a score means: the share of positives at each score, learnt from rows whose outcome is
known, and how unsure that is.
"""

from typing import Any

import numpy as np
from scipy import optimize, special

from casemate.ml.frame import worth

Array = np.ndarray[Any, Any]
MOST_BINS = 1000
"""Of scores that share a place; a finer grid moves no figure by a ten-thousandth."""
FOLDS = 5
"""In which the kinds of calibration are compared."""
LEAST, MOST = 1e-6, 1 - 1e-6
"""Of probabilities: no finite table says never or always."""
STEPS = 50
"""Newton's, at most; it needs about six."""
RIDGE = 1e-6
"""On the line's squares, so that scores which are all the same have a line too."""
STIFF = ("none", "platt")
KINDS = (*STIFF, "isotonic")
"""From the stiffest to the freest."""
FEWEST_ISOTONIC = 1000
"""Rows: with fewer, curves fit noise (Niculescu-Mizil and Caruana, Predicting good probabilities
with supervised learning, ICML 2005).
"""


class Calibrator:
    """Share of positives as a function of the score.

    `none` takes the score for the share; `platt` is a straight line between their log odds (Platt,
    Probabilistic outputs for support vector machines, 1999); `isotonic` is any curve that never
    falls (Zadrozny and Elkan, KDD 2002). The kind is isotonic where rows suffice, and else the
    stiff one with the least squared error in rows that it has not seen: figures are sums of shares,
    and a share of 0 that should be .01 costs them next to nothing.
    """

    def __init__(self, scores: Array, positive: Array, kind: str | None = None) -> None:
        """Learn.

        Args:
            scores: in [0, 1], [n].
            positive: 0 or 1, [n].
            kind: one of `KINDS`; None: see above.
        """
        edges = np.unique(np.quantile(scores, np.linspace(0, 1, MOST_BINS + 1), method="lower"))
        self.bins = np.searchsorted(edges, scores, side="right") - 1
        counts = np.bincount(self.bins, minlength=len(edges))
        sums = np.bincount(self.bins, weights=scores, minlength=len(edges))
        self.places = sums / np.maximum(counts, 1)
        self.positive = positive
        self.kind = kind or self._best()

    def _best(self) -> str:
        if len(self.bins) >= FEWEST_ISOTONIC:
            return "isotonic"
        folds = np.random.default_rng(0).integers(0, FOLDS, len(self.bins))
        losses = dict.fromkeys(STIFF, 0.0)
        for fold in range(FOLDS):
            rest = folds != fold
            for kind in STIFF:
                curve = self._curve(*self.counts(rest.astype(float)), kind)
                shares = curve[self.bins[~rest]]
                losses[kind] += float(np.sum((self.positive[~rest] - shares) ** 2))
        return min(STIFF, key=lambda kind: losses[kind])

    def counts(self, weights: Array | None = None) -> tuple[Array, Array]:
        """(positives, others) at each place, rows counted by their weights [n]."""
        weights = np.ones(len(self.bins)) if weights is None else weights
        size = len(self.places)
        return (
            np.bincount(self.bins, weights=weights * self.positive, minlength=size),
            np.bincount(self.bins, weights=weights * (1 - self.positive), minlength=size),
        )

    def curve(self, positives: Array, others: Array) -> Array:
        """The share of positives at each of `places`, from counts as `counts` gives them."""
        return self._curve(positives, others, self.kind)

    def at(self, scores: Array, curve: Array) -> Array:
        """The share of positives at any scores, by straight lines between the places."""
        held = np.flatnonzero(np.isfinite(curve))
        return np.asarray(np.interp(scores, self.places[held], curve[held]))

    def _curve(self, positives: Array, others: Array, kind: str) -> Array:
        if kind == "none":
            shares = self.places
        elif kind == "platt":
            shares = _platt(self.places, positives, others)
        else:
            shares = _isotonic(self.places, positives, others)
        return np.clip(shares, LEAST, MOST)


class Moved:
    """The calibration of another population: the reference's curve, its log odds shifted and
    stretched to reference rows that are weighted to that population.

    Two parameters, since a whole curve would be learnt from the few rows that weigh much; and only
    where they explain more than they cost by Schwarz's criterion (Annals of Statistics 6, 1978),
    rows counted by what they are worth.
    """

    def __init__(self, calibrator: Calibrator, weights: Array | None) -> None:
        """Learn; without weights the curve stays."""
        self.calibrator = calibrator
        self.counts = calibrator.counts()
        self.chances = calibrator.curve(*self.counts)
        self.line, self.covariance = np.array([0.0, 1.0]), np.zeros((2, 2))
        self.is_moved = False
        if weights is None:
            return
        rows = worth(weights)
        counts = calibrator.counts(weights * rows / weights.sum())
        at = logits(self.chances)
        line, covariance = fitted_line(at, *counts)
        gain = likelihood(special.expit(line[0] + line[1] * at), *counts) - likelihood(
            special.expit(at), *counts
        )
        if gain > np.log(rows):  # two parameters at half a logarithm each
            self.line, self.covariance, self.is_moved = line, covariance, True

    def at(self, scores: Array) -> Array:
        """The share of positives at scores."""
        return self._shifted(self.calibrator.at(scores, self.chances), self.line)

    def drawn(self, scores: Array, generator: np.random.Generator) -> Array:
        """The same from a reference that might as well have been met: a bootstrap of its rows,
        whose counts are then Poisson's, and a line within its covariance.
        """
        counts = [generator.poisson(count).astype(float) for count in self.counts]
        curve = self.calibrator.curve(*counts)
        line = generator.multivariate_normal(self.line, self.covariance, method="eigh")
        return self._shifted(self.calibrator.at(scores, curve), line)

    def _shifted(self, shares: Array, line: Array) -> Array:
        if not self.is_moved:
            return shares
        return np.asarray(special.expit(line[0] + line[1] * logits(shares)))


def logits(shares: Array) -> Array:
    """Log odds, kept finite."""
    return np.asarray(special.logit(np.clip(shares, 1e-4, 1 - 1e-4)))


def _platt(places: Array, positives: Array, others: Array) -> Array:
    at = logits(places)
    line, _ = fitted_line(at, positives, others)
    return np.asarray(special.expit(line[0] + line[1] * at))


def fitted_line(at: Array, positives: Array, others: Array) -> tuple[Array, Array]:
    """(intercept and slope of the log odds by maximum likelihood, their covariance [2, 2]), by
    Newton's steps; both classes are smoothed by one row, as Platt does.

    Args:
        at: log odds of each place, [k].
        positives: count there, [k].
        others: count there, [k].
    """
    up, down = (positives.sum() + 1) / (positives.sum() + 2), 1 / (others.sum() + 2)
    counts = positives + others
    aims = positives * up + others * down
    terms = np.column_stack([np.ones(len(at)), at])

    def loss(line: Array) -> float:
        values = terms @ line
        return float(counts @ np.logaddexp(0, values) - aims @ values + RIDGE * line @ line / 2)

    line, curvature = np.array([0.0, 1.0]), np.eye(2)
    for _ in range(STEPS):
        shares = special.expit(terms @ line)
        slopes = counts * shares * (1 - shares)
        curvature = terms.T @ (slopes[:, None] * terms) + RIDGE * np.eye(2)
        step = np.linalg.solve(curvature, terms.T @ (aims - counts * shares) - RIDGE * line)
        while loss(line + step) > loss(line) and np.abs(step).max() > 1e-8:
            step = step / 2
        if np.abs(step).max() <= 1e-8:
            break
        line = line + step
    return line, np.linalg.inv(curvature)


def likelihood(shares: Array, positives: Array, others: Array) -> float:
    """Log likelihood of counts."""
    return float(np.sum(special.xlogy(positives, shares) + special.xlog1py(others, -shares)))


def _isotonic(places: Array, positives: Array, others: Array) -> Array:
    counts = positives + others
    held = counts > 0
    if not held.any():
        return np.full(len(places), 0.5)
    found = optimize.isotonic_regression(positives[held] / counts[held], weights=counts[held])
    return np.asarray(np.interp(places, places[held], found.x))
