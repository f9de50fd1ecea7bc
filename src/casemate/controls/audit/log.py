"""Appending to the log: entries commit with the caller's own transaction, tiles and checkpoint follow.

A leaf holds only a salted commitment, SHA-256(salt || body); the body lies beside it in the catalogue. The tree's
compact range is a catalogue row too, so several processes may append. What a crash leaves unpublished is published by
the next append or by `publish()`.
"""

import os
import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from casemate.controls.audit import tiles
from casemate.controls.audit.checkpoint import CheckpointSigner
from casemate.controls.audit.merkle import Frontier, leaf_hash
from casemate.controls.audit.verify import VerifiedLog, verify_log
from casemate.core.clock import Clock
from casemate.core.digest import sha256
from casemate.core.errors import BackendError, VerificationError
from casemate.core.files import exclusive_wait, make_folder, write_atomic
from casemate.core.store import METADATA, Store, decode
from casemate.core.types import Record

ENTRIES = sa.Table(
    "audit_entry",
    METADATA,
    sa.Column("index", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("salt", sa.LargeBinary, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("leaf", sa.LargeBinary, nullable=False),
)
HEAD = sa.Table(
    "audit_head",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("roots", sa.LargeBinary, nullable=False),
)
MAX_BODY = 32 * 1024
_INSERT = 'INSERT INTO audit_entry ("index", salt, body, leaf) VALUES (?, ?, ?, ?)'


class Entry(Record, frozen=True, kw_only=True):
    """One action or decision."""

    index: int
    """Position in the log, from 0."""
    time: str
    """When, RFC 3339 in UTC."""
    principal: str
    """Who, such as `User::"ana"`."""
    action: str
    """What, such as `run:start`."""
    resource: str
    """On what."""
    outcome: str
    """`done`, `allowed`, `denied`, `refused`, `failed`."""
    detail: dict[str, Any]
    """Digests, names and reasons; never values of rows."""


def leaf_entry(salt: bytes, body: bytes) -> bytes:
    """The public bytes of an entry: a commitment that reveals nothing about `body`."""
    return b'{"commitment":"' + sha256(salt + body).encode() + b'","v":1}'


def _intact(row: tuple[bytes, bytes, bytes]) -> bytes:
    salt, body, leaf = row
    entry = leaf_entry(salt, body)
    if leaf_hash(entry) != leaf:
        raise VerificationError("an audit entry in the catalogue was changed after it was written", hint="restore the catalogue from a backup")
    return entry


class AuditLog:
    """The writing side of a project's log."""

    def __init__(self, folder: Path, store: Store, signer: CheckpointSigner, clock: Clock) -> None:
        self.folder = folder
        self.store = store
        self.signer = signer
        self.clock = clock

    def create(self, tx: sa.Connection) -> None:
        """Start an empty log."""
        tx.execute(HEAD.insert().values(id=1, size=0, roots=b""))

    def append(self, tx: sa.Connection, principal: str, action: str, resource: str, outcome: str, detail: dict[str, Any]) -> int:
        """Append within the caller's transaction; call `publish` after it committed. Returns the entry's index."""
        return self.append_many(tx, [(principal, action, resource, outcome, detail)])[0]

    def append_many(self, tx: sa.Connection, entries: list[tuple[str, str, str, str, dict[str, Any]]]) -> list[int]:
        """Append several entries (principal, action, resource, outcome, detail) at once."""
        row = tx.execute(sa.select(HEAD.c.size, HEAD.c.roots)).one()
        frontier = Frontier(row.size, tiles.split_hashes(row.roots))
        now = self.clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        rows, indexes = [], []
        for principal, action, resource, outcome, detail in entries:
            entry = Entry(
                index=frontier.size,
                time=now,
                principal=principal,
                action=action,
                resource=resource,
                outcome=outcome,
                detail=detail,
            )
            body = msgspec.json.encode(entry, order="deterministic")
            if len(body) > MAX_BODY:
                raise BackendError("an audit entry is larger than 32 KiB", hint="report this as a defect")
            salt = os.urandom(16)
            leaf = leaf_hash(leaf_entry(salt, body))
            rows.append((frontier.size, salt, body, leaf))
            indexes.append(frontier.size)
            frontier.append(leaf)
        tx.exec_driver_sql(_INSERT, rows)
        tx.execute(HEAD.update().values(size=frontier.size, roots=b"".join(frontier.roots)))
        return indexes

    def record(self, principal: str, action: str, resource: str, outcome: str, **detail: Any) -> int:
        """Append one entry in a transaction of its own and publish."""
        with self.store.transaction() as tx:
            index = self.append(tx, principal, action, resource, outcome, detail)
        self.publish()
        return index

    def publish(self) -> None:
        """Derive tiles and checkpoint from the committed entries; idempotent and safe across processes."""
        make_folder(self.folder)
        with exclusive_wait(self.folder / ".lock"):
            with self.store.reading() as tx:
                row = tx.execute(sa.select(HEAD.c.size, HEAD.c.roots)).one()
                published = self._published_size()
                if row.size == published:
                    return
                self._write_tiles(tx, max(published, 0), row.size)
            root = Frontier(row.size, tiles.split_hashes(row.roots)).root()
            write_atomic(self.folder / "checkpoint", self.signer.sign(row.size, root), mode=0o644)
            self._drop_old(max(published, 0), row.size)

    def _published_size(self) -> int:
        try:
            return int((self.folder / "checkpoint").read_text().split("\n")[1])
        except (FileNotFoundError, IndexError, ValueError):
            return -1  # an empty log has a checkpoint too

    def _write_tiles(self, tx: sa.Connection, old: int, new: int) -> None:
        level, below_old, below_new = 0, old, new
        while below_new:
            for number in range(below_old // tiles.WIDTH, -(-below_new // tiles.WIDTH)):
                width = min(tiles.WIDTH, below_new - number * tiles.WIDTH)
                if level == 0:
                    rows = self._rows(tx, number * tiles.WIDTH, width)
                    entries = tiles.bundle([_intact(row) for row in rows])
                    tiles.write_level(self.folder, "entries", number, entries, width)
                    hashes = [leaf for _, _, leaf in rows]
                else:
                    hashes = [self._full_root(level - 1, number * tiles.WIDTH + child) for child in range(width)]
                tiles.write_level(self.folder, level, number, b"".join(hashes), width)
            level, below_old, below_new = level + 1, below_old // tiles.WIDTH, below_new // tiles.WIDTH

    def _drop_old(self, old: int, new: int) -> None:
        level = 0
        while new:
            number = old // tiles.WIDTH
            width = min(tiles.WIDTH, new - number * tiles.WIDTH)
            for name in (level, "entries") if level == 0 else (level,):
                tiles.drop_partials(self.folder, name, number, width)
            level, old, new = level + 1, old // tiles.WIDTH, new // tiles.WIDTH

    def _full_root(self, level: int, number: int) -> bytes:
        return tiles.tile_root(tiles.split_hashes((self.folder / tiles.tile_path(level, number)).read_bytes()))

    @staticmethod
    def _rows(tx: sa.Connection, start: int, count: int) -> list[tuple[bytes, bytes, bytes]]:
        query = 'SELECT salt, body, leaf FROM audit_entry WHERE "index" >= ? AND "index" < ? ORDER BY "index"'
        return [(row[0], row[1], row[2]) for row in tx.exec_driver_sql(query, (start, start + count))]

    def check(self) -> VerifiedLog:
        """Verify the published log and every body in the catalogue against it; VerificationError when one differs."""
        self.publish()
        with exclusive_wait(self.folder / ".lock"):  # a gateway may publish meanwhile and drop partial tiles
            log = verify_log(self.folder, self.signer.vkeys)
        count = 0
        for index, leaf in self.commitments():
            if index >= log.checkpoint.size:
                break  # appended since
            if leaf != log.leaves[index]:
                raise VerificationError(
                    f"the catalogue's body of entry {index} is not what the log committed to", hint="restore the catalogue from a backup"
                )
            count += 1
        if count != log.checkpoint.size:
            raise VerificationError(f"the catalogue holds {count} entries, the log {log.checkpoint.size}", hint="restore the catalogue from a backup")
        return log

    def entries(self, start: int = 0) -> Iterator[Entry]:
        """The entries from `start` on, oldest first."""
        while True:
            with self.store.reading() as tx:
                rows = self._rows(tx, start, 4 * tiles.WIDTH)
            if not rows:
                return
            for _, body, _ in rows:
                yield decode(body, Entry)
            start += len(rows)

    def commitments(self) -> Iterator[tuple[int, bytes]]:
        """(index, leaf hash recomputed from salt and body) of every entry, to compare with the tiles."""
        start = 0
        while True:
            with self.store.reading() as tx:
                rows = self._rows(tx, start, 4 * tiles.WIDTH)
            if not rows:
                return
            for offset, (salt, body, _) in enumerate(rows):
                yield start + offset, leaf_hash(leaf_entry(salt, body))
            start += len(rows)


class GroupCommit:
    """Appends from many threads in few transactions: an append is acknowledged only when it is durable."""

    MAX_GROUP = 512
    PUBLISH_SECONDS = 1.0

    def __init__(self, log: AuditLog) -> None:
        self.log = log
        self.fault: Exception | None = None
        self._queue: queue.SimpleQueue[tuple[tuple[str, str, str, str, dict[str, Any]], Future[int]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._drain, name="casemate-audit", daemon=True)
        self._thread.start()

    def append(self, principal: str, action: str, resource: str, outcome: str, detail: dict[str, Any]) -> Future[int]:
        """Queue an entry; the future resolves to its index once durable, or to the fault."""
        future: Future[int] = Future()
        self._queue.put(((principal, action, resource, outcome, detail), future))
        return future

    def close(self) -> None:
        """Write what is queued and stop."""
        self._queue.put(None)
        self._thread.join()

    def _drain(self) -> None:
        open_, published = True, time.monotonic()
        while open_:
            group = [self._queue.get()]
            while len(group) < self.MAX_GROUP and not self._queue.empty():
                group.append(self._queue.get())
            queued = [item for item in group if item is not None]
            open_ = len(queued) == len(group)
            # A caller that gave up still gets its entry written; its future takes no answer any more.
            waiting = [(entry, future if future.set_running_or_notify_cancel() else Future()) for entry, future in queued]
            if waiting:
                self._commit(waiting)
            late = time.monotonic() - published > self.PUBLISH_SECONDS
            if self.fault is None and (not open_ or late or self._queue.empty()):
                self._publish()
                published = time.monotonic()

    def _publish(self) -> None:
        try:
            self.log.publish()
        except Exception as error:  # noqa: BLE001 - the thread has no caller: every later append raises this fault
            self.fault = error

    def _commit(self, waiting: list[tuple[tuple[str, str, str, str, dict[str, Any]], Future[int]]]) -> None:
        try:
            if self.fault is not None:
                raise self.fault
            with self.log.store.transaction() as tx:
                indexes = self.log.append_many(tx, [entry for entry, _ in waiting])
        except Exception as error:  # noqa: BLE001 - every waiter must learn that its entry is not durable
            for _, future in waiting:
                future.set_exception(error)
            return
        for (_, future), index in zip(waiting, indexes, strict=True):
            future.set_result(index)
