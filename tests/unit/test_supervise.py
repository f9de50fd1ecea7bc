"""What a job hides from a look at its folders: space on the disk that no name and no descriptor leads to."""

import mmap
import os
import signal
import socket
import sys

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
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        held = hide(folder / "mine" if expected else tmp_path / "mine")
        os.write(tell, b"x")
        signal.pause()
        os._exit(len(str(held)))
    try:
        os.read(ready, 1)
        assert supervisor.exceeded() == expected
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
