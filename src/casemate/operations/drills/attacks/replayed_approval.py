"""Somebody takes the approval of one version for another: its signature is right."""

from casemate.core.errors import RefusedError, UnexplainedRow, VerificationError
from casemate.operations import models
from casemate.operations.access import people
from casemate.operations.drills.attack import Attack
from casemate.operations.drills.attacks.forged_approval import INSERT
from casemate.operations.drills.scene import Scene, asked, sql
from casemate.operations.drills.seen import NotPlayable, Seen
from casemate.operations.runs import run


def play(scene: Scene) -> Seen:
    """Play it."""
    reference = scene.reference
    with scene.broken(release__approvals=1) as project:
        people.add_user(project, "approver-of-drill", ["approver"])
        with project.database.transaction() as tx:
            session = project.point.sessions.begin(tx, "approver-of-drill", "password")
        models.approve(project.acting(session.access), reference, "as it should be")
        models.promote(project, reference)
        newer = run(project, start="release")
        if newer.verdict.outcome != "passed" or newer.model.reference == reference:
            raise NotPlayable("the copy makes no second version")
        query = "SELECT model, version, stage, principal, time, statement FROM approval"
        row = list(asked(project, query))
        row[1] = newer.release.model_version
        watch = scene.strike()
        sql(project, (INSERT, tuple(row)))
        try:
            models.promote(project, newer.model.reference)
        except (UnexplainedRow, VerificationError) as error:
            watch.sees(f"casemate model promote: {error.message}")
        except RefusedError as error:
            return watch.seen(f"it was refused for another reason: {error.message}")
        if all(one.reference == reference for one in project.rollouts.all()):
            watch.stops("the newer version is not released")
        return watch.seen()


ATTACK = Attack(
    id="replayed-approval",
    title="the approval of one version is written down for another",
    technique="AML.T0018",
    weakness="CWE-294",
    detects="rows that the log does not explain, and what the signature is about",
    contains="the version is not released",
    within=30,
    play=play,
)
