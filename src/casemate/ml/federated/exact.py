"""What is exact over sites because it is a sum over rows: counts, means, variances, least squares,
and logistic regression by Newton's method.

A site sends sums over all of its rows, never a row; what the coordinator computes from the sites'
sums is what it would compute from the pooled table, up to the rounding of sums. Newton-Raphson
over sites: Wu et al., Grid Binary LOgistic REgression (GLORE), JAMIA 19(5), 2012. A sum over few
rows tells of these rows: a site with fewer than its policy's least does not answer.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import linalg

from casemate.core.errors import ConfigError, Error
from casemate.ml.federated.learners import LinearLearner

Array = np.ndarray[Any, Any]
MOST_WEIGHTS = 3_000
"""Coefficients at most: their second derivatives are a square of so many, 72 MB a site."""
ROUNDS = 60
"""Newton's method needs about ten from nought."""
TOLERANCE = 1e-9
"""Largest entry of the mean gradient at which the optimum is reached."""
SUFFICIENT = 1e-4
"""Share of the promised decrease that a step must keep (Armijo; Nocedal and Wright, Numerical
Optimization, 3.1).
"""


class NotReached(Error):
    """The sites' sums lead to no optimum."""

    code = "CM-NOT-CONVERGED"
    exit_code = 1
    who = "whoever chose features and penalty"


class Sums(NamedTuple):
    """Of some weights, over rows; those of two sites add up."""

    rows: float
    """How many."""
    loss: float
    """Sum of the rows' losses, without the penalty."""
    slope: Array
    """Its gradient [p]."""
    bend: Array
    """Its second derivatives [p, p]."""

    def flat(self) -> Array:
        """All of it as one vector, which is what may be masked; the upper half of `bend` alone."""
        upper = self.bend[np.triu_indices(len(self.slope))]
        return np.concatenate([[self.rows, self.loss], self.slope, upper])


def sums_of(learner: LinearLearner, rows: Array, codes: Array, weights: Array) -> Sums:
    """A site's sums for flat weights [p]."""
    probabilities, truth = learner.probabilities(weights, rows), learner.truth(codes)
    given = np.hstack([rows, np.ones((len(rows), 1))])
    many = learner.outputs
    if many == 1:
        scores = rows @ learner.split(weights)[0] + learner.split(weights)[1]
        loss = float(np.logaddexp(0.0, scores).sum() - (truth * scores).sum())
    else:
        chosen = (probabilities * truth).sum(axis=1)
        loss = float(-np.log(np.maximum(chosen, 1e-300)).sum())
    slope = given.T @ (probabilities - truth)
    bend = np.empty((given.shape[1], many, given.shape[1], many))
    for one in range(many):
        for other in range(one, many):
            spread = probabilities[:, one] * ((one == other) - probabilities[:, other])
            bend[:, one, :, other] = bend[:, other, :, one] = given.T @ (given * spread[:, None])
    size = slope.size
    return Sums(float(len(rows)), loss, slope.ravel(), bend.reshape(size, size))


def from_flat(vector: Array, size: int) -> Sums:
    """What `Sums.flat` made one vector of; `size` weights."""
    bend = np.zeros((size, size))
    bend[np.triu_indices(size)] = vector[2 + size :]
    bend += np.triu(bend, 1).T
    return Sums(float(vector[0]), float(vector[1]), vector[2 : 2 + size], bend)


def flat_size(learner: LinearLearner) -> int:
    """Numbers that a site sends a round.

    Raises:
        ConfigError: the model has too many coefficients for second derivatives.
    """
    size = learner.layout.size
    if size > MOST_WEIGHTS:
        raise ConfigError(
            f"the model has {size} coefficients, and exact training sends a square of them",
            hint=f"at most {MOST_WEIGHTS}; else --rule fedavg",
        )
    return 2 + size + size * (size + 1) // 2


class Optimum(NamedTuple):
    """Where the sites' sums lead."""

    weights: Array
    """Flat [p]."""
    rounds: int
    """How often the sites were asked."""
    slope: float
    """Largest entry of the mean gradient that is left."""


