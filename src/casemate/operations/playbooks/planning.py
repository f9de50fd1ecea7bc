"""What a playbook would do about an incident, without doing it."""

from msgspec import structs

from casemate.controls.access.policy import Resource
from casemate.controls.access.types import Principal
from casemate.core.errors import Error, RefusedError
from casemate.core.types import Record
from casemate.operations.acting import reading
from casemate.operations.playbooks import forces
from casemate.operations.playbooks.lineage import alerts_of, variables_of
from casemate.operations.playbooks.steps import doing
from casemate.respond import tables
from casemate.respond.playbooks import book
from casemate.respond.playbooks.book import Step
from casemate.respond.playbooks.kinds import KINDS
from casemate.respond.playbooks.runs import Aim
from casemate.wiring import Wiring


class PlannedStep(Record, frozen=True, kw_only=True):
    """What a step would do."""

    name: str
    do: str
    text: str
    """What it would do, or why it could not."""
    possible: bool
    permitted: bool
    """Whether policy lets the playbook do it."""
    people: int
    """Who must approve it."""
    undo: str
    """How it is taken back; empty: not at all."""


class Planned(Record, frozen=True, kw_only=True):
    """What a playbook would do about an incident."""

    playbook: str
    incident: int
    fits: bool
    """Whether it would begin by itself."""
    steps: list[PlannedStep]


def principal(playbook: str) -> Principal:
    """Whom a playbook acts as: a service with what the role `responder` may, and no login."""
    return Principal("Service", f"playbook-{playbook}", ("responder",), ("*",))


@reading("playbook:read")
def plan(project: Wiring, name: str, incident: int) -> Planned:
    """What a playbook in force would do about an incident; nothing is changed.

    Raises:
        AccessDenied: policy. ConfigError: there is no such playbook or incident.
    """
    said = book.read(name, forces.found(project, name).content)
    with project.database.reading() as tx:
        about = tables.incident(tx, incident)
    names, standing = alerts_of(project, about)
    known = variables_of(project, about)
    acting = project.acting_as(principal(name))
    return Planned(
        playbook=name,
        incident=incident,
        fits=said.fits(about, names, standing),
        steps=[_planned(project, acting, step, known, incident) for step in said.steps],
    )


def _planned(
    project: Wiring, acting: Wiring, step: Step, known: dict[str, str], incident: int
) -> PlannedStep:
    kind, possible = KINDS[step.do], True
    try:
        aim = aim_of(project, step, known, incident)
        text = doing()[step.do].says(aim)
    except Error as error:
        aim, possible, text = Aim(target=""), False, error.message
    about = "" if kind.resource == "Project" else aim.target.partition("@")[0]
    resource = Resource(kind.resource, about)
    return PlannedStep(
        name=step.name,
        do=step.do,
        text=text,
        possible=possible,
        permitted=acting.point.decide(kind.action, resource)[1].allowed,
        people=step.people,
        undo=kind.undo,
    )


def aim_of(project: Wiring, step: Step, known: dict[str, str], incident: int) -> Aim:
    """What a step would act on now; Error: it cannot be done."""
    of = step.aim
    if of.startswith("$"):
        if of not in known:
            raise RefusedError(
                f"nobody knows {of} of incident {incident}", hint="name it in the playbook's step"
            )
        of = known[of]
    how = doing()[step.do]
    aim = how.aim(project, of, incident)
    return structs.replace(aim, was=how.is_done(project, aim))
