"""Ages, and years of birth that tell them: who is 90 or more is in one group."""

import re
from typing import Any

import numpy as np
import pyarrow as pa

from casemate.stages.data.identifiers.cells import MOSTLY, Cells
from casemate.stages.data.identifiers.dates import GROUP, Changed
from casemate.stages.data.roles import names

OLD, OLDEST = 89, 130
"""Ages above the first are an identifier; above the second they are no ages in years."""
EARLIEST = 1850
"""Before this nobody was born whose record is still used."""
BIRTH_YEARS = names.BIRTHS | {"yob", "birthyear", "yearofbirth", "geburtsjahr"}
_UNITS = (
    ("h|hrs?|hours?", 8766.0),
    ("d|days?|tage?", 365.25),
    ("w|wks?|weeks?|wochen?", 52.18),
    ("m|mos?|mths?|months?|monate?", 12.0),
    ("y|yrs?|years?|y/?o|jahre?|ans?|años?", 1.0),
)
"""Words for a unit, and how many are a year."""
_UNIT = rf"(?:{'|'.join(words for words, _ in _UNITS)})\.?"
_AGE = re.compile(
    r"(?:about|over|under|aged?|[~<>=\u2264\u2265]+)?\s*(\d{1,5}(?:[.,]\d{1,9})?)"
    r"(?:\s*(?:-|\u2013|to|bis)\s*\d{1,5})?\s*\+?"
    rf"\s*-?({_UNIT})?(?:,?\s*\d{{1,3}}\s*{_UNIT})?(?:\s*-?(?:old|of age|alt))?",
    re.IGNORECASE,
)
Array = np.ndarray[Any, Any]


def ages(cells: Cells) -> Array:
    """Years, float [rows]; of `95-99` the lower, NaN where a cell is no age."""
    numbers = np.array(cells.numbers.to_numpy(), dtype=np.float64)
    if cells.is_text:
        texts = cells.text.to_pylist()
        for row in np.flatnonzero(np.isnan(numbers)):
            if texts[row] is not None:
                numbers[row] = _age(texts[row].strip())
    return numbers


def _age(text: str) -> float:
    found = _AGE.fullmatch(text)
    if found is None:
        return np.nan
    unit = (found[2] or "y").rstrip(".")
    per_year = next(
        (amount for words, amount in _UNITS if re.fullmatch(words, unit, re.IGNORECASE)), 1.0
    )
    return float(found[1].replace(",", ".")) / per_year


def are_years(cells: Cells, this_year: int) -> bool:
    """Whether the cells are years in which living people can be born."""
    numbers = np.asarray(cells.numbers.to_numpy(), dtype=np.float64)
    possible = (numbers >= EARLIEST) & (numbers <= this_year) & (numbers == np.floor(numbers))
    return not cells.date_form and 0 < MOSTLY * cells.filled <= possible.sum()


def are_birth_years(cells: Cells, this_year: int) -> bool:
    """The same, in a column that is called a birth."""
    return names.says(cells.name, BIRTH_YEARS) and are_years(cells, this_year)


def grouped(cells: Cells) -> Changed:
    """Ages above 89 as 90, in the column's own type; cells that are no age are missing."""
    found = ages(cells)
    return _told(cells, found, found > OLD, np.full(len(found), float(GROUP)))


def years(cells: Cells, latest: Array) -> Changed:
    """Years more than 90 before the latest of their row as that year less 90."""
    found = np.floor(np.asarray(cells.numbers.to_numpy(), dtype=np.float64))
    return _told(cells, found, found < latest - GROUP, latest - GROUP)


def _told(cells: Cells, found: Array, old: Array, group: Array) -> Changed:
    kind = pa.string() if cells.is_text else cells.column.type
    column = cells.column.cast(kind)
    gone = np.isnan(found) & cells.text.is_valid().to_numpy()
    made: pa.ChunkedArray
    if cells.is_text:
        texts = column.to_pylist()
        for row in np.flatnonzero(old | gone):
            texts[row] = None if gone[row] else str(int(group[row]))
        made = pa.chunked_array([pa.array(texts, kind)])
    else:
        replaced = pa.array(np.where(old, group, 0.0)).cast(kind)
        made = pa.compute.if_else(pa.array(old), replaced, column)
    return Changed(made, int(old.sum()), int(gone.sum()))
