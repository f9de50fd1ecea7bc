"""The step engine: a run's finished steps are kept, its next start goes on behind the last one.

A step computes its record; then one transaction, fenced by the run's lease, renames its evidence
folder into place and holds the record, the audit entry, the outbox rows and whatever else belongs
to it. A kill before that transaction leaves nothing that counts; after it the step is never done
again. A new run takes over steps whose inputs are unchanged.
"""

import contextlib
import random
import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import msgspec
import sqlalchemy as sa

from casemate.core.clock import Clock
from casemate.core.digest import sha256
from casemate.core.errors import (
    BackendError,
    BusyError,
    ConfigError,
    Error,
    LeaseLost,
    RunCancelled,
    TransientError,
    VerificationError,
)
from casemate.core.files import DRAFT, fsync_folder, fsync_tree, make_folder
from casemate.core.lease import RUNS, Lease, expired, new_owner, owner_state, place_of
from casemate.core.store import METADATA, Store, decode, explained
from casemate.core.store.rowdigests import CHECKED
from casemate.core.types import Record

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
    sa.Column("attempts", sa.Integer, nullable=False, server_default="1"),
    sa.Column("origin", sa.String),
    sa.Column("principal", sa.String),
    info=explained("run", apart=("record", "seconds", "attempts")),
)
"""What a later run takes for done, and signs by: bound to the log. `digest` stands for `record`."""
STAGES = ("data", "train", "assess", "release")
ENDED = ("passed", "refused")
MAX_TOLD = 20
"""Findings that the entry of a failed run names."""
T = TypeVar("T", bound=Record)


class Journal(Protocol):
    """Where the engine's actions are recorded; the audit log is one."""

    def append(
        self,
        tx: sa.Connection,
        principal: str,
        action: str,
        resource: str,
        outcome: str,
        detail: dict[str, Any],
    ) -> int:
        """Append within the transaction."""

    def publish(self) -> None:
        """Make what was committed visible to outsiders."""


class Notices(Protocol):
    """Where the engine leaves what others must hear; the outbox is one."""

    def enqueue(self, tx: sa.Connection, event: str, key: str, content: dict[str, Any]) -> None:
        """Queue `content` for everybody who listens to `event`, within the transaction."""


class FinishedStep(Record, frozen=True, kw_only=True):
    """A step that is done, as the catalogue tells it beside its record."""

    name: str
    """Its stage."""
    seconds: float
    """How long it took."""
    attempts: int
    """How often it was tried, the last time included."""
    origin: str | None
    """The run that it was taken over from."""
    finished: str
    """When, RFC 3339 in UTC."""
    digest: str
    """SHA-256 of its record."""
    principal: str
    """Who did it."""


class RunRow(Record, frozen=True, kw_only=True):
    """A run as the catalogue tells it."""

    id: str
    """Sorts by the time of its start."""
    state: str
    """`running`, `stopped`, `interrupted`, or how it ended."""
    principal: str
    """Who started it."""
    started: str
    """When, RFC 3339 in UTC."""
    ended: str | None
    """When; None while it goes on, or may go on."""
    error: str | None
    """What ended it."""
    key: str | None
    """The idempotency key that it was started with."""
    where: str | msgspec.UnsetType = msgspec.UNSET
    """Which process has it, while it has not ended."""
    steps: dict[str, float]
    """Seconds of each finished step."""
    finished: list[FinishedStep]
    """The same steps in full, in the order in which they were finished."""


@dataclass(frozen=True)
class RetryPolicy:
    """How hard a step is tried."""

    retries: int = 2
    """Further attempts after a back end was away."""
    backoff: float = 1.0
    """Seconds before the second attempt; doubled each time, with jitter."""
    timeouts: dict[str, float] = field(default_factory=dict)
    """Seconds a stage may take."""


