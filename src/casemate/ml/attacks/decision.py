"""Decision-based attack: sees labels only, so nothing that a model does to its scores can hide from
it.

Source: Chen, Jordan, Wainwright, HopSkipJumpAttack (IEEE S&P 2020), L-infinity: from any
misclassified point walk to the boundary, estimate its normal from random labels around it, step
along the signs, repeat. The nearest misclassified point of a row does not depend on eps, so it is
looked for once.
"""

import numpy as np

from casemate.ml.attacks.interface import Array, Target, keep_better

STARTS = 200
"""Random points among which the first misclassified one is looked for."""
GRID = 32
"""Points of a line on which the boundary is looked for, twice: within a thousandth of the way."""
QUERIES = 100
"""Random labels for one estimate of the normal. The source begins with 100 as well."""
ROUNDS = 10
"""Steps along the boundary: with the numbers above some two thousand questions a row. A judgement
between time and strength; figures of robustness name the attacks that ran.
"""
REACH = 6.0
"""How far, in units of eps, the first misclassified point is looked for."""


class Decision:
    """HopSkipJump on a few rows: it needs some two thousand queries a row."""

    name = "hop-skip-jump"

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.nearest: dict[int, Array | None] = {}

    def applies(self, target: Target) -> bool:
        """Whether there are numbers to move and rows to spend."""
        return self.rows > 0 and target.width > 0

    def improve(
        self, target: Target, best: Array, margins: Array, eps: float, steps: int, seed: int
    ) -> None:
        """See `Attack.improve`."""
        lower, upper = target.ball(eps)
        if not self.nearest:
            generator = np.random.default_rng(seed)
            self.nearest = {
                int(row): self._walk(target, int(row), generator)
                for row in np.flatnonzero(margins > 0)[: self.rows]
            }
        found = {
            row: point
            for row, point in self.nearest.items()
            if point is not None and margins[row] > 0
        }
        if not found:
            return
        rows = np.array(list(found))
        changed = target.start[rows]
        changed[:, : target.width] = np.array(list(found.values()))
        changed = target.legal(changed, lower[rows], upper[rows])
        wrong = target.wrong(changed, rows)
        # The model's own label decides, whatever its scores say.
        keep_better(
            best,
            margins,
            changed,
            np.where(wrong, np.minimum(target.margin(changed, rows), 0.0), np.inf),
            rows,
        )

    def _walk(self, target: Target, row: int, generator: np.random.Generator) -> Array | None:
        """The nearest misclassified point of a row that was found, float64 [m]; None when there is
        none within `REACH`.
        """
        limits = tuple(limit[row] for limit in target.ball(REACH))
        start = target.start[row, : target.width]
        unit = np.where(limits[1] > limits[0], target.spread, 0.0)

        def wrong(points: Array) -> Array:
            changed = np.repeat(target.start[row][None], len(points), axis=0)
            changed[:, : target.width] = points
            return target.wrong(changed, np.full(len(points), row))

        def nearest(point: Array) -> Array:
            for _ in range(2):
                path = start + np.linspace(0, 1, GRID)[1:, None] * (point - start)
                crossed = np.flatnonzero(wrong(path))
                point = path[crossed[0]] if len(crossed) else point
            return point

        far = limits[0] + generator.random((STARTS, target.width)) * (limits[1] - limits[0])
        hits = far[wrong(far)]
        if not len(hits):
            return None
        scale = np.where(unit > 0, unit, np.inf)
        point = nearest(hits[np.argmin(np.max(np.abs(hits - start) / scale, axis=1))])
        best = point
        for number in range(1, ROUNDS + 1):
            distance = np.max(np.abs(point - start) / scale)
            noise = generator.uniform(-1, 1, (QUERIES, target.width)) * unit
            votes = np.where(wrong(point + distance * 0.1 * noise), 1.0, -1.0)
            normal = np.sign(((votes - votes.mean())[:, None] * noise).sum(axis=0))
            steps = distance / np.sqrt(number) * 0.5 ** np.arange(8)
            moved = np.clip(point + steps[:, None] * normal * unit, *limits)
            good = np.flatnonzero(wrong(moved))
            if not len(good):
                break
            point = nearest(moved[good[0]])
            if np.max(np.abs(point - start) / scale) < np.max(np.abs(best - start) / scale):
                best = point
        return best
