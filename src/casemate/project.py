"""The composition root: from a folder to a wired `Project`. The only place where a back end is chosen."""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from casemate import config as configuration
from casemate import pipeline
from casemate.config import FILE_NAME, Config, NoticeTable
from casemate.controls.access.policy import Policy
from casemate.controls.access.principals import Directory, Principal
from casemate.controls.audit.bodies import Bodies
from casemate.controls.audit.checkpoint import CheckpointSigner, verify_checkpoint
from casemate.controls.audit.copies import Copies, open_copies
from casemate.controls.audit.cosign import WitnessPeer, collect
from casemate.controls.audit.log import AuditLog
from casemate.controls.audit.note import parse_keys
from casemate.controls.audit.verify import WITNESSED
from casemate.controls.keys import tables
from casemate.controls.keys.file import FileKeyStore, keystore_folder
from casemate.controls.keys.objects import ObjectStore
from casemate.controls.keys.subjects import SubjectKeys
from casemate.core.clock import Clock, SystemClock
from casemate.core.engine import STAGES, Effort, Engine, Run
from casemate.core.errors import AccessDenied, BackendError, ConfigError, Error, TransientError, VerificationError
from casemate.core.files import clear_drafts, clear_scratch, remove_tree, shared_lock, write_atomic
from casemate.core.outbox import Message, Outbox, Patience, Route
from casemate.core.secrets import read_secret
from casemate.core.store import Store, open_store
from casemate.core.types import Assessment, Release, SealedDataset, Verdict
from casemate.stages.release.bundle import VerifiedModel
from casemate.stages.release.registry import Registered, Registry

STATE = ".casemate"
CATALOG = "catalog.db"
ENDS = ("run:passed", "run:refused", "run:failed")
"""Events after which checkpoints are cosigned and copied."""


_KEY = re.compile(r"[A-Za-z0-9._:/-]{1,200}")


class Silent:
    """A reporter that says nothing."""

    def begin(self, run: Run) -> None:
        """See `pipeline.Reporter`."""

    def progress(self, text: str, done: int, total: int) -> None:
        """See `pipeline.Reporter`."""

    def stage(self, name: str, record: Any) -> None:
        """See `pipeline.Reporter`."""


@dataclass(frozen=True)
class Model:
    """A registered model."""

    project: "Project"
    registered: Registered

    @property
    def reference(self) -> str:
        """`NAME@VERSION`."""
        return self.registered.reference

    @property
    def verdict(self) -> Verdict:
        """The gates' answer."""
        return self.registered.release.verdict

    def verify(self) -> VerifiedModel:
        """The model's files, after checking both signatures and every digest."""
        return self.project.registry.verify(self.reference)

    def export(self, folder: str | Path) -> VerifiedModel:
        """Write the verified model, its bundle and the public keys to a new folder."""
        self.project.authorise("model:export", "Model", self.registered.release.model)
        return self.project.registry.export(self.reference, Path(folder))


class Models(Mapping[str, Model]):
    """Models by `NAME` (newest that passed) or `NAME@VERSION`."""

    def __init__(self, project: "Project") -> None:
        self._project = project

    def __getitem__(self, reference: str) -> Model:
        try:
            return Model(self._project, self._project.registry.get(reference))
        except ConfigError as error:
            raise KeyError(reference) from error

    def __iter__(self) -> Iterator[str]:
        return iter([model.reference for model in self._project.registry.list()])

    def __len__(self) -> int:
        return len(self._project.registry.list())


@dataclass(frozen=True)
class Dataset:
    """A sealed version of a table."""

    project: "Project"
    record: SealedDataset

    def to_arrow(self, columns: list[str] | None = None) -> pa.Table:
        """The verified, decrypted table; reading it is decided by policy and recorded."""
        self.project.authorise("dataset:read", "Dataset", self.record.name)
        folder = self.project.state / "datasets" / self.record.name / self.record.version
        return tables.read(folder, self.project.keys, self.project.keys.signer.verifier, columns)

    def to_pandas(self, columns: list[str] | None = None) -> Any:
        """The same as a pandas DataFrame."""
        return self.to_arrow(columns).to_pandas()


