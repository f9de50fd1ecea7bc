"""What an examination of a project finds: damage, and the report of it."""

from typing import Literal

from casemate.core.types import Record

BACKUP = "casemate backup restore"


class Damage(Record, frozen=True, kw_only=True):
    """One thing that does not hold."""

    subject: str
    """What."""
    state: str
    """How it is."""
    remedy: str
    """What was done, or what to do."""
    repaired: bool = False
    """Whether it was rebuilt just now."""
    unknown: bool = False
    """Whether nothing is known of it, because a server or a disk did not answer."""


class Report(Record, frozen=True, kw_only=True):
    """What was looked at and what was found."""

    checked: dict[str, int]
    """How many of each."""
    damage: list[Damage]
    """What does not hold, the deepest cause first."""

    @property
    def outcome(self) -> Literal["intact", "repaired", "damaged", "unknown"]:
        """`repaired` when everything that was damaged could be rebuilt; `unknown` when of the rest
        nothing is known.
        """
        if not self.damage:
            return "intact"
        left = [found for found in self.damage if not found.repaired]
        if not left:
            return "repaired"
        return "unknown" if all(found.unknown for found in left) else "damaged"
