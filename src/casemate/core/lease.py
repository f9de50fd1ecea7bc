"""Who works on a run: a lease with a heartbeat and a fencing token, without comparing clocks.

The owner adds one to `beat` every `BEAT_SECONDS`. Whoever wants the run watches that number: if it
stands still for `PATIENCE` looks, one a second, the owner is gone. No wall clock takes part, and no
single leap of any clock can expire a lease. On the owner's own machine the kernel knows sooner: a
process that is no more holds nothing.

Every write of the owner carries (owner, token) in its UPDATE's WHERE, so that one which slept past
its lease writes nothing.
"""

import os
import platform
import secrets
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Literal

import msgspec
import sqlalchemy as sa

from casemate.core.errors import (
    BackendError,
    Error,
    LeaseLost,
    OutOfMemory,
    RunCancelled,
    StageTimeout,
)
from casemate.core.memory import used
from casemate.core.store import METADATA, Store
from casemate.core.types import Record

# docs/adr/0007: three beats are missed before another process takes a run over
BEAT_SECONDS = 5.0
TICK_SECONDS = 0.5
PATIENCE = 15
STOPPED = ("T", "t")
DEAD = ("Z", "X")

_held: set[str] = set()
"""Owners that live in this process."""

RUNS = sa.Table(
    "run",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("inputs", sa.String, nullable=False),
    sa.Column("principal", sa.String, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("started", sa.String, nullable=False),
    sa.Column("ended", sa.String),
    sa.Column("error", sa.String),
    sa.Column("key", sa.String),
    sa.Column("start", sa.String),
    sa.Column("owner", sa.String, nullable=False, server_default=""),
    sa.Column("token", sa.Integer, nullable=False, server_default="0"),
    sa.Column("beat", sa.Integer, nullable=False, server_default="0"),
    sa.Column("place", sa.String, nullable=False, server_default=""),
    sa.Index("run_key", "key", unique=True),
)


class Place(Record, frozen=True, kw_only=True):
    """Where a process runs, precisely enough to tell it from a later one with the same number."""

    host: str
    """Name of the machine, for people."""
    boot: str
    """Boot id of the kernel; empty where the system tells none."""
    namespace: str
    """PID namespace."""
    pid: int
    """Process number."""
    born: str
    """When the kernel started the process, in clock ticks since boot."""

    @classmethod
    def here(cls) -> "Place":
        """The place of this process: its machine, its number and when it started."""
        try:
            boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
            namespace = os.readlink("/proc/self/ns/pid")
            born = _stat(os.getpid())[1]
        except OSError:
            boot, namespace, born = "", "", ""
        return cls(host=platform.node(), boot=boot, namespace=namespace, pid=os.getpid(), born=born)

    def state(self) -> Literal["alive", "stopped", "dead", "unknown"]:
        """What the kernel of this machine knows about the process; `unknown` when it lives
        elsewhere.
        """
        here = Place.here()
        if not here.boot or (self.boot, self.namespace) != (here.boot, here.namespace):
            return "unknown"
        try:
            state, born = _stat(self.pid)
        except OSError:
            return "dead"
        if born != self.born or state in DEAD:
            return "dead"
        return "stopped" if state in STOPPED else "alive"


def _stat(pid: int) -> tuple[str, str]:
    """(state, start time) of a process, from /proc/PID/stat (proc(5))."""
    # after the last bracket: the second field is a name of the program's choice, brackets and all
    fields = (
        Path(f"/proc/{pid}/stat")
        .read_text(encoding="utf-8", errors="replace")
        .rpartition(")")[2]
        .split()
    )
    return fields[0], fields[19]


def new_owner() -> dict[str, str | int]:
    """Columns of a run that this process begins or takes over."""
    return {
        "owner": secrets.token_hex(8),
        "place": msgspec.json.encode(Place.here()).decode(),
        "beat": 0,
    }


def place_of(row: sa.Row[tuple[object, ...]]) -> Place | None:
    """Where the owner of a run's row lives."""
    try:
        return msgspec.json.decode(row.place, type=Place)
    except (msgspec.MsgspecError, ValueError):
        return None


def owner_state(row: sa.Row[tuple[object, ...]]) -> Literal["alive", "stopped", "dead", "unknown"]:
    """What is known about the owner of a run's row."""
    if not row.owner:
        return "dead"
    place = place_of(row)
    if place is None:
        return "unknown"
    if place == Place.here():
        return "alive" if row.owner in _held else "dead"
    return place.state()


def expired(store: Store, run: str) -> bool:
    """Watch a run's heartbeat until it moves (False) or has stood still for `PATIENCE` looks
    (True).
    """
    seen = _pulse(store, run)
    for _ in range(PATIENCE):
        time.sleep(1.0)
        now = _pulse(store, run)
        if now != seen:
            return False
    return True


def _pulse(store: Store, run: str) -> tuple[object, ...] | None:
    with store.reading() as tx:
        row = tx.execute(
            sa.select(RUNS.c.owner, RUNS.c.token, RUNS.c.beat, RUNS.c.state).where(RUNS.c.id == run)
        ).first()
    return None if row is None else tuple(row)


class Lease:
    """The right to write to one run; a thread keeps it alive and watches for cancellation, the
    stage's deadline and what memory this process uses.
    """

    def __init__(self, store: Store, run: str, owner: str, token: int) -> None:
        self.store = store
        self.run = run
        self.owner = owner
        self.token = token
        self.lost: Error | None = None
        self._deadline: float | None = None
        self._memory: int | None = None
        self._stage = ""
        self._stop = threading.Event()
        self._guard = threading.Lock()
        # Python runs handlers of signals in the main thread only: elsewhere none ends the work
        self._interrupts = threading.current_thread() is threading.main_thread()
        self._former = signal.getsignal(signal.SIGINT)
        # what ignores Ctrl-C, as in the background of a script, or hears it in its own way
        self._foreign = self._interrupts and self._former not in (signal.default_int_handler, None)
        self._thread = threading.Thread(target=self._beat, name="casemate-lease", daemon=True)

    def start(self) -> None:
        """Begin to beat, in a thread of its own, so that others see that this process lives."""
        _held.add(self.owner)
        # Ctrl-C is still whose it was, and the end of the lease ends the work
        if self._foreign:
            signal.signal(signal.SIGINT, self._interrupted)
        self._thread.start()

    def stop(self) -> None:
        """Stop beating; afterwards nothing interrupts the caller."""
        with self._guard:
            self._stop.set()
        _held.discard(self.owner)
        if self._thread.is_alive():
            self._thread.join()
        if self._foreign:
            signal.signal(signal.SIGINT, self._former)

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        if self.lost is not None or self._former is signal.SIG_DFL:
            signal.default_int_handler(number, frame)
        if callable(self._former):
            self._former(number, frame)

    def limit(self, stage: str, seconds: float | None, memory: int | None = None) -> None:
        """Give the stage that begins now a deadline, and a bound of bytes."""
        self._stage, self._deadline = stage, None if seconds is None else time.monotonic() + seconds
        self._memory = memory

    def require(self, tx: sa.Connection) -> None:
        """Go on only as the owner: called first in every transaction of the run.

        Raises:
            LeaseLost: another process took the run over.
            RunCancelled: somebody cancelled it.
            StageTimeout: the stage's time is up.
            OutOfMemory: this process used more than it may.
        """
        if self.lost is not None:
            raise self.lost
        if not self._touch(tx):
            raise self._why(tx)

    @property
    def mine(self) -> tuple[sa.ColumnElement[bool], ...]:
        """The run's row as long as this process owns it."""
        return RUNS.c.id == self.run, RUNS.c.owner == self.owner, RUNS.c.token == self.token

    def _touch(self, tx: sa.Connection) -> bool:
        return (
            tx.execute(
                RUNS.update()
                .where(*self.mine, RUNS.c.state == "running")
                .values(beat=RUNS.c.beat + 1)
            ).rowcount
            == 1
        )

    def _why(self, tx: sa.Connection) -> Error:
        state = tx.execute(sa.select(RUNS.c.state).where(RUNS.c.id == self.run)).scalar()
        if state == "cancelled":
            return RunCancelled(
                f"run {self.run} was cancelled",
                hint=(
                    "`casemate audit show --action run:cancel` says by whom; `casemate run` starts"
                    " anew"
                ),
            )
        return LeaseLost(
            f"another process took run {self.run} over while this one stood still",
            hint="`casemate runs` shows how it goes on",
        )

    def _beat(self) -> None:
        beaten = time.monotonic()
        while not self._stop.wait(TICK_SECONDS):
            if self._deadline is not None and time.monotonic() >= self._deadline:
                self._give_up(
                    StageTimeout(
                        f"the {self._stage} stage took longer than allowed",
                        hint="raise [run] timeouts in casemate.toml",
                    )
                )
                return
            if self._memory is not None and used() > self._memory:
                self._give_up(
                    OutOfMemory(
                        f"the {self._stage} stage used more than [run] memory_gb ="
                        f" {self._memory / 2**30:g}",
                        hint="[data] sample learns from fewer rows; or raise [run] memory_gb",
                    )
                )
                return
            if time.monotonic() - beaten < BEAT_SECONDS:
                continue
            beaten = time.monotonic()
            try:
                with self.store.transaction() as tx:
                    why = None if self._touch(tx) else self._why(tx)
            except BackendError:
                continue  # the next commit of the run meets the same fault and says so
            if why is not None:
                self._give_up(why)
                return

    def _give_up(self, why: Error) -> None:
        self.lost = why
        with self._guard:
            if self._interrupts and not self._stop.is_set():
                # ends a system call that waits, too
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
