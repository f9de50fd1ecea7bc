"""Carrying playbooks out: step by step, each written down before it is done, so that whoever dies
is followed by one who goes on. Nothing is done twice, and nothing is called done that was not seen.
"""

import contextlib
import datetime
import functools
import platform
from collections.abc import Callable
from dataclasses import replace

import sqlalchemy as sa
from msgspec import structs

from casemate.controls.access.policy import Resource
from casemate.controls.access.types import principal_of
from casemate.core.errors import BackendError, BusyError, Error, RefusedError
from casemate.core.files import alone
from casemate.operations.acting import operation, reading
from casemate.operations.incidents.books import Books
from casemate.operations.playbooks import forces
from casemate.operations.playbooks.lineage import alerts_of, variables_of
from casemate.operations.playbooks.planning import aim_of, principal
from casemate.operations.playbooks.steps import doing
from casemate.respond import tables
from casemate.respond.alerts import moment
from casemate.respond.playbooks import book, runs
from casemate.respond.playbooks.book import Playbook, Step
from casemate.respond.playbooks.runs import (
    OVER,
    RUNS,
    Aim,
    InForce,
    PlaybookRun,
    Progress,
    StepRun,
)
from casemate.respond.states import NOTED, OPEN, Change
from casemate.wiring import Wiring

WHO = "casemate"
LOCK = "playbooks.lock"
TRYING = datetime.timedelta(minutes=15)
"""For which a step that meets something away is tried again."""
PROVING = datetime.timedelta(minutes=5)
"""In which what was done must be seen to work: a gateway follows within a second, a mail server
within minutes."""
CLAIMED = datetime.timedelta(minutes=5)
"""After which a step that another machine began, and did not end, is somebody else's."""
MOST_TEXT = 1_000


@reading("playbook:read")
def listing(project: Wiring, incident: int | None = None) -> list[PlaybookRun]:
    """Runs of playbooks, the oldest first, or those about one incident; AccessDenied: policy."""
    with project.database.reading() as tx:
        return runs.runs(tx, *([] if incident is None else [RUNS.c.incident == incident]))


@operation("playbook:run")
def run(project: Wiring, name: str, incident: int, reason: str = "") -> PlaybookRun:
    """Begin a playbook in force about an incident, whether or not it fits, and carry it out as far
    as possible; the rest follows at looks of `casemate watch`, or by `resume`.

    Raises:
        AccessDenied: policy. ConfigError: there is no such playbook or incident. RefusedError: the
            incident is closed. BusyError: playbooks are carried out just now.
    """
    acting = run.ask(project, playbook=name[:60], incident=incident, reason=reason[:500])
    known = forces.found(project, name)
    with project.database.reading() as tx:
        about = tables.incident(tx, incident)
    if not about.is_open:
        raise RefusedError(
            f"incident {incident} is {about.state}", hint=f"casemate incident reopen {incident}"
        )
    with alone(project.state / LOCK, "a playbook"):
        began = _begin(project, known, incident, acting.uid)
        if began is None:
            raise BusyError("another machine has begun it", hint="casemate playbook runs")
        return carry_on(project, began)


@operation("playbook:run")
def resume(project: Wiring) -> list[PlaybookRun]:
    """Go on with every run that is not over; returns them as they are then.

    Raises:
        AccessDenied: policy. BusyError: playbooks are carried out just now.
    """
    resume.ask(project, unrecorded=True)
    with alone(project.state / LOCK, "a playbook"):
        with project.database.reading() as tx:
            waiting = runs.runs(tx, RUNS.c.open.is_(True))
        return [carry_on(project, one) for one in waiting]


def look(project: Wiring) -> int:
    """Begin what fits an open incident, and go on with the rest; how many runs changed. It is part
    of a look of the watcher, which it must not fail.
    """
    count = 0
    with contextlib.suppress(BusyError), alone(project.state / LOCK, "a playbook"):
        with project.database.reading() as tx:
            known = _readable(runs.in_force(tx))
            waiting = runs.runs(tx, RUNS.c.open.is_(True))
            about = tables.incidents(tx, tables.INCIDENTS.c.state.in_(OPEN)) if known else []
            had = runs.begun(tx, [one.id for one in about])
        for one in waiting:
            count += _tried(functools.partial(_goes_on, project, one))
        for incident in reversed(about):
            fresh = [
                (force, said)
                for name, (force, said) in known.items()
                if said.automatic and (name, incident.id) not in had
            ]
            alerts = alerts_of(project, incident) if fresh else ([], 0)
            for force, said in fresh:
                if said.fits(incident, *alerts):
                    count += _tried(functools.partial(_start, project, force, incident.id))
    return count


