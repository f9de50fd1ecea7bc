"""Which trees of a forest hold a row: drawn from the row itself and a key, and nothing else."""

import hashlib
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
NAME_BYTES = 16
"""Of a row's name: what it is known by within the forest."""
DRAW_BYTES = 4
"""Of one draw of a tree: a remainder of 2**32 by ten thousand trees is uneven by less than one in
four hundred thousand.
"""


class Placed(NamedTuple):
    """Where rows lie, in the order of their names: no tree depends on how they came."""

    order: Array
    """Place of each in the table, int64 [n]."""
    names: Array
    """uint8 [n, 16]."""
    trees: Array
    """Numbers of the trees that hold each, int64 [n, k]."""
    copies: Array
    """A number that rows share which are the same, int64 [n]."""


class Learnt(NamedTuple):
    """What a forest in memory is of; it goes into no file."""

    X: Array
    y: Array
    weight: Array | None
    placed: Placed

    def without(self, at: Array) -> "Learnt":
        """The same without rows, named by where they lie here."""
        stays = np.ones(len(self.X), dtype=bool)
        stays[at] = False
        order = self.placed.order[stays]
        rank = np.empty(len(order), dtype=np.int64)
        rank[np.argsort(order)] = np.arange(len(order))  # as places among those that stay
        names, trees, copies = (part[stays] for part in self.placed[1:])
        weight = None if self.weight is None else self.weight[stays]
        return Learnt(self.X[stays], self.y[stays], weight, Placed(rank, names, trees, copies))


def placed(key: bytes, rows: Array, trees: int, each: int) -> Placed:
    """In which trees rows lie, drawn for each from itself alone.

    Args:
        key: of the forest.
        rows: everything that a tree sees of each row, contiguous [n, w].
        trees: how many there are.
        each: how many hold a row.
    """
    count, size = len(rows), NAME_BYTES + DRAW_BYTES * each
    stream, copies = bytearray(count * size), np.arange(count)
    content, width = memoryview(rows.tobytes()), rows.shape[1] * rows.itemsize
    begun = hashlib.shake_128(len(key).to_bytes(2, "big") + key)
    seen: dict[bytes, list[int]] = {}
    for place in range(count):
        mixed = begun.copy()
        mixed.update(content[place * width : (place + 1) * width])
        drawn = mixed.digest(size)
        same = seen.setdefault(drawn[:NAME_BYTES], [])
        if same:  # the same row once more draws for itself
            copies[place] = same[0]
            mixed.update(b"again" + len(same).to_bytes(8, "big"))
            drawn = mixed.digest(size)
        same.append(place)
        stream[place * size : (place + 1) * size] = drawn
    table = np.frombuffer(bytes(stream), dtype=np.uint8).reshape(count, size)
    names = np.ascontiguousarray(table[:, :NAME_BYTES])
    order = np.lexsort(names.view(">u8").T[::-1])
    draws = np.ascontiguousarray(table[:, NAME_BYTES:]).view("<u4").astype(np.int64)
    return Placed(order, names[order], _distinct(draws, trees)[order], copies[order])


def going(found: Placed, places: Array) -> tuple[Placed, Array]:
    """(where rows lie, where those lie that go) once these places of the table go.

    Of rows that are the same, the last draws go, whichever of them it is: a fit without one of them
    has all draws but its last.
    """
    order, at = found.order.copy(), []
    gone = np.flatnonzero(np.isin(order, places))
    kinds, counts = np.unique(found.copies[gone], return_counts=True)
    alone = np.bincount(found.copies, minlength=1)[kinds] == counts
    at.append(gone[np.isin(found.copies[gone], kinds[alone])])
    for kind, count in zip(kinds[~alone], counts[~alone], strict=True):
        same = np.flatnonzero(found.copies == kind)
        same = same[np.argsort(order[same])]
        stays = np.setdiff1d(order[same], places)
        at.append(same[-count:])
        order[same] = np.concatenate([stays, np.intersect1d(order[same], places)])
    return found._replace(order=order), np.concatenate(at)


def _distinct(draws: Array, trees: int) -> Array:
    """Of each row's numbers as many different trees: R. W. Floyd's sampling (Bentley and Floyd,
    Programming Pearls, CACM 30(9), 1987).
    """
    count, each = draws.shape
    chosen = np.full((count, each), -1, dtype=np.int64)
    for step in range(each):
        top = trees - each + step
        one = draws[:, step] % (top + 1)
        taken = (chosen[:, :step] == one[:, None]).any(axis=1)
        chosen[:, step] = np.where(taken, top, one)
    return chosen
