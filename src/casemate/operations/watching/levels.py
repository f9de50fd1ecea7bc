"""What stands how high just now: disk, keys, certificates, budgets, outbox, models. Each function
looks at one thing; one that cannot look is an alarm of its own.
"""

import datetime
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from casemate.controls.keys.keepers import overdue_keys
from casemate.controls.privacy.budget import ANSWERS, total
from casemate.core.errors import Error
from casemate.operations import lateness, sinks
from casemate.operations.incidents import offindings
from casemate.operations.scanned import told
from casemate.operations.watching.alarms import EVERY, Cause, Severity
from casemate.respond.trackers import followed
from casemate.watch.telemetry import DAY, Sample, Series
from casemate.wiring import Wiring

PERSISTENT = 2
"""Times that a tracker could not be read before that is an alarm: once is a moment's matter."""
FULL = 0.02
"""Share of a disk below which nothing can be written for long, whatever the forecast."""


@dataclass
class Look:
    """What one look found."""

    samples: list[Sample] = field(default_factory=list)
    causes: list[Cause] = field(default_factory=list)
    looked_at: set[tuple[str, str]] = field(default_factory=set)
    """Names of causes that could have been found, and of what model."""


Looker = Callable[[Wiring, datetime.datetime], Iterator[Sample | Cause]]


def look(project: Wiring, now: datetime.datetime) -> Look:
    """Look at everything.

    Args:
        project: whose.
        now: the time.
    """
    found = Look()
    for name, (lookers, causes) in LOOKERS.items():
        found.looked_at.add(("unseen", EVERY))
        try:
            seen = list(lookers(project, now))
        except (Error, OSError) as error:
            text = error.message if isinstance(error, Error) else str(error)
            hint = "mend what the message says; until then nothing is known of it"
            told = f"{name} could not be looked at: {text}"
            found.causes.append(_cause("unseen", told, hint, page=True, what=name))
            continue
        found.looked_at |= {(cause, EVERY) for cause in causes}
        found.samples += [one for one in seen if isinstance(one, Sample)]
        found.causes += [one for one in seen if isinstance(one, Cause)]
    return found


def _level(name: str, now: datetime.datetime, value: float, **labels: str) -> Sample:
    return Sample(Series.level(name, **labels), now.timestamp(), value)


def _cause(name: str, text: str, hint: str, *, page: bool = False, **labels: str) -> Cause:
    severity: Severity = "page" if page else "note"
    return Cause(name=name, labels=labels, severity=severity, text=text, hint=hint)


def _disk(project: Wiring, now: datetime.datetime) -> Iterator[Sample | Cause]:
    usage = shutil.disk_usage(project.state)
    yield _level("casemate_disk_free_bytes", now, usage.free)
    yield _level("casemate_disk_bytes", now, usage.total)
    if usage.free < FULL * usage.total:
        text = f"{usage.free / 2**20:.0f} MiB are free where {project.state} lies"
        hint = "free disk space: without it no answer leaves, because none can be recorded"
        yield _cause("disk-full", text, hint, page=True)


def _keys(project: Wiring, now: datetime.datetime) -> Iterator[Sample | Cause]:
    keys = project.keystore.provider
    for name, versions in keys.versions().items():
        age = now - datetime.datetime.fromisoformat(versions[-1].created)
        yield _level("casemate_key_age_seconds", now, age.total_seconds(), key=name)
    for finding in overdue_keys(keys, project.config.keys.max_age_days, now):
        hint = f"the key custodian: casemate keys rotate {finding.location}"
        yield _cause("key-overdue", finding.message, hint, key=finding.location)


def _certificates(project: Wiring, now: datetime.datetime) -> Iterator[Sample | Cause]:
    days = project.config.watch.certificate_days
    authority = project.keystore.authority.certificate.not_valid_after_utc
    ends = {"certificate authority": authority}
    certificates: list[dict[str, Any]] = project.certificates.list()
    for one in certificates:
        if one["revoked"] is None:
            until = datetime.datetime.fromisoformat(str(one["until"]))
            if until > now:  # one that has ended is nobody's any more
                ends[f"{', '.join(one['names'])} ({one['serial']})"] = until
    for name, until in ends.items():
        left = (until - now).total_seconds()
        yield _level("casemate_certificate_left_seconds", now, left, certificate=name)
        if left < days * DAY:
            yield _cause(
                "certificate-ends",
                f"the certificate of {name} ends in {left / DAY:.1f} days",
                "the key custodian: casemate keys certificate issue",
                page=left < days * DAY / 4,
                certificate=name,
            )


def _budgets(project: Wiring, now: datetime.datetime) -> Iterator[Sample | Cause]:
    privacy, aggregates = project.config.privacy, project.config.serve.aggregates
    spendings = project.ledger.of()
    for dataset, purpose in sorted({(one.dataset, one.purpose) for one in spendings}):
        of_answers = dataset.startswith(ANSWERS)
        limit = aggregates.budget if of_answers else privacy.budget
        mine = [one for one in spendings if (one.dataset, one.purpose) == (dataset, purpose)]
        spent = total(mine, 1.0 if of_answers else privacy.budget_delta)
        of = {"dataset": dataset, "purpose": purpose}
        yield _level("casemate_epsilon_spent", now, spent, **of)
        yield _level("casemate_epsilon_left", now, max(limit - spent, 0.0), **of)
        if spent >= project.config.watch.budget_share * limit:
            text = f"epsilon {spent:.3g} of {limit:g} is spent of {dataset!r} for {purpose!r}"
            hint = "the privacy officer: casemate privacy budget shows who spent what"
            yield _cause("budget-spent", text, hint, dataset=dataset, purpose=purpose)


