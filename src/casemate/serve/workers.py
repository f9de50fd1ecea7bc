"""The processes of a gateway: workers that accept from one listening socket, and the supervisor
that watches over them.

The supervisor holds no connection, not even to the catalogue, and waits for nothing: it reads
heartbeats (`heartbeat.py`). A worker that ends, is stopped or stands still is replaced; who stood
still because of a model names it, and a model that does so again and again is withdrawn.
Connections that come meanwhile wait in the socket's queue, which belongs to no worker.

Workers share nothing else but the catalogue: limits, revocations and releases are the same for all
of them within half a second. Each appends to the log by itself; what a worker had acknowledged is
in the log, however it ended.
"""

import contextlib
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from casemate.core.errors import BackendError, Error
from casemate.core.files import make_folder
from casemate.core.sandbox.confine import die_with_parent
from casemate.operations import gateways
from casemate.serve.heartbeat import ENDING, SECOND, Board, Heartbeat, Notice
from casemate.serve.ports import bound, reserve
from casemate.serve.worker import (
    FOLDER,
    Announce,
    Ended,
    Place,
    Said,
    Started,
    Work,
    Worker,
    fault_of,
)
from casemate.wiring import Wiring

START_SECONDS = 60.0
"""How long a worker may take to say how its start went. A judgement: it verifies and loads every
model.
"""
LOOK_SECONDS = 0.05
"""Between looks: how long a dead worker goes unnoticed."""
STRIKES, STRIKE_SECONDS = 2, 3600.0
"""A model version that stands still so often within this time is withdrawn: once can be a machine
that was too busy.
"""
STALL_SECONDS = 30.0
"""How long an event loop may stand still for another reason than a model: SQLite waits so long for
its lock, and no new worker cures a slow disk.
"""
RESTARTS, RESTART_SECONDS = 10, 60.0
"""So many ends within this time end the gateway: something is wrong that a new worker does not
cure.
"""
AGAIN_SECONDS = 1.0
"""After which a worker is started again that found the catalogue or the key provider away."""
DEAF_SECONDS = 5.0
"""Without a beat after which a worker that was asked to stop is killed: its loop does not run, so
it does not hear.
"""
STOP_SECONDS = 30.0
"""How long a worker may take to answer what it has begun and to write its records."""


