"""The process that forks for every job, and a job as seen from outside: its pipes, and tables in
memory.
"""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import BinaryIO, Self

import msgspec
import pyarrow as pa

from casemate.core import quiet
from casemate.core.threads import WAITING

MAX_LOG = 64 * 1024
"""Bytes of what the job prints that are kept: the last ones."""


class ForkServer:
    """A process that warms up at once, and forks for every job that one of its workers gets; it
    runs none itself.
    """

    def __init__(self, targets: Sequence[str], threads: int = 0) -> None:
        """Start it.

        Args:
            targets: `module:function` of each kind of job, called as `function(job, channel,
                watch)` inside.
            threads: threads of numeric libraries; 0 means all cores.
        """
        cores = os.cpu_count() or 1
        count = str(threads or cores)
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": os.devnull,  # nobody can make a folder there; the job gets its own
            **quiet.environment(),
            "LANG": "C.UTF-8",
            "LOKY_MAX_CPU_COUNT": str(cores),
            "OMP_NUM_THREADS": count,
            "OPENBLAS_NUM_THREADS": count,
            **WAITING,
            # converters iterate over sets: equal input must give equal files
            "PYTHONHASHSEED": "0",
        }
        self._log = _memory()
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-s",
                    "-P",
                    "-m",
                    "casemate.core.sandbox.child",
                    str(theirs.fileno()),
                    *targets,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._log,
                env=environment,
                cwd="/",
                pass_fds=[theirs.fileno()],
                # Its own session, so that all of its children can be ended together, and no
                # terminal's signal reaches them.
                start_new_session=True,
            )

    def start(self, target: str, descriptors: list[int]) -> None:
        """Fork for a job, whose standard input, output and error are the first three
        descriptors.
        """
        self._ask(f"start {target}", descriptors)

    def ended(self) -> int | None:
        """How the job ended, as `subprocess.Popen.returncode`; None while it runs."""
        return self._ask("poll")

    def kill(self) -> int | None:
        """End the job if it has not; how it ended."""
        return self._ask("kill")

    def log(self) -> bytes:
        """The end of what it printed before it forked for the first job."""
        self._log.seek(0)
        return self._log.read()[-MAX_LOG:]

    def _ask(self, request: str, descriptors: Sequence[int] = ()) -> int | None:
        try:
            socket.send_fds(self._control, [request.encode()], descriptors)
            return msgspec.json.decode(self._control.recv(64), type=int | None)
        except (OSError, msgspec.DecodeError):  # it is gone, and everything that it started
            return self._process.wait()
        # interrupted before the answer came, which would be taken for a part of the next one
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End it, and what it started."""
        self._control.close()
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()


class HeldTable:
    """A table in memory that nobody can change, for several jobs: it is written once."""

    def __init__(self, table: pa.Table) -> None:
        self._file = os.fdopen(_memory_file(table), "rb")

    def handed(self) -> int:
        """A descriptor of it."""
        return os.dup(self._file.fileno())

    def close(self) -> None:
        """Let go of it; jobs that have it keep it."""
        self._file.close()


class Job:
    """A fork of the server while it works: its pipes, and how it ended."""

    def __init__(
        self,
        server: ForkServer,
        target: str,
        tables: list[pa.Table],
        further: Sequence[int] = (),
    ) -> None:
        """Start it.

        Args:
            server: who forks.
            target: see `ForkServer`.
            tables: what it gets in memory.
            further: descriptors that it gets behind them; they are closed here.
        """
        self.server = server
        self.code: int | None = None
        pipes = [os.pipe() for _ in range(3)]
        (stdin, ours), (out, stdout), (err, stderr) = pipes
        self.stdin, self.stdout, self.stderr = (
            os.fdopen(ours, "wb"),
            os.fdopen(out, "rb"),
            os.fdopen(err, "rb"),
        )
        theirs = [stdin, stdout, stderr]
        try:
            for table in tables:
                theirs.append(
                    table.handed() if isinstance(table, HeldTable) else _memory_file(table)
                )
            theirs += further
            server.start(target, theirs)
        finally:
            for descriptor in theirs:
                os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.code = self.server.kill()
        for pipe in (self.stdin, self.stdout, self.stderr):
            with contextlib.suppress(OSError):
                pipe.close()


def _memory() -> BinaryIO:
    """A file that lies on no disk, where the kernel has that."""
    if not hasattr(os, "memfd_create"):
        return tempfile.TemporaryFile()
    return os.fdopen(os.memfd_create("casemate", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "w+b")


def _memory_file(table: pa.Table) -> int:
    """A descriptor of a file in memory that holds the table and that nobody can change."""
    with _memory() as file:
        with pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
        file.flush()
        if hasattr(os, "memfd_create"):
            fcntl.fcntl(
                file,
                fcntl.F_ADD_SEALS,
                fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL,
            )
        return os.dup(file.fileno())
