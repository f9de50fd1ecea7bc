"""Verifying recorded predictions: against the log, and the index of whom they are about."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from casemate.controls.audit import people
from casemate.controls.audit.log import AuditLog
from casemate.controls.audit.predictions import ACTION, ERASED, FORGOTTEN, GROUPS, require_told
from casemate.core.entry import Entry
from casemate.core.errors import VerificationError

_BATCH = 200


Opened = Callable[[sa.Connection, Any], list[tuple[bytes, bytes]]]
"""The (salt, prediction as JSON) of a group's row."""


def check(log: AuditLog, opened: Opened) -> int:
    """See `Decisions.check`."""
    count: int = 0
    gone, forgotten = "", ""
    erased: set[tuple[int, int]] = set()
    blank: set[tuple[int, int]] = set()
    told: list[Entry] = []
    for entry in log.entries():
        if entry.action == FORGOTTEN:
            forgotten = max(forgotten, entry.detail["predictions"])
        if entry.action == ERASED:
            erased |= set(people.places_of(entry.detail))
        if entry.action == ACTION:
            count += int(entry.detail["count"])
            told.append(entry)
        if len(told) == _BATCH:
            gone, told = max(gone, _beside(log, opened, told, blank)), []
    gone = max(gone, _beside(log, opened, told, blank))
    if gone and gone >= forgotten:
        raise VerificationError(
            f"predictions of {gone} are gone, and nobody has forgotten any so young",
            hint="restore a backup",
        )
    if lost := blank - erased:
        raise VerificationError(
            f"{len(lost)} predictions are gone, and no erasure took them out",
            hint="restore a backup",
        )
    return count


def _beside(
    log: AuditLog, opened: Opened, entries: list[Entry], blank: set[tuple[int, int]]
) -> str:
    """Verify the groups of these entries, and the index of whom they are about; returns the
    newest time of those whose predictions are gone, and notes (entry, place) of single ones
    that are.
    """
    if not entries:
        return ""
    gone = ""
    with log.store.reading() as tx:
        near = GROUPS.c.index.between(entries[0].index, entries[-1].index)
        rows = {row["index"]: row for row in tx.execute(sa.select(GROUPS).where(near)).mappings()}
        about = people.of_groups(tx, entries[0].index, entries[-1].index)
        for entry in entries:
            row = rows.get(entry.index)
            if row is None:
                raise VerificationError(
                    f"the predictions of log entry {entry.index} are gone",
                    hint="restore a backup",
                )
            predictions = opened(tx, row)
            require_told(entry, row)
            if not predictions:
                gone = max(gone, row["time"])
            bodies = [body for _, body in predictions]
            blank |= {(entry.index, place) for place, body in enumerate(bodies) if not body}
            if people.said(bodies) != about.get(entry.index, set()):
                raise VerificationError(
                    f"whom the predictions of log entry {entry.index} are about is not what"
                    " they say",
                    hint="restore a backup",
                )
    return gone
