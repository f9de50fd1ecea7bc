"""Training code that reaches for the network, for keys and for files that are not its own."""

import json
import socket

from casemate.core.errors import Error
from casemate.operations.drills.attack import Attack
from casemate.operations.drills.scene import Scene
from casemate.operations.drills.seen import NotPlayable, Seen
from casemate.operations.runs import run

CODE = """
import json, os, socket
TARGETS = json.loads({targets!r})
REACHED = []

def attempt(name, act):
    try:
        act()
    except Exception:
        return
    REACHED.append(name)

attempt("network", lambda: socket.create_connection(("127.0.0.1", TARGETS["port"]), 2))
attempt("keys", lambda: open(TARGETS["keys"], "rb").read())
attempt("catalogue", lambda: open(TARGETS["catalogue"], "rb").read())
attempt("passwords", lambda: open("/etc/shadow", "rb").read())
attempt("another's folder", lambda: open(TARGETS["mark"], "wb").write(b"x"))
attempt("another process", lambda: open("/proc/1/environ", "rb").read())
"""
"""What is put before the project's own training code; harmless where it succeeds."""
BRAG = """

if REACHED:
    raise RuntimeError("REACHED " + ", ".join(REACHED))
"""


def play(scene: Scene) -> Seen:
    """Play it."""
    with scene.broken() as project, socket.create_server(("127.0.0.1", 0)) as listener:
        if project.config.train.model is not None:
            raise NotPlayable("the model is an imported file: no code of anybody's trains it")
        file = project.root / project.config.train.entry.partition(":")[0]
        targets = {
            "port": listener.getsockname()[1],
            "keys": str(project.keystore.folder / "keystore.json"),
            "catalogue": str(project.catalog),
            "mark": str(project.root.parent / "mark"),
        }
        own = file.read_text()
        file.write_text(CODE.format(targets=json.dumps(targets)) + BRAG + "\n\n" + own)
        watch = scene.strike()
        said, is_refused, findings = "", False, []
        try:
            result = run(project)
            is_refused = result.verdict.outcome != "passed"
            findings = result.findings
        except Error as error:
            is_refused, findings = True, error.findings
            said = f"{error.code}: {error.message}"[:200]
        listener.settimeout(0.05)
        try:
            listener.accept()
            came = True
        except TimeoutError:
            came = False
        tried = [one for one in findings if one.id.startswith("sandbox.")]
        if tried:
            watch.sees(f"the sandbox: {', '.join(sorted({one.id for one in tried}))}")
        reached = "REACHED" in said or came or (project.root.parent / "mark").exists()
        if not reached and is_refused:
            watch.stops("nothing was reached, and the run ends without a model")
        return watch.seen(said or "; ".join(one.message for one in tried[:3])[:300])


ATTACK = Attack(
    id="hostile-training",
    title="training code that reaches for the network, for keys and for others' files",
    technique="AML.T0011",
    weakness="CWE-829",
    detects="the sandbox's record of what was tried",
    contains="nothing is reached, and no model is signed",
    within=600,
    play=play,
)
