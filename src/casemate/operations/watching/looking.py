"""One look at everything, what is known of it, and a page of it."""

import contextlib
import datetime
from pathlib import Path
from typing import Any

import msgspec

from casemate.core.errors import ConfigError, Error
from casemate.core.files import alone, write_atomic
from casemate.core.types import Record
from casemate.operations import sinks
from casemate.operations.acting import Noun, operation, reading
from casemate.operations.incidents import heard, offindings, own
from casemate.operations.playbooks import carrying as playbooks
from casemate.operations.rights import erasing, requests
from casemate.operations.serving import in_service
from casemate.operations.watching import alarms, judged, levels, lines, ruled, trends
from casemate.operations.watching.alarms import EVERY, Alarm, Cause
from casemate.operations.watching.answers import Answer, Counter
from casemate.operations.watching.judged import Judgement, Realised
from casemate.operations.watching.models import Catalogue
from casemate.watch.levels import FILE, FOLDER, PLACE, TOLD, Gauge, Gauges
from casemate.watch.telemetry import HOUR, Sample, Series, Telemetry
from casemate.wiring import Wiring

FEEDBACK = "model:feedback"
HEARD = "incidents"
"""Under which name is kept how far entries were read for incidents."""
JUDGED = ("drift", "quality-estimated")
"""Causes that are found where a window was judged."""
TRENDS = ("anomaly", "runs-out")
"""Causes that are found in series at every look."""
LEARNT = ("quality-realised", "relation-changed")
"""Causes that are found where outcomes are known."""


class Progress(Record, frozen=True, kw_only=True):
    """How far a watcher has read."""

    entry: int
    """The last log entry."""
    time: str
    """When, ISO 8601."""


class Seen(Record, frozen=True, kw_only=True):
    """What one look came to."""

    time: str
    answers: int
    """Recorded predictions that were read."""
    outcomes: int
    """Requests whose outcome was told since the last look."""
    judgements: list[Judgement]
    """Windows that were judged."""
    alarms: list[Alarm]
    """That stand now."""
    told: int
    """Beginnings and ends of alarms that were told."""
    left_out: int
    """Samples beyond the bound of series, and outcomes that no model could have said."""


class Level(Record, frozen=True, kw_only=True):
    """The newest point of a series."""

    series: str
    time: str
    value: float


class Known(Record, frozen=True, kw_only=True):
    """What a watcher knows."""

    time: str | None
    """Of the last look; None: there was none."""
    alarms: list[Alarm]
    """That stand, and those that ended lately."""
    judgements: list[Judgement]
    """The newest of each model version."""
    realised: list[Realised]
    levels: list[Level]


@operation("watch:run")
def once(project: Wiring, *, early: bool = False) -> Seen:
    """Look once: read what was answered since the last look, judge windows that are over, begin and
    end alarms, and tell of them.

    Args:
        project: what is looked at.
        early: judge what there is of windows that are not over, too: each time is one more chance
            of a false alarm, which the budget does not know of.

    Raises:
        AccessDenied: policy. BusyError: another watcher looks just now. BackendError: the catalogue
            or the telemetry cannot be written.
    """
    once.ask(project, unrecorded=True)
    folder = project.state / FOLDER
    with alone(folder / "lock", "a look"), Telemetry(folder / FILE) as telemetry:
        _pass_on(project)  # first, so that this look sees how it went
        before = telemetry.kept("progress", Progress)
        start = -1 if before is None else before.entry
        # what an earlier look began to tell and did not end
        told = alarms.tell(project, telemetry, start + 1)
        seen = _look(project, telemetry, start, early=early)
        told += alarms.tell(project, telemetry, start + 1)
        if told:
            lines.take(project)  # alarms are lines, too
        gauges = telemetry.kept(PLACE, Gauges)
        _pass_on(project, [] if gauges is None else gauges.gauges)
        changed = _respond(project, telemetry)
        changed += _hear(project)
    if told or changed:
        project.outbox.send()
    return msgspec.structs.replace(seen, told=told)


def _pass_on(project: Wiring, gauges: list[Gauge] | None = None) -> None:
    """Send what waits for sinks. What is wrong with one, or with the spool, fails no look: the next
    `levels.look` finds it.
    """
    with contextlib.suppress(Error):
        sinks.pass_on(project, gauges)


def _respond(project: Wiring, telemetry: Telemetry) -> int:
    """Let alarms and entries of the log become alerts; how many incidents changed. What was heard
    is remembered afterwards: whoever dies between hears it again, which changes nothing.
    """
    heard = telemetry.kept(HEARD, Progress)
    start = 0 if heard is None else heard.entry + 1
    standing = telemetry.all_kept(alarms.PREFIX, Alarm).values()
    changed, last = own.look(project, standing, start)
    with contextlib.suppress(Error):  # what playbooks meet fails no look
        changed += playbooks.look(project)
    with contextlib.suppress(Error):  # what keeps findings from being told fails no look
        changed += offindings.tell(project)  # days pass, and waivers end
    requests.remind(project)
    with contextlib.suppress(Error):  # what keeps an erasure fails no look
        erasing.complete(project)
    time = project.clock.now().isoformat(timespec="seconds")
    with telemetry.transaction():
        telemetry.keep(HEARD, Progress(entry=last, time=time))
    return changed


