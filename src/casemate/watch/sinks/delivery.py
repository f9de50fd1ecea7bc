"""From the spool to the sinks: each as far as it takes, none waiting for another one."""

import contextlib
import datetime
import os
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec

from casemate.core.clock import Clock
from casemate.core.errors import BusyError, Error, from_os_error
from casemate.core.files import fsync_folder, make_folder
from casemate.core.text import clean
from casemate.core.types import Record
from casemate.watch.sinks.entries import Batch, Cursor, Letter
from casemate.watch.sinks.interface import (
    Item,
    NotTaken,
    Refusal,
    Sender,
    Sent,
    SinkAway,
    reason_of,
)
from casemate.watch.sinks.spool import DEAD, End, Spool

MOST_ITEMS = 1_000
"""Of a batch: one request of some hundred kilobytes."""
MOST_SECONDS = 10.0
"""That one sink is sent to in a look: a watcher has other things to look at."""
MOST_PAUSE = 900.0
"""Seconds between two tries at most, so that a receiver that is back is noticed."""
MOST_ASKED = 3600.0
"""Seconds of a receiver's Retry-After that are obeyed."""
MOST_REQUESTS = 200
"""For finding out which items of a batch are refused: ten for the first of a thousand, two for each
further one."""
MOST_DEAD = 4 * 2**20
"""Bytes of a dead-letter file; then it is begun anew, and one former file stays."""


class Delivery(Record, frozen=True, kw_only=True):
    """What became of one sink."""

    sink: str
    accepted: int = 0
    refused: int = 0
    diverted: int = 0
    error: str = ""
    """Why it went no further; empty: everything was sent, or its time was over."""
    due: str | None = None
    """Not tried again before, ISO 8601."""


@dataclass(frozen=True)
class Route:
    """A sink with what it hears."""

    name: str
    sender: Sender
    wanted: frozenset[str]
    """`gauges`, and data sets of log lines."""


@dataclass(frozen=True)
class Manner:
    """How it is sent."""

    clock: Clock
    backoff: float = 5.0
    """Seconds before the second try; doubled each time."""
    now: bool = False
    """Also to those that are waited for."""
    seconds: float = MOST_SECONDS
    """That one sink is sent to at once."""


def send_all(spool: Spool, routes: Sequence[Route], manner: Manner) -> list[Delivery]:
    """Send what waits, to all sinks at once; what goes wrong with one is in its `Delivery`.

    Args:
        spool: what waits.
        routes: the sinks.
        manner: how.

    Raises:
        BackendError: the spool cannot be read or written.
    """
    if not routes:
        return []
    end = spool.end()
    spool.account(manner.clock.now().isoformat(timespec="seconds"))
    with ThreadPoolExecutor(len(routes), thread_name_prefix="sink") as pool:
        done = list(pool.map(lambda route: _deliver(spool, route, end, manner), routes))
    spool.trim()
    return done


def _deliver(spool: Spool, route: Route, end: End, manner: Manner) -> Delivery:
    try:
        cursor = spool.cursor(route.name)
        if not manner.now and not _is_due(cursor, manner.clock.now()):
            return Delivery(sink=route.name, error=cursor.error, due=cursor.due)
        with spool.reading(route.name):
            return _drain(spool, route, end, manner)
    except BusyError:
        return Delivery(sink=route.name, error="another process sends to it just now")
    except (Error, OSError) as error:
        fault = error if isinstance(error, Error) else from_os_error(error)
        return Delivery(sink=route.name, error=fault.message)


def _drain(spool: Spool, route: Route, end: End, manner: Manner) -> Delivery:
    before = spool.cursor(route.name)
    until = time.monotonic() + manner.seconds
    while True:
        batch = spool.batch(route.name, end, route.wanted, MOST_ITEMS)
        if _place(batch.behind) == _place(batch.start):
            break
        fault = _settle(spool, route, batch, manner)
        if fault or time.monotonic() > until:
            break
    after = spool.cursor(route.name)
    return Delivery(
        sink=route.name,
        accepted=after.accepted - before.accepted,
        refused=after.refused - before.refused,
        diverted=after.diverted - before.diverted,
        error=after.error,
        due=after.due,
    )


def _place(cursor: Cursor) -> tuple[int, int]:
    return cursor.segment, cursor.offset


def _settle(spool: Spool, route: Route, batch: Batch, manner: Manner) -> bool:
    """Send one batch and remember how far it came; whether something went wrong."""
    now = manner.clock.now()
    fault: Error | None = None
    sent = Sent(accepted=0)
    if batch.items:
        try:
            sent = deliver(route.sender, batch.items)
        except Error as error:
            fault = error
            sent = Sent(accepted=0, left=len(batch.items))
    if sent.left and fault is None:
        fault = SinkAway(sent.why)
    cursor = _behind(batch, sent)
    damaged = [one for offset, one in batch.damaged if not sent.left or offset <= cursor.offset]
    refused = [*sent.refused, *damaged]
    _bury(spool.folder / DEAD, route.name, refused, now)
    time_ = now.isoformat(timespec="seconds")
    cursor = msgspec.structs.replace(
        cursor,
        accepted=cursor.accepted + sent.accepted,
        refused=cursor.refused + len(refused),
        diverted=cursor.diverted + sent.diverted,
        sent=time_ if sent.accepted else cursor.sent,
        spoiled=time_ if refused or sent.diverted else cursor.spoiled,
        lost=time_ if cursor.dropped > spool.kept(route.name).dropped else cursor.lost,
    )
    spool.keep(route.name, _told(cursor, fault, manner, now))
    return fault is not None