def _readable(known: dict[str, InForce]) -> dict[str, tuple[InForce, Playbook]]:
    """Without those that this casemate does not understand; `playbook list` says so."""
    found = {}
    for name, one in known.items():
        with contextlib.suppress(Error):
            found[name] = (one, book.read(name, one.content))
    return found


def _goes_on(project: Wiring, one: PlaybookRun) -> bool:
    return carry_on(project, one) != one


def _start(project: Wiring, known: InForce, incident: int) -> bool:
    began = _begin(project, known, incident, WHO)
    if began is not None:
        carry_on(project, began)
    return began is not None


def _tried(work: Callable[[], bool]) -> int:
    """Whether something changed; a fault fails no look, and the next one goes on."""
    try:
        return int(work())
    except (Error, sa.exc.SQLAlchemyError):
        return 0


def _begin(project: Wiring, known: InForce, incident: int, who: str) -> PlaybookRun | None:
    """A run that begins; None: by itself it has begun already, perhaps on another machine."""
    said = book.read(known.name, known.content)
    with project.database.reading() as tx:
        about = tables.incident(tx, incident)
    variables = variables_of(project, about)
    with project.database.transaction() as tx:
        query = sa.select(sa.func.count()).select_from(RUNS)
        mine = (RUNS.c.playbook == known.name, RUNS.c.incident == incident)
        before = int(tx.execute(query.where(*mine)).scalar_one())
        if before and who == WHO:
            return None
        made = PlaybookRun(
            id=tables.next_number(tx, RUNS.c.id),
            playbook=known.name,
            digest=known.digest,
            content=known.content,
            incident=incident,
            turn=before + 1,
            state="running",
            began=moment(project.clock.now()),
            by=who,
            variables=variables,
            steps=tuple(StepRun(name=step.name) for step in said.steps),
        )
        runs.put(tx, made)
        detail = {"run": made.id, "incident": incident, "digest": known.digest, "turn": made.turn}
        project.log.append(tx, who, "playbook:began", _about(made), "done", detail)
    project.log.publish()
    return made


def _about(found: PlaybookRun) -> str:
    return f'Playbook::"{found.playbook}"'


def carry_on(project: Wiring, found: PlaybookRun) -> PlaybookRun:
    """Do what can be done of a run; returns it as it is then."""
    said = book.read(found.playbook, found.content)
    hand = _Hand(project, found, said)
    for step in said.steps:
        hand.step(step)
    return hand.ended()


