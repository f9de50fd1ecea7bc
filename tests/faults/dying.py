"""Processes that kill themselves before any statement or commit of the catalogue, or beside the
publication of the log: the n-th such step is the last.
"""

import subprocess
import sys
from pathlib import Path

DIES = """
import os, signal, sys
import sqlalchemy as sa

root, last = sys.argv[1], int(sys.argv[2])
steps = 0

def step(*_):
    global steps
    steps += 1
    if steps == last:
        os.kill(os.getpid(), signal.SIGKILL)

def counts(project):
    project.log.publish()
    for name in ("before_cursor_execute", "commit"):
        sa.event.listen(project.database.engine, name, step)
"""
"""Before a script, which opens its project, lets its steps count, and prints them at its end."""


def dying(script: str, root: Path, last: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a script on the project in `root` until its step `last`; 0: to its end."""
    return subprocess.run(
        [sys.executable, "-c", DIES + script, str(root), str(last)],
        capture_output=True,
        text=True,
        check=False,
    )