def _behind(batch: Batch, sent: Sent) -> Cursor:
    """The cursor behind what is settled. It follows from where the batch was read, wherever the
    spool begins by now: what was sent is not lost.
    """
    settled = len(batch.items) - sent.left
    if not sent.left:
        behind = batch.behind
        place = {"segment": behind.segment, "offset": behind.offset, "line": behind.line}
    elif settled:
        offset, line = batch.ends[settled - 1]
        place = {"offset": offset, "line": line}
    else:
        return batch.start
    return msgspec.structs.replace(batch.start, **place)


def _told(cursor: Cursor, fault: Error | None, manner: Manner, now: datetime.datetime) -> Cursor:
    """With what went wrong, and when it is tried again."""
    if fault is None:
        return msgspec.structs.replace(cursor, failures=0, error="", due=None)
    # half of the pause by chance, so that senders of many projects do not come back at once
    pause = min(MOST_PAUSE, manner.backoff * 2.0 ** min(cursor.failures, 20))
    pause *= 0.5 + random.random() / 2  # noqa: S311 - no secret
    asked = min(fault.after, MOST_ASKED) if isinstance(fault, SinkAway) else 0.0
    due = now + datetime.timedelta(seconds=max(pause, asked))
    text = f"{fault.code}: {fault.message}" + (f" ({fault.hint})" if fault.hint else "")
    return msgspec.structs.replace(
        cursor, failures=cursor.failures + 1, error=clean(text, 1000), due=due.isoformat()
    )


def _is_due(cursor: Cursor, now: datetime.datetime) -> bool:
    if cursor.due is None:
        return True
    left = (datetime.datetime.fromisoformat(cursor.due) - now).total_seconds()
    return left <= 0 or left > MOST_ASKED  # a clock that was set back


def deliver(sender: Sender, batch: Sequence[Item]) -> Sent:
    """Send a batch; where its request is refused as a whole, find out for which items.

    An item is given up only if the receiver takes another one: one that refuses everything is not
    set up right, and nothing is lost for that.

    Raises:
        SinkAway: see `Sender.send`. NotTaken: not one of the items that it was asked about is
            taken.
    """
    try:
        sent = sender.send(batch)
    except NotTaken as error:
        halving = _Halving(sender)
        sent = halving.send(batch)
        if not sent.accepted + sent.diverted and not halving.takes_last(batch):
            hint = "nothing is lost; see the receiver's log and [sinks]"
            raise NotTaken(f"it takes none of them: {error.message}", hint=hint) from error
    raws = {item.id: item.raw.decode() for item in batch}
    refused = [msgspec.structs.replace(one, raw=raws.get(one.id, "")) for one in sent.refused]
    return msgspec.structs.replace(sent, refused=refused)


class _Halving:
    """Sends halves of a batch, and halves of those, until every part is taken or a single item."""

    def __init__(self, sender: Sender) -> None:
        self.sender = sender
        self.requests = 0

    def send(self, batch: Sequence[Item]) -> Sent:
        """See `deliver`."""
        middle = len(batch) // 2
        first = self._part(batch[:middle]) if middle else Sent(accepted=0)
        if first.left:
            return msgspec.structs.replace(first, left=first.left + len(batch) - middle)
        second = self._part(batch[middle:])
        return Sent(
            accepted=first.accepted + second.accepted,
            refused=[*first.refused, *second.refused],
            diverted=first.diverted + second.diverted,
            left=second.left,
            why=second.why,
        )

    def takes_last(self, batch: Sequence[Item]) -> bool:
        """Whether the requests ran out at refused items, and the receiver takes the last item: then
        it is those items that it refuses, and it will be sent the last one again with the rest.

        Raises:
            SinkAway: see `Sender.send`.
        """
        if self.requests <= MOST_REQUESTS:
            return False
        try:
            sent = self.sender.send(batch[-1:])
        except NotTaken:
            return False
        return bool(sent.accepted + sent.diverted)

    def _part(self, batch: Sequence[Item]) -> Sent:
        self.requests += 1
        if self.requests > MOST_REQUESTS:
            why = f"it refuses more of {MOST_ITEMS} lines than can be found out at once"
            return Sent(accepted=0, left=len(batch), why=why)
        try:
            return self.sender.send(batch)
        except SinkAway as error:
            return Sent(accepted=0, left=len(batch), why=error.message)
        except NotTaken as error:
            if len(batch) > 1:
                return self.send(batch)
            return Sent(
                accepted=0, refused=[Refusal(id=batch[0].id, reason=reason_of(error.message))]
            )


def _bury(folder: Path, name: str, refused: Sequence[Refusal], now: datetime.datetime) -> None:
    """Keep what a receiver will never take, with its words."""
    if not refused:
        return
    make_folder(folder)
    path = folder / f"{name}.jsonl"
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > MOST_DEAD:
            os.replace(path, folder / f"{name}.1.jsonl")
    is_new = not path.exists()
    with path.open("ab+") as file:
        end = file.seek(0, os.SEEK_END)
        if end and os.pread(file.fileno(), 1, end - 1) != b"\n":  # whoever wrote it was killed
            file.write(b"\n")
        for one in refused:
            letter = Letter(time=now.isoformat(timespec="seconds"), **msgspec.structs.asdict(one))
            file.write(msgspec.json.encode(letter) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        fsync_folder(folder)
