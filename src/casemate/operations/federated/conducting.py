"""Rounds with real sites: a question goes out, what comes back is checked, combined and written
down, and each site hears what became of its answer.

A round that was written down is never asked again: what came of it is taken from there.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np

from casemate.controls.federation.messages import (
    Ask,
    Given,
    Job,
    Question,
    RoundRecord,
    Told,
    Turn,
    weight_of,
)
from casemate.core.digest import sha256
from casemate.core.errors import VerificationError
from casemate.core.text import clean
from casemate.core.types import Record
from casemate.ml.federated import combining, robust, secure
from casemate.ml.federated.bins import Bins
from casemate.ml.federated.masking import LEAST_MEMBERS
from casemate.ml.federated.unmasking import Sum
from casemate.ml.federated.updates import Layout, raw
from casemate.ml.federated.ways import Way
from casemate.operations.federated.meeting import Meeting, TooFewSites
from casemate.operations.federated.summing import summed
from casemate.operations.federated.taking import Taken, plausible, taken_of

Array = np.ndarray[Any, Any]
ATTEMPTS = 3
"""At one round, each with all sites that are there: what fails three times is no accident."""
SPREAD = 1_000
"""Between the attempts of one start of the coordinator and those of the next: no two attempts at a
round have one number, whoever was killed.
"""


class Gathered(Record, frozen=True, kw_only=True):
    """What came of a round; sealed, so that it need not be asked again."""

    heard: list[int]
    """Sites whose rows are in it."""
    vector: bytes
    """The combined difference, or the sum, float64 little-endian."""
    control: bytes = b""
    """SCAFFOLD's mean difference of the sites' controls, float64."""
    evidence: list[robust.Evidence] = []
    """Of each site that answered; under masks of each group."""
    lost: list[str] = []
    """Why groups came to nothing."""

    @property
    def numbers(self) -> Array:
        """Float64 [p]."""
        return np.frombuffer(self.vector, dtype="<f8")


class Books(Protocol):
    """Where rounds are written down."""

    def earlier(self, question: Question) -> tuple[Gathered, RoundRecord] | None:
        """What came of this question, and what is on record; None: it was not asked yet.

        Raises:
            RoundTwice: the round had another question.
        """

    def keep(self, question: Question, gathered: Gathered, record: RoundRecord) -> None:
        """Write down what came of it."""

    def opened(self, number: int) -> list[list[int]]:
        """Sites whose sums may have been opened in a round that came to nothing, each together."""

    def opening(self, number: int, groups: list[list[int]]) -> None:
        """Write down whose sums are about to be opened."""

    def noted(self, text: str) -> None:
        """Something that whoever leads should know."""


class Options(Record, frozen=True, kw_only=True):
    """What a coordinator does by itself, and no site is told."""

    liars: int = 0
    """Sites that robust ways are told to reckon with."""
    mixed: bool = False
    """Whether what is combined are means of neighbours; see `robust.mixed`."""
    bucket: int = 1
    """Sites whose mean is looked at together; see `robust.bucketed`."""
    remembers: bool = False
    """Whether sites that undid what others do, over all rounds so far, are left out; see
    `ml.federated.ways`.
    """
    wait: float = 600.0
    """Seconds that sites are waited for: to come, and to answer each step."""


class _Attempt(NamedTuple):
    """What came of asking a round once."""

    gathered: Gathered
    answers: dict[int, str]
    """By site: SHA-256 of what was taken of it."""
    refused: dict[int, str]
    """By site: why nothing was."""
    accused: dict[int, str] = {}
    """By site: why it is left out when the round is asked again."""


def layout_of(question: Question, weights: Layout) -> Layout:
    """What a site answers to a question: the weights' arrays, or sums as one."""
    if question.what == "train":
        return weights
    return Layout(names=["sums"], shapes=[[question.size]], dtype="<f8")


