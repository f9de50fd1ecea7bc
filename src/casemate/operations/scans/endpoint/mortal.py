"""`python -m casemate.operations.scans.endpoint.mortal PID WORD …` becomes what the words say, and
ends with PID, who started it: no scratch copy outlives its scan.
"""

import os
import sys

from casemate.core.sandbox.confine import die_with_parent

if __name__ == "__main__":
    die_with_parent()
    if os.getppid() != int(sys.argv[1]):  # it ended before that was asked for
        sys.exit(1)
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - no shell
