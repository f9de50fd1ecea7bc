"""Running code that is not trusted: `run.py` starts it from outside, `child.py` confines itself and
runs it.

Linux only: a root folder of its own, Landlock for files, empty network, IPC and PID namespaces, a
list of allowed system calls, no capabilities, limits for each process and for all of a job, a
scrubbed environment. What it does not cover is said in SECURITY.md.
"""


def confined(isolation: list[str]) -> bool:
    """Whether that is enough for `[sandbox] mode = "require"`: files by Landlock, their metadata by
    mounts or by refused calls.
    """
    found = set(isolation)
    return {"landlock", "seccomp", "capabilities"} <= found and bool({"root", "metadata"} & found)
