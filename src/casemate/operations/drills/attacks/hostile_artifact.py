"""A model file from outside that runs a command when it is loaded."""

from pathlib import Path

from casemate.core.errors import RefusedError
from casemate.operations.checkup import import_model
from casemate.operations.drills.attack import Attack
from casemate.operations.drills.scene import Scene
from casemate.operations.drills.seen import Seen


def payload(mark: Path) -> bytes:
    """A pickle that makes the folder `mark` where it is loaded; nothing here can load one."""
    return f"\x80\x02cposix\nmkdir\n(V{mark}\nI448\ntR.".encode("latin-1")


def play(scene: Scene) -> Seen:
    """Play it."""
    with scene.broken() as project:
        mark, file = project.root.parent / "mark", project.root.parent / "model.pkl"
        file.write_bytes(payload(mark))
        watch = scene.strike()
        try:
            import_model(project, file, "gift")
        except RefusedError as error:
            watch.sees(f"casemate model import: {error.message}")
        if not mark.exists() and not (project.root / "imported").exists():
            watch.stops("nothing of it was executed, and nothing was taken in")
        return watch.seen()


ATTACK = Attack(
    id="hostile-artifact",
    title="an imported model file that runs a command when it is loaded",
    technique="AML.T0011.000",
    weakness="CWE-502",
    detects="casemate model import",
    contains="nothing of it is executed or taken in",
    within=300,
    play=play,
)
