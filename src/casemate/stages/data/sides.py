"""Which side of the split a row is on: told by what the row is, before anything looks at outcomes,
order or luck.

A row's place is a number in [0, 1): a keyed BLAKE2b (RFC 7693) of its subject where one is
declared, else of its feature values and of how many rows before it have the same ones. Rows placed
below `[train] test_share` are held out, so a row keeps its side over versions, seeds and searches,
whatever becomes of its label and of the rows around it. The key hangs on the root of the subjects'
keys, which rotation wraps anew and never replaces; nobody can choose a row's side without it.
"""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from casemate.controls.keys.subjects import Root
from casemate.core.types import Sides
from casemate.ml.frame import row_hashes

Array = np.ndarray[Any, Any]
WHOLE = ""
"""The one stratum of a table whose target is a quantity, or several labels: ranges, and which label
is the rarest, move when rows are added.
"""


def key_of(root: Root) -> bytes:
    """The project's key of sides, 32 bytes (HKDF-SHA-256, RFC 5869)."""
    return HKDF(hashes.SHA256(), 32, salt=None, info=b"casemate sides of the split").derive(
        root.pseudonyms
    )


def fingerprint(key: bytes) -> str:
    """Says that two sealed tables were divided under the same key, and nothing else of it."""
    return hmac.digest(key, b"fingerprint", "sha256")[:8].hex()


def identities(
    frame: pd.DataFrame, subjects: pa.ChunkedArray | None, target: Array | None = None
) -> Array:
    """What the rows are, uint64 [n], for matching two versions of a table: subjects, else features
    and number of the copy.

    Args:
        frame: feature frame of the whole table.
        subjects: the subject of each row (text or pseudonym); the features then do not count.
        target: class numbers or quantities, to tell copies with different labels apart; default:
            labels do not count.
    """
    if subjects is not None:
        return np.asarray(pd.util.hash_array(np.array(subjects.to_pylist(), dtype=object)))
    values, copy = _copies(frame, target)
    return values ^ (copy * np.uint64(0x9E3779B97F4A7C15))


def places(
    key: bytes, frame: pd.DataFrame, subjects: pa.ChunkedArray | None, target: Array | None = None
) -> Array:
    """Each row's place, float64 [n] in [0, 1).

    With `target` an added or removed row moves no other one even among rows equal in every feature:
    what a guarantee for each row needs. Without it a corrected label moves nothing.

    Args:
        key: see `key_of`.
        frame: feature frame of the whole table.
        subjects: the subject of each row, not null; None: rows stand for themselves.
        target: see `identities`.
    """
    if subjects is not None:
        people = pc.cast(subjects, pa.string()).combine_chunks().dictionary_encode()
        drawn = _drawn(
            key, [b"subject:" + person.encode() for person in people.dictionary.to_pylist()]
        )
        return np.asarray(drawn[people.indices.to_numpy()])
    return _placed(key, *_copies(frame, target))


def beyond(how: Sides, place: Array) -> Array:
    """Rows of which it is sure that `how` trains on them, whatever class they are of, bool [n]."""
    return place >= max(how.share, *how.thresholds.values(), 0.0)


def alone(key: bytes, frame: pd.DataFrame) -> Array:
    """The place of each row as if none before it were equal; see `places`."""
    values = row_hashes(frame)
    return _placed(key, values, np.zeros_like(values))


def held(place: Array, share: float) -> Array:
    """The plain rule, bool [n]: no other row, no label and no order has a say. The only one for
    private training.
    """
    return place < share


@dataclass(frozen=True)
class Need:
    """What both sides must have of every class."""

    share: float
    folds: int

    def least(self, count: int) -> int:
        """Fewest units of a class to hold out: half of what the share promises, so that only small
        classes are ever short.
        """
        return max(1, int(np.ceil(count * self.share / 2)))


@dataclass(frozen=True)
class Units:
    """What is put on a side as a whole: a row, or a subject with all its rows."""

    place: Array
    """[u], see `places`."""
    stratum: Array
    """[u], number of its class; of a subject with several classes the one that fewest subjects
    have.
    """
    of_row: Array
    """[n], the unit of each row."""


def units_of(place: Array, codes: Array, groups: Array | None) -> Units:
    """Rows gathered to units."""
    if groups is None:
        return Units(place, codes, np.arange(len(codes)))
    _, first, of_row = np.unique(groups, return_index=True, return_inverse=True)
    pairs = np.unique(np.column_stack([of_row, codes]), axis=0)
    rank = np.argsort(
        np.argsort(np.bincount(pairs[:, 1], minlength=int(codes.max()) + 1), kind="stable"),
        kind="stable",
    )
    rarest = np.full(len(first), len(rank))
    np.minimum.at(rarest, pairs[:, 0], rank[pairs[:, 1]])
    return Units(place[first], np.argsort(rank)[rarest], of_row)


def divide(
    units: Units, names: list[str], need: Need, pinned: dict[str, float]
) -> tuple[Array, dict[str, float]]:
    """(held-out rows [n], classes with a threshold of their own).

    A class gets one only where the plain rule leaves it too few units on a side: the nearest to the
    share that does not. It is pinned with the sealed version, because choosing it again would move
    rows.

    Args:
        units: see `units_of`.
        names: of the strata.
        need: what both sides must have.
        pinned: thresholds of the version before.
    """
    limits = np.full(len(names), need.share)
    own = dict(pinned)
    for number, name in enumerate(names):
        place = np.sort(units.place[units.stratum == number])
        limits[number] = _threshold(place, own.get(name, need.share), need)
        if limits[number] != need.share:
            own[name] = float(limits[number])
    return (units.place < limits[units.stratum])[units.of_row], own


def _threshold(place: Array, start: float, need: Need) -> float:
    """`start`, or the nearest threshold that leaves enough of the sorted `place` on both sides;
    `start` where none does.
    """
    count = len(place)
    least, most = need.least(count), count - need.folds
    if least > most:
        return start
    below = int(np.searchsorted(place, start))
    wanted = min(max(below, least), most)
    if wanted == below:
        return start
    return float((place[wanted - 1] + place[wanted]) / 2)


def nested(now: Sides, before: Sides | None) -> bool:
    """Whether every row that `now` holds out was held out before, if it was there at all: told
    without looking at rows.
    """
    if (
        before is None
        or not now.rule == before.rule == "hash"
        or (now.key, now.by) != (before.key, before.by)
    ):
        return False
    return max(now.share, *now.thresholds.values(), 0.0) <= min(
        before.share, *before.thresholds.values(), 1.0
    )


def _copies(frame: pd.DataFrame, target: Array | None) -> tuple[Array, Array]:
    """(hash of each row's values, how many equal rows come before it), both uint64 [n]."""
    values = row_hashes(frame, target)
    column = pd.Series(values)
    if not column.duplicated().any():
        return values, np.zeros(len(values), dtype=np.uint64)
    return values, column.groupby(values).cumcount().to_numpy().astype(np.uint64)


def _placed(key: bytes, values: Array, copy: Array) -> Array:
    raw = np.column_stack([values, copy]).astype("<u8").tobytes()
    return _drawn(key, [raw[start : start + 16] for start in range(0, len(raw), 16)])


def _drawn(key: bytes, messages: list[bytes]) -> Array:
    digests = b"".join(
        hashlib.blake2b(message, digest_size=8, key=key).digest() for message in messages
    )
    return np.frombuffer(digests, "<u8").astype(np.float64) / 2.0**64
