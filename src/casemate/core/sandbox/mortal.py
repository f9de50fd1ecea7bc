"""`python -m casemate.core.sandbox.mortal PID WORD …` becomes what the words say, and ends with
PID, who started it, however that ends.
"""

import os
import sys
from collections.abc import Sequence

from casemate.core.sandbox.confine import die_with_parent


def mortal(words: Sequence[str]) -> list[str]:
    """The words of a program that does not outlive the thread that starts it.

    Args:
        words: of the program, its path first.
    """
    return [sys.executable, "-P", "-m", __name__, str(os.getpid()), *words]


if __name__ == "__main__":
    die_with_parent()
    if os.getppid() != int(sys.argv[1]):  # it ended before that was asked for
        sys.exit(1)
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - no shell
