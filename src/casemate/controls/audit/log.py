"""Appending to the log: entries commit with the caller's own transaction, tiles and checkpoint
follow.

A leaf holds only a salted commitment, SHA-256(salt || body); salt and body lie sealed beside it in
the catalogue. The tree's compact range is a catalogue row too, so several processes may append.
What a crash leaves unpublished is published by the next append or by `publish()`.
"""

import base64
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from casemate.controls.audit import tiles
from casemate.controls.audit.bodies import Bodies
from casemate.controls.audit.checkpoint import CheckpointSigner
from casemate.controls.audit.entries import ADD, ENTRIES, HEAD, MOVE_HEAD, NEWEST, READ_HEAD
from casemate.controls.audit.entry import SALT_SIZE, leaf_entry
from casemate.controls.audit.merkle import Frontier, inclusion_proof, leaf_hash
from casemate.controls.audit.proof import write_proof
from casemate.controls.audit.published import Published
from casemate.controls.audit.verify import VerifiedLog, verify_log
from casemate.controls.keys.subjects import SubjectKeys
from casemate.core.clock import Clock
from casemate.core.entry import Entry
from casemate.core.errors import BackendError, ConfigError, VerificationError
from casemate.core.files import exclusive_wait, make_folder, write_atomic
from casemate.core.store import Store, decode
from casemate.core.store.rowcontent import EMPTY_ROOT as EMPTY_ROWS

MAX_BODY = 32 * 1024
"""Bytes of one entry. A judgement: none makes reading the log dear."""
BATCH = 4 * tiles.WIDTH
AT_ONCE = 500  # of one statement: SQLite takes 999 parameters
ERASED = "(erased)"


