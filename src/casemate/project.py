"""The composition root: from a folder to a wired `Project`. The only place where a back end is chosen.

What reads or draws tables is imported where it is used: whoever lists runs or keys waits for none of it
(`tests/unit/test_imports.py` says what that is).
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
import sqlalchemy as sa

from casemate import config as configuration
from casemate.config import FILE_NAME, Config, NoticeTable, StoreTable
from casemate.controls.access.point import Options, PolicyPoint
from casemate.controls.access.policy import Policy, Resource
from casemate.controls.access.types import Principal, principal_of
from casemate.controls.access.usage import Usage
from casemate.controls.audit.bodies import Bodies
from casemate.controls.audit.checkpoint import CheckpointSigner
from casemate.controls.audit.decisions import Decisions
from casemate.controls.audit.heads import Heads
from casemate.controls.audit.keyuse import AuditedKeys
from casemate.controls.audit.log import AuditLog
from casemate.controls.audit.outside import Outside
from casemate.controls.audit.signing import SignatureLog
from casemate.controls.keys import signers
from casemate.controls.keys.certificates import Certificates
from casemate.controls.keys.compromises import Compromises
from casemate.controls.keys.objects import ObjectStore
from casemate.controls.keys.recipients import Recipients
from casemate.controls.keys.secrets import secret_servers
from casemate.controls.keys.store import KeyStore, keystore_folder
from casemate.controls.keys.subjects import SubjectKeys
from casemate.controls.privacy.budget import Ledger
from casemate.core import progress
from casemate.core.blobs import Blobs, S3Place, open_blobs, require_conditions
from casemate.core.blobs.s3 import split_url
from casemate.core.clock import Clock, SystemClock
from casemate.core.engine import STAGES, Effort, Engine, Run
from casemate.core.errors import AccessDenied, BackendError, ConfigError, Error, RefusedError, VerificationError
from casemate.core.files import alone, clear_drafts, clear_scratch, remove_tree, shared_lock, write_atomic
from casemate.core.outbox import Message, Outbox, Patience, Route
from casemate.core.page import Section, fragment
from casemate.core.secrets import read_secret
from casemate.core.signatures import Signer
from casemate.core.store import decode, open_store
from casemate.core.store.interface import MOVED, REVISION
from casemate.core.types import Assessment, Release, SealedDataset, TrainedModel, Verdict
from casemate.stages.release.approval import Approval, Approvals
from casemate.stages.release.bundle import VerifiedModel
from casemate.stages.release.registry import Registered, Registry
from casemate.stages.release.rollout import Part, Rollouts
from casemate.stages.release.waiver import Waivers

if TYPE_CHECKING:
    from casemate import pipeline
    from casemate.controls.access.identity.issuers import Workloads
    from casemate.controls.access.identity.oidc import Provider
    from casemate.controls.keys.identifiers import Identifiers
    from casemate.dataset import Datasets
    from casemate.stages.data.review import Reviews
    from casemate.stages.train.told import Words

STATE = ".casemate"
CATALOG = "catalog.db"
PLACE = ("objects", "endpoint", "region", "access_key", "secret_key")
"""The settings of `[store]` that say where objects lie."""
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

    project: Project
    registered: Registered

    @property
    def reference(self) -> str:
        """`NAME@VERSION`."""
        return self.registered.reference

    def __repr__(self) -> str:
        return f"<model {self.reference}: {self.verdict.outcome}>"

    @property
    def verdict(self) -> Verdict:
        """The gates' answer."""
        return self.registered.release.verdict

    def approve(self, reason: str, stage: str | None = None) -> None:
        """Say, as somebody who did not train it, that the model shall be used for a stage.

        Args:
            reason: why, for the record.
            stage: what for; default: the stage that it is signed for.

        Raises:
            AccessDenied: policy does not permit it, such as to the trainer. RefusedError: the model is not signed.
        """
        project, release = self.project, self.registered.release
        stage = stage or project.config.release.stage
        me = project.access.identify().principal.uid
        duties = {name: people for name, people in project.duties(release).items() if name in project.config.release.separate}
        context: dict[str, Any] = {name: principal_of(me if me in people else min(people)) for name, people in duties.items()}
        context["stage"] = stage
        principal = project.authorise("model:approve", "Model", release.model, context=context, version=release.model_version)
        self.verify()
        time, statement = project.approvals.sign(project.signer, release, stage, principal.uid, reason)
        with project.store.transaction() as tx:
            project.approvals.add(tx, release, stage, principal.uid, time, statement)
            detail = {"version": release.model_version, "stage": stage, "bundle": release.bundle}
            project.audit.append(tx, principal.uid, "model:approved", f'Model::"{release.model}"', "done", detail)
        project.audit.publish()

    def approvals(self) -> list[Approval]:
        """Who has approved it, verified."""
        return self.project.approvals.of(self.registered.release)

    def promote(self, part: Part = "live", *, share: float = 0.1, principals: list[str] | None = None, reason: str = "") -> None:
        """Let gateways serve this version; those that run take it within a second, without losing a request.

        Args:
            part: `live`; `canary`: to a share of requests and to some principals; `shadow`: asked too, and nobody hears the answer.
            share: of a canary, 0 to 1.
            principals: of a canary, who always gets it (`Service::"ward-7"`).
            reason: why, for the record.

        Raises:
            AccessDenied: policy does not permit it. RefusedError: it is not signed or approvals are missing.
        """
        project, release = self.project, self.registered.release
        if not 0 <= share <= 1:
            raise ConfigError(f"a share of {share} is not possible", hint="0 to 1")
        principal = project.authorise("model:promote", "Model", release.model, version=release.model_version, part=part)
        self.verify()
        project.require_approved(self.reference)
        share, to = (share, principals or []) if part == "canary" else (1.0, [])
        with project.store.transaction() as tx:
            project.rollouts.promote(tx, release.model, release.model_version, part, share, to, principal.uid, project.clock.now())
            detail = {"version": release.model_version, "part": part, "share": share, "principals": to, "reason": reason}
            project.audit.append(tx, principal.uid, "model:promoted", f'Model::"{release.model}"', "done", detail)
        project.audit.publish()

    def verify(self) -> VerifiedModel:
        """The model's files, after checking both signatures and every digest; AccessDenied for whoever may not read the model."""
        self.project.access.permitted("model:read", Resource("Model", self.registered.release.model))
        return self.project.registry.verify(self.reference)

    def export(self, folder: str | Path) -> VerifiedModel:
        """Write the verified model, its bundle and the public keys to a new folder; RefusedError while approvals are missing."""
        self.project.authorise("model:export", "Model", self.registered.release.model)
        self.project.require_approved(self.reference)
        return self.project.registry.export(self.reference, Path(folder))


