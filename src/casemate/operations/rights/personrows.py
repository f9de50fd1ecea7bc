"""The rows of one person in sealed versions, as far as whoever acts may see them."""

from collections.abc import Mapping, Sequence
from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc

from casemate.controls.keys.identifiers import PSEUDONYM
from casemate.core.errors import RefusedError
from casemate.operations.dataset import Dataset
from casemate.operations.rights.affected import Affected

MOST_ROWS = 1_000_000
"""Rows of one person in one version: they are held in memory."""


def newest_of(everything: Mapping[str, Dataset], found: Affected) -> dict[str, Dataset]:
    """The newest version with rows of the person, by data set.

    Args:
        everything: versions by `NAME@VERSION`, the newest first.
        found: what was made of the person's data.
    """
    theirs = {f"{one.dataset}@{one.version}" for one in found.versions}
    newest: dict[str, Dataset] = {}
    for reference, dataset in everything.items():
        if reference in theirs:
            newest.setdefault(dataset.record.name, dataset)
    return newest


def rows_of(dataset: Dataset, people: Sequence[str]) -> tuple[pa.Table, set[str]]:
    """(rows of these pseudonyms as whoever acts may see them, those beside a sample too, of which
    other cells are missing; columns withheld or masked); RefusedError: there are more than
    `MOST_ROWS`.
    """
    access = dataset.access()
    hidden = {*access.withheld, *access.masked}
    names = [one.name for one in dataset.record.schema.columns if one.name not in hidden]
    who, pieces, count = pa.array(map(bytes.fromhex, people), pa.binary(32)), [], 0
    wanted = [*names, PSEUDONYM]
    for batch in chain(dataset.batches(wanted), dataset.batches(wanted, rest=True)):
        mine = batch.filter(pc.is_in(batch[PSEUDONYM], who))
        count += mine.num_rows
        if count > MOST_ROWS:
            raise RefusedError(
                f"more than {MOST_ROWS} rows are theirs", hint="hand them over apart"
            )
        if mine.num_rows:
            pieces.append(pa.Table.from_batches([mine]))
    table = (
        pa.concat_tables(pieces, promote_options="default")
        if pieces
        else pa.table({name: [] for name in names})
    )
    # of rows beside a sample alone
    for name in [name for name in names if name not in table.column_names]:
        table = table.append_column(name, pa.nulls(table.num_rows))
    return table.select(names), hidden
