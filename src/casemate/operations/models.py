"""Registered models: who approves one, lets gateways serve it, takes it back, exports it, lets it
pass without a gate.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from casemate.controls.access.types import principal_of
from casemate.core.errors import ConfigError, RefusedError, VerificationError
from casemate.core.types import Release, Verdict
from casemate.ml.own import code
from casemate.operations.acting import Noun, operation, reading
from casemate.operations.holds import require_none
from casemate.operations.rights.kept import require_kept
from casemate.stages.release.approval import Approval
from casemate.stages.release.bundle import VerifiedModel
from casemate.stages.release.registry import Registered
from casemate.stages.release.rollout import Part
from casemate.wiring import Wiring


@dataclass(frozen=True)
class Model:
    """A model of the registry, with what can be asked and done about it."""

    project: Wiring
    registered: Registered

    @property
    def reference(self) -> str:
        """How this version is asked for, `NAME@VERSION`."""
        return self.registered.reference

    def __repr__(self) -> str:
        return f"<model {self.reference}: {self.verdict.outcome}>"

    @property
    def verdict(self) -> Verdict:
        """What the gates said of it, each by itself and together."""
        return self.registered.release.verdict

    @property
    def code(self) -> dict[str, str]:
        """Files of code that it computes with, and their SHA-256: who approves it approves them."""
        return code.among(self.registered.release.files)

    def approve(self, reason: str, stage: str | None = None) -> None:
        """See `operations.models.approve`."""
        approve(self.project, self.reference, reason, stage)

    def approvals(self) -> list[Approval]:
        """Who has approved it, verified."""
        return self.project.approvals.of(self.registered.release)

    def promote(
        self,
        part: Part = "live",
        *,
        share: float = 0.1,
        principals: list[str] | None = None,
        reason: str = "",
    ) -> None:
        """See `operations.models.promote`."""
        promote(
            self.project, self.reference, part, share=share, principals=principals, reason=reason
        )

    def verify(self) -> VerifiedModel:
        """See `operations.models.verify`."""
        return verify(self.project, self.reference)

    def export(self, folder: str | Path) -> VerifiedModel:
        """See `operations.models.export`."""
        return export(self.project, self.reference, folder)


@reading("model:list")
def listing(project: Wiring) -> list[Registered]:
    """Every version, newest first; AccessDenied: policy."""
    return project.registry.list()


@reading("model:list")
def get(project: Wiring, reference: str) -> Model:
    """One model by `NAME` (newest that passed) or `NAME@VERSION`; AccessDenied: policy.
    ConfigError: there is none.
    """
    return Model(project, project.registry.get(reference))


@operation("model:read", "Model")
def show(project: Wiring, reference: str) -> Model:
    """One model in full, for whoever may read it; AccessDenied, ConfigError."""
    registered = project.registry.get(reference)
    show.ask(project, registered.release.model, unrecorded=True)
    return Model(project, registered)


@operation("model:read", "Model")
def verify(project: Wiring, reference: str) -> VerifiedModel:
    """The model's files, after checking both signatures and every digest.

    Raises:
        AccessDenied: policy. VerificationError: something does not hold.
    """
    verify.ask(project, project.registry.get(reference).release.model, unrecorded=True)
    return project.registry.verify(reference)


@operation("model:approve", "Model")
def approve(project: Wiring, reference: str, reason: str, stage: str | None = None) -> Model:
    """Say, as somebody who did not train it, that the model shall be used for a stage.

    Args:
        project: whose model.
        reference: `NAME` or `NAME@VERSION`.
        reason: why, for the record.
        stage: what for; default: the stage that it is signed for.

    Raises:
        AccessDenied: policy does not permit it, such as to the trainer. RefusedError: the model is
            not signed.
    """
    registered = project.registry.get(reference)
    release = registered.release
    stage = stage or project.config.release.stage
    me = project.point.identify().principal.uid
    separate = {
        name: people
        for name, people in duties(project, release).items()
        if name in project.config.release.separate
    }
    context: dict[str, Any] = {
        name: principal_of(me if me in people else min(people)) for name, people in separate.items()
    }
    acting = approve.ask(
        project, release.model, context=context | {"stage": stage}, version=release.model_version
    )
    verify(project, reference)
    time, statement = project.approvals.sign(project.signer, release, stage, acting.uid, reason)
    with acting.transaction() as tx:
        project.approvals.add(tx, release, stage, acting.uid, time, statement)
        detail = {"version": release.model_version, "stage": stage, "bundle": release.bundle}
        acting.append(tx, "model:approved", f'Model::"{release.model}"', **detail)
    return Model(project, registered)


@operation("model:promote", "Model")
def promote(
    project: Wiring,
    reference: str,
    part: Part = "live",
    *,
    share: float = 0.1,
    principals: list[str] | None = None,
    reason: str = "",
) -> Model:
    """Let gateways serve this version; those that run take it within a second, without losing a
    request.

    Args:
        project: whose model.
        reference: `NAME@VERSION`.
        part: `live`; `canary`: to a share of requests and to some principals; `shadow`: asked too,
            and nobody hears the answer.
        share: of a canary, 0 to 1.
        principals: of a canary, who always gets it (`Service::"ward-7"`).
        reason: why, for the record.

    Raises:
        AccessDenied: policy does not permit it. RefusedError: it is not signed or approvals are
            missing, or a hold keeps it from being released.
    """
    registered = project.registry.get(reference)
    release = registered.release
    if not 0 <= share <= 1:
        raise ConfigError(f"a share of {share} is not possible", hint="0 to 1")
    acting = promote.ask(project, release.model, version=release.model_version, part=part)
    project.require_own()
    verify(project, reference)
    require_approved(project, reference)
    require_none(project, "releases", registered.reference)
    require_kept(project, registered.reference)
    share, to = (share, principals or []) if part == "canary" else (1.0, [])
    with acting.transaction() as tx:
        require_none(project, "releases", registered.reference, tx)  # placed meanwhile
        project.rollouts.promote(
            tx,
            release.model,
            release.model_version,
            part,
            share,
            to,
            acting.uid,
            project.clock.now(),
        )
        detail = {
            "version": release.model_version,
            "part": part,
            "share": share,
            "principals": to,
            "reason": reason,
        }
        acting.append(tx, "model:promoted", f'Model::"{release.model}"', **detail)
    return Model(project, registered)


@operation("model:export", "Model")
def export(project: Wiring, reference: str, folder: str | Path) -> VerifiedModel:
    """Write the verified model, its bundle, approvals and the public keys to a new folder.

    Raises:
        AccessDenied: policy. RefusedError: approvals are missing, or it is withdrawn for somebody
            whose rows taught it. VerificationError: something does not hold.
    """
    registered = project.registry.get(reference)
    release = registered.release
    export.ask(project, release.model, version=release.model_version)
    require_approved(project, reference)
    require_kept(project, registered.reference)
    approvals = project.approvals.statements(release)
    return project.registry.export(reference, Path(folder), approvals)


@operation("model:promote", "Model")
def rollback(project: Wiring, model: str, reason: str = "") -> tuple[str, str | None]:
    """Take back what was promoted last of a model: its canary, its shadow, else the live version.

    Args:
        project: whose model.
        model: its name.
        reason: why, for the record.

    Returns:
        What is gone, and what is live instead if that changed (`NAME@VERSION`).

    Raises:
        AccessDenied: policy. ConfigError: there is nothing to go back to. RefusedError: what would
            be live is withdrawn for somebody whose rows taught it.
    """
    acting = rollback.ask(project, model, part="rollback")
    return _taken_back(project, model, acting.uid, reason)


@operation("model:contain", "Model")
def take_back(project: Wiring, reference: str, reason: str) -> tuple[str, str | None]:
    """Take back one version, whichever part it is released as, and nothing that came in its place.

    Args:
        project: whose model.
        reference: `NAME@VERSION`.
        reason: why, for the record.

    Returns:
        As `rollback`.

    Raises:
        AccessDenied: policy. ConfigError: it is not released, or there is nothing to go back to.
            RefusedError: what would be live is withdrawn for somebody whose rows taught it.
    """
    model, _, version = reference.partition("@")
    acting = take_back.ask(project, model, version=version)
    part = next((one.part for one in project.rollouts.all() if one.reference == reference), None)
    if part is None:
        raise ConfigError(f"{reference} is not released", hint="casemate model list")
    return _taken_back(project, model, acting.uid, reason, part, int(version))


def canary_failed(project: Wiring, model: str, version: int, reason: str) -> str:
    """Take a canary back on a gateway's behalf, this version and nothing that came in its place;
    returns what is gone.
    """
    return _taken_back(project, model, "casemate", reason, "canary", version)[0]


def _taken_back(
    project: Wiring,
    model: str,
    who: str,
    reason: str,
    part: Part | None = None,
    version: int | None = None,
) -> tuple[str, str | None]:
    with project.database.transaction() as tx:
        gone, live = project.rollouts.rollback(
            tx, model, who, project.clock.now(), part=part, version=version
        )
        if live is not None:
            _require_good_to_return(project, f"{model}@{live}")
        detail = {"version": gone.version, "part": gone.part, "live": live, "reason": reason}
        project.log.append(tx, who, "model:rolled-back", f'Model::"{model}"', "done", detail)
        told = {"model": gone.reference, "part": gone.part, "reason": reason}
        project.outbox.enqueue(tx, "model:rolled-back", f"{gone.reference}/{gone.since}", told)
    project.log.publish()
    return gone.reference, None if live is None else f"{model}@{live}"


def _require_good_to_return(project: Wiring, reference: str) -> None:
    """RefusedError: the version before was withdrawn meanwhile, for somebody whose rows taught
    it.
    """
    try:
        require_kept(project, reference)
    except RefusedError as error:
        name = reference.partition("@")[0]
        raise RefusedError(
            f"{error.message}; nothing was taken back",
            hint=f"promote another version, or keep it silent: casemate hold place answers {name}"
            " --reason TEXT",
        ) from error


def duties(project: Wiring, release: Release) -> dict[str, set[str]]:
    """Who trained and measured a model (`trainer`: whoever did a step after the data's), and who
    sealed its data (`steward`).
    """
    runs = {run.id: run for run in project.engine.runs()}
    trained = runs.get(release.lineage.run)
    if trained is None:
        raise VerificationError(
            f"the run {release.lineage.run} of this model is not in the catalogue",
            hint="casemate fsck",
        )
    origin = next((step.origin for step in trained.finished if step.name == "data"), None)
    sealed = runs.get(origin, trained) if origin else trained
    return {
        "trainer": {step.principal for step in trained.finished if step.name != "data"},
        "steward": {step.principal for step in sealed.finished if step.name == "data"},
    }


def require_approved(project: Wiring, reference: str) -> None:
    """RefusedError while `[release] approvals` are missing for the model, or when a waiver that it
    needed has ended.
    """
    if project.handed:  # verifying it asks for the approvals and waivers that are signed with it
        return
    release, table = project.registry.get(reference).release, project.config.release
    if ended := project.registry.card(release).ended(project.clock.now()):
        raise RefusedError(
            f"{reference} passed {', '.join(ended)} by a waiver that has ended",
            hint="improve the model, or ask an approver: casemate model waive",
        )

    def excluded() -> set[str]:
        return {
            person
            for name, people in duties(project, release).items()
            if name in table.separate
            for person in people
        }

    project.approvals.require(release, table.stage, table.approvals, excluded)


@operation("gate:waive", "Model")
def waive(project: Wiring, gate: str, until: datetime, reason: str) -> None:
    """Let the project's model pass without `gate` until a time.

    Args:
        project: whose model.
        gate: a name in `[gates]`, or `findings`.
        until: end, with time zone.
        reason: why, for the record.

    Raises:
        AccessDenied: policy does not permit it. ConfigError: no such gate, no reason, or an
            impossible end.
    """
    model = project.config.project.name
    if gate not in {*project.config.gates, "findings"}:
        raise ConfigError(
            f"[gates] has no {gate!r}",
            hint="gates: " + ", ".join([*project.config.gates, "findings"]),
        )
    acting = waive.ask(project, model, gate=gate)
    since, statement = project.waivers.sign(project.signer, model, gate, until, acting.uid, reason)
    with acting.transaction() as tx:
        project.waivers.add(tx, model, gate, since, until, acting.uid, statement)
        detail = {"gate": gate, "until": until.isoformat(), "reason": reason.strip()}
        acting.append(tx, "gate:waived", f'Model::"{model}"', **detail)


@operation("gate:waive", "Model")
def unwaive(project: Wiring, gate: str) -> int:
    """End every waiver of `gate`; returns how many held. AccessDenied: policy."""
    model = project.config.project.name
    acting = unwaive.ask(project, model, gate=gate)
    with acting.transaction() as tx:
        count = project.waivers.withdraw(tx, model, gate)
        acting.append(tx, "gate:unwaived", f'Model::"{model}"', gate=gate, waivers=count)
    return count


class Models(Noun, Mapping[str, Model]):
    """Models by `NAME` (newest that passed) or `NAME@VERSION`, for whoever may list models, and
    what can be done with them.
    """

    def __getitem__(self, reference: str) -> Model:
        try:
            return get(self.project, reference)
        except ConfigError as error:
            raise KeyError(reference) from error

    def __iter__(self) -> Iterator[str]:
        return iter([model.reference for model in listing(self.project)])

    def __len__(self) -> int:
        return len(listing(self.project))

    list = listing
    show = show
    verify = verify
    approve = approve
    promote = promote
    export = export
    rollback = rollback
    take_back = take_back
    waive = waive
    unwaive = unwaive
