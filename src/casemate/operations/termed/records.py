"""Kinds of records, of which those from before a day go."""

import datetime
import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import sqlalchemy as sa

from casemate.controls.audit.feedback import FEEDBACK
from casemate.controls.audit.predictions import GROUPS
from casemate.core.files import alone
from casemate.core.outbox.interface import Message
from casemate.core.outbox.queue import OUTBOX
from casemate.core.store import decode
from casemate.operations.calendar import begins, day_of
from casemate.operations.calendar import zone as zone_of
from casemate.operations.logs.ingest import is_there, store_of
from casemate.operations.termed.found import Found, Remove, Write
from casemate.watch.levels import FILE, FOLDER
from casemate.watch.telemetry import Telemetry
from casemate.wiring import Wiring

_AT_ONCE = 500


def _found(kind: str, zone: ZoneInfo, oldest: str | None, over: Iterable[bytes]) -> list[Found]:
    """One thing with a term, unless there is nothing of the kind.

    Args:
        kind: of records.
        zone: of the calendar.
        oldest: time of the oldest (ISO 8601).
        over: what each is that is over its term, in order.
    """
    if oldest is None:
        return []
    count, digest = 0, hashlib.sha256()
    for what in over:
        count += 1
        digest.update(what)
    day = day_of(oldest, zone)
    return [Found(of=kind, name=kind, day=day, count=count, digest=digest.hexdigest())]


def _rows(
    tx: sa.Connection,
    what: sa.Column[Any],
    time: sa.Column[str],
    there: sa.ColumnElement[bool],
    before: str,
) -> tuple[str | None, Iterator[Any]]:
    """(time of the oldest, what stands in a column of those before a time)."""
    oldest = tx.execute(sa.select(sa.func.min(time)).where(there)).scalar()
    query = sa.select(what).where(there, time < before).order_by(time)
    return oldest, tx.execute(query.execution_options(yield_per=_AT_ONCE)).scalars()


def _groups(
    project: Wiring, zone: ZoneInfo, cut: datetime.date, kind: str, column: sa.Column[bytes]
) -> list[Found]:
    with project.database.reading() as tx:
        oldest, over = _rows(
            *(tx, GROUPS.c.commitments, GROUPS.c.time, column.is_not(None), _time(project, cut))
        )
        return _found(kind, zone, oldest, over)


def find_predictions(project: Wiring, zone: ZoneInfo, cut: datetime.date) -> list[Found]:
    """Recorded answers; the log's commitments to them stay."""
    return _groups(project, zone, cut, "predictions", GROUPS.c.sealed)


def find_inputs(project: Wiring, zone: ZoneInfo, cut: datetime.date) -> list[Found]:
    """Rows that were kept with answers."""
    return _groups(project, zone, cut, "inputs", GROUPS.c.inputs)


def find_feedback(project: Wiring, zone: ZoneInfo, cut: datetime.date) -> list[Found]:
    """Values and notes of what people told; that they told it stays in the log."""
    there = FEEDBACK.c.sealed.is_not(None)
    with project.database.reading() as tx:
        oldest, over = _rows(tx, FEEDBACK.c.index, FEEDBACK.c.time, there, _time(project, cut))
        return _found("feedback", zone, oldest, (index.to_bytes(8, "big") for index in over))


def find_outbox(project: Wiring, zone: ZoneInfo, cut: datetime.date) -> list[Found]:
    """What messages said that were sent or given up; that there was one stays, so that none is sent
    twice.
    """
    rows, before = _messages(project), _time(project, cut)
    over = (hashlib.sha256(row.payload).digest() for row in rows if row.created < before)
    return _found("outbox", zone, rows[0].created if rows else None, over)


def _messages(project: Wiring) -> list[Any]:
    """Those that are over and still say something, the oldest first."""
    query = sa.select(OUTBOX.c.id, OUTBOX.c.created, OUTBOX.c.payload)
    query = query.where(OUTBOX.c.state != "pending").order_by(OUTBOX.c.created)
    with project.database.reading() as tx:
        return [row for row in tx.execute(query) if decode(row.payload, Message).content]


