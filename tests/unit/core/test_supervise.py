"""What a job hides from a look at its folders: space on the disk that no name and no descriptor
leads to.
"""

import mmap
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from casemate.core.sandbox import supervise

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is Linux only")
SIZE = 64 * 2**20


def mapped(path):
    """One page of a deleted file keeps all of it."""
    descriptor = written(path)
    page = mmap.mmap(descriptor, mmap.PAGESIZE)
    os.unlink(path)
    os.close(descriptor)
    return page


def sent(path):
    """A descriptor on its way is in nobody's table."""
    ours, theirs = socket.socketpair()
    descriptor = written(path)
    socket.send_fds(ours, [b"x"], [descriptor])
    os.unlink(path)
    os.close(descriptor)
    return ours, theirs


def written(path):
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    for _ in range(SIZE // 2**20):
        os.write(descriptor, b"x" * 2**20)
    os.fsync(descriptor)  # until then some file systems do not count it
    return descriptor


def nothing(path):
    """Another program writes meanwhile."""
    os.close(written(path.with_name("other")))


@pytest.mark.parametrize(
    ("hide", "expected"), [(mapped, supervise.FILES), (sent, supervise.FILES), (nothing, None)]
)
def test_deleted_files_that_are_in_use_count_as_written(hide, expected, tmp_path):
    """In a process of its own: what else this one has started has sockets too, and the disk gets
    fuller by others.
    """
    (tmp_path / "out").mkdir()
    done = subprocess.run(
        [sys.executable, __file__, hide.__name__, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == str(expected)


def look(hide, folder):
    """What a supervisor says while a program hides files, or another one writes."""
    supervise.MAX_WRITTEN = SIZE // 2
    watched = supervise.ProcessLimits(
        memory_bytes=2**40, tasks=1000, folders=[str(folder / "out")], own_shared_memory=True
    )
    supervisor = supervise.Supervisor(watched)
    theirs = folder / "mine" if hide is nothing else folder / "out" / "mine"
    child = subprocess.Popen(
        [sys.executable, __file__, hide.__name__, str(theirs), "hide"], stdout=subprocess.PIPE
    )
    try:
        child.stdout.read(1)
        sys.stdout.write(str(supervisor.exceeded()))
    finally:
        child.kill()
        child.wait()


if __name__ == "__main__":
    way = {"mapped": mapped, "sent": sent, "nothing": nothing}[sys.argv[1]]
    if sys.argv[3:]:
        kept = way(Path(sys.argv[2]))
        sys.stdout.write("x")
        sys.stdout.flush()
        signal.pause()
    look(way, Path(sys.argv[2]))
