"""A code of a second factor is used once more by whoever looked over a shoulder."""

import base64
import time

from casemate.controls.access.identity.factors import STEP, codes_at
from casemate.core.errors import AccessDenied
from casemate.operations.access import logins, people
from casemate.operations.drills.attack import Attack
from casemate.operations.drills.scene import Scene
from casemate.operations.drills.seen import NotPlayable, Seen

NAME = "drill-person"


def play(scene: Scene) -> Seen:
    """Play it."""
    with scene.broken() as project:
        people.add_user(project, NAME, ["auditor"])
        with project.database.transaction() as tx:
            session = project.point.sessions.begin(tx, NAME, "password")
        person = project.acting(session.access)
        secret, _ = logins.add_factor(person)
        codes = codes_at(base64.b32decode(secret), int(time.time()) // STEP)
        logins.confirm_factor(person, codes[0][1])
        code = codes[1][1]
        try:
            project.point.factors.verify(NAME, code)
        except AccessDenied as error:
            raise NotPlayable(f"a fresh code is not taken: {error.message}") from error
        watch = scene.strike()
        try:
            project.point.factors.verify(NAME, code)
        except AccessDenied as error:
            watch.sees(f"casemate access: {error.message}")
            watch.stops("the code is used up")
        return watch.seen()


ATTACK = Attack(
    id="replayed-code",
    title="a code of a second factor is used once more",
    technique="AML.T0012",
    weakness="CWE-294",
    detects="the second factor",
    contains="no session by it",
    within=20,
    play=play,
)
