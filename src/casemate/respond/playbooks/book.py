"""A playbook as its file in `playbooks/` says it: when, and which steps.

title = "A model that answers worse goes back"

[when]
causes = ["model", "endpoint"]
alerts = ["quality-*"]
severity = "medium"

[[steps]]
name = "back"
do = "rollback"
"""

import graphlib
import re
import tomllib
from fnmatch import fnmatchcase
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from casemate.config.table import Table
from casemate.core.errors import ConfigError
from casemate.respond.causes import DOWNSTREAM, LEVELS, Level
from casemate.respond.playbooks.kinds import KINDS, VARIABLES
from casemate.respond.states import Incident

MOST_BYTES, MOST_STEPS = 64 * 1024, 50
"""Of one playbook: what nobody can read in an incident is no playbook."""
STEPS = "[[steps]]"
"""Head of a step."""
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
CAUSES = (*DOWNSTREAM, "model", "endpoint", "gateway", "access", "person", "log", "key-care")
Word = Annotated[str, Meta(min_length=1, max_length=200)]
Approvals = Annotated[int, Meta(ge=0, le=5)]


class When(Table, frozen=True, kw_only=True):
    """`[when]`: all of it must hold of an open incident."""

    causes: Annotated[
        list[Word],
        Meta(description="Kinds of its cause, such as `model`, `endpoint`, `key`, `person`."),
    ] = []
    alerts: Annotated[
        list[Word],
        Meta(description="Names of its alerts, with `*` and `?`: one of them fits."),
    ] = []
    severity: Annotated[Level, Meta(description="It is at least that severe.")] = "low"
    standing: Annotated[bool, Meta(description="An alert of it still stands, or never ends.")] = (
        True
    )


class Step(Table, frozen=True, kw_only=True):
    """`[[steps]]`: one thing that is done."""

    name: Annotated[
        str,
        Meta(
            description="How other steps and people call it.",
            pattern=r"^[a-z0-9][a-z0-9-]{0,39}$(?!\n)",
        ),
    ]
    do: Annotated[str, Meta(description="What is done; see the table of steps.")]
    of: Annotated[
        str,
        Meta(description="With or to what; may be a variable, such as `$model`.", max_length=500),
    ] = ""
    needs: Annotated[
        list[str], Meta(description="Steps that must be done, and proven, before it begins.")
    ] = []
    unless: Annotated[
        str, Meta(description="It is passed over where this step was done, and waits for its end.")
    ] = ""
    approvals: Annotated[
        Approvals,
        Meta(
            description="Persons who must approve it; never fewer than the kind of step asks for."
        ),
    ] = 0
    otherwise: Annotated[
        Literal["stop", "go-on"],
        Meta(description="Where it fails: the playbook ends there, or goes on with the next step."),
    ] = "go-on"

    @property
    def people(self) -> int:
        """How many persons must approve it."""
        return max(self.approvals, KINDS[self.do].people)

    @property
    def aim(self) -> str:
        """What it acts on, as it is said: perhaps a variable."""
        return self.of or KINDS[self.do].of


class Playbook(Table, frozen=True, kw_only=True):
    """What is done about incidents of a kind."""

    title: Annotated[str, Meta(description="One line.", min_length=1, max_length=200)]
    automatic: Annotated[
        bool, Meta(description="Begin by itself at each look of `casemate watch`.")
    ] = True
    when: Annotated[When, Meta(description="About which incidents it is.")]
    steps: Annotated[list[Step], Meta(description="What is done, in this order.")]

    def fits(self, incident: Incident, alerts: list[str], standing: int) -> bool:
        """Whether it is about an incident.

        Args:
            incident: an open one.
            alerts: names of its alerts.
            standing: how many of them stand, or never end.
        """
        when = self.when
        return (
            incident.is_open
            and bool(alerts)
            and (not when.causes or incident.root.partition(":")[0] in when.causes)
            and (
                not when.alerts
                or any(fnmatchcase(one, sign) for one in alerts for sign in when.alerts)
            )
            and LEVELS.index(incident.severity) >= LEVELS.index(when.severity)
            and (standing > 0 or not when.standing)
        )


