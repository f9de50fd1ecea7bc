"""Somebody changes a model that was handed over, and somebody else signs it with keys that lie
beside it.
"""

import subprocess
import sys

from casemate.core.signatures import Signer
from casemate.operations import models
from casemate.operations.drills import scene
from casemate.operations.drills.attack import Attack
from casemate.operations.drills.scene import Scene, flip
from casemate.operations.drills.seen import Seen
from casemate.stages.release import bundle


def verified(folder: str) -> tuple[int, str]:
    """What `casemate verify` says, as whoever gets the folder asks it."""
    command = [sys.executable, *scene.PROGRAM, "verify", folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr.strip().partition("\n")[0]


def play(on: Scene) -> Seen:
    """Play it."""
    reference = on.reference
    with on.broken() as project:
        folder, other = project.root.parent / "handed", project.root.parent / "foreign"
        for one in (folder, other):
            models.export(project, reference, one)
        files = sorted((folder / bundle.MODEL_FOLDER).glob("model.*"))
        flip(files[0])
        stranger = Signer.generate()
        content = bundle.read_folder(other / bundle.MODEL_FOLDER)
        (other / bundle.BUNDLE).write_bytes(bundle.sign(content, stranger))
        for name, pem in zip(bundle.PUBLIC_KEYS, stranger.verifier.pems, strict=True):
            (other / name).write_bytes(pem)
        watch = on.strike()
        (first, told), (second, also) = verified(str(folder)), verified(str(other))
        if first and second:
            watch.sees(f"casemate verify: {told}; {also}")
            watch.stops(f"exit codes {first} and {second}: nothing behind them starts")
        return watch.seen()


ATTACK = Attack(
    id="tampered-export",
    title="a model that was handed over is changed, and another is signed by a stranger",
    technique="AML.T0010.003",
    weakness="CWE-347",
    detects="casemate verify",
    contains="its exit code",
    within=300,
    play=play,
)