def supervise(project: Wiring, announce: Announce, work: Work, standby: Work) -> None:
    """Run `[serve] workers` processes until SIGTERM or SIGINT.

    Args:
        project: whose models.
        announce: called with (URL, model references) once every worker answers.
        work: what a worker does, given the project, its place, and whom to tell that it answers.
        standby: what the process does that answers while no worker can.

    Raises:
        BackendError: the port is taken, or workers end again and again.
        Error: what kept the first worker from starting.
    """
    table = project.config.serve
    folder = make_folder(project.state / FOLDER)
    for stale in (*folder.glob("*.json"), *folder.glob("*.probe")):
        stale.unlink()
    acting = gateways.begin(project, table.workers)
    with contextlib.ExitStack() as kept:
        listener = kept.enter_context(bound(table.host, table.port))
        grpc_port = (
            None
            if table.grpc_port is None
            else kept.enter_context(
                reserve(table.host, table.grpc_port, "[serve] grpc_port")
            ).getsockname()[1]
        )
        team = _Team(project, listener, grpc_port, work, standby)
        before = {
            number: signal.signal(number, team.stop_wanted)
            for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            started = team.start(table.workers)
            if started is not None:
                announce(started.url, started.references)
                team.watch()
        finally:
            team.stop()
            for number, former in before.items():
                signal.signal(number, former)
    gateways.ended(acting)


class _Team:
    """The supervisor's side."""

    def __init__(
        self,
        project: Wiring,
        listener: socket.socket,
        grpc_port: int | None,
        work: Work,
        standby: Work,
    ) -> None:
        self._project, self._listener, self._grpc_port = project, listener, grpc_port
        self._work, self._stand_by = work, standby
        self._standby = 0
        """Process id of who answers while no worker can; 0 while there is none."""
        self._spared = -AGAIN_SECONDS
        self._count = project.config.serve.workers
        self._board = Board(2 * self._count + 2)
        self._free = list(self._board.pages)
        self._workers: dict[int, Worker] = {}
        self._wanted = 0
        """How often somebody asked for the end."""
        self._ends: list[float] = []
        self._strikes: dict[str, list[float]] = {}
        self._replaced: Counter[str] = Counter()
        self._due: list[tuple[float, str, int]] = []
        """(when, why, in whose place) a worker is to be started."""
        self._looked = time.monotonic_ns()

    def start(self, count: int) -> Started | None:
        """Start all; returns what the first of them announces, None when the end was asked for
        meanwhile.
        """
        told = None
        for _ in range(count):
            worker = self._spawn("")
            said = None
            while said is None and not self._wanted:
                said = self._heard(worker, 0.1)
            if said is None:
                return None
            if said.started is None:
                raise fault_of(said.ended)
            told = told or said.started
        return told

    def stop_wanted(self, *_: Any) -> None:
        """A signal came; who asks a second time waits for nobody."""
        self._wanted += 1

    def _spawn(self, after: str) -> Worker:
        readable, writable = os.pipe()
        heartbeat = self._free.pop()
        heartbeat.clear()
        pid = self._fork(
            self._work,
            writable,
            Place(heartbeat, self._board, self._listener, self._grpc_port, after),
            b"casemate-worker",
        )
        os.close(writable)
        self._workers[pid] = worker = Worker(pid, heartbeat, readable)
        return worker

    def _spare(self) -> None:
        """Start who answers while no worker can."""
        if time.monotonic() < self._spared + AGAIN_SECONDS:
            return
        self._spared = time.monotonic()
        pipe = os.open(os.devnull, os.O_WRONLY)
        self._standby = self._fork(
            self._stand_by,
            pipe,
            Place(Heartbeat.alone(), self._board, self._listener, None, "standby"),
            b"casemate-spare",
        )
        os.close(pipe)

    def _fork(self, work: Work, pipe: int, place: Place, name: bytes) -> int:
        self._project.database.close()  # no connection of ours is to be inherited
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        pid = os.fork()
        if not pid:
            die_with_parent()
            if os.getppid() != parent:
                os._exit(1)
            with contextlib.suppress(OSError):
                Path("/proc/self/comm").write_bytes(name)
            self._child(work, pipe, place)
        return pid

    def _child(self, work: Work, pipe: int, place: Place) -> NoReturn:
        """A process's whole life."""
        status, parent_hears = 1, os.fdopen(pipe, "wb")

        def tell(said: Said) -> None:
            with contextlib.suppress(OSError), parent_hears:
                parent_hears.write(msgspec.json.encode(said))

        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            self._project.keystore.disconnect()
            work(
                self._project,
                place,
                lambda url, references: tell(Said(started=Started(url, references))),
            )
            status = 0
        except Error as error:
            status = error.exit_code
            if place.after or parent_hears.closed:
                print(error.diagnostics(), file=sys.stderr, flush=True)
            else:
                tell(Said(ended=Ended(error.code, error.message, error.hint)))
        except BaseException:  # noqa: BLE001 - the process ends here, whatever it was
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _heard(self, worker: Worker, seconds: float) -> Said | None:
        """What a worker says about its start; None while it has not said anything."""
        if worker.pipe < 0:
            return None
        poll = select.poll()
        poll.register(worker.pipe, select.POLLIN)
        if not poll.poll(seconds * 1000):
            if time.monotonic() - worker.began <= START_SECONDS:
                return None
            os.kill(worker.pid, signal.SIGKILL)
        return self._read(worker)

    def _read(self, worker: Worker) -> Said:
        with os.fdopen(worker.pipe, "rb") as pipe:
            worker.pipe = -1
            content = pipe.read()  # a worker says all at once, or ends
        return msgspec.json.decode(content, type=Said) if content else Said()

    def watch(self) -> None:
        """Replace workers that end or stand still, until told to stop."""
        while not self._wanted:
            self._wait(LOOK_SECONDS)
            self._reap()
            if not self._standby and not self._wanted:
                self._spare()
            now = time.monotonic_ns()
            # Who was stopped with us, or slept with the machine, has not stood still.
            looked, self._looked = self._looked, now
            if now - looked < SECOND:
                for worker in list(self._workers.values()):
                    if self._heard(worker, 0) is not None and worker.relieves in self._workers:
                        os.kill(worker.relieves, signal.SIGTERM)
                    self._look(worker, now)
            while self._due and self._free and self._due[0][0] <= time.monotonic():
                _, why, relieves = self._due.pop(0)
                self._spawn(why).relieves = relieves

    def _wait(self, seconds: float) -> None:
        """Until a worker that starts says something, at most so long."""
        poll = select.poll()
        for worker in self._workers.values():
            if worker.pipe >= 0:
                poll.register(worker.pipe, select.POLLIN)
        poll.poll(seconds * 1000)

    def _look(self, worker: Worker, now: int) -> None:
        """Whether a worker must go."""
        if worker.leaving:
            if time.monotonic() > worker.leaving:
                os.kill(worker.pid, signal.SIGKILL)
            return
        last, broken = worker.heartbeat.last, worker.heartbeat.broken(now)
        if not 0 < last < ENDING:
            return
        silent = (now - last) / SECOND
        if broken is not None:
            self._strike(broken[1])
            self._replace(worker, "stuck", broken[1], at_once=silent > 1.0)
        elif silent > STALL_SECONDS or (
            silent > self._project.config.serve.stuck and not worker.heartbeat.runs
        ):
            self._replace(worker, "still", "", at_once=True)

    def _strike(self, model: str) -> None:
        """Remember that a model stood still."""
        now = time.monotonic()
        self._strikes[model] = [
            *(one for one in self._strikes.get(model, []) if one > now - STRIKE_SECONDS),
            now,
        ]

    def _replace(self, worker: Worker, reason: str, model: str, *, at_once: bool) -> None:
        """Put another worker in the place of one that is not good any more; it may end what it has
        begun if it still can.
        """
        self._replaced[reason] += 1
        stuck = {name: len(strikes) for name, strikes in self._strikes.items() if name}
        self._board.say(
            Notice(
                dict(self._replaced),
                stuck,
                [name for name, count in stuck.items() if count >= STRIKES],
            )
        )
        what = (
            f"{model or 'a model'} stood still"
            if reason == "stuck"
            else "it stood still"
            if reason == "still"
            else model
        )
        print(
            f"casemate serve: worker {worker.pid} is replaced: {what}", file=sys.stderr, flush=True
        )
        worker.leaving = time.monotonic() + (0.0 if at_once else STOP_SECONDS)
        if at_once and worker.pid in self._workers:
            os.kill(worker.pid, signal.SIGKILL)
        self._due.append((0.0, f"{reason}:{model}", worker.pid))

    def _reap(self) -> None:
        """Take note of workers that have ended."""
        if self._standby and os.waitpid(self._standby, os.WNOHANG)[0]:
            self._standby = 0
        for pid, worker in list(self._workers.items()):
            found, status = os.waitpid(pid, os.WNOHANG)
            if not found:
                continue
            self._gone(worker)
            if worker.leaving or self._wanted:
                continue
            how = (
                f"signal {os.WTERMSIG(status)}"
                if os.WIFSIGNALED(status)
                else f"exit code {os.WEXITSTATUS(status)}"
            )
            if os.WIFEXITED(status) and os.WEXITSTATUS(status) == BackendError.exit_code:
                self._due.append((time.monotonic() + AGAIN_SECONDS, how, 0))
                continue
            self._ends = [
                *(end for end in self._ends if end > time.monotonic() - RESTART_SECONDS),
                time.monotonic(),
            ]
            if len(self._ends) > RESTARTS:
                raise BackendError(
                    f"workers end again and again ({how})", hint="look at their messages above"
                )
            self._replace(worker, "ended", how, at_once=True)

    def _gone(self, worker: Worker) -> None:
        del self._workers[worker.pid]
        self._free.append(worker.heartbeat)
        if worker.pipe >= 0:
            os.close(worker.pipe)

    def stop(self) -> None:
        """End all: politely, but for who stands still; at once when somebody asks again."""
        asked, now = self._wanted, time.monotonic_ns()
        if self._standby:
            os.kill(self._standby, signal.SIGKILL)
            os.waitpid(self._standby, 0)
        for worker in self._workers.values():
            still = worker.heartbeat.broken(now) is not None or not worker.heartbeat.runs
            os.kill(worker.pid, signal.SIGKILL if still else signal.SIGTERM)
        end = time.monotonic() + STOP_SECONDS
        while self._workers:
            for pid, worker in list(self._workers.items()):
                if os.waitpid(pid, os.WNOHANG)[0]:
                    self._gone(worker)
                elif time.monotonic() > end or self._wanted > max(asked, 1) or self._deaf(worker):
                    os.kill(pid, signal.SIGKILL)
            self._wait(LOOK_SECONDS)

    def _deaf(self, worker: Worker) -> bool:
        """Whether a worker cannot hear that it should end: its event loop has not turned for a
        while, and did not end either.
        """
        last = worker.heartbeat.last
        return 0 < last < ENDING and time.monotonic_ns() - last > DEAF_SECONDS * SECOND
