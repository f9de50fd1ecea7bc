#!/bin/bash
# distributed 2026.8.0 on Linux: the memory that workers spill and pause at heeds RLIMIT_RSS, which the kernel does not enforce, and not RLIMIT_AS, which it does.
#
# Expected: `memory_limit="auto"` is the least of what the machine has and what the process may have; under `ulimit -v` (batch systems, sandboxes) a worker begins to spill before allocations fail.
# Seen: under `ulimit -v` of 3 GB the limit is all of the machine's memory, so nothing is ever spilled, and arrays fail to be allocated at 3 GB. Under `ulimit -m` of 1 GB, which a process may exceed as it likes (getrlimit(2):
# no effect since Linux 2.4.30), the limit is 1 GB. A comment in the code says "RSS rlimit (if set)"; the documentation of workers says "total system memory".
# So workers are told `--memory-limit 0`, and the sandbox of each job bounds what it takes (docs/how-to/dask.md).
#
# Exits with an error as soon as this changes. Needs 6 GB of memory.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check distributed==2026.8.0 2> /dev/null
cat > limit.py <<'END'
import sys

from distributed.system import MEMORY_LIMIT

declared, wanted = int(sys.argv[1]) * 1024, int(sys.argv[2]) * 2**30
try:
    held = bool(bytearray(wanted))
except MemoryError:
    held = False
print("heeded" if MEMORY_LIMIT <= declared else "not heeded", "| allocated" if held else "| refused")
END
seen=$(
    (ulimit -v 3000000; env/bin/python limit.py 3000000 3)
    (ulimit -m 1000000; env/bin/python limit.py 1000000 3)
)
echo "$seen"
[ "$seen" = "not heeded | refused
heeded | allocated" ]
