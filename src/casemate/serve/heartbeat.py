"""What workers tell their supervisor, and it them, through memory that they share: telling waits
for nobody, and reading needs no answer.

A worker's event loop beats; whatever computes an answer says beforehand by when it will be done.
Whoever does neither in time stands still, and the name beside the broken promise says on which
model. All times are those of `time.monotonic_ns`, one clock for all processes of a machine that no
change of date moves.
"""

import contextlib
import mmap
import os
import struct
import time
import weakref
from typing import Any

import msgspec

LANES = 128
"""Model versions that a worker computes with at once, former ones that still have requests
included.
"""
NAME = 248
"""Bytes of a lane's name."""
NOTICE = 64 * 1024
"""Bytes of what the supervisor says."""
ENDING = 2**64 - 1
"""In the place of a beat: the event loop has ended in peace, and the process is about to."""
SECOND = 1_000_000_000
_HEAD = struct.Struct("<QQ")
_PAGE = 16 + LANES * (8 + NAME)


class Notice(msgspec.Struct, frozen=True):
    """What the supervisor says to all workers."""

    replaced: dict[str, int] = {}
    """How many workers were replaced, by reason: `stuck`, `still`, `ended`."""
    stuck: dict[str, int] = {}
    """How often each model version stood still lately."""
    withdrawn: list[str] = []
    """Model versions that are not to be asked any more, because they stood still too often."""


class Lane:
    """Where one model version promises when it will have answered."""

    __slots__ = ("__weakref__", "_due", "_place")

    def __init__(self, due: "memoryview[int]", place: int) -> None:
        self._due, self._place = due, place

    def begin(self, seconds: float) -> None:
        """An answer will be there within so many seconds."""
        self._due[self._place] = time.monotonic_ns() + int(seconds * SECOND)

    def end(self) -> None:
        """The model has answered: nothing is computed here until the next beginning."""
        self._due[self._place] = 0

    @property
    def overdue(self) -> bool:
        """Whether a promise was broken."""
        return 0 < self._due[self._place] < time.monotonic_ns()


class Heartbeat:
    """One worker's page of shared memory: what its loop and its models last did, for the supervisor
    to read.
    """

    def __init__(self, page: memoryview) -> None:
        self._beat: Any = page[:16].cast("Q")
        self._due: Any = page[16 : 16 + 8 * LANES].cast("Q")
        self._names = page[16 + 8 * LANES :]
        self._free = list(range(LANES - 1, 0, -1))

    @classmethod
    def alone(cls) -> "Heartbeat":
        """One that nobody watches."""
        return cls(memoryview(bytearray(_PAGE)))

    def clear(self) -> None:
        """Forget whose it was."""
        self._beat[0] = 0
        for lane in range(LANES):
            self._due[lane] = 0

    def beat(self) -> None:
        """The event loop turns."""
        self._beat[0], self._beat[1] = time.monotonic_ns(), os.getpid()

    def ending(self) -> None:
        """The event loop turns no more, and should not."""
        self._beat[0] = ENDING

    def lane(self, reference: str) -> Lane:
        """A lane of its own for a model version, as long as anybody holds it; where there is none
        left, one that others share.
        """
        place = self._free.pop() if self._free else 0
        name = reference.encode()[:NAME] if place else b""
        self._names[place * NAME : (place + 1) * NAME] = name.ljust(NAME, b"\0")
        lane = Lane(self._due, place)
        if place:
            weakref.finalize(lane, self._free.append, place)
        return lane

    @property
    def last(self) -> int:
        """When it beat last; 0 before the first time, `ENDING` after the last."""
        return int(self._beat[0])

    @property
    def computing(self) -> bool:
        """Whether any promise is open."""
        return any(self._due.tolist())

    @property
    def runs(self) -> bool:
        """Whether its process is there and was not stopped by a signal."""
        with (
            contextlib.suppress(OSError),
            open(f"/proc/{int(self._beat[1])}/stat", encoding="utf-8", errors="replace") as file,
        ):
            return file.read().rpartition(")")[2].split()[0] not in {"T", "t", "Z", "X"}
        return False

    def broken(self, now: int) -> tuple[int, str] | None:
        """(since when, model version) of the promise that has been broken longest at `now`."""
        found = [(due, place) for place, due in enumerate(self._due.tolist()) if 0 < due < now]
        if not found:
            return None
        due, place = min(found)
        return due, bytes(self._names[place * NAME : (place + 1) * NAME]).rstrip(b"\0").decode(
            "utf-8", "replace"
        )


class Board:
    """The memory of a gateway's processes."""

    def __init__(self, places: int) -> None:
        """Made before the first fork.

        Args:
            places: processes that can be there at once, those that are ending included.
        """
        self._memory = memoryview(mmap.mmap(-1, NOTICE + places * _PAGE))
        self._notice = self._memory[:NOTICE]
        self.pages = [
            Heartbeat(self._memory[NOTICE + place * _PAGE : NOTICE + (place + 1) * _PAGE])
            for place in range(places)
        ]

    def say(self, notice: Notice) -> None:
        """Tell all workers. Only the supervisor does, so an odd number marks what is half
        written.
        """
        number, _ = _HEAD.unpack_from(self._notice)
        content = msgspec.json.encode(notice)
        if len(content) > NOTICE - _HEAD.size:
            return
        _HEAD.pack_into(self._notice, 0, number + 1, len(content))
        self._notice[_HEAD.size : _HEAD.size + len(content)] = content
        _HEAD.pack_into(self._notice, 0, number + 2, len(content))

    def heard(self) -> tuple[int, Notice] | None:
        """(number, what the supervisor said last); the number is 0 while it has said nothing. None
        while it is writing.
        """
        number, length = _HEAD.unpack_from(self._notice)
        if number == 0:
            return 0, Notice()
        content = bytes(self._notice[_HEAD.size : _HEAD.size + length])
        if number % 2 or _HEAD.unpack_from(self._notice)[0] != number:
            return None
        return number, msgspec.json.decode(content, type=Notice)