class Models(Mapping[str, Model]):
    """Models by `NAME` (newest that passed) or `NAME@VERSION`, for whoever may list models."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def __getitem__(self, reference: str) -> Model:
        self._project.access.permitted("model:list")
        try:
            return Model(self._project, self._project.registry.get(reference))
        except ConfigError as error:
            raise KeyError(reference) from error

    def __iter__(self) -> Iterator[str]:
        self._project.access.permitted("model:list")
        return iter([model.reference for model in self._project.registry.list()])

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
    undelivered: list[str]
    """Receivers that a message of this run has not reached yet; the outbox tries again."""

    @property
    def verdict(self) -> Verdict:
        """The gates' answer."""
        return self.release.verdict

    @property
    def summary(self) -> list[str]:
        """What the run came to, in sentences."""
        from casemate.stages.release import summary

        project = self.model.project
        dataset = project.engine.record(self.id, "data", SealedDataset)
        model = project.engine.record(self.id, "train", TrainedModel)
        return (
            []
            if dataset is None or model is None
            else summary.of(project.config, dataset, model, self.assessment, self.verdict, self.release.model_version)
        )

    @property
    def advice(self) -> list[str]:
        """What to do about gates that do not hold; empty for a signed model."""
        from casemate.stages.release import summary

        return summary.advice(self.verdict)

    def __repr__(self) -> str:
        return f"<{self.verdict.outcome}: {self.model.reference}, run {self.id}>"

    def _repr_html_(self) -> str:
        gates = [[gate.outcome, gate.gate, gate.value, gate.limit] for gate in self.verdict.gates]
        parts = [Section("Summary", points=self.summary), Section("Verdict", points=self.advice, heads=["", "gate", "value", "required"], rows=gates)]
        return fragment(f"{self.model.reference}: {self.verdict.outcome}", parts)


