"""The whole file as one value."""

from casemate.config.access import AccessTable
from casemate.config.assess import AssessTable
from casemate.config.audit import AuditTable
from casemate.config.controller import ControllerTable
from casemate.config.controls import ControlsTable
from casemate.config.data import DataTable
from casemate.config.deploy import DeployTable
from casemate.config.drill import DrillTable
from casemate.config.federate import FederateTable
from casemate.config.feedback import FeedbackTable, RetrainTable
from casemate.config.incidents import IncidentsTable
from casemate.config.keys import KeysTable
from casemate.config.logs import LogsTable
from casemate.config.outbox import NoticeTable, OutboxTable
from casemate.config.privacy import PrivacyTable
from casemate.config.project import ProjectTable
from casemate.config.release import GateTable, ReleaseTable, RetentionTable, RunTable
from casemate.config.robustness import RobustnessTable
from casemate.config.sandbox import SandboxTable
from casemate.config.scan import ScanTable
from casemate.config.screen import ScreenTable
from casemate.config.serve import ServeTable
from casemate.config.sinks import SinkTable, SpoolTable
from casemate.config.store import StoreTable
from casemate.config.table import Name, Table
from casemate.config.trackers import TrackerTable
from casemate.config.train import TrainTable
from casemate.config.watch import ObjectiveTable, WatchTable


class Config(Table, frozen=True, kw_only=True):
    """The whole file."""

    project: ProjectTable
    data: DataTable
    train: TrainTable
    screen: ScreenTable = ScreenTable()
    privacy: PrivacyTable = PrivacyTable()
    controller: ControllerTable = ControllerTable()
    sandbox: SandboxTable = SandboxTable()
    robustness: RobustnessTable = RobustnessTable()
    assess: AssessTable = AssessTable()
    gates: dict[str, GateTable] = {}
    release: ReleaseTable = ReleaseTable()
    run: RunTable = RunTable()
    keys: KeysTable = KeysTable()
    store: StoreTable = StoreTable()
    audit: AuditTable = AuditTable()
    outbox: OutboxTable = OutboxTable()
    retention: RetentionTable = RetentionTable()
    notices: dict[Name, NoticeTable] = {}
    serve: ServeTable = ServeTable()
    watch: WatchTable = WatchTable()
    logs: LogsTable = LogsTable()
    incidents: IncidentsTable = IncidentsTable()
    slo: dict[Name, ObjectiveTable] = {}
    spool: SpoolTable = SpoolTable()
    sinks: dict[Name, SinkTable] = {}
    feedback: FeedbackTable = FeedbackTable()
    retrain: RetrainTable = RetrainTable()
    federate: FederateTable = FederateTable()
    trackers: dict[Name, TrackerTable] = {}
    deploy: DeployTable = DeployTable()
    access: AccessTable = AccessTable()
    controls: ControlsTable = ControlsTable()
    scan: ScanTable = ScanTable()
    drill: DrillTable = DrillTable()

    @property
    def dataset_name(self) -> str:
        """Name of the data set."""
        return self.data.name or self.project.name

    @property
    def retraining_figure(self) -> str:
        """In which a new model is compared with the incumbent."""
        return self.retrain.figure or ("rmse" if self.data.task == "regression" else "accuracy")