class AuditLog:
    """The writing side of a project's log."""

    def __init__(
        self,
        folder: Path,
        store: Store,
        signer: CheckpointSigner,
        clock: Clock,
        bodies: Bodies,
        subjects: SubjectKeys,
    ) -> None:
        self.folder = folder
        self.store = store
        self.signer = signer
        self.clock = clock
        self.bodies = bodies
        self.subjects = subjects

    def create(self, tx: sa.Connection) -> None:
        """Start an empty log."""
        self.bodies.add_key(tx)
        tx.execute(HEAD.insert().values(id=1, size=0, roots=b"", rows=EMPTY_ROWS))

    def append(
        self,
        tx: sa.Connection,
        principal: str,
        action: str,
        resource: str,
        outcome: str,
        detail: dict[str, Any],
        *,
        subject: str | None = None,
        personal: dict[str, Any] | None = None,
    ) -> int:
        """Append within the caller's transaction; call `publish` after it committed. Returns the
        entry's index.

        Args:
            tx: a write transaction.
            principal: who.
            action: what.
            resource: on what.
            outcome: how it ended.
            detail: digests, names and reasons.
            subject: the person whom `personal` is about; their key seals it, and `shred` makes it
                unreadable.
            personal: what must be erasable later.
        """
        if subject is not None and personal is not None:
            pseudonym, sealed = self.subjects.seal(tx, subject, msgspec.json.encode(personal))
            detail = {
                **detail,
                "personal": {"subject": pseudonym, "sealed": base64.b64encode(sealed).decode()},
            }
        return self.append_many(tx, [(principal, action, resource, outcome, detail)])[0]

    def append_many(
        self,
        tx: sa.Connection,
        entries: list[tuple[str, str, str, str, dict[str, Any]]],
        row_root: str | None = None,
    ) -> list[int]:
        """Append several entries (principal, action, resource, outcome, detail) at once; they state
        the catalogue's row root as of now.
        """
        row_root = row_root or self.store.row_digests.settle(tx)
        frontier, stated = self._head(tx)
        row_root = row_root or stated
        first = frontier.size
        now = self.clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        rows, leaves = [], []
        for index, (principal, action, resource, outcome, detail) in enumerate(entries, first):
            entry = Entry(
                index=index,
                time=now,
                principal=principal,
                action=action,
                resource=resource,
                outcome=outcome,
                detail=detail,
                rows=row_root,
            )
            body = msgspec.json.encode(entry, order="deterministic")
            if len(body) > MAX_BODY:
                raise BackendError(
                    "an audit entry is larger than 32 KiB", hint="report this as a defect"
                )
            # leaves are public, and bodies short enough to be guessed without it
            salt = os.urandom(SALT_SIZE)
            rows.append((index, salt, body))
            leaves.append(leaf_hash(leaf_entry(salt, body)))
            frontier.append(leaves[-1])
        sealed = self.bodies.seal(tx, rows)
        values = [
            {"index": first + i, "leaf": leaf, "sealed": body}
            for i, (leaf, body) in enumerate(zip(leaves, sealed, strict=True))
        ]
        ADD(tx, values)
        MOVE_HEAD(
            tx,
            [
                {
                    "new_size": frontier.size,
                    "new_roots": b"".join(frontier.roots),
                    "new_rows": row_root,
                }
            ],
        )
        return list(range(first, frontier.size))

    def _frontier(self, tx: sa.Connection) -> Frontier:
        return self._head(tx)[0]

    def row_root(self, tx: sa.Connection) -> str | None:
        """The row root that the newest entry states; None for a log that an older casemate wrote.

        Raises:
            VerificationError: the newest entry is gone or changed, or the catalogue's head says
                something else.
        """
        rows = NEWEST.rows(tx)
        if not rows or rows[0][0] == 0:
            return EMPTY_ROWS
        ((size, stated, sealed),) = rows
        if sealed is None:
            raise VerificationError(
                f"audit entry {size - 1} is gone", hint="restore the catalogue from a backup"
            )
        entry = decode(self.bodies.open(tx, size - 1, bytes(sealed))[1], Entry)
        if entry.rows != (stated or ""):
            raise VerificationError(
                "the head of the audit log was changed", hint="restore the catalogue from a backup"
            )
        return entry.rows or None

    def bind(self, tx: sa.Connection, root: str, action: str, detail: dict[str, Any]) -> None:
        """Append an entry that states the row root `root`."""
        self.append_many(tx, [("casemate", action, "Catalog", "done", detail)], root)

    def _head(self, tx: sa.Connection) -> tuple[Frontier, str]:
        rows = READ_HEAD.rows(tx)
        if not rows:
            raise BackendError(
                f"{self.store.name} was moved to another database",
                hint="set [store] url in casemate.toml, then start again",
            )
        ((size, roots, stated),) = rows
        return Frontier(size, tiles.split_hashes(roots)), stated or ""

    def record(
        self, principal: str, action: str, resource: str, outcome: str, **detail: Any
    ) -> int:
        """Append one entry in a transaction of its own and publish."""
        with self.store.transaction() as tx:
            index = self.append(tx, principal, action, resource, outcome, detail)
        self.publish()
        return index

    def publish(self, *, anew: bool = False) -> None:
        """Derive tiles and checkpoint from the committed entries; idempotent and safe across
        processes.

        Args:
            anew: derive every tile, also those that seem to be there: what `fsck --repair` does
                when some are damaged.

        Raises:
            VerificationError: the catalogue does not contain what was published; nothing is
                written.
        """
        make_folder(self.folder)
        files = Published(self.folder, self.signer)
        if anew:
            self.check_bodies()
        with exclusive_wait(self.folder / ".lock"):
            with self.store.reading() as tx:
                head = self._frontier(tx)
                published = files.head(anew=anew)
                if head.size <= published.size:
                    files.require_growth(published, head)
                    if not anew and (self.folder / "checkpoint").exists():
                        return
                files.write_tiles(
                    partial(self._opened, tx), 0 if anew else published.size, head.size
                )
            files.require_growth(published, head)
            write_atomic(
                self.folder / "checkpoint", self.signer.sign(head.size, head.root()), mode=0o644
            )
            files.drop_old(published.size, head.size)

    def _opened(
        self, tx: sa.Connection, start: int, count: int
    ) -> Iterator[tuple[int, bytes, bytes, bytes]]:
        """(index, salt, body, leaf) of entries; VerificationError when a body is not what its leaf
        commits to.
        """
        return self._where(tx, sa.and_(ENTRIES.c.index >= start, ENTRIES.c.index < start + count))

    def _where(
        self, tx: sa.Connection, these: sa.ColumnElement[bool]
    ) -> Iterator[tuple[int, bytes, bytes, bytes]]:
        for index, leaf, sealed in tx.execute(sa.select(ENTRIES).where(these).order_by("index")):
            salt, body = self.bodies.open(tx, index, sealed)
            if leaf_hash(leaf_entry(salt, body)) != leaf:
                raise VerificationError(
                    f"audit entry {index} was changed after it was written",
                    hint="restore the catalogue from a backup",
                )
            yield index, salt, body, leaf

    def check(self) -> VerifiedLog:
        """Verify the published log and every body in the catalogue against it; VerificationError
        when one differs.
        """
        self.publish()
        # a gateway may publish meanwhile and drop partial tiles
        with exclusive_wait(self.folder / ".lock"):
            log = verify_log(self.folder, self.signer.vkeys)
        count = 0
        for index, _, _, leaf in (row for rows in self._batches(0) for row in rows):
            if index >= log.checkpoint.size:
                break  # appended after the checkpoint that was verified
            if index != count or leaf != log.leaves[index]:
                raise VerificationError(
                    f"the catalogue's body of entry {index} is not what the log committed to",
                    hint="restore the catalogue from a backup",
                )
            count += 1
        if count != log.checkpoint.size:
            raise VerificationError(
                f"the catalogue holds {count} entries, the log {log.checkpoint.size}",
                hint="restore the catalogue from a backup",
            )
        return log

    def check_bodies(self) -> int:
        """Verify that the catalogue's entries add up to its own head, without the published files;
        returns their number.
        """
        frontier = Frontier()
        with self.store.reading() as tx:
            head = self._frontier(tx)
            for start in range(0, head.size, BATCH):
                for _, _, _, leaf in self._opened(tx, start, BATCH):
                    frontier.append(leaf)
        if (frontier.size, frontier.roots) != (head.size, head.roots):
            raise VerificationError(
                "the audit entries in the catalogue do not add up to its head",
                hint="restore the catalogue from a backup",
            )
        return head.size

    def _batches(self, start: int) -> Iterator[list[tuple[int, bytes, bytes, bytes]]]:
        while True:
            with self.store.reading() as tx:
                rows = list(self._opened(tx, start, BATCH))
            if not rows:
                return
            yield rows
            start = rows[-1][0] + 1

    def entries(self, start: int = 0) -> Iterator[Entry]:
        """The entries from `start` on, oldest first; personal parts are opened where their
        subject's key still exists.
        """
        for rows in self._batches(start):
            opened = [decode(body, Entry) for _, _, body, _ in rows]
            if any("personal" in entry.detail for entry in opened):
                with self.store.reading() as tx:
                    opened = [self._personal(tx, entry) for entry in opened]
            yield from opened

    def plain_entries(self, start: int = 0) -> Iterator[Entry]:
        """The same with personal parts as they are, sealed and under a pseudonym."""
        return (decode(body, Entry) for rows in self._batches(start) for _, _, body, _ in rows)

    def at(self, tx: sa.Connection, indexes: list[int]) -> list[Entry]:
        """The entries with these indexes, as far as they are there; personal parts stay sealed."""
        parts = [indexes[start : start + AT_ONCE] for start in range(0, len(indexes), AT_ONCE)]
        each = [self._where(tx, ENTRIES.c.index.in_(part)) for part in parts]
        rows = {index: body for part in each for index, _, body, _ in part}
        return [decode(rows[index], Entry) for index in indexes if index in rows]

    def _personal(self, tx: sa.Connection, entry: Entry) -> Entry:
        part = entry.detail.get("personal")
        if not isinstance(part, dict) or set(part) != {"subject", "sealed"}:
            return entry
        # The tree commits to the sealed bytes, so that erasing a person's key changes no hash.
        content = self.subjects.open(tx, part["subject"], base64.b64decode(part["sealed"]))
        opened = ERASED if content is None else msgspec.json.decode(content)
        return msgspec.structs.replace(entry, detail={**entry.detail, "personal": opened})

    def size(self) -> int:
        """How many entries are committed."""
        with self.store.reading() as tx:
            return self._frontier(tx).size

    def prove(self, index: int) -> bytes:
        """A stand-alone proof that the log's newest checkpoint commits to entry `index`; see
        `proof.verify_proof`. ConfigError: there is no such entry.
        """
        return self.proofs([index])[1][index]

    def proofs(self, indexes: list[int]) -> tuple[bytes, dict[int, bytes]]:
        """(newest checkpoint, by entry a stand-alone proof that this one commits to it), whoever
        writes meanwhile. ConfigError: there is no such entry.
        """
        self.publish()
        with exclusive_wait(self.folder / ".lock"):
            checkpoint = (self.folder / "checkpoint").read_bytes()
            size = int(checkpoint.split(b"\n")[1])
            if odd := [index for index in indexes if not 0 <= index < size]:
                hint = f"entries are numbered 0 to {size - 1}"
                raise ConfigError(f"the log has no entry {odd[0]}", hint=hint)
            nodes = tiles.nodes_of(self.folder, size)
            paths = {index: inclusion_proof(index, size, nodes) for index in indexes}
        with self.store.reading() as tx:
            opened = {index: next(self._opened(tx, index, 1))[1:3] for index in indexes}
        written = ((n, write_proof(n, *opened[n], paths[n], checkpoint)) for n in indexes)
        return checkpoint, dict(written)

    def seal_anew(self, beside: Callable[[], object] = lambda: None) -> int:
        """Seal every body under a new data key, for when the old ones may be known; returns how
        many.

        Personal parts stay under their subjects' keys: the tree commits to those bytes.

        Args:
            beside: seals what lies beside entries (`Decisions.seal_anew`), before the old keys are
                forgotten.
        """
        with self.store.transaction() as tx:
            old = [identifier for identifier, _ in self.bodies.wrapped(tx)]
            self.bodies.add_key(tx)
            size = self._frontier(tx).size
        for start in range(0, size, BATCH):
            with self.store.transaction() as tx:
                opened = self._opened(tx, start, BATCH)
                rows = [(index, salt, body) for index, salt, body, _ in opened]
                for (index, _, _), sealed in zip(rows, self.bodies.seal(tx, rows), strict=True):
                    mine = ENTRIES.c.index == index
                    tx.execute(ENTRIES.update().where(mine).values(sealed=sealed))
        # Old keys go last: a kill before this leaves every body readable by one key or the other.
        beside()
        with self.store.transaction() as tx:
            for identifier in old:
                self.bodies.remove_key(tx, identifier)
        return size

    def shred(self, principal: str, subject: str) -> str:
        """Make every personal part about `subject` unreadable; returns their pseudonym."""
        with self.store.transaction() as tx:
            pseudonym = self.subjects.shred(tx, subject)
            self.append(tx, principal, "subject:shred", f'Subject::"{pseudonym}"', "done", {})
        self.publish()
        return pseudonym