class Datasets(Mapping[str, Dataset]):
    """Sealed data sets by `NAME` (newest) or `NAME@VERSION`."""

    def __init__(self, project: "Project") -> None:
        self._project = project

    def _all(self) -> dict[str, Dataset]:
        found: dict[str, Dataset] = {}
        for run in self._project.engine.runs():
            record = self._project.engine.record(run["id"], "data", SealedDataset)
            if record is not None:
                found.setdefault(record.name, Dataset(self._project, record))
                found.setdefault(f"{record.name}@{record.version}", Dataset(self._project, record))
        return found

    def __getitem__(self, reference: str) -> Dataset:
        return self._all()[reference]

    def __iter__(self) -> Iterator[str]:
        return iter([reference for reference in self._all() if "@" in reference])

    def __len__(self) -> int:
        return len(list(iter(self)))


@dataclass(frozen=True)
class AuditReport:
    """A log that holds."""

    entries: int
    origin: str
    witnessed: int
    """Entries in the newest cosigned checkpoint."""
    witnesses: list[str]
    """Who cosigned it."""
    copies: dict[str, int]
    """Per place, the entries in its newest copy."""


@dataclass(frozen=True)
class RunResult:
    """What a run ended with."""

    id: str
    model: Model
    release: Release
    assessment: Assessment
    folder: Path
    undelivered: list[str]
    """Receivers that a message of this run has not reached yet; the outbox tries again."""

    @property
    def verdict(self) -> Verdict:
        """The gates' answer."""
        return self.release.verdict


