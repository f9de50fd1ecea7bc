"""Counting over spans of time: what a correlation has seen of late, by group.

The back end can translate correlations to SQL too. That is what the counts here are tested against,
and not what runs: it costs the square of the lines in a window (5 minutes and 1 GB for 10 000
refusals of one principal), so that the flood which a rule is about would be what stops it. Here a
window costs what is in it. One thing is meant otherwise: the back end groups without regard to
case, but `User::"a"` is not `User::"A"`.
"""

import bisect
import datetime
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from casemate.core.types import Record
from casemate.watch.rules.rule import Counted

MOST_IN_GROUP = 5_000
"""Lines kept of one group: five times the highest threshold."""
MOST_KEPT = 20_000
"""Lines kept of one correlation: some 5 MB, and 2 MB as `State`."""


def seconds(time: str) -> float | None:
    """Unix seconds of a line's time, to the millisecond; None: it is none, or has no zone."""
    try:
        moment = datetime.datetime.fromisoformat(time)
    except ValueError:
        return None
    return None if moment.tzinfo is None else round(moment.timestamp(), 3)


@dataclass(frozen=True, slots=True, order=True)
class Seen:
    """A line that a correlation counts."""

    at: float
    """Unix seconds."""
    id: str
    of: int = field(compare=False)
    """Which of the correlation's rules it matched, as bits in their order."""
    value: str = field(compare=False, default="")
    """Of the counted field."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A window in which a threshold was reached."""

    group: tuple[str, ...]
    count: int
    lines: list[Seen]


class State(Record, frozen=True, kw_only=True):
    """What a correlation has seen, for the next process."""

    counted: Counted
    """Of another one nothing is taken over."""
    groups: list[tuple[tuple[str, ...], list[tuple[float, str, int, str]]]]
    """Groups with the fields of their `Seen`, in order."""


class Windows:
    """One correlation's lines of the newest two spans."""

    def __init__(self, counted: Counted) -> None:
        self.counted = counted
        self._groups: dict[tuple[str, ...], list[Seen]] = {}
        self.left_out = 0
        """Lines that went before their time, because there were too many."""

    def state(self) -> State:
        """What is kept, as a record."""
        groups = [
            (group, [(one.at, one.id, one.of, one.value) for one in kept])
            for group, kept in self._groups.items()
        ]
        return State(counted=self.counted, groups=groups)

    def restore(self, state: State) -> None:
        """Go on from there, if it is of the same correlation."""
        if state.counted == self.counted:
            self._groups = {group: [Seen(*one) for one in kept] for group, kept in state.groups}

    def add(self, lines: Iterable[tuple[tuple[str, ...], Seen]]) -> dict[tuple[str, ...], set[str]]:
        """Keep lines with their groups; the ids of those that are new, by group."""
        fresh: dict[tuple[str, ...], set[str]] = {}
        for group, one in lines:
            kept = self._groups.setdefault(group, [])
            place = bisect.bisect_left(kept, one)
            if place < len(kept) and kept[place] == one:
                continue  # judged before
            kept.insert(place, one)
            fresh.setdefault(group, set()).add(one.id)
        return fresh

    def reached(self, fresh: dict[tuple[str, ...], set[str]]) -> Iterator[Reached]:
        """Of each group the newest window with a new line in which the threshold is reached."""
        for group, ids in fresh.items():
            found = self._newest(self._groups[group], ids)
            if found is not None:
                count, lines = found
                yield Reached(group, count, lines)

    def forget(self, horizon: float) -> None:
        """Drop what no later line can be counted with, even if it comes as late as a whole span,
        and what is beyond the bounds.

        Args:
            horizon: the newest time, Unix seconds.
        """
        for group, kept in list(self._groups.items()):
            old = bisect.bisect_left(kept, Seen(horizon - 2 * self.counted.span, "", 0))
            many = len(kept) - MOST_IN_GROUP
            if self.counted.kind != "event_count":  # there any so many lines are enough
                self.left_out += max(many - old, 0)
            del kept[: max(old, many)]
            if not kept:
                del self._groups[group]
        total = sum(map(len, self._groups.values()))
        if total > MOST_KEPT:
            for group in sorted(self._groups, key=lambda one: self._groups[one][-1].at):
                if total <= MOST_KEPT:
                    break
                gone = len(self._groups.pop(group))
                total -= gone
                self.left_out += gone

    def _newest(self, kept: list[Seen], fresh: set[str]) -> tuple[int, list[Seen]] | None:
        """A window ends at each time at which there is a line, and takes both ends in."""
        counted, found = self.counted, None
        values: Counter[str] = Counter()
        slots = [0] * len(counted.of)
        chain = [float("-inf")] * len(counted.of)
        left = right = new = 0
        while right < len(kept):
            now, before = kept[right].at, list(chain)
            while right < len(kept) and kept[right].at == now:
                one = kept[right]
                new += one.id in fresh
                values[one.value] += 1
                for slot in _bits(one.of):
                    slots[slot] += 1
                    # where the latest ordered row of lines up to this rule begins
                    chain[slot] = now if slot == 0 else max(chain[slot], before[slot - 1])
                right += 1
            while kept[left].at < now - counted.span:
                one = kept[left]
                new -= one.id in fresh
                values[one.value] -= 1
                if not values[one.value]:
                    del values[one.value]
                for slot in _bits(one.of):
                    slots[slot] -= 1
                left += 1
            is_ordered = counted.kind != "temporal_ordered" or chain[-1] >= now - counted.span
            count = self._count(right - left, values, slots)
            if new and is_ordered and count >= counted.least:
                found = count, left, right
        if found is None:
            return None
        count, left, right = found
        return count, kept[left:right]

    def _count(self, lines: int, values: "Counter[str]", slots: list[int]) -> int:
        if self.counted.kind == "event_count":
            return lines
        if self.counted.kind == "value_count":
            return len(values) - ("" in values)
        return sum(count > 0 for count in slots)


def _bits(number: int) -> Iterator[int]:
    place = 0
    while number:
        if number & 1:
            yield place
        number >>= 1
        place += 1
