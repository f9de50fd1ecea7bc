"""`casemate.toml` as a frozen `Config`: every option with its type, limits, default and meaning.

The file is strict: an unknown table or key is an error that names the nearest known one. `-s
table.key=value` overrides one value. Secrets are never values here, only references (`env:NAME`,
`file:PATH`).

>>> from casemate.config import parse
>>> config = parse('[project]\nname = "demo"\nid = "demo-1"\n'
...                '[data]\nsource = "t.csv"\ntarget = "y"\n'
...                '[train]\nentry = "train.py:build"\n')
>>> config.train.metric is None
True
"""

from casemate.config.access import AccessTable, PlaceTable
from casemate.config.assess import AssessTable, BehaviourTable
from casemate.config.audit import AuditTable, WitnessTable
from casemate.config.aws import AwsTable
from casemate.config.basis import BasisTable
from casemate.config.canary import CanaryTable
from casemate.config.cluster import ModelTable, PeerTable
from casemate.config.column import ColumnTable
from casemate.config.controller import ControllerTable
from casemate.config.controls import ControlsTable
from casemate.config.data import DataTable
from casemate.config.deploy import DeployTable
from casemate.config.describe import describe
from casemate.config.drill import DrillTable
from casemate.config.engine import DaskTable
from casemate.config.federate import FederateTable
from casemate.config.feedback import FeedbackTable, RetrainTable, SourceTable, Trust
from casemate.config.figures import (
    AT_EPS,
    CLASSIFICATION,
    FIGURES,
    LABELS,
    LESS_IS_BETTER,
    MORE_IS_BETTER,
    OF_CLASSES,
    OF_QUANTITIES,
    ON_TRAINING_ROWS,
    QUALITY,
    REGRESSION,
    WISHES,
    worst,
)
from casemate.config.file import FIXED, load, locate, parse, schema
from casemate.config.guard import GuardTable, OutputsTable
from casemate.config.hardening import AdversarialTable, NetworkTable
from casemate.config.identity import ProviderTable, WorkloadTable
from casemate.config.incidents import AcknowledgeTable, ContainTable, IncidentsTable, Law
from casemate.config.keys import KeysTable, keys_table
from casemate.config.kubernetes import KServeTable, KubernetesTable
from casemate.config.limits import AggregateTable, LimitsTable
from casemate.config.lines import line_of
from casemate.config.logs import LogsTable
from casemate.config.outbox import NoticeTable, OutboxTable
from casemate.config.possible.data import require_possible
from casemate.config.privacy import PrivacyTable
from casemate.config.project import ProjectTable
from casemate.config.release import GateTable, ReleaseTable, RetentionTable, RunTable
from casemate.config.robustness import FeatureTable, RobustnessTable
from casemate.config.rules import RuleTable
from casemate.config.sandbox import SandboxTable
from casemate.config.scan import DueTable, ScanTable
from casemate.config.screen import ScreenTable
from casemate.config.serve import ServeTable
from casemate.config.sinks import SinkTable, SpoolTable
from casemate.config.store import StoreTable
from casemate.config.table import (
    FILE_NAME,
    SPANS,
    Count,
    DetectorId,
    Digits,
    Event,
    Mask,
    Name,
    Origin,
    Part,
    Reaction,
    Share,
    Table,
    Url,
    is_pattern,
)
from casemate.config.trackers import TrackerTable
from casemate.config.train import TrainTable
from casemate.config.watch import LATENCIES, ObjectiveTable, WatchTable
from casemate.config.whole import Config

__all__ = [
    "AT_EPS",
    "CLASSIFICATION",
    "FIGURES",
    "FILE_NAME",
    "FIXED",
    "LABELS",
    "LATENCIES",
    "LESS_IS_BETTER",
    "MORE_IS_BETTER",
    "OF_CLASSES",
    "OF_QUANTITIES",
    "ON_TRAINING_ROWS",
    "QUALITY",
    "REGRESSION",
    "SPANS",
    "WISHES",
    "AccessTable",
    "AcknowledgeTable",
    "AdversarialTable",
    "AggregateTable",
    "AssessTable",
    "AuditTable",
    "AwsTable",
    "BasisTable",
    "BehaviourTable",
    "CanaryTable",
    "ColumnTable",
    "Config",
    "ContainTable",
    "ControllerTable",
    "ControlsTable",
    "Count",
    "DaskTable",
    "DataTable",
    "DeployTable",
    "DetectorId",
    "Digits",
    "DrillTable",
    "DueTable",
    "Event",
    "FeatureTable",
    "FederateTable",
    "FeedbackTable",
    "GateTable",
    "GuardTable",
    "IncidentsTable",
    "KServeTable",
    "KeysTable",
    "KubernetesTable",
    "Law",
    "LimitsTable",
    "LogsTable",
    "Mask",
    "ModelTable",
    "Name",
    "NetworkTable",
    "NoticeTable",
    "ObjectiveTable",
    "Origin",
    "OutboxTable",
    "OutputsTable",
    "Part",
    "PeerTable",
    "PlaceTable",
    "PrivacyTable",
    "ProjectTable",
    "ProviderTable",
    "Reaction",
    "ReleaseTable",
    "RetentionTable",
    "RetrainTable",
    "RobustnessTable",
    "RuleTable",
    "RunTable",
    "SandboxTable",
    "ScanTable",
    "ScreenTable",
    "ServeTable",
    "Share",
    "SinkTable",
    "SourceTable",
    "SpoolTable",
    "StoreTable",
    "Table",
    "TrackerTable",
    "TrainTable",
    "Trust",
    "Url",
    "WatchTable",
    "WitnessTable",
    "WorkloadTable",
    "describe",
    "is_pattern",
    "keys_table",
    "line_of",
    "load",
    "locate",
    "parse",
    "require_possible",
    "schema",
    "worst",
]
