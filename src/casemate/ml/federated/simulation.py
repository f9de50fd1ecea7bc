"""Sites and a coordinator in one process, with the code that real ones run: each round's updates
are packed, sent nowhere, and unpacked as if strangers had sent them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from casemate.core.errors import ConfigError, RefusedError
from casemate.core.types import Record
from casemate.ml.federated import attacks, exact, local, robust
from casemate.ml.federated.learners import Learner, LinearLearner
from casemate.ml.federated.rules import RULES, Scaffold
from casemate.ml.federated.updates import UpdateRefused, pack, unpack

Array = np.ndarray[Any, Any]
EXACT = "exact"
"""The rule that is none: sums of all rows, see `exact`."""
MOST_SITES, MOST_ROUNDS = 1_000, 1_000
"""A judgement: what one process simulates in an hour."""


class Design(Record, frozen=True, kw_only=True):
    """What is simulated."""

    rounds: int
    """How often the sites are asked; of the exact rule at most."""
    rule: str
    """`exact`, or one of `rules.RULES`."""
    combine: str
    """One of `robust.COMBINERS`."""
    plan: local.LocalPlan
    """What a site does in a round."""
    share: float = 1.0
    """Of the sites that a round asks."""
    liars: int = 0
    """Sites that robust ways are told to reckon with."""
    attack: str = ""
    """Of `attacks`; empty: everybody is honest."""
    attackers: int = 0
    """Sites that do it, the first ones."""
    seed: int = 0
    """Of everything that is drawn."""


class Round(Record, frozen=True, kw_only=True):
    """What a round came to."""

    number: int
    """From 1."""
    asked: int
    """Sites that were asked."""
    refused: list[int]
    """Sites whose update was refused."""
    accuracy: float
    """Of the weights after it, on rows that no site had."""
    length: float
    """Norm of the step."""
    evidence: list[robust.Evidence]
    """Of each site that was heard."""


class Simulated(Record, frozen=True, kw_only=True):
    """What the rounds came to."""

    rounds: list[Round]
    """In order."""
    numbers: int
    """Numbers that a site sends a round."""
    off: float | None = None
    """Of the exact rule: largest difference of a coefficient to a fit on the pooled rows."""


def simulate(
    learner: Learner,
    sites: list[local.SiteRows],
    held: tuple[Array, Array],
    design: Design,
    progress: Callable[[str, int, int], None],
) -> tuple[Simulated, Array]:
    """(what every round came to, the last weights [p]).

    Args:
        learner: the model.
        sites: their rows.
        held: (encoded features [m, d], class numbers [m]) of rows that no site has.
        design: what is done.
        progress: hears of each round.

    Raises:
        RefusedError: no site's update was taken in a round.
        ConfigError: the parts of the design do not fit together.
    """
    if design.rule == EXACT:
        return _exact(learner, sites, held)
    rule, combiner = RULES[design.rule](), robust.COMBINERS[design.combine]
    plan, layout = rule.plan(design.plan), learner.layout
    weights = np.asarray(learner.start(design.seed), dtype=np.float64)
    chance = np.random.default_rng(design.seed)
    if design.attack in attacks.OF_LABELS:
        for site in sites[: design.attackers]:
            site.codes = attacks.OF_LABELS[design.attack](site.codes, learner.classes, chance)
    count = max(1, round(design.share * len(sites)))
    rounds: list[Round] = []
    for number in range(1, design.rounds + 1):
        progress(f"round {number}", number - 1, design.rounds)
        asked = sorted(chance.choice(len(sites), count, replace=False).tolist())
        heard: list[int] = []
        refused: list[int] = []
        moved: list[Array] = []
        controls: list[Array] = []
        for place in asked:
            found, control = local.train(learner, sites[place], weights, plan, number, rule.control)
            if place < design.attackers and design.attack in attacks.OF_UPDATES:
                found = attacks.OF_UPDATES[design.attack](found, chance)
            try:
                sent = pack(found, layout, number, len(sites[place]))
                moved.append(unpack(sent, layout, number))
            except UpdateRefused:
                refused.append(place)
                continue
            heard.append(place)
            if control is not None:
                controls.append(control)
        if not heard:
            raise RefusedError(
                f"round {number}: no update could be taken",
                hint="a smaller --rate: NaN and infinity are refused",
            )
        together = np.stack(moved)
        shares = robust.weights_of([len(sites[place]) for place in heard])
        combined = combiner(together, shares, design.liars)
        before, weights = weights, rule.step(weights, combined.moved)
        if isinstance(rule, Scaffold):
            rule.heard(np.mean(controls, axis=0), len(heard) / len(sites))
        rounds.append(
            Round(
                number=number,
                asked=len(asked),
                refused=refused,
                accuracy=_accuracy(learner, weights, held),
                length=float(np.linalg.norm(weights - before)),
                evidence=robust.evidence(heard, together, combined.shares),
            )
        )
    return Simulated(rounds=rounds, numbers=layout.size), weights


def _exact(
    learner: Learner, sites: list[local.SiteRows], held: tuple[Array, Array]
) -> tuple[Simulated, Array]:
    if not isinstance(learner, LinearLearner):
        raise ConfigError(
            "--rule exact is of a LogisticRegression; a network has no sums that say all",
            hint="--rule fedavg",
        )
    size = learner.layout.size
    rounds: list[Round] = []
    asked = [learner.start(0)]

    def ask(weights: Array) -> exact.Sums:
        asked.append(weights)
        rounds.append(
            Round(
                number=len(rounds) + 1,
                asked=len(sites),
                refused=[],
                accuracy=_accuracy(learner, weights, held),
                length=float(np.linalg.norm(asked[-1] - asked[-2])),
                evidence=[],
            )
        )
        sent = [exact.sums_of(learner, one.rows, one.codes, weights).flat() for one in sites]
        return exact.from_flat(np.sum(sent, axis=0), size)

    found = exact.solve(learner, ask)
    rows = np.vstack([site.rows for site in sites])
    codes = np.concatenate([site.codes for site in sites])
    pooled = exact.solve(learner, lambda at: exact.sums_of(learner, rows, codes, at))
    off = float(np.abs(found.weights - pooled.weights).max())
    told = Simulated(rounds=rounds, numbers=exact.flat_size(learner), off=off)
    return told, found.weights


def _accuracy(learner: Learner, weights: Array, held: tuple[Array, Array]) -> float:
    rows, codes = held
    return float(np.mean(learner.answers(weights, rows).argmax(axis=1) == codes))
