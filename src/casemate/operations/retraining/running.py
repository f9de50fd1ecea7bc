"""Training again: the next version of the data set with what may teach, a run, the comparison with
the incumbent, and what policy says becomes of it.
"""

import bisect
import dataclasses
import datetime
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import sqlalchemy as sa

from casemate.config import Config, GateTable
from casemate.core.errors import AccessDenied, BackendError, BusyError, Error, RefusedError
from casemate.core.files import alone
from casemate.core.steps import STEPS
from casemate.core.types import Record, SealedDataset, TrainedModel
from casemate.ml.frame import sample_rows
from casemate.operations.acting import Acting, operation
from casemate.operations.models import promote
from casemate.operations.retraining.planning import Plan, incumbent_of, planned
from casemate.operations.runs import RunResult, conducted, run_context
from casemate.stages.data.lessons import to_bytes
from casemate.stages.release.retrainings import Retraining, State, trainings
from casemate.wiring import Wiring

if TYPE_CHECKING:
    from casemate.supply.context import Reporter

MOST_REASON = 500
"""Characters: a reason is a sentence, and every reader of the log gets it."""


class Retrained(Record, frozen=True, kw_only=True):
    """What a call came to."""

    retraining: Retraining | None
    """None: nothing was due."""
    text: str


@operation("retrain:run", also=("run:start", "model:sign"))
def run(project: Wiring, *, demand: str = "", reporter: "Reporter | None" = None) -> Retrained:
    """Train again if it is due or demanded, or go on with a retraining that was interrupted.

    A model that passes its gates, and is no worse than the incumbent on the same held-out rows, is
    signed and released as `[retrain] promote` and policy say. One that is not is refused, and the
    incumbent stays.

    Args:
        project: whose.
        demand: a person's reason to do it though it is not due.
        reporter: hears how it goes.

    Raises:
        AccessDenied: policy. BusyError: one goes on. RefusedError: budgets, or refusals in a row,
            do not allow it. Error: the run failed.
    """
    acting = run.ask(project, unrecorded=True)
    name, stage = project.config.project.name, {"stage": project.config.release.stage}
    run.ask(project, also="run:start", unrecorded=True)
    run.ask(project, name, also="model:sign", kind="Model", context=stage, unrecorded=True)
    with alone(project.state / "retraining.lock", "a retraining"):
        waited = _release_waiting(project, acting)
        if waited is not None:
            return waited
        one = next((one for one in project.retrainings.all() if one.state == "running"), None)
        if one is None:
            found, lessons = planned(project)
            if not found.due and not demand:
                return Retrained(retraining=None, text="nothing is due")
            if found.blocked:
                raise RefusedError(
                    "no retraining now: " + "; ".join(found.blocked),
                    hint="casemate retrain plan",
                )
            table = None if lessons is None else lessons.table
            one = _begin(project, acting, found, table, demand)
        return _conduct(project, acting, one, reporter)


def _begin(
    project: Wiring, acting: Acting, found: Plan, table: pa.Table | None, demand: str
) -> Retraining:
    if table is not None:
        table = _within(project, table)
    digest = project.objects.put(to_bytes(table)) if table is not None and table.num_rows else ""
    rows = table.num_rows if table is not None else 0
    because = "; ".join([*found.because, *([demand[:MOST_REASON]] if demand else [])])
    said = {"because": because, "rows": rows, "lessons": digest, "incumbent": found.incumbent}
    with acting.transaction() as tx:
        one = project.retrainings.begin(tx, principal=acting.uid, **said)
        acting.append(tx, "retrain:began", _about(project), retraining=one.id, **said)
    return one


def _within(project: Wiring, table: pa.Table) -> pa.Table:
    """At most the share of the training table that `[retrain] share` allows, evenly drawn."""
    record = project.engine.newest_step("data", SealedDataset)
    share = project.config.retrain.share
    known = 0 if record is None else record.rows - record.holdout - record.excluded
    if record is not None and record.taught is not None:
        known -= record.taught.rows - record.taught.known
    most = int(known * share / max(1 - share, 1e-9))
    return table.take(pa.array(sample_rows(table.num_rows, most, project.config.train.seed)))


def compared(config: Config) -> Config:
    """The configuration with the gate that a new model is no worse than the incumbent."""
    figure, margin = config.retraining_figure, config.retrain.margin
    gate = config.gates.get(figure, GateTable())
    margin = min(margin, gate.margin) if gate.no_worse_than else margin
    gate = msgspec.structs.replace(gate, no_worse_than="previous", margin=margin)
    return msgspec.structs.replace(config, gates={**config.gates, figure: gate})


def _conduct(
    project: Wiring, acting: Acting, one: Retraining, reporter: "Reporter | None"
) -> Retrained:
    context = dataclasses.replace(
        run_context(project, reporter),
        config=compared(project.config),
        lessons=one.lessons,
        incumbent=one.incumbent,
    )
    began = time.monotonic()
    try:
        result = conducted(project, context, acting.uid, None, _key(one.id))
    except (BackendError, BusyError):
        raise  # the next call goes on with it
    except Error as error:
        text, least = f"{error.code}: {error.message}"[:2000], time.monotonic() - began
        _end(project, acting, one, "failed", text=text, lessons="", **spent(project, one.id, least))
        raise
    took = _took(project, result)
    if result.verdict.outcome != "passed":
        reasons = "; ".join(result.verdict.reasons)
        said = f"{result.model.reference} was {result.verdict.outcome}"
        text = f"{said}, {one.incumbent} stays: {reasons}"
        return _ended(project, acting, one, "refused", text[:4000], lessons="", **took)
    one = msgspec.structs.replace(one, **took)
    return _ended(project, acting, one, *_promoted(project, one))