class Project:
    """A user's project: configuration, keys, catalogue, log, registry, policy."""

    def __init__(self, root: Path, config: Config, clock: Clock | None = None, *, check: bool = True) -> None:
        self.root = root
        self.config = config
        self.clock = clock or SystemClock()
        self.state = root / STATE
        if not config.store.url and not self.catalog.is_file():
            raise ConfigError(f"{root} has a {FILE_NAME} but no {STATE}/{CATALOG}", hint="`casemate init` creates it")
        self.store = open_store(config.store.url, self.catalog, config.store.password)
        if check:
            self.store.check()
        self.directory = Directory(self.store, self.clock)

    @property
    def catalog(self) -> Path:
        """The SQLite catalogue's file."""
        return self.state / CATALOG

    @cached_property
    def keys(self) -> FileKeyStore:
        """The key store."""
        return FileKeyStore.open(keystore_folder(self.config.project.id))

    @cached_property
    def audit(self) -> AuditLog:
        """The audit log."""
        classical, quantum = self.keys.log_keys
        signer = CheckpointSigner(log_origin(self.config.project.id), classical, quantum)
        return AuditLog(self.state / "audit", self.store, signer, self.clock, Bodies(self.keys), SubjectKeys(self.keys, self.clock))

    @cached_property
    def policy(self) -> Policy:
        """The policy decision point."""
        project = self.config.project
        return Policy(self.root / self.config.access.policies, project.id, project.purpose)

    @cached_property
    def objects(self) -> ObjectStore:
        """The object store."""
        return ObjectStore(self.state / "objects", self.keys)

    @cached_property
    def registry(self) -> Registry:
        """The model registry."""
        return Registry(self.store, self.objects, self.keys.signer.verifier)

    @cached_property
    def outbox(self) -> Outbox:
        """What is to leave, and the receivers of today's configuration."""
        limits = self.config.outbox
        routes = [Route(name, tuple(notice.on), self._way_to(notice)) for name, notice in self.config.notices.items()]
        if self.config.audit.copies:
            routes.append(Route("checkpoint-copies", ENDS, lambda _: self.keep_checkpoint()))
        if self.config.audit.witnesses:
            routes.append(Route("witnesses", ENDS, lambda _: self.require_cosignatures()))
        return Outbox(self.store, self.clock, routes, Patience(limits.attempts, limits.backoff, limits.timeout))

    def _way_to(self, notice: NoticeTable) -> Callable[[Message], None]:
        from casemate.core.outbox import folder, mail, webhook

        timeout = self.config.outbox.timeout
        if notice.kind == "folder":
            return folder.deliver_to(self.root / notice.to)
        if notice.kind == "mail":
            return mail.deliver_to(notice.to, notice.server, notice.sender, timeout)
        reference = notice.secret
        return webhook.deliver_to(notice.to, None if reference is None else lambda: read_secret(reference), timeout)

    @cached_property
    def copies(self) -> list[Copies]:
        """The places where checkpoints are kept outside."""
        audit = self.config.audit
        return [open_copies(_anchored(where, self.root), audit.retain_days) for where in audit.copies]

    def keep_checkpoint(self) -> None:
        """Keep the published checkpoint at every place of `[audit] copies`.

        Raises:
            VerificationError: a place holds another history.
            BackendError: a place cannot be written.
        """
        self.audit.publish()
        checkpoint = (self.audit.folder / "checkpoint").read_bytes()
        for place in self.copies:
            place.put(checkpoint)

    @property
    def witnesses(self) -> list[WitnessPeer]:
        """The witnesses of `[audit] witnesses`."""
        return [WitnessPeer(name, peer.url, parse_keys("\n".join(peer.keys))) for name, peer in self.config.audit.witnesses.items()]

    def collect_cosignatures(self) -> dict[str, Error | None]:
        """Ask every witness to cosign the published checkpoint: per name None, or why it did not."""
        self.audit.publish()
        return collect(self.audit.folder, self.audit.signer.vkeys, self.witnesses, self.config.outbox.timeout)

    def require_cosignatures(self) -> None:
        """Collect cosignatures of the published checkpoint.

        Raises:
            VerificationError: a witness knows another history.
            TransientError: fewer than `[audit] quorum` (at least one) cosigned.
        """
        answers = self.collect_cosignatures()
        faults = {name: fault for name, fault in answers.items() if fault is not None}
        for fault in faults.values():
            if isinstance(fault, VerificationError):
                raise fault
        quorum = max(1, self.config.audit.quorum)
        if len(answers) - len(faults) < quorum:
            why = "; ".join(f"{name}: {fault.message}" for name, fault in faults.items())
            raise TransientError(f"{len(answers) - len(faults)} of {quorum} witnesses cosigned ({why})", hint="`casemate audit cosign` asks again")

    def check_audit(self, checkpoints: list[Path] | None = None) -> AuditReport:
        """Verify log, bodies, cosignatures, and that every copy and every checkpoint that was kept is a former state of this log.

        Args:
            checkpoints: files with further checkpoints that somebody kept.

        Raises:
            VerificationError: something does not hold, or fewer witnesses than `[audit] quorum` cosigned.
        """
        log, vkeys = self.audit.check(), self.audit.signer.vkeys
        for path in checkpoints or []:
            log.require_prefix(verify_checkpoint(path.read_bytes(), vkeys), str(path))
        kept = {}
        for place in self.copies:
            newest = place.newest(vkeys)
            if newest is not None:
                log.require_prefix(newest, f"the copy in {place.where}")
            kept[place.where] = newest.size if newest else 0
        witnessed, names = 0, list[str]()
        if (self.audit.folder / WITNESSED).exists():
            peers = {peer.name: peer.keys for peer in self.witnesses}
            witnessed, names = log.cosigned((self.audit.folder / WITNESSED).read_bytes(), vkeys, peers)
        if len(names) < self.config.audit.quorum:
            raise VerificationError(
                f"{len(names)} of {self.config.audit.quorum} witnesses cosigned the log", hint="casemate audit cosign; see `casemate outbox list`"
            )
        return AuditReport(log.checkpoint.size, log.checkpoint.origin, witnessed, names, kept)

    @cached_property
    def engine(self) -> Engine:
        """The step engine."""
        run = self.config.run
        effort = Effort(run.retries, run.backoff, {str(stage): seconds for stage, seconds in run.timeouts.items()})
        return Engine(self.store, self.audit, self.clock, self.state / "runs", self.outbox, effort)

    @property
    def models(self) -> Models:
        """Registered models."""
        return Models(self)

    @property
    def datasets(self) -> Datasets:
        """Sealed data sets."""
        return Datasets(self)

    def upgrade_store(self) -> None:
        """Bring key store and catalogue of an older casemate to this one."""
        self.keys = self.keys.upgrade()
        self.store.upgrade(Bodies(self.keys).seal)

    def move_store(self, url: str, password: str | None) -> dict[str, int]:
        """Move the catalogue to the empty database at `url`, verify it, and point casemate.toml there; returns rows per table.

        The old catalogue is fenced: a process that still has it open cannot go on writing to it.

        Args:
            url: as in `[store] url`; empty for a new SQLite catalogue in `.casemate`.
            password: reference to the database password.

        Raises:
            BackendError: the target holds data, cannot be reached, or is the store in use.
        """
        import tomlkit

        from casemate.core.store.move import copy_rows

        if url == self.config.store.url:
            raise ConfigError("the catalogue is there already", hint="name another database")
        target = open_store(url, self.catalog, password)
        try:
            if url or self.catalog.exists():
                self._require_empty(target, url)
            target.upgrade()
            counts = copy_rows(self.store, target, fence=True)
        finally:
            target.close()
        document = tomlkit.parse((self.root / FILE_NAME).read_text(encoding="utf-8"))
        if url:
            document["store"] = {"url": url} | ({"password": password} if password else {})
        else:
            document.remove("store")
        write_atomic(self.root / FILE_NAME, tomlkit.dumps(document).encode(), mode=0o644)
        if url:
            for name in (CATALOG, f"{CATALOG}-wal", f"{CATALOG}-shm"):
                with contextlib.suppress(FileNotFoundError):
                    (self.state / name).rename(self.state / f"moved-{name}")
        return counts

    def _require_empty(self, target: Store, url: str) -> None:
        if target.revision() is not None:
            raise BackendError(f"{target.name} holds a catalogue already", hint="move into an empty database or schema" if url else "move it away")

    def authorise(self, action: str, kind: str = "Project", name: str = "", **detail: Any) -> Principal:
        """The current user, if the policy permits them `action`; the decision is recorded either way.

        Raises:
            AccessDenied: not permitted, with the deciding policy.
        """
        principal = self.directory.current_user()
        resource = f'{kind}::"{name or self.config.project.id}"'
        try:
            decision = self.policy.require(principal, action, kind, name)
        except AccessDenied as error:
            self.audit.record(principal.uid, action, resource, "denied", reason=error.message)
            raise
        self.audit.record(principal.uid, action, resource, "allowed", policies=list(decision.reasons), **detail)
        return principal

    def run(self, *, start: str | None = None, fresh: bool = False, key: str | None = None, reporter: pipeline.Reporter | None = None) -> RunResult:
        """Run the pipeline, resume the run that a crash interrupted, or say that nothing has changed since the last one.

        Args:
            start: first stage to do again (`data`, `train`, `assess`, `release`) even if nothing changed.
            fresh: do everything again; the same as `start="data"`.
            key: idempotency key: however often and from however many processes it is used, there is one run.
            reporter: hears how it goes.

        Raises:
            BusyError: another living process works on the same run.
            Error: see `casemate.core.errors`; a refused model is a result, not an error.
        """
        if fresh:
            start = "data"
        if key is not None and not _KEY.fullmatch(key):
            raise ConfigError("an idempotency key is 1 to 200 letters, digits, '.', '_', ':', '/' or '-'")
        if start is not None and start not in STAGES:
            raise ConfigError(f"no stage called {start!r}", hint="stages: " + ", ".join(STAGES))
        principal = self.directory.current_user()
        self.policy.require(principal, "run:start")
        with shared_lock(self.state / "lock", self._tidy):
            shop = pipeline.Workshop(
                root=self.root,
                state=self.state,
                config=self.config,
                engine=self.engine,
                registry=self.registry,
                objects=self.objects,
                keys=self.keys,
                signer=self.keys.signer,
                secret=self.keys.folder,
                reporter=reporter or Silent(),
            )
            identifier, release, assessment = pipeline.run(shop, principal.uid, start, key)
            undelivered = [f"{message.key.rpartition('/')[2]}: {fault.message}" for message, fault in self.outbox.send() if fault]
            for study in (self.state / "studies").glob(f"{identifier}.*"):
                remove_tree(study)
        model = self.models[f"{release.model}@{release.model_version}"]
        return RunResult(identifier, model, release, assessment, self.state / "runs" / identifier, undelivered)

    def _tidy(self) -> None:
        """Remove what killed processes left; called only when no run of this project goes on in this folder."""
        clear_scratch(self.state / "tmp")
        for name in ("objects", "datasets", "runs"):  # not the log: a gateway may be writing it
            clear_drafts(self.state / name)
        unfinished = {run["id"] for run in self.engine.runs() if run["ended"] is None}
        for study in (self.state / "studies").glob("*"):
            if study.name.rpartition(".")[0] not in unfinished:
                remove_tree(study)


def _anchored(where: str, root: Path) -> str:
    """A relative folder in `where` means one below the project."""
    kind, _, place = where.partition(":")
    return f"{kind}:{root / place}" if kind in {"file", "git"} and place else where


def log_origin(project_id: str) -> str:
    """The audit log's name in its checkpoints."""
    return f"casemate/{project_id}"


def open_project(path: str | Path = ".", overrides: list[str] | None = None, *, check: bool = True) -> Project:
    """The project in the folder `path` (or whose configuration file is `path`).

    `check` is off only for what repairs or upgrades a catalogue.

    Raises:
        ConfigError: there is no valid project.
    """
    path = Path(path)
    file = path if path.is_file() else path / FILE_NAME
    return Project(file.absolute().parent, configuration.load(file, overrides), check=check)
