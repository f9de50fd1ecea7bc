"""Query attack without gradients: random corners of the ball, then greedy moves of single features.

Random blocks of features jump to a face of the ball as in Andriushchenko et al., Square Attack (ECCV 2020), without
its image geometry; the greedy pass tries both faces of every feature and keeps the worst. Works on any model.
"""

import numpy as np

from casemate.stages.assess.robustness.interface import Array, Target, keep_better

PROPOSALS = 4
GREEDY_ROUNDS = 2
MAX_ROWS = 50_000


class Search:
    """Needs predictions only."""

    name = "search"

    def applies(self, target: Target) -> bool:
        """Always."""
        return True

    def improve(self, target: Target, best: Array, margins: Array, eps: float, steps: int, seed: int) -> tuple[Array, Array]:
        """See `Attack.improve`."""
        generator = np.random.default_rng(seed)
        lower, upper = target.ball(eps)
        for step in range(steps):
            rows = np.repeat(np.flatnonzero(margins > 0), PROPOSALS)
            if not len(rows):
                return best, margins
            share = max(1.0 / best.shape[1], 1.0 - step / steps)
            jump = generator.random((len(rows), best.shape[1])) < share
            corner = np.where(generator.random(jump.shape) < 0.5, lower[rows], upper[rows])
            numbers = np.where(jump, corner, best[rows])
            self._keep(target, best, margins, numbers, rows)
        for _ in range(GREEDY_ROUNDS):
            self._greedy(target, best, margins, lower, upper)
        return best, margins

    def _greedy(self, target: Target, best: Array, margins: Array, lower: Array, upper: Array) -> None:
        features = best.shape[1]
        block = max(1, MAX_ROWS // (2 * features))
        alive = np.flatnonzero(margins > 0)
        for start in range(0, len(alive), block):
            at = alive[start : start + block]
            moved = np.repeat(best[at][:, None, :], 2 * features, axis=1)
            which = np.arange(features)
            moved[:, which, which] = lower[at]
            moved[:, features + which, which] = upper[at]
            self._keep(target, best, margins, moved.reshape(-1, features), np.repeat(at, 2 * features))

    @staticmethod
    def _keep(target: Target, best: Array, margins: Array, numbers: Array, rows: Array) -> None:
        found = target.margin(numbers, rows)
        order = np.lexsort((found, rows))
        first = order[np.unique(rows[order], return_index=True)[1]]
        keep_better(best, margins, numbers[first], found[first], rows[first])
