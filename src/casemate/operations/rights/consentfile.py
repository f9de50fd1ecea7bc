"""A file of consent: one line a record, as separated values with a header."""

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from casemate.controls.privacy.consents import instant
from casemate.core.errors import DataError
from casemate.operations.separated import Lines, is_torn
from casemate.operations.subject import LONGEST

MOST_LINES = 1_000_000
"""Lines of one file: they are held in memory and written in one transaction, or none is."""
MOST_BYTES = 256 * 1024 * 1024
MOST_TEXT = 200
"""Characters of a purpose, a version of a text or a source."""
MOST_SHOWN = 1_000
"""Faults that are told one by one; a file with more is another file than was meant."""
LONGEST_NAME = 40
"""Characters of a column that are shown."""
COLUMNS = ("subject", "purpose", "time", "status", "text", "source")
NEEDED = COLUMNS[:4]
STATUS = {"given": True, "withdrawn": False}


class Said(NamedTuple):
    """One line."""

    subject: str
    purpose: str
    time: str
    """As the register has it."""
    given: bool
    text: str
    source: str


def read(told: Path | Sequence[Mapping[str, str]], now: datetime.datetime) -> list[Said]:
    """Every record of a file, or of what somebody told in another way.

    Args:
        told: the file, or cells by column, a line each.
        now: no consent was given later.

    Raises:
        ConfigError: there is no such file. DataError: it is no such table, or lines are wrong, all
            of them named.
    """
    found: list[Said] = []
    faults: list[str] = []
    for number, row in _rows(told) if isinstance(told, Path) else enumerate(told, 1):
        if len(found) + len(faults) >= MOST_LINES:
            raise DataError(f"more than {MOST_LINES} lines at once", hint="import them in parts")
        try:
            found.append(_said(row, now))
        except ValueError as error:
            faults.append(f"line {number}: {error}")
    if faults:
        shown = faults[:MOST_SHOWN]
        if len(faults) > len(shown):
            shown.append(f"and {len(faults) - len(shown)} more")
        raise DataError(
            f"{len(faults)} lines are wrong, and nothing was kept:\n  " + "\n  ".join(shown),
            hint="correct or leave out these lines, and import the file again",
        )
    if not found:
        raise DataError("no consent is told", hint="a header alone is nobody's consent")
    return found


def time_of(text: str, now: datetime.datetime) -> datetime.datetime:
    """A moment of ISO 8601 with its zone, not ahead; ValueError: it is none."""
    try:
        time = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("the time is not ISO 8601, such as 2026-03-01T09:30:00+01:00") from None
    if time.tzinfo is None:
        raise ValueError("the time has no zone: end it with Z or an offset such as +01:00")
    if time > now:
        raise ValueError("the time lies ahead")
    return time


def _said(row: Mapping[str, str], now: datetime.datetime) -> Said:
    """One line's record; a message never quotes the identifier."""
    if is_torn(row):
        raise ValueError("it has another number of cells than the header")
    cells = {name: row.get(name, "").strip() for name in COLUMNS}
    if not cells["subject"] or len(cells["subject"]) > LONGEST:
        raise ValueError(f"a subject has 1 to {LONGEST} characters")
    if not cells["purpose"]:
        raise ValueError("the purpose is missing")
    for name in ("purpose", "text", "source"):
        if len(cells[name]) > MOST_TEXT or not cells[name].isprintable():
            raise ValueError(f"the {name} is longer than {MOST_TEXT} characters, or unprintable")
    if cells["status"] not in STATUS:
        raise ValueError("the status is neither `given` nor `withdrawn`")
    given = STATUS[cells["status"]]
    if given and not cells["text"]:
        raise ValueError("the version of the text that the person agreed to is missing")
    time = instant(time_of(cells["time"], now))
    return Said(cells["subject"], cells["purpose"], time, given, cells["text"], cells["source"])


def _rows(path: Path) -> Lines:
    found = Lines(path, MOST_BYTES)
    wrong = [name for name in NEEDED if name not in found.names]
    wrong += [name for name in found.names if name not in COLUMNS]
    twice = [name for name in COLUMNS if found.names.count(name) > 1]
    if twice:
        raise DataError(
            f"{found.name}: its header has more than one column {twice[0]}",
            hint="which one counts is not known: leave one of them",
        )
    if wrong:
        named = ", ".join(one[:LONGEST_NAME] for one in wrong[:6])
        raise DataError(
            f"{found.name}: its header lacks or does not know {named}",
            hint=f"columns are {', '.join(COLUMNS)}; source may be left out, and text in a file of"
            " withdrawals",
        )
    return found