class Project:
    """A user's project: configuration, keys, catalogue, log, registry, policy."""

    def __init__(self, root: Path, config: Config, clock: Clock | None = None, *, check: bool = True) -> None:
        self.root = root
        self.config = config
        self.clock = clock or SystemClock()
        self.state = root / STATE
        if not config.store.url and not self.catalog.is_file():
            raise ConfigError(f"{root} has a {FILE_NAME} but no {STATE}/{CATALOG}", hint="`casemate init` creates it")
        self.store = open_store(config.store.url, self.catalog, config.store.password, self.read_secret)
        self.store.row_digests.attach(lambda: self.audit)
        if check:
            self.store.check()

    def __repr__(self) -> str:
        return f"<casemate project {self.config.project.name!r} in {str(self.root)!r}>"

    def read_secret(self, reference: str) -> str:
        """The secret behind `env:NAME`, `file:PATH`, `prompt`, `vault:MOUNT/PATH#KEY` or `aws-sm:NAME#KEY`; asked for each time."""
        return read_secret(reference, secret_servers(self.config.keys))

    @property
    def catalog(self) -> Path:
        """The SQLite catalogue's file."""
        return self.state / CATALOG

    @cached_property
    def keys(self) -> KeyStore:
        """The key store: private keys, and the provider of key-encryption keys."""
        table = self.config.keys
        anchored = None if table.ca is None else str(self.root / table.ca)
        return KeyStore.open(keystore_folder(self.config.project.id), msgspec.structs.replace(table, ca=anchored))

    @cached_property
    def provider(self) -> AuditedKeys:
        """The key provider; every use is recorded."""
        return AuditedKeys(self.keys.provider, self.audit, lambda: self.access.actor.uid)

    @cached_property
    def signatures(self) -> SignatureLog:
        """The signatures that the log records."""
        return SignatureLog(self.audit, lambda: self.access.actor.uid)

    @cached_property
    def signer(self) -> Signer:
        """Signs; its verifier knows the former signers too, and every signature is in the log before it is given away."""
        own = self.keys.signer
        ring = signers.keyring(own.verifier, self.keys.signers, self.signatures.signed_at, self.compromises.all())
        return Signer(own.classical, own.quantum, ring, self.signatures.record)

    @property
    def compromises(self) -> Compromises:
        """Compromises of signers that were declared on any host."""
        return Compromises(self.store)

    def declare_compromise(self, number: int, since: datetime) -> None:
        """Say that a former signer's keys may have been in other hands: of its signatures only those count that the log shows to be older.

        Args:
            number: of the signer. The present one is declared by `rotation.new_signer`.
            since: when that may have begun.

        Raises:
            AccessDenied: policy. BusyError: a run goes on.
            ConfigError: there is no such former signer, an earlier compromise is declared already.
        """
        principal = self.authorise("keys:signer", "Key", "signer", change="distrust")
        with alone(self.state / "lock", "declaring a compromise"):
            self.keys.distrust(number, since)
            self.compromises.declare(self.audit, principal.uid, self.keys.signers[number - 1], since)
            self.signer_changed()

    def reload_signers(self) -> None:
        """Look into the key store and the catalogue again: another process may have changed the signer or declared a compromise."""
        try:
            self.keys.reload()
        finally:
            for stale in ("signer", "registry"):
                self.__dict__.pop(stale, None)

    @cached_property
    def certificates(self) -> Certificates:
        """The certificates of the project's authority."""
        return Certificates(self.store, self.keys.authority, self.clock)

    @cached_property
    def audit(self) -> AuditLog:
        """The audit log."""
        classical, quantum = self.keys.log_keys
        signer = CheckpointSigner(log_origin(self.config.project.id), classical, quantum)
        return AuditLog(self.state / "audit", self.store, signer, self.clock, Bodies(self.keys.provider), SubjectKeys(self.keys.provider, self.clock))

    @cached_property
    def outside(self) -> Outside:
        """The log's witnesses and copies."""
        return Outside(self.audit, self.config.audit, self.root, self.config.outbox.timeout, Heads(self.keys.folder, self.root, self.clock))

    def resolve_forks(self, reason: str) -> int:
        """Say that another history of the log, which was met earlier, is explained: this one counts. Returns how many were met.

        Args:
            reason: what happened, for the record.

        Raises:
            AccessDenied: policy does not permit it. ConfigError: no reason, or nothing was met.
        """
        if not reason.strip():
            raise ConfigError("a fork is explained by words", hint="--reason TEXT")
        principal = self.authorise("audit:resolve")
        forks = self.outside.heads.read().forks
        if not forks:
            raise ConfigError("no other history of this log was met", hint="`casemate audit verify` says how it is")
        met = [{"time": fork.time, "message": fork.message} for fork in forks[-20:]]
        self.audit.record(principal.uid, "audit:resolved", 'Project::"log"', "done", reason=reason.strip(), met=met, count=len(forks))
        return len(self.outside.resolve())

    @cached_property
    def identifiers(self) -> Identifiers:
        """Seals and opens direct identifiers under their subjects' keys."""
        from casemate.controls.keys.identifiers import Identifiers

        return Identifiers(self.store, self.audit.subjects, self.provider)

    @cached_property
    def access(self) -> PolicyPoint:
        """The policy point: who acts, and what they may do."""
        project, table = self.config.project, self.config.access
        options = Options(
            project=project.id,
            purpose=project.purpose,
            folder=self.root / table.policies,
            environment=table.environment,
            timezone=table.timezone,
            mfa_required=table.mfa == "required",
            local=table.local,
            breached=None if table.breached is None else self.root / table.breached,
            posture=None if table.posture is None else self.root / table.posture,
            places=table.places,
            bulk_rows=table.bulk_rows,
            origin=table.origin or f"https://{self.config.serve.names[0]}:{self.config.serve.port}",
            provider=self._provider,
            workloads=self._workloads,
        )
        return PolicyPoint(self.store, self.clock, options, lambda: self.audit, lambda: self.provider, self._alert)

    def _provider(self, name: str) -> Provider:
        from casemate.controls.access.identity.oidc import Provider  # not at start-up: 0.1 s

        known = self.config.access.providers
        if name not in known:
            raise ConfigError(f"there is no provider {name!r}", hint="[access.providers]: " + (", ".join(sorted(known)) or "none"))
        return Provider(name, known[name], self.root, self.clock, self.read_secret)

    def _workloads(self) -> Workloads | None:
        from casemate.controls.access.identity.issuers import Workloads

        tables = self.config.access.workloads
        return Workloads(tables, self.root, self.clock, self.config.outbox.timeout) if tables else None

    def _alert(self, tx: sa.Connection, event: str, key: str, content: dict[str, Any]) -> None:
        self.outbox.enqueue(tx, event, key, content)

    @property
    def policy(self) -> Policy:
        """The policies in force."""
        return self.access.policy

    @cached_property
    def objects(self) -> ObjectStore:
        """The object store."""
        return ObjectStore(self.blobs(self.config.store), self.provider)

    def blobs(self, store: StoreTable) -> Blobs:
        """Where sealed objects lie according to `store`."""
        keys = {name: self.read_secret(value) for name in ("access_key", "secret_key") if (value := getattr(store, name)) is not None}
        place = S3Place(*split_url(store.objects), store.endpoint, store.region, **keys) if store.objects else None
        return open_blobs(place, self.state / "objects", self.state / "tmp")

    def move_objects(self, settings: dict[str, str], progress: Callable[[str, int, int], None] = lambda _text, _done, _total: None) -> int:
        """Copy every object to another place, read it back there, and point casemate.toml to it; the old copies go last. Returns how many.

        An interrupted move changes nothing but the place that it copied to, and is begun again by the next one.

        Args:
            settings: `objects` (empty for `.casemate/objects`), `endpoint`, `region`, `access_key`, `secret_key` as in `[store]`.
            progress: hears how far it is.

        Raises:
            AccessDenied: policy.
            BusyError: a run goes on. BackendError: the place is away or ignores conditions. VerificationError: an object is damaged.
        """
        place = settings.get("objects") or "files"
        principal = self.authorise("store:migrate", to=place)
        count = self._move_objects(settings, progress)
        self.audit.record(principal.uid, "store:objects-moved", 'Project::"objects"', "done", to=place, count=count)
        return count

    def _move_objects(self, settings: dict[str, str], progress: Callable[[str, int, int], None]) -> int:
        table = msgspec.structs.replace(self.config.store, **(dict.fromkeys(PLACE) | {"objects": ""} | settings))
        with alone(self.state / "lock", "moving the objects"):
            old, new = self.objects, ObjectStore(self.blobs(table), self.provider)
            if table.objects == self.config.store.objects:
                raise ConfigError("the objects are there already", hint="name another place")
            require_conditions(new.blobs)
            names = sorted(old.blobs.names(), key=lambda name: not name.endswith(".key"))  # an object is there once its key is
            for done, name in enumerate(names, 1):
                with old.blobs.open(name) as source, new.blobs.draft() as draft:
                    shutil.copyfileobj(source, draft.file)
                    draft.commit(name, replace=True)
                progress("objects", done, len(names))
            for digest in old.digests():
                for _ in new.pieces(digest):
                    pass
            import tomlkit

            document = tomlkit.parse((self.root / FILE_NAME).read_text(encoding="utf-8"))
            section = document.setdefault("store", tomlkit.table())
            for name in PLACE:
                section.pop(name, None)
            section.update({name: value for name, value in settings.items() if value})
            write_atomic(self.root / FILE_NAME, tomlkit.dumps(document).encode(), mode=0o644)
            for name in names:
                old.blobs.remove(name)
        return len(new.digests())

    @cached_property
    def registry(self) -> Registry:
        """The model registry."""
        return Registry(self.store, self.objects, self.signer.verifier, self.signatures.prove)

    @property
    def rollouts(self) -> Rollouts:
        """Which versions are served to whom."""
        return Rollouts(self.store)

    @property
    def usage(self) -> Usage:
        """What callers have used of models."""
        return Usage(self.store)

    @property
    def decisions(self) -> Decisions:
        """What served models answered."""
        return Decisions(self.audit)

    def rollback(self, model: str, reason: str = "") -> tuple[str, str | None]:
        """Take back what was promoted last of a model: its canary, its shadow, else the live version.

        Args:
            model: its name.
            reason: why, for the record.

        Returns:
            What is gone, and what is live instead if that changed (`NAME@VERSION`).
        """
        principal = self.authorise("model:promote", "Model", model, part="rollback")
        return self._taken_back(model, principal.uid, reason)

    def canary_failed(self, model: str, version: int, reason: str) -> str:
        """Take a canary back on a gateway's behalf, this version and nothing that came in its place; returns what is gone."""
        return self._taken_back(model, "casemate", reason, "canary", version)[0]

    def _taken_back(self, model: str, who: str, reason: str, part: Part | None = None, version: int | None = None) -> tuple[str, str | None]:
        with self.store.transaction() as tx:
            gone, live = self.rollouts.rollback(tx, model, who, self.clock.now(), part=part, version=version)
            detail = {"version": gone.version, "part": gone.part, "live": live, "reason": reason}
            self.audit.append(tx, who, "model:rolled-back", f'Model::"{model}"', "done", detail)
            self.outbox.enqueue(
                tx, "model:rolled-back", f"{gone.reference}/{gone.since}", {"model": gone.reference, "part": gone.part, "reason": reason}
            )
        self.audit.publish()
        return gone.reference, None if live is None else f"{model}@{live}"

    @property
    def approvals(self) -> Approvals:
        """Who approved which model."""
        return Approvals(self.store, self.clock, self.signer.verifier)

    def duties(self, release: Release) -> dict[str, set[str]]:
        """Who trained and measured a model (`trainer`: whoever did a step after the data's), and who sealed its data (`steward`)."""
        runs = {run["id"]: run for run in self.engine.runs()}
        trained = runs.get(release.lineage.run)
        if trained is None:
            raise VerificationError(f"the run {release.lineage.run} of this model is not in the catalogue", hint="casemate fsck")
        origin = next((step["origin"] for step in trained["finished"] if step["name"] == "data"), None)
        sealed = runs.get(origin, trained) if origin else trained
        return {
            "trainer": {step["principal"] for step in trained["finished"] if step["name"] != "data"},
            "steward": {step["principal"] for step in sealed["finished"] if step["name"] == "data"},
        }

    def require_approved(self, reference: str) -> None:
        """RefusedError while `[release] approvals` are missing for the model, or when a waiver that it needed has ended."""
        release, table = self.registry.get(reference).release, self.config.release
        now = self.clock.now().isoformat()
        ended = [gate for gate, until in self.registry.card(release).waived.items() if until <= now]
        if ended:
            raise RefusedError(
                f"{reference} passed {', '.join(ended)} by a waiver that has ended",
                hint="improve the model, or ask an approver: casemate model waive",
            )

        def excluded() -> set[str]:
            return {person for name, people in self.duties(release).items() if name in table.separate for person in people}

        self.approvals.require(release, table.stage, table.approvals, excluded)

    @property
    def ledger(self) -> Ledger:
        """What data sets have spent of their privacy budgets."""
        return Ledger(self.store, self.clock)

    @property
    def recipients(self) -> Recipients:
        """Who can open backups."""
        return Recipients(self.store, self.clock)

    @property
    def reviews(self) -> Reviews:
        """What people decided about rows under suspicion."""
        from casemate.stages.data.review import Reviews

        return Reviews(self.store, self.clock)

    @property
    def waivers(self) -> Waivers:
        """Gates that models may pass without, for a time."""
        return Waivers(self.store, self.clock, self.signer.verifier)

    def waive(self, gate: str, until: datetime, reason: str) -> None:
        """Let the project's model pass without `gate` until a time.

        Args:
            gate: a name in `[gates]`, or `findings`.
            until: end, with time zone.
            reason: why, for the record.

        Raises:
            AccessDenied: policy does not permit it. ConfigError: no such gate, no reason, or an impossible end.
        """
        model = self.config.project.name
        if gate not in {*self.config.gates, "findings"}:
            raise ConfigError(f"[gates] has no {gate!r}", hint="gates: " + ", ".join([*self.config.gates, "findings"]))
        principal = self.authorise("gate:waive", "Model", model, gate=gate)
        since, statement = self.waivers.sign(self.signer, model, gate, until, principal.uid, reason)
        with self.store.transaction() as tx:
            self.waivers.add(tx, model, gate, since, until, principal.uid, statement)
            detail = {"gate": gate, "until": until.isoformat(), "reason": reason.strip()}
            self.audit.append(tx, principal.uid, "gate:waived", f'Model::"{model}"', "done", detail)
        self.audit.publish()

    def unwaive(self, gate: str) -> int:
        """End every waiver of `gate`; returns how many held."""
        model = self.config.project.name
        principal = self.authorise("gate:waive", "Model", model, gate=gate)
        with self.store.transaction() as tx:
            count = self.waivers.withdraw(tx, model, gate)
            self.audit.append(tx, principal.uid, "gate:unwaived", f'Model::"{model}"', "done", {"gate": gate, "waivers": count})
        self.audit.publish()
        return count

    @cached_property
    def outbox(self) -> Outbox:
        """What is to leave, and the receivers of today's configuration."""
        limits = self.config.outbox
        routes = [Route(name, tuple(notice.on), self._way_to(notice)) for name, notice in self.config.notices.items()]
        if self.config.audit.copies:
            routes.append(Route("checkpoint-copies", ENDS, self._copy_checkpoint))
        if self.config.audit.witnesses:
            routes.append(Route("witnesses", ENDS, self._cosign_checkpoint))
        return Outbox(self.store, self.clock, routes, Patience(limits.attempts, limits.backoff, limits.timeout))

    def cancel(self, run: str) -> None:
        """Stop a run; AccessDenied, or ConfigError when there is none that goes on."""
        principal = self.authorise("run:cancel", run=run)
        self.engine.cancel(run, principal.uid)

    def deliver(self, retry: list[int] | None = None) -> list[tuple[Message, Error | None]]:
        """Send what waits in the outbox and is due; (message, what went wrong) of each.

        Args:
            retry: give these dead messages new attempts first; empty for all of them.

        Raises:
            AccessDenied: policy.
        """
        principal = self.authorise("outbox:send")
        if retry is not None:
            with self.store.transaction() as tx:
                count = self.outbox.retry(tx, retry)
                self.audit.append(tx, principal.uid, "outbox:retry", f'Project::"{self.config.project.id}"', "done", {"messages": count})
        return self.outbox.send()

    def _copy_checkpoint(self, _: Message) -> None:
        self.outside.copy()

    def _cosign_checkpoint(self, _: Message) -> None:
        self.outside.judge(self.outside.cosign())

    def _way_to(self, notice: NoticeTable) -> Callable[[Message], None]:
        from casemate.core.outbox import folder, mail, webhook

        timeout = self.config.outbox.timeout
        if notice.kind == "folder":
            return folder.deliver_to(self.root / notice.to)
        if notice.kind == "mail":
            return mail.deliver_to(notice.to, notice.server, notice.sender, timeout)
        reference = notice.secret
        return webhook.deliver_to(notice.to, None if reference is None else lambda: self.read_secret(reference), timeout)

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
        from casemate.dataset import Datasets

        return Datasets(self)

    def upgrade_store(self) -> tuple[str | None, str | None]:
        """Bring key store and catalogue of an older casemate to this one; returns the revisions (before, after).

        An older catalogue cannot be asked who may do what: policy is asked, and what was done recorded, once it is upgraded.

        Raises:
            AccessDenied: policy.
        """
        before = self.store.revision()
        self.bring_up_to_date()
        after = self.store.revision()
        self.authorise("store:upgrade", before=before, after=after)
        return before, after

    def bring_up_to_date(self) -> None:
        """The upgrade itself, of a catalogue that nobody can be asked in yet: one that comes out of a backup, or is about to be asked."""
        self.keys = KeyStore.upgrade(keystore_folder(self.config.project.id), self.config.project.id, self.config.keys)
        self.store.upgrade(Bodies(self.keys.provider).seal)
        with self.store.transaction() as tx:
            self.store.row_digests.adopt(tx)

    @property
    def public_folders(self) -> tuple[Path, Path]:
        """Where the public halves lie: beside the key store, and in the project."""
        return self.keys.folder / "public", self.state / "public"

    @property
    def public_keys(self) -> dict[str, bytes]:
        """The public halves by file name."""
        signer, quantum = self.keys.signer.verifier.pems
        log, authority = self.audit.signer.vkeys.encode(), self.keys.authority.pem
        return {"signer.pub": signer, "signer-mldsa65.pub": quantum, "log.vkey": log, "ca.pem": authority}

    def publish_keys(self) -> None:
        """Write the public halves, and the history of signers."""
        history = signers.publish(self.config.project.id, self.keys.signers, self.keys.signer)
        for folder in self.public_folders:
            for name, content in {**self.public_keys, signers.FILE: history}.items():
                write_atomic(folder / name, content, mode=0o644)

    def signer_changed(self) -> None:
        """Use and publish the key store's new history of signers."""
        for stale in ("signer", "registry"):
            self.__dict__.pop(stale, None)
        self.publish_keys()

    def remember_passphrase(self, reference: str) -> None:
        """Let casemate.toml say where the key store's passphrase comes from."""
        import tomlkit

        document = tomlkit.parse((self.root / FILE_NAME).read_text(encoding="utf-8"))
        document.setdefault("keys", tomlkit.table())["passphrase"] = reference
        write_atomic(self.root / FILE_NAME, tomlkit.dumps(document).encode(), mode=0o644)

    def move_store(self, url: str, password: str | None) -> dict[str, int]:
        """Move the catalogue to the empty database at `url`, verify it, and point casemate.toml there; returns rows per table.

        The old catalogue is fenced: a process that still has it open cannot go on writing to it. What interrupts this later
        than the fence is made good by the same call again, on a project that was opened without `check`.

        Args:
            url: as in `[store] url`; empty for a new SQLite catalogue in `.casemate`.
            password: reference to the database password.

        Raises:
            AccessDenied: policy.
            BackendError: the target holds data, cannot be reached, or is the store in use.
        """
        from casemate.core.store.move import copy_rows

        fenced = self.store.revision() == MOVED
        if not fenced:
            self.store.check()
        decides = self._opened_at(url, password) if fenced else self
        # Never the whole URL goes into the log: it may hold a password.
        to = urlsplit(url).hostname or url.partition(":")[0] or "sqlite"
        decides.authorise("store:migrate", to=to)
        if fenced:
            decides.store.close()
        if url == self.config.store.url:
            raise ConfigError("the catalogue is there already", hint="name another database")
        target = open_store(url, self.catalog, password, self.read_secret)
        try:
            there = target.revision() if url or self.catalog.exists() else None
            if fenced:
                if there != REVISION:
                    raise BackendError(f"{target.name} is not where this catalogue was moved to", hint="name the database of the first try")
                counts = target.counts()
            else:
                # An empty catalogue of this version is what a failed move leaves; `copy_rows` refuses one with rows.
                if there not in {None, REVISION}:
                    raise BackendError(
                        f"{target.name} holds a catalogue already", hint="move into an empty database or schema" if url else "move it away"
                    )
                target.upgrade()
                counts = copy_rows(self.store, target, fence=True)
        finally:
            target.close()
        self._point_to(url, password)
        self.store.close()
        if url:
            self.set_aside()
        return counts

    def _opened_at(self, url: str, password: str | None) -> Project:
        """This project with its catalogue at `url`: an earlier move ended behind the fence, and whoever finishes it is known there."""
        store = msgspec.structs.replace(self.config.store, url=url, password=password)
        return Project(self.root, msgspec.structs.replace(self.config, store=store), self.clock)

    def _point_to(self, url: str, password: str | None) -> None:
        """Let casemate.toml name another catalogue."""
        import tomlkit

        document = tomlkit.parse((self.root / FILE_NAME).read_text(encoding="utf-8"))
        table = document.setdefault("store", tomlkit.table())
        for name, value in (("url", url), ("password", password)):
            if value:
                table[name] = value
            else:
                table.pop(name, None)
        if not table:
            document.remove("store")
        write_atomic(self.root / FILE_NAME, tomlkit.dumps(document).encode(), mode=0o644)

    @property
    def left_behind(self) -> bool:
        """Whether a SQLite catalogue lies here that was moved to the one in use."""
        return bool(self.config.store.url) and self.catalog.is_file() and self._moved_away()

    def _moved_away(self) -> bool:
        old = open_store("", self.catalog)
        try:
            return old.revision() == MOVED
        finally:
            old.close()

    def set_aside(self) -> None:
        """Put the SQLite catalogue that was moved elsewhere out of the way, without anything of the subjects' keys in it; one in use stays."""
        from casemate.core.store.sqlite import vacuum

        if self.catalog.is_file() and not self._moved_away():
            raise ConfigError(f"{self.catalog} was not moved to another database", hint="casemate store migrate URL")
        vacuum(self.catalog)  # nothing of the subjects' keys stays in free pages
        for name in (f"{CATALOG}-wal", f"{CATALOG}-shm", CATALOG):  # the file itself last: a second call finishes
            with contextlib.suppress(FileNotFoundError):
                (self.state / name).rename(self.state / f"moved-{name}")

    def authorise(self, action: str, kind: str = "Project", name: str = "", context: dict[str, Any] | None = None, **detail: Any) -> Principal:
        """Who acts, if policy permits them `action` in this `context`; the decision is recorded either way.

        Raises:
            AccessDenied: not permitted, with the deciding policy.
        """
        return self.access.require(action, Resource(kind, name), context=context, **detail)

    def run(self, *, start: str | None = None, fresh: bool = False, key: str | None = None, reporter: pipeline.Reporter | None = None) -> RunResult:
        """Run the pipeline, resume the run that a crash interrupted, or say that nothing has changed since the last one.

        Args:
            start: first stage to do again (`data`, `train`, `assess`, `release`) even if nothing changed.
            fresh: do everything again; the same as `start="data"`.
            key: idempotency key: however often and from however many processes it is used, there is one run.
            reporter: hears how it goes; default: a line for each stage in a notebook, nothing elsewhere.

        Raises:
            BusyError: another living process works on the same run.
            Error: see `casemate.core.errors`; a refused model is a result, not an error.
        """
        from casemate import pipeline

        if fresh:
            start = "data"
        if key is not None and not _KEY.fullmatch(key):
            raise ConfigError("an idempotency key is 1 to 200 letters, digits, '.', '_', ':', '/' or '-'")
        if start is not None and start not in STAGES:
            raise ConfigError(f"no stage called {start!r}", hint="stages: " + ", ".join(STAGES))
        principal = self.access.permitted("run:start")[0].principal
        self.access.permitted("model:sign", Resource("Model", self.config.project.name), stage=self.config.release.stage)
        with shared_lock(self.state / "lock", self._tidy):
            shop = self.workshop(reporter)
            try:
                identifier, release, assessment = pipeline.run(shop, principal.uid, start, key)
            finally:
                with contextlib.suppress(BackendError):  # what ended the run counts; the next one tries again
                    self._forget_studies()
            undelivered = [f"{message.key.rpartition('/')[2]}: {fault.message}" for message, fault in self.outbox.send() if fault]
        model = Model(self, self.registry.get(f"{release.model}@{release.model_version}"))
        return RunResult(identifier, model, release, assessment, self.state / "runs" / identifier, undelivered)

    def workshop(self, reporter: pipeline.Reporter | None = None) -> pipeline.Workshop:
        """Everything that the stages work with."""
        from casemate import pipeline
        from casemate.dataset import Dataset

        return pipeline.Workshop(
            root=self.root,
            state=self.state,
            config=self.config,
            engine=self.engine,
            registry=self.registry,
            objects=self.objects,
            keys=self.provider,
            identifiers=self.identifiers,
            signer=self.signer,
            secret=self.keys.folder,
            reporter=reporter or progress.watching() or Silent(),
            waivers=self.waivers,
            reviews=self.reviews,
            ledger=self.ledger,
            hears=lambda dataset: Dataset(self, dataset).hears_code(),
        )

    def words(self, run: str) -> Words | None:
        """What the training code of a run said, or of one that failed; None when it said nothing, or no version was sealed.

        Raises:
            AccessDenied: it may quote columns or rows that the current user may not read.
        """
        dataset, model = self.engine.record(run, "data", SealedDataset), self.engine.record(run, "train", TrainedModel)
        digest = "" if model is None else model.said
        if model is None:
            from casemate import pipeline

            error = next((row["error"] for row in self.engine.runs() if row["id"] == run), None) or ""
            named = re.search(re.escape(pipeline.WORDS) + "([0-9a-f]{64})", error)
            digest = named[1] if named else ""
        if dataset is None or not digest:
            return None
        from casemate.dataset import Dataset
        from casemate.stages.train.told import Words

        principal, resource = self.access.identify().principal, f'Dataset::"{dataset.name}"'
        allowed = Dataset(self, dataset).hears_code()
        self.audit.record(principal.uid, "dataset:read", resource, "allowed" if allowed else "denied", version=dataset.version, words_of=run)
        if not allowed:
            raise AccessDenied(
                f"{principal.uid} may not read every column and row that the code of {run} saw, and its words may quote them",
                hint="the project's owner grants roles and writes policies",
            )
        return decode(self.objects.get(digest), Words)

    def _tidy(self) -> None:
        """Remove what killed processes left; called only when no run of this project goes on in this folder."""
        clear_scratch(self.state / "tmp")
        for name in ("objects", "datasets", "runs"):  # not the log: a gateway may be writing it
            clear_drafts(self.state / name)
        self._forget_studies()

    def _forget_studies(self) -> None:
        """Remove the searches of runs that have ended, however; an interrupted one goes on with its own."""
        unfinished = {run["id"] for run in self.engine.runs() if run["ended"] is None}
        for study in (self.state / "studies").glob("*"):
            if study.name.rpartition(".")[0] not in unfinished:
                remove_tree(study)


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
