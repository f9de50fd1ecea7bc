"""A site's side of one job: what it answers to each turn, and what it refuses to.

Plain rounds have one turn. Under masks a round has five: the site says that it takes part, seals
secrets for the others, sends its answer under masks, signs whose answers were heard, and at last
reveals what takes the masks off the sum. Nothing is computed, and nothing paid for, before the
third, when enough sites are there.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from casemate.controls.federation.cards import Charter, opened, signed
from casemate.controls.federation.messages import (
    INTRODUCTION_TYPE,
    Ask,
    Cannot,
    Given,
    Hand,
    Heard,
    Introduction,
    Question,
    Reveal,
    Roster,
    Turn,
    session_of,
    weight_of,
)
from casemate.controls.privacy.budget import BudgetSpent
from casemate.core.digest import sha256
from casemate.core.errors import Error, RefusedError, TrainingError, VerificationError
from casemate.core.signatures import Signer, read_envelope
from casemate.ml.federated.combining import sent
from casemate.ml.federated.masking import MOST_MEMBERS, MaskRefused, Member
from casemate.ml.federated.ring import OutOfRange
from casemate.ml.federated.secure import verifier
from casemate.ml.federated.updates import Piece, Update, pack
from casemate.operations.federated.judging import Judged, SitePolicy
from casemate.operations.federated.keeping import Keeping
from casemate.operations.federated.questions import least_range, require_question
from casemate.stages.train.member import Task
from casemate.stages.train.turns import Found, Numbers

Array = np.ndarray[Any, Any]
Compute = Callable[[Task, Numbers, int], Found]
"""See `stages.train.turns.Turns`."""
SUMS = "sums"
"""The one array of an answer that is no difference of weights."""
Asked = Ask | Roster | Hand | Heard | Reveal
TOLD = (SitePolicy, VerificationError)
"""Faults of whose words the coordinator hears: they are about what it asked for."""


class _Masked(NamedTuple):
    """A round under masks that goes on."""

    turn: Turn
    question: Question
    member: Member


class Answering:
    """Answers the turns of one job."""

    def __init__(
        self,
        charter: Charter,
        site: int,
        told: Judged,
        keeping: Keeping,
        compute: Compute,
        least: int,
    ) -> None:
        """A key for this process, by which the other sites know this one.

        Args:
            charter: under which.
            site: this project's number in it.
            told: the job.
            keeping: what is on record.
            compute: answers questions from this site's rows.
            least: sites that a sum under masks must be of, see `judging.least_of`.
        """
        self.charter, self.site, self.told = charter, site, told
        self._keeping, self._compute, self._least = keeping, compute, least
        self._key = Ed25519PrivateKey.generate()
        self._masked: _Masked | None = None
        self._tried = (0, 0)
        """Round and attempt of the last masks: they are used once."""
        self._verifiers = [one.verifier for one in charter.sites]
        self._known: dict[bytes, tuple[int, Ed25519PublicKey]] = {}
        """Introductions that were looked at."""
        self._last = keeping.last()
        self.answered = 0
        """Answers that were given, each as often as it was."""

    def introduction(self, signer: Signer) -> bytes:
        """This process's key, signed by the project for the job."""
        own = Introduction(
            charter=self.charter.digest,
            job=self.told.job.id,
            site=self.site,
            key=self._key.public_key().public_bytes_raw(),
        )
        return signed(own, INTRODUCTION_TYPE, signer)

    def __call__(self, message: Asked) -> Given | Cannot:
        """The answer to a turn, or that there is none: then it is on record why."""
        turn = message.turn
        try:
            if turn.job != self.told.job.id:
                raise SitePolicy("the coordinator asks in the name of another job")
            given = self._ask(message) if isinstance(message, Ask) else self._step(message)
        except Error as error:
            self._masked = None
            self._keeping.denied(turn.round, error)
            return Cannot(
                job=turn.job[:64],
                round=turn.round,
                code=error.code,
                why=told(error),
                sealer=error.sealer if isinstance(error, MaskRefused) else None,
            )
        self.answered += isinstance(message, Ask if not self.told.job.masked else Hand)
        return given

    def _ask(self, message: Ask) -> Given:
        turn, question, job = message.turn, message.question, self.told.job
        if turn.step != 0 or turn.round != question.round or turn.attempt < 1:
            raise SitePolicy(f"the coordinator asks round {question.round} in another one's turn")
        require_question(question, self.told)
        self._keeping.earlier(question)
        if job.masked == (message.terms is None):
            raise SitePolicy(
                f"the job {'has' if job.masked else 'has no'} masks, and round {question.round}"
                " is asked otherwise",
                hint="a site whose answers go under masks sends none without",
            )
        if message.terms is not None:
            return self._advertise(message)
        found, answer = self._found(question, turn.attempt, self._update)
        return Given(turn=turn, update=answer, control=found.control)

    def _update(self, question: Question, found: Found) -> Update:
        vector = np.frombuffer(found.vector, dtype="<f8")
        rows = 1 if self.told.cost else found.rows
        if question.what == "train":
            return pack(vector, self.told.job.layout, question.round, rows)
        piece = Piece(name=SUMS, dtype="<f8", shape=[len(vector)], content=found.vector)
        return Update(round=question.round, rows=rows, pieces=[piece])

    def _found(
        self, question: Question, attempt: int, answer_of: Callable[[Question, Found], Any]
    ) -> tuple[Found, Any]:
        """(what was computed for a question, what leaves of it): on record before it leaves, and
        computed once.
        """
        before = self._keeping.earlier(question)
        found = self._computed(question) if before is None else before.found
        if question.most < least_range(question, self.told, found.rows):
            raise SitePolicy(
                f"round {question.round} has a range that this site's rows need not fit",
                hint="do not answer a coordinator that wants to know whether they do",
            )
        try:
            _require_within(np.frombuffer(found.vector, dtype="<f8"), question)
            answer = answer_of(question, found)
        except (OutOfRange, MaskRefused):
            if before is None and (self.told.job.masked or self.told.cost is not None):
                # that it does not fit tells of what masks or noise hide: so it is an answer, of
                # which there are so many a day, and noise that was paid for once is drawn once
                self._keeping.keep(question, found, "", attempt)
                self._last = found
            raise
        if before is None:
            self._keeping.keep(question, found, _digest(answer), attempt)
        else:
            self._keeping.again(before, question, _digest(answer), attempt)
        self._last = found
        return found, answer

    def _computed(self, question: Question) -> Found:
        """From this site's rows; paid for before."""
        counted = None if self._last is None else self._last.counted
        self._keeping.begin(question, counts=self.told.counts and counted is None)
        boosted = self.told.boosted
        task = Task(
            round=question.round,
            what=question.what,
            plan=self.told.job.plan,
            limits=self.told.job.limits,
            scale=question.scale,
            strength=self.told.job.settings.get("C", 1.0),
            seed=self.told.job.seed + self.site,
            counted=counted,
            growth=None if boosted is None else boosted.growth,
            cuts=question.cuts,
            apart=0 if boosted is None else boosted.apart,
        )
        own = b"" if self._last is None else self._last.own
        size = require_question(question, self.told)
        return self._compute(task, Numbers(question.weights, question.control, own), size)

    def _advertise(self, message: Ask) -> Given:
        turn, question, terms = message.turn, message.question, message.terms
        assert terms is not None  # noqa: S101 - whoever calls has looked
        fits = (terms.size, terms.most, terms.round) == (
            question.size, question.most, question.round,
        )  # fmt: skip
        if not fits or terms.session != session_of(question, turn.attempt):
            raise MaskRefused("the round's terms are not those of its question")
        if (turn.round, turn.attempt) <= self._tried:
            raise MaskRefused("a round is tried again under masks that were used")
        keys = self._keys(message.introductions)
        member = Member(terms, self.site, self._key.sign, verifier(keys), self._least)
        given = Given(turn=turn, advert=member.advertise())
        self._tried = turn.round, turn.attempt
        self._masked = _Masked(turn, question, member)
        return given

    def _keys(self, introductions: list[bytes]) -> dict[int, Ed25519PublicKey]:
        """The keys of the sites of a sum, as their projects signed them; VerificationError: one is
        not that of a site of the charter, for this job.
        """
        if not self._least <= len(introductions) <= MOST_MEMBERS:
            raise MaskRefused(
                f"the coordinator names {len(introductions)} sites of a sum; {self._least} to"
                f" {MOST_MEMBERS} may be",
                hint="a sum of few tells each one's answer; [federate] least_sites",
            )
        found: dict[int, Ed25519PublicKey] = {}
        for content in introductions:
            site, key = self._introduced(content)
            if site in found:
                raise MaskRefused(f"site {site} is there twice")
            found[site] = key
        own = found.get(self.site)
        if own is None or own.public_bytes_raw() != self._key.public_key().public_bytes_raw():
            raise MaskRefused("the coordinator shows another key as this site's")
        return found

    def _introduced(self, content: bytes) -> tuple[int, Ed25519PublicKey]:
        known = self._known.get(content)
        if known is not None:
            return known
        envelope = read_envelope(content)
        site = next(
            (place for place, one in enumerate(self._verifiers) if one.is_named(envelope)), None
        )
        if site is None:
            raise MaskRefused("the coordinator names a site that is none of the charter")
        one = opened(content, INTRODUCTION_TYPE, self.charter.sites[site], Introduction)
        if (one.charter, one.job, one.site) != (self.charter.digest, self.told.job.id, site):
            raise MaskRefused(f"what site {site} signed is of another job or site")
        try:
            found = site, Ed25519PublicKey.from_public_bytes(one.key)
        except ValueError as error:
            raise MaskRefused(f"site {site} has a key that is none") from error
        self._known[content] = found
        return found

    def _step(self, message: Roster | Hand | Heard | Reveal) -> Given:
        turn, masked = message.turn, self._masked
        if masked is None or (turn.round, turn.attempt) != (
            masked.turn.round, masked.turn.attempt,
        ):  # fmt: skip
            raise MaskRefused(
                f"the coordinator goes on with round {turn.round}, which did not begin here",
                hint="a site that started again takes part in the next attempt",
            )
        steps = {Roster: 1, Hand: 2, Heard: 3, Reveal: 4}
        if turn.step != steps[type(message)]:
            raise MaskRefused(f"the coordinator calls a turn step {turn.step}, which it is not")
        member, question = masked.member, masked.question
        if isinstance(message, Roster):
            return Given(turn=turn, sealed=member.share(message.adverts))
        if isinstance(message, Hand):
            _, masks = self._found(
                question,
                turn.attempt,
                lambda asked, found: member.mask(message.sealed, self._weighted(asked, found)),
            )
            return Given(turn=turn, masked=masks)
        if isinstance(message, Heard):
            self._keeping.require_same(question, message.heard)
            return Given(turn=turn, agreement=member.agree(message.heard))
        revealed = member.reveal(message.agreements)
        self._keeping.opened(question, sorted(revealed.masks))
        return Given(turn=turn, revealed=revealed)

    def _weighted(self, question: Question, found: Found) -> Array:
        vector = np.frombuffer(found.vector, dtype="<f8")
        if question.what != "train":
            return vector
        return sent(vector, weight_of(question, found.rows))


def _require_within(vector: Array, question: Question) -> None:
    largest = float(np.abs(vector).max(initial=0.0))
    if not math.isfinite(largest):
        raise OutOfRange(
            "the answer holds NaN or infinity",
            hint="a smaller learning rate, or a look at this site's rows",
        )
    if not largest <= question.most:
        raise OutOfRange(
            f"a number of the answer is {largest:g}, and the round's range is {question.most:g}",
            hint="a smaller learning rate, or a larger range",
        )


def _digest(answer: Any) -> str:
    return sha256(msgspec.msgpack.encode(answer))


def told(error: Error) -> str:
    """What a coordinator hears of why there is no answer: nothing that would tell of rows, of the
    ledger, or of this machine.
    """
    if isinstance(error, OutOfRange):  # in its own words it says how large a number of rows here is
        return "a number of the answer does not fit the round's range"
    if isinstance(error, TOLD):
        return error.message[:500]
    if isinstance(error, BudgetSpent):
        return "the site's privacy budget for this purpose does not allow the round"
    if isinstance(error, TrainingError):
        return error.plain[:500]
    if isinstance(error, RefusedError):
        return "the site does not allow it"
    return "the site cannot compute it"
