"""Somebody changes one bit of a signed model where it is stored."""

from casemate.core.errors import Error, VerificationError
from casemate.operations import models
from casemate.operations.drills.attack import Attack
from casemate.operations.drills.scene import Scene, flip, stored
from casemate.operations.drills.seen import Seen


def play(scene: Scene) -> Seen:
    """Play it."""
    reference = scene.reference
    with scene.broken() as project:
        models.verify(project, reference)  # it is whole before
        files = project.registry.get(reference).release.files
        file = max((one for one in files if one.startswith("model.")), key=len)
        flip(stored(project, files[file]))
        watch = scene.strike()
        try:
            models.verify(project, reference)
        except VerificationError as error:
            watch.sees(f"casemate model: {error.message}")
        try:
            models.promote(project, reference)
        except Error as error:
            watch.stops(f"it is not released: {error.message}")
        return watch.seen(f"one bit of {file} was changed")


ATTACK = Attack(
    id="tampered-model",
    title="one bit of a signed model is changed where it is stored",
    technique="AML.T0018",
    weakness="CWE-353",
    detects="verification before anything reads it",
    contains="it is not released",
    within=30,
    play=play,
)
