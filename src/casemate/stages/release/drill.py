"""The report of a drill: attacks that were played on a copy of a project, and what became of each;
signed as a whole, checked from public keys alone.
"""

from pathlib import Path
from typing import Literal

import msgspec

from casemate.core.errors import VerificationError
from casemate.core.signatures import Verifier
from casemate.core.types import Record
from casemate.stages.release.evidence import checked

SIGNATURE = "drill.dsse.json"
REPORT = "drill.json"
PAGE = "drill.html"
PREDICATE = "https://casemate.dev/drill/v1"
PLAYED = "drill:played"
"""Action of the log's entry with what a drill came to."""
Verdict = Literal["contained", "detected", "missed", "not-played"]


class Moment(Record, frozen=True, kw_only=True):
    """What a part of casemate did, and when."""

    by: str
    """Which part: a screen, a gate, a rule, a command."""
    seconds: float
    """Since the attack began."""


class Played(Record, frozen=True, kw_only=True):
    """One attack, and what became of it."""

    attack: str
    """Its name."""
    title: str
    technique: str
    """Of MITRE ATLAS."""
    weakness: str
    """Of CWE; empty: it is none of software."""
    detects: str
    """What should see it."""
    contains: str
    """What should keep it from doing harm; empty: to be seen is all that is expected."""
    within: float
    """Seconds in which that is expected."""
    verdict: Verdict
    detected: Moment | None = None
    contained: Moment | None = None
    said: str = ""
    """What was seen, or why it could not be played."""
    took: float = 0.0
    """Seconds that playing it took, its preparation included."""

    @property
    def holds(self) -> bool:
        """Whether all that is expected has happened."""
        return self.verdict == "contained" or (self.verdict == "detected" and not self.contains)


class Drill(Record, frozen=True, kw_only=True):
    """What one drill came to."""

    id: str
    project: str
    """Its id."""
    time: str
    """When it began, ISO 8601."""
    casemate: str
    """Version of casemate."""
    seconds: float
    whole: bool
    """Whether every attack was asked for."""
    rows: int
    """Of the table that the copy was made with."""
    differences: list[str]
    """What is otherwise in the copy than in the project."""
    left_out: dict[str, str]
    """Attacks that `[drill] leave_out` takes out, and why."""
    played: list[Played]

    @property
    def broken(self) -> list[Played]:
        """Attacks of which not all that is expected has happened."""
        return [one for one in self.played if not one.holds]

    def count(self, verdict: Verdict) -> int:
        """How many attacks came to this."""
        return sum(one.verdict == verdict for one in self.played)


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What the signature says of a drill, beside the digests of its files; a field that a newer
    casemate added is no fault.
    """

    project: str
    """Id of the project."""
    drill: str
    """Id of the drill."""
    whole: bool
    """Whether every attack was asked for."""
    broken: list[str]
    """Attacks of which not all that is expected has happened."""


def verify(folder: Path, verifier: Verifier) -> Said:
    """What a drill's signature says, after checking every file.

    Args:
        folder: with the report.
        verifier: of whoever signed.

    Raises:
        VerificationError: anything was changed.
    """
    statement = checked(folder, verifier, SIGNATURE, PREDICATE)
    try:
        return msgspec.convert(statement.get("predicate"), Said)
    except msgspec.ValidationError as error:
        raise VerificationError(
            "the signed report says nothing of its drill", hint="play it again"
        ) from error
