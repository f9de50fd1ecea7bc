"""A stolen token is tried on everything that it may not do."""

from casemate.operations.drills import response
from casemate.operations.drills.attack import Attack
from casemate.operations.drills.scene import Scene
from casemate.operations.drills.seen import Seen

SERVICE, TRIES = "drill-overreach", 130
PLACE = "/metrics"


def play(scene: Scene) -> Seen:
    """Play it."""
    gateway = scene.gateway
    token, _, row = gateway.answering(SERVICE)
    watch = scene.strike()
    with gateway.opened() as connection:
        for _ in range(TRIES):
            gateway.ask(token, PLACE, connection=connection)

    def refused() -> bool:
        return gateway.predict(token, [row]).status in (401, 403)

    return response.risen(watch, gateway, SERVICE, "denied-storm", refused)


ATTACK = Attack(
    id="overreach",
    title="a stolen token is tried on what it may not do",
    technique="AML.T0012",
    weakness="CWE-285",
    detects="the finding denied-storm",
    contains="a playbook in force for access-anomaly",
    within=60,
    play=play,
)
