"""A site's rounds on record: what was paid before it was computed, what was answered before it
left, and what became of it. Each is one transaction with its entry in the log, which is published
with each answer, and at the end: a signature on the log for every line would cost as much again.

A round that was killed after it was paid is computed again and not paid again: nothing of the
first time has left. One that was killed after it was kept is answered as it was. Under masks, and
with noise, one that does not fit is kept too, and refused alike whenever it is asked for again.
"""

import datetime
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import structs

from casemate.controls.federation.cards import Charter
from casemate.controls.federation.messages import Question, RoundRecord
from casemate.controls.federation.rounds import Kept
from casemate.controls.privacy.budget import BudgetSpent, Limit, Spending
from casemate.core.digest import sha256
from casemate.core.errors import Error, VerificationError
from casemate.ml.federated.masking import MaskRefused
from casemate.operations.acting import Acting
from casemate.operations.federated.judging import Judged, require_moment
from casemate.operations.federated.parties import about
from casemate.operations.federated.recording import round_of
from casemate.stages.train.turns import Found
from casemate.wiring import Wiring

ACTION = "federation:answer"
NOT_ALIKE = {"train", "leaves"}
"""What is asked for that is other numbers in each round: of trees with noise, noise of its own."""


def paid_for(job: str) -> str:
    """How the ids of what was spent for a job's rounds begin.

    Args:
        job: its digest.
    """
    return f"federation/{job}/"


@dataclass(frozen=True)
class Before:
    """A round that was answered before."""

    kept: Kept
    found: Found
    record: RoundRecord