def read(name: str, content: bytes) -> Playbook:
    """A playbook from the content of `playbooks/NAME.toml`.

    Raises:
        ConfigError: it is none, with the line where that can be said: an unknown step, a cycle, a
            variable that does not exist.
    """
    if not NAME.fullmatch(name):
        raise _wrong(name, 0, "a playbook is called by small letters, digits and '-', at most 40")
    if len(content) > MOST_BYTES:
        raise _wrong(name, 0, f"it has more than {MOST_BYTES} bytes")
    try:
        text = content.decode()
        found = msgspec.convert(tomllib.loads(text), Playbook)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise _wrong(name, _place(content, str(error)), str(error)) from error
    if not found.steps or len(found.steps) > MOST_STEPS:
        raise _wrong(name, 0, f"it has {len(found.steps)} steps, and takes 1 to {MOST_STEPS}")
    if not (found.when.causes or found.when.alerts):
        raise _wrong(name, _line(text, "[when]", 0), "it says neither causes nor alerts")
    known = {*CAUSES, "machine", "certificate", "budget", "name", "rule", "sink", "delivery"}
    for cause in found.when.causes:
        if cause not in known:
            raise _wrong(name, _line(text, "[when]", 0), f"there is no cause of the kind {cause!r}")
    for place, step in enumerate(found.steps):
        fault = _fault(found, place, step)
        if fault:
            raise _wrong(name, _line(text, STEPS, place), f"step {step.name!r}: {fault}")
    _require_order(name, text, found)
    return found


def _fault(book: Playbook, place: int, step: Step) -> str:
    names = [one.name for one in book.steps]
    if names.index(step.name) != place:
        return "another step has that name"
    kind = KINDS.get(step.do)
    if kind is None:
        return f"nothing is called {step.do!r}; steps can {', '.join(KINDS)}"
    unknown = [one for one in (*step.needs, step.unless) if one and one not in names]
    if unknown:
        return f"there is no step {unknown[0]!r}"
    if step.of and not kind.needs_of:
        return f"{step.do} takes no `of`"
    if kind.needs_of and not step.aim:
        return f"`of` is missing: {kind.needs_of}"
    if step.aim.startswith("$") and step.aim not in VARIABLES:
        return f"there is no variable {step.aim}; there are {', '.join(VARIABLES)}"
    if step.do == "contain" and not step.needs:
        return "`needs` is missing: what must be proven before an incident is called contained"
    return ""


def _require_order(name: str, text: str, book: Playbook) -> None:
    graph = {one.name: {*one.needs, *filter(None, [one.unless])} for one in book.steps}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        circle = error.args[1]
        place = [one.name for one in book.steps].index(circle[0])
        line = _line(text, STEPS, place)
        raise _wrong(name, line, f"steps wait for one another: {' <- '.join(circle)}") from error


def step_line(content: bytes, place: int) -> int:
    """The line of the head of the `place`-th step of a file, from 0; 0: it is not there."""
    return _line(content.decode(errors="replace"), STEPS, place)


def _line(text: str, head: str, place: int) -> int:
    """The line of a table's head, the `place`-th of its name; 0: it is not there."""
    found = [number for number, line in enumerate(text.splitlines(), 1) if line.strip() == head]
    return found[place] if place < len(found) else 0


def _place(content: bytes, fault: str) -> int:
    """The line of what the library says is wrong."""
    said = re.search(r"at line (\d+)", fault)
    if said:
        return int(said[1])
    step = re.search(r"`\$\.steps\[(\d+)\]", fault)
    return step_line(content, int(step[1])) if step else 0


def _wrong(name: str, line: int, fault: str) -> ConfigError:
    where = f"playbooks/{name}.toml" + (f":{line}" if line else "")
    return ConfigError(f"{where}: {fault}", hint="correct it; docs/reference/playbooks.md")
