"""What may be told of a group of rows or of a column; everything that leaves the seal asks here.

Threshold rule: a figure belongs to at least so many rows (`[privacy] min_group`). Groups below it
are told together as `(others)`, and with them the next smallest one while they are still too few,
because the total less all other groups would be theirs (complementary suppression). Statistical
offices and agencies ask for 3 to 11 rows (the US CMS for 11); 10 is our default. Extremes of
columns that are not `general` are rounded outward, because the greatest of all values is one
person's.
Source: Hundepool et al., Statistical Disclosure Control (2012), ch. 3 and 5; NIST SP 800-188
(2023), on threshold rules.

What decides may look at smaller groups and exact values; only what is told is bounded. Deciding:
gates, guards, the screen. Told: records, evidence, cards, reports, schemas, errors, metrics,
explanations.
"""

from typing import Any

import numpy as np

from casemate.core.types import ColumnClass

FEWEST = 10
"""Default of `[privacy] min_group`."""
OTHERS = "(others)"
"""The group of all groups that are too small."""
STEPS = (1.0, 2.0, 5.0)
SHARE = 5
"""Extremes are rounded to the largest 1, 2 or 5 times a power of ten that goes so often into the
range: off by a fifth of it at most.
"""
Array = np.ndarray[Any, Any]


def grouped(values: Array, least: int) -> Array:
    """`values` [n] as text, those of too small groups replaced by `OTHERS`, which then has `least`
    rows too, or all there are.
    """
    names, places, counts = np.unique(
        np.asarray(values, dtype=str), return_inverse=True, return_counts=True
    )
    few = counts < least
    order = np.argsort(counts, kind="stable")
    for place in order[int(few.sum()) :]:
        if not few.any() or counts[few].sum() >= least:
            break
        few[place] = True
    labels = names.astype(object)
    labels[few] = OTHERS
    return np.asarray(labels[places], dtype=object)


def enough(least: int, *counts: int) -> bool:
    """Whether figures over so many rows each may be told beside one another; otherwise the missing
    ones could be reckoned from the rest.
    """
    return all(count >= least for count in counts)


def merged(counts: Array, least: int) -> list[list[int]]:
    """Neighbouring bins put together until each has `least` rows: lists of bin numbers; none when
    all together have too few.

    Args:
        counts: rows a bin, [k], in order.
        least: fewest rows.
    """
    found: list[list[int]] = []
    open_: list[int] = []
    for place in range(len(counts)):
        open_.append(place)
        if counts[open_].sum() >= least:
            found.append(open_)
            open_ = []
    if open_ and found:
        found[-1] += open_
    return found


def told_counts(counts: dict[str, int], least: int) -> dict[str, int]:
    """Counts by name as they may be told beside their total: -1 where they are too few, and beside
    those for the next smallest ones, however many are too few: one row each, and the total would
    say so. All that are as large as the smallest are left out, because whoever knows this rule
    would know which of them was. A count of 0 is left out where no other is, and nothing helps
    where the whole table has hardly more rows than names.
    """
    hidden = {name for name, count in counts.items() if 0 < count < least}
    if hidden:
        others = [count for count in counts.values() if count >= least]
        smallest = min(others, default=0)
        hidden |= {name for name, count in counts.items() if count == smallest}
    return {name: -1 if name in hidden else count for name, count in counts.items()}


def limits(
    column_class: ColumnClass, low: float | None, high: float | None
) -> tuple[float | None, float | None]:
    """Least and greatest value as they may be told and kept beside the data: exact of `general`
    columns, else rounded outward.
    """
    if column_class == "general" or low is None or high is None:
        return low, high
    step = _step(high - low or max(abs(high), abs(low)))
    return (low, high) if step == 0 else (-_above(-low, step), _above(high, step))


def _above(value: float, step: float) -> float:
    """The multiple of `step` at or above `value`, as it is written in decimals."""
    digits = max(0, -int(np.floor(np.log10(step))))
    found = round(float(np.ceil(value / step) * step), digits)
    return (found if found >= value else round(found + step, digits)) + 0.0


def _step(span: float) -> float:
    if not span > 0 or not np.isfinite(span):
        return 0.0
    power = 10.0 ** np.floor(np.log10(span / SHARE))
    return float(max(step * power for step in STEPS if step * power <= span / SHARE * (1 + 1e-9)))
