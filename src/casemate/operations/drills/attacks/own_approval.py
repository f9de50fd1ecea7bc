"""Whoever trained a model approves it too."""

from casemate.core.errors import AccessDenied, Error
from casemate.operations import models
from casemate.operations.drills.attack import Attack
from casemate.operations.drills.scene import Scene
from casemate.operations.drills.seen import Seen


def play(scene: Scene) -> Seen:
    """Play it."""
    reference = scene.reference
    with scene.broken(release__approvals=1) as project:
        watch = scene.strike()
        try:
            models.approve(project, reference, "looks good to me")
        except AccessDenied as error:
            watch.sees(f"policy: {error.message}")
        try:
            models.promote(project, reference)
        except Error as error:
            watch.stops(f"it is not released: {error.message}")
        return watch.seen()


ATTACK = Attack(
    id="own-approval",
    title="whoever trained a model approves it",
    technique="AML.T0012",
    weakness="CWE-269",
    detects="policy: trainer and approver are two people",
    contains="the model is not released",
    within=30,
    play=play,
)
