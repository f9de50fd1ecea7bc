"""Rectification: what is kept of a person differs from what was kept when they asked, or it is not
done; and the models that were made of what was wrong.
"""

import datetime
from zoneinfo import ZoneInfo

import pyarrow as pa

from casemate.core.errors import RefusedError
from casemate.operations.dataset import Dataset, Datasets
from casemate.operations.rights.affected import Affected
from casemate.operations.rights.personrows import newest_of, rows_of
from casemate.respond.requests.states import Asked
from casemate.wiring import Wiring


def as_it_was(project: Wiring, found: Affected, received: datetime.date) -> tuple[str, ...]:
    """Which versions had the rows that somebody says are wrong, as `DATASET@VERSION`: the newest of
    each data set that was there before the day on which they said so, or else the newest.

    Args:
        project: whose.
        found: what was made of their data.
        received: the day, in `[access] timezone`.
    """
    zone = ZoneInfo(project.config.access.timezone)
    began = datetime.datetime.combine(received, datetime.time(), zone)
    started = {
        run.id: datetime.datetime.fromisoformat(run.started) for run in project.engine.runs()
    }
    theirs = {
        f"{one.dataset}@{one.version}": any(
            started[run] < began for run in one.runs if run in started
        )
        for one in found.versions
    }
    before: dict[str, str] = {}
    newest: dict[str, str] = {}
    for reference, dataset in Datasets(project).all().items():  # newest first
        if reference in theirs:
            newest.setdefault(dataset.record.name, reference)
            if theirs[reference]:
                before.setdefault(dataset.record.name, reference)
    return tuple(sorted((newest | before).values()))


def corrected(project: Wiring, asked: Asked, found: Affected) -> tuple[int, tuple[str, ...]]:
    """(rows of the person in the versions that are corrected, models made of versions before).

    Args:
        project: whose.
        asked: a rectification.
        found: what was made of the person's data now.

    Raises:
        RefusedError: the newest rows are those of before, as far as whoever acts may see them.
    """
    everything = Datasets(project).all()
    newest = newest_of(project, found)
    rows, same, unseen = 0, list[str](), set[str]()
    changed: dict[str, str] = {}
    for reference in asked.versions:
        former = everything.get(reference)
        if former is None:
            continue  # it is gone with all that was wrong in it
        name = former.record.name
        now = newest.get(name)
        table, hidden = rows_of(former, asked.subject)
        unseen |= hidden
        if now is None or not _same(table, now, asked.subject):
            changed[name] = "" if now is None else now.record.version
            rows += 0 if now is None else rows_of(now, asked.subject)[0].num_rows
        else:
            same.append(reference)
    if same and not changed:
        withheld = f"; {', '.join(sorted(unseen))} you may not see" if unseen else ""
        raise RefusedError(
            f"their rows in {', '.join(same)} are what they were when request {asked.id}"
            f" came{withheld}",
            hint="correct the source, `casemate run`, then fulfil; or refuse it with a reason",
        )
    stale = tuple(
        one.model
        for one in found.models
        if (data := one.data.split("@"))[0] in changed and changed[data[0]] != data[1]
    )
    return rows, stale


def _same(former: pa.Table, now: Dataset, pseudonym: str) -> bool:
    """Whether both have the same rows, in whatever order."""
    table, _ = rows_of(now, pseudonym)
    if table.schema.names != former.schema.names:
        return False
    return sorted(map(repr, table.to_pylist())) == sorted(map(repr, former.to_pylist()))
