"""How a quasi-identifier is told less and less exactly: numbers in wider and wider intervals, dates
by month, year and decade, ZIP codes with fewer digits, categories as a hierarchy says, and at the
top nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from casemate.core.errors import ConfigError
from casemate.stages.data.identifiers.cells import Cells
from casemate.stages.data.identifiers.groups import codes
from casemate.stages.data.identifiers.kinds import called

Array = np.ndarray[Any, Any]
NOTHING = "*"
"""What a cell says that says nothing."""
ROUNDING = 1e-9
"""Of an interval's width: .3 / .1 is a little below 3, and .3 belongs to [.3, .4)."""
WHOLE = 2.0**53
"""Above this not every whole number is a float."""
FINEST, COARSEST = 50, 2
"""Intervals that a number's range is cut into at most and at least."""


@dataclass(frozen=True)
class Ladder:
    """The steps of one column, the first as it is."""

    name: str
    steps: tuple[pa.ChunkedArray, ...]
    codes: tuple[Array, ...]
    losses: tuple[float, ...]
    """What a step hides, 0 to 1: of the different values of a row's column, the share that its cell
    may be (the normalised certainty penalty of Xu et al., KDD 2006, with ranks for numbers)."""

    @property
    def height(self) -> int:
        """How many steps there are above the first."""
        return len(self.steps) - 1


def ladder(
    cells: Cells, widths: Sequence[float] | None, hierarchy: Mapping[str, Sequence[str]] | None
) -> Ladder:
    """The steps of a column.

    Args:
        cells: the column.
        widths: of a number's intervals, the narrowest first; None: round numbers that fit.
        hierarchy: of a category, each value with what it becomes.

    Raises:
        ConfigError: widths for what is no number, or a hierarchy that lacks values.
    """
    made: list[pa.ChunkedArray] = [cells.column]
    if hierarchy is not None:
        made += _climbed(cells, hierarchy)
    elif widths is None and cells.date_form:
        made += _calendar(cells)
    elif widths is None and "zip" in called(cells.name):
        made += _cut(cells)
    elif _is_number(cells):
        made += [_intervals(cells, width) for width in widths or _widths(cells)]
    elif widths is not None:
        raise ConfigError(
            f"widths of {cells.name!r}: its cells are no numbers",
            hint="give a hierarchy instead, or nothing",
        )
    top = pa.array([NOTHING] * len(cells.column), pa.string())
    steps = (*made, pa.chunked_array([top]))
    numbers = tuple(codes(Cells(cells.name, step)) for step in steps)
    return Ladder(cells.name, steps, numbers, tuple(_loss(numbers[0], one) for one in numbers))


def _loss(exact: Array, step: Array) -> float:
    kinds = len(np.unique(exact))
    if kinds < 2:
        return 0.0
    pairs = np.unique(np.column_stack([step, exact]), axis=0)[:, 0]
    _, which, held = np.unique(step, return_inverse=True, return_counts=True)
    known = np.unique(pairs, return_counts=True)[1]
    return float(np.sum(held * (known - 1)) / (len(step) * (kinds - 1))) if len(which) else 0.0


def _is_number(cells: Cells) -> bool:
    return cells.filled > 0 and len(cells.numbers) - cells.numbers.null_count == cells.filled


def _widths(cells: Cells) -> list[float]:
    ends = pc.min_max(cells.numbers).as_py()
    span = ends["max"] - ends["min"]
    if span <= 0:
        return []
    power = np.floor(np.log10(span / FINEST))
    rounds = [base * 10.0**at for at in np.arange(power, power + 4) for base in (1, 2, 5)]
    is_whole = pc.all(pc.equal(pc.floor(cells.numbers), cells.numbers)).as_py()
    least = max(span / FINEST, 2.0 if is_whole else 0.0)
    return [float(width) for width in rounds if least <= width <= span / COARSEST * 1.001]


def _intervals(cells: Cells, width: float) -> pa.ChunkedArray:
    values = cells.numbers.to_numpy()
    low = np.floor(values / width + ROUNDING)
    made = [
        None if np.isnan(one) else f"[{_written(one * width)}, {_written((one + 1) * width)})"
        for one in low
    ]
    return pa.chunked_array([pa.array(made, pa.string())])


def _written(end: float) -> str:
    """An interval's end: whole numbers to the last digit, others without what rounding left."""
    return f"{end:.0f}" if end == round(end) and abs(end) < WHOLE else f"{end:.15g}"


def _calendar(cells: Cells) -> list[pa.ChunkedArray]:
    year = pc.year(cells.times)
    text = year.cast(pa.string())
    month = pc.utf8_lpad(pc.month(cells.times).cast(pa.string()), 2, "0")
    decade = pc.multiply(pc.divide(year, 10), 10).cast(pa.string())
    return [
        pc.binary_join_element_wise(text, month, "-"),
        text,
        pc.binary_join_element_wise(decade, "s", ""),
    ]


def _cut(cells: Cells) -> list[pa.ChunkedArray]:
    text = cells.text
    if pa.types.is_integer(cells.column.type) or pa.types.is_floating(cells.column.type):
        text = pc.utf8_lpad(text, 5, "0")  # a number has lost its zeros: 601 is 00601
    longest = pc.max(pc.utf8_length(text)).as_py() or 0
    return [
        pc.binary_join_element_wise(
            pc.utf8_slice_codeunits(text, 0, kept), "*" * (longest - kept), ""
        )
        for kept in range(longest - 1, 0, -1)
    ]


def _climbed(cells: Cells, hierarchy: Mapping[str, Sequence[str]]) -> list[pa.ChunkedArray]:
    heights = {len(steps) for steps in hierarchy.values()}
    texts = cells.column.cast(pa.string()).to_pylist()
    unknown = {text for text in texts if text is not None and text not in hierarchy}
    if len(heights) != 1 or unknown:
        raise ConfigError(
            f"the hierarchy of {cells.name!r} "
            + (
                f"lacks {len(unknown)} of the values that the column has"
                if unknown
                else "has values with fewer steps than others"
            ),
            hint="give each value as many steps as the others",
        )
    return [
        pa.chunked_array(
            [pa.array([None if one is None else hierarchy[one][at] for one in texts], pa.string())]
        )
        for at in range(heights.pop())
    ]
