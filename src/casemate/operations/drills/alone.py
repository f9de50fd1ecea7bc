"""Becoming the process in which a drill is played:
`python -m casemate.operations.drills.alone FOLDER [ATTACK ...]`.

It knows of the copy and of nothing else: its home is the copy's, its environment is empty, and
where the kernel lets it, its network is one of its own in which nobody else is. That has to happen
before anything is imported that starts threads (unshare(2), CLONE_NEWUSER).
"""

import fcntl
import socket
import struct
import sys
from pathlib import Path

from casemate.core.sandbox import confine

SET_FLAGS, UP = 0x8914, 0x1 | 0x40
"""netdevice(7): SIOCSIFFLAGS; IFF_UP and IFF_RUNNING."""


def cut_off() -> bool:
    """Enter a network with nobody else in it, in which this machine reaches itself; whether the
    kernel let us.
    """
    try:
        confine.new_namespaces(processes=False)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            fcntl.ioctl(one, SET_FLAGS, struct.pack("16sh", b"lo", UP))
    except OSError:
        return False
    return True


def main(words: list[str]) -> None:
    """Confine this process and play.

    Args:
        words: the folder of the copy; names of attacks.
    """
    confine.die_with_parent()
    cut = cut_off()
    from casemate.operations.drills.player import main as play

    play(Path(words[0]).absolute(), words[1:], cut=cut)


if __name__ == "__main__":
    main(sys.argv[1:])
