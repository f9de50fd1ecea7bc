"""A package of which a fault is known is among the requirements."""

import json
import zipfile

from casemate.operations.drills.attack import Attack
from casemate.operations.drills.scene import Scene
from casemate.operations.drills.seen import Seen
from casemate.operations.scans import advisories
from casemate.operations.scans.looking import scan

NAME = "casemate-drill-leaky"


def play(scene: Scene) -> Seen:
    """Play it."""
    with scene.broken() as project:
        entry = {
            "id": "DRILL-1",
            "modified": project.clock.now().isoformat(),
            "summary": "a fault for drills",
            "affected": [
                {
                    "package": {"ecosystem": "PyPI", "name": NAME},
                    "ranges": [
                        {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.0"}]}
                    ],
                }
            ],
        }
        snapshot = project.root.parent / "all.zip"
        with zipfile.ZipFile(snapshot, "w") as archive:
            archive.writestr("DRILL-1.json", json.dumps(entry))
        advisories.sign(project, snapshot)
        advisories.add(project, snapshot)
        (project.root / "requirements.txt").write_text(f"{NAME}==1.5\n")
        watch = scene.strike()
        found = scan(project, ["dependencies"])
        if any(one.kept.finding.package == NAME for one in found.found):
            watch.sees("casemate scan dependencies")
        return watch.seen()


ATTACK = Attack(
    id="weak-package",
    title="a package with a known fault is among the requirements",
    technique="AML.T0010.001",
    weakness="CWE-1395",
    detects="casemate scan dependencies",
    within=300,
    play=play,
)
