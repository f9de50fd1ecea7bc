"""Does the hold-out measure anything new: rows, people or neighbours in time on both sides of the
split.
"""

from typing import Any

import numpy as np
import pyarrow.compute as pc

from casemate.stages.data.checks.interface import Answer, CheckedTable
from casemate.stages.data.screen.coincidence import coincidences

SOME = 0.01
"""Share of hold-out rows that are copies from which figures are called too good. Chosen: one in a
hundred moves an accuracy by .01 at most.
"""
STRONG, WEAK = 0.5, 0.3
"""Dependence on the row before, 0 (as by chance) to 1 (always its target), from which a random
split is a finding of severity `high`, and of `medium`. Chosen; it is the part of the agreement with
the row before that the shares of the classes do not explain.
"""
LEAST_ROWS = 200
"""Below so many the dependence is too noisy: its standard error by chance is about .07 at 200 rows
of two equal classes.
"""
Array = np.ndarray[Any, Any]


def check(checked: CheckedTable, holdout: Array, excluded: Array) -> Answer:
    """Findings, and `contamination`: the share of hold-out rows that repeat a training row in every
    feature, beyond what chance makes.

    In a table of few answers other people give the same answers: such rows are counted in
    `repeated_rows` and are no contamination (see `coincidence`, also for what that cannot see).
    Where a copied row is one of many equal ones it is not told from them.
    """
    answer = Answer()
    kept = np.flatnonzero(~excluded)
    held = holdout[kept]
    found = coincidences([checked.frame[name].to_numpy()[kept] for name in checked.frame])
    known = np.bincount(found.places[~held], minlength=len(found.counts)) > 0
    repeated = known[found.places[held]]
    copied = repeated & found.beyond[found.places[held]]
    share = float(copied.mean()) if len(copied) else 0.0
    answer.figures |= {
        "contamination": share,
        "repeated_rows": float(repeated.mean()) if len(repeated) else 0.0,
    }
    if share > SOME:
        text = (
            f"{int(copied.sum())} of {len(copied)} hold-out rows ({share:.1%}) repeat a training"
            " row in every feature, more than chance makes"
        )
        answer.say("data.contamination", "medium", text + ": figures are too good")
    _people(checked, answer)
    _order(checked, answer)
    return answer


def _people(checked: CheckedTable, answer: Answer) -> None:
    """Identifiers that several rows share, where no subject is declared."""
    if checked.config.data.subject is not None:
        return
    for column in checked.schema.columns:
        if column.column_class != "identifier":
            continue
        values = checked.table[column.name]
        distinct = pc.count_distinct(values).as_py()
        if distinct < len(values) - values.null_count:
            text = (
                f"{len(values) - distinct} rows share their {column.name!r} with another row, which"
                " may lie on the other side of the split"
            )
            answer.say(
                "data.group-leakage",
                "medium",
                text + ": name the column in [data] subject",
                column.name,
            )


def _order(checked: CheckedTable, answer: Answer) -> None:
    """Rows that depend on their neighbours in the table's order, cut at random."""
    if checked.config.train.split == "ordered":
        return
    codes = checked.codes[_one_a_group(checked)]
    if len(codes) < LEAST_ROWS:
        return
    runs = 1 + int(np.sum(codes[1:] != codes[:-1]))
    counts = np.bincount(codes)
    if runs <= 5 * len(counts):  # sorted by class: the order says nothing of time
        return
    expected = float(np.sum((counts / len(codes)) ** 2))
    same = float(np.mean(codes[1:] == codes[:-1]))
    dependence = (same - expected) / max(1e-9, 1 - expected)
    if dependence >= WEAK:
        severity = "high" if dependence >= STRONG else "medium"
        text = (
            f"a row mostly has the target of the row before it (dependence {dependence:.2f}): a"
            " random split leaks what comes next"
        )
        answer.say("data.order", severity, text + '; set [train] split = "ordered"')


def _one_a_group(checked: CheckedTable) -> Array:
    """Row numbers in order of time, the first of each run of one subject's rows: those are never
    cut apart.
    """
    order = np.argsort(order_of(checked), kind="stable")
    if checked.groups is None:
        return order
    groups = checked.groups[order]
    return np.asarray(order[np.append(True, groups[1:] != groups[:-1])])


def order_of(checked: CheckedTable) -> Array:
    """Positions in time: `[data] time`, else the table's order; int64 or float64, one a row."""
    name = checked.config.data.time
    if name is None:
        return np.arange(len(checked.codes))
    return time_of(checked.table, name)


def time_of(table: Any, name: str) -> Array:
    """A column as numbers that grow with time.

    Raises:
        DataError: it is neither a time nor a number, or misses values.
    """
    import pyarrow as pa

    from casemate.core.errors import DataError

    values = table[name]
    if values.null_count:
        raise DataError(
            f"[data] time: {name!r} is missing in {values.null_count} rows",
            hint="every row needs one",
        )
    if pa.types.is_string(values.type):
        values = _of_text(values, name)
    if pa.types.is_temporal(values.type):
        return np.asarray(pc.cast(pc.cast(values, pa.timestamp("us")), pa.int64()).to_numpy())
    return np.asarray(values.to_numpy(), dtype=np.float64)


def _of_text(values: Any, name: str) -> Any:
    """Text as times, or as numbers where every cell is one."""
    import pyarrow as pa

    from casemate.core.errors import DataError

    for kind in (pa.timestamp("us"), pa.float64()):
        try:
            return pc.cast(values, kind)
        except pa.ArrowInvalid:
            continue
    raise DataError(
        f"[data] time: {name!r} is neither a time nor a number",
        hint='[data.columns] format says how it is written, such as "%d.%m.%Y"',
    )
