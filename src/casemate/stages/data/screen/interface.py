"""What a detector gets and gives."""

import dataclasses
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pandas as pd
from msgspec import structs

from casemate.config import ScreenTable
from casemate.core.types import Finding, Quarantined, Schema
from casemate.ml.frame import numeric, sample_rows

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ScreenedRows:
    """The table as detectors see it."""

    frame: pd.DataFrame
    """Feature frame, rows x features."""
    codes: np.ndarray[Any, np.dtype[np.int64]]
    """Class numbers, one a row; where quantities are predicted, the number of the range that the
    first one lies in; of several labels the rarest that the row carries (see `frame.rarest_of`).
    """
    groups: np.ndarray[Any, Any] | None
    """Subject per row, or None."""
    schema: Schema
    """The pinned schema; where quantities are predicted, its classes are the names of the ranges;
    of several labels `NO_LABEL` and their names.
    """
    seed: int
    """For whatever is random."""
    origin: np.ndarray[Any, Any] | None = None
    """Where each row came from, or None."""
    time: np.ndarray[Any, Any] | None = None
    """When each row arose, as numbers that grow, or None."""
    quantities: np.ndarray[Any, np.dtype[np.float64]] | None = None
    """What is to be predicted where that is no class, float64 [n, m]."""
    labels: np.ndarray[Any, np.dtype[np.int64]] | None = None
    """What is to be predicted where a row carries several labels, int64 [n, m]."""
    leaks: tuple[str, ...] = ()
    """Features that may know the answer, as `checks.leakage` found them."""

    @property
    def target(self) -> Array:
        """Class numbers int64 [n], labels int64 [n, m], or quantities float64 [n, m]."""
        if self.labels is not None:
            return self.labels
        return self.codes if self.quantities is None else self.quantities

    @property
    def views(self) -> list["ScreenedRows"]:
        """The table with each label as the only target; of one target the table as it is."""
        if self.labels is None:
            return [self]
        return [
            dataclasses.replace(self, codes=codes, schema=schema, labels=None)
            for codes, schema in zip(self.labels.T, self.schema.views, strict=True)
        ]

    @property
    def numbers(self) -> list[str]:
        """Names of the numeric features."""
        return [column.name for column in self.schema.features if column.type == "number"]

    @cached_property
    def honest(self) -> "ScreenedRows":
        """The table without `leaks`: what those explain is told once, as a leak, and neither as
        wrong labels nor as a trigger.
        """
        if not self.leaks:
            return self
        columns = [
            structs.replace(column, use=False) if column.name in self.leaks else column
            for column in self.schema.columns
        ]
        schema = structs.replace(self.schema, columns=columns)
        return dataclasses.replace(
            self, frame=self.frame.drop(columns=[*self.leaks]), schema=schema, leaks=()
        )

    def only(self, at: Array) -> "ScreenedRows":
        """The table of the rows `at` alone."""
        frame = self.frame.iloc[at].reset_index(drop=True)
        parts: Any = {
            name: None if (value := getattr(self, name)) is None else value[at]
            for name in ("groups", "origin", "time", "quantities", "labels")
        }
        return dataclasses.replace(self, frame=frame, codes=self.codes[at], **parts)

    def sample(self, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """At most `count` row numbers, ascending, the same for the same seed."""
        return sample_rows(len(self.codes), count, self.seed)

    @cached_property
    def coded(self) -> pd.DataFrame:
        """The frame as float64: categories by the order of their names, missing numbers as NaN."""
        return numeric(self.frame, self.schema)

    def scaled(self, at: Array) -> Array:
        """Rows `at` in a space where distances mean something: robustly scaled numbers, one-hot
        categories, float64 [n, d].
        """
        parts = []
        if self.numbers:
            values = self.frame[self.numbers].to_numpy(dtype=np.float64)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a column without any value has no median
                middle, spread = np.nanmedian(values, axis=0), np.nanstd(values, axis=0)
            scaled = (values[at] - np.nan_to_num(middle)) / np.where(
                np.nan_to_num(spread) > 0, spread, 1.0
            )
            parts.append(np.clip(np.nan_to_num(scaled), -10, 10))
        for column in self.schema.categories:
            places, kinds = pd.factorize(self.frame[column.name].iloc[at])
            if len(kinds) <= MOST_KINDS:
                parts.append(np.eye(len(kinds))[places] * np.sqrt(0.5))
        return np.hstack(parts) if parts else np.zeros((len(at), 1))


MOST_KINDS = 100
"""Categories up to which a column is one-hot in `ScreenedRows.scaled`: with more it is nearly a
name of the row. Chosen.
"""


@dataclass
class Suspicion:
    """What a detector answers: the rows that it suspects, what it says of the table, and figures
    for gates.
    """

    rows: list[Quarantined] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)


class Detector(Protocol):
    """Looks for one kind of suspicious row."""

    id: str

    def __call__(self, rows: ScreenedRows, options: ScreenTable) -> Suspicion:
        """Look at all rows."""