class Conductor:
    """Asks the rounds of a job.

    Args:
        meeting: the sites.
        options: what is done with their answers.
        books: where rounds are written down.
        started: how often this job was led before.
        now: tells the time, RFC 3339.
    """

    def __init__(
        self,
        meeting: Meeting,
        options: Options,
        books: Books,
        now: Callable[[], str],
        started: int = 0,
    ) -> None:
        self.meeting, self.options, self.books, self.now = meeting, options, books, now
        self._attempt = started * SPREAD
        self._greeted = False
        self._way = Way(
            meeting.job.combine,
            options.liars,
            mixed=options.mixed,
            bucket=options.bucket,
            remembers=options.remembers,
            # no seed that sites know: none can tell beside whom it will be
            chance=np.random.default_rng(),
        )

    @property
    def job(self) -> Job:
        """What is learnt."""
        return self.meeting.job

    @property
    def _classes(self) -> int:
        """That the target has; 0: it is a quantity."""
        return len(self.meeting.charter.columns.classes)

    def ask(self, question: Question, only: list[int] | None = None) -> Gathered:
        """What came of a round, now or before this process began.

        Args:
            question: what every site is asked.
            only: numbers of the sites that are asked; default: all that are there.

        Raises:
            TooFewSites: too few answered, however often they were asked.
            RoundTwice: this round had another question.
        """
        known = self.books.earlier(question)
        if known is not None:
            gathered, record = known
            for site, why in record.refused.items():  # it may not have heard it
                self._tell(question, site, why)
            self._way.heard(gathered.evidence)
            return gathered
        least = self.meeting.charter.least
        if self.job.masked and only is not None:
            least = len(only)  # sums of fewer would tell those of who is missing
        why = ""
        accused: dict[int, str] = {}
        for _ in range(ATTEMPTS):
            self._attempt += 1
            sites = [site for site in self.there(least, only) if site not in accused]
            gathered, answers, refused, found = (
                self._masked(question, sites, least)
                if self.job.masked
                else self._plain(question, sites)
            )
            accused |= found
            refused |= accused
            if len(gathered.heard) >= least:
                break
            problems = [f"{self.meeting.name_of(one)}: {text}" for one, text in refused.items()]
            why = "; ".join([*problems, *gathered.lost])
            self.books.noted(f"round {question.round} came to nothing ({why})")
        else:
            raise TooFewSites(
                f"round {question.round} came to nothing {ATTEMPTS} times ({why})",
                hint="casemate federate rounds says what was asked; look at the sites named",
            )
        record = RoundRecord(
            number=question.round,
            what=question.what,
            question=question.digest,
            answers=answers,
            refused=dict(sorted(refused.items())),
            heard=gathered.heard if self.job.masked else [],
            combined=sha256(gathered.vector),
            time=self.now(),
        )
        self.books.keep(question, gathered, record)
        self._way.heard(gathered.evidence)
        for site in sorted({*sites, *accused}):
            self._tell(question, site, refused.get(site, ""))
        return gathered

    def there(self, least: int | None = None, only: list[int] | None = None) -> list[int]:
        """Numbers of the sites that can be asked; whoever is late is waited for at the beginning,
        and not again in each round.

        Args:
            least: of them; default: as the charter has it.
            only: numbers of those that may be asked, all of whom are waited for; default: any.

        Raises:
            TooFewSites: fewer came.
        """
        first, self._greeted = not self._greeted, True
        sites = self.meeting.await_sites(
            self.meeting.charter.least if least is None else least,
            self.options.wait,
            only,
            everybody=first or only is not None,
            heard=self.books.noted,
        )
        if first:
            self._compare_versions(sites)
        return sites

    def _compare_versions(self, sites: list[int]) -> None:
        for site in sites:
            theirs = self.meeting.versions_of(site)
            for package, version in self.job.versions.items():
                other = clean(theirs.get(package, version), 40)
                if other != version:
                    name = self.meeting.name_of(site)
                    self.books.noted(f"{name} computes with {package} {other}, here is {version}")

    def _tell(self, question: Question, site: int, why: str) -> None:
        told = Told(job=self.job.id, round=question.round, taken=not why, why=why)
        self.meeting.tell(site, told)

    def _plain(self, question: Question, sites: list[int]) -> _Attempt:
        turn = Turn(job=self.job.id, round=question.round, attempt=self._attempt, step=0)
        layout, bins = layout_of(question, self.job.layout), self._bins(question)

        controlled = self.job.plan.controlled and question.what == "train"

        def check(_site: int, given: Given) -> Taken:
            return taken_of(given, question, layout, bins, self._classes, controlled=controlled)

        asked = {site: Ask(turn=turn, question=question) for site in sites}
        found = self.meeting.collect(asked, check, self.options.wait)
        # in the sites' order: sums of floating point hang on it
        taken: dict[int, Taken] = dict(sorted(found.taken.items()))
        digests = {site: one.digest for site, one in taken.items()}
        if not taken:
            return _Attempt(Gathered(heard=[], vector=b""), digests, found.refused)
        if question.what != "train":
            total = np.sum([one.vector for one in taken.values()], axis=0)
            return _Attempt(_summed([*taken], total), digests, found.refused)
        moved = {site: one.vector for site, one in taken.items()}
        rows = {site: 1 if self.job.epsilon else one.rows for site, one in taken.items()}
        gathered, left_out = self._combined(combining.of_sites(moved, rows))
        if controlled:
            control = np.mean([one.control for one in taken.values()], axis=0)
            gathered = msgspec.structs.replace(gathered, control=raw(control))
        return _Attempt(gathered, digests, found.refused | left_out)

    def _masked(self, question: Question, sites: list[int], least: int) -> _Attempt:
        train = question.what == "train"
        rows = {site: self.meeting.rows_of(site) for site in sites}
        found = summed(
            self.meeting,
            question,
            self._groups(question, sites),
            self._attempt,
            self.options.wait,
            least,
            lambda groups: self.books.opening(question.round, groups),
        )
        sums: dict[int, Sum] = {}
        for name, one in found.sums.items():
            weights = {site: weight_of(question, rows[site]) for site in one.heard}
            try:
                sums[name] = combining.require_weight(one, weights) if train else one
                plausible(question.what, one.total, self._bins(question), self._classes)
            except VerificationError as error:
                found.lost.append(error.sentence)
                sums.pop(name, None)
        if not sums:
            lost = Gathered(heard=[], vector=b"", lost=found.lost)
            return _Attempt(lost, {}, found.refused, found.accused)
        heard = sorted(site for one in sums.values() for site in one.heard)
        answers = {site: found.answers[site] for site in heard}
        refused = {site: "its group came to nothing" for site in sites if site not in heard}
        refused |= found.refused
        if not train:
            total = next(iter(sums.values())).total
            return _Attempt(_summed(heard, total), answers, refused)
        gathered, _ = self._combined(combining.of_sums(sums))
        gathered = msgspec.structs.replace(gathered, lost=found.lost)
        return _Attempt(gathered, answers, refused, found.accused)

    def _bins(self, question: Question) -> Bins | None:
        """By which sums for boosted trees are; None: they are for something else."""
        if question.what not in ("counts", "splits"):
            return None
        return Bins(limits=self.job.limits, cuts=question.cuts)

    def _groups(self, question: Question, sites: list[int]) -> list[list[int]]:
        """Who is summed with whom: a sum that was opened in vain is asked for again as it was."""
        opened = self.books.opened(question.round)
        bound = {site for group in opened for site in group}
        groups = [group for group in opened if set(group) <= set(sites)]
        free = [site for site in sites if site not in bound]
        if question.what != "train":
            return groups or [sites]
        count = min(self.job.groups - len(opened), len(free) // LEAST_MEMBERS)
        if count > 0:
            chance = np.random.default_rng([self.job.seed, question.round])
            groups += secure.groups_of(free, count, chance)
        return groups

    def _combined(self, heard: combining.Heard) -> tuple[Gathered, dict[int, str]]:
        """(what one difference was made of several, why sites are left out of it)."""
        combined, evidence = self._way(heard.names, heard.moved, heard.weights)
        why = f"left out by {self.job.combine}: it lies far from the others"
        if self.options.remembers:
            why += ", or undid what they do in the rounds so far"
        left_out = {one.site: why for one in evidence if one.share == 0}
        gathered = Gathered(
            heard=sorted(heard.sites), vector=raw(combined.moved), evidence=evidence
        )
        return gathered, left_out


def _summed(heard: list[int], total: Array) -> Gathered:
    return Gathered(heard=heard, vector=raw(total))
