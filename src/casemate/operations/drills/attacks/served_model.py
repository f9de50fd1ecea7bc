"""Somebody changes a model under a gateway that serves it."""

from casemate.operations import audit
from casemate.operations.drills.attack import Attack
from casemate.operations.drills.scene import Scene, flip, stored
from casemate.operations.drills.seen import Seen


def play(scene: Scene) -> Seen:
    """Play it."""
    gateway = scene.gateway
    token, _, row = gateway.answering("drill-served")
    project = gateway.project
    files = project.registry.get(project.config.project.name).release.files
    after = audit.entries(project)[0]
    flip(stored(project, next(one for name, one in files.items() if name.startswith("model."))))
    watch = scene.strike()
    stopped = watch.until(lambda: gateway.predict(token, [row]).status not in (200, 0))
    told = [
        one
        for one in audit.since(project, after)
        if one.action == "model:withdrawn" and one.outcome == "failed"
    ]
    if told:
        watch.sees("the gateway: model:withdrawn in the log")
    if stopped:
        watch.stops("the gateway answers for it no more")
    return watch.seen()


ATTACK = Attack(
    id="served-model",
    title="a model is changed under a gateway that serves it",
    technique="AML.T0018",
    weakness="CWE-367",
    detects="the gateway, which verifies what it serves again and again",
    contains="no answer by it",
    within=30,
    play=play,
)
