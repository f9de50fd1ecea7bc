"""A token that is bound to a certificate is stolen without it."""

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from casemate.controls.access.identity.tokens import TokenLimits
from casemate.operations import audit
from casemate.operations.access import machines
from casemate.operations.drills.attack import Attack
from casemate.operations.drills.scene import HOUR, Scene
from casemate.operations.drills.seen import NotPlayable, Seen
from casemate.operations.keys import custody

SERVICE = "drill-bound"


def play(scene: Scene) -> Seen:
    """Play it."""
    gateway = scene.certified
    project = gateway.project
    mine, thief = project.root.parent / "bound", project.root.parent / "thief"
    for folder, name in ((mine, "drill-owner"), (thief, "drill-thief")):
        custody.issue(project, "client", [name], 1, "p256", folder)
    certificate = x509.load_pem_x509_certificate((mine / "cert.pem").read_bytes())
    limits = TokenLimits(certificate=certificate.fingerprint(hashes.SHA256()).hex())
    token, _ = machines.create_token(project, SERVICE, ["client"], ["*"], HOUR, limits)
    if gateway.ask(token, "/v2", certificate=mine).status != 200:
        raise NotPlayable("the token gets no answer with its own certificate")
    after = audit.entries(project)[0]
    watch = scene.strike()
    status = gateway.ask(token, "/v2", certificate=thief).status

    def told() -> bool:
        return any(
            one.principal == f'Service::"{SERVICE}"' and one.outcome == "denied"
            for one in audit.since(project, after)
        )

    if watch.until(told):
        watch.sees("the log: access:authenticate, elsewhere")
    if status == 401:
        watch.stops("the gateway: 401")
    return watch.seen()


ATTACK = Attack(
    id="bound-token",
    title="a token that is bound to a certificate is used without it",
    technique="AML.T0012",
    weakness="CWE-294",
    detects="the gateway, and the log",
    contains="no answer",
    within=10,
    play=play,
)
