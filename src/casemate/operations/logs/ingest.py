"""Where new lines appear: entries of the audit log and what the gateway's processes wrote, read on
from where the last reading ended.

A batch is read at least once and added exactly once. The spool of the sinks keeps for itself how
far it was fed: a store that takes nothing keeps no line from a sink and repeats none.
"""

import itertools
from collections.abc import Iterator
from importlib.util import find_spec

from msgspec.structs import replace

from casemate.core.types import Record
from casemate.operations.retention import held_names
from casemate.operations.sinks import forget_former, spool_of
from casemate.watch.logs import incoming
from casemate.watch.logs.entries import of_entry
from casemate.watch.logs.line import LogLine
from casemate.watch.logs.store import FOLDER, LogStore, Positions
from casemate.wiring import Wiring, log_origin

BATCH = 20_000
"""Lines that are added together: fewer cost a commit more often, more are more in memory."""
ROUNDS = 10
"""How often files are read again that have grown meanwhile: what comes later waits for the next
reading.
"""
DROP = "logs:drop"
"""Action of an entry that says which days were forgotten."""


class Batch(Record, frozen=True, kw_only=True):
    """Lines that were read together."""

    lines: list[LogLine]
    positions: Positions
    """How far the sources are read once these are added."""


class Ingested(Record, frozen=True, kw_only=True):
    """What one reading of the sources came to."""

    lines: int
    """That were new."""
    garbage: int
    """That were no lines."""
    days: list[str]
    """That were forgotten."""


def store_of(project: Wiring) -> LogStore:
    """The log store of a project."""
    table = project.config.logs
    return LogStore(project.state / FOLDER, project.clock, table.days, table.max_megabytes)


def is_there() -> bool:
    """Whether this Python has what the store needs."""
    return find_spec("tantivy") is not None


def new_lines(project: Wiring, store: LogStore, since: Positions | None = None) -> Iterator[Batch]:
    """Lines that were not read yet, in batches.

    Args:
        project: whose log.
        store: knows how far each source was read; it is not changed.
        since: from where instead.
    """
    positions = store.positions() if since is None else since
    origin, oldest = log_origin(project.config.project.id), store.oldest()
    if positions.entry:
        last = next(project.log.entries(positions.entry - 1), None)
        if last is None or of_entry(last, origin).id != positions.last:
            # the log was restored from a backup and went on otherwise: ids tell what is known
            positions = replace(positions, entry=0)
    entries = project.log.entries(positions.entry)
    while some := list(itertools.islice(entries, BATCH)):
        last_id = of_entry(some[-1], origin).id
        positions = replace(positions, entry=some[-1].index + 1, last=last_id)
        lines = [of_entry(entry, origin) for entry in some if entry.time[:10] >= oldest]
        yield Batch(lines=lines, positions=positions)
    for path in incoming.waiting(store.incoming):
        start = positions.files.get(path.name, 0)
        for lines, end, garbage in incoming.read(path, start):
            positions = replace(
                positions,
                files={**positions.files, path.name: end},
                garbage=positions.garbage + garbage,
                old=positions.old + sum(line.time[:10] < oldest for line in lines),
            )
            yield Batch(lines=lines, positions=positions)


def _feed(project: Wiring, store: LogStore) -> Positions | None:
    """Give the spool what is new to it; how far the sources are read then, None: there is no sink.
    Whoever dies between the two sends a batch twice, under the same ids.
    """
    forget_former(project)
    if not project.config.sinks:
        return None
    spool = spool_of(project)
    fed = spool.fed()
    if fed is None:  # a first sink hears what comes from now on
        fed = store.positions()
        spool.keep_fed(fed)
    for batch in new_lines(project, store, fed):
        spool.append(batch.lines)
        fed = batch.positions
        spool.keep_fed(fed)
    return fed


def _covers(fed: Positions, wanted: Positions) -> bool:
    """Whether the spool was fed at least so far."""
    files = wanted.files.items()
    return fed.entry >= wanted.entry and all(fed.files.get(name, 0) >= end for name, end in files)


def _of(positions: Positions, names: set[str]) -> Positions:
    """The same without files that are gone."""
    files = {name: end for name, end in positions.files.items() if name in names}
    return replace(positions, files=files)


def ingest(project: Wiring, store: LogStore, *, forced: bool = False) -> Ingested:
    """Add what is new, forget what is too old and not held; the caller holds `store.writing`.

    Args:
        project: whose log.
        store: its store.
        forced: remove what came in also where its last line has no end.

    Raises:
        BackendError: the disk is full, the store or the spool damaged, or one day larger than all
            may be; sinks get their lines even so.
    """
    fed = _feed(project, store)
    store.require_room()
    touched: set[str] = set()
    positions, count = store.positions(), 0
    before = positions.garbage
    for _ in range(ROUNDS):
        for batch in new_lines(project, store):
            if fed is not None and not _covers(fed, batch.positions):
                # they came just now: none goes, or is erased, before the spool has it
                fed = _feed(project, store)
            fresh = store.add(batch.lines)
            count += len(fresh)
            touched.update(line.time[:10] for line in fresh)
            positions = batch.positions
            store.keep(positions)
        removed = [
            incoming.remove(path, positions.files.get(path.name, 0), forced=forced)
            for path in incoming.waiting(store.incoming)
        ]
        if all(removed):
            break
    left = {path.name for path in incoming.waiting(store.incoming)}
    if fed is not None and not fed.files.keys() <= left:
        spool_of(project).keep_fed(_of(fed, left))
    store.keep(replace(_of(positions, left), clock=store.reading()))
    store.settle(touched)
    dropped = [] if "logs" in held_names(project) else store.forget()
    for one in dropped:
        about = f'Project::"{project.config.project.id}"'
        detail = {"days": one.days, "megabytes": one.megabytes, "reason": one.why}
        project.log.record("casemate", DROP, about, "done", **detail)
    days = [day for one in dropped for day in one.days]
    return Ingested(lines=count, garbage=positions.garbage - before, days=days)
