"""Whether a model may be let out: enough people have approved it, none of whom made it."""

from casemate.core.errors import RefusedError, VerificationError
from casemate.core.types import Release
from casemate.wiring import Wiring


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
