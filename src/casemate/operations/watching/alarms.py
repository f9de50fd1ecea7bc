"""Alarms: what is wrong now, since when, and that it is told once when it begins and once when it
ends, whatever dies in between.
"""

import datetime
from collections.abc import Iterable
from typing import Literal

from msgspec import structs

from casemate.core.digest import sha256
from casemate.core.types import Record
from casemate.watch.telemetry import DAY, Telemetry
from casemate.wiring import Wiring

ALARM, WELL = "watch:alarm", "watch:well"
PREFIX = "alarm/"
EVERY = "*"
"""Instead of a model: all of them, or none."""
QUIET = 900.0
"""Seconds without its cause before an alarm ends, so that one which comes and goes is one."""
KEPT_DAYS = 90
"""How long alarms that have ended are remembered."""
Severity = Literal["page", "note"]


class Cause(Record, frozen=True, kw_only=True):
    """Something that is wrong, as a judge says it."""

    name: str
    """What kind, such as `disk-full`."""
    labels: dict[str, str]
    """Of what: together with the name these make it one alarm and no other."""
    severity: Severity
    """Wake somebody, or only note it."""
    text: str
    """What was seen, in a sentence."""
    hint: str = ""
    """What to do."""
    is_settled: bool = False
    """Whether it lasts until a judge says otherwise: of what is judged once in a window."""


class Alarm(Record, frozen=True, kw_only=True):
    """A cause, and how long it has been there."""

    fingerprint: str
    cause: Cause
    began: str
    """ISO 8601."""
    seen: str
    """When its cause was last there."""
    ended: str | None = None
    told: tuple[str, ...] = ()
    """What the log and the outbox have heard of it: `began`, `ended`."""

    @property
    def key(self) -> str:
        """The same for this alarm alone, also when its cause comes again."""
        return f"{self.fingerprint}/{self.began}"


def fingerprint(cause: Cause) -> str:
    """What makes two causes one: name and labels, not the words."""
    parts = [cause.name, *(f"{key}={value}" for key, value in sorted(cause.labels.items()))]
    return sha256("\n".join(parts).encode())[:16]


def update(
    telemetry: Telemetry,
    causes: Iterable[Cause],
    looked_at: set[tuple[str, str]],
    now: datetime.datetime,
) -> list[Alarm]:
    """Begin, keep and end alarms, within the caller's transaction; returns those that stand.

    Args:
        telemetry: where they are kept.
        causes: all that is wrong now.
        looked_at: (name, model or `EVERY`) of causes that this look could have found: the others
            stay as they are, because what nobody could look at is not well.
        now: the time.
    """
    standing = {}
    found = {fingerprint(cause): cause for cause in causes}
    time = now.isoformat(timespec="seconds")
    for key, cause in found.items():
        before = telemetry.kept(PREFIX + key, Alarm)
        fresh = before is None or before.ended is not None
        alarm = Alarm(
            fingerprint=key,
            cause=cause,
            began=time if fresh or before is None else before.began,
            seen=time,
            told=() if fresh or before is None else before.told,
        )
        if before is not None and fresh and "ended" not in before.told:
            standing[key] = before  # first let its end be told
            continue
        telemetry.keep(PREFIX + key, alarm)
        standing[key] = alarm
    for key, before in telemetry.all_kept(PREFIX, Alarm).items():
        if key in found:
            continue
        if before.ended is not None:
            old = now - datetime.datetime.fromisoformat(before.ended)
            if "ended" in before.told and old.total_seconds() > KEPT_DAYS * DAY:
                telemetry.forget(PREFIX + key)
            continue
        last = datetime.datetime.fromisoformat(before.seen)
        is_over = before.cause.is_settled or (now - last).total_seconds() >= QUIET
        kinds = {(before.cause.name, EVERY), (before.cause.name, before.cause.labels.get("model"))}
        if is_over and kinds & looked_at:
            telemetry.keep(PREFIX + key, structs.replace(before, ended=time))
        else:
            standing[key] = before
    return list(standing.values())


def tell(project: Wiring, telemetry: Telemetry, since: int) -> int:
    """Tell the log and the outbox what they have not heard; returns how much that was.

    The catalogue hears first, and the telemetry remembers it afterwards. Whoever dies between finds
    at the next look that the log has it.

    Args:
        project: whose log.
        telemetry: what is to be told.
        since: a log entry that is older than anything that was told and not remembered.
    """
    waiting = [
        (alarm, what)
        for alarm in telemetry.all_kept(PREFIX, Alarm).values()
        for what, is_so in (("began", True), ("ended", alarm.ended is not None))
        if is_so and what not in alarm.told
    ]
    if not waiting:
        return 0
    heard = {
        (entry.detail["key"], entry.action)
        for entry in project.log.entries(since)
        if entry.action in (ALARM, WELL)
    }
    for alarm, what in waiting:
        event = ALARM if what == "began" else WELL
        if (alarm.key, event) not in heard:
            _hear(project, alarm, event)
        with telemetry.transaction():
            now = telemetry.kept(PREFIX + alarm.fingerprint, Alarm) or alarm
            told = structs.replace(now, told=(*now.told, what))
            telemetry.keep(PREFIX + alarm.fingerprint, told)
    project.log.publish()
    return len(waiting)


def _hear(project: Wiring, alarm: Alarm, event: str) -> None:
    cause = alarm.cause
    content = {
        "key": alarm.key,
        "alarm": cause.name,
        "fingerprint": alarm.fingerprint,
        "labels": cause.labels,
        "severity": cause.severity,
        "text": cause.text,
        "hint": cause.hint,
        "began": alarm.began,
        "ended": alarm.ended,
    }
    model = cause.labels.get("model", "").partition("@")[0]
    about = f'Model::"{model}"' if model else f'Project::"{project.config.project.id}"'
    with project.database.transaction() as tx:
        outcome = "failed" if event == ALARM else "done"
        project.log.append(tx, "casemate", event, about, outcome, content)
        project.outbox.enqueue(
            tx, "watch:alarm" if event == ALARM else "watch:well", f"{alarm.key}/{event}", content
        )
