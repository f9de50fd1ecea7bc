"""Somebody cuts the newest entries off the audit log, from the catalogue and from what outsiders
read.
"""

import shutil

from casemate.core.errors import Error
from casemate.operations import audit
from casemate.operations.drills.attack import Attack
from casemate.operations.drills.scene import Scene, sql
from casemate.operations.drills.seen import Seen

KEPT = 3


def play(scene: Scene) -> Seen:
    """Play it."""
    with scene.broken() as project:
        audit.verify(project)
        sql(project, ('DELETE FROM audit_entry WHERE "index" >= ?', (KEPT,)))
        shutil.rmtree(project.state / "audit" / "tile")
        watch = scene.strike()
        try:
            audit.verify(project)
        except Error as error:
            watch.sees(f"casemate audit verify: {error.message}")
        return watch.seen()


ATTACK = Attack(
    id="cut-log",
    title="the newest entries are cut off the audit log",
    technique="AML.T0031",
    weakness="CWE-345",
    detects="casemate audit verify",
    within=60,
    play=play,
)
