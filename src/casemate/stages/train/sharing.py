"""Rows of a table shared out to made-up sites; some are kept from all of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from casemate.core.errors import ConfigError
from casemate.core.types import Schema
from casemate.ml.federated import splits
from casemate.ml.frame import strata_of, target_of

Array = np.ndarray[Any, Any]
HELD = 0.2
"""Share of the training rows, or subjects, that no site gets: accuracy is measured on them. The
project's own hold-out stays unseen.
"""
IID, DIRICHLET, BY = "iid", "dirichlet", "by"


@dataclass(frozen=True)
class Parts:
    """The rows of a table that may be trained on."""

    table: pa.Table
    """All columns."""
    schema: Schema
    """Which of them are features."""
    subject: str | None
    """Column of whom a row is about, where there is one."""


def shared_out(parts: Parts, split: str, sites: int, seed: int, least: int) -> Array:
    """Site of each row, int64 [n]; -1 of rows that no site gets. Rows of one subject stay together.

    Args:
        parts: the rows.
        split: `iid`, `dirichlet:NUMBER` or `by:COLUMN`.
        sites: how many.
        seed: of what is drawn.
        least: rows that each site must have.

    Raises:
        ConfigError: there is no such split, or a site would have fewer rows.
    """
    chance = np.random.default_rng(seed)
    table, codes = parts.table, strata_of(target_of(parts.table, parts.schema))
    units = np.arange(len(codes))
    if parts.subject is not None:
        units = np.unique(table[parts.subject].to_numpy(zero_copy_only=False), return_inverse=True)[
            1
        ]
    count = int(units.max(initial=-1)) + 1
    kept = chance.permutation(count) >= round(HELD * count)
    inside = kept[units]
    kind, _, given = split.partition(":")
    first = np.unique(units, return_index=True)[1]
    owner = np.full(count, -1, dtype=np.int64)
    if kind == IID and not given:
        owner[kept] = splits.iid(codes[first][kept], sites, chance)
        found = owner[units]
    elif kind == DIRICHLET:
        alpha = _alpha(given)
        owner[kept] = splits.dirichlet(codes[first][kept], sites, alpha, least, chance)
        found = owner[units]
    elif kind == BY and given:
        if given not in table.column_names:
            raise ConfigError(
                f"--split by:{given}: the table has no such column",
                hint="its columns: " + ", ".join(table.column_names[:12]),
            )
        values = table[given].cast(pa.string()).fill_null("").to_numpy(zero_copy_only=False)
        found = np.full(len(codes), -1, dtype=np.int64)
        found[inside] = splits.by_values(values[inside], sites)
    else:
        raise ConfigError(
            f"--split {split}: there is no such split",
            hint="iid, dirichlet:0.5 (a number above 0) or by:COLUMN",
        )
    sizes = np.bincount(found[inside], minlength=sites)
    if sizes.min() < least or int((~inside).sum()) < least:
        raise ConfigError(
            f"a site would have {int(sizes.min())} rows, and a figure may be about no fewer than"
            f" {least}",
            hint="fewer --sites, a longer table, or another --split ([privacy] min_group)",
        )
    return found


def _alpha(given: str) -> float:
    try:
        found = float(given)
    except ValueError:
        found = 0.0
    if not 0.0 < found < 1e6:
        raise ConfigError(
            f"--split dirichlet:{given}: not a number above 0", hint="such as dirichlet:0.5"
        )
    return found
