"""How far the course of the last points is from every course that was seen before.

A course is the means of the last 1, 3, 9 and 27 points. Courses are kept as a set of centres of
bounded size: one that lies farther from all than the radius becomes a centre; when there are too
many, the radius grows and centres within it of another are left out (Charikar and others, STOC
1997). So what a series did before, each night or once, is near a centre and no novelty.
"""

from typing import Any

import msgspec
import numpy as np

Array = np.ndarray[Any, Any]
LENGTHS = (1, 3, 9, 27)
"""Points whose means make a course: each thrice the one before, up to two hours of five minutes or
a day of hours."""
CENTRES = 128
"""At most: some weeks' courses of a machine, and a distance to all of them in ten microseconds."""
KEPT = 96
"""Centres that are left when the radius has grown: a quarter is free again."""
GROWING = 1.25
"""By which the radius grows until so many are left."""
DELAY = 12
"""Points until a course is learnt: an incident would else teach itself while it begins."""


def _none() -> Array:
    return np.zeros((CENTRES, len(LENGTHS)))


class Patterns(msgspec.Struct):
    """Courses of one series."""

    centres: Array = msgspec.field(default_factory=_none)
    """[CENTRES, LENGTHS]; the first `count` are in use."""
    count: int = 0
    visited: list[int] = msgspec.field(default_factory=list)
    """When each centre was last near a course, in points."""
    radius: float = 0.0
    seen: int = 0
    last: list[float] = msgspec.field(default_factory=list)
    pending: list[list[float]] = msgspec.field(default_factory=list)

    def __call__(self, number: float) -> float:
        """The distance of the course that ends here; it is learnt `DELAY` points later."""
        self.seen += 1
        last = self.last
        last.append(number)
        if len(last) > LENGTHS[-1]:
            del last[0]
        course = [sum(last[-length:]) / min(length, len(last)) for length in LENGTHS]
        far = self._nearest(course)[1]
        self.pending.append(course)
        if len(self.pending) > DELAY:
            self._learn(self.pending.pop(0))
        return far

    def interrupted(self) -> None:
        """Begin a course anew: the last points are no neighbours of the next."""
        self.last = []

    def _nearest(self, course: list[float]) -> tuple[int, float]:
        if not self.count:
            return 0, 0.0
        apart = self.centres[: self.count] - course
        squares = np.einsum("ij,ij->i", apart, apart)
        at = int(squares.argmin())
        return at, float(squares[at]) ** 0.5

    def _learn(self, course: list[float]) -> None:
        at, far = self._nearest(course)
        if self.count and far <= self.radius:
            self.visited[at] = self.seen
            return
        if self.count == CENTRES:
            self._thin()
        self.centres[self.count] = course
        self.count += 1
        self.visited.append(self.seen)

    def _thin(self) -> None:
        """Let the radius grow until fewer centres cover all."""
        centres = self.centres
        apart = np.sqrt(((centres[:, None] - centres) ** 2).sum(axis=2))
        nearest = np.sort((apart + np.diag(np.full(CENTRES, np.inf))).min(axis=1))
        radius = max(self.radius, float(nearest[(CENTRES - KEPT) // 2]))
        newest = np.argsort(-np.array(self.visited), kind="stable")
        while True:
            kept: list[int] = []
            covered = np.zeros(CENTRES, bool)
            for at in newest.tolist():
                if not covered[at]:
                    kept.append(at)
                    covered |= apart[at] <= radius
            if len(kept) <= KEPT:
                break
            radius *= GROWING
        self.radius, self.count = radius, len(kept)
        self.centres[: len(kept)] = centres[kept]
        self.visited = [self.visited[at] for at in kept]


def to_bytes(array: Array) -> bytes:
    """For msgspec's `enc_hook`: centres as they are in memory."""
    return array.tobytes()


def from_bytes(_: type, raw: bytes) -> Array:
    """For msgspec's `dec_hook`.

    Raises:
        ValueError: these are no centres.
    """
    return np.frombuffer(raw, float).reshape(CENTRES, len(LENGTHS)).copy()
