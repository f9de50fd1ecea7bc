"""Somebody writes an approval into the catalogue, signed by keys of their own."""

import datetime

from casemate.core.errors import Error, UnexplainedRow, VerificationError
from casemate.core.signatures import Signer
from casemate.operations import models
from casemate.operations.drills.attack import Attack
from casemate.operations.drills.scene import Scene, sql
from casemate.operations.drills.seen import Seen
from casemate.stages.release.approval import PREDICATE

INSERT = (
    "INSERT INTO approval (model, version, stage, principal, time, statement)"
    " VALUES (?, ?, ?, ?, ?, ?)"
)


def play(scene: Scene) -> Seen:
    """Play it."""
    reference = scene.reference
    with scene.broken(release__approvals=1) as project:
        release = project.registry.get(reference).release
        now = datetime.datetime.now(datetime.UTC).isoformat()
        stage, who = project.config.release.stage, 'User::"boss"'
        said = {"model": release.model, "version": release.model_version, "stage": stage}
        said |= {"approver": who, "reason": "r", "time": now}
        forged = Signer.generate().sign_statement({"bundle": str(release.bundle)}, PREDICATE, said)
        row = (release.model, release.model_version, stage, who, now, forged)
        sql(project, (INSERT, row))
        watch = scene.strike()
        try:
            models.promote(project, reference)
        except (UnexplainedRow, VerificationError) as error:
            watch.sees(f"casemate model promote: {error.message}")
        except Error as error:
            return watch.seen(f"it was refused for another reason: {error.message}")
        if not project.rollouts.all():
            watch.stops("it is not released")
        return watch.seen()


ATTACK = Attack(
    id="forged-approval",
    title="an approval signed by a stranger is written into the catalogue",
    technique="AML.T0018",
    weakness="CWE-345",
    detects="rows that the log does not explain, and signatures",
    contains="the model is not released",
    within=30,
    play=play,
)
