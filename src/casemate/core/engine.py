"""The step engine: a run's finished steps are kept, its next start goes on behind the last one.

A step computes its record, its evidence folder is renamed into place, and then one transaction holds the record, the
audit entry and whatever rows belong to it. A kill before that transaction leaves nothing that counts; after it the
step is never done again.
"""

import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
import sqlalchemy as sa

from casemate.core.clock import Clock
from casemate.core.digest import sha256
from casemate.core.errors import ConfigError, Error, VerificationError
from casemate.core.files import DRAFT, fsync_folder, fsync_tree, make_folder
from casemate.core.store import METADATA, Store, decode
from casemate.core.types import Record

RUNS = sa.Table(
    "run",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("inputs", sa.String, nullable=False),
    sa.Column("principal", sa.String, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("started", sa.String, nullable=False),
    sa.Column("ended", sa.String),
    sa.Column("error", sa.String),
)
STEPS = sa.Table(
    "step",
    METADATA,
    sa.Column("run", sa.String, sa.ForeignKey("run.id"), primary_key=True),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("record", sa.LargeBinary, nullable=False),
    sa.Column("digest", sa.String, nullable=False),
    sa.Column("finished", sa.String, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("inputs", sa.String, nullable=False),
)
STAGES = ("data", "train", "assess", "release")
T = TypeVar("T", bound=Record)


class Journal(Protocol):
    """Where the engine's actions are recorded; the audit log is one."""

    def append(self, tx: sa.Connection, principal: str, action: str, resource: str, outcome: str, detail: dict[str, Any]) -> int:
        """Append within the transaction."""

    def publish(self) -> None:
        """Make what was committed visible to outsiders."""


class Engine:
    """Begins and resumes runs; the caller holds the project's lock."""

    def __init__(self, store: Store, journal: Journal, clock: Clock, folder: Path) -> None:
        self.store = store
        self.journal = journal
        self.clock = clock
        self.folder = folder

    def begin(self, inputs: dict[str, str], principal: str, start: str | None = None) -> "Run":
        """The unfinished run with the same inputs, or a new one.

        Args:
            inputs: per stage, the digest of what decides its result beside the stages before it.
            principal: who acts.
            start: first stage to do again; earlier ones are taken from the newest finished run, if their inputs are the same.

        Raises:
            ConfigError: there is no finished run to take stages from, or what decides one of them has changed.
        """
        whole = sha256(msgspec.json.encode([sorted(inputs.items()), start]))
        with self.store.reading() as tx:
            row = tx.execute(sa.select(RUNS).where(RUNS.c.state == "running").order_by(RUNS.c.started.desc())).first()
            kept = self._kept(tx, start, inputs) if start else {}
        if row is not None and row.inputs == whole:
            return Run(self, row.id, whole, principal, inputs, resumed=True, kept=kept)
        identifier = f"{self.clock.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        return Run(self, identifier, whole, principal, inputs, resumed=False, kept=kept)

    def newest(self, *states: str) -> str | None:
        """Id of the newest run in one of these states."""
        query = sa.select(RUNS.c.id).where(RUNS.c.state.in_(states)).order_by(RUNS.c.started.desc())
        with self.store.reading() as tx:
            return tx.execute(query).scalar()

    def _kept(self, tx: sa.Connection, start: str, inputs: dict[str, str]) -> dict[str, bytes]:
        wanted = STAGES[: STAGES.index(start)]
        query = sa.select(RUNS.c.id).where(RUNS.c.state.in_(("passed", "refused"))).order_by(RUNS.c.started.desc())
        latest = tx.execute(query).scalar()
        rows = tx.execute(sa.select(STEPS).where(STEPS.c.run == latest)).all() if latest else []
        changed = [row.name for row in rows if row.name in wanted and row.inputs != inputs[row.name]]
        if changed:
            raise ConfigError(
                f"--from {start}: what decides the {changed[0]} stage has changed since run {latest}",
                hint=f"run with --from {changed[0]}, or without",
            )
        kept = {row.name: row.record for row in rows if row.name in wanted}
        if len(kept) < len(wanted):
            raise ConfigError(f"--from {start}: no finished run to take the earlier stages from", hint="run without --from first")
        return kept

    def runs(self) -> list[dict[str, Any]]:
        """Every run with its finished steps, newest first."""
        with self.store.reading() as tx:
            rows = [dict(row) for row in tx.execute(sa.select(RUNS).order_by(RUNS.c.started.desc())).mappings()]
            for row in rows:
                query = sa.select(STEPS.c.name, STEPS.c.seconds).where(STEPS.c.run == row["id"]).order_by(STEPS.c.finished)
                row["steps"] = {step.name: step.seconds for step in tx.execute(query)}
        return rows

    def record(self, run: str, step: str, kind: type[T]) -> T | None:
        """A finished step's record."""
        content = self._content(run, step)
        return None if content is None else decode(content, kind)

    def finished(self, run: str, step: str) -> bool:
        """Whether the step is finished."""
        return self._content(run, step) is not None

    def _content(self, run: str, step: str) -> bytes | None:
        query = sa.select(STEPS.c.record).where(STEPS.c.run == run, STEPS.c.name == step)
        with self.store.reading() as tx:
            return tx.execute(query).scalar()


class Run:
    """One run; its row appears with its first finished step, so a refused input leaves nothing behind."""

    def __init__(
        self,
        engine: Engine,
        identifier: str,
        inputs: str,
        principal: str,
        decides: dict[str, str],
        *,
        resumed: bool,
        kept: dict[str, bytes] | None = None,
    ) -> None:
        self.engine = engine
        self.id = identifier
        self.inputs = inputs
        self.principal = principal
        self.decides = decides
        self.resumed = resumed
        self.created = resumed
        self.kept = kept or {}
        self.folder = engine.folder / identifier

    def step(
        self,
        name: str,
        kind: type[T],
        work: Callable[[], T],
        *,
        pictures: Callable[[T], dict[str, bytes]] | None = None,
        commit: Callable[[sa.Connection, T], None] | None = None,
    ) -> T:
        """The record of step `name`: the finished one, or `work()` made durable.

        Args:
            name: one of `STAGES`.
            kind: the record's type.
            work: computes the record; artifacts it stores are content-addressed, so doing it twice is harmless.
            pictures: further evidence files for the record.
            commit: rows that belong into the step's transaction.
        """
        done = self.engine.record(self.id, name, kind)
        if done is not None:
            self._check_evidence(name, done)
            return done
        began = time.monotonic()
        record = decode(self.kept[name], kind) if name in self.kept else work()
        files = {f"{name}.json": record.to_json(), **(pictures(record) if pictures else {})}
        digests = self._write_evidence(name, files)
        now = self.engine.clock.now()
        seconds = time.monotonic() - began
        with self.engine.store.transaction() as tx:
            self._create(tx)
            content = msgspec.json.encode(record, order="deterministic")
            tx.execute(
                STEPS.insert().values(
                    run=self.id,
                    name=name,
                    record=content,
                    digest=sha256(content),
                    finished=now.isoformat(),
                    seconds=seconds,
                    inputs=self.decides[name],
                )
            )
            if commit:
                commit(tx, record)
            detail = {"evidence": digests, "kept": name in self.kept}
            self.engine.journal.append(tx, self.principal, f"run:{name}", f'Run::"{self.id}"', "done", detail)
        self.engine.journal.publish()
        return record

    def has(self, name: str) -> bool:
        """Whether step `name` needs no work: it is finished, or taken from an earlier run."""
        return name in self.kept or self.engine.finished(self.id, name)

    def _create(self, tx: sa.Connection) -> None:
        if self.created:
            return
        now = self.engine.clock.now().isoformat()
        resource = f'Run::"{self.id}"'
        older = tx.execute(sa.select(RUNS.c.id).where(RUNS.c.state == "running")).scalars().all()
        for other in older:
            tx.execute(RUNS.update().where(RUNS.c.id == other).values(state="abandoned", ended=now))
            self.engine.journal.append(tx, self.principal, "run:abandon", f'Run::"{other}"', "done", {"by": self.id})
        tx.execute(RUNS.insert().values(id=self.id, inputs=self.inputs, principal=self.principal, state="running", started=now))
        self.engine.journal.append(tx, self.principal, "run:start", resource, "done", {"inputs": self.inputs})
        self.created = True

    def _folder_of(self, name: str) -> Path:
        return self.folder / f"{STAGES.index(name) + 1}-{name}"

    def _write_evidence(self, name: str, files: dict[str, bytes]) -> dict[str, str]:
        folder, draft = self._folder_of(name), self.folder / f"{DRAFT}{name}"
        shutil.rmtree(draft, ignore_errors=True)
        make_folder(draft)
        for file, content in files.items():
            (draft / file).write_bytes(content)
        fsync_tree(draft)
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
        fsync_folder(self.folder)
        return {file: sha256(content) for file, content in files.items()}

    def _check_evidence(self, name: str, record: Record) -> None:
        path = self._folder_of(name) / f"{name}.json"
        if not path.is_file() or path.read_bytes() != record.to_json():
            raise VerificationError(
                f"the evidence {path} of a finished step was changed or removed", hint="restore it, or start anew with --from data"
            )

    def finish(self, state: str, error: Error | None = None) -> None:
        """End the run as `passed`, `refused` or `failed`; a run that never finished a step leaves no trace."""
        if not self.created:
            return
        now = self.engine.clock.now().isoformat()
        text = None if error is None else f"{error.code}: {error.message}"[:2000]
        detail = {} if text is None else {"error": text}
        with self.engine.store.transaction() as tx:
            tx.execute(RUNS.update().where(RUNS.c.id == self.id).values(state=state, ended=now, error=text))
            self.engine.journal.append(tx, self.principal, "run:end", f'Run::"{self.id}"', state, detail)
        self.engine.journal.publish()