def solve(learner: LinearLearner, ask: Callable[[Array], Sums]) -> Optimum:
    """The same coefficients as a fit on the pooled rows.

    Args:
        learner: which model, and its penalty.
        ask: the sites' sums together for flat weights; one call is one round.

    Raises:
        NotReached: after `ROUNDS` the gradient is not nought.
    """
    flat_size(learner)
    many = learner.outputs
    # as `Sums` has them, intercepts behind the coefficients: the learner's own order
    penalty = np.repeat(np.append(np.ones(learner.width), 0.0), many) / learner.strength
    hold = np.zeros((len(penalty), len(penalty)))
    if many > 1:  # a shift of all intercepts changes nothing: keep their sum where it is
        hold[-many:, -many:] = 1.0
    weights, value, step = learner.start(0), np.inf, np.zeros(0)
    promised = 0.0
    for number in range(1, ROUNDS + 1):
        found = ask(weights)
        reached = found.loss + 0.5 * float(penalty @ weights**2)
        slope = found.slope + penalty * weights
        left = float(np.abs(slope).max()) / max(found.rows, 1.0)
        if left < TOLERANCE:
            return Optimum(weights, number, left)
        if reached > value + SUFFICIENT * promised + 1e-12 * abs(value):
            step, promised = step / 2, promised / 2
            weights = weights - step
            continue
        try:
            step = linalg.solve(found.bend + np.diag(penalty) + hold, -slope, assume_a="pos")
        except linalg.LinAlgError as error:
            raise NotReached(
                "the sites' sums have no single optimum",
                hint="a smaller C: without a penalty, separable classes have none",
            ) from error
        value, promised = reached, float(slope @ step)
        weights = weights + step
    raise NotReached(
        f"the gradient is not nought after {ROUNDS} rounds", hint="a smaller C in the model"
    )


class Moments(NamedTuple):
    """Sums of numbers, from which mean and variance follow; those of two sites add up."""

    rows: Array
    """Of each column, how many are known [d]."""
    total: Array
    """Sum of what is known, less a reference that every site was told [d]."""
    squares: Array
    """Sum of its squares [d]."""

    def flat(self) -> Array:
        """All of it as one vector [3 d]."""
        return np.concatenate(self)

    @classmethod
    def from_flat(cls, vector: Array) -> "Moments":
        """What `flat` made one vector of."""
        return cls(*np.split(vector, 3))


def moments_of(rows: Array, reference: Array) -> Moments:
    """A site's sums of numbers [n, d], NaN is unknown; `reference` [d] lies near the means, so that
    squares keep their digits.
    """
    apart = rows - reference
    known = ~np.isnan(apart)
    apart = np.where(known, apart, 0.0)
    return Moments(known.sum(axis=0).astype(np.float64), apart.sum(axis=0), (apart**2).sum(axis=0))


def statistics(found: list[Moments], reference: Array) -> tuple[Array, Array]:
    """(means [d], variances [d] over n - 1) of all sites' rows together; NaN where nobody knows
    any.
    """
    count, total, squares = (sum(parts) for parts in zip(*found, strict=True))
    with np.errstate(invalid="ignore", divide="ignore"):
        means = total / count
        return reference + means, (squares - count * means**2) / (count - 1)


def gram_of(rows: Array, values: Array) -> tuple[Array, Array]:
    """A site's sums for least squares: (x xᵀ [d + 1, d + 1], x y [d + 1]), a one before each x."""
    given = np.hstack([np.ones((len(rows), 1)), rows])
    return given.T @ given, given.T @ values


def least_squares(found: list[tuple[Array, Array]], alpha: float) -> tuple[Array, float]:
    """(coefficients [d], intercept) of a ridge regression on all sites' rows together."""
    gram, moment = (sum(parts) for parts in zip(*found, strict=True))
    penalty = np.diag([0.0, *[alpha] * (len(gram) - 1)])
    weights = linalg.lstsq(gram + penalty, moment)[0]
    return weights[1:], float(weights[0])
