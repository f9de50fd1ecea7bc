"""A model that answers worse and worse goes on answering."""

import json

from casemate.operations import models
from casemate.operations.drills import response
from casemate.operations.drills.attack import Attack
from casemate.operations.drills.scene import Scene
from casemate.operations.drills.seen import NotPlayable, Seen
from casemate.operations.incidents import handling
from casemate.operations.runs import run

ALERT = "quality-realised"


def play(scene: Scene) -> Seen:
    """Play it."""
    older = scene.reference
    with scene.broken() as project:
        newer = run(project, start="release").model.reference
        if newer == older:
            raise NotPlayable("the copy makes no second version")
        models.promote(project, older)
        models.promote(project, newer)
        with scene.serving(project) as gateway:
            token, _ = gateway.token("drill-caller")
            row = gateway.row()
            bad = newer.partition("@")[2]
            if gateway.predict(token, [row]).value.get("model_version") != bad:
                raise NotPlayable("the gateway does not answer by the newer version")
            alert = {"name": ALERT, "severity": "page", "labels": {"model": newer}}
            watch = scene.strike()
            handling.report(gateway.project, json.dumps({"alerts": [alert]}).encode())
            if watch.until(lambda: response.opened(gateway.project, ALERT)):
                watch.sees(response.opened(gateway.project, ALERT))

            def harmless() -> bool:
                answer = gateway.predict(token, [row])
                return answer.status != 200 or answer.value.get("model_version") != bad

            owed = response.stopped(watch, gateway.project, ALERT, harmless)
            return watch.seen(owed=owed)


ATTACK = Attack(
    id="bad-model",
    title="a model that answers worse and worse goes on answering",
    technique="AML.T0031",
    detects="an incident",
    contains="a playbook in force for quality-*, proven at the gateway",
    within=60,
    play=play,
)
