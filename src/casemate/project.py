"""What Python users hold: a project, by its nouns. Each of them asks policy and records, whoever acts."""

import functools
from pathlib import Path
from typing import Any

from casemate.operations import checkup, fsck, gateways, retention, scaffold
from casemate.operations import runs as running
from casemate.operations import status as standing
from casemate.operations.access import Access
from casemate.operations.audit import Audit
from casemate.operations.backup import Backups
from casemate.operations.dataset import Datasets
from casemate.operations.keys import Keys
from casemate.operations.models import Models
from casemate.operations.outbox import Outgoing
from casemate.operations.privacy import Privacy
from casemate.operations.runs import Runs
from casemate.operations.store import Storage
from casemate.wiring import Wiring, locate


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

    run = running.run
    status = standing.status
    assess = checkup.assess
    check = checkup.assess_data
    import_model = checkup.import_model
    examine = fsck.examine
    collect = retention.collect
    begin = gateways.begin

    @property
    def runs(self) -> Runs:
        """Runs: list, show, start, cancel, what the training code said."""
        return Runs(self)

    @property
    def datasets(self) -> Datasets:
        """Sealed data sets by `NAME` (newest) or `NAME@VERSION`."""
        return Datasets(self)

    @property
    def models(self) -> Models:
        """Registered models by `NAME` (newest that passed) or `NAME@VERSION`; approve, promote, waive, import."""
        return Models(self)

    @property
    def keys(self) -> Keys:
        """Keys and certificates: rotate, protect, issue, destroy, erase a person."""
        return Keys(self)

    @property
    def access(self) -> Access:
        """People, services, sessions, policies."""
        return Access(self)

    @property
    def audit(self) -> Audit:
        """The log: entries, proofs, witnesses."""
        return Audit(self)

    @property
    def privacy(self) -> Privacy:
        """Privacy budgets."""
        return Privacy(self)

    @property
    def store(self) -> Storage:
        """Where catalogue and objects are: show, upgrade, move."""
        return Storage(self)

    @property
    def backups(self) -> Backups:
        """Backups and who can open them."""
        return Backups(self)

    @property
    def messages(self) -> Outgoing:
        """What is to leave: list, show, deliver."""
        return Outgoing(self)


def open_project(path: str | Path = ".", overrides: list[str] | None = None, *, check: bool = True) -> Project:
    """The project in the folder `path` (or whose configuration file is `path`).

    Args:
        path: of the project.
        overrides: `TABLE.KEY=VALUE`, instead of what the file says.
        check: off only for what repairs or upgrades a catalogue.

    Raises:
        ConfigError: there is no valid project.
    """
    return Project(*locate(path, overrides), check=check)


@functools.wraps(scaffold.start)
def create_project(*args: Any, **kwargs: Any) -> Project:
    """See `operations.scaffold.start`; `casemate.create`."""
    made = scaffold.start(*args, **kwargs)
    made.close()
    project = open_project(made.root)
    project.keystore = made.keystore  # it knows the recovery key, which is shown once
    return project
