"""Made-up sites that grow boosted trees together, in one process, with what real ones compute."""

from collections.abc import Callable
from typing import Any

import numpy as np

from casemate.ml.federated import drawn
from casemate.ml.federated.combining import MOST_SUM
from casemate.ml.federated.growing import grow
from casemate.ml.federated.simulation import Design, Round, Simulated, UnderMasks
from casemate.ml.federated.trees import Asked, Forest, Site

Array = np.ndarray[Any, Any]


def boosted(
    sites: list[Site],
    pooled: Site,
    held: Site,
    design: Design,
    progress: Callable[[str, int, int], None],
) -> Simulated:
    """What the rounds came to; each of them is one of boosting.

    Args:
        sites: their rows.
        pooled: the rows of all of them, for comparison.
        held: rows that no site has.
        design: rule `exact`; masks.
        progress: hears of each tree.

    Raises:
        NotReached: there is nothing to learn.
    """
    asking = _Asking(sites, held, design, progress)

    def ask(asked: Asked) -> Array:
        return asking({place: one(asked) for place, one in enumerate(sites)}, asked)[0]

    found = grow(pooled.growth, pooled.limits, pooled.classes, ask, asking.heard)
    whole = grow(pooled.growth, pooled.limits, pooled.classes, pooled)
    return asking.told(
        levels=len(asking.sizes) - 1,
        off=float(np.abs(_scores(found, held) - _scores(whole, held)).max()),
    )


def drawn_by(
    sites: list[Site],
    held: Site,
    design: Design,
    progress: Callable[[str, int, int], None],
) -> Simulated:
    """What the rounds came to where each site adds noise; see `drawn`.

    Args:
        sites: their rows.
        held: rows that no site has.
        design: rule `exact`, with the noise in its plan; masks.
        progress: hears of each tree.
    """
    asking, plan = _Asking(sites, held, design, progress), design.plan

    def ask(asked: Asked) -> tuple[Array, int]:
        sent = {
            place: drawn.noisy_sums(one, asked, plan.sigma, plan.clip)
            for place, one in enumerate(sites)
        }
        return asking(sent, asked)

    drawn.grow(
        held.growth,
        held.limits,
        held.classes,
        plan.sigma * plan.clip,
        design.seed,
        ask,
        asking.heard,
    )
    return asking.told(sigma=plan.sigma)


class _Asking:
    """Adds up what sites answer, and writes down what came of it; for arguments see `boosted`."""

    def __init__(
        self,
        sites: list[Site],
        held: Site,
        design: Design,
        progress: Callable[[str, int, int], None],
    ) -> None:
        self.sites, self.held, self._progress = sites, held, progress
        chance, rows = np.random.default_rng(design.seed), [len(one) for one in sites]
        self._sums = UnderMasks(design, rows, chance) if design.masked else None
        self.sizes: list[int] = []
        self.rounds: list[Round] = []

    def __call__(self, sent: dict[int, Array], asked: Asked) -> tuple[Array, int]:
        """(the sum, of how many sites)."""
        self.sizes.append(asked.size)
        if self._sums is None:
            return np.asarray(np.sum([*sent.values()], axis=0)), len(sent)
        found = self._sums.sum(sent, len(self.sizes), asked.most or MOST_SUM)
        return found.total, len(found.heard)

    def heard(self, forest: Forest) -> None:
        """A tree is grown."""
        count = len(forest.trees)
        self._progress(f"tree {count}", count, self.held.growth.trees)
        self.rounds.append(
            Round(
                number=count,
                asked=len(self.sites),
                refused=[],
                score=_score(forest, self.held),
                length=float(np.linalg.norm(forest.trees[-1][..., 3])),
                evidence=[],
            )
        )

    def told(self, **more: Any) -> Simulated:
        """What it came to."""
        rounding = None if self._sums is None else self._sums.rounding
        return Simulated(rounds=self.rounds, numbers=max(self.sizes), rounding=rounding, **more)


def _scores(forest: Forest, held: Site) -> Array:
    return forest.scores(forest.bins.of(held.frame))


def _score(forest: Forest, held: Site) -> float:
    scores, target = _scores(forest, held), held.target
    if held.classes > 2:
        return float(np.mean(scores.argmax(axis=1) == target))
    if held.classes:
        return float(np.mean((scores[:, 0] > 0) == target))
    errors = target - forest.middle - forest.size * scores[:, 0]
    return 1 - float(np.sum(errors**2) / np.sum((target - target.mean()) ** 2))
