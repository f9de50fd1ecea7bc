"""What a new project will hold."""

from dataclasses import dataclass, field

from casemate.config import DataTable
from casemate.core.types import ColumnSchema
from casemate.stages.data.roles.types import Role

READING = (
    *("header", "delimiter", "decimal", "encoding", "quote", "escape", "skip_lines", "bad_rows"),
    *("null_values", "date_format", "table", "query", "password", "weight"),
)
"""Options of `[data]` that say how its source is read, and what its rows weigh."""
IN_MEMORY = "data/table.parquet"
"""Where a table that was in memory lies in its project."""


@dataclass
class Plan:
    """What a new project will hold."""

    name: str
    purpose: str
    data: DataTable
    train: str
    gates: str
    rows: int = 0
    """Of the table, for the size of its models."""
    cap: float = 0.25
    files: dict[str, bytes] = field(default_factory=dict)
    inferred: list[ColumnSchema] = field(default_factory=list)
    """Columns as the first run will pin them, features that are made of others last."""
    classes: list[str] = field(default_factory=list)
    """The target's, as the model will order them."""
    protected: list[str] = field(default_factory=list)
    """Columns that are likely protected attributes, by their names."""
    roles: list[Role] = field(default_factory=list)
    """What each column is taken for, and why."""
    notes: list[str] = field(default_factory=list)
