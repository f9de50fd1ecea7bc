"""How far the course of the last points is from every course that was seen before.

A course is the means of the last 1, 3, 9 and 27 points. Courses are kept as a set of centres of
bounded size: one that lies farther from all than the radius becomes a centre; when there are too
many, the radius grows and centres within it of another are left out (Charikar and others, STOC
1997). What was there on two occasions, each night or twice, is near and no novelty; what was there
once is not usual yet.
"""

from math import sqrt
from typing import Any

import msgspec
import numpy as np

Array = np.ndarray[Any, Any]
LENGTHS = (1, 3, 9, 27)
"""Points whose means make a course: each thrice the one before, up to two hours of five minutes or
a day of hours."""
CENTRES = 128
"""At most: distances to all take some microseconds. Half or four times as many find the same."""
KEPT = 96
"""Centres that are left when the radius has grown: a quarter is free again."""
GROWING = 1.25
"""By which the radius grows until so many are left."""
DELAY = 12
"""Points until a course is learnt: an incident would else teach itself while it begins."""
APART = LENGTHS[-1] + DELAY
"""Points from one occasion to another: courses closer than these share points."""
BORN, VISITED, OCCASIONS = (len(LENGTHS) + at for at in range(3))
"""Columns behind a centre's course: when it was first and last near one, in points, and how often
after it had been away."""
COLUMNS = OCCASIONS + 1


def _none() -> Array:
    return np.zeros((CENTRES, COLUMNS))


class Patterns(msgspec.Struct):
    """Courses of one series."""

    centres: Array = msgspec.field(default_factory=_none)
    """[CENTRES, COLUMNS]; the first `count` are in use."""
    count: int = 0
    radius: float = 0.0
    seen: int = 0
    last: list[float] = msgspec.field(default_factory=list)
    pending: list[list[float]] = msgspec.field(default_factory=list)

    def __call__(self, number: float) -> float:
        """The distance of the course that ends here from what was there on two occasions; it is
        learnt `DELAY` points later.
        """
        self.seen += 1
        last = self.last
        last.append(number)
        if len(last) > LENGTHS[-1]:
            del last[0]
        course = [sum(last[-length:]) / min(length, len(last)) for length in LENGTHS]
        found = self._far(course)
        self.pending.append(course)
        if len(self.pending) > DELAY:
            self._learn(self.pending.pop(0))
        return found

    def interrupted(self) -> None:
        """Begin a course anew: the last points are no neighbours of the next."""
        self.last = []

    def _squares(self, course: list[float]) -> Array:
        apart = self.centres[: self.count, : len(LENGTHS)] - course
        return np.asarray(np.einsum("ij,ij->i", apart, apart))

    def _far(self, course: list[float]) -> float:
        if not self.count:
            return 0.0
        squares = self._squares(course)
        centres = self.centres[: self.count]
        nearest = int(squares.argmin())
        if centres[nearest, OCCASIONS] < 2:
            away = np.abs(centres[:, BORN] - centres[nearest, BORN]) > APART
            others = squares[away | (centres[:, OCCASIONS] >= 2)]
            if len(others):
                return sqrt(others.min())
        return sqrt(squares[nearest])

    def _learn(self, course: list[float]) -> None:
        if self.count:
            squares = self._squares(course)
            nearest = int(squares.argmin())
            if sqrt(squares[nearest]) <= self.radius:
                centre = self.centres[nearest]
                centre[OCCASIONS] += self.seen - centre[VISITED] > APART
                centre[VISITED] = self.seen
                return
        if self.count == CENTRES:
            self._thin()
        self.centres[self.count] = [*course, self.seen, self.seen, 1]
        self.count += 1

    def _thin(self) -> None:
        """Let the radius grow until fewer centres cover all."""
        old = self.centres
        courses = old[:, : len(LENGTHS)]
        apart = np.sqrt(((courses[:, None] - courses) ** 2).sum(axis=2))
        nearest = np.sort((apart + np.diag(np.full(CENTRES, np.inf))).min(axis=1))
        radius = max(self.radius, float(nearest[(CENTRES - KEPT) // 2]))
        newest = np.argsort(-old[:, VISITED], kind="stable").tolist()
        kept = _cover(apart, radius, newest)
        while len(kept) > KEPT:
            radius *= GROWING
            kept = _cover(apart, radius, newest)
        self.radius, self.count = radius, len(kept)
        found = _none()
        for at, (centre, covered) in enumerate(kept.items()):
            born = np.sort(old[covered, BORN])
            occasions = 1 + float((np.diff(born) > APART).sum())
            found[at] = old[centre]
            found[at, BORN] = born[0]
            found[at, OCCASIONS] = max(occasions, old[covered, OCCASIONS].max())
        self.centres = found


def _cover(apart: Array, radius: float, order: list[int]) -> dict[int, Array]:
    """Centres that stay, the first ones in the order, and those that each stands for."""
    left = np.ones(len(apart), bool)
    kept = {}
    for at in order:
        if left[at]:
            near = left & (apart[at] <= radius)
            left &= ~near
            kept[at] = near
    return kept


def to_bytes(array: Array) -> bytes:
    """For msgspec's `enc_hook`: centres as they are in memory."""
    return array.tobytes()


def from_bytes(_: type, raw: bytes) -> Array:
    """For msgspec's `dec_hook`.

    Raises:
        ValueError: these are no centres.
    """
    return np.frombuffer(raw, float).reshape(CENTRES, COLUMNS).copy()
