"""How many equal rows chance makes: what duplicates, floods and contamination are compared with.

In a table of few answers other people give the same answers, so an equal row says nothing by
itself. Count the rows that differ from a row in column j alone (a), in column k alone (b), and in
both and nothing else (c): where nothing but chance joins j and k among rows that agree in all the
rest, a * b / c rows agree in both (the estimate of Lincoln and Petersen, which is the cell of a
log-linear model that is not used itself; Bishop, Fienberg, Holland, Discrete Multivariate Analysis,
1975, chapter 6). Summed over pairs of columns that is steady, and however closely the answers hang
together they need no model. Where few columns have few values, c is mostly other kinds of people
and the estimate too low; so a group is beyond chance only if it is also much larger than all the
rows beside it, which differ from it in a single column (not always the same one: copies with
another label, or number, are no excuse). A copied row of measurements has no such neighbours:
nothing is expected there. A row's own copies do not count for it, so that a flood cannot excuse
itself.

What it cannot see: a few copies where every answer is given by hundreds of people anyway. Where it
is wrong: answers that are alike for a reason (people who tick the last box throughout) are no
coincidences of single columns and count as copies.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import poisson

Array = np.ndarray[Any, Any]

COLUMNS = 14
"""Columns whose pairs are looked at: 91 pairs are steady enough, and all pairs of a wide table
would take minutes.
"""
RARE, TIMES = 1e-4, 3.0
"""Copies are no coincidence where chance, had it made `TIMES` what is expected, makes as many in
fewer than one of ten thousand rows: expectations are counted from few rows, and were within a
factor of 3 in simulations of surveys.
"""
FEW = 5
"""In groups of up to so many rows nothing is told from one group: all of them together must be more
than `TIMES` what is expected.
"""

BUCKETS = np.uint64(2**22)
"""Places, of one byte each, of a table that tells most keys apart."""
COUNT = np.uint64(7)
"""Bits that hold numbers up to `FEW`; the other 61 of a key still differ between a million rows
(chance 2e-7 that any two are equal).
"""


@dataclass(frozen=True)
class Coincidences:
    """Equal rows, and how many of them chance makes."""

    places: Array
    """The group of equal rows that each row belongs to, int64 [n]."""
    counts: Array
    """Rows per group, int64 [groups]."""
    expected: Array
    """Rows per group that chance makes, float64 [groups]; 0 for a group of one row."""
    beside: Array
    """Rows that differ from a group in a single column (see `_beside`), float64 [groups]; 0 for a
    group of one row.
    """
    few: float
    """Pairs of equal rows that chance makes in groups of at most `FEW` rows, or such pairs beside
    each other.
    """

    @property
    def beyond(self) -> Array:
        """Groups whose copies chance does not explain, bool [groups]: those beside the first are
        Poisson where it does.
        """
        small = (self.counts > 1) & (self.counts <= FEW)
        pairs = float(np.sum(self.counts[small] * (self.counts[small] - 1)) / 2)
        unlikely = (self.counts > 1) & (
            poisson.sf(self.counts - 2, TIMES * np.maximum(self.expected, self.beside)) < RARE
        )
        return np.asarray(unlikely & (~small | (pairs > TIMES * self.few)))


def coincidences(columns: list[Array]) -> Coincidences:
    """Groups of rows that agree in every one of `columns` (each [n]; missing values equal each
    other), with what chance makes of each.
    """
    generator = np.random.default_rng(0)
    hashes, varied = np.zeros(len(columns[0]), dtype=np.uint64), []
    for column in columns:
        codes, kinds = pd.factorize(column, use_na_sentinel=False)
        if len(kinds) > 1:
            # a byte a row of few answers instead of eight
            narrow = codes.astype(np.min_scalar_type(len(kinds)))
            varied.append((narrow, generator.integers(2**64, size=len(kinds), dtype=np.uint64)))
            hashes += varied[-1][1][narrow]
    _, first, places, counts = np.unique(
        hashes, return_index=True, return_inverse=True, return_counts=True
    )
    expected, beside, few = np.zeros(len(counts)), np.zeros(len(counts)), 0.0
    repeated = np.flatnonzero(counts > 1)
    if len(repeated) and len(varied) > 1:
        chosen = generator.permutation(len(varied))[:COLUMNS]
        parts = [varied[which][1][varied[which][0][first]] for which in chosen]
        expected[repeated], beside[repeated] = _expected(hashes[first], parts, counts, repeated)
        rare = counts <= FEW
        few = _pairs(hashes[first][rare], [part[rare] for part in parts], counts[rare])
    return Coincidences(places, counts, expected, beside, few)


def _expected(
    hashes: Array, parts: list[Array], counts: Array, repeated: Array
) -> tuple[Array, Array]:
    """(rows that chance makes of each repeated group, those beside it), float64 [len(repeated)]
    each.

    `parts` are the chosen columns' shares in `hashes`.
    """
    own = counts[repeated]
    alone = [_matching(hashes - part, counts, repeated) - own for part in parts]
    # the 1 is Chapman's, against a bias of few rows
    product, both = np.zeros(len(repeated)), np.ones(len(repeated))
    for j, k in itertools.combinations(range(len(parts)), 2):
        product += alone[j] * alone[k]
        both += (
            _matching(hashes - parts[j] - parts[k], counts, repeated) - own - alone[j] - alone[k]
        )
    return np.asarray(product / both), _beside(np.array(alone))


def _matching(keys: Array, counts: Array, repeated: Array) -> Array:
    """Rows, over all groups, whose key equals that of each repeated group, float64
    [len(repeated)].
    """
    wanted, which = np.unique(keys[repeated], return_inverse=True)
    near = np.zeros(BUCKETS, dtype=bool)
    near[wanted % BUCKETS] = True
    # most keys are told apart without a search, which costs ten times as much
    asked = np.flatnonzero(near[keys % BUCKETS])
    at = np.minimum(np.searchsorted(wanted, keys[asked]), len(wanted) - 1)
    same = wanted[at] == keys[asked]
    return np.bincount(at[same], counts[asked[same]], minlength=len(wanted))[which]


def _pairs(hashes: Array, parts: list[Array], counts: Array) -> float:
    """Pairs of equal rows that chance makes of these groups: the same estimate, of pairs of rows
    instead of rows like one row.
    """
    alike = _equal(hashes, counts)
    alone = [_equal(hashes - part, counts) - alike for part in parts]
    product, both = 0.0, 1.0
    for j, k in itertools.combinations(range(len(parts)), 2):
        product += alone[j] * alone[k]
        both += _equal(hashes - parts[j] - parts[k], counts) - alike - alone[j] - alone[k]
    return max(product / both, float(_beside(np.array(alone))))


def _beside(alone: Array) -> Array:
    """Rows that differ in one column, of `alone` [columns, ...]; where nearly all do in the same
    one, the others decide.
    """
    every = alone.sum(axis=0)
    return np.asarray(np.minimum(every, TIMES * (every - alone.max(axis=0))))


def _equal(keys: Array, counts: Array) -> float:
    """Pairs of rows with the same key, of different groups or one; `counts` are at most `FEW`.

    The count takes the place of a key's last bits, so that one sort of numbers does: a group-by
    takes ten times as long.
    """
    packed = np.sort(keys & ~COUNT | counts.astype(np.uint64))
    starts = (
        np.flatnonzero(np.r_[True, (packed[1:] ^ packed[:-1]) > COUNT])
        if len(packed)
        else np.array([], dtype=int)
    )
    sizes = (
        np.add.reduceat(packed & COUNT, starts).astype(np.float64) if len(packed) else np.array([])
    )
    return float(np.sum(sizes * (sizes - 1)) / 2)
