"""Somebody edits an entry of the audit log, in the catalogue."""

from casemate.core.errors import Error
from casemate.operations import audit
from casemate.operations.drills.attack import Attack
from casemate.operations.drills.scene import Scene, asked, sql
from casemate.operations.drills.seen import Seen


def play(scene: Scene) -> Seen:
    """Play it."""
    with scene.broken() as project:
        audit.verify(project)  # it is whole before
        (sealed,) = asked(project, 'SELECT sealed FROM audit_entry WHERE "index" = 2')
        changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
        sql(project, ('UPDATE audit_entry SET sealed = ? WHERE "index" = 2', (changed,)))
        watch = scene.strike()
        try:
            audit.verify(project)
        except Error as error:
            watch.sees(f"casemate audit verify: {error.message}")
        return watch.seen()


ATTACK = Attack(
    id="edited-log",
    title="an entry of the audit log is edited",
    technique="AML.T0031",
    weakness="CWE-345",
    detects="casemate audit verify",
    within=60,
    play=play,
)
