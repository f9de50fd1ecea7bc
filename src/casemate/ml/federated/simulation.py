"""Sites and a coordinator in one process, with the code that real ones run: each round's updates
are packed, sent nowhere, and unpacked as if strangers had sent them.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np

from casemate.core.errors import ConfigError, RefusedError, VerificationError
from casemate.core.types import Record
from casemate.ml.federated import attacks, combining, exact, local, robust, secure
from casemate.ml.federated.combining import MOST_MASKED, MOST_SUM, Heard
from casemate.ml.federated.learners import Learner, LinearLearner
from casemate.ml.federated.masking import Terms
from casemate.ml.federated.rules import RULES, Scaffold
from casemate.ml.federated.unmasking import Sum
from casemate.ml.federated.updates import UpdateRefused, pack, unpack
from casemate.ml.federated.ways import Way

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
    mixed: bool = False
    """Whether what is combined are means of neighbours; see `robust.mixed`."""
    bucket: int = 1
    """Sites whose mean is looked at together; see `robust.bucketed`."""
    remembers: bool = False
    """Whether sites that undid what others do, over all rounds so far, are left out; see `ways`."""
    masked: bool = False
    """Whether the coordinator sees sums only."""
    groups: int = 1
    """Of sites, drawn anew each round, that are summed apart under masks."""
    silent: int = 0
    """Sites of each group that drop out of a masked round."""
    step: str = "mask"
    """Before which step; one of `secure.STEPS`."""
    epsilon: float = 0.0
    """That each site spends in all rounds together; 0: no noise."""
    delta: float = 0.0
    """At which, where the model says how many sums that is."""

    def require_sums(self, what: str) -> None:
        """ConfigError where what sites do by sums alone is asked for by another rule."""
        if self.rule != EXACT:
            raise ConfigError(
                f"sites {what} by sums, and not by --rule {self.rule}", hint="--rule exact"
            )


class Round(Record, frozen=True, kw_only=True):
    """What a round came to; of boosted trees, which ask for each level, a round of boosting."""

    number: int
    """From 1."""
    asked: int
    """Sites that were asked."""
    refused: list[int]
    """Sites whose update was refused."""
    score: float
    """Of the weights after it, on rows that no site had: accuracy, or R² of a quantity."""
    length: float
    """Norm of the step."""
    evidence: list[robust.Evidence]
    """Of each site that was heard; under masks of each group."""
    lost: int = 0
    """Groups of which too few sites were left for a sum."""


class Simulated(Record, frozen=True, kw_only=True):
    """What the rounds came to."""

    rounds: list[Round]
    """In order."""
    numbers: int
    """Numbers that a site sends a round."""
    off: float | None = None
    """Of the exact rule: largest difference to a fit on the pooled rows, of a coefficient, or, of
    boosted trees, of a score.
    """
    levels: int = 0
    """Of boosted trees: questions that each site was asked, one a level; else 0."""
    rounding: float | None = None
    """Under masks: largest relative difference of a sum to the plain one (norms)."""
    sigma: float = 0.0
    """Of boosted trees: noise of a site over the clip; else, and without noise, 0."""


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
        return _exact(learner, sites, held, design)
    rule, chance = RULES[design.rule](), np.random.default_rng(design.seed)
    way = Way(
        design.combine,
        design.liars,
        mixed=design.mixed,
        bucket=design.bucket,
        remembers=design.remembers,
        chance=chance,
    )
    plan, layout = rule.plan(design.plan), learner.layout
    weights = np.asarray(learner.start(design.seed), dtype=np.float64)
    if design.attack in attacks.OF_LABELS:
        for site in sites[: design.attackers]:
            site.codes = attacks.OF_LABELS[design.attack](site.codes, learner.classes, chance)
    count = max(1, round(design.share * len(sites)))
    rounds: list[Round] = []
    # how many rows a site has is a fact about them, which noise does not cover: all weigh alike
    rows = [1 if design.epsilon else len(site) for site in sites]
    sums = UnderMasks(design, rows, chance) if design.masked else None
    for number in range(1, design.rounds + 1):
        progress(f"round {number}", number - 1, design.rounds)
        asked = sorted(chance.choice(len(sites), count, replace=False).tolist())
        trained: dict[int, Array] = {}
        controls: list[Array] = []
        for place in asked:
            found, control = local.train(learner, sites[place], weights, plan, number, rule.control)
            if place < design.attackers and design.attack in attacks.OF_UPDATES:
                found = attacks.OF_UPDATES[design.attack](found, chance)
            trained[place] = found
            if control is not None:
                controls.append(control)
        heard, lost = (
            _plain(trained, learner, number, rows) if sums is None else sums(trained, number)
        )
        before = weights
        evidence: list[robust.Evidence] = []
        if heard.moved.size:
            combined, evidence = way(heard.names, heard.moved, heard.weights)
            way.heard(evidence)
            weights = rule.step(weights, combined.moved)
        if isinstance(rule, Scaffold):
            rule.heard(np.mean(controls, axis=0), len(controls) / len(sites))
        rounds.append(
            Round(
                number=number,
                asked=len(asked),
                refused=[place for place in asked if place not in heard.sites],
                score=_accuracy(learner, weights, held),
                length=float(np.linalg.norm(weights - before)),
                evidence=evidence,
                lost=lost,
            )
        )
    numbers = layout.size + (sums is not None)
    rounding = None if sums is None else sums.rounding
    return Simulated(rounds=rounds, numbers=numbers, rounding=rounding), weights


def _plain(
    trained: dict[int, Array], learner: Learner, number: int, rows: list[int]
) -> tuple[Heard, int]:
    """The differences as a coordinator gets them without masks."""
    layout, moved = learner.layout, {}
    for place, found in trained.items():
        with contextlib.suppress(UpdateRefused):
            moved[place] = unpack(pack(found, layout, number, rows[place]), layout, number)
    if not moved:
        raise RefusedError(
            f"round {number}: no update could be taken",
            hint="a smaller --rate: NaN and infinity are refused",
        )
    return combining.of_sites(moved, dict(enumerate(rows))), 0


class UnderMasks:
    """Means of groups under masks: all that a coordinator gets with them.

    A site sends its difference times its weight, and the weight; see `combining`.
    """

    def __init__(self, design: Design, rows: list[int], chance: np.random.Generator) -> None:
        self.design, self.chance = design, chance
        self.weights = np.minimum(np.asarray(rows) / combining.full_of(rows), 1.0)
        self.rounding = 0.0
        self._compared = False
        """Whether one sum came about by every message of the protocol. Later ones are added up
        without masks, which nobody here would look through: the same numbers to the last bit.
        """

    def sum(self, vectors: dict[int, Array], number: int, most: float) -> Sum:
        """The sum of some sites' vectors; VerificationError where too few are left."""
        places = [*vectors]
        gone = self.chance.choice(places, min(self.design.silent, len(places)), replace=False)
        terms = Terms(
            session="simulation",
            round=number,
            size=len(vectors[places[0]]),
            most=most,
            threshold=secure.threshold_of(len(places)),
        )
        silent = dict.fromkeys(gone.tolist(), self.design.step)
        found = secure.unmasked(vectors, terms, silent)
        if not self._compared:
            by_messages = secure.summed(vectors, terms, silent)
            self._compared = True
            if found.heard != by_messages.heard or (found.total != by_messages.total).any():
                raise VerificationError("the protocol's sum is not that of the ring")
        plain = np.sum([vectors[place] for place in found.heard], axis=0)
        size = float(np.linalg.norm(plain)) or 1.0
        self.rounding = max(self.rounding, float(np.linalg.norm(found.total - plain)) / size)
        return found

    def __call__(self, trained: dict[int, Array], number: int) -> tuple[Heard, int]:
        """(what is heard of differences in a round, groups that came to nothing)."""
        sums: dict[int, Sum] = {}
        groups = secure.groups_of([*trained], self.design.groups, self.chance)
        for name, group in enumerate(groups):
            sent = {place: combining.sent(trained[place], self.weights[place]) for place in group}
            with contextlib.suppress(VerificationError):
                sums[name] = self.sum(sent, number, MOST_MASKED)
        return combining.of_sums(sums), len(groups) - len(sums)


