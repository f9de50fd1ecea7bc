"""A stolen token is used from a network in which its service never was."""

from casemate.operations.drills import response
from casemate.operations.drills.attack import Attack
from casemate.operations.drills.scene import Scene
from casemate.operations.drills.seen import Seen

SERVICE, ELSEWHERE = "drill-elsewhere", "127.77.7.7"
"""An address of this machine that lies in another network than its usual one."""


def play(scene: Scene) -> Seen:
    """Play it."""
    gateway = scene.gateway
    token, _, row = gateway.answering(SERVICE)
    watch = scene.strike()

    def refused() -> bool:
        return gateway.predict(token, [row], source=ELSEWHERE).status in (401, 403)

    refused()
    return response.risen(watch, gateway, SERVICE, "new-network", refused)


ATTACK = Attack(
    id="token-elsewhere",
    title="a stolen token is used from a network in which its service never was",
    technique="AML.T0012",
    detects="the finding new-network",
    contains="a playbook in force for access-anomaly",
    within=60,
    play=play,
)
