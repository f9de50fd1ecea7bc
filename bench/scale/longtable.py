"""A long table with a target that hangs on a number and a ward, as text."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

PIECE = 500_000


def write(path: Path, rows: int, wards: int, score: Callable[[Any, Any, Any], Any]) -> None:
    """Ten numbers, a ward, a target; the same for the same words.

    Args:
        path: of the file.
        rows: how many.
        wards: how many there are.
        score: (generator, numbers [10, n], ward of each row [n]) -> float64 [n]; the target is `b`
            where it is above 0.
    """
    import numpy as np  # a process that measures another tool imports none of it
    import pyarrow as pa
    import pyarrow.csv

    names = np.array([f"ward {at}" for at in range(wards)])
    plan = pa.schema(
        [*((f"x{at}", pa.float32()) for at in range(10)), ("ward", pa.string()), ("y", pa.string())]
    )
    with pyarrow.csv.CSVWriter(path, plan) as writer:
        for begin in range(0, rows, PIECE):
            draw, count = np.random.default_rng(begin), min(PIECE, rows - begin)
            numbers = draw.standard_normal((10, count)).astype(np.float32)
            chosen = draw.integers(0, wards, count)
            target = np.where(score(draw, numbers, chosen) > 0, "b", "a")
            cells = [*map(pa.array, numbers), pa.array(names[chosen]), pa.array(target)]
            writer.write_table(pa.Table.from_arrays(cells, schema=plan))
