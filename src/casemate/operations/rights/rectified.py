"""Rectification: what is kept of a person differs from what was kept when they asked, or it is not
done; and the models that were made of what was wrong.
"""

import datetime
from collections.abc import Sequence

import pyarrow as pa

from casemate.controls.keys.manifests import MANIFEST
from casemate.core.errors import RefusedError
from casemate.operations.calendar import begins, zone
from casemate.operations.dataset import Dataset, Datasets
from casemate.operations.persons import everybody
from casemate.operations.rights.affected import Affected
from casemate.operations.rights.personrows import newest_of, rows_of
from casemate.operations.rights.restricted import usable
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
    began = begins(received, zone(project))
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
        RefusedError: the newest rows of a data set are those of before, as far as whoever acts may
            see them, or those of before are gone.
    """
    everything = Datasets(project).all()
    newest, people = newest_of(everything, found), everybody(project, asked.subject)
    rows, same, gone, unseen = 0, list[str](), list[str](), set[str]()
    changed: dict[str, str] = {}
    for reference in asked.versions:
        former = everything.get(reference)
        name = reference.partition("@")[0]
        now = newest.get(name)
        if former is None or not (former.folder / MANIFEST).exists():
            if now is not None:
                gone.append(reference)  # with nothing to compare nobody knows
            continue
        if now is not None and _is_taken_out(project, everything[name], now, people):
            changed[name] = everything[name].record.version
            continue
        before, hidden = rows_of(former, people)
        unseen |= hidden
        if now is None:
            changed[name] = ""
            continue
        after, _ = rows_of(now, people)
        if _same(before, former, after, now):
            same.append(reference)
        else:
            changed[name], rows = now.record.version, rows + after.num_rows
    if gone:
        raise RefusedError(
            f"{', '.join(gone)} is gone: nobody can tell whether their rows were corrected since"
            f" request {asked.id} came",
            hint="restore it from a backup; or refuse the request with the reason and open it anew:"
            " then the newest version is held against the next",
        )
    if same:
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


def _is_taken_out(project: Wiring, current: Dataset, now: Dataset, people: Sequence[str]) -> bool:
    """Whether the newest version has no row of the person because the source has none: not because
    their rows may not be used for now, and are as wrong as ever.
    """
    record = current.record
    if record.version == now.record.version:
        return False
    if (record.name, record.version) not in project.identifiers.rows.known():
        return False
    allowed, erased = usable(project), project.erasures.erased()
    return not any(
        one in allowed.restricted
        or (allowed.covered is not None and one not in allowed.covered.subjects)
        or erased.has(one)
        for one in people
    )


def _same(before: pa.Table, former: Dataset, after: pa.Table, now: Dataset) -> bool:
    """Whether both versions have the same rows of the person, in whatever order, as far as both may
    be seen.
    """
    columns = [{one.name for one in of.record.schema.columns} for of in (former, now)]
    if columns[0] != columns[1]:
        return False
    both = [name for name in before.column_names if name in after.column_names]
    rows = [sorted(map(repr, table.select(both).to_pylist())) for table in (before, after)]
    return rows[0] == rows[1]
