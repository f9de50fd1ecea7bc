"""The composition root: from a folder to a wired `Project`. The only place where a back end is chosen."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from casemate import config as configuration
from casemate import pipeline
from casemate.config import FILE_NAME, Config
from casemate.controls.access.policy import Policy
from casemate.controls.access.principals import Directory, Principal
from casemate.controls.audit.checkpoint import CheckpointSigner
from casemate.controls.audit.log import AuditLog
from casemate.controls.keys import tables
from casemate.controls.keys.file import FileKeyStore, keystore_folder
from casemate.controls.keys.objects import ObjectStore
from casemate.core.clock import Clock, SystemClock
from casemate.core.engine import STAGES, Engine, Run
from casemate.core.errors import AccessDenied, ConfigError
from casemate.core.files import clear_drafts, clear_scratch, exclusive_lock
from casemate.core.store import Store
from casemate.core.types import Assessment, Release, SealedDataset, Verdict
from casemate.stages.release.bundle import VerifiedModel
from casemate.stages.release.registry import Registered, Registry

STATE = ".casemate"


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
class RunResult:
    """What a run ended with."""

    id: str
    model: Model
    release: Release
    assessment: Assessment
    folder: Path

    @property
    def verdict(self) -> Verdict:
        """The gates' answer."""
        return self.release.verdict


class Project:
    """A user's project: configuration, keys, catalogue, log, registry, policy."""

    def __init__(self, root: Path, config: Config, clock: Clock | None = None) -> None:
        self.root = root
        self.config = config
        self.clock = clock or SystemClock()
        self.state = root / STATE
        if not (self.state / "catalog.db").is_file():
            raise ConfigError(f"{root} has a {FILE_NAME} but no {STATE}/catalog.db", hint="`casemate init` creates it")
        self.store = Store(self.state / "catalog.db")
        self.store.check()
        self.directory = Directory(self.store, self.clock)

    @cached_property
    def keys(self) -> FileKeyStore:
        """The key store."""
        return FileKeyStore.open(keystore_folder(self.config.project.id))

    @cached_property
    def audit(self) -> AuditLog:
        """The audit log."""
        classical, quantum = self.keys.log_keys
        signer = CheckpointSigner(log_origin(self.config.project.id), classical, quantum)
        return AuditLog(self.state / "audit", self.store, signer, self.clock)

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
    def engine(self) -> Engine:
        """The step engine."""
        return Engine(self.store, self.audit, self.clock, self.state / "runs")

    @property
    def models(self) -> Models:
        """Registered models."""
        return Models(self)

    @property
    def datasets(self) -> Datasets:
        """Sealed data sets."""
        return Datasets(self)

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

    def run(self, *, start: str | None = None, reporter: pipeline.Reporter | None = None) -> RunResult:
        """Run the pipeline, or resume the run that a crash interrupted.

        Args:
            start: first stage to do again (`data`, `train`, `assess`, `release`).
            reporter: hears how it goes.

        Raises:
            Error: see `casemate.core.errors`; a refused model is a result, not an error.
        """
        if start is not None and start not in STAGES:
            raise ConfigError(f"no stage called {start!r}", hint="stages: " + ", ".join(STAGES))
        principal = self.directory.current_user()
        self.policy.require(principal, "run:start")
        with exclusive_lock(self.state / "lock", "another run of this project is going on"):
            clear_scratch(self.state / "tmp")
            for name in ("objects", "datasets", "runs"):  # not the log: a gateway may be writing it
                clear_drafts(self.state / name)
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
            identifier, release, assessment = pipeline.run(shop, principal.uid, start)
            clear_scratch(self.state / "studies")
        model = self.models[f"{release.model}@{release.model_version}"]
        return RunResult(identifier, model, release, assessment, self.state / "runs" / identifier)


def log_origin(project_id: str) -> str:
    """The audit log's name in its checkpoints."""
    return f"casemate/{project_id}"


def open_project(path: str | Path = ".", overrides: list[str] | None = None) -> Project:
    """The project in the folder `path` (or whose configuration file is `path`).

    Raises:
        ConfigError: there is no valid project.
    """
    path = Path(path)
    file = path if path.is_file() else path / FILE_NAME
    return Project(file.absolute().parent, configuration.load(file, overrides))
