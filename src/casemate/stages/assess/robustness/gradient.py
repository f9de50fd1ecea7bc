"""Projected gradient descent on the margin, gradients by central differences through the whole pipeline.

Source: Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks (ICLR 2018), L-infinity, signed
steps. Central differences work for every smooth estimator behind any preprocessing; piecewise constant models (trees,
neighbours) have no gradient and are left to the search.
"""

import numpy as np

from casemate.stages.assess.robustness.interface import Array, Target, keep_better

STEP = 1e-4
LEAST_SHARE = 0.5
MAX_ROWS = 50_000


class Gradient:
    """PGD with a step of 2.5 eps / steps."""

    name = "pgd"

    def applies(self, target: Target) -> bool:
        """Whether most rows have a gradient."""
        rows = np.arange(min(len(target.codes), 20))
        slopes = self._slopes(target, target.start[rows], rows)
        return bool(np.mean(np.any(slopes != 0, axis=1)) >= LEAST_SHARE)

    def improve(self, target: Target, best: Array, margins: Array, eps: float, steps: int, seed: int) -> tuple[Array, Array]:
        """See `Attack.improve`."""
        lower, upper = target.ball(eps)
        stride = 2.5 * eps / steps * target.spread
        rows = np.flatnonzero(margins > 0)
        numbers = best[rows].copy()
        for _ in range(steps):
            if not len(rows):
                break
            slopes = self._slopes(target, numbers, rows)
            numbers = np.clip(numbers - stride * np.sign(slopes), lower[rows], upper[rows])
            keep_better(best, margins, numbers, target.margin(numbers, rows), rows)
            going = margins[rows] > 0
            rows, numbers = rows[going], numbers[going]
        return best, margins

    @staticmethod
    def _slopes(target: Target, numbers: Array, rows: Array) -> Array:
        features = numbers.shape[1]
        slopes = np.zeros_like(numbers)
        block = max(1, MAX_ROWS // (2 * features))
        offsets = np.concatenate([np.eye(features), -np.eye(features)]) * (STEP * target.spread)
        for start in range(0, len(rows), block):
            at = rows[start : start + block]
            moved = (numbers[start : start + block, None, :] + offsets[None]).reshape(-1, features)
            margins = target.margin(moved, np.repeat(at, 2 * features)).reshape(len(at), 2, features)
            slopes[start : start + block] = margins[:, 0] - margins[:, 1]
        return np.nan_to_num(slopes)
