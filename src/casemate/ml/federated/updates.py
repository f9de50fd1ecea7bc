"""What a site sends after a round: named arrays, believed to be nothing but bytes until they were
checked.

An update is a difference of weights. It is refused, never repaired: a NaN that is set to zero, a
clipped infinity or a half-precision array that is widened would change the mean of all sites, and
nobody would know.
"""

import math
from typing import Any

import numpy as np

from casemate.core.errors import VerificationError
from casemate.core.types import Record

Array = np.ndarray[Any, Any]
DTYPES = {"<f4": 4, "<f8": 8}
"""What weights may come as, and bytes a number: little-endian IEEE 754, single or double."""
MOST_NUMBERS = 50_000_000
"""Of one update: 200 MB as float32. A judgement: networks for tables are a thousand times less."""
MOST_ARRAYS = 2_000
"""As many as 500 layers (`learn.layers.MOST_LAYERS`) can have, and a few more."""
LARGEST = 1e6
"""Of one number in an update. A judgement: weights of scaled features are below a hundred; what is
above a million is overflow or an attack, and would drown every other site.
"""


def raw(vector: Array) -> bytes:
    """Numbers as they are kept, handed over and sent: float64, little-endian."""
    return np.ascontiguousarray(vector, dtype="<f8").tobytes()


class UpdateRefused(VerificationError):
    """A site's update is not what this round asked for; it counts for nothing."""

    code = "CM-UPDATE-REFUSED"
    who = "the site that sent it"


class Piece(Record, frozen=True, kw_only=True):
    """One array on its way."""

    name: str
    """Of the weights, as in the layout."""
    dtype: str
    """`<f4` or `<f8`."""
    shape: list[int]
    """Lengths of its axes."""
    content: bytes
    """Its numbers, in C order."""


class Update(Record, frozen=True, kw_only=True):
    """What one site found in one round."""

    round: int
    """The round that it answers."""
    rows: int
    """How many rows it was trained on; what nobody but the site knows."""
    pieces: list[Piece]
    """Differences to the weights that the round began with."""
    version: int = 1
    """Version of this format."""


class Layout(Record, frozen=True, kw_only=True):
    """Which arrays weights consist of, in order."""

    names: list[str]
    """Names of the arrays."""
    shapes: list[list[int]]
    """Shape of each."""
    dtype: str = "<f4"
    """What every array comes as."""

    @property
    def size(self) -> int:
        """Numbers in all of them together."""
        return sum(math.prod(shape) for shape in self.shapes)

    def require(self) -> "Layout":
        """Itself.

        Raises:
            UpdateRefused: nobody would send or take such weights.
        """
        if not 0 < len(self.names) <= MOST_ARRAYS or len(set(self.names)) != len(self.names):
            raise UpdateRefused("the weights have no arrays, too many, or two of one name")
        if len(self.shapes) != len(self.names) or self.dtype not in DTYPES:
            raise UpdateRefused("the weights' names, shapes and type do not fit together")
        if any(length < 1 for shape in self.shapes for length in shape):
            raise UpdateRefused("the weights have an array without numbers")
        if self.size > MOST_NUMBERS:
            raise UpdateRefused(
                f"the weights are {self.size} numbers, and {MOST_NUMBERS} may be sent",
                hint="a smaller network, or fewer trained layers",
            )
        return self


def layout_of(arrays: dict[str, Array]) -> Layout:
    """The layout of weights as they are.

    Raises:
        UpdateRefused: an array holds whole numbers or half precision, whose mean means nothing or
            overflows at 65 504, or the arrays are of different types.
    """
    for name, value in arrays.items():
        if value.dtype.kind in "iub":
            raise UpdateRefused(
                f"{name} holds whole numbers ({value.dtype}), of which a mean over sites is none",
                hint="train it nowhere and leave it out, or use a layer that has no counters",
            )
        if value.dtype.newbyteorder("<").str not in DTYPES:
            raise UpdateRefused(
                f"{name} holds {value.dtype}; sums over sites need float32 or float64",
                hint="give the network .float() before it is returned",
            )
    found = {value.dtype.newbyteorder("<").str for value in arrays.values()}
    if len(found) > 1:
        raise UpdateRefused(f"the weights are of different types: {', '.join(sorted(found))}")
    return Layout(
        names=list(arrays),
        shapes=[list(value.shape) for value in arrays.values()],
        dtype=next(iter(found), "<f4"),
    ).require()


def pack(vector: Array, layout: Layout, number: int, rows: int) -> Update:
    """The update that a flat difference is, as it is sent.

    Args:
        vector: [p], in the order of the layout.
        layout: of the weights.
        number: of the round.
        rows: of the site.
    """
    pieces, start = [], 0
    for name, shape in zip(layout.names, layout.shapes, strict=True):
        stop = start + math.prod(shape)
        content = np.ascontiguousarray(vector[start:stop], dtype=layout.dtype).tobytes()
        pieces.append(Piece(name=name, dtype=layout.dtype, shape=shape, content=content))
        start = stop
    return Update(round=number, rows=rows, pieces=pieces)


def unpack(update: Update, layout: Layout, number: int, most: float = LARGEST) -> Array:
    """The flat difference float64 [p] in an update that came from outside.

    Args:
        update: as it came.
        layout: of the weights.
        number: of the round.
        most: largest absolute value of a number in it.

    Raises:
        UpdateRefused: it answers another round, has other arrays, or a number in it is not finite
            or too large.
    """
    if update.version != 1:
        raise UpdateRefused(f"the update has version {update.version}; this casemate knows 1")
    if update.round != number:
        raise UpdateRefused(
            f"the update is of round {update.round}, and this is round {number}",
            hint="an answer counts once, in the round that asked for it",
        )
    if update.rows < 1:
        raise UpdateRefused(f"the update is of {update.rows} rows")
    if [piece.name for piece in update.pieces] != layout.names:
        raise UpdateRefused("the update has other arrays than the weights that were sent out")
    parts = [
        _checked(piece, shape, layout.dtype, most)
        for piece, shape in zip(update.pieces, layout.shapes, strict=True)
    ]
    return np.concatenate(parts)


def _checked(piece: Piece, shape: list[int], dtype: str, most: float) -> Array:
    if piece.dtype != dtype:
        raise UpdateRefused(f"{piece.name} came as {piece.dtype!r}, expected {dtype!r}")
    if piece.shape != shape:
        raise UpdateRefused(f"{piece.name} has the shape {piece.shape[:8]}, expected {shape}")
    if len(piece.content) != math.prod(shape) * DTYPES[dtype]:
        raise UpdateRefused(f"{piece.name} has {len(piece.content)} bytes, which are not its shape")
    found = np.frombuffer(piece.content, dtype=dtype).astype(np.float64)
    if not np.isfinite(found).all():
        raise UpdateRefused(
            f"{piece.name} holds NaN or infinity",
            hint="a smaller learning rate, or a look at the site's rows",
        )
    if float(np.abs(found).max()) > most:
        raise UpdateRefused(
            f"{piece.name} holds a number beyond {most:g}", hint="a smaller learning rate"
        )
    return found
