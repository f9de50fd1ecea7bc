#!/bin/bash
# distributed 2026.8.0: a LocalCluster that was closed leaves OMP_NUM_THREADS=1 in the process that made it.
#
# Expected: `distributed.nanny.pre-spawn-environ` sets one thread for numeric libraries in the workers' processes; when the
# cluster is closed, the environment of the process that made it is what it was. (distributed.yaml says that the variables
# leak "into the nanny process": with a LocalCluster that is your own, which it does not say, nor that they stay.)
# Seen: os.environ has OMP_NUM_THREADS, MKL_NUM_THREADS and MALLOC_TRIM_THRESHOLD_ afterwards. Processes that are started
# later, and numeric libraries that are imported later, use one thread: a fit after the search is slower than before it.
#
# Exits with an error as soon as this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check distributed==2026.8.0 dask==2026.8.0 2>/dev/null
cat >"$folder/program.py" <<'PROGRAM'
import os

from distributed import LocalCluster

NAMES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "MALLOC_TRIM_THRESHOLD_")

if __name__ == "__main__":
    for name in NAMES:
        os.environ.pop(name, None)
    with LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address=None):
        pass
    left = {name: os.environ[name] for name in NAMES if name in os.environ}
    print("left behind by a closed LocalCluster:", left)
    assert left.get("OMP_NUM_THREADS") == "1"
PROGRAM
cd "$folder"
"$folder/env/bin/python" "$folder/program.py" 2>/dev/null
