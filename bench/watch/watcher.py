"""A look at many recorded answers: seconds and memory.

python bench/watch/watcher.py [ANSWERS]

ANSWERS of one row each, over thirty days (default 1000000), of the clinical example.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from bench.watch import traffic

import casemate
from casemate.operations import scaffold

DAYS = 30
PART = 100_000
LOOK = """
import sys, time
from bench.watch import traffic
project = traffic.opened(sys.argv[1], float(sys.argv[2]))
began, cpu = time.perf_counter(), time.process_time()
seen = project.watch.once()
took = time.perf_counter() - began, time.process_time() - cpu
# of this program alone: ru_maxrss would be that of whoever started it, if that was larger
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(seen.answers, len(seen.judgements), *took, int(status["VmHWM"].split()[0]) / 1024)
"""


def main() -> None:
    """Make the project, let it answer, look."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HOME"] = folder
        root = Path(folder) / "p"
        scaffold.create(root, scaffold.clinical())
        result = casemate.open(root).run()
        now = time.time()
        project = traffic.opened(root, now)
        table = pd.read_csv(root / project.config.data.source)
        drawn = np.random.default_rng(0)
        times = np.sort(drawn.uniform(now, now + DAYS * 86_400, count))
        for start in range(0, count, PART):
            some = times[start : start + PART]
            rows = table.iloc[drawn.integers(0, len(table), len(some))].reset_index(drop=True)
            traffic.answer(project, result.model.reference, rows, some, keeps_rows=False)
            print(f"recorded {start + len(some)}", file=sys.stderr, flush=True)
        project.close()
        for kind in ("the first look", "the next one"):
            told = subprocess.run(
                [sys.executable, "-c", LOOK, str(root), str(now + (DAYS + 1) * 86_400)],
                capture_output=True,
                text=True,
                check=True,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            ).stdout.split()
            print(
                f"{kind}: {told[0]} answers, {told[1]} windows judged, {float(told[2]):.1f} s,"
                f" {float(told[3]):.1f} s CPU, {float(told[4]):.0f} MiB"
            )


if __name__ == "__main__":
    main()
