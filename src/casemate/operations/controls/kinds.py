"""What a check is: a question about the project as it stands, which can be answered with no."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from casemate.core.digest import sha256
from casemate.core.errors import Error, UnexplainedRow, VerificationError
from casemate.core.home import keystore_folder
from casemate.core.types import Record
from casemate.operations.controls.facts import Facts
from casemate.stages.release.pack import Outcome

Role = Literal["owner", "steward", "scientist", "approver", "operator", "custodian", "auditor"]
Answers = Role | Literal["privacy-officer"]
"""The shipped role whose people answer for what a check looks at."""


class Fact(Record, frozen=True, kw_only=True):
    """What one check saw; its bytes are what a result's digest is of."""

    check: str
    """Id of the check."""
    outcome: Outcome
    said: str
    """Why, in one sentence that names no person."""
    seen: dict[str, Any]
    """What was looked at: counts, digests, times, names of models and of files."""

    @property
    def digest(self) -> str:
        """SHA-256 of `to_json`, in hex."""
        return sha256(self.to_json())


@dataclass(frozen=True)
class Seen:
    """What a check's function answers with."""

    outcome: Outcome
    said: str
    seen: dict[str, Any]


def judged(fault: str, well: str, **seen: Any) -> Seen:
    """`failed` with its reason, or `passed` where there is none.

    Args:
        fault: what is wrong, in one sentence; empty: nothing.
        well: what is said then.
        seen: what was looked at.
    """
    return Seen("failed" if fault else "passed", fault or well, seen)


@dataclass(frozen=True)
class Check:
    """One question, whose it is to answer for, and the function that looks."""

    id: str
    """Stable, such as `log.verifies`."""
    title: str
    """What must hold, in one sentence."""
    answers: Answers
    mend: str
    """What to do where it does not."""
    look: Callable[[Facts], Seen]

    def __call__(self, facts: Facts) -> Fact:
        """Look now. Evidence that does not verify is a failure; what cannot be reached or read
        leaves the question open.
        """
        try:
            seen = self.look(facts)
        except UnexplainedRow as error:  # whose text has the row, which may name somebody
            text = "the catalogue has rows that the log does not explain: casemate fsck"
            seen = Seen("failed", text, {"fault": error.code})
        except VerificationError as error:
            seen = Seen("failed", error.message, {"fault": error.code})
        except Error as error:
            seen = Seen("inconclusive", error.message, {"fault": error.code})
        except OSError as error:
            text = f"a file could not be read: {error.strerror}"
            seen = Seen("inconclusive", text, {"fault": "OSError"})
        said = _without_places(seen.said, facts)
        return Fact(check=self.id, outcome=seen.outcome, said=said, seen=seen.seen)


def _without_places(text: str, facts: Facts) -> str:
    """What is said, without where on this machine the project lies: paths name accounts."""
    project = facts.project
    for name, folder in (
        ("PROJECT", project.root),
        ("KEYS", keystore_folder(project.config.project.id)),
    ):
        text = text.replace(str(folder.resolve()), name).replace(str(folder), name)
    home = str(Path.home())
    return text.replace(home, "HOME") if len(home) > 1 else text


def check(
    identifier: str, title: str, *, answers: Answers, mend: str
) -> Callable[[Callable[[Facts], Seen]], Check]:
    """Make a check of a function.

    Args:
        identifier: its id.
        title: what must hold.
        answers: the role that answers for it.
        mend: what to do where it does not.
    """
    return lambda look: Check(identifier, title, answers, mend, look)
