"""A model is copied: everything that it takes is asked, evenly."""

from casemate.operations.drills import queries
from casemate.operations.drills.attack import Attack
from casemate.operations.drills.scene import Scene
from casemate.operations.drills.seen import Seen


def play(scene: Scene) -> Seen:
    """Play it."""
    gateway = scene.gateway
    return queries.play(scene, "drill-extraction", queries.anything(gateway), gateway)


ATTACK = Attack(
    id="extraction",
    title="a model is asked about everything that it takes, to copy it",
    technique="AML.T0024.002",
    detects="the finding model-probing, or [serve.limits]",
    contains="a playbook in force for access-anomaly, or the limit",
    within=60,
    play=play,
)
