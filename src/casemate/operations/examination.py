"""Everything that a project keeps, checked against one another; what can be derived is rebuilt."""

import datetime
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from casemate.controls.keys import compromises, manifests, signers
from casemate.core.digest import sha256
from casemate.core.errors import (
    BackendError,
    CompromisedSigner,
    Error,
    HistoryError,
    TransientError,
    VerificationError,
)
from casemate.core.files import write_atomic
from casemate.core.lease import RUNS
from casemate.core.outbox import OUTBOX, Message
from casemate.core.steps import ENDED, STAGES, STEPS
from casemate.core.store import decode
from casemate.core.store.interface import MOVED
from casemate.core.store.rowdigests import CHECKED
from casemate.core.types import Assessment, Record, Release, SealedDataset, TrainedModel
from casemate.operations.damage import BACKUP, Damage, Report
from casemate.operations.incidents.books import KIND
from casemate.operations.rights.register import REQUESTS
from casemate.operations.store import left_behind, set_aside
from casemate.operations.termed.versions import require_told
from casemate.stages.release import evidence
from casemate.stages.release.registry import MODELS
from casemate.wiring import Wiring

RECORDS: dict[str, type[Record]] = {
    "data": SealedDataset,
    "train": TrainedModel,
    "assess": Assessment,
    "release": Release,
}


