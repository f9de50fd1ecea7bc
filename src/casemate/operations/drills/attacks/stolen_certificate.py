"""A client's certificate was stolen and is revoked; a stranger has one of an authority of their
own.
"""

from casemate.controls.keys import certificates
from casemate.controls.keys.pki import Authority, create_authority
from casemate.operations.drills.attack import Attack
from casemate.operations.drills.scene import Scene
from casemate.operations.drills.seen import NotPlayable, Seen
from casemate.operations.keys import custody


def play(scene: Scene) -> Seen:
    """Play it."""
    gateway = scene.certified
    folder, foreign = gateway.project.root.parent / "mine", gateway.project.root.parent / "foreign"
    serial = custody.issue(gateway.project, "client", ["drill-client"], 1, "p256", folder)
    token, _ = gateway.token("drill-certificate")
    if gateway.ask(token, "/v2", certificate=folder).status != 200:
        raise NotPlayable("the gateway does not talk to the holder of a good certificate")
    stranger = Authority(*create_authority("stranger"))
    issued = stranger.issue("client", ["drill-client"], 1, "p256")
    certificates.write(foreign, *issued, stranger.pem)
    watch = scene.strike()
    custody.revoke(gateway.project, serial)
    others = [
        gateway.ask(token, "/v2", certificate=foreign).status,
        gateway.ask(token, "/v2").status,
    ]
    if others == [0, 0] and watch.until(
        lambda: gateway.ask(token, "/v2", certificate=folder).status == 0
    ):
        watch.sees("the gateway: no connection for the revoked, the foreign and none")
        watch.stops("the gateway talks to none of them")
    return watch.seen(f"without and with a foreign certificate: {others}")


ATTACK = Attack(
    id="stolen-certificate",
    title="a client certificate is used after it was revoked, and one of a foreign authority",
    technique="AML.T0012",
    weakness="CWE-299",
    detects="the gateway, where it demands certificates",
    contains="no connection",
    within=10,
    play=play,
)
