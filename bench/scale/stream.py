"""A table of 6 million rows that is looked at in a stream, beside pandas: `python
bench/scale/stream.py [ROWS] [FOLDER]`.

Each way has a process of its own, on the same file: pandas reads the whole table, or pieces of
100 000 rows; casemate draws a sample, holds every row against the schema, the limits and a rule, and
counts. The peak of memory is the kernel's figure for the process.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import longtable

ROWS, SAMPLE, CHUNK = 6_000_000, 100_000, 100_000
LEAST = 0.6
"""Of pandas' rows a second, at least."""
RULE = """
[[data.rules]]
name = "sizes"
check = "x0 < 100 and x1 < 100"
"""


def make(path: Path, rows: int) -> None:
    """Forty wards, of which the target knows nothing."""
    longtable.write(path, rows, 40, lambda draw, x, _: x[0] + draw.standard_normal(len(x[0])))


def pandas_whole(folder: Path) -> int:
    """Read at once."""
    import pandas as pd

    return len(pd.read_csv(folder / "t.csv"))


def pandas_pieces(folder: Path) -> int:
    """Read in pieces, with counts, means and deviations of each."""
    import pandas as pd

    rows = 0
    for piece in pd.read_csv(folder / "t.csv", chunksize=CHUNK):
        numbers = piece.select_dtypes("number")
        numbers.mean()
        numbers.std()
        piece.isna().sum()
        piece["y"].value_counts()
        rows += len(piece)
    return rows


def stream(folder: Path) -> int:
    """What the data stage does between reading and screening."""
    import casemate
    from casemate.operations.runs import run_context
    from casemate.pipeline import data_tools
    from casemate.stages.data import pinning, source

    tools = data_tools(run_context(casemate.open(folder)))
    table, findings = source.read(tools.place, tools.config.data)
    found = pinning.agreed(tools, table, None, findings, [])
    if found.looked is None:
        raise SystemExit("nothing was drawn")
    return found.looked.whole.rows


WAYS = {"pandas": pandas_whole, "pandas pieces": pandas_pieces, "casemate": stream}


def one(way: str, folder: str) -> None:
    """In a process of its own: rows, seconds, seconds of processors, bytes."""
    begin = time.perf_counter()
    rows = WAYS[way](Path(folder))
    seconds = time.perf_counter() - begin
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps([rows, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024]))


def main() -> int:
    """Print rows a second and peaks, and whether the bound holds."""
    from casemate.operations import scaffold

    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as name:
        folder = Path(name)
        os.environ["HOME"] = name  # keys of a project that is thrown away
        make(folder / "t.csv", SAMPLE // 100)
        scaffold.create(folder, scaffold.from_table(folder, folder / "t.csv", "y"))
        settings = (folder / "casemate.toml").read_text()
        settings = settings.replace("[data]", f"[data]\nsample = {SAMPLE}", 1)
        (folder / "casemate.toml").write_text(settings + RULE)
        (folder / "schema.toml").unlink(missing_ok=True)
        make(folder / "t.csv", rows)
        print(f"{rows} rows, {(folder / 't.csv').stat().st_size / 1e6:.0f} MB")
        speeds = {}
        for way in WAYS:
            command = [sys.executable, __file__, "--one", way, name]
            said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            count, seconds, busy, peak = json.loads(said)
            if count != rows:
                raise SystemExit(f"{way} saw {count} rows")
            speeds[way] = count / seconds
            print(
                f"{way}\t{speeds[way]:.0f} rows/s\t{busy:.1f} s of processors"
                f"\t{peak / 2**20:.0f} MiB at most",
                flush=True,
            )
        ratio = speeds["casemate"] / max(speeds["pandas"], speeds["pandas pieces"])
        print(f"casemate / the faster of pandas' two\t{ratio:.3g}\t>= {LEAST}")
    return 0 if ratio >= LEAST else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(*sys.argv[2:])
    else:
        sys.exit(main())
