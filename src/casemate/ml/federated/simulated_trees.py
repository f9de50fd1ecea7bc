"""Made-up sites that grow boosted trees together, in one process, with what real ones compute."""

from collections.abc import Callable
from typing import Any

import numpy as np

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
    rounds: list[Round] = []
    chance = np.random.default_rng(design.seed)
    sums = UnderMasks(design, [len(one) for one in sites], chance) if design.masked else None
    sizes: list[int] = []

    def ask(asked: Asked) -> Array:
        sent = {place: one(asked) for place, one in enumerate(sites)}
        sizes.append(asked.size)
        if sums is None:
            return np.asarray(np.sum([*sent.values()], axis=0))
        return sums.sum(sent, len(sizes), asked.most or MOST_SUM).total

    def heard(forest: Forest) -> None:
        progress(f"tree {len(forest.trees)}", len(forest.trees), pooled.growth.trees)
        rounds.append(
            Round(
                number=len(forest.trees),
                asked=len(sites),
                refused=[],
                score=_score(forest, held),
                length=float(np.linalg.norm(forest.trees[-1][..., 3])),
                evidence=[],
            )
        )

    found = grow(pooled.growth, pooled.limits, pooled.classes, ask, heard)
    whole = grow(pooled.growth, pooled.limits, pooled.classes, pooled)
    return Simulated(
        rounds=rounds,
        numbers=max(sizes),
        levels=len(sizes) - 1,
        off=float(np.abs(_scores(found, held) - _scores(whole, held)).max()),
        rounding=None if sums is None else sums.rounding,
    )


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
