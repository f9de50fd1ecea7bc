"""`python -m casemate` is the same as `casemate`."""

import sys

from casemate.cli import main

if __name__ == "__main__":
    sys.exit(main())