def _key(number: int) -> str:
    """The idempotency key of a retraining's run."""
    return f"retrain/{number}"


def spent(project: Wiring, number: int, least: float) -> dict[str, Any]:
    """What of the budgets a retraining took that failed: its run, seconds, epsilon.

    Args:
        project: whose.
        number: of the retraining.
        least: seconds that it took for sure, in which a step that failed is too.
    """
    run = next((one.id for one in project.engine.runs() if one.key == _key(number)), "")
    paid = [one.epsilon for one in project.ledger.of() if run and one.run == run]
    return {"run": run, "seconds": max(_seconds(project, run), least), "epsilon": sum(paid)}


def _seconds(project: Wiring, run: str) -> float:
    with project.database.reading() as tx:
        mine = STEPS.c.run == run, STEPS.c.origin.is_(None)
        return float(tx.execute(sa.select(sa.func.sum(STEPS.c.seconds)).where(*mine)).scalar() or 0)


def _took(project: Wiring, result: RunResult) -> dict[str, Any]:
    model = project.engine.record(result.id, "train", TrainedModel)
    epsilon = 0.0 if model is None else float(model.privacy.get("epsilon", 0.0))
    return {
        "run": result.id,
        "model": result.model.reference,
        "seconds": _seconds(project, result.id),
        "epsilon": epsilon,
    }


def _ended(
    project: Wiring, acting: Acting, one: Retraining, state: State, text: str, **found: Any
) -> Retrained:
    ended = _end(project, acting, one, state, text=text, **found)
    return Retrained(retraining=ended, text=text)


def _promoted(project: Wiring, one: Retraining) -> tuple[State, str]:
    """Release a model that passed as far as policy lets whoever retrains; what became of it."""
    table = project.config.retrain
    if table.promote == "no":
        return (
            "passed",
            f"{one.model} passed and is signed; {one.incumbent} stays until somebody promotes",
        )
    released = {found.reference for found in project.rollouts.all()}
    if one.model not in released:
        why = _overtaken(project, one)
        if why:
            return "passed", f"{one.model} passed and is signed, and was not promoted: {why}"
        try:
            promote(project, one.model, table.promote, share=table.canary_share, reason=one.because)
        except (AccessDenied, RefusedError) as error:
            return "waiting", f"{one.model} is signed and waits: {error.message}"
    return "released", f"{one.model} passed and is {table.promote}"


def _overtaken(project: Wiring, one: Retraining) -> str:
    """Why a model that is not served should not be promoted any more; empty: it should."""
    now = incumbent_of(project)
    if now not in (one.incumbent, one.model):
        return f"it was compared with {one.incumbent}, and {now} is in its place now"
    if _was_promoted(project, one):
        return f"{one.model} was promoted before and is not served any more"
    return ""


def _was_promoted(project: Wiring, one: Retraining) -> bool:
    """Whether the log says that somebody promoted the version; there was none before it began."""
    # the log counts milliseconds
    began = datetime.datetime.fromisoformat(one.began) - datetime.timedelta(seconds=1)
    name, _, version = one.model.rpartition("@")
    about, log = f'Model::"{name}"', project.log
    with project.database.reading() as tx:

        def when(index: int) -> datetime.datetime:
            return datetime.datetime.fromisoformat(log.at(tx, [index])[0].time)

        first = bisect.bisect_left(range(log.size()), began, key=when)
    return any(
        (entry.action, entry.resource) == ("model:promoted", about)
        and entry.detail["version"] == int(version)
        for entry in log.entries(first)
    )


def _release_waiting(project: Wiring, acting: Acting) -> Retrained | None:
    """Release the newest that waits, if what it waited for has come; None where none does."""
    newest = next(iter(trainings(project.retrainings.all())), None)
    if newest is None or newest.state != "waiting":
        return None
    state, text = _promoted(project, newest)
    return None if state == "waiting" else _ended(project, acting, newest, state, text)


def _end(
    project: Wiring, acting: Acting, one: Retraining, state: State, **found: Any
) -> Retraining:
    with acting.transaction() as tx:
        ended = project.retrainings.end(tx, one, state, **found)
        told = {"retraining": one.id, "run": ended.run, "model": ended.model, "text": ended.text}
        acting.append(tx, "retrain:ended", _about(project), state, **told)
    return ended


@operation("retrain:go-on")
def go_on(project: Wiring, reason: str) -> None:
    """Say, as a person, that retraining may be tried again after refusals in a row.

    Raises:
        AccessDenied: policy, and for every service. RefusedError: no reason is given.
    """
    acting = go_on.ask(project)
    if not reason.strip() or len(reason) > MOST_REASON:
        raise RefusedError(
            f"a reason of 1 to {MOST_REASON} characters is needed", hint="--reason '...'"
        )
    with acting.transaction() as tx:
        project.retrainings.go_on(tx, acting.uid, reason.strip())
        acting.append(tx, "retrain:go-on", _about(project), reason=reason.strip())


def _about(project: Wiring) -> str:
    return f'Project::"{project.config.project.id}"'
