"""What the log says of checks that were done before."""

from collections.abc import Iterable
from typing import Any

from casemate.core.entry import Entry
from casemate.core.types import Record
from casemate.stages.release.pack import CHECKED, Outcome


class Past(Record, frozen=True, kw_only=True):
    """What is known of one check."""

    outcome: Outcome
    """Of the last time."""
    time: str
    """When that was, RFC 3339 in UTC."""
    digest: str
    """SHA-256 of the fact that it saw."""
    entry: int
    """The entry of the log that says so."""
    passed: str = ""
    """When it last passed; empty: never."""
    passed_entry: int | None = None


def folded(entries: Iterable[Entry]) -> dict[str, Past]:
    """The past of every check that was ever done, from entries of the log, oldest first."""
    found: dict[str, Past] = {}
    for entry in entries:
        if entry.action != CHECKED:
            continue
        results: dict[str, Any] = entry.detail["results"]
        for check, (outcome, digest) in results.items():
            before = found.get(check)
            passed = (entry.time, entry.index) if outcome == "passed" else None
            if passed is None and before is not None and before.passed_entry is not None:
                passed = before.passed, before.passed_entry
            found[check] = Past(
                outcome=outcome,
                time=entry.time,
                digest=digest,
                entry=entry.index,
                passed=passed[0] if passed else "",
                passed_entry=passed[1] if passed else None,
            )
    return found