class Keeping:
    """The rounds of one job at one site."""

    def __init__(self, acting: Acting, charter: Charter, site: int, told: Judged) -> None:
        """Nothing is read yet.

        Args:
            acting: whom policy has let answer.
            charter: that was approved.
            site: this project's number in it.
            told: the job.
        """
        self.acting, self.project = acting, acting.project
        self.charter, self.site, self.told = charter, site, told
        self.about = about(charter.name)
        self._digest, self._job = charter.digest, told.job.digest

    def last(self) -> Found | None:
        """What the newest round of the job came to; None: none was answered."""
        kept = self._all()
        return None if not kept else found_in(self.project, kept[-1])

    def _all(self) -> list[Kept]:
        mine = self.project.federation.of(self._digest, self._job, self.site)
        return sorted(mine, key=lambda one: one.number)

    def earlier(self, question: Question) -> Before | None:
        """The round, where it was answered before.

        Raises:
            RoundTwice: it was, to another question; or a later one was.
        """
        with self.project.database.reading() as tx:
            kept = self._earlier(tx, question)
        return None if kept is None else Before(kept, found_in(self.project, kept), round_of(kept))

    def _earlier(self, tx: sa.Connection, question: Question) -> Kept | None:
        return self.project.federation.earlier(
            tx, self._digest, self._job, question.round, question.digest, self.site
        )

    def begin(self, question: Question, *, counts: bool) -> None:
        """Before anything is computed: that it may be now, and that it is paid for.

        Args:
            question: of a round that was not answered before.
            counts: whether it counts the subjects too, with noise.

        Raises:
            SitePolicy: not now, or no more today. BudgetSpent: the ledger does not allow it.
            RoundTwice: see `earlier`.
        """
        with self.project.database.transaction() as tx:
            self._earlier(tx, question)
            self._require_moment(tx)
            wanted = self._spending(question, counts=counts)
            privacy = self.project.config.privacy
            limit = Limit(privacy.budget, privacy.budget_delta)
            if wanted is not None and self.project.ledger.spend(tx, wanted, limit):
                self.acting.append(
                    tx, "budget:spent", f'Dataset::"{wanted.dataset}"', "done",
                    epsilon=wanted.epsilon, delta=wanted.delta, **{"for": wanted.what},
                    run=wanted.run,
                )  # fmt: skip

    def _spending(self, question: Question, *, counts: bool) -> Spending | None:
        told, config = self.told, self.project.config
        if told.cost is None:
            return None
        return Spending(
            id=f"{paid_for(self._job)}{question.round}/{self.site}",
            dataset=config.dataset_name,
            version="",
            purpose=self.charter.purpose,
            epsilon=told.epsilon(counts=counts),
            delta=told.delta,
            events=told.events(counts=counts),
            run=told.job.id,
            principal=self.acting.uid,
            what=f"round {question.round} of {self.charter.name}",
            time="",
        )

    def _require_moment(self, tx: sa.Connection) -> None:
        now = self.project.clock.now()
        since = _instant(now - datetime.timedelta(days=1))
        answered = self.project.federation.since(tx, since)
        require_moment(self.project.config.federate, now, answered)

    def keep(self, question: Question, found: Found, answer: str, attempt: int) -> None:
        """Write an answer down, before it leaves.

        Args:
            question: what was asked.
            found: what was computed.
            answer: SHA-256 of what will be sent; empty: nothing is.
            attempt: of the turn.

        Raises:
            SitePolicy, RoundTwice: another process was quicker.
        """
        content = self.project.objects.put(msgspec.msgpack.encode(found))
        now = _instant(self.project.clock.now())
        record = RoundRecord(
            number=question.round,
            what=question.what,
            question=question.digest,
            answers={self.site: answer} if answer else {},
            time=now,
        )
        kept = Kept(
            charter=self._digest,
            job=self._job,
            number=question.round,
            question=question.digest,
            content=content,
            record=msgspec.json.encode(record),
            time=now,
            site=self.site,
        )
        with self.acting.transaction() as tx:
            self._require_moment(tx)
            self._earlier(tx, question)
            self.project.federation.keep(tx, kept)
            said = {"answer": answer} if answer else {"withheld": True}
            self._append(tx, question, attempt=attempt, **said)

    def again(self, before: Before, question: Question, answer: str, attempt: int) -> None:
        """What was kept leaves; under masks it looks otherwise than before."""
        record = structs.replace(before.record, answers={self.site: answer})
        more = {"again": True} if before.record.answers else {}
        with self.acting.transaction() as tx:
            self.project.federation.amend(tx, before.kept, msgspec.json.encode(record))
            self._append(tx, question, answer=answer, attempt=attempt, **more)

    def _append(self, tx: sa.Connection, question: Question, **detail: Any) -> None:
        self.acting.append(
            tx, ACTION, self.about, charter=self._digest, job=self._job, round=question.round,
            what=question.what, question=question.digest, **detail,
        )  # fmt: skip

    def require_same(self, question: Question, heard: list[int]) -> None:
        """Nothing.

        Of one round a site helps to open one sum, and of sums over its rows, which hardly change
        and are in part the same numbers, sums of the same sites in all rounds of a job: two of
        them, one with a site and one without it, would tell that site's.

        Raises:
            MaskRefused: another sum was opened before.
        """
        for record in map(round_of, self._all()):
            exact = not {question.what, record.what} & NOT_ALIKE
            alike = exact or record.number == question.round
            if alike and record.heard and record.heard != heard:
                raise MaskRefused(
                    f"the coordinator asks for a sum of sites {heard}, and this site helped to open"
                    f" one of {record.heard} before",
                    hint="the difference of the two would tell single sites' answers",
                )

    def opened(self, question: Question, heard: list[int]) -> None:
        """Write down whose sum this site helps to open, before it does.

        Raises:
            MaskRefused: see `require_same`.
        """
        self.require_same(question, heard)
        before = self.earlier(question)
        if before is None:
            raise MaskRefused("the coordinator asks to open a sum that this site is not in")
        record = structs.replace(before.record, heard=heard)
        with self.project.database.transaction() as tx:
            self.project.federation.amend(tx, before.kept, msgspec.json.encode(record))
            self._append(tx, question, heard=heard)

    def told_of(self, number: int, why: str) -> None:
        """What the coordinator says became of an answer: taken, or not, and why."""
        found = next((one for one in self._all() if one.number == number), None)
        detail = {"charter": self._digest, "job": self._job, "round": number, "why": why[:500]}
        with self.project.database.transaction() as tx:
            if found is not None and why:
                record = structs.replace(round_of(found), refused={self.site: why[:500]})
                self.project.federation.amend(tx, found, msgspec.json.encode(record))
            outcome = "not taken" if why else "taken"
            self.acting.append(tx, ACTION, self.about, outcome, **detail)

    def denied(self, number: int, error: Error) -> None:
        """A question was not answered; a coordinator that asks for what it may not is on record."""
        if isinstance(error, BudgetSpent):
            self.acting.record(
                "budget:spent", f'Dataset::"{self.project.config.dataset_name}"', "denied",
                **{"for": f"round {number} of {self.charter.name}"}, run=self.told.job.id,
            )  # fmt: skip
        self.acting.record(
            ACTION, self.about, "denied", charter=self._digest, job=self._job, round=number,
            code=error.code, why=error.message[:500],
        )  # fmt: skip

    def ended(self, record: bytes, differs: list[int]) -> None:
        """The job is over, and its coordinator's record has arrived."""
        self.acting.record(
            "federation:over", self.about, "differs" if differs else "done", charter=self._digest,
            job=self._job, record=sha256(record), rounds=differs[:100],
        )  # fmt: skip

    def answers(self) -> dict[int, str]:
        """SHA-256 of each answer, by round, as the record has them."""
        return {one.number: round_of(one).answers.get(self.site, "") for one in self._all()}


def found_in(project: Wiring, kept: Kept) -> Found:
    """What a site's answer was made of; VerificationError: it cannot be read."""
    try:
        return msgspec.msgpack.decode(project.objects.get(kept.content), type=Found)
    except msgspec.MsgspecError as error:
        raise VerificationError(
            "an answer that was kept cannot be read",
            hint="casemate fsck shows what is damaged; restore it from a backup",
        ) from error


def _instant(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.UTC).isoformat(timespec="microseconds")
