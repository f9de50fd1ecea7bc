"""Scans: looking at a project's code, secrets, dependencies, artifacts and configuration for
weaknesses, what was found, and who lets a finding stand for how long.

What could not be looked at is no pass: it is named, kept, and blocks the gate.
"""

from casemate.operations.acting import Noun
from casemate.operations.scans.advisories import Advisories
from casemate.operations.scans.looking import scan
from casemate.operations.scans.plans import plan
from casemate.operations.scans.reports import add, ask_sonar
from casemate.operations.scans.verbs import export, listing, show, unwaive, waive


class Scans(Noun):
    """Scans of a project, by their verbs."""

    scan = scan
    add = add
    ask_sonar = ask_sonar
    plan = plan
    list = listing
    show = show
    export = export
    waive = waive
    unwaive = unwaive

    @property
    def advisories(self) -> Advisories:
        """Snapshots of advisories: sign, add, show."""
        return Advisories(self.project)
