"""What a coordinator learns from rounds: sums of numbers first, then a rule, Newton's method, least
squares, or the levels of boosted trees.

Nothing here is remembered: after a kill the same code runs again from its beginning, and rounds
that were written down answer at once.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from casemate.controls.federation.messages import Job, Question, What
from casemate.core.errors import ConfigError, Error
from casemate.core.types import Schema
from casemate.ml.federated import drawn, exact
from casemate.ml.federated.combining import MOST_MASKED, MOST_SUM
from casemate.ml.federated.encoding import Limits, Scale, declared, scale_of
from casemate.ml.federated.growing import grow
from casemate.ml.federated.learners import LinearLearner
from casemate.ml.federated.rules import RULES, Scaffold
from casemate.ml.federated.simulation import EXACT, MOST_ROUNDS
from casemate.ml.federated.trees import ESTIMATORS, Asked, Forest, Growth
from casemate.ml.federated.updates import LARGEST, raw
from casemate.operations.federated.conducting import Gathered
from casemate.operations.federated.judging import NETWORK
from casemate.stages.train.described import Described

Array = np.ndarray[Any, Any]
MOST_PLAIN = 1e15
"""Largest sum without masks: of a hundred million rows, each at a thousand deviations. A
judgement: what is above is overflow or an attack.
"""
Ask = Callable[[Question, list[int] | None], Gathered]
"""(question, numbers of the sites that are asked or None for all) -> what came of it; under masks
of all of those or of nobody.
"""


class _Lost(Error):
    """A site whose rows were in the sums is gone; never seen outside."""


class Learnt(NamedTuple):
    """What came of a job."""

    weights: Array
    """Flat [p]; of a quantity its coefficients and, last, the intercept."""
    scale: Scale | None
    """Of numeric features; None: a network scales by itself, and trees need none."""
    sites: list[int]
    """Whose rows are in it."""
    forest: Forest | None = None
    """Boosted trees, where they are what was learnt."""


def most_rounds(said: Described, columns: Schema, limits: Limits, *, noisy: bool = False) -> int:
    """That sums may take; a site that is gone makes it begin anew, but for sums with noise.

    Args:
        said: what is learnt.
        columns: of the charter.
        limits: of its features.
        noisy: whether sites add noise.

    Raises:
        ConfigError: boosted trees would take more than a job may have, or send too much.
    """
    if said.estimator not in ESTIMATORS:
        return 1 if columns.regression else 2 * exact.ROUNDS
    growth = Growth.of(said.settings)
    if noisy:
        return drawn.rounds_of(growth)
    growth.require_size(limits, len(columns.classes))
    if growth.rounds > MOST_ROUNDS:
        raise ConfigError(
            f"{growth.trees} trees of {growth.depth} levels take {growth.rounds} rounds, and"
            f" {MOST_ROUNDS} are the most",
            hint="a smaller max_iter or max_depth in train.py",
        )
    return min(2 * growth.rounds, MOST_ROUNDS)


class Learning:
    """Runs a job's rounds.

    Args:
        job: what is learnt.
        classes: how many classes the target has; 0: it is a quantity.
        sites: how many sites the charter has.
        start: weights to begin with [p], of a network.
        ask: asks one round.
        full: how many rows weigh 1 under masks; the same whenever it is asked for.
        progress: hears (text, done, total).
    """

    def __init__(
        self,
        job: Job,
        classes: int,
        sites: int,
        start: Array,
        ask: Ask,
        full: Callable[[], float],
        progress: Callable[[str, int, int], None],
    ) -> None:
        self.job, self.classes, self.count, self.start = job, classes, sites, start
        self._ask, self._full, self._progress = ask, full, progress
        self._round = 0
        self._sites: set[int] = set()
        self._among: list[int] | None = None

    def learn(self) -> Learnt:
        """What the rounds lead to.

        Raises:
            TooFewSites: too few answered.
            NotReached: the sums lead to no optimum.
        """
        if self.job.rule != EXACT:
            return self._by_rule()
        only: list[int] | None = None
        while True:
            try:
                return self._exactly(only)
            except _Lost:
                only = sorted(self._sites)

    def _asked(
        self,
        what: What,
        size: int,
        only: list[int] | None = None,
        masked_most: float = MOST_SUM,
        **more: Any,
    ) -> Gathered:
        self._round += 1
        most = masked_most if self.job.masked else MOST_PLAIN
        if what == "train":
            most = MOST_MASKED if self.job.masked else LARGEST
            size += self.job.masked
            if self.job.masked and not self.job.epsilon:
                more["full"] = self._full()
        question = Question(
            job=self.job.id, round=self._round, what=what, size=size, most=most, **more
        )
        self._progress(f"round {self._round}: {what}", self._round - 1, self.job.rounds)
        return self._ask(question, only)

    def _scale(self, only: list[int] | None = None) -> tuple[Scale | None, list[int] | None]:
        """(how numbers are scaled, whose sums say so)."""
        limits = self.job.limits
        if self.job.estimator == NETWORK:
            return None, only
        if self.job.epsilon or not limits.numbers:
            return declared(limits), only
        found = self._asked("moments", 3 * len(limits.numbers), only)
        return scale_of([exact.Moments.from_flat(found.numbers)], limits), found.heard

    def _by_rule(self) -> Learnt:
        rule = RULES[self.job.rule]()
        scale, _ = self._scale()
        weights = np.asarray(self.start, dtype=np.float64)
        for _ in range(self.job.rounds):
            control = b"" if rule.control is None else raw(rule.control)
            found = self._asked(
                "train", len(weights), weights=raw(weights), control=control, scale=scale
            )
            weights = rule.step(weights, found.numbers)
            self._sites |= set(found.heard)
            if isinstance(rule, Scaffold):
                moved = np.frombuffer(found.control, dtype="<f8")
                rule.heard(moved, len(found.heard) / self.count)
        return Learnt(weights, scale, sorted(self._sites))

    def _exactly(self, only: list[int] | None) -> Learnt:
        if self.job.estimator in ESTIMATORS:
            return self._drawn() if self.job.epsilon else self._boosted(only)
        scale, sites = self._scale(only)
        width = self.job.limits.width
        if not self.classes:
            size = (width + 1) ** 2 + width + 1
            # under masks of the same sites: a site opens no other sum after that of its numbers
            found = self._asked("gram", size, sites if self.job.masked else None, scale=scale)
            gram, moment = np.split(found.numbers, [(width + 1) ** 2])
            weights, intercept = exact.least_squares(
                [(gram.reshape(width + 1, width + 1), moment)], self.job.settings["alpha"]
            )
            return Learnt(np.append(weights, intercept), scale, found.heard)
        learner = LinearLearner(width, self.classes, self.job.settings["C"])
        size, self._among = learner.layout.size, sites

        def ask(weights: Array) -> exact.Sums:
            found = self._of_same(
                "sums", exact.flat_size(learner), weights=raw(weights), scale=scale
            )
            return exact.from_flat(found, size)

        optimum = exact.solve(learner, ask)
        return Learnt(optimum.weights, scale, self._among or [])

    def _of_same(self, what: What, size: int, **more: Any) -> Array:
        """The sums of the sites whose sums the rounds before were of."""
        found = self._asked(what, size, self._among, **more)
        if self._among is not None and found.heard != self._among:
            self._sites = set(found.heard)
            raise _Lost("a site is gone")
        self._among = found.heard
        return found.numbers

    def _boosted(self, only: list[int] | None) -> Learnt:
        growth, self._among = Growth.of(self.job.settings), only

        def ask(asked: Asked) -> Array:
            if not len(asked.weights):
                return self._of_same("counts", asked.size)
            return self._of_same(
                "splits",
                asked.size,
                masked_most=asked.most or MOST_SUM,
                weights=raw(asked.weights),
                cuts=asked.cuts,
            )

        forest = grow(growth, self.job.limits, self.classes, ask)
        return Learnt(forest.flat(), None, self._among or [], forest)

    def _drawn(self) -> Learnt:
        """Trees with noise: each question has sites of its own, for no sum is compared with another
        one.
        """
        job = self.job

        def ask(asked: Asked) -> tuple[Array, int]:
            found = self._asked("leaves", asked.size, weights=raw(asked.weights), cuts=asked.cuts)
            self._sites |= set(found.heard)
            return found.numbers, len(found.heard)

        noise = job.plan.sigma * job.plan.clip
        growth = Growth.of(job.settings)
        forest = drawn.grow(growth, job.limits, self.classes, noise, job.seed, ask)
        return Learnt(forest.flat(), None, sorted(self._sites), forest)
