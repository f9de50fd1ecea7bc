"""Somebody changes one bit of a sealed table."""

from casemate.core.errors import VerificationError
from casemate.core.types import SealedDataset
from casemate.operations.dataset import Dataset
from casemate.operations.drills.attack import Attack
from casemate.operations.drills.scene import Scene, flip
from casemate.operations.drills.seen import NotPlayable, Seen
from casemate.operations.fsck import examine


def play(scene: Scene) -> Seen:
    """Play it."""
    with scene.broken() as project:
        run = project.history.runs()[0].id if project.history.runs() else ""
        sealed = project.engine.record(run, "data", SealedDataset) if run else None
        if sealed is None:
            raise NotPlayable("the copy's honest run sealed no table")
        folder = project.state / "datasets" / sealed.name / sealed.version
        flip(min(folder.glob("*.parquet")))
        watch = scene.strike()
        found = [one.subject for one in examine(project).damage]
        if any("table" in one or "data" in one for one in found):
            watch.sees(f"casemate fsck: {', '.join(found)[:160]}")
        try:
            Dataset(project, sealed).to_arrow()
        except VerificationError as error:
            watch.stops(f"no row of it is read: {error.message}")
        return watch.seen()


ATTACK = Attack(
    id="tampered-rows",
    title="one bit of a sealed table is changed",
    technique="AML.T0020",
    weakness="CWE-353",
    detects="casemate fsck",
    contains="no row of it is read",
    within=300,
    play=play,
)
