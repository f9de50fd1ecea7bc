"""A site takes part: it dials its coordinator, judges the job by its own policy, and answers turns
until the job is over. Killed and started again it goes on; whatever was answered is answered alike.
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from casemate.controls.federation.cards import Charter, opened
from casemate.controls.federation.messages import (
    JOB_TYPE,
    RECORD_TYPE,
    Cannot,
    FromCoordinator,
    Hello,
    Job,
    JobRecord,
    Next,
    No,
    Over,
    Ready,
    Told,
    Wait,
    Welcome,
)
from casemate.core.errors import BusyError, Error, RefusedError, VerificationError
from casemate.core.files import alone, make_folder, remove_tree, shared_lock, write_atomic
from casemate.core.types import Record
from casemate.operations.acting import Acting, operation
from casemate.operations.contexts import Silent
from casemate.operations.federated import ownrows
from casemate.operations.federated.agreeing import refusal_of
from casemate.operations.federated.answering import Answering, Asked, told
from casemate.operations.federated.calling import Line, StrangeCoordinator
from casemate.operations.federated.carried import Wire
from casemate.operations.federated.judging import CodeNotApproved, Judged, judged, least_of
from casemate.operations.federated.keeping import ACTION, Keeping
from casemate.operations.federated.parties import about, as_site, versions
from casemate.stages.train.stage import limits_of, must_be_confined
from casemate.stages.train.turns import Model, Room, Turns
from casemate.wiring import Wiring

if TYPE_CHECKING:
    from casemate.supply.context import Reporter

SOON = 0.05
"""Seconds between two calls of which the first was answered at once, and with nothing."""
GREET_SECONDS = 1.0
"""Between two greetings that lead to no job."""
FOLDER = "federated"
R = TypeVar("R", bound=Record)


class Joined(Record, frozen=True, kw_only=True):
    """What became of a job at this site."""

    name: str
    """Of the federation."""
    job: str
    """Digest of the job; empty: there was none."""
    site: int
    """This project's number in the charter."""
    rounds: list[int]
    """That are on record here, in order."""
    answered: int
    """Answers that were given by this process, each as often as it was."""
    not_taken: dict[int, str]
    """By round: why the coordinator did not take the answer."""
    why: str
    """Why nothing came of the job; else empty."""
    differs: list[int]
    """Rounds of which the coordinator's record says another answer than was given here."""


@operation(ACTION)
def join(
    project: Wiring,
    name: str,
    *,
    reporter: "Reporter | None" = None,
    once: bool = True,
    through: Path | str | None = None,
) -> Joined:
    """Answer a coordinator's questions about this project's rows, as far as `[federate]` allows.

    Args:
        project: of a site.
        name: of a federation whose charter was approved here.
        reporter: hears how it goes.
        once: end with the first job; else take part in the next one too, until it is interrupted.
        through: path of a Unix socket to which somebody else's transport comes, such as Flower's;
            None: dial where the charter says.

    Returns:
        What became of the last job.

    Raises:
        AccessDenied: policy. ConfigError: no such charter, or this project is none of its sites.
        RefusedError: `[federate]` does not allow the charter or the job. StrangeCoordinator: nobody
            there proves to be the coordinator. BackendError: it was away for too long. BusyError:
            another process takes part already. DataError: the table is not the charter's.
    """
    join.ask(project, context={"charter": name}, unrecorded=True)
    charter, site = as_site(project, name)
    with _only(project, name):
        problem = refusal_of(project, charter)
        if problem is not None:
            _denied(project, charter, problem)
            raise problem
        hears, keystore = reporter or Silent(), project.keystore
        with contextlib.ExitStack() as stack:
            carried = None if through is None else contextlib.closing(Wire(Path(through)))
            dial = None if carried is None else stack.enter_context(carried).dial
            line = Line(
                charter, charter.sites[site].name, keystore.authority, keystore.folder,
                project.config.federate.patience, dial=dial,
                heard=lambda text: hears.progress(text, 0, 0),
            )  # fmt: skip
            stack.callback(line.close)
            try:
                while True:
                    found = _Visit(project, charter, site, line, hears).take_part()
                    if once:
                        return found
                    if not found.job:  # of a coordinator that is about to end: it has said so
                        time.sleep(GREET_SECONDS)
            except StrangeCoordinator as error:
                _denied(project, charter, error)
                raise


