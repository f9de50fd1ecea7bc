"""The step engine: a run's finished steps are kept, its next start goes on behind the last one.

A step computes its record; then one transaction, fenced by the run's lease, renames its evidence
folder into place and holds the record, the audit entry, the outbox rows and whatever else belongs
to it. A kill before that transaction leaves nothing that counts; after it the step is never done
again. A new run takes over steps whose inputs are unchanged.
"""

import secrets
from typing import Any

import msgspec
import sqlalchemy as sa

from casemate.core.digest import sha256
from casemate.core.errors import BusyError, ConfigError
from casemate.core.history import History, whereabouts
from casemate.core.lease import RUNS, Lease, expired, new_owner, owner_state
from casemate.core.run import Run
from casemate.core.steps import ENDED, STAGES, STEPS


class Engine(History):
    """Begins, resumes, takes over and cancels runs. Several may go on at once, in several
    processes.
    """

    def begin(
        self,
        inputs: dict[str, str],
        principal: str,
        start: str | None = None,
        key: str | None = None,
    ) -> Run:
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
                    f"another process works on run {row.id}: {whereabouts(row)}",
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
    ) -> Run:
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
    ) -> Run:
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


def _chain(inputs: dict[str, str]) -> dict[str, str]:
    """Per stage, the digest of everything that decides its result: its own inputs and those of all
    stages before it.
    """
    chain, before = {}, ""
    for name in STAGES:
        before = chain[name] = sha256(msgspec.json.encode([before, inputs[name]]))
    return chain
