"""Tables as the judges see them: the features that two of them share, each as numbers or as
categories, and as one matrix that trees can read.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from casemate.core.errors import ConfigError, DataError

Array = np.ndarray[Any, Any]
MOST, MISSING = 1e300, -1e301
"""Of numbers that trees read, and what stands for none: midpoints between them are still finite."""


def require_rows(frame: pd.DataFrame, which: str, least: int = 1) -> None:
    """Enough rows to judge by.

    Raises:
        DataError: there are fewer than `least`.
    """
    if len(frame) < least:
        rows = "1 row" if len(frame) == 1 else f"{len(frame)} rows"
        raise DataError(
            f"{which} has {rows}, too few to judge by",
            hint=f"give at least {least}" if least > 1 else "give a table with rows",
        )


def require_columns(frame: pd.DataFrame, names: Sequence[str], which: str) -> None:
    """Every column that was named, each once.

    Raises:
        DataError: one is not there, or there twice.
    """
    for name in names:
        count = int((frame.columns == name).sum())
        if count != 1:
            known = ", ".join(str(column) for column in frame.columns[:20])
            raise DataError(
                f"{which} has {'no' if not count else 'more than one'} column {name!r}",
                hint=f"its columns: {known}",
            )


def shared_features(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    features: Sequence[str] | None,
    others: Sequence[str | None],
) -> list[str]:
    """The features to look at.

    Args:
        reference: rows known to be fine.
        current: rows to judge.
        features: names; None: every column of both but `others`.
        others: columns that are no features: target, score, prediction.

    Raises:
        ConfigError: a feature is named twice.
        DataError: a named feature is in only one of the tables, or they share none.
    """
    if features is None:
        known = set(current.columns)
        features = [str(c) for c in reference.columns if c in known and c not in others]
    if len(set(features)) < len(features):
        raise ConfigError("a feature is named twice", hint="name each once in --features")
    if not features:
        raise DataError(
            "the two tables share no feature", hint="both need columns of the same names"
        )
    require_columns(reference, features, "the reference")
    require_columns(current, features, "the current table")
    return list(features)


def is_number(column: pd.Series) -> bool:
    """Whether a reference column holds quantities; truth values and dates are categories here."""
    return bool(pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column))


def numbers(column: pd.Series) -> tuple[Array, Array]:
    """(values float [n], NaN where there is none; whether a cell is written but no finite number,
    bool [n]).
    """
    missing = column.isna().to_numpy(bool)
    values = pd.to_numeric(column, errors="coerce").to_numpy(float, na_value=np.nan)
    unreadable = ~missing & ~np.isfinite(values)
    return np.where(np.isfinite(values), values, np.nan), unreadable


def categories(column: pd.Series) -> Array:
    """Cells as text, object [n]; None where there is none. `1` and `1.0` are one category, since a
    gap turns a column of whole numbers into one of fractions.
    """
    if isinstance(column.dtype, pd.StringDtype):
        return column.astype(object).where(column.notna(), None).to_numpy()
    cells, missing = column.astype(object).to_numpy(), column.isna().to_numpy(bool)
    return np.array(
        [None if gap else _category(cell) for cell, gap in zip(cells, missing, strict=True)], object
    )


def _category(cell: Any) -> str:
    if isinstance(cell, (float, np.floating)) and float(cell).is_integer():
        return str(int(cell))
    return str(cell)


class Matrix:
    """Features of any kind as a float matrix for trees: categories by how frequent they are in the
    reference, what it has not as -1, missing below everything.
    """

    def __init__(self, reference: pd.DataFrame, features: Sequence[str]) -> None:
        self.features = list(features)
        self.codes: dict[str, dict[str, int] | None] = {}
        for name in self.features:
            column = reference[name]
            if is_number(column):
                self.codes[name] = None
            else:
                counts = pd.Series(categories(column)).value_counts()
                self.codes[name] = {str(value): at for at, value in enumerate(counts.index)}

    def __call__(self, frame: pd.DataFrame) -> Array:
        """The matrix of a table's rows, [n, features]."""
        columns = []
        for name in self.features:
            codes = self.codes[name]
            if codes is None:
                values = np.clip(numbers(frame[name])[0], -MOST, MOST)
                columns.append(np.where(np.isnan(values), MISSING, values))
            else:
                cells = categories(frame[name])
                columns.append(
                    np.array([MISSING if c is None else codes.get(c, -1) for c in cells], float)
                )
        return np.column_stack(columns) if columns else np.empty((len(frame), 0))
