"""Owners in one process: their cards, a charter, and sites that say what real ones say."""

import threading
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from tests.unit.operations import wards

from casemate.controls.federation import cards, messages
from casemate.controls.federation.messages import (
    Ask,
    Cannot,
    Given,
    Hand,
    Heard,
    Hello,
    Introduction,
    Job,
    Next,
    No,
    Over,
    Question,
    Ready,
    Reveal,
    Roster,
    RoundRecord,
    Told,
    Welcome,
    session_of,
    weight_of,
)
from casemate.controls.federation.rounds import RoundTwice
from casemate.core.errors import VerificationError
from casemate.core.signatures import Signer
from casemate.core.types import ColumnSchema, Schema
from casemate.ml.federated import combining, drawn, exact, local, trees
from casemate.ml.federated.learners import LinearLearner
from casemate.ml.federated.masking import MaskRefused, Member
from casemate.ml.federated.secure import verifier
from casemate.ml.federated.updates import Layout, pack
from casemate.operations.federated.conducting import Gathered, layout_of
from casemate.operations.federated.meeting import Meeting

Array = np.ndarray[Any, Any]
CLASSES = ["no", "yes"]


def columns(numbers: int, classes: list[str] | None = None) -> Schema:
    """Numbers from -4 to 4, and the target."""
    found = [
        ColumnSchema(name=f"x{place}", type="number", min=-4.0, max=4.0, nullable=True)
        for place in range(numbers)
    ]
    target = ColumnSchema(name="y", type="category" if classes else "number")
    return Schema(target="y", classes=classes or [], columns=[*found, target])


OWNERS = [wards.Owner(f"ward-{letter}") for letter in "abcdef"]
LEADER = wards.Owner("leader")


def charter(sites: int, least: int | None = None, schema: Schema | None = None) -> cards.Charter:
    """Of the first owners."""
    found = wards.charter_of([one.card for one in OWNERS[:sites]], LEADER)
    return msgspec.structs.replace(
        found, columns=schema or columns(3, CLASSES), least=least or sites
    )


def job_of(agreed: cards.Charter, **changes: Any) -> Job:
    """A logistic regression by sums, unless it is changed."""
    limits = cards.limits_of(agreed.columns)
    classes = len(agreed.columns.classes)
    layout = LinearLearner(limits.width, classes).layout if classes else Layout(names=[], shapes=[])
    told = {
        "id": "0" * 32,
        "code": {},
        "code_digest": "",
        "estimator": "LogisticRegression" if classes else "Ridge",
        "layout": layout,
        "settings": {"C": 1.0} if classes else {"alpha": 1.0},
        "limits": limits,
        "rule": "exact",
        "rounds": 10,
    }
    return wards.job_of(agreed, **(told | changes))


def meeting_of(agreed: cards.Charter, poll: float = 0.2, **changes: Any) -> Meeting:
    """With the job that the coordinator signed."""
    job = job_of(agreed, **changes)
    return Meeting(agreed, job, cards.signed(job, messages.JOB_TYPE, LEADER.signer), poll)


class Notes:
    """Books in memory."""

    def __init__(self) -> None:
        self.kept: dict[int, tuple[Question, Gathered, RoundRecord]] = {}
        self.notes: list[str] = []
        self.summed: dict[int, list[list[int]]] = {}

    def earlier(self, question: Question) -> tuple[Gathered, RoundRecord] | None:
        """See `conducting.Books`."""
        if question.round not in self.kept:
            return None
        known, gathered, record = self.kept[question.round]
        if known.digest != question.digest:
            raise RoundTwice("another question")
        return gathered, record

    def keep(self, question: Question, gathered: Gathered, record: RoundRecord) -> None:
        """See `conducting.Books`."""
        assert question.round not in self.kept
        self.kept[question.round] = (question, gathered, record)

    def opened(self, number: int) -> list[list[int]]:
        """See `conducting.Books`."""
        return self.summed.get(number, [])

    def opening(self, number: int, groups: list[list[int]]) -> None:
        """See `conducting.Books`."""
        known = self.summed.setdefault(number, [])
        known += [group for group in groups if group not in known]

    def noted(self, text: str) -> None:
        """See `conducting.Books`."""
        self.notes.append(text)


class Gone(Exception):
    """The site vanishes."""


