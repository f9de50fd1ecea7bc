"""Changing the copy's table, as somebody does who may write to where it comes from."""

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from casemate.core.errors import DataError
from casemate.core.types import Schema
from casemate.operations.checkup import assess_data
from casemate.operations.drills.scene import Scene
from casemate.operations.drills.seen import NotPlayable, Seen, Stopwatch
from casemate.operations.drills.twin import TABLE
from casemate.operations.runs import run
from casemate.stages.data import schema as schemas
from casemate.wiring import Wiring

SEED = 20_240
LEAST_ROWS, FEW = 100, 5
"""Rows that a table needs for statistics to see anything, and rows that are changed at least."""
SEEN_SHARE = 0.5
"""Share of the changed rows that a screen has to name for the attack to count as seen."""
Change = Callable[[dict[str, list[Any]], Schema, "np.random.Generator"], list[int]]
"""Changes columns in place; returns which rows it changed."""


def schema_of(project: Wiring) -> Schema:
    """The pinned one; NotPlayable: the honest run has pinned none."""
    found = schemas.load(project.root / project.config.data.schema)
    if found is None:
        raise NotPlayable(
            "the copy's own table was not accepted, so no attack on it shows anything"
        )
    return found


def play(scene: Scene, change: Change, detectors: Collection[str]) -> Seen:
    """Put changed rows in the table's place, look at it, and run on it.

    Args:
        scene: of the drill.
        change: what is done to the table.
        detectors: whose word counts: screens that look for this.
    """
    with scene.broken() as project:
        schema = schema_of(project)
        if schema.regression or schema.labels:
            raise NotPlayable("it is played on tables with one target of classes")
        file = project.root / TABLE
        table = pa.parquet.read_table(file)
        if table.num_rows < LEAST_ROWS:
            raise NotPlayable(f"{table.num_rows} rows are too few for statistics to see anything")
        columns = table.to_pydict()
        rows = set(change(columns, schema, np.random.default_rng(SEED)))
        pa.parquet.write_table(pa.table(columns, schema=table.schema), file)
        watch = scene.strike()
        try:
            found = assess_data(project)
        except DataError as error:  # the table is refused as a whole
            watch.sees(f"casemate check: {error.message}")
            watch.stops("casemate check refuses the table")
            return watch.seen()
        named: dict[str, set[int]] = {}
        for suspect in found.suspects:
            if suspect.reason in detectors:
                named.setdefault(suspect.reason, set()).add(suspect.row)
        best = max(named, key=lambda one: len(named[one] & rows), default="")
        hit = named.get(best, set()) & rows
        if len(hit) >= SEEN_SHARE * len(rows):
            watch.sees(f"[screen] {best}")
        told = f"{len(rows)} rows changed; {best or 'no screen'} names {len(hit)} of them"
        if best:
            told += f" and {len(named[best] - rows)} others"
        kept = _kept(found, hit)
        if watch.detected is not None and kept:
            watch.stops('[screen] quarantine = "exclude"')
        elif watch.detected is not None:
            _run(project, watch)
        return watch.seen(told)


def _kept(found: Any, rows: set[int]) -> bool:
    """Whether all of these rows are kept out of training."""
    return bool(rows) and all(bool(found.excluded[row]) for row in rows)


def _run(project: Wiring, watch: Stopwatch) -> None:
    """Whether a run on such a table ends without a signed model."""
    try:
        result = run(project)
    except DataError as error:
        watch.stops(f"the run refuses the table: {error.message}")
        return
    if result.verdict.outcome != "passed":
        gates = [one.gate for one in result.verdict.gates if one.outcome != "passed"]
        watch.stops(f"the run is {result.verdict.outcome}: {', '.join(gates)[:120]}")
