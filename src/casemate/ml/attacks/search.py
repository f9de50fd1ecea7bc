"""Query attack without gradients: random corners and inner points of the ball, other categories,
then greedy moves.

Random blocks of features jump to a face of the ball as in Andriushchenko et al., Square Attack
(ECCV 2020), without its image geometry; every fourth proposal is an inner point, because trees can
be wrong between the faces. The greedy pass tries both faces of every number and every choosable
category and keeps the worst. Works on any model.
"""

import numpy as np

from casemate.ml.attacks.interface import Array, Target, keep_better

PROPOSALS = 4
"""Of a row and step: three jump to faces of the ball, one inside, as above."""
GREEDY_ROUNDS = 2
"""Of moves of single features: the second takes up what the first has changed around them."""
MAX_ROWS = 50_000
"""Rows that the model is asked about at once: bounds memory, no result depends on it."""
MAX_GREEDY = 256
"""Numbers whose faces a greedy round tries, drawn anew each time: of wide tables the search would
be nothing else.
"""


class Search:
    """Random search of the box: needs scores only, and no gradient."""

    name = "search"

    def applies(self, target: Target) -> bool:
        """Whether it can do something against this target: always, because it needs scores only."""
        return True

    def improve(
        self, target: Target, best: Array, margins: Array, eps: float, steps: int, seed: int
    ) -> None:
        """See `Attack.improve`."""
        generator = np.random.default_rng(seed)
        lower, upper = target.ball(eps)
        width = best.shape[1]
        for step in range(steps):
            rows = np.repeat(np.flatnonzero(margins > 0), PROPOSALS)
            if not len(rows):
                return
            share = max(1.0 / width, 1.0 - step / steps)
            jump = generator.random((len(rows), width)) < share
            inner = (np.arange(len(rows)) % PROPOSALS == 0)[:, None]
            place = generator.random((len(rows), target.width))
            place = np.where(inner, place, np.round(place))
            proposed = best[rows].copy()
            proposed[:, : target.width] = lower[rows] + place * (upper[rows] - lower[rows])
            for position, allowed in enumerate(target.allowed):
                proposed[:, target.width + position] = generator.choice(allowed, len(rows))
            changed = target.legal(np.where(jump, proposed, best[rows]), lower[rows], upper[rows])
            self._keep(target, best, margins, changed, rows)
        for _ in range(GREEDY_ROUNDS):
            self._greedy(target, best, margins, (lower, upper), generator)

    def _greedy(
        self,
        target: Target,
        best: Array,
        margins: Array,
        limits: tuple[Array, Array],
        generator: np.random.Generator,
    ) -> None:
        lower, upper = limits
        which = np.arange(target.width)
        if len(which) > MAX_GREEDY:
            which = generator.choice(which, MAX_GREEDY, replace=False)
        picks = [
            (target.width + position, option)
            for position, allowed in enumerate(target.allowed)
            for option in allowed
        ]
        moves = 2 * len(which) + len(picks)
        if not moves:
            return
        block = max(1, MAX_ROWS // moves)
        alive = np.flatnonzero(margins > 0)
        for start in range(0, len(alive), block):
            at = alive[start : start + block]
            moved = np.repeat(best[at][:, None, :], moves, axis=1)
            first = np.arange(len(which))
            moved[:, first, which] = lower[at][:, which]
            moved[:, len(which) + first, which] = upper[at][:, which]
            for number, (column, option) in enumerate(picks, 2 * len(which)):
                moved[:, number, column] = option
            self._keep(
                target, best, margins, moved.reshape(-1, best.shape[1]), np.repeat(at, moves)
            )

    @staticmethod
    def _keep(target: Target, best: Array, margins: Array, changed: Array, rows: Array) -> None:
        found = target.margin(changed, rows)
        order = np.lexsort((found, rows))
        first = order[np.unique(rows[order], return_index=True)[1]]
        keep_better(best, margins, changed[first], found[first], rows[first])