def _denied(project: Wiring, charter: Charter, error: Error) -> None:
    """Nothing was answered to whoever is, or says that it is, the coordinator: on record."""
    project.log.record(
        project.point.actor.uid, ACTION, about(charter.name), "denied",
        charter=charter.digest, code=error.code, why=error.message[:500],
    )  # fmt: skip


@contextlib.contextmanager
def _only(project: Wiring, name: str) -> Iterator[None]:
    """One process of this project takes part in a federation at a time."""
    folder = make_folder(project.state / FOLDER)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(alone(folder / f"{name}.lock", name))
        except BusyError as error:
            raise BusyError(
                f"another process of this project takes part in {name} already",
                hint="one is enough; see that it still runs",
            ) from error
        yield


class _Visit:
    """One job, from the greeting to its end."""

    def __init__(
        self, project: Wiring, charter: Charter, site: int, line: Line, reporter: "Reporter"
    ) -> None:
        self.project, self.charter, self.site = project, charter, site
        self.line, self.reporter = line, reporter
        self._not_taken: dict[int, str] = {}

    def take_part(self) -> Joined:
        """What became of it."""
        welcome = self._greeted()
        if isinstance(welcome, Over):
            return self._joined(None, 0, welcome.why, [])
        job = self._opened(welcome.job, JOB_TYPE, Job)
        # before anything of it is looked at
        context = {
            "charter": self.charter.name,
            "code": job.code_digest[:64],
            "rule": job.rule[:64],
        }
        acting = join.ask(self.project, context=context, job=job.digest)
        try:
            config = self.project.config
            taken = judged(job, self.charter, config.federate, config.privacy)
        except Error as error:
            if isinstance(error, CodeNotApproved):
                error.hint = f"read {self._laid_down(job)}; {error.hint}"
            self._cannot(acting, job, error)
            raise
        return self._answered(acting, taken)

    def _opened(self, content: bytes, kind: str, record: type[R]) -> R:
        """What the coordinator signed; that it did not is on record."""
        try:
            return opened(content, kind, self.charter.coordinator, record)
        except VerificationError as error:
            _denied(self.project, self.charter, error)
            raise

    def _greeted(self) -> Welcome | Over:
        hello = Hello(charter=self.charter.digest, versions=versions())
        while True:
            found = self.line.say(hello)
            if isinstance(found, Welcome | Over):
                return self._known(found)
            if isinstance(found, No):
                raise RefusedError(
                    f"the coordinator of {self.charter.name} says: {found.why[:300]}",
                    hint="both need the same charter and version of casemate",
                )
            self.reporter.progress("waiting for a job", 0, 0)
            time.sleep(GREET_SECONDS)

    def _known(self, found: Welcome | Over) -> Welcome | Over:
        """The same, if the coordinator takes this site for the one that it is."""
        if isinstance(found, Welcome) and found.site != self.site:
            error = VerificationError(
                f"the coordinator takes this site for number {found.site}, and it is {self.site}",
                hint="both need the same charter",
            )
            _denied(self.project, self.charter, error)
            raise error
        return found

    def _cannot(self, acting: Acting, job: Job, error: Error) -> None:
        """The job as a whole is not answered: on record here, and said there."""
        acting.record(
            ACTION, about(self.charter.name), "denied", charter=self.charter.digest,
            job=job.digest, round=0, code=error.code, why=error.message[:500],
        )  # fmt: skip
        with contextlib.suppress(Error):  # what matters was said here
            self.line.say(Cannot(job=job.id[:64], round=0, code=error.code, why=told(error)))

    def _laid_down(self, job: Job) -> Path:
        """Where the code of a job lies that may not run, to be read."""
        folder = self.project.root / FOLDER / self.charter.name / "code"
        remove_tree(folder)
        for name, content in job.code.items():
            write_atomic(folder / name, content)
        return folder.relative_to(self.project.root)

    def _answered(self, acting: Acting, taken: Judged) -> Joined:
        job, project = taken.job, self.project
        keeping = Keeping(acting, self.charter, self.site, taken)
        model = Model(
            taken.network, job.entry, job.code, self.charter.columns, job.layout, job.limits,
            job.seed,
        )  # fmt: skip
        with contextlib.ExitStack() as stack:
            turns = Turns(model, _room(project, job))
            stack.callback(turns.close)
            rows = ownrows.Rows(
                project, self.charter, turns, self.reporter, noisy=taken.cost is not None
            )
            try:
                turns.built()  # what fails without rows costs nothing
                count = rows.current()
                answering = Answering(
                    self.charter, self.site, taken, keeping, rows, least_of(project.config.federate)
                )
            except Error as error:
                self._cannot(acting, job, error)
                raise
            ready = Ready(
                job=job.id,
                introduction=answering.introduction(project.signer),
                rows=0 if taken.cost else count,
            )
            first = self._ready(ready)
            self.reporter.progress(f"ready with {count} rows, and waiting for a question", 0, 0)
            over = self._until_over(first, ready, answering, keeping)
            project.log.publish()  # what was heard since the last answer
        return self._joined(keeping, answering.answered, over.why, self._compared(keeping, over))

    def _until_over(
        self, found: FromCoordinator, ready: Ready, answering: Answering, keeping: Keeping
    ) -> Over:
        job = answering.told.job
        while not isinstance(found, Over):
            if isinstance(found, Wait):
                found = self._next(job)
            elif isinstance(found, Told):
                self._heard(found, keeping)
                found = Wait()
            elif isinstance(found, No | Welcome):  # it was started again, and knows this site not
                found = self._again(found, job, ready)
            else:
                found = self._turn(found, answering)
        return found

    def _next(self, job: Job) -> FromCoordinator:
        before = time.monotonic()
        found = self.line.say(Next(job=job.id))
        if isinstance(found, Wait) and time.monotonic() - before < SOON:
            time.sleep(SOON)
        return found

    def _again(self, found: No | Welcome, job: Job, ready: Ready) -> FromCoordinator:
        if isinstance(found, No):
            time.sleep(SOON)
        welcome = self._greeted() if isinstance(found, No) else found
        if isinstance(welcome, Over):
            return welcome
        if self._opened(welcome.job, JOB_TYPE, Job).digest != job.digest:
            return Over(record=b"", why="the coordinator has begun another job")
        return self._ready(ready)

    def _ready(self, ready: Ready) -> FromCoordinator:
        found = self.line.say(ready)
        if isinstance(found, No):
            raise RefusedError(
                f"the coordinator does not take this site: {found.why[:300]}",
                hint="both need the same charter and version of casemate",
            )
        return found

    def _turn(self, asked: Asked, answering: Answering) -> FromCoordinator:
        turn = asked.turn
        self.reporter.progress(f"round {turn.round}", turn.round, answering.told.job.rounds)
        with shared_lock(self.project.state / "lock", lambda: None):
            given = answering(asked)
        if isinstance(given, Cannot):
            self.reporter.progress(f"round {turn.round}: {given.why}", 0, 0)
        found = self.line.say(given)
        if isinstance(found, No):
            self.reporter.progress(f"round {turn.round} not taken: {found.why}", 0, 0)
            return Wait()
        return found

    def _heard(self, found: Told, keeping: Keeping) -> None:
        why = "" if found.taken else found.why[:500] or "it does not say why"
        if why:
            self._not_taken[found.round] = why
            self.reporter.progress(f"round {found.round} not taken: {why}", 0, 0)
        keeping.told_of(found.round, why)

    def _compared(self, keeping: Keeping, over: Over) -> list[int]:
        """Rounds of which the coordinator's signed record says another answer than was given."""
        if not over.record:
            return []
        record = self._opened(over.record, RECORD_TYPE, JobRecord)
        mine = keeping.answers()
        file = self.project.root / FOLDER / self.charter.name / "coordinator.json"
        write_atomic(file, over.record, mode=0o644)
        told = {one.number: one.answers.get(self.site) for one in record.rounds}
        differs = [
            number
            for number, answer in told.items()
            if answer is not None and answer != mine.get(number)
        ]
        keeping.ended(over.record, differs)
        return differs

    def _joined(
        self, keeping: Keeping | None, answered: int, why: str, differs: list[int]
    ) -> Joined:
        return Joined(
            name=self.charter.name,
            job="" if keeping is None else keeping.told.job.digest,
            site=self.site,
            rounds=[] if keeping is None else sorted(keeping.answers()),
            answered=answered,
            not_taken=self._not_taken,
            why=why[:500],
            differs=differs,
        )


def _room(project: Wiring, job: Job) -> Room:
    from casemate.operations.runs import run_context

    config = project.config
    return Room(
        project.state / "tmp",
        run_context(project).hidden,
        limits_of(config),
        must_be_confined(config, job.code),
        config.train.threads,
    )
