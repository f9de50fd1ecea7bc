"""What the data stage knows of a table before anything of it is kept."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from casemate.controls.keys.subjects import Root
from casemate.core.types import Basis, Finding, Quarantined, Restricted, RuleChecked, Schema, Sides
from casemate.stages.data.checks.profile import TableProfile
from casemate.stages.data.whole import Looked


@dataclass(frozen=True)
class Examined:
    """A table that was read, checked and screened, and nothing of it kept yet."""

    table: pa.Table
    schema: Schema
    suspects: list[Quarantined]
    excluded: np.ndarray[Any, np.dtype[np.bool_]]
    """On neither side."""
    holdout: np.ndarray[Any, np.dtype[np.bool_]]
    """Held out, the rows that a person dropped included."""
    sides: Sides
    order: np.ndarray[Any, np.dtype[np.int32]]
    statistics: dict[str, dict[str, float]]
    findings: list[Finding]
    figures: dict[str, float]
    profiles: list[TableProfile]
    rules: list[RuleChecked]
    root: Root
    """What the sides hang on; sealing keeps it, if it is new."""
    basis: Basis | None = None
    restricted: Restricted | None = None
    erased: str = ""
    """Digest of which rows were left out because their people were erased; empty: none."""
    looked: Looked | None = None
    """What all rows show, where only some were drawn."""