class Examination:
    """One look at everything."""

    def __init__(self, project: Wiring, repair: bool, progress: Callable[[str], None]) -> None:
        self.project = project
        self.repair = repair
        self.progress = progress
        self.damage: list[Damage] = []
        self.checked: dict[str, int] = {}
        self.records: dict[tuple[str, str], Record] = {}
        self.states: dict[str, str] = {}
        self.moved = False
        """The catalogue is elsewhere now: nothing here can be compared with it."""

    def report(self) -> Report:
        """Look at one thing after the other; a fault of one hides none of the others."""
        for name, check in (
            ("database", self._database),
            ("log", self._log),
            ("rows that give rights", self._rows),
            ("steps", self._steps),
            ("evidence", self._evidence),
            ("objects", self._objects),
            ("tables", self._tables),
            ("models", self._models),
            ("outbox", self._outbox),
            ("public keys", self._public_keys),
            ("compromises", self._compromises),
            ("incidents", self._incidents),
            ("requests", self._requests),
            ("whose rows are where", self._subject_rows),
        ):
            self.progress(name)
            if self.moved:
                self.checked[name] = 0
                continue
            try:
                self.checked[name] = check()
            except Error as error:
                self.checked[name] = 0
                unknown = isinstance(error, TransientError)
                self._found(name, error.message, error.hint or BACKUP, unknown=unknown)
        return Report(checked=self.checked, damage=self.damage)

    def _found(self, subject: str, state: str, remedy: str = BACKUP, **more: bool) -> None:
        self.damage.append(Damage(subject=subject, state=state, remedy=remedy, **more))

    def _guarded(
        self,
        subject: str,
        check: Callable[[], object],
        remedy: str = BACKUP,
        away: type[Error] = TransientError,
    ) -> bool:
        """Whether it holds; a fault that is `away` says nothing of it."""
        try:
            check()
        except Error as error:
            said = isinstance(error, (CompromisedSigner, away)) and error.hint
            self._found(subject, error.message, said or remedy, unknown=isinstance(error, away))
            return False
        return True

    def _rebuild(self, subject: str, state: str, rebuild: Callable[[], object]) -> None:
        if not self.repair:
            self._found(subject, state, "casemate fsck --repair")
            return
        try:
            rebuild()
        except Error as error:
            self._found(subject, f"{state}; it could not be rebuilt: {error.message}")
            return
        self._found(subject, state, "rebuilt just now", repaired=True)

    def _database(self) -> int:
        self.moved = self.project.database.revision() == MOVED
        if self.moved:
            self.project.database.check()
        if left_behind(self.project):
            self._rebuild(
                str(self.project.catalog),
                "left by an interrupted `casemate store migrate`",
                partial(set_aside, self.project),
            )
        for problem in self.project.database.damage():
            self._found("catalogue", problem)
        self.project.database.check()
        for problem in self.project.database.behind():
            self._rebuild("catalogue", problem, self._renumber)
        return 1

    def _renumber(self) -> None:
        with self.project.database.transaction() as tx:
            self.project.database.renumber(tx)

    def _log(self) -> int:
        audit = self.project.log
        size = audit.check_bodies()
        try:
            audit.check()
        except HistoryError:
            raise  # what was published disagrees: to sign anew would hide it
        except VerificationError as error:
            self._rebuild(
                "audit log's tiles or checkpoint", error.message, partial(audit.publish, anew=True)
            )
        self._guarded("predictions", self.project.decisions.check)
        self._guarded(
            "audit log seen from outside",
            self.project.publication.check,
            "see `casemate audit verify`; never sign anew over it",
        )
        return size

    def _rows(self) -> int:
        with self.project.database.reading() as tx:
            differences = self.project.database.row_digests.differences(tx)
            count = self.project.database.row_digests.count(tx)
        for table, what in differences:
            self._found(
                f"table {table}",
                f"the audit log does not explain it: {what}",
                "ask who could write to the database; undo it there, or " + BACKUP,
            )
        return int(count)

    def _steps(self) -> int:
        with self.project.database.reading() as tx:
            rows = tx.execute(sa.select(STEPS), execution_options=CHECKED).all()
            self.states = {
                row.id: row.state for row in tx.execute(sa.select(RUNS.c.id, RUNS.c.state))
            }
        for row in rows:
            subject = f"step {row.name} of run {row.run}"
            if sha256(row.record) != row.digest:
                self._found(subject, "its record does not match its digest")
                continue
            try:
                self.records[row.run, row.name] = decode(row.record, RECORDS[row.name])
            except (Error, KeyError) as error:
                self._found(subject, str(error))
        for run, state in self.states.items():
            missing = [
                name for name in STAGES if state in ENDED and (run, name) not in self.records
            ]
            if missing:
                self._found(f"run {run}", f"it is {state}, but its {missing[0]} step is gone")
        return len(rows)

    def _evidence(self) -> int:
        """Evidence files against the digests that the log holds; the records' own files can be
        written anew.
        """
        logged: dict[tuple[str, str], dict[str, str]] = {}
        for entry in self.project.log.entries():
            if entry.action.startswith("run:") and isinstance(
                found := entry.detail.get("evidence"), dict
            ):
                logged[
                    entry.resource.removeprefix('Run::"').removesuffix('"'),
                    entry.action.removeprefix("run:"),
                ] = found
        count = 0
        for (run, name), record in self.records.items():
            folder = self.project.state / "runs" / run / f"{STAGES.index(name) + 1}-{name}"
            if (run, name) not in logged:
                self._found(
                    f"step {name} of run {run}",
                    "the log knows nothing of it",
                    "somebody wrote into the catalogue: ask who could",
                )
                continue
            for file, digest in logged[run, name].items():
                count += 1
                path = folder / file
                if path.is_file() and sha256(path.read_bytes()) == digest:
                    continue
                self._rebuild(str(path), "missing or changed", partial(_redo, path, digest, record))
        for run in {run for run, name in self.records if name == "release"}:
            folder = self.project.state / "runs" / run
            if (folder / evidence.EVIDENCE).exists() or self.states[run] in ENDED:
                self._guarded(
                    f"signed evidence of run {run}",
                    partial(evidence.verify, folder, self.project.signer.verifier),
                )
        return count

    def _objects(self) -> int:
        wanted: set[str] = set()
        for record in self.records.values():
            if isinstance(record, SealedDataset):
                wanted |= {record.split, record.quarantine, record.profile}
                wanted |= set() if record.taught is None else {record.taught.object}
            elif isinstance(record, TrainedModel):
                wanted |= {*record.files.values(), record.said, record.baseline}
            elif isinstance(record, Release):
                wanted |= {*record.files.values(), record.bundle or ""}
        wanted.discard("")  # what this run did not have
        for count, digest in enumerate(sorted(wanted)):
            whole = partial(self.project.objects.get, digest)
            if not self._guarded(f"object {digest[:12]}", whole, away=BackendError) and (
                self.damage[-1].unknown
            ):
                return count  # each would wait as long for the same server
        return len(wanted)

    def _tables(self) -> int:
        versions = {
            (r.name, r.version) for r in self.records.values() if isinstance(r, SealedDataset)
        }
        for name, version in sorted(versions):
            folder = self.project.state / "datasets" / name / version
            look: Callable[[], object] = partial(
                manifests.check, folder, self.project.signer.verifier
            )
            if (folder / manifests.REMOVED).exists():  # its term ended
                look = partial(require_told, self.project, folder)
            self._guarded(f"table {name}@{version}", look)
        return len(versions)

    def _models(self) -> int:
        with self.project.database.reading() as tx:
            rows = tx.execute(sa.select(MODELS), execution_options=CHECKED).all()
        for row in rows:
            reference = f"{row.name}@{row.version}"
            release = self.records.get((row.run, "release"))
            if not self._guarded(
                f"model {reference}", partial(decode, row.release, Release, row.digest)
            ):
                continue
            if release is None or decode(row.release, Release) != release:
                self._found(
                    f"model {reference}",
                    "the registry says something else than the run that made it",
                )
            elif isinstance(release, Release) and release.bundle:
                verify = partial(self.project.registry.verify, reference)
                self._guarded(f"model {reference}", verify, away=BackendError)
        return len(rows)

    def _outbox(self) -> int:
        with self.project.database.reading() as tx:
            rows = tx.execute(sa.select(OUTBOX.c.id, OUTBOX.c.payload)).all()
        for row in rows:
            self._guarded(f"outbox message {row.id}", partial(decode, row.payload, Message))
        return len(rows)

    def _public_keys(self) -> int:
        expected, history = self.project.public_keys, self.project.keystore.signers
        for folder in self.project.public_folders:
            changed = [
                name
                for name, content in expected.items()
                if not (folder / name).is_file() or (folder / name).read_bytes() != content
            ]
            if not self._same_history(folder / signers.FILE, history):
                changed.append(signers.FILE)
            if changed:
                self._rebuild(
                    str(folder),
                    f"not the keys in use: {', '.join(changed)}",
                    self.project.publish_keys,
                )
        return len(expected) + 1

    def _compromises(self) -> int:
        """Every declaration in the catalogue is explained by the log, and every one of the key
        store is in the catalogue.
        """
        rows = self.project.compromises.explained()
        for fingerprint, since, index in rows:
            entry = next(iter(self.project.log.entries(index)), None)
            said = (
                None
                if entry is None or entry.action != compromises.ACTION
                else (entry.detail.get("fingerprint"), entry.detail.get("since"))
            )
            if said != (fingerprint, since):
                self._found(
                    f"compromise of signer {fingerprint[:16]}", "the log says nothing of it"
                )
        known = {fingerprint for fingerprint, _, _ in rows}
        for record in self.project.keystore.signers:
            if record.compromised is not None and record.verifier.fingerprint not in known:
                declared, state = (
                    datetime.datetime.fromisoformat(record.compromised),
                    "other hosts do not know of it",
                )
                declare = partial(
                    self.project.compromises.declare, self.project.log, "casemate", record, declared
                )
                self._rebuild(f"compromise of signer {record.number}", state, declare)
        return len(rows)

    def _incidents(self) -> int:
        count, wrong = KIND.contradicted(self.project)
        for number, what in wrong.items():
            self._found(f"incident {number}", what)
        return count

    def _requests(self) -> int:
        count, wrong = REQUESTS.contradicted(self.project)
        for number, what in wrong.items():
            self._found(f"request {number}", what)
        return count

    def _subject_rows(self) -> int:
        rows = self.project.identifiers.rows

        def forget(dataset: str, version: str) -> None:
            with self.project.database.transaction() as tx:
                rows.drop(tx, [(dataset, version)])  # whoever asks next has it made anew

        for dataset, version in rows.broken():
            name = f"index of people in {dataset}@{version}"
            self._rebuild(name, "people or rows are missing", partial(forget, dataset, version))
        return len(rows.known())

    def _same_history(self, path: Path, history: list[signers.SignerRecord]) -> bool:
        if not path.is_file():
            return len(history) == 1
        try:
            return signers.read(path.read_bytes(), self.project.keystore.signer.verifier) == history
        except Error:
            return False


def _redo(path: Path, digest: str, record: Record) -> Any:
    files = {path.name: record.to_json()} if path.suffix == ".json" else {}
    if isinstance(record, Assessment) and path.name not in files:
        from casemate.stages.assess.plots import draw

        files = draw(record)
    content = files.get(path.name)
    if content is None or sha256(content) != digest:
        raise VerificationError(
            "the log holds another digest than what the record gives", hint=BACKUP
        )
    write_atomic(path, content)
