"""What Python users hold: a project, by its nouns. Each of them asks policy and records, whoever
acts.

Each is imported where it is used: whoever lists runs waits for no other noun, and never for what
reads tables, trains or draws (`tests/unit/project/test_imports.py` holds that).
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casemate.core.imports import uncollected
from casemate.operations import runs
from casemate.wiring import Wiring

if TYPE_CHECKING:
    from casemate.core.types import Assessment
    from casemate.operations.access import Access
    from casemate.operations.audit import Audit
    from casemate.operations.backup import Backups
    from casemate.operations.bills import Bills
    from casemate.operations.checkup import Imported
    from casemate.operations.controls import ControlsOf
    from casemate.operations.damage import Report
    from casemate.operations.dataset import Datasets
    from casemate.operations.deployments import Deployments
    from casemate.operations.drills.playing import Drills
    from casemate.operations.federated import Federated
    from casemate.operations.feedback import FeedbackOf
    from casemate.operations.holds import Holds
    from casemate.operations.images import Images
    from casemate.operations.incidents import Incidents
    from casemate.operations.keys import Keys
    from casemate.operations.logs import Logs
    from casemate.operations.models import Models
    from casemate.operations.outbox import Outgoing
    from casemate.operations.playbooks import Playbooks
    from casemate.operations.privacy import Privacy
    from casemate.operations.retention import Plan
    from casemate.operations.retraining import Retrain
    from casemate.operations.scans import Scans
    from casemate.operations.sinks import Sinks
    from casemate.operations.status import Status
    from casemate.operations.store import Storage
    from casemate.operations.trackers import Trackers
    from casemate.operations.watching import Watch
    from casemate.stages.data.examined import Examined
    from casemate.supply.context import Reporter


class Project(Wiring):
    """A user's project.

    >>> project = casemate.open("study")                    # doctest: +SKIP
    >>> project.run().verdict.outcome                       # doctest: +SKIP
    'passed'
    >>> project.acting(session).keys.rotate(["objects"])    # doctest: +SKIP
    """

    def __repr__(self) -> str:
        return f"<casemate project {self.config.project.name!r} in {str(self.root)!r}>"

    @property
    def project(self) -> Wiring:
        """Itself: what its own operations work on."""
        return self

    run = runs.run

    @property
    def runs(self) -> runs.Runs:
        """Runs: list, show, start, cancel, what the training code said."""
        return runs.Runs(self)

    @property
    def datasets(self) -> "Datasets":
        """Sealed data sets by `NAME` (newest) or `NAME@VERSION`."""
        from casemate.operations.dataset import Datasets

        return Datasets(self)

    @property
    def models(self) -> "Models":
        """Registered models by `NAME` (newest that passed) or `NAME@VERSION`; approve, promote,
        waive.
        """
        from casemate.operations.models import Models

        return Models(self)

    @property
    def images(self) -> "Images":
        """Models as OCI images, and the list of those that are withdrawn."""
        from casemate.operations.images import Images

        return Images(self)

    @property
    def deployments(self) -> "Deployments":
        """What runs elsewhere: apply what was rendered, and tell what was changed there."""
        from casemate.operations.deployments import Deployments

        return Deployments(self)

    @property
    def keys(self) -> "Keys":
        """Keys and certificates: rotate, protect, issue, destroy, erase a person."""
        from casemate.operations.keys import Keys

        return Keys(self)

    @property
    def access(self) -> "Access":
        """People, services, sessions, policies."""
        from casemate.operations.access import Access

        return Access(self)

    @property
    def audit(self) -> "Audit":
        """The log: entries, proofs, witnesses."""
        from casemate.operations.audit import Audit

        return Audit(self)

    @property
    def privacy(self) -> "Privacy":
        """The privacy budgets of the data sets, and what was paid from them."""
        from casemate.operations.privacy import Privacy

        return Privacy(self)

    @property
    def store(self) -> "Storage":
        """Where catalogue and objects are: show, upgrade, move."""
        from casemate.operations.store import Storage

        return Storage(self)

    @property
    def backups(self) -> "Backups":
        """Backups and who can open them."""
        from casemate.operations.backup import Backups

        return Backups(self)

    @property
    def messages(self) -> "Outgoing":
        """What is to leave: list, show, deliver."""
        from casemate.operations.outbox import Outgoing

        return Outgoing(self)

    @property
    def trackers(self) -> "Trackers":
        """Issue trackers: list, check, read."""
        from casemate.operations.trackers import Trackers

        return Trackers(self)

    @property
    def watch(self) -> "Watch":
        """What is watched: look once, show, report."""
        from casemate.operations.watching import Watch

        return Watch(self)

    @property
    def logs(self) -> "Logs":
        """The log store: search, follow, count, ask in SQL, erase."""
        from casemate.operations.logs import Logs

        return Logs(self)

    @property
    def sinks(self) -> "Sinks":
        """Where log lines go: send, status, check."""
        from casemate.operations.sinks import Sinks

        return Sinks(self)

    @property
    def feedback(self) -> "FeedbackOf":
        """What is said of answers: add, list, show, sources, screen."""
        from casemate.operations.feedback import FeedbackOf

        return FeedbackOf(self)

    @property
    def federated(self) -> "Federated":
        """What owners learn together: simulate, found, approve, lead, join, rounds, ..."""
        from casemate.operations.federated import Federated

        return Federated(self)

    @property
    def retrain(self) -> "Retrain":
        """Training again: plan, list, run, go on after refusals."""
        from casemate.operations.retraining import Retrain

        return Retrain(self)

    @property
    def incidents(self) -> "Incidents":
        """What went wrong: alerts, incidents, and what people do about them."""
        from casemate.operations.incidents import Incidents

        return Incidents(self)

    @property
    def playbooks(self) -> "Playbooks":
        """What is done about incidents of a kind: apply, plan, run, approve, undo."""
        from casemate.operations.playbooks import Playbooks

        return Playbooks(self)

    @property
    def holds(self) -> "Holds":
        """What must not happen until a person says so: list, place, lift."""
        from casemate.operations.holds import Holds

        return Holds(self)

    @property
    def controls(self) -> "ControlsOf":
        """What laws and standards ask for: list, check, show, and packs of evidence."""
        from casemate.operations.controls import ControlsOf

        return ControlsOf(self)

    @property
    def scans(self) -> "Scans":
        """Weaknesses: look, list, show, waive, export; advisories."""
        from casemate.operations.scans import Scans

        return Scans(self)

    @property
    def bills(self) -> "Bills":
        """Bills of materials of models: show, export."""
        from casemate.operations.bills import Bills

        return Bills(self)

    @property
    def drills(self) -> "Drills":
        """Attacks on a copy: play, list."""
        from casemate.operations.drills.playing import Drills

        return Drills(self)

    def status(self) -> "Status":
        """See `operations.status.status`."""
        from casemate.operations.status import status

        return status(self)

    def check(
        self, only: list[str] | None = None, reporter: "Reporter | None" = None
    ) -> "Examined":
        """See `operations.checkup.assess_data`."""
        from casemate.operations.checkup import assess_data

        return assess_data(self, only, reporter)

    def assess(
        self,
        reference: str,
        only: list[str] | None = None,
        reporter: "Reporter | None" = None,
    ) -> "Assessment":
        """See `operations.checkup.assess`."""
        from casemate.operations.checkup import assess

        return assess(self, reference, only, reporter)

    def import_model(
        self,
        file: Path,
        name: str | None = None,
        *,
        convert: bool = True,
        own_code: bool = False,
    ) -> "Imported":
        """See `operations.checkup.import_model`."""
        from casemate.operations.checkup import import_model

        return import_model(self, file, name, convert=convert, own_code=own_code)

    def examine(
        self, *, repair: bool = False, progress: Callable[[str], None] = lambda _: None
    ) -> "Report":
        """See `operations.fsck.examine`."""
        from casemate.operations.fsck import examine

        return examine(self, repair=repair, progress=progress)

    def collect(
        self, *, apply: bool = False, progress: Callable[[str], None] = lambda _: None
    ) -> "Plan":
        """See `operations.retention.collect`."""
        from casemate.operations.retention import collect

        return collect(self, apply=apply, progress=progress)


def open_project(
    path: str | Path = ".", overrides: list[str] | None = None, *, check: bool = True
) -> Project:
    """The project in the folder `path` (or whose configuration file is `path`).

    Args:
        path: of the project.
        overrides: `TABLE.KEY=VALUE`, instead of what the file says.
        check: off only for what repairs or upgrades a catalogue.

    Raises:
        ConfigError: there is no valid project.
    """
    with uncollected():
        return Project.at(path, overrides, check=check)


def create_project(*args: Any, **kwargs: Any) -> Project:
    """See `operations.scaffold.start`; `casemate.create`."""
    from casemate.operations import scaffold

    made = scaffold.start(*args, **kwargs)
    made.close()
    project = open_project(made.root)
    project.keystore = made.keystore  # it knows the recovery key, which is shown once
    return project
