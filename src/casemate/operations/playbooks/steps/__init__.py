"""How steps of playbooks do what `respond.playbooks.kinds` says that they do.

Whatever a step does must be the same done twice: whoever dies while it is done asks `is_done`
afterwards, of the aim that was written down before.
"""

from typing import Protocol

from casemate.respond.playbooks.runs import Aim
from casemate.wiring import Wiring


class Doing(Protocol):
    """How one kind of step is done."""

    def aim(self, project: Wiring, of: str, incident: int) -> Aim:
        """What it will act on. ConfigError: there is no such thing. RefusedError: it cannot be
        done. Nothing is changed.
        """

    def says(self, aim: Aim) -> str:
        """What it does, in words."""

    def is_done(self, project: Wiring, aim: Aim) -> bool:
        """Whether it has been done already, by whomever."""

    def do(self, project: Wiring, aim: Aim, why: str) -> None:
        """Do it, as whoever acts in `project`, which policy decides on."""

    def proof(self, project: Wiring, aim: Aim) -> str:
        """What was seen; Unproven: nothing that proves it."""

    def undo(self, project: Wiring, aim: Aim, why: str) -> None:
        """Take it back, as whoever acts in `project`."""


def doing() -> dict[str, Doing]:
    """By kind; a test holds that every kind has one."""
    from casemate.operations.playbooks.steps import keys, models, people, telling

    return {**models.STEPS, **people.STEPS, **keys.STEPS, **telling.STEPS}
