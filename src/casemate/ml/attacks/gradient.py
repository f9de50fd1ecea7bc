"""Projected gradient descent on the margin: exact gradients of networks, central differences
through any other pipeline.

Source: Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks (ICLR 2018),
L-infinity, signed steps, random restarts; the step is halved when it no longer helps, after Croce
and Hein, Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free
Attacks (ICML 2020). Scores are decision values, not probabilities, so a saturated softmax hides
nothing. Where a small step shows no slope (rounded inputs, trees), larger ones are tried; what has
no slope at all is left to the search.
"""

import numpy as np

from casemate.ml.attacks.interface import Array, Target, keep_better

STEPS = (1e-4, 1e-2, 0.1)
"""Of the central difference, in standard deviations: the smallest that shows a slope counts, larger
ones are for rounded inputs.
"""
LEAST_SHARE = 0.5
"""Of rows that must have a slope for the attack to be run. A judgement; the search needs none."""
MAX_ROWS = 50_000
"""Rows that the model is asked about at once: bounds memory, no result depends on it."""
PATIENCE = 3
"""Steps without a lower margin after which the step is halved. A judgement; the source looks at
checkpoints instead.
"""


class Gradient:
    """PGD that begins with a step of eps / 2 and halves it."""

    name = "pgd"

    def __init__(self, restarts: int = 2) -> None:
        self.restarts = restarts
        self.step = STEPS[0]

    def applies(self, target: Target) -> bool:
        """Whether most rows have a gradient, at the smallest step that shows one."""
        if not target.width:
            return False
        if hasattr(target.model, "margin_gradient"):
            return True
        rows = np.arange(min(len(target.codes), 20))
        for self.step in STEPS:
            slopes = self._slopes(target, target.start[rows], rows)
            if np.mean(np.any(slopes != 0, axis=1)) >= LEAST_SHARE:
                return True
        return False

    def improve(
        self, target: Target, best: Array, margins: Array, eps: float, steps: int, seed: int
    ) -> None:
        """See `Attack.improve`."""
        lower, upper = target.ball(eps)
        generator = np.random.default_rng(seed)
        for restart in range(self.restarts):
            rows = np.flatnonzero(margins > 0)
            changed = best[rows].copy()
            if restart:
                share = generator.random((len(rows), target.width))
                changed[:, : target.width] = lower[rows] + share * (upper[rows] - lower[rows])
                target.legal(changed, lower[rows], upper[rows])
            self._descend(target, best, margins, changed, rows, (lower, upper), eps, steps)

    def _descend(
        self,
        target: Target,
        best: Array,
        margins: Array,
        changed: Array,
        rows: Array,
        limits: tuple[Array, Array],
        eps: float,
        steps: int,
    ) -> None:
        lower, upper = limits
        stride = np.full(len(rows), eps / 2)
        stale = np.zeros(len(rows), dtype=int)
        lowest = np.full(len(rows), np.inf)
        for _ in range(steps):
            if not len(rows):
                return
            slopes = self._slopes(target, changed, rows)
            changed[:, : target.width] -= stride[:, None] * target.spread * np.sign(slopes)
            target.legal(changed, lower[rows], upper[rows])
            found = target.margin(changed, rows)
            keep_better(best, margins, changed, found, rows)
            stale = np.where(found < lowest, 0, stale + 1)
            lowest = np.minimum(found, lowest)
            tired = stale >= PATIENCE
            stride, stale = np.where(tired, stride / 2, stride), np.where(tired, 0, stale)
            going = margins[rows] > 0
            rows, changed, stride, stale, lowest = (
                rows[going],
                changed[going],
                stride[going],
                stale[going],
                lowest[going],
            )

    def _slopes(self, target: Target, changed: Array, rows: Array) -> Array:
        if hasattr(target.model, "margin_gradient"):
            exact: Array = np.nan_to_num(
                target.model.margin_gradient(
                    target.rows(changed, rows), target.codes[rows], target.names
                )
            )
            return exact
        features = target.width
        slopes = np.zeros((len(rows), features))
        block = max(1, MAX_ROWS // (2 * features))
        offsets = np.zeros((2 * features, changed.shape[1]))
        offsets[:, :features] = np.concatenate([np.eye(features), -np.eye(features)]) * (
            self.step * target.spread
        )
        for start in range(0, len(rows), block):
            at = rows[start : start + block]
            moved = (changed[start : start + block, None, :] + offsets[None]).reshape(
                -1, changed.shape[1]
            )
            margins = target.margin(moved, np.repeat(at, 2 * features)).reshape(
                len(at), 2, features
            )
            slopes[start : start + block] = margins[:, 0] - margins[:, 1]
        return np.nan_to_num(slopes)
