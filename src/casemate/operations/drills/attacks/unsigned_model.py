"""Somebody writes into the catalogue that a model without a signature has passed."""

import msgspec
from msgspec import structs

from casemate.core.digest import sha256
from casemate.core.errors import Error
from casemate.operations import models
from casemate.operations.drills.attack import Attack
from casemate.operations.drills.scene import Scene
from casemate.operations.drills.seen import Seen
from casemate.stages.release.registry import MODELS


def play(scene: Scene) -> Seen:
    """Play it."""
    reference = scene.reference
    with scene.broken() as project:
        release = project.registry.get(reference).release
        # the bundle of something else: what was never judged looks as if it were signed
        forged = structs.replace(release, bundle=next(iter(release.files.values())))
        content = msgspec.json.encode(forged)
        with project.database.transaction() as tx:
            row = {"release": content, "digest": sha256(content)}
            tx.execute(MODELS.update().values(**row))
        watch = scene.strike()
        try:
            models.verify(project, reference)
        except Error as error:
            watch.sees(f"casemate model: {error.message}")
        try:
            models.promote(project, reference)
        except Error as error:
            watch.stops(f"it is not released: {error.message}")
        return watch.seen()


ATTACK = Attack(
    id="unsigned-model",
    title="the catalogue calls a model signed that is not",
    technique="AML.T0010.003",
    weakness="CWE-347",
    detects="verification before anything reads it",
    contains="it is not released",
    within=30,
    play=play,
)
