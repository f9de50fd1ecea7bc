"""Runs of playbooks: how far each step is. Every change is a row and an entry of the log in one
transaction, so that whoever dies finds afterwards what was begun and what was done.
"""

from typing import Any, Literal

import msgspec
import sqlalchemy as sa
from msgspec import structs

from casemate.core.errors import BusyError, ConfigError
from casemate.core.store import METADATA, decode, explained
from casemate.core.types import Record

Progress = Literal["waiting", "begun", "acted", "done", "failed", "passed over", "undone"]
OVER: tuple[Progress, ...] = ("done", "failed", "passed over", "undone")
State = Literal["running", "done", "failed"]
PLAYBOOKS = sa.Table(
    "playbook",
    METADATA,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("digest", sa.String, nullable=False),
    sa.Column("author", sa.String, nullable=False),
    sa.Column("applied", sa.String, nullable=False),
    # whoever could write one would act with its rights
    info=explained(),
)
RUNS = sa.Table(
    "playbook_run",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("playbook", sa.String, nullable=False),
    sa.Column("incident", sa.Integer, nullable=False),
    sa.Column("turn", sa.Integer, nullable=False),
    sa.Column("open", sa.Boolean, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.UniqueConstraint("playbook", "incident", "turn"),
    sa.Index("playbook_run_open", "open"),
    # whoever could write one would say that somebody approved
    info=explained("playbook", "incident"),
)


class InForce(Record, frozen=True, kw_only=True):
    """A playbook that was put in force."""

    name: str
    content: bytes
    """Of its file."""
    digest: str
    """SHA-256 of it."""
    author: str
    """Who put it in force."""
    applied: str
    """When, ISO 8601."""


class Aim(Record, frozen=True, kw_only=True):
    """What a step acts on, as it was when it began: the same however often it is tried."""

    target: str
    before: str = ""
    """What undoing goes back to, or what must have changed."""
    also: tuple[str, ...] = ()
    """More of that, by kind of step."""
    was: bool = False
    """Whether it was so before the step began: it did nothing, and there is nothing to undo."""


class StepRun(Record, frozen=True, kw_only=True):
    """How far one step is."""

    name: str
    progress: Progress = "waiting"
    aim: Aim | None = None
    text: str = ""
    """What was proven, or why not."""
    approved: tuple[str, ...] = ()
    """Who approved it."""
    since: str = ""
    """When it came to this, ISO 8601."""
    host: str = ""
    """Of a step that is begun: on which machine."""


class PlaybookRun(Record, frozen=True, kw_only=True):
    """A playbook that is, or was, at work on an incident."""

    id: int
    playbook: str
    digest: str
    content: bytes
    """Of the playbook as it was when it began: a newer one does not change what goes on."""
    incident: int
    turn: int
    """1: the first on this incident."""
    state: State
    began: str
    by: str
    """Who began it: `casemate` where it began by itself."""
    ended: str | None = None
    variables: dict[str, str]
    """What stood for `$model` and the like when it began: what a step changes does not change what
    the next one is about.
    """
    steps: tuple[StepRun, ...]

    def step(self, name: str) -> StepRun:
        """One step; ConfigError: there is none of that name."""
        for one in self.steps:
            if one.name == name:
                return one
        raise ConfigError(
            f"run {self.id} of {self.playbook} has no step {name!r}",
            hint="its steps: " + ", ".join(one.name for one in self.steps),
        )

    def with_step(self, changed: StepRun) -> "PlaybookRun":
        """The same with one step changed."""
        steps = tuple(changed if one.name == changed.name else one for one in self.steps)
        return structs.replace(self, steps=steps)


class NoPlaybook(ConfigError):
    """There is no such playbook, or no such run of one."""

    code = "CM-NO-PLAYBOOK"
    http_status = 404
    who = "whoever asks: casemate playbook list"


def in_force(tx: sa.Connection) -> dict[str, InForce]:
    """Playbooks in force, by name."""
    rows = tx.execute(sa.select(PLAYBOOKS).order_by(PLAYBOOKS.c.name)).mappings()
    return {row["name"]: InForce(**{**row, "content": bytes(row["content"])}) for row in rows}


def run(tx: sa.Connection, number: int) -> PlaybookRun:
    """One run; NoPlaybook: there is none."""
    content = tx.execute(sa.select(RUNS.c.content).where(RUNS.c.id == number)).scalar()
    if content is None:
        raise NoPlaybook(f"there is no run {number} of a playbook", hint="casemate playbook list")
    return decode(bytes(content), PlaybookRun)


def runs(tx: sa.Connection, *where: Any) -> list[PlaybookRun]:
    """Runs, the oldest first."""
    query = sa.select(RUNS.c.content).where(*where).order_by(RUNS.c.id)
    return [decode(bytes(content), PlaybookRun) for (content,) in tx.execute(query)]


def begun(tx: sa.Connection, incidents: list[int]) -> set[tuple[str, int]]:
    """(playbook, incident) of every run about one of these."""
    query = sa.select(RUNS.c.playbook, RUNS.c.incident)
    rows = tx.execute(query.where(RUNS.c.incident.in_(incidents)))
    return {(row.playbook, row.incident) for row in rows}


def put(tx: sa.Connection, found: PlaybookRun, before: PlaybookRun | None = None) -> None:
    """Write a run; BusyError: it is not any more what it was `before`."""
    row = {"open": found.state == "running", "content": msgspec.json.encode(found)}
    if before is None:
        named = {"playbook": found.playbook, "incident": found.incident, "turn": found.turn}
        tx.execute(RUNS.insert().values(id=found.id, **named, **row))
        return
    mine = (RUNS.c.id == found.id, RUNS.c.content == msgspec.json.encode(before))
    if tx.execute(RUNS.update().where(*mine).values(**row)).rowcount != 1:
        raise BusyError(f"somebody else goes on with run {found.id}", hint="look again")
