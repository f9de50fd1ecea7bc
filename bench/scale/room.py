"""What memory the data stage takes, by rows and columns: `python bench/scale/room.py [FOLDER]`.

The figures of `stages.data.room` are chosen by it. Each table has a process of its own, whose peak is
the kernel's figure.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

SHAPES = [(1_000, 10), (100_000, 10), (300_000, 10), (100_000, 30), (300_000, 30)]


def make(path: Path, rows: int, columns: int) -> None:
    """Numbers, every fifth column words, a target."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv

    draw = np.random.default_rng(0)
    numbers = draw.standard_normal((columns - 1, rows))
    words = np.array([f"ward {at}" for at in range(40)])
    cells = {
        f"x{at}": words[draw.integers(0, len(words), rows)] if at % 5 == 4 else one
        for at, one in enumerate(numbers)
    }
    target = np.where(numbers[0] + draw.standard_normal(rows) > 0, "b", "a")
    pyarrow.csv.write_csv(pa.table({**cells, "y": target}), path)


def one(folder: str) -> None:
    """In a process of its own: bytes at the peak of reading, checking, screening and sealing."""
    import casemate
    from casemate.operations.runs import run_context
    from casemate.pipeline import data_tools
    from casemate.stages.data import stage

    stage.seal(data_tools(run_context(casemate.open(Path(folder)))))
    print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))


def main() -> int:
    """Print the peak of each table, and what a cell adds to that of the smallest."""
    from casemate.operations import scaffold

    least = 0
    for rows, columns in SHAPES:
        place = sys.argv[1] if len(sys.argv) > 1 else None
        with tempfile.TemporaryDirectory(dir=place) as name:
            folder = Path(name)
            os.environ["HOME"] = name  # keys of a project that is thrown away
            make(folder / "t.csv", rows, columns)
            scaffold.create(folder, scaffold.from_table(folder, folder / "t.csv", "y"))
            command = [sys.executable, __file__, "--one", name]
            said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        peak = json.loads(said.splitlines()[-1])
        least = least or peak
        cell = (peak - least) / (rows * columns)
        print(f"{rows} rows of {columns}\t{peak / 2**20:.0f} MiB\t{cell:.0f} bytes a cell")
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2])
    else:
        sys.exit(main())
