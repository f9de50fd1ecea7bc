"""What a check gets and gives."""

import dataclasses
import datetime
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from casemate.config import Config
from casemate.core.types import Finding, Schema
from casemate.ml.frame import sample_rows


@dataclass(frozen=True)
class CheckedTable:
    """The table as checks see it."""

    table: pa.Table
    """All columns, typed."""
    frame: pd.DataFrame
    """Feature frame, rows x features."""
    codes: np.ndarray[Any, np.dtype[np.int64]]
    """Class numbers; where quantities are predicted, the number of the range that the first one
    lies in; of several labels the rarest that the row carries.
    """
    groups: np.ndarray[Any, Any] | None
    """Subject per row, or None."""
    schema: Schema
    """The pinned schema; where quantities are predicted, its classes are the names of the
    ranges.
    """
    config: Config
    """The whole configuration."""
    now: datetime.datetime
    """Aware, in UTC."""
    labels: np.ndarray[Any, np.dtype[np.int64]] | None = None
    """Several labels a row, int64 [n, m]."""

    @property
    def views(self) -> list["CheckedTable"]:
        """The table with each label as the only target; of one target the table as it is."""
        if self.labels is None:
            return [self]
        return [
            dataclasses.replace(self, codes=codes, schema=schema, labels=None)
            for codes, schema in zip(self.labels.T, self.schema.views, strict=True)
        ]

    def sample(self, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """At most `count` row numbers, the same for the same seed."""
        return sample_rows(len(self.codes), count, self.config.train.seed)


@dataclass
class Answer:
    """What a check saw."""

    findings: list[Finding] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)

    def say(
        self, id_: str, severity: Any, message: str, location: str = "", confidence: Any = "high"
    ) -> None:
        """Add a finding to this check's answer."""
        self.findings.append(
            Finding(
                id=id_, severity=severity, confidence=confidence, message=message, location=location
            )
        )
