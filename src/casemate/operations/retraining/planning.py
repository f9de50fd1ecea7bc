"""Whether it is time to train again, with what, and whether the budgets allow it."""

import datetime

from casemate.config import LESS_IS_BETTER, RetrainTable
from casemate.core.errors import Error
from casemate.core.types import Interval, Record
from casemate.operations.acting import reading
from casemate.operations.feedback.screening import Lessons, Screened, judged
from casemate.operations.serving import live
from casemate.operations.watching.looking import known
from casemate.stages.release.retrainings import (
    Retraining,
    demands,
    refused_in_a_row,
    trainings,
)
from casemate.wiring import Wiring

SUFFERS = "suffers"
"""What the watcher says of drift that costs quality."""


class Budgets(Record, frozen=True, kw_only=True):
    """What retrainings of this period took, beside what they may."""

    runs: int
    most_runs: int
    hours: float
    most_hours: float
    epsilon: float
    most_epsilon: float | None
    refused: int
    """Refused in a row."""
    most_refused: int


class Plan(Record, frozen=True, kw_only=True):
    """What `casemate retrain run` would do now."""

    due: bool
    because: list[str]
    """Why it is due."""
    blocked: list[str]
    """Why it cannot be all the same; what to do stands with it."""
    incumbent: str
    """The model that a new one must not be worse than."""
    teach: int
    """Rows of feedback that it would learn from."""
    new: int
    """Of these, rows that were told since the last retraining began."""
    hold: int
    quarantine: int
    named: list[str]
    """Sources that turn labels."""
    open: int | None
    """Number of the retraining that was interrupted and would be gone on with."""
    budgets: Budgets


@reading("retrain:read")
def listing(project: Wiring) -> list[Retraining]:
    """Every retraining, newest first; AccessDenied: policy."""
    return project.retrainings.all()


@reading("retrain:read")
def plan(project: Wiring) -> Plan:
    """What would be done now, and why, or why not; AccessDenied: policy."""
    return planned(project)[0]


def planned(project: Wiring) -> tuple[Plan, Lessons | None]:
    """The plan, and the rows that would teach; whoever calls has asked policy."""
    table, found = project.config.retrain, project.retrainings.all()
    lessons = judged(project) if project.config.train.mode != "private" else None
    budgets = _budgets(project, table, found)
    blocked = _blocked(project, table, budgets)
    try:
        incumbent = incumbent_of(project)
    except Error as error:
        incumbent = ""
        blocked.append(f"there is no model to compare with: {error.message}; casemate run")
    new = 0 if lessons is None else _new(lessons, found)
    because = _because(project, table, found, incumbent, new)
    screened = None if lessons is None else lessons.screened
    return (
        Plan(
            due=bool(because),
            because=because,
            blocked=blocked,
            incumbent=incumbent,
            teach=0 if lessons is None else lessons.table.num_rows,
            new=new,
            hold=_count(screened, "hold"),
            quarantine=_count(screened, "quarantine"),
            named=[] if screened is None else [one.name for one in screened.sources if one.turned],
            open=next((one.id for one in found if one.state == "running"), None),
            budgets=budgets,
        ),
        lessons,
    )


def incumbent_of(project: Wiring) -> str:
    """What is served live, else the newest that passed; Error when there is none."""
    return live(project, project.config.project.name)


def _count(screened: Screened | None, verdict: str) -> int:
    return 0 if screened is None else screened.verdicts[verdict]


def _new(lessons: Lessons, found: list[Retraining]) -> int:
    # what an earlier one could have learnt from and left out, for its share, makes none due again
    before = trainings(found)
    if not before:
        return len(lessons.told)
    began = datetime.datetime.fromisoformat(before[0].began)
    return sum(datetime.datetime.fromisoformat(one) > began for one in lessons.told)


def _budgets(project: Wiring, table: RetrainTable, found: list[Retraining]) -> Budgets:
    since = project.clock.now() - datetime.timedelta(days=table.period_days)
    mine = [one for one in trainings(found) if one.began >= since.isoformat()]
    return Budgets(
        runs=sum(one.state != "running" for one in mine),
        most_runs=table.most_runs,
        hours=sum(one.seconds for one in mine) / 3600,
        most_hours=table.hours,
        epsilon=sum(one.epsilon for one in mine),
        most_epsilon=table.epsilon,
        refused=refused_in_a_row(found),
        most_refused=table.refusals,
    )


def _blocked(project: Wiring, table: RetrainTable, now: Budgets) -> list[str]:
    found = []
    if now.runs >= now.most_runs:
        found.append(
            f"{now.runs} retrainings in {table.period_days:g} days: [retrain] most_runs allows"
            f" {now.most_runs}"
        )
    if now.hours >= now.most_hours:
        found.append(
            f"{now.hours:.1f} hours in {table.period_days:g} days: [retrain] hours allows"
            f" {now.most_hours:g}"
        )
    wanted = project.config.privacy.epsilon if project.config.train.mode == "private" else 0.0
    if now.most_epsilon is not None and wanted and now.epsilon + wanted > now.most_epsilon:
        found.append(
            f"epsilon {now.epsilon:g} is spent and {wanted:g} wanted: [retrain] epsilon allows"
            f" {now.most_epsilon:g}"
        )
    if now.refused >= now.most_refused:
        found.append(
            f"{now.refused} were refused in a row: look at why (casemate retrain list), then a"
            " person says casemate retrain go-on --reason '...'"
        )
    return found


def _because(
    project: Wiring, table: RetrainTable, found: list[Retraining], incumbent: str, new: int
) -> list[str]:
    because = [f"demanded: {reason}" for reason in demands(found)]
    if table.below is not None or table.drift:
        because += _watched(project, table, incumbent)
    if table.labels is not None and new >= table.labels:
        because.append(f"{new} new rows may teach, [retrain] labels is {table.labels}")
    if table.days is not None and incumbent:
        before = trainings(found)
        last = before[0].began if before else project.registry.get(incumbent).created
        days = (project.clock.now() - datetime.datetime.fromisoformat(last)).total_seconds() / 86400
        if days >= table.days:
            because.append(
                f"the last training was {days:.1f} days ago, [retrain] days is {table.days:g}"
            )
    return because


def _watched(project: Wiring, table: RetrainTable, incumbent: str) -> list[str]:
    seen, name = known(project), project.config.retraining_figure
    because = []
    figures: list[tuple[str, Interval]] = [
        ("realised", one.figures[name])
        for one in seen.realised
        if one.model == incumbent and name in one.figures
    ]
    for one in seen.judgements:
        if one.model != incumbent or one.drift is None:
            continue
        if table.drift and one.drift.quality == SUFFERS:
            because.append(f"drift costs quality: {one.drift.because}")
        chunk = one.drift.estimate
        for figure in [] if chunk is None else chunk.figures:
            if figure.name == name:
                figures.append(("estimated", figure.moved or figure.estimated))
    for how, interval in figures:
        if table.below is None:
            continue
        less = name in LESS_IS_BETTER
        if (interval.low > table.below) if less else (interval.high < table.below):
            because.append(
                f"{name} as {how} is {interval.value:.3f} ({interval.low:.3f} to"
                f" {interval.high:.3f}), [retrain] below is {table.below:g}"
            )
    return because