def _hear(project: Wiring) -> int:
    """Read tickets, after the alerts of this look were taken: who closes one asks whether they
    stand. How many incidents changed; nothing that is wrong there fails the look.
    """
    with contextlib.suppress(Error):
        return sum(len(one.changed) for one in heard.hear(project))
    return 0


def _look(project: Wiring, telemetry: Telemetry, start: int, *, early: bool) -> Seen:
    now = project.clock.now()
    last = project.log.size() - 1
    catalogue = Catalogue(project)
    counter = Counter(catalogue, project.config.watch.window_hours * HOUR)
    look = levels.look(project, now)
    untaken = lines.take(project)
    with telemetry.transaction():
        for group in project.decisions.groups(start, last):
            counter.add(group.bodies)
            if counter.is_full:
                telemetry.add(counter.samples())
        flows, outcomes = _entries(project, counter, start, last)
        telemetry.add([*counter.samples(), *flows, *look.samples])
        counter.keep(telemetry)
        telemetry.thin(now.timestamp())
        judgements, causes, looked_at = _judge(project, telemetry, catalogue, now, early=early)
        matched, asked = ruled.judge(project, telemetry)
        standing = alarms.update(
            telemetry,
            [*look.causes, *untaken, *causes, *matched],
            look.looked_at | looked_at | asked,
            now,
        )
        time = now.isoformat(timespec="seconds")
        telemetry.keep(PLACE, _gauges(telemetry, look.samples, standing, now))
        telemetry.keep("progress", Progress(entry=last, time=time))
    return Seen(
        time=time,
        answers=counter.count,
        outcomes=outcomes,
        judgements=judgements,
        alarms=standing,
        told=0,
        left_out=telemetry.left_out + counter.unusable,
    )


def _gauges(
    telemetry: Telemetry, samples: list[Sample], standing: list[Alarm], now: datetime.datetime
) -> Gauges:
    """What is told to whoever scrapes."""
    found = [
        Gauge(name=one.series.name, labels=dict(one.series.labels), value=one.value)
        for one in samples
    ]
    for alarm in standing:
        found.append(Gauge(name="casemate_alarm", labels=_labels(alarm.cause), value=1))
    for judgement in _newest(telemetry).values():
        estimate = None if judgement.drift is None else judgement.drift.estimate
        for figure in () if estimate is None else estimate.figures:
            interval = figure.estimated if figure.moved is None else figure.moved
            labels = {"model": judgement.model, "figure": figure.name}
            for ending, value in (
                ("", interval.value),
                ("_low", interval.low),
                ("_high", interval.high),
            ):
                name = f"casemate_quality_estimated{ending}"
                found.append(Gauge(name=name, labels=labels, value=value))
    for model, one in telemetry.all_kept("realised/", Realised).items():
        for name, interval in one.figures.items():
            labels, value = {"model": model, "figure": name}, interval.value
            found.append(Gauge(name="casemate_quality_realised", labels=labels, value=value))
    moment = Gauge(name="casemate_watch_look_timestamp_seconds", labels={}, value=now.timestamp())
    return Gauges(gauges=[one for one in [*found, moment] if one.name in TOLD])


def _labels(cause: Cause) -> dict[str, str]:
    """The same labels for every alarm, because all are series of one metric."""
    others = [text for key, text in sorted(cause.labels.items()) if key != "model"]
    model = cause.labels.get("model", "")
    severity = cause.severity
    return {"alarm": cause.name, "model": model, "severity": severity, "of": ", ".join(others)}


def _newest(telemetry: Telemetry) -> dict[str, Judgement]:
    """The newest judgement of each model version."""
    found = {}
    for model in dict.fromkeys(name.partition("/")[0] for name in telemetry.names("judgement/")):
        name = telemetry.names(f"judgement/{model}/")[-1]
        one = telemetry.kept(f"judgement/{model}/{name}", Judgement)
        if one is not None:
            found[model] = one
    return found


def _entries(project: Wiring, counter: Counter, start: int, last: int) -> tuple[list[Sample], int]:
    """Actions of the log by minute, and outcomes, which the counter gets."""
    flows: dict[tuple[Series, float], float] = {}
    outcomes = 0
    for entry in project.log.entries(start + 1):
        if entry.index > last:
            break
        time = datetime.datetime.fromisoformat(entry.time).timestamp()
        series = Series.flow("casemate_audit", action=entry.action, outcome=entry.outcome)
        key = series, time // 60 * 60
        flows[key] = flows.get(key, 0.0) + 1
        if entry.action == FEEDBACK and entry.outcome == "done":
            outcomes += 1
            _learn(project, counter, entry.detail, time)
    return [Sample(series, time, value) for (series, time), value in flows.items()], outcomes