class Engine:
    """Begins, resumes, takes over and cancels runs. Several may go on at once, in several
    processes.
    """

    def __init__(
        self,
        store: Store,
        journal: Journal,
        clock: Clock,
        folder: Path,
        notices: Notices | None = None,
        retry_policy: RetryPolicy | None = None,
    ) -> None:
        self.store = store
        self.journal = journal
        self.clock = clock
        self.folder = folder
        self.notices = notices
        self.retry_policy = retry_policy or RetryPolicy()

    def begin(
        self,
        inputs: dict[str, str],
        principal: str,
        start: str | None = None,
        key: str | None = None,
    ) -> "Run":
        """The run to work on: the unfinished one with these inputs, one whose work is all done
        already, or a new one.

        Args:
            inputs: per stage, the digest of what decides its result beside the stages before it.
            principal: who acts.
            start: first stage to do anew even if nothing changed; a finished run must have the
                earlier ones.
            key: idempotency key; however often it is used, there is one run.

        Raises:
            BusyError: another living process works on this run.
            ConfigError: the key belongs to other inputs, or there is no finished run to take the
                stages before `start` from.
        """
        chain = _chain(inputs)
        # Between reading and writing another process may begin, end or take over the same run; then
        # everything is looked at again.
        while True:
            # most starts with a key that was used before need no write
            with self.store.reading() as tx:
                row = self._existing(tx, chain, start, key)
            if row is not None and row.state in ENDED:
                return Run(self, row.id, chain, principal, ended=row.state)
            with self.store.transaction() as tx:
                row = self._existing(tx, chain, start, key)
                if row is None:
                    kept = self._kept(tx, chain, start)
                    if len(kept) == len(STAGES) and start is None and key is None:
                        return Run(self, kept[STAGES[-1]][0], chain, principal, ended="unchanged")
                    return self._create(tx, chain, principal, start, key, kept)
                if row.state in ENDED:
                    continue
                state = owner_state(row)
                if state == "dead":
                    return self._take(tx, row, chain, principal)
            # Who is stopped, or on another machine, cannot be asked: only a lease that nobody
            # renews tells (docs/adr/0007).
            if state == "alive" or not expired(self.store, row.id):
                raise BusyError(
                    f"another process works on run {row.id}: {_where(row)}",
                    hint="wait until it is done; `casemate runs` shows it",
                )
            with self.store.transaction() as tx:
                # It may have beaten once more while its lease was watched.
                if self._row(tx, row.id) == row:
                    return self._take(tx, row, chain, principal)

    @staticmethod
    def _row(tx: sa.Connection, run: str) -> sa.Row[tuple[Any, ...]] | None:
        return tx.execute(sa.select(RUNS).where(RUNS.c.id == run)).first()

    @staticmethod
    def _existing(
        tx: sa.Connection, chain: dict[str, str], start: str | None, key: str | None
    ) -> sa.Row[tuple[Any, ...]] | None:
        whole = chain[STAGES[-1]]
        if key is not None:
            row = tx.execute(sa.select(RUNS).where(RUNS.c.key == key)).first()
            if row is not None and row.inputs != whole:
                raise ConfigError(
                    f"the key {key!r} was used for run {row.id} with other inputs",
                    hint="use a new key, or restore the inputs",
                )
            if row is not None and row.state not in {"running", *ENDED}:
                raise ConfigError(
                    f"the run {row.id} of key {key!r} is {row.state}", hint="use a new key"
                )
            return row
        query = (
            sa.select(RUNS)
            .where(RUNS.c.state == "running", RUNS.c.inputs == whole, RUNS.c.key.is_(None))
            .order_by(RUNS.c.started.desc())
        )
        return next((row for row in tx.execute(query) if start is None or row.start == start), None)

    def _create(
        self,
        tx: sa.Connection,
        chain: dict[str, str],
        principal: str,
        start: str | None,
        key: str | None,
        kept: dict[str, tuple[str, bytes]],
    ) -> "Run":
        now = self.clock.now()
        identifier, own = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}", new_owner()
        row = {
            "id": identifier,
            "inputs": chain[STAGES[-1]],
            "principal": principal,
            "state": "running",
            "started": now.isoformat(),
        }
        tx.execute(RUNS.insert().values(**row, **own, key=key, start=start, token=1))
        return Run(
            self,
            identifier,
            chain,
            principal,
            Lease(self.store, identifier, str(own["owner"]), 1),
            kept=kept,
        )

    def _take(
        self, tx: sa.Connection, row: sa.Row[tuple[Any, ...]], chain: dict[str, str], principal: str
    ) -> "Run":
        own, token = new_owner(), row.token + 1
        tx.execute(RUNS.update().where(RUNS.c.id == row.id).values(**own, token=token))
        lease = Lease(self.store, row.id, str(own["owner"]), token)
        return Run(
            self,
            row.id,
            chain,
            principal,
            lease,
            kept=self._kept(tx, chain, row.start),
            resumed=True,
        )

    def _kept(
        self, tx: sa.Connection, chain: dict[str, str], start: str | None
    ) -> dict[str, tuple[str, bytes]]:
        """Stages that need no work, from the first on: name -> (run they come from, record)."""
        kept: dict[str, tuple[str, bytes]] = {}
        for name in STAGES[: STAGES.index(start)] if start else STAGES:
            # A failed run's earlier stages are as good as any; its release is not, because a
            # verdict belongs to a run that ended.
            states = ENDED if name == STAGES[-1] else (*ENDED, "failed", "abandoned", "cancelled")
            query = (
                sa.select(STEPS.c.run, STEPS.c.record, STEPS.c.digest)
                .join(RUNS, RUNS.c.id == STEPS.c.run)
                .where(
                    STEPS.c.name == name, STEPS.c.inputs == chain[name], RUNS.c.state.in_(states)
                )
                .order_by(STEPS.c.finished.desc())
            )
            row = tx.execute(query).first()
            # Stages build upon each other: behind the first that is missing nothing can be kept.
            if row is None:
                break
            if sha256(row.record) != row.digest:
                break  # damaged: computed anew
            kept[name] = (row.run, row.record)
        if start and len(kept) < STAGES.index(start):
            raise self._cannot_start(tx, start, STAGES[len(kept)])
        return kept

    def _cannot_start(self, tx: sa.Connection, start: str, missing: str) -> ConfigError:
        latest = tx.execute(
            sa.select(RUNS.c.id).where(RUNS.c.state.in_(ENDED)).order_by(RUNS.c.started.desc())
        ).scalar()
        if latest is None:
            return ConfigError(
                f"--from {start}: no finished run to take the earlier stages from",
                hint="run without --from first",
            )
        return ConfigError(
            f"--from {start}: what decides the {missing} stage has changed since run {latest}",
            hint=f"run with --from {missing}, or without",
        )

    def cancel(self, run: str, principal: str) -> None:
        """End an unfinished run; a process that works on it stops at its next heartbeat or commit.

        Raises:
            ConfigError: there is no such run, or it has ended.
        """
        with self.store.transaction() as tx:
            row = self._row(tx, run)
            if row is None:
                raise ConfigError(f"no run called {run!r}", hint="`casemate runs` lists them")
            if row.state != "running":
                raise ConfigError(
                    f"run {run} is over: {row.state}",
                    hint="only an unfinished run can be cancelled",
                )
            tx.execute(
                RUNS.update()
                .where(RUNS.c.id == run)
                .values(state="cancelled", ended=self.clock.now().isoformat())
            )
            # In the same transaction, so that no run is cancelled without an entry, nor the other
            # way round.
            self.journal.append(tx, principal, "run:cancel", f'Run::"{run}"', "done", {})
        self.journal.publish()

    def newest_step(self, step: str, kind: type[T]) -> T | None:
        """The record of the newest finished step of this name in any run."""
        query = (
            sa.select(STEPS.c.record, STEPS.c.digest)
            .where(STEPS.c.name == step)
            .order_by(STEPS.c.finished.desc())
        )
        with self.store.reading() as tx:
            row = tx.execute(query).first()
        return None if row is None else decode(row.record, kind, row.digest)

    def find(self, step: str, kind: type[T], wanted: Callable[[T], bool]) -> T | None:
        """The oldest record of finished steps of this name that `wanted` accepts."""
        query = (
            sa.select(STEPS.c.record, STEPS.c.digest)
            .where(STEPS.c.name == step)
            .order_by(STEPS.c.finished)
        )
        with self.store.reading() as tx:
            return next(
                (
                    record
                    for row in tx.execute(query)
                    if wanted(record := decode(row.record, kind, row.digest))
                ),
                None,
            )

    def runs(self) -> list[RunRow]:
        """Every run with its finished steps, newest first; one whose process is gone is
        `interrupted`.
        """
        with self.store.reading() as tx:
            rows = tx.execute(sa.select(RUNS).order_by(RUNS.c.started.desc())).all()
            return [self._told(tx, row) for row in rows]

    @staticmethod
    def _told(tx: sa.Connection, row: sa.Row[tuple[Any, ...]]) -> RunRow:
        columns = (
            STEPS.c.name,
            STEPS.c.seconds,
            STEPS.c.attempts,
            STEPS.c.origin,
            STEPS.c.finished,
            STEPS.c.digest,
            STEPS.c.principal,
        )
        steps = (
            tx.execute(sa.select(*columns).where(STEPS.c.run == row.id).order_by(STEPS.c.finished))
            .mappings()
            .all()
        )
        unfinished = row.state == "running"
        return RunRow(
            id=row.id,
            state=_state(row) if unfinished else row.state,
            principal=row.principal,
            started=row.started,
            ended=row.ended,
            error=row.error,
            key=row.key,
            where=_where(row) if unfinished else msgspec.UNSET,
            steps={step["name"]: step["seconds"] for step in steps},
            # steps of former versions do not say who did them: whoever started the run
            finished=[
                FinishedStep(**(dict(step) | {"principal": step["principal"] or row.principal}))
                for step in steps
            ],
        )

    def record(self, run: str, step: str, kind: type[T]) -> T | None:
        """A finished step's record."""
        row = self._finished(run, step)
        return None if row is None else decode(row.record, kind, row.digest)

    def finished(self, run: str, step: str) -> bool:
        """Whether the step is finished."""
        return self._finished(run, step) is not None

    def _finished(self, run: str, step: str) -> Any:
        query = sa.select(STEPS.c.record, STEPS.c.digest).where(
            STEPS.c.run == run, STEPS.c.name == step
        )
        with self.store.reading() as tx:
            self.store.row_digests.require(tx, STEPS, (run,))
            return tx.execute(query, execution_options=CHECKED).first()