def _exact(
    learner: Learner, sites: list[local.SiteRows], held: tuple[Array, Array], design: Design
) -> tuple[Simulated, Array]:
    if not isinstance(learner, LinearLearner):
        raise ConfigError(
            "--rule exact is of a LogisticRegression; a network has no sums that say all",
            hint="--rule fedavg",
        )
    size = learner.layout.size
    rounds: list[Round] = []
    asked = [learner.start(0)]
    chance = np.random.default_rng(design.seed)
    sums = UnderMasks(design, [len(site) for site in sites], chance) if design.masked else None

    def ask(weights: Array) -> exact.Sums:
        asked.append(weights)
        rounds.append(
            Round(
                number=len(rounds) + 1,
                asked=len(sites),
                refused=[],
                score=_accuracy(learner, weights, held),
                length=float(np.linalg.norm(asked[-1] - asked[-2])),
                evidence=[],
            )
        )
        sent = {
            place: exact.sums_of(learner, one.rows, one.codes, weights).flat()
            for place, one in enumerate(sites)
        }
        if sums is None:
            return exact.from_flat(np.sum([*sent.values()], axis=0), size)
        return exact.from_flat(sums.sum(sent, len(rounds), MOST_SUM).total, size)

    found = exact.solve(learner, ask)
    rows = np.vstack([site.rows for site in sites])
    codes = np.concatenate([site.codes for site in sites])
    pooled = exact.solve(learner, lambda at: exact.sums_of(learner, rows, codes, at))
    off = float(np.abs(found.weights - pooled.weights).max())
    rounding = None if sums is None else sums.rounding
    numbers = exact.flat_size(learner)
    told = Simulated(rounds=rounds, numbers=numbers, off=off, rounding=rounding)
    return told, found.weights