def _learn(project: Wiring, counter: Counter, detail: dict[str, Any], time: float) -> None:
    try:
        prediction, _ = project.decisions.find(detail["request"])
    except ConfigError:
        return  # its time is over: it was forgotten
    said = msgspec.convert(prediction, Answer, from_attributes=True)
    counter.outcome(said, detail["outcome"], time)


def _judge(
    project: Wiring,
    telemetry: Telemetry,
    catalogue: Catalogue,
    now: datetime.datetime,
    *,
    early: bool,
) -> tuple[list[Judgement], list[Cause], set[tuple[str, str]]]:
    judgements: list[Judgement] = []
    causes: list[Cause] = []
    table = project.config.watch
    causes += trends.unusual(telemetry, now, table) + trends.running_out(telemetry, now, table)
    looked_at: set[tuple[str, str]] = {
        (name, EVERY) for name in ("unjudged", lines.UNWRITTEN, *TRENDS)
    }
    models = {name.partition("/")[0] for name in telemetry.names("answers/")}
    serving = in_service(project)
    for model in sorted(models):
        watched = catalogue(model)
        if watched is None:
            continue
        try:
            found = judged.judge_windows(project, telemetry, watched, now, early=early)
            learnt = judged.realised(telemetry, watched, table)
        except Error as error:
            hint = "mend what the message says; until then this model is not watched"
            labels = {"model": model}
            text = f"{model} could not be judged: {error.message}"
            causes.append(
                Cause(name="unjudged", labels=labels, severity="page", text=text, hint=hint)
            )
            continue
        judgements += found
        if model not in serving:  # its answers were as they were, and nobody gets them any more
            looked_at |= {(name, model) for name in (*JUDGED, *LEARNT)}
            continue
        if found:
            looked_at |= {(name, model) for name in JUDGED}
            causes += judged.causes(found[-1])
        else:
            causes += _standing(telemetry, model)
        if learnt is not None:
            looked_at |= {(name, model) for name in LEARNT}
            causes += judged.causes_realised(learnt)
            telemetry.keep(f"realised/{model}", learnt)
    for model, why in catalogue.faults.items():
        causes.append(
            Cause(
                name="unjudged",
                labels={"model": model},
                severity="note",
                text=f"{model} is not watched: {why}",
                hint="casemate fsck says what is damaged; a version that is gone is not asked",
            )
        )
    return judgements, causes, looked_at


def _standing(telemetry: Telemetry, model: str) -> list[Cause]:
    """What the last judgement of a model said: it stands until the next one."""
    names = telemetry.names(f"judgement/{model}/")
    last = telemetry.kept(f"judgement/{model}/{names[-1]}", Judgement) if names else None
    return [] if last is None else judged.causes(last)


@reading("watch:read")
def show(project: Wiring) -> Known:
    """What the last look came to; AccessDenied: policy."""
    return known(project)


def known(project: Wiring) -> Known:
    """The same; whoever calls has asked policy."""
    path = project.state / FOLDER / FILE
    if not path.exists():
        return Known(time=None, alarms=[], judgements=[], realised=[], levels=[])
    with Telemetry(path) as telemetry:
        progress = telemetry.kept("progress", Progress)
        return Known(
            time=None if progress is None else progress.time,
            alarms=list(telemetry.all_kept(alarms.PREFIX, Alarm).values()),
            judgements=list(_newest(telemetry).values()),
            realised=list(telemetry.all_kept("realised/", Realised).values()),
            levels=_levels(telemetry),
        )


def _levels(telemetry: Telemetry) -> list[Level]:
    found = []
    for series in telemetry.series():
        point = telemetry.latest(series)
        if point is not None:
            time = datetime.datetime.fromtimestamp(point.at, datetime.UTC).isoformat()
            found.append(Level(series=str(series), time=time, value=point.value(series.kind)))
    return found


@reading("watch:read")
def report(project: Wiring, out: Path) -> None:
    """Write what is known as one HTML page; AccessDenied: policy.

    Args:
        project: whose.
        out: the file.

    Raises:
        ConfigError: nothing was looked at yet.
    """
    from casemate.operations.watching.page import draw

    path = project.state / FOLDER / FILE
    if not path.exists():
        raise ConfigError("nothing was watched yet", hint="casemate watch once")
    with Telemetry(path) as telemetry:
        content = draw(project, telemetry)
    write_atomic(out, content, mode=0o644)


class Watch(Noun):
    """What is watched of a project, by its verbs."""

    once = once
    show = show
    report = report