def _chain(inputs: dict[str, str]) -> dict[str, str]:
    """Per stage, the digest of everything that decides its result: its own inputs and those of all
    stages before it.
    """
    chain, before = {}, ""
    for name in STAGES:
        before = chain[name] = sha256(msgspec.json.encode([before, inputs[name]]))
    return chain


def _state(row: sa.Row[tuple[Any, ...]]) -> str:
    """What a run that has not ended is doing: nobody is left to say that a process was killed."""
    state = owner_state(row)
    return "interrupted" if state == "dead" else "stopped" if state == "stopped" else "running"


def _where(row: sa.Row[tuple[Any, ...]]) -> str:
    place = place_of(row)
    return "at a place unknown" if place is None else f"process {place.pid} on {place.host}"


class Run:
    """One run that this process owns, or one that has ended; a refused input leaves no row
    behind.
    """

    def __init__(
        self,
        engine: Engine,
        identifier: str,
        chain: dict[str, str],
        principal: str,
        lease: Lease | None = None,
        *,
        kept: dict[str, tuple[str, bytes]] | None = None,
        resumed: bool = False,
        ended: str = "",
    ) -> None:
        self.engine = engine
        self.id = identifier
        self.chain = chain
        self.principal = principal
        # a run releases by itself
        self.kept = {name: found for name, found in (kept or {}).items() if name != STAGES[-1]}
        self.resumed = resumed
        self.ended = ended
        """`passed`, `refused` (an idempotency key was used again), `unchanged` (everything is as in
        this run), or empty.
        """
        self.folder = engine.folder / identifier
        self._lease = lease

    @property
    def lease(self) -> Lease:
        """The right to write."""
        if self._lease is None:
            raise LeaseLost(
                f"run {self.id} has ended", hint="`casemate run --fresh` begins a new one"
            )
        return self._lease

    def __enter__(self) -> Self:
        if self._lease is not None:
            self._lease.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: object
    ) -> None:
        """Give the lease back; what failed is recorded, what was interrupted or met an absent back
        end stays resumable.
        """
        if self._lease is None:
            return
        self._lease.stop()
        why = self._lease.lost
        if isinstance(error, KeyboardInterrupt) and why is not None:
            error = why
        if isinstance(error, Error) and not isinstance(error, BackendError | RunCancelled):
            self.finish("failed", error)
        elif error is not None and not isinstance(error, BackendError | RunCancelled):
            # not after a fault of disk or database: such a store is not written again
            self._release()
        if error is why and why is not None and kind is KeyboardInterrupt:
            raise why from None

    def _release(self) -> None:
        """Let the next start go on at once, if the store can still be written."""
        with contextlib.suppress(Error), self.engine.store.transaction() as tx:
            mine = self.lease.mine
            if not self._begun(tx):
                tx.execute(RUNS.delete().where(*mine, RUNS.c.key.is_(None)))
            tx.execute(RUNS.update().where(*mine).values(owner="", place=""))

    def _begun(self, tx: sa.Connection) -> bool:
        """Whether the run has a finished step."""
        return tx.execute(sa.select(STEPS.c.name).where(STEPS.c.run == self.id)).first() is not None

    def step(
        self,
        name: str,
        kind: type[T],
        work: Callable[[], T],
        *,
        pictures: Callable[[T], dict[str, bytes]] | None = None,
        commit: Callable[[sa.Connection, T], None] | None = None,
    ) -> T:
        """The record of step `name`: the finished one, one taken over from an earlier run, or
        `work()` made durable.

        Args:
            name: one of `STAGES`.
            kind: the record's type.
            work: computes the record; artifacts it stores are content-addressed, so doing it twice
                is harmless.
            pictures: further evidence files for the record.
            commit: rows that belong into the step's transaction.

        Raises:
            StageTimeout: it took longer than `RetryPolicy.timeouts` allows.
            LeaseLost: this process stood still for so long that another one took the run over.
        """
        done = self.engine.record(self.id, name, kind)
        if done is not None:
            self._check_evidence(name, done)
            return done
        retry_policy = self.engine.retry_policy
        self.lease.limit(name, retry_policy.timeouts.get(name))
        try:
            for attempt in range(1, retry_policy.retries + 1):
                try:
                    return self._attempt(name, kind, work, pictures, commit, attempt)
                except TransientError:
                    time.sleep(retry_policy.backoff * 2 ** (attempt - 1) * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            return self._attempt(name, kind, work, pictures, commit, retry_policy.retries + 1)
        finally:
            self.lease.limit("", None)

    def _attempt(
        self,
        name: str,
        kind: type[T],
        work: Callable[[], T],
        pictures: Callable[[T], dict[str, bytes]] | None,
        commit: Callable[[sa.Connection, T], None] | None,
        attempt: int,
    ) -> T:
        began = time.monotonic()
        origin, content = self.kept.get(name, (None, None))
        record = decode(content, kind) if content is not None else work()
        files = {f"{name}.json": record.to_json(), **(pictures(record) if pictures else {})}
        draft = self._write_draft(name, files)
        digests = {file: sha256(content) for file, content in files.items()}
        seconds = time.monotonic() - began
        with self.engine.store.transaction() as tx:
            self.lease.require(tx)
            # inside: a process that lost its lease must not replace the owner's
            self._rename_evidence(name, draft)
            self._open(tx)
            content = msgspec.json.encode(record, order="deterministic")
            tx.execute(
                STEPS.insert().values(
                    run=self.id,
                    name=name,
                    record=content,
                    digest=sha256(content),
                    finished=self.engine.clock.now().isoformat(),
                    seconds=seconds,
                    inputs=self.chain[name],
                    attempts=attempt,
                    origin=origin,
                    principal=self.principal,
                )
            )
            if commit:
                commit(tx, record)
            detail = {"evidence": digests} | ({"kept_from": origin} if origin else {})
            self.engine.journal.append(
                tx, self.principal, f"run:{name}", f'Run::"{self.id}"', "done", detail
            )
        self.engine.journal.publish()
        return record

    def has(self, name: str) -> bool:
        """Whether step `name` needs no work: it is finished, or taken from an earlier run."""
        return name in self.kept or self.engine.finished(self.id, name)

    def _open(self, tx: sa.Connection) -> None:
        """With the first finished step the run enters the log, and unfinished ones whose process is
        gone leave the field.
        """
        if self._begun(tx):
            return
        engine, now = self.engine, self.engine.clock.now().isoformat()
        older = tx.execute(
            sa.select(RUNS).where(
                RUNS.c.state == "running", RUNS.c.id != self.id, RUNS.c.key.is_(None)
            )
        ).all()
        for other in [row for row in older if owner_state(row) == "dead"]:
            tx.execute(
                RUNS.update().where(RUNS.c.id == other.id).values(state="abandoned", ended=now)
            )
            engine.journal.append(
                tx, self.principal, "run:abandon", f'Run::"{other.id}"', "done", {"by": self.id}
            )
        engine.journal.append(
            tx,
            self.principal,
            "run:start",
            f'Run::"{self.id}"',
            "done",
            {"inputs": self.chain[STAGES[-1]]},
        )

    def _folder_of(self, name: str) -> Path:
        return self.folder / f"{STAGES.index(name) + 1}-{name}"

    def _write_draft(self, name: str, files: dict[str, bytes]) -> Path:
        draft = self.folder / f"{DRAFT}{name}-{self.lease.token}"
        shutil.rmtree(draft, ignore_errors=True)
        make_folder(draft)
        for file, content in files.items():
            (draft / file).write_bytes(content)
        fsync_tree(draft)
        return draft

    def _rename_evidence(self, name: str, draft: Path) -> None:
        folder = self._folder_of(name)
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
        fsync_folder(self.folder)

    def _check_evidence(self, name: str, record: Record) -> None:
        path = self._folder_of(name) / f"{name}.json"
        if not path.is_file() or path.read_bytes() != record.to_json():
            raise VerificationError(
                f"the evidence {path} of a finished step was changed or removed",
                hint="`casemate fsck --repair` restores it, or begin anew with --fresh",
            )

    def finish(self, state: str, error: Error | None = None) -> None:
        """End the run as `passed`, `refused` or `failed`; a run that never finished a step leaves
        no trace.

        Raises:
            LeaseLost: another process took it over.
        """
        self.lease.stop()  # a heartbeat after the end would take it for a loss
        now = self.engine.clock.now().isoformat()
        text = None if error is None else f"{error.code}: {error.message}"[:2000]
        detail: dict[str, Any] = {} if text is None else {"error": text}
        if error is not None and error.findings:
            detail["findings"] = [
                f"{finding.id} ({finding.severity}): {finding.message}"
                for finding in error.findings[:MAX_TOLD]
            ]
        with self.engine.store.transaction() as tx:
            self.lease.lost = None if self.lease.lost is error else self.lease.lost
            self.lease.require(tx)
            if not self._begun(tx):
                tx.execute(RUNS.delete().where(RUNS.c.id == self.id))
                return
            tx.execute(
                RUNS.update()
                .where(RUNS.c.id == self.id)
                .values(state=state, ended=now, error=text, owner="", place="")
            )
            self.engine.journal.append(
                tx, self.principal, "run:end", f'Run::"{self.id}"', state, detail
            )
            if self.engine.notices is not None:
                told = {"run": self.id, "state": state, "principal": self.principal, **detail}
                self.engine.notices.enqueue(tx, f"run:{state}", f"{self.id}/end", told)
        self.engine.journal.publish()
