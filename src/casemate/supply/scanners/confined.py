"""What a scanner of other people runs under: no network, or one port of this machine, nothing to
write to but its own folder, bounded memory, time and output. Run as a program, it confines itself
and becomes the scanner.
"""

import contextlib
import os
import sys

from casemate.core.sandbox import confine

MEMORY = 8 * 2**30
"""Address space: semgrep and its like reserve much and use little."""
FILE_BYTES = 256 * 2**20
"""Of one file that it writes, its report too."""
TASKS = 256
SHARED = "/dev/shm"  # noqa: S108 - semaphores of multiprocessing, not a file of ours
OPEN = 96
"""Exit code: the network could not be taken away."""


def main(words: list[str]) -> None:
    """Become `words[2:]`.

    Args:
        words: seconds of processor time; the folder that may be written to; the port that may be
            connected to, or 0; the program and its words.
    """
    seconds, work, port, *program = words
    confine.die_with_parent()
    cut = False
    if port == "0":
        with contextlib.suppress(OSError):
            confine.new_namespaces(processes=False)
            cut = True
    if not cut and confine.landlock_abi() < 4:  # before ABI 4 Landlock knows no network
        os.write(2, b"this kernel lets no process be cut off the network\n")
        os._exit(OPEN)
    if not confine.landlock(["/"], [work, "/dev/null", SHARED], port=int(port)) and not cut:
        os._exit(OPEN)
    confine.limit(confine.Bounds(MEMORY, int(seconds) + 1, FILE_BYTES, TASKS), own_user=False)
    os.execv(program[0], program)  # noqa: S606 - no shell


if __name__ == "__main__":
    main(sys.argv[1:])
