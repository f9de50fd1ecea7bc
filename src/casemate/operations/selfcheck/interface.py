"""What one look says."""

from typing import Literal, Self

from casemate.core.text import clean
from casemate.core.types import Record

MOST_WORDS = 400
"""Characters of a state: files and settings have names that others chose."""


class Look(Record, frozen=True, kw_only=True):
    """One thing that was looked at, or could not be."""

    mark: Literal["good", "weak", "could-not-look"]
    subject: str
    """What."""
    state: str
    """How it is."""
    advice: str = ""
    """What to do, if anything."""

    @classmethod
    def judged(cls, subject: str, state: str, advice: str = "", *, good: bool) -> Self:
        """Good, or weak with what to do about it."""
        mark: Literal["good", "weak"] = "good" if good else "weak"
        return cls(
            mark=mark,
            subject=subject,
            state=clean(state, MOST_WORDS),
            advice="" if good else advice,
        )

    @classmethod
    def unseen(cls, subject: str, why: str, advice: str = "") -> Self:
        """Nothing is known of it, and that is not good."""
        return cls(
            mark="could-not-look", subject=subject, state=clean(why, MOST_WORDS), advice=advice
        )
