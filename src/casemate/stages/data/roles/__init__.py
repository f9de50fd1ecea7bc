"""What each column of a stranger's table is, as a careful person would say: role, entry for
casemate.toml, reason, example.
"""

from casemate.stages.data.roles.infer import (
    MOST_ROWS,
    Inferred,
    again,
    infer,
    protected,
    targets,
)
from casemate.stages.data.roles.quantities import is_quantity, quantities
from casemate.stages.data.roles.told import notes, why_none
from casemate.stages.data.roles.types import Role

__all__ = [
    "MOST_ROWS",
    "Inferred",
    "Role",
    "again",
    "infer",
    "is_quantity",
    "notes",
    "protected",
    "quantities",
    "targets",
    "why_none",
]
