"""How well people hide among others: k, l and t of a table's groups of equal quasi-identifiers.

k-anonymity: Samarati and Sweeney, SRI-CSL-98-04, 1998; distinct l-diversity: Machanavajjhala et
al., ICDE 2006; t-closeness: Li, Li and Venkatasubramanian, ICDE 2007, with the ordered distance for
numbers and the equal distance for categories. A missing value is a value of its own everywhere:
whoever knows that somebody's is missing learns the group.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from casemate.core.types import Record
from casemate.stages.data.identifiers.cells import Cells

Array = np.ndarray[Any, Any]
ORDERED = 10
"""A number with more different values than this is compared as a quantity, others as categories."""


class Groups(Record, frozen=True, kw_only=True):
    """What somebody who knows the quasi-identifiers of a person learns at most."""

    rows: int
    people: int
    """Different subjects; rows, where none are named."""
    groups: int
    k: int
    """People in the smallest group; one over it is the greatest chance to find somebody."""
    l: dict[str, int]  # noqa: E741 - the field's name for it
    """By sensitive column, different values in the poorest group."""
    t: dict[str, float]
    """By sensitive column, the greatest distance of a group's values from the table's."""
    unique: float
    """Share of people who are alone in their group."""
    mean_risk: float
    """Chance to find a person, on the average over people: groups over people."""


def codes(cells: Cells) -> Array:
    """Equal cells get equal numbers, int64 [rows]; missing ones one of their own."""
    column = cells.column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    indices = pc.dictionary_encode(column, null_encoding="encode").indices
    return np.asarray(indices, dtype=np.int64)


def meant(cells: Cells) -> Array:
    """As `codes`, of what cells say: spaces around a word, and what stands for "missing", make no
    other person and no other value.
    """
    return codes(Cells(cells.name, pc.utf8_trim_whitespace(cells.text)))


def joined(columns: Sequence[Array], rows: int) -> Array:
    """The number of each row's group, int64 [rows], from 0 without a gap."""
    group = np.zeros(rows, np.int64)
    for column in columns:
        _, dense = np.unique(column, return_inverse=True)
        wide = group * (int(dense.max(initial=0)) + 1) + dense
        _, group = np.unique(wide, return_inverse=True)
    return group


def sizes(group: Array, subjects: Array | None) -> Array:
    """How many people are in each group, int64 [groups]."""
    count = int(group.max(initial=-1)) + 1
    if subjects is None:
        return np.bincount(group, minlength=count)
    _, dense = np.unique(subjects, return_inverse=True)  # quantities are no whole numbers
    pairs = np.unique(np.column_stack([group, dense]), axis=0)
    return np.bincount(pairs[:, 0], minlength=count)


def diversity(group: Array, values: Array) -> Array:
    """How many different values each group has, int64 [groups]."""
    return sizes(group, values)


def distances(group: Array, values: Array, *, is_ordered: bool) -> Array:
    """How far the values of each group are from those of all rows, float [groups], 0 to 1.

    Args:
        group: numbers without a gap.
        values: of the sensitive column; if ordered, larger numbers are larger values.
        is_ordered: whether it matters how far values lie apart.
    """
    _, dense = np.unique(values, return_inverse=True)
    count, kinds = int(group.max(initial=-1)) + 1, int(dense.max(initial=0)) + 1
    overall = np.bincount(dense, minlength=kinds) / max(len(dense), 1)
    order = np.argsort(group, kind="stable")
    ends = np.cumsum(np.bincount(group, minlength=count))[:-1]
    found = np.zeros(count)
    for at, members in enumerate(np.split(dense[order], ends)):
        gap = np.bincount(members, minlength=kinds) / max(len(members), 1) - overall
        if is_ordered:
            found[at] = np.abs(np.cumsum(gap)).sum() / max(kinds - 1, 1)
        else:
            found[at] = np.abs(gap).sum() / 2
    return found


def sensitive_codes(cells: Cells) -> tuple[Array, bool]:
    """(the values of a sensitive column as numbers, whether their order counts): quantities by
    size, missing ones below all.
    """
    numbers = cells.numbers if not cells.date_form else cells.times.cast(pa.int64())
    if numbers.null_count == len(cells.text) - cells.filled and len(cells.different) > ORDERED:
        values = numbers.cast(pa.float64()).to_numpy()
        return np.where(np.isnan(values), -np.inf, values), True
    return meant(cells), False


def measure(
    table: pa.Table, quasi: Sequence[str], sensitive: Sequence[str], subject: str | None
) -> Groups:
    """k, l and t as they are.

    Args:
        table: at least one row.
        quasi: columns that together may tell who somebody is.
        sensitive: columns that nobody should learn.
        subject: the column that says whose row it is; None: every row is another person's.
    """
    group = joined([codes(Cells(name, table[name])) for name in quasi], table.num_rows)
    subjects = None if subject is None else meant(Cells(subject, table[subject]))
    held = sizes(group, subjects)
    values = {name: sensitive_codes(Cells(name, table[name])) for name in sensitive}
    people = table.num_rows if subjects is None else len(np.unique(subjects))
    alone = held == 1
    return Groups(
        rows=table.num_rows,
        people=people,
        groups=len(held),
        k=int(held.min()),
        l={name: int(diversity(group, one).min()) for name, (one, _) in values.items()},
        t={
            name: round(float(distances(group, one, is_ordered=ordered).max()), 6)
            for name, (one, ordered) in values.items()
        },
        unique=round(float(alone.sum()) / max(people, 1), 6),
        mean_risk=round(len(held) / max(people, 1), 6),
    )
