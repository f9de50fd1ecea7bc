"""Rows of people who were erased, in a table that has them again: they go before anything looks at
it, or the table is refused; nobody else's rows do.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from casemate.config import Config
from casemate.controls.keys.subjects import Root
from casemate.controls.privacy.erasures import Erased
from casemate.core.digest import sha256_record
from casemate.core.errors import DataError
from casemate.core.types import Finding
from casemate.stages.data.tools import DataTools


def left_out(
    tools: DataTools, table: pa.Table, identifiers: Sequence[str]
) -> tuple[pa.Table, str, list[Finding]]:
    """(the rows that may be taken, a digest of which ones are gone or "", what is to be said).

    Args:
        tools: the stage's.
        table: as it was read.
        identifiers: columns that are known to name people, beside the subject.

    Raises:
        DataError: `[privacy] erased` refuses such tables, or nobody else is in it.
    """
    erased, config = tools.erased, tools.config
    if erased is None:
        return table, "", []
    kept, rows = others(table, config, erased, tools.identifiers.candidate(), identifiers)
    if config.data.subject is None and not rows:
        text = (
            f"{len(erased.digests)} people were erased, and no column says whose a row is: whether"
            " they are in the table again is not known; [data] subject names it"
        )
        found = Finding(id="data.erased-not-known", severity="low", confidence="high", message=text)
        return table, "", [found]
    if not rows:
        return table, "", []
    if config.privacy.erased == "refuse":
        raise refusal(len(rows))
    if not kept.num_rows:
        raise DataError(
            "everybody in the table was erased",
            hint="`casemate privacy consent import FILE` records who consented anew",
        )
    text = (
        f"{len(rows)} of {table.num_rows} rows were left out: their people were erased, and are in"
        " the source again; row numbers are those of the rows that stay"
    )
    found = Finding(id="data.erased-people", severity="low", confidence="high", message=text)
    return kept, sha256_record(rows), [found]


def refusal(rows: int) -> DataError:
    """That so many rows may not be taken."""
    return DataError(
        f"{rows} rows of the table are of people who were erased",
        hint='take them out of the source, or [privacy] erased = "leave-out"',
    )


def others(
    table: pa.Table, config: Config, erased: Erased, root: Root, identifiers: Sequence[str]
) -> tuple[pa.Table, list[int]]:
    """(rows of everybody who was not erased, numbers of the other rows).

    Args:
        table: as it was read.
        config: the project's.
        erased: who was erased.
        root: of the pseudonyms.
        identifiers: columns that name people beside the subject's; asked where there is none.
    """
    subject = config.data.subject
    named = [subject] if subject in table.column_names else identifiers
    gone = np.zeros(table.num_rows, dtype=bool)
    for name in named:
        if name not in table.column_names:
            continue
        people = pc.cast(table[name], pa.string()).combine_chunks().dictionary_encode()
        # as `casemate privacy erase` takes an identifier: without white space around it
        known = [
            one is not None and erased.has(root.pseudonym(one.strip()))
            for one in people.dictionary.to_pylist()
        ]
        if any(known):
            theirs = pa.array(known, pa.bool_()).take(people.indices)
            gone |= pc.fill_null(theirs, False).to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(gone)
    return (table.filter(pa.array(~gone)) if len(rows) else table), rows.tolist()
