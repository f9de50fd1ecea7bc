"""What people decide about runs of playbooks: to approve a step, to take one back."""

from msgspec import structs

from casemate.core.errors import RefusedError
from casemate.core.files import alone
from casemate.operations.acting import Acting, operation
from casemate.operations.playbooks.carrying import LOCK, carry_on
from casemate.operations.playbooks.steps import doing
from casemate.operations.reasons import reason_of
from casemate.respond.alerts import moment
from casemate.respond.playbooks import book, runs
from casemate.respond.playbooks.kinds import KINDS
from casemate.respond.playbooks.runs import OVER, PlaybookRun, StepRun
from casemate.wiring import Wiring


@operation("playbook:approve")
def approve(project: Wiring, number: int, step: str, reason: str) -> PlaybookRun:
    """Say, as a person, that a step that waits may be done; with the last one that it needs it is
    done at once.

    Raises:
        AccessDenied: policy, and for every service. ConfigError: there is no such run or step.
            RefusedError: it does not wait, the same person approved it already, or there is no
            reason. BusyError: playbooks are carried out just now.
    """
    acting = approve.ask(project, run=number, step=step[:60])
    words = reason_of(reason)
    with alone(project.state / LOCK, "a playbook"):
        with acting.transaction() as tx:
            before = runs.run(tx, number)
            at = before.step(step)
            said = next(one for one in _said(before).steps if one.name == step)
            if before.state != "running" or at.progress != "waiting" or not said.people:
                raise RefusedError(
                    f"step {step} of run {number} waits for nobody", hint="casemate playbook runs"
                )
            if acting.uid in at.approved:
                raise RefusedError(
                    f"{acting.uid} approved it already: {said.people} different persons are needed",
                    hint="somebody else approves it too",
                )
            after = before.with_step(structs.replace(at, approved=(*at.approved, acting.uid)))
            runs.put(tx, after, before)
            detail = {"run": number, "step": step, "do": said.do, "reason": words}
            acting.append(tx, "playbook:approved", f'Playbook::"{before.playbook}"', **detail)
        return carry_on(project, after)


@operation("playbook:undo")
def undo(project: Wiring, number: int, step: str = "", reason: str = "") -> PlaybookRun:
    """Take back what a run did, its last step first, as whoever asks for it: each by its own right.
    What it has not begun is not done any more.

    Args:
        project: whose.
        number: of the run.
        step: only this one; default: every step that can be taken back.
        reason: why, for the record.

    Raises:
        AccessDenied: policy. ConfigError: there is no such run or step. RefusedError: the step was
            not done, or cannot be taken back. BusyError: playbooks are carried out just now.
    """
    acting = undo.ask(project, run=number, step=step[:60])
    words = reason_of(reason)
    with alone(project.state / LOCK, "a playbook"):
        with project.database.reading() as tx:
            found = runs.run(tx, number)
        if step and not _undoable(found.step(step)):
            raise RefusedError(
                f"step {step} is {found.step(step).progress}: it did nothing that could be undone",
                hint="casemate playbook runs",
            )
        # holds first: they would keep a version from being promoted again
        last_first = reversed(_said(found).steps)
        for one in sorted(last_first, key=lambda one: KINDS[one.do].action != "hold:place"):
            at = found.step(one.name)
            if step not in ("", one.name):
                continue
            if at.progress == "waiting":
                found = _put(acting, found, at, "passed over", words)
            elif _undoable(at) and (KINDS[one.do].undo or step):
                how = doing()[one.do]
                if at.aim is not None and how.is_done(project, at.aim):
                    how.undo(project, at.aim, words)
                found = _put(acting, found, at, "undone", words)
        return found


def _undoable(at: StepRun) -> bool:
    """Whether the step may have changed something: also where it failed, or was never proven."""
    acted = at.progress in ("begun", "acted", "done", "failed")
    return acted and at.aim is not None and not at.aim.was


def _put(
    acting: Acting, before: PlaybookRun, at: StepRun, progress: runs.Progress, reason: str
) -> PlaybookRun:
    now = moment(acting.project.clock.now())
    changed = structs.replace(at, progress=progress, text=reason, since=now)
    after = before.with_step(changed)
    if after.state == "running" and all(one.progress in OVER for one in after.steps):
        after = structs.replace(after, state="done", ended=now)
    with acting.transaction() as tx:
        runs.put(tx, after, before)
        detail = {"run": after.id, "step": at.name, "progress": progress, "reason": reason}
        acting.append(tx, "playbook:undone", f'Playbook::"{after.playbook}"', **detail)
    return after


def _said(found: PlaybookRun) -> book.Playbook:
    return book.read(found.playbook, found.content)
