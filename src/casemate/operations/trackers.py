"""Issue trackers: which there are, whether tickets could be made there, and what people did with
them.
"""

from casemate.core.types import Record
from casemate.operations.acting import Noun, operation, reading
from casemate.operations.incidents.heard import TicketsRead, hear
from casemate.respond.trackers import Checked
from casemate.wiring import Wiring


class Described(Record, frozen=True, kw_only=True):
    """One table `[trackers.NAME]`."""

    name: str
    kind: str
    where: str
    severities: tuple[str, ...]
    reads: bool
    """Whether state and comments of its tickets can be read."""


@reading("trackers:read")
def listing(project: Wiring) -> list[Described]:
    """The trackers of the configuration; nothing is asked of them. AccessDenied: policy."""
    found = []
    for name, table in project.config.trackers.items():
        tracker = project.tracker(name)
        found.append(
            Described(
                name=name,
                kind=table.kind,
                where=tracker.where,
                severities=tuple(table.severities),
                reads=tracker.reads,
            )
        )
    return found


@operation("trackers:check")
def check(project: Wiring, name: str) -> Checked:
    """Whether the token works, the project exists and tickets may be made; changes nothing there.

    Args:
        project: whose configuration.
        name: of the tracker.

    Raises:
        AccessDenied: policy. ConfigError: there is no such tracker, or it refuses the token.
        BackendError: it is not reached.
    """
    acting = check.ask(project, tracker=name)
    found = project.tracker(name).check()
    about = f'Project::"{project.config.project.id}"'
    outcome = "refused" if found.problems else "done"
    acting.record("trackers:check", about, outcome, tracker=name, problems=len(found.problems))
    return found


@operation("trackers:hear")
def read(project: Wiring) -> list[TicketsRead]:
    """Read the tickets of incidents that are open or were closed in the last 14 days, as each look
    of the watcher does; what people did there becomes changes of the incidents.

    Trackers that cannot be reached are asked in any case, and what is wrong with one is in what is
    returned.

    Raises:
        AccessDenied: policy. BackendError: the catalogue cannot be read or written.
    """
    acting = read.ask(project)
    done = hear(project, is_asked=True)
    about = f'Project::"{project.config.project.id}"'
    comments = sum(one.comments for one in done)
    faults = [one.tracker for one in done if one.fault]
    outcome = "failed" if faults else "done"
    acting.record("trackers:hear", about, outcome, comments=comments, faults=faults)
    project.outbox.send()
    return done


class Trackers(Noun):
    """The issue trackers of a project, by their verbs."""

    list = listing
    check = check
    read = read
