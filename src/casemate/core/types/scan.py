"""What was found by looking at a project for weaknesses, whoever looked."""

from typing import Literal, get_args

from casemate.core.types.record import Record

Grade = Literal["critical", "high", "medium", "low"]
GRADES: tuple[Grade, ...] = get_args(Grade)
"""How grave, the gravest first."""
ScanKind = Literal["code", "secrets", "dependencies", "artifacts", "configuration", "endpoint"]
SCANS: tuple[ScanKind, ...] = get_args(ScanKind)
"""What there is to look at."""
STILL: tuple[ScanKind, ...] = tuple(kind for kind in SCANS if kind != "endpoint")
"""What is only read: nothing is started, and nobody is asked anything."""
REPORT = "report:"
"""How a scanner is called, before its own name, whose word came in somebody else's report."""
Answered = Literal["clean", "found", "could-not-look"]


def graver(one: Grade, other: Grade) -> bool:
    """Whether `one` is graver than `other`."""
    return GRADES.index(one) < GRADES.index(other)


ENVIRONMENT = "the environment"
"""How a scan calls what is installed, beside the files that it looked at."""
TRAINING_CODE = "the training code"
"""How it calls all of that together."""


class Weakness(Record, frozen=True, kw_only=True):
    """One finding, from the scanner that saw it first to whoever waives or mends it."""

    fingerprint: str
    """SHA-256 of what and where it is, in hex: not of its line's number, of a scanner's words or of
    its version.
    """
    kind: ScanKind
    rule: str
    """What is wrong, such as `code.eval`: the same name whichever scanner says it."""
    severity: Grade
    message: str
    """One sentence without the secret, or the row, that it is about."""
    path: str = ""
    """File below the project's folder; of a dependency its name."""
    line: int = 0
    """Where it was seen last; 0: the whole file."""
    cell: int = 0
    """Of a notebook: the cell, from 1, whose line it is; 0: no notebook."""
    scanners: list[str] = []
    """Who sees it."""
    references: list[str] = []
    """What others call it: CWE, OWASP, ATLAS; of a dependency every name of the advisory."""
    package: str = ""
    """Of a dependency: its normalised name."""
    version: str = ""
    """Of a dependency."""
    fixed: list[str] = []
    """Of a dependency: versions that mend it."""
    mend: str = ""
    """What to do."""


class ScanStanding(Record, frozen=True, kw_only=True):
    """How a project stands by its last scans."""

    unknown: list[str]
    """Why nothing can be said: what was never looked at, not for too long, or not wholly."""
    open: dict[str, int]
    """Findings that stand and that nobody waived, by severity."""
    told: list[str]
    """The gravest of them, in a sentence each."""
    code: dict[ScanKind, str] = {}
    """Digest of the training code that a kind was looked at in; empty: of none, or not of all."""
    changed: list[str] = []
    """Files of the training code that are others now than those that were looked at."""
    others: list[str] = []
    """What else of a run's own inputs is another than what was looked at, in a sentence each."""
