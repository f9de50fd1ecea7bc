"""Several processes that serve one port (SO_REUSEPORT), and the one that watches over them.

Workers share nothing but the catalogue: limits, revocations and releases are the same for all of them within half a second. Each
appends to the log by itself. A worker that dies is replaced; what it had acknowledged is in the log.
"""

import contextlib
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from casemate.core.errors import BackendError, Error
from casemate.core.files import make_folder
from casemate.project import Project
from casemate.serve.ports import reserve

FOLDER = "gateway"
"""In the project's state: where workers leave their counts."""
START_SECONDS = 60.0
RESTARTS, RESTART_SECONDS = 10, 60.0
"""So many deaths within this time end the gateway: something is wrong that a new worker does not cure."""
STOP_SECONDS = 30.0
Announce = Callable[[str, list[str]], None]
Work = Callable[[Project, int, int | None, Announce], None]


def serve_many(project: Project, announce: Announce, work: Work) -> None:
    """Run `[serve] workers` processes until SIGTERM or SIGINT.

    Args:
        project: whose models.
        announce: called with (URL, model references) once every worker answers.
        work: what a worker does, given the project, the ports of HTTP and of gRPC, and whom to tell that it answers.

    Raises:
        BackendError: the port is taken, or workers end again and again.
    """
    table = project.config.serve
    folder = make_folder(project.state / FOLDER)
    for stale in folder.glob("*.json"):
        stale.unlink()
    principal = project.authorise("gateway:start", workers=table.workers)
    with contextlib.ExitStack() as kept:
        port = kept.enter_context(reserve(table.host, table.port)).getsockname()[1]
        grpc_port = None if table.grpc_port is None else kept.enter_context(reserve(table.host, table.grpc_port)).getsockname()[1]
        team = _Team(project, port, grpc_port, work)
        try:
            url, references = team.start(table.workers)
            announce(url, references)
            team.watch()
        finally:
            team.stop()
    project.audit.record(principal.uid, "gateway:stop", f'Project::"{project.config.project.id}"', "done")


class _Team:
    """The processes."""

    def __init__(self, project: Project, port: int, grpc_port: int | None, work: Work) -> None:
        self._project, self._port, self._grpc_port, self._work = project, port, grpc_port, work
        self._workers: dict[int, int] = {}
        """Process id -> the pipe's end on which it says that it answers."""
        self._ended = False

    def start(self, count: int) -> tuple[str, list[str]]:
        """Start all; returns what the first of them announces."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop_wanted)
        told = b""
        for _ in range(count):
            pid = self._spawn()
            told = self._heard(pid)
            if not told:
                raise BackendError("a worker ended while it started", hint="its message stands above; `casemate doctor` looks for the rest")
        url, *references = told.decode().split("\n")
        return url, references

    def _stop_wanted(self, *_: Any) -> None:
        self._ended = True

    def _spawn(self) -> int:
        readable, writable = os.pipe()
        self._project.store.close()  # no connection of ours is to be inherited
        pid = os.fork()
        if pid:
            os.close(writable)
            self._workers[pid] = readable
            return pid
        status = 1
        try:
            os.close(readable)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            self._work(self._project, self._port, self._grpc_port, lambda url, references: _tell(writable, url, references))
            status = 0
        except Error as error:
            print(error.diagnostics(), file=sys.stderr, flush=True)
        except BaseException:  # noqa: BLE001 - the process ends here, whatever it was
            traceback.print_exc()
        finally:
            os._exit(status)

    def _heard(self, pid: int) -> bytes:
        """What a worker announces; empty when it ended without."""
        end = time.monotonic() + START_SECONDS
        with os.fdopen(self._workers[pid], "rb") as pipe:
            self._workers[pid] = -1
            while not self._ended and time.monotonic() < end:
                if select.select([pipe], [], [], 0.1)[0]:
                    return pipe.read()  # a worker tells all at once, or ends
        return b""

    def watch(self) -> None:
        """Replace workers that die, until told to stop."""
        deaths: list[float] = []
        while not self._ended:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                pid, status = 0, 0
            if pid not in self._workers:
                time.sleep(0.05)
                continue
            del self._workers[pid]
            deaths = [*(death for death in deaths if death > time.monotonic() - RESTART_SECONDS), time.monotonic()]
            how = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit code {os.WEXITSTATUS(status)}"
            self._project.audit.record("casemate", "gateway:worker", f'Project::"{self._project.config.project.id}"', "failed", ended=how)
            if len(deaths) > RESTARTS:
                raise BackendError(f"workers end again and again ({how})", hint="look at their messages above")
            self._heard(self._spawn())

    def stop(self) -> None:
        """End all: first politely."""
        for number, wait in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, 5.0)):
            for pid in self._workers:
                os.kill(pid, number)
            end = time.monotonic() + wait
            while self._workers and time.monotonic() < end:
                for pid in list(self._workers):
                    if os.waitpid(pid, os.WNOHANG)[0]:
                        del self._workers[pid]
                time.sleep(0.02)


def _tell(pipe: int, url: str, references: list[str]) -> None:
    with os.fdopen(pipe, "wb") as file:
        file.write("\n".join([url, *references]).encode())