def _outbox(project: Wiring, now: datetime.datetime) -> Iterator[Sample | Cause]:
    for state in ("pending", "dead"):
        messages = project.outbox.messages(state)
        yield _level("casemate_outbox_messages", now, len(messages), state=state)
        if state == "dead" and messages:
            text = f"{len(messages)} messages could not be delivered: {messages[-1]['error']}"
            hint = "an operator: casemate outbox list, then casemate outbox retry"
            yield _cause("outbox-dead", text, hint)


def _models(project: Wiring, now: datetime.datetime) -> Iterator[Sample | Cause]:
    created = {model.reference: model.created for model in project.registry.list()}
    days = project.config.watch.model_days
    for released in project.rollouts.all():
        if released.part != "live" or released.reference not in created:
            continue
        since = datetime.datetime.fromisoformat(created[released.reference])
        age = (now - since).total_seconds()
        yield _level("casemate_model_age_seconds", now, age, model=released.reference)
        if days is not None and age >= days * DAY:
            text = f"{released.reference} was trained {age / DAY:.0f} days ago"
            hint = "train it anew: casemate run, then casemate model promote"
            yield _cause("model-old", text, hint, model=released.reference)


def _runs(project: Wiring, now: datetime.datetime) -> Iterator[Sample | Cause]:
    runs = project.engine.runs()
    ended = [run for run in runs if run.ended is not None]
    if not ended:
        return
    newest = ended[0]
    since = now - datetime.datetime.fromisoformat(str(newest.ended))
    yield _level("casemate_run_age_seconds", now, since.total_seconds())
    if newest.state == "failed":
        text = f"the run {newest.id} failed: {(newest.error or '')[:200]}"
        yield _cause("run-failed", text, "casemate runs show, then casemate run again")


def _trackers(project: Wiring, _: datetime.datetime) -> Iterator[Sample | Cause]:
    with project.database.reading() as tx:
        faults = followed.faults(tx)
    for name, one in faults.items():
        if one.tries >= PERSISTENT and name in project.config.trackers:
            text = f"tickets of {name} are not read since {one.since[:19]}Z: {one.text}"
            hint = f"an operator: casemate tracker check {name}, then casemate tracker read"
            yield _cause("tracker-away", text, hint, tracker=name)


def _sinks(project: Wiring, now: datetime.datetime) -> Iterator[Sample | Cause]:
    for one in sinks.standing(project):
        yield _level("casemate_sink_waiting", now, one.waiting, sink=one.sink)
        yield _level("casemate_sink_refused", now, one.refused + one.diverted, sink=one.sink)
        yield _level("casemate_sink_dropped", now, one.dropped, sink=one.sink)
        hint = "an operator: casemate sinks status, then casemate sinks check"
        if one.failures:
            text = f"{one.waiting} lines wait for the sink {one.sink}: {one.error}"
            yield _cause("sink-away", text, hint, sink=one.sink)
        if _is_fresh(one.spoiled, now):
            text = (
                f"the sink {one.sink} has refused {one.refused} lines so far, and put"
                f" {one.diverted} aside"
            )
            yield _cause("sink-refused", text, hint, sink=one.sink)
        if _is_fresh(one.lost, now):
            text = f"the spool was full: {one.dropped} lines never went to the sink {one.sink}"
            more = "mend the sink, or raise [spool] max_megabytes; the log itself is whole"
            yield _cause("sink-dropped", text, more, page=True, sink=one.sink)


def _findings(project: Wiring, _: datetime.datetime) -> Iterator[Sample | Cause]:
    for one in offindings.overdue(project):
        text = f"{told(one)}: it was to be mended by {one.due}"
        hint = f"{one.owner}: mend it, or an approver: casemate scan waive"
        yield _cause("finding-overdue", text, hint, page=True, **offindings.labels(one))


def _scans(project: Wiring, now: datetime.datetime) -> Iterator[Sample | Cause]:
    late = lateness.late(project, now)
    if late:
        hint = "an operator: casemate scan all, and see why whoever was to start it did not"
        yield _cause("scan-late", "; ".join(late), hint, page=True)


def _is_fresh(time: str | None, now: datetime.datetime) -> bool:
    """Whether something that was counted happened within a day: later it is old news."""
    if time is None:
        return False
    return (now - datetime.datetime.fromisoformat(time)).total_seconds() < DAY


LOOKERS: dict[str, tuple[Looker, tuple[str, ...]]] = {
    "disk": (_disk, ("disk-full",)),
    "keys": (_keys, ("key-overdue",)),
    "certificates": (_certificates, ("certificate-ends",)),
    "privacy budgets": (_budgets, ("budget-spent",)),
    "outbox": (_outbox, ("outbox-dead",)),
    "models": (_models, ("model-old",)),
    "runs": (_runs, ("run-failed",)),
    "trackers": (_trackers, ("tracker-away",)),
    "findings": (_findings, ("finding-overdue",)),
    "scans": (_scans, ("scan-late",)),
    "sinks": (_sinks, ("sink-away", "sink-refused", "sink-dropped")),
}
"""What is looked at -> by whom, and which causes may be found."""