class Site(threading.Thread):
    """A site that says what real ones say; `lie` changes what it gives, `silent` is the step of a
    masked round before which it vanishes.
    """

    def __init__(
        self,
        meeting: Meeting,
        number: int,
        rows: Array,
        values: Array,
        *,
        lie: Callable[[Given], Given] | None = None,
        silent: int | None = None,
        claimed: int | None = None,
    ) -> None:
        super().__init__(daemon=True)
        self.meeting, self.number = meeting, number
        self.rows, self.values, self.lie, self.silent = rows, values, lie, silent
        self.claimed = claimed or len(rows)
        self.key = Ed25519PrivateKey.generate()
        self.told: list[Told] = []
        self.refusals: list[str] = []
        self.trained = 0
        self.over: Over | None = None
        self._member: Member | None = None
        self._vector = np.zeros(0)
        self._kept: dict[int, Array] = {}
        self._data: local.SiteRows | None = None
        self._given: Given | None = None
        job, many = meeting.job, len(meeting.charter.columns.classes)
        if job.estimator in trees.ESTIMATORS:
            frame = pd.DataFrame(rows, columns=[*job.limits.numbers])
            growth = trees.Growth.of(job.settings)
            self._grower = trees.Site(frame, values, job.limits, many, growth)

    def say(self, message: messages.FromSite) -> messages.FromCoordinator:
        """Over the wire's codec, so that what is said can be said."""
        sent = msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=messages.FromSite)
        heard = msgspec.msgpack.encode(self.meeting.hear(self.number, sent))
        return msgspec.msgpack.decode(heard, type=messages.FromCoordinator)

    def introduce(self, signer: Signer | None = None, number: int | None = None) -> Any:
        """Say hello, and take the job; what came of it."""
        agreed = self.meeting.charter
        found = self.say(Hello(charter=agreed.digest, versions={}))
        assert isinstance(found, Welcome), found
        owner = OWNERS[self.number]
        self.job = cards.opened(found.job, messages.JOB_TYPE, agreed.coordinator, Job)
        said = Introduction(
            charter=agreed.digest,
            job=self.job.id,
            site=self.number if number is None else number,
            key=self.key.public_key().public_bytes_raw(),
        )
        signed = cards.signed(said, messages.INTRODUCTION_TYPE, signer or owner.signer)
        return self.say(Ready(job=self.job.id, introduction=signed, rows=self.claimed))

    def run(self) -> None:
        self.introduce()
        reply: Any = None
        while True:
            found, reply = reply or self.say(Next(job=self.job.id)), None
            if isinstance(found, Over):
                self.over = found
                return
            if isinstance(found, Told):
                self.told.append(found)
            elif isinstance(found, Welcome):
                self.introduce()
            elif not isinstance(found, messages.Wait | No):
                try:
                    given = self.answer(found)
                except Gone:
                    return
                except MaskRefused as error:
                    self.say(
                        Cannot(
                            job=self.job.id, round=found.turn.round, code=error.code,
                            why=error.message, sealer=error.sealer,
                        )
                    )  # fmt: skip
                    continue
                self._given = self.lie(given) if self.lie else given
                said = self.say(self._given)
                if isinstance(said, No):
                    self.refusals.append(said.why)
                else:
                    reply = said

    def answer(self, asked: Any) -> Given:
        """What a site gives for what it is asked."""
        turn = asked.turn
        if self.silent is not None and turn.step >= self.silent:
            raise Gone
        if isinstance(asked, Ask):
            question = asked.question
            vector = self.vector(question)
            if asked.terms is None:
                layout = layout_of(question, self.job.layout)
                update = pack(vector, layout, question.round, self.claimed)
                return Given(turn=turn, update=update, control=self._control)
            weight = weight_of(question, self.claimed)
            self._vector = combining.sent(vector, weight) if question.what == "train" else vector
            assert asked.terms.session == session_of(question, turn.attempt)
            verify = verifier(self._keys(asked.introductions))
            self._member = Member(asked.terms, self.number, self.key.sign, verify)
            return Given(turn=turn, advert=self._member.advertise())
        assert self._member is not None
        if isinstance(asked, Roster):
            return Given(turn=turn, sealed=self._member.share(asked.adverts))
        if isinstance(asked, Hand):
            return Given(turn=turn, masked=self._member.mask(asked.sealed, self._vector))
        if isinstance(asked, Heard):
            return Given(turn=turn, agreement=self._member.agree(asked.heard))
        assert isinstance(asked, Reveal)
        return Given(turn=turn, revealed=self._member.reveal(asked.agreements))

    def _keys(self, introductions: list[bytes]) -> dict[int, Ed25519PublicKey]:
        found = {}
        for content in introductions:
            for number, card in enumerate(self.meeting.charter.sites):
                try:
                    said = cards.opened(content, messages.INTRODUCTION_TYPE, card, Introduction)
                except VerificationError:
                    continue
                assert said.site == number
                found[number] = Ed25519PublicKey.from_public_bytes(said.key)
        return found

    def vector(self, question: Question) -> Array:
        """What this site's rows say to the question."""
        if question.round in self._kept:
            return self._kept[question.round]
        self.trained += 1
        self._control = b""
        self._kept[question.round] = found = self._computed(question)
        return found

    def _computed(self, question: Question) -> Array:
        limits = self.job.limits
        low, high = np.array([*limits.numbers.values()]).T
        if question.what in ("counts", "splits", "leaves"):
            asked = trees.Asked(
                np.frombuffer(question.weights, dtype="<f8"), question.cuts, question.size, None
            )
            if question.what != "leaves":
                return self._grower(asked)
            plan = self.job.plan
            return drawn.noisy_sums(self._grower, asked, plan.sigma, plan.clip)
        rows = np.clip(self.rows, low, high)
        if question.what == "moments":
            return exact.moments_of(
                (rows - limits.middle) / limits.halves, np.zeros(rows.shape[1])
            ).flat()
        assert question.scale is not None
        scaled = (rows - question.scale.means) / np.array(question.scale.deviations)
        if question.what == "gram":
            gram, moment = exact.gram_of(scaled, self.values)
            return np.concatenate([gram.ravel(), moment])
        learner = LinearLearner(limits.width, len(CLASSES), self.job.settings["C"])
        weights = np.frombuffer(question.weights, dtype="<f8")
        if question.what == "sums":
            return exact.sums_of(learner, scaled, self.values, weights).flat()
        self._data = self._data or local.SiteRows(scaled, self.values, self.number)
        control = np.frombuffer(question.control, dtype="<f8") if question.control else None
        moved, own = local.train(
            learner, self._data, weights, self.job.plan, question.round, control
        )
        self._control = b"" if own is None else own.astype("<f8").tobytes()
        return moved


def table(rows: int, seed: int = 0, numbers: int = 3) -> tuple[Array, Array, Array]:
    """(numbers [n, d], classes [n], quantities [n])."""
    chance = np.random.default_rng(seed)
    found = chance.normal(size=(rows, numbers))
    slope = np.arange(1, numbers + 1) / numbers
    codes = (found @ slope + chance.normal(size=rows) > 0.3).astype(np.int64)
    return found, codes, found @ slope + 0.1 * chance.normal(size=rows) + 2.0
