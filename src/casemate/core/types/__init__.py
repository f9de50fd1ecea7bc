"""The vocabulary: the frozen records that stages exchange and that evidence files hold.

Every record is a keyword-only msgspec struct. `FORMAT` is the version of these files: a field may
be added with a default under the same version; renaming, removing or changing the meaning of one
needs a new version and a reader for the old one under test.
"""

from casemate.core.types.assessment import (
    Assessment,
    BehaviourResult,
    FeatureImportance,
    Interval,
    Profile,
)
from casemate.core.types.baseline import Baseline, Bin, ColumnSketch
from casemate.core.types.dataset import (
    Basis,
    Quarantined,
    Restricted,
    RuleChecked,
    SealedDataset,
    Sides,
    Taught,
    Whole,
)
from casemate.core.types.model import (
    FeatureLimits,
    Federated,
    Leak,
    NoiseUnit,
    Part,
    Stated,
    TrainedModel,
    Unlearning,
    WentOn,
)
from casemate.core.types.record import FORMAT, Finding, Outcome, Record, Severity, number_text
from casemate.core.types.release import GateResult, Lineage, Release, Verdict, Waived
from casemate.core.types.schema import (
    MISSING_CATEGORY,
    ColumnClass,
    ColumnSchema,
    ColumnType,
    RawColumn,
    Reading,
    Schema,
)

__all__ = [
    "FORMAT",
    "MISSING_CATEGORY",
    "Assessment",
    "Baseline",
    "Basis",
    "BehaviourResult",
    "Bin",
    "ColumnClass",
    "ColumnSchema",
    "ColumnSketch",
    "ColumnType",
    "FeatureImportance",
    "FeatureLimits",
    "Federated",
    "Finding",
    "GateResult",
    "Interval",
    "Leak",
    "Lineage",
    "NoiseUnit",
    "Outcome",
    "Part",
    "Profile",
    "Quarantined",
    "RawColumn",
    "Reading",
    "Record",
    "Release",
    "Restricted",
    "RuleChecked",
    "Schema",
    "SealedDataset",
    "Severity",
    "Sides",
    "Stated",
    "Taught",
    "TrainedModel",
    "Unlearning",
    "Verdict",
    "Waived",
    "WentOn",
    "Whole",
    "number_text",
]
