"""A search of 40 fits on two workers of Dask against one process: `python bench/scale/search.py`.

Both train in the real sandbox, with one thread, on the same rows; they take turns. The first turn of
each is not counted: a cluster comes up, and sandboxes import, once a run. What is measured is all
that training does, so that the last fit and the files that no worker helps with count: fits of a
twentieth of a second each show what a search costs that is too small for a cluster.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.conftest import TOML
from tests.contract.crews import TRAIN, Crew

from casemate import config
from casemate.config import DaskTable
from casemate.core.sandbox.server import ForkServer
from casemate.supply.crew.dask import DaskHelpers

CODE = """
from sklearn.ensemble import RandomForestClassifier
def build():
    return RandomForestClassifier({trees}, random_state=None)
"""
TREES = (25, 150)
GRID = [
    "train.folds=5",
    "train.search={ max_depth = [3, 4, 5, 6, 7, 8, 9, 10] }",
    "train.threads=1",
]
TURNS = 2


def main() -> int:
    """Print the ratios, and whether both made the same model."""
    for trees in TREES:
        compare(CODE.format(trees=trees), trees)
    return 0


def compare(code: str, trees: int) -> None:
    """Print one ratio."""
    generator = np.random.default_rng(0)
    numbers = generator.standard_normal((2000, 12))
    columns = {f"x{at}": numbers[:, at] for at in range(12)}
    target = [str(int(value > 0)) for value in numbers[:, 0] + generator.standard_normal(2000)]
    table = pa.table({**columns, "y": target})
    options = config.parse(TOML, GRID)
    with tempfile.TemporaryDirectory() as name:
        folder, server = Path(name), ForkServer([TRAIN], 1)
        helpers = DaskHelpers(DaskTable(workers=2), folder, 1)
        engines = {"local": Crew(folder, server), "dask": Crew(folder, server, helpers)}
        try:
            took: dict[str, list[float]] = {one: [] for one in engines}
            made = {}
            for turn in range(TURNS + 1):
                for one, crew in engines.items():
                    begin = time.perf_counter()
                    made[one] = crew.train(code, table, options, 600.0)
                    took[one] += [time.perf_counter() - begin] if turn else []
        finally:
            helpers.close()
            server.close()
    same = made["local"].files == made["dask"].files and made["local"].result == made["dask"].result
    ratio = statistics.median(
        local / dask for local, dask in zip(took["local"], took["dask"], strict=True)
    )
    name = f"40 fits of {trees} trees: one process / two Dask workers"
    print(f"{name}\t{ratio:.3g}\t{'>= 1.6' if trees == max(TREES) else ''}")
    print(f"# seconds of each: {took}; same model and scores: {same}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