def least_squares(
    sites: list[tuple[Array, Array]], held: tuple[Array, Array], alpha: float, design: Design
) -> Simulated:
    """A ridge regression by one round of sums.

    Args:
        sites: (encoded features [n, d], quantities [n]) of each.
        held: the same of rows that no site has.
        alpha: penalty, as scikit-learn's `Ridge` has it.
        design: rule `exact`; masks.
    """
    size = sites[0][0].shape[1] + 1
    sent = {
        place: np.concatenate([gram.ravel(), moment])
        for place, (gram, moment) in enumerate(exact.gram_of(*one) for one in sites)
    }
    chance = np.random.default_rng(design.seed)
    sums = UnderMasks(design, [len(rows) for rows, _ in sites], chance) if design.masked else None
    total = np.sum([*sent.values()], 0) if sums is None else sums.sum(sent, 1, MOST_SUM).total
    cut = size * size
    weights, intercept = exact.least_squares(
        [(total[:cut].reshape(size, size), total[cut:])], alpha
    )
    rows, values = (np.concatenate(parts) for parts in zip(*sites, strict=True))
    pooled, _ = exact.least_squares([exact.gram_of(rows, values)], alpha)
    errors = held[1] - held[0] @ weights - intercept
    only = Round(
        number=1,
        asked=len(sites),
        refused=[],
        score=1 - float(np.sum(errors**2) / np.sum((held[1] - held[1].mean()) ** 2)),
        length=float(np.linalg.norm(weights)),
        evidence=[],
    )
    return Simulated(
        rounds=[only],
        numbers=cut + size,
        off=float(np.abs(weights - pooled).max()),
        rounding=None if sums is None else sums.rounding,
    )


def _accuracy(learner: Learner, weights: Array, held: tuple[Array, Array]) -> float:
    rows, codes = held
    return float(np.mean(learner.answers(weights, rows).argmax(axis=1) == codes))
