"""What a job hides from a look at its folders: space on the disk that no name and no descriptor leads to."""

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


@pytest.mark.parametrize(("hide", "expected"), [(mapped, supervise.FILES), (sent, supervise.FILES), (nothing, None)])
def test_deleted_files_that_are_in_use_count_as_written(hide, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(supervise, "MAX_WRITTEN", SIZE // 2)
    folder = tmp_path / "out"
    folder.mkdir()
    limits = supervise.Limits(memory_bytes=2**40, tasks=1000, folders=[str(folder)], own_shared_memory=True)
    supervisor = supervise.Supervisor(limits)
    # A program of its own: a fork of this process would hold this process's sockets.
    where = folder / "mine" if expected else tmp_path / "mine"
    child = subprocess.Popen([sys.executable, __file__, hide.__name__, str(where)], stdout=subprocess.PIPE)
    try:
        child.stdout.read(1)
        assert supervisor.exceeded() == expected
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


if __name__ == "__main__":
    kept = {"mapped": mapped, "sent": sent, "nothing": nothing}[sys.argv[1]](Path(sys.argv[2]))
    sys.stdout.write("x")
    sys.stdout.flush()
    signal.pause()