def find_logs(project: Wiring, zone: ZoneInfo, cut: datetime.date) -> list[Found]:
    """Days of the log store, which are days of UTC."""
    days = store_of(project).days() if is_there() else []
    last = begins(cut, zone).date().isoformat()
    over = (f"{name}\n".encode() for name in days if name < last)
    # the day here on which that of UTC ends
    return _found("logs", zone, f"{days[0]}T23:59:59+00:00" if days else None, over)


def find_telemetry(project: Wiring, zone: ZoneInfo, cut: datetime.date) -> list[Found]:
    """Points of the watcher's series."""
    path = project.state / FOLDER / FILE
    if not path.exists():
        return []
    with Telemetry(path) as telemetry:
        count, oldest = telemetry.before(begins(cut, zone).timestamp())
    if not oldest:
        return []
    day = datetime.datetime.fromtimestamp(oldest, zone).date()
    digest = hashlib.sha256(f"{oldest:.0f} {count}".encode()).hexdigest()
    return [Found(of="telemetry", name="telemetry", day=day, count=count, digest=digest)]


def _written(project: Wiring, write: Write) -> None:
    with project.database.transaction() as tx:
        write(tx)


def _time(project: Wiring, cut: datetime.date) -> str:
    return begins(cut, zone_of(project)).isoformat()


def remove_predictions(project: Wiring, _: str, cut: datetime.date, write: Write) -> None:
    """The sealed answers, and the rows kept with them."""
    _written(project, write)
    project.decisions.forget(_time(project, cut), _time(project, cut))


def remove_inputs(project: Wiring, _: str, cut: datetime.date, write: Write) -> None:
    """The rows alone."""
    _written(project, write)
    project.decisions.forget("", _time(project, cut))


def remove_feedback(project: Wiring, _: str, cut: datetime.date, write: Write) -> None:
    """Values and notes."""
    _written(project, write)
    project.feedback_kept.forget(_time(project, cut))


def remove_outbox(project: Wiring, _: str, cut: datetime.date, write: Write) -> None:
    """The content of messages, all of it or nothing."""
    before = _time(project, cut)
    rows = [row for row in _messages(project) if row.created < before]
    with project.database.transaction() as tx:
        write(tx)
        for row in rows:
            bare = msgspec.structs.replace(decode(row.payload, Message), content={})
            mine = OUTBOX.update().where(OUTBOX.c.id == row.id)
            tx.execute(mine.values(payload=msgspec.json.encode(bare)))


def remove_logs(project: Wiring, _: str, cut: datetime.date, write: Write) -> None:
    """Days, one after the other; each is gone at once."""
    _written(project, write)
    store = store_of(project)
    with store.writing():
        store.forget_before(_time(project, cut)[:10])


def remove_telemetry(project: Wiring, _: str, cut: datetime.date, write: Write) -> None:
    """Points, all of them or none."""
    folder = project.state / FOLDER
    with alone(folder / "lock", "removing telemetry"), Telemetry(folder / FILE) as telemetry:
        _written(project, write)
        with telemetry.transaction():
            telemetry.drop(datetime.datetime.fromisoformat(_time(project, cut)).timestamp())


FIND: dict[str, Callable[[Wiring, ZoneInfo, datetime.date], list[Found]]] = {
    "predictions": find_predictions,
    "inputs": find_inputs,
    "feedback": find_feedback,
    "outbox": find_outbox,
    "logs": find_logs,
    "telemetry": find_telemetry,
}
REMOVE: dict[str, Remove] = {
    "predictions": remove_predictions,
    "inputs": remove_inputs,
    "feedback": remove_feedback,
    "outbox": remove_outbox,
    "logs": remove_logs,
    "telemetry": remove_telemetry,
}