class _Hand:
    """Carries one run out, as the playbook's principal."""

    def __init__(self, project: Wiring, found: PlaybookRun, said: Playbook) -> None:
        self.project, self.found, self.said = project, found, said
        self.acting = project.acting_as(principal(found.playbook))
        with project.database.reading() as tx:
            self.incident = tables.lasting(tx, found.incident)
        self.why = f"playbook {found.playbook}, run {found.id}, incident {found.incident}"

    def step(self, step: Step) -> None:
        """Take one step as far as it goes."""
        at = self.found.step(step.name)
        if at.progress == "waiting":
            if self._passes_over(step) or not self._is_its_turn(step):
                return
            try:
                known, number = self.found.variables, self.found.incident
                aim = aim_of(self.project, step, known, number)
            except (BackendError, BusyError) as error:
                self._later(step, TRYING, error)
                return
            except Error as error:
                self._write(step, "failed", error.message)
                return
            self._write(step, "begun", doing()[step.do].says(aim), aim)
        if self.found.step(step.name).progress == "begun" and self._is_ours(step):
            self._try(step, TRYING, self._do)
        if self.found.step(step.name).progress == "acted":
            self._try(step, PROVING, self._prove)

    def _is_ours(self, step: Step) -> bool:
        """Whether no other machine has just begun it; of one that is silent it is taken over."""
        at = self.found.step(step.name)
        age = self.project.clock.now() - datetime.datetime.fromisoformat(at.since)
        return at.host == platform.node() or age > CLAIMED

    def _later(self, step: Step, time: datetime.timedelta, error: Error) -> None:
        """What it needs is away: the next look tries again, for a time."""
        at = self.found.step(step.name)
        begun = at.since or moment(self.project.clock.now())
        if self.project.clock.now() - datetime.datetime.fromisoformat(begun) > time:
            what = "not proven" if at.progress == "acted" else "not done"
            self._write(step, "failed", f"{what}: {error.message}")
        elif at.text != error.message[:MOST_TEXT]:
            self._write(step, at.progress, error.message, at.aim, since=begun)

    def _passes_over(self, step: Step) -> bool:
        """Whether it will never be its turn; then that is written."""
        why = "" if self.incident.is_open else f"incident {self.incident.id} is closed"
        for name in step.needs:
            if self.found.step(name).progress in OVER and self.found.step(name).progress != "done":
                why = why or f"it needs {name}, which was not done"
        if step.unless and self.found.step(step.unless).progress == "done":
            why = why or f"{step.unless} was done"
        for before in self.said.steps[: self.said.steps.index(step)]:
            if before.otherwise == "stop" and self.found.step(before.name).progress == "failed":
                why = why or f"{before.name} failed, and the playbook stops there"
        if why:
            self._write(step, "passed over", why)
        return bool(why)

    def _is_its_turn(self, step: Step) -> bool:
        if any(self.found.step(name).progress != "done" for name in step.needs):
            return False
        if step.unless and self.found.step(step.unless).progress not in OVER:
            return False
        at = self.found.step(step.name)
        missing = step.people - sum(map(self._may_approve, at.approved))
        text = f"it waits for {missing} more to approve it"
        if missing > 0 and at.text != text:
            self._write(step, "waiting", text)
        return missing <= 0

    def _may_approve(self, uid: str) -> bool:
        """Whether who approved may still do so."""
        named, point = principal_of(uid), self.project.point
        one = point.directory.find(named.kind, named.name)
        situation = replace(point.situation(), mfa_age=0)  # proven when they approved
        return (
            one is not None
            and point.policy.decide(one, "playbook:approve", Resource(), situation).allowed
        )

    def _do(self, step: Step, aim: Aim) -> tuple[Progress, str]:
        how = doing()[step.do]
        if how.is_done(self.project, aim):
            return "acted", f"it was done: {how.says(aim)}"
        try:
            how.do(self.acting, aim, self.why)
        except (BackendError, BusyError):
            raise
        except Error:
            if not how.is_done(self.project, aim):  # somebody else was faster
                raise
        return "acted", how.says(aim)

    def _prove(self, step: Step, aim: Aim) -> tuple[Progress, str]:
        return "done", doing()[step.do].proof(self.acting, aim)

    def _try(
        self,
        step: Step,
        time: datetime.timedelta,
        work: Callable[[Step, Aim], tuple[Progress, str]],
    ) -> None:
        at = self.found.step(step.name)
        if at.aim is None:
            raise RefusedError(f"step {step.name} has no aim", hint="casemate fsck")
        try:
            progress, text = work(step, at.aim)
        except (BackendError, BusyError) as error:
            self._later(step, time, error)
            return
        except Error as error:
            self._write(step, "failed", error.message)
            return
        self._write(step, progress, text, at.aim)

    def _write(
        self, step: Step, progress: Progress, text: str, aim: Aim | None = None, since: str = ""
    ) -> None:
        """One change of one step: the row, the log's entry, and a line of the incident where people
        must hear of it.
        """
        before, at = self.found, self.found.step(step.name)
        project, now = self.project, self.project.clock.now()
        changed = structs.replace(
            at,
            progress=progress,
            text=text[:MOST_TEXT],
            aim=aim or at.aim,
            since=since or moment(now),
            host=platform.node() if progress == "begun" else "",
        )
        after = before.with_step(changed)
        who = principal(before.playbook).uid
        with project.database.transaction() as tx:
            runs.put(tx, after, before)
            detail = {"run": after.id, "step": step.name, "do": step.do, "progress": progress}
            outcome = "failed" if progress == "failed" else "done"
            project.log.append(
                tx, who, "playbook:step", _about(after), outcome, {**detail, "text": changed.text}
            )
            if progress in ("done", "failed") or (progress == "waiting" and text):
                line = f"playbook {after.playbook}, {step.name}: {progress}: {changed.text}"
                books = Books(project, tx, who, now)
                self.incident = tables.lasting(tx, after.incident)
                did = f"playbook {after.playbook}, {step.do}: {progress}"
                books.change(self.incident, NOTED, Change(at=books.now, text=line, did=did))
                self.incident = tables.lasting(tx, after.incident)
            if progress == "waiting" and step.people:
                told = {
                    "run": after.id,
                    "incident": after.incident,
                    "step": step.name,
                    "text": text,
                }
                project.outbox.enqueue(
                    tx, "playbook:waits", f"playbook/{after.id}/{step.name}", told
                )
        project.log.publish()
        self.found = after

    def ended(self) -> PlaybookRun:
        """The run, which is over when all of its steps are."""
        before = self.found
        if before.state == "running" and all(one.progress in OVER for one in before.steps):
            failed = [one.name for one in before.steps if one.progress == "failed"]
            ended = moment(self.project.clock.now())
            after = structs.replace(before, state="failed" if failed else "done", ended=ended)
            with self.project.database.transaction() as tx:
                runs.put(tx, after, before)
                who, outcome = principal(before.playbook).uid, "failed" if failed else "done"
                detail = {"run": after.id, "incident": after.incident, "failed": failed}
                self.project.log.append(tx, who, "playbook:ended", _about(after), outcome, detail)
            self.project.log.publish()
            self.found = after
        return self.found
