"""Somebody leaves a file among the project's that runs a command where a tool loads it."""

from casemate.operations.drills.attack import Attack
from casemate.operations.drills.attacks.hostile_artifact import payload
from casemate.operations.drills.scene import Scene
from casemate.operations.drills.seen import Seen
from casemate.operations.scans.looking import scan


def play(scene: Scene) -> Seen:
    """Play it."""
    with scene.broken() as project:
        (project.root / "weights.bin").write_bytes(payload(project.root.parent / "mark"))
        watch = scene.strike()
        found = scan(project, ["artifacts"])
        mine = [one for one in found.found if one.kept.finding.path == "weights.bin"]
        if mine:
            watch.sees(f"casemate scan artifacts: {mine[0].kept.finding.rule}")
        return watch.seen()


ATTACK = Attack(
    id="planted-file",
    title="a file among the project's runs a command where a tool loads it",
    technique="AML.T0010.001",
    weakness="CWE-502",
    detects="casemate scan artifacts",
    within=300,
    play=play,
)
