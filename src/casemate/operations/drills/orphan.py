"""Becoming another Python program that ends when whoever started it ends, however: as a program,
`python -m casemate.operations.drills.orphan WORDS`.
"""

import os
import sys

from casemate.core.sandbox import confine

if __name__ == "__main__":
    confine.die_with_parent()
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])  # noqa: S606 - no shell
