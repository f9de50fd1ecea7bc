"""A token was stolen and is revoked; the thief goes on."""

from casemate.operations.access import machines
from casemate.operations.drills.attack import Attack
from casemate.operations.drills.scene import Scene
from casemate.operations.drills.seen import Seen


def play(scene: Scene) -> Seen:
    """Play it."""
    gateway = scene.gateway
    token, identifier, row = gateway.answering("drill-stolen")
    watch = scene.strike()
    machines.revoke_token(gateway.project, identifier)
    if watch.until(lambda: gateway.predict(token, [row]).status == 401):
        watch.sees("the gateway: 401")
        watch.stops("the gateway answers it no more")
    return watch.seen()


ATTACK = Attack(
    id="revoked-token",
    title="a stolen token is used after it was revoked",
    technique="AML.T0012",
    weakness="CWE-613",
    detects="the gateway",
    contains="no answer",
    within=5,
    play=play,
)
