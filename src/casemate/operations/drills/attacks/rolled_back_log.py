"""Somebody puts back the project's state of an earlier hour, log and catalogue together: all of it
holds by itself.
"""

import shutil

from casemate.core.errors import Error
from casemate.operations import audit, holds
from casemate.operations.drills.attack import Attack
from casemate.operations.drills.scene import Scene
from casemate.operations.drills.seen import Seen
from casemate.wiring import Wiring


def play(scene: Scene) -> Seen:
    """Play it."""
    with scene.broken() as project:
        root, kept = project.root, project.root.parent / "earlier"
        audit.verify(project)
        project.close()
        shutil.copytree(project.state, kept)
        with Wiring.at(root) as later:
            holds.place(later, "releases", later.config.project.name, "what is to be unsaid")
            audit.verify(later)
        shutil.rmtree(project.state)
        shutil.copytree(kept, project.state)
        watch = scene.strike()
        with Wiring.at(root) as back:
            try:
                audit.verify(back)
            except Error as error:
                watch.sees(f"casemate audit verify: {error.message}")
        return watch.seen()


ATTACK = Attack(
    id="rolled-back-log",
    title="the whole state of an earlier hour is put back",
    technique="AML.T0031",
    weakness="CWE-345",
    detects="casemate audit verify, by what this machine has seen",
    within=60,
    play=play,
)
