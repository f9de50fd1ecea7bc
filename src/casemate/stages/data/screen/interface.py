"""What a detector gets and gives."""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pandas as pd

from casemate.config import ScreenTable
from casemate.core.types import Finding, Quarantined, Schema


@dataclass(frozen=True)
class Rows:
    """The table as detectors see it."""

    frame: pd.DataFrame
    """Feature frame, rows x features."""
    codes: np.ndarray[Any, np.dtype[np.int64]]
    """Class numbers, one a row."""
    groups: np.ndarray[Any, Any] | None
    """Subject per row, or None."""
    schema: Schema
    """The pinned schema."""
    seed: int
    """For whatever is random."""

    @property
    def numbers(self) -> list[str]:
        """Names of the numeric features."""
        return [column.name for column in self.schema.features if column.type == "number"]


@dataclass
class Suspicion:
    """A detector's answer."""

    rows: list[Quarantined] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)


class Detector(Protocol):
    """Looks for one kind of suspicious row."""

    id: str

    def __call__(self, rows: Rows, options: ScreenTable) -> Suspicion:
        """Look at all rows."""
