"""A way over a model's border is looked for, one value at a time: evasion, and what the model says
of one person.
"""

from casemate.operations.drills import queries
from casemate.operations.drills.attack import Attack
from casemate.operations.drills.scene import Scene
from casemate.operations.drills.seen import Seen


def play(scene: Scene) -> Seen:
    """Play it."""
    gateway = scene.gateway
    return queries.play(scene, "drill-probing", queries.neighbours(gateway), gateway)


ATTACK = Attack(
    id="probing",
    title="one row is asked about again and again, a single value changed each time",
    technique="AML.T0043.001",
    detects="the finding model-probing, or [serve.limits]",
    contains="a playbook in force for access-anomaly, or the limit",
    within=60,
    play=play,
)
