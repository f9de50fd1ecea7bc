"""Two pipes between whoever asks a model and the process that holds its code: arrays and numbers,
nothing that is executed.

A message is the length of its head (4 bytes, little-endian), the head (JSON) and its parts, whose
lengths the head tells. Each side bounds what it takes; who asks believes nothing of an answer but
numbers of the shape that it expects.
"""

import os
import select
import struct
import time
import weakref
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa

MAX_HEAD = 64 * 2**10
"""Bytes of a head; what is said in one are a few numbers, the names of the classes, a finding."""
MAX_PART = 8 * 2**30
"""Bytes of one part: a model file, or a table of a hundred million numbers."""
MOST_PARTS = 32
"""A model file and its code: `code.MOST_FILES`."""
Array = np.ndarray[Any, Any]


class Gone(Exception):
    """The other side has ended, or closed its end."""


class Silent(Exception):
    """The other side did not come to an end in time."""


class Head(msgspec.Struct, omit_defaults=True):
    """What a message says of itself."""

    what: str = ""
    """Of a question what to do; of an answer `done`, `failed` or `finding`."""
    sizes: list[int] = []
    """Lengths of the parts, in bytes."""
    shape: list[int] = []
    """Of the numbers in an answer."""
    text: str = ""
    """Why it failed."""
    names: list[str] = []
    """Of a model: its code files; of an answer about one: the features that it wants."""
    order: list[int] = []
    """See `TrainedModel.order`."""
    own: bool = True
    """See `SkopsModel`."""
    regression: bool = False
    """Whether it predicts quantities."""
    classes: list[str | int | float | bool] = []
    """What the estimator calls its classes."""
    finding: dict[str, str] = {}
    """What the code tried."""


class Line:
    """One end."""

    def __init__(self, read: int, write: int) -> None:
        """Take two descriptors over; they are closed with the line, or when nobody holds it."""
        self.read, self.write = read, write
        self._shut = weakref.finalize(self, _close, read, write)
        self.seconds: float | None = None
        """How long the other side may be silent; None: for ever."""
        os.set_blocking(read, False)
        os.set_blocking(write, False)

    def send(self, head: Head, parts: Sequence[bytes] = ()) -> None:
        """Say something; `Gone`, `Silent`."""
        head.sizes = [len(part) for part in parts]
        text = msgspec.json.encode(head)
        for chunk in (struct.pack("<I", len(text)) + text, *parts):
            self._put(memoryview(chunk))

    def receive(self, most: int = MAX_PART) -> tuple[Head, list[bytes]]:
        """Hear something whose parts have `most` bytes together.

        Raises:
            Gone, Silent: nothing comes. ValueError: what comes is not understood.
        """
        (length,) = struct.unpack("<I", self._get(4))
        if length > MAX_HEAD:
            raise ValueError("a message with too long a head")
        head = msgspec.json.decode(self._get(length), type=Head)
        sizes = head.sizes
        if len(sizes) > MOST_PARTS or any(size < 0 for size in sizes) or sum(sizes) > most:
            raise ValueError("a message that is too large")
        return head, [self._get(size) for size in sizes]

    def close(self) -> None:
        """Say and hear no more."""
        self.read = self.write = -1
        self._shut()

    def _put(self, content: memoryview) -> None:
        while content:
            self._wait(self.write, select.POLLOUT)
            try:
                content = content[os.write(self.write, content) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise Gone from error

    def _get(self, length: int) -> bytes:
        kept = bytearray()
        while len(kept) < length:
            self._wait(self.read, select.POLLIN)
            try:
                chunk = os.read(self.read, min(length - len(kept), 1 << 20))
            except BlockingIOError:
                continue
            except OSError as error:
                raise Gone from error
            if not chunk:
                raise Gone
            kept += chunk
        return bytes(kept)

    def _wait(self, descriptor: int, event: int) -> None:
        if descriptor < 0:
            raise Gone
        poll = select.poll()
        poll.register(descriptor, event)
        end = None if self.seconds is None else time.monotonic() + self.seconds
        while not poll.poll(None if end is None else max(0.0, end - time.monotonic()) * 1000):
            if end is not None and time.monotonic() >= end:
                raise Silent


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def packed(frame: pd.DataFrame) -> bytes:
    """A feature frame (see `ml.frame`) as Arrow's stream."""
    columns = {str(name): frame[name].to_numpy() for name in frame.columns}
    table = pa.table(
        {
            name: pa.array(values, pa.string() if values.dtype.kind == "O" else None)
            for name, values in columns.items()
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def unpacked(content: bytes) -> pd.DataFrame:
    """The frame again."""
    table = pa.ipc.open_stream(content).read_all()
    columns = {name: table[name].to_numpy() for name in table.column_names}
    return pd.DataFrame(
        {name: pd.Series(values, dtype=values.dtype) for name, values in columns.items()},
        copy=False,
    )


def numbers(content: bytes, kind: str, shape: list[int]) -> Array:
    """Numbers out of an answer; ValueError when they are not as many as the shape says."""
    found = np.frombuffer(content, kind).reshape(shape)
    return found.copy()  # an own one that can be written to
