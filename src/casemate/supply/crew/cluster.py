"""A cluster of a run's own: scheduler and workers on this machine, with a CA that dies with it."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from casemate.controls.keys import certificates
from casemate.controls.keys.pki import Authority, Kind, create_authority
from casemate.core import quiet
from casemate.core.errors import TransientError
from casemate.core.files import remove_tree
from casemate.supply.crew import node

DAYS = 2
"""Of the cluster's certificates: longer than a run's longest timeout is likely to be."""
CERTIFICATES: dict[str, Kind] = {"scheduler": "node", "workers": "node", "client": "client"}
START = 60.0
"""Seconds within which a scheduler listens; it takes one or two."""


def environment(folder: Path) -> dict[str, str]:
    """Of a process that speaks Dask: nothing of ours, and no settings of the machine's."""
    nothing = str(folder / "nothing")
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": nothing,
        "TMPDIR": str(folder),
        "LANG": "C.UTF-8",
        "DASK_CONFIG": nothing,
        "DASK_ROOT_CONFIG": nothing,
        **quiet.environment(),
    }


def started(module: str, *words: str, folder: Path, **pipes: Any) -> subprocess.Popen[bytes]:
    """A Python process of this package that ends with us."""
    process: subprocess.Popen[bytes] = subprocess.Popen(
        [sys.executable, "-s", "-P", "-m", f"casemate.supply.crew.{module}", *words],
        env=environment(folder),
        cwd="/",
        start_new_session=True,
        **pipes,
    )
    return process


class Cluster:
    """One such cluster; it ends with `close`."""

    def __init__(self, workers: int) -> None:
        """Start it; workers may still be on their way.

        Raises:
            TransientError: the scheduler does not come up.
        """
        # not below the project: its path may be too long for a socket, and its disk slow
        self.folder = Path(tempfile.mkdtemp(prefix="casemate-"))
        authority = Authority(*create_authority(f"cluster {os.getpid()}"))
        self.client = self.folder / "client"
        for name, kind in CERTIFICATES.items():
            chain, key = authority.issue(kind, [node.HOST], DAYS, "p256")
            certificates.write(self.folder / name, chain, key, authority.pem)
        self._log = (self.folder / "log").open("wb")
        self.processes: list[subprocess.Popen[bytes]] = []
        try:
            self.scheduler = self._address()
            (self.folder / "workers" / node.ADDRESS).write_text(self.scheduler)
            for _ in range(workers):
                self._start("worker", "workers")
        except BaseException:
            self.close()
            raise

    def _start(self, kind: str, name: str) -> subprocess.Popen[bytes]:
        folder = self.folder / name
        process = started(
            "node",
            kind,
            str(folder),
            str(os.getpid()),
            folder=folder,
            stdin=subprocess.DEVNULL,
            stdout=self._log.fileno(),
            stderr=self._log.fileno(),
        )
        self.processes.append(process)
        return process

    def _address(self) -> str:
        scheduler, place = self._start("scheduler", "scheduler"), self.folder / "scheduler"
        deadline = time.monotonic() + START
        while time.monotonic() < deadline and scheduler.poll() is None:
            with contextlib.suppress(FileNotFoundError):
                return (place / node.ADDRESS).read_text()
            time.sleep(0.02)
        raise TransientError(
            f"no Dask scheduler came up on this machine: {self.said()}",
            hint='try again, or set [run] engine = "local"',
        )

    def said(self) -> str:
        """The last line that a process of the cluster printed."""
        self._log.flush()
        lines = (self.folder / "log").read_text(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it said nothing"

    def close(self) -> None:
        """End its processes."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
        self._log.close()
        remove_tree(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
