"""Which rules match a batch of lines."""

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path

from casemate.core.clock import Clock, SystemClock
from casemate.core.types import Record
from casemate.watch.logs.line import LogLine
from casemate.watch.rules import reading
from casemate.watch.rules.fields import FIELDS
from casemate.watch.rules.rule import Fault, Rule
from casemate.watch.rules.table import Table, Unanswered, usable
from casemate.watch.rules.translating import Translation
from casemate.watch.rules.windows import Seen, State, Windows, seconds

BATCH = 10_000
"""Lines in memory at once: some 10 MB."""
MOST_NAMED = 100
"""Lines that a match names."""
MOST_GROUPS = 20
"""Matches of one rule in one batch: more principals than that at once are one story."""
OWN = frozenset({"watch:alarm", "watch:well"})
"""What the watcher says of alarms: a rule never sees it, or its own alarm would feed it."""


class Match(Record, frozen=True, kw_only=True):
    """A rule that matched."""

    rule: Rule
    group: dict[str, str]
    """Fields by which the correlation groups, and what they were; empty without."""
    count: int
    """Lines, different values, or rules: whatever is counted."""
    lines: tuple[str, ...]
    """`event.id` of the newest of them, in the order of their times."""
    first: str
    """Time of the oldest line, as it stands there."""
    last: str


class Rules:
    """Rules of folders, and what their correlations remember; not for several threads at once."""

    def __init__(self, *folders: Path, starter: bool = True, clock: Clock | None = None) -> None:
        """Read and translate them; what cannot be is in `faults`, the others run.

        Args:
            folders: of .yml files, or single files. A rule with the id of one in a folder before
                replaces that one.
            starter: whether the rules that ship with the product run too, as a first folder.
            clock: tells which lines are of the future.

        Raises:
            BackendError: the extra `sigma` is not installed. ConfigError: a folder is not there, or
                has too many files.
        """
        usable()
        self._clock = clock or SystemClock()
        translation = Translation()
        unread: list[Fault] = []
        for folder in (*((reading.STARTER,) if starter else ()), *folders):
            documents, faults = reading.read(folder)
            translation.add(documents)
            unread += faults
        rules = translation.rules()
        self._table = Table()
        self._broken: dict[str, Fault] = {}
        for rule in rules:
            self._try(rule)
        self.rules = [rule for rule in rules if not self._is_broken(rule)]
        """Those that run."""
        self._unread = [*unread, *translation.faults, *self._broken.values()]
        self._broken = {}
        self._table.need({name for rule in self.rules for name in rule.fields})
        self._windows = {
            rule.key: Windows(rule.counted) for rule in self.rules if rule.counted is not None
        }
        self._horizon = 0.0

    @property
    def faults(self) -> list[Fault]:
        """Rules that do not run, and those that could not be asked about the last batch."""
        return [*self._unread, *self._broken.values()]

    def judge(self, batch: Sequence[LogLine]) -> list[Match]:
        """Which rules match: of a rule about single lines one match for all of its lines, of a
        correlation one for each group with a new line in a window that reached the threshold.

        The same lines may come again, as after a crash: they are counted once. What is found does
        not depend on how lines are divided into batches, as long as none is late by more than a
        correlation's timespan, and the bounds are kept.
        """
        self._broken = {}
        found: dict[tuple[str, tuple[str, ...]], Match] = {}
        for start in range(0, len(batch), BATCH):
            for match in self._judged(batch[start : start + BATCH]):
                key = match.rule.key, tuple(match.group.values())
                found[key] = _joined(found[key], match) if key in found else match
        return self._bounded(list(found.values()))

    def state(self) -> dict[str, State]:
        """What correlations have seen, by their rule's key: for `restore` in another process."""
        return {key: windows.state() for key, windows in self._windows.items()}

    def restore(self, states: Mapping[str, State]) -> None:
        """Go on where another one ended; what is of no correlation that runs is left."""
        for key, windows in self._windows.items():
            if key in states:
                windows.restore(states[key])

    def close(self) -> None:
        """Give the memory back."""
        self._table.close()

    def _try(self, rule: Rule) -> None:
        """Whether SQLite takes what the back end made, asked about no line."""
        with self._table.asking():
            self._rows(rule)

    def _is_broken(self, rule: Rule) -> bool:
        if rule.counted is not None and self._broken.keys() & set(rule.counted.of):
            reason = "a rule that it counts does not run"
            self._broken[rule.key] = Fault(file=rule.file, rule=rule.title, reason=reason)
        return rule.key in self._broken

    def _rows(self, rule: Rule) -> list[int] | None:
        try:
            return sorted({row for one in rule.queries for row in self._table.rows(one)})
        except Unanswered as error:
            self._broken[rule.key] = Fault(file=rule.file, rule=rule.title, reason=str(error))
            return None

    def _hits(self, lines: list[LogLine]) -> dict[str, list[int]]:
        """Places of the lines that each rule about single lines matches, by its key."""
        self._table.fill(lines)
        hits = {}
        with self._table.asking():
            for rule in self.rules:
                if rule.counted is None:
                    hits[rule.key] = self._rows(rule) or []
        return hits

    def _judged(self, batch: Sequence[LogLine]) -> list[Match]:
        lines = _judgeable(batch)
        hits = self._hits(lines)
        found = [
            _of(rule, [lines[row] for row in hits[rule.key]])
            for rule in self.rules
            if rule.is_told and hits.get(rule.key)
        ]
        fresh = self._count(lines, hits)
        for rule in self.rules:
            if rule.counted is None or not rule.is_told:
                continue
            for one in self._windows[rule.key].reached(fresh[rule.key]):
                found.append(
                    Match(
                        rule=rule,
                        group=dict(zip(rule.counted.group, one.group, strict=True)),
                        count=one.count,
                        lines=tuple(line.id for line in one.lines[-MOST_NAMED:]),
                        first=_written(one.lines[0].at),
                        last=_written(one.lines[-1].at),
                    )
                )
        self._forget(lines)
        return found

    def _count(
        self, lines: list[LogLine], hits: dict[str, list[int]]
    ) -> dict[str, dict[tuple[str, ...], set[str]]]:
        """Hand each correlation its lines; ids of new ones by its key and group."""
        fresh = {}
        for key, windows in self._windows.items():
            counted = windows.counted
            of: dict[int, int] = {}
            for place, rule in enumerate(counted.of):
                for row in hits.get(rule, ()):
                    of[row] = of.get(row, 0) | 1 << place
            taken = []
            for row, bits in of.items():
                line = lines[row]
                at, group = seconds(line.time), _values(line, counted.group)
                if at is not None and all(group):
                    value = _values(line, (counted.field,))[0] if counted.field else ""
                    taken.append((group, Seen(at, line.id, bits, value)))
            fresh[key] = windows.add(taken)
        return fresh

    def _forget(self, lines: list[LogLine]) -> None:
        """Move on; a line of the future does not make the present old."""
        now = self._clock.now().timestamp()
        times = [at for line in lines if (at := seconds(line.time)) is not None]
        self._horizon = max([self._horizon, *(at for at in times if at <= now)])
        for rule in self.rules:
            if rule.counted is None:
                continue
            windows = self._windows[rule.key]
            before = windows.left_out
            windows.forget(self._horizon)
            if windows.left_out > before:
                reason = (
                    f"{windows.left_out} lines came too close together to be counted over its"
                    " whole timespan: narrow what it counts"
                )
                self._broken[rule.key] = Fault(file=rule.file, rule=rule.title, reason=reason)

    def _bounded(self, found: list[Match]) -> list[Match]:
        """One match for all groups of a rule that matched in too many."""
        by_rule: dict[str, list[Match]] = {}
        for match in found:
            by_rule.setdefault(match.rule.key, []).append(match)
        kept = []
        for matches in by_rule.values():
            if len(matches) <= MOST_GROUPS:
                kept += matches
                continue
            kept.append(
                Match(
                    rule=matches[0].rule,
                    group={},
                    count=len(matches),
                    lines=tuple(one.lines[-1] for one in matches)[:MOST_NAMED],
                    first=min(one.first for one in matches),
                    last=max(one.last for one in matches),
                )
            )
        return kept


def _judgeable(batch: Sequence[LogLine]) -> list[LogLine]:
    return [line for line in batch if line.dataset != "casemate.alarm" and line.action not in OWN]


def _of(rule: Rule, lines: list[LogLine]) -> Match:
    lines = sorted(lines, key=lambda line: line.time)
    return Match(
        rule=rule,
        group={},
        count=len(lines),
        lines=tuple(line.id for line in lines[-MOST_NAMED:]),
        first=lines[0].time,
        last=lines[-1].time,
    )


def _joined(one: Match, other: Match) -> Match:
    """Two matches of a rule and a group as one."""
    is_single = one.rule.counted is None
    return Match(
        rule=one.rule,
        group=one.group,
        count=one.count + other.count if is_single else max(one.count, other.count),
        lines=tuple(dict.fromkeys([*one.lines, *other.lines]))[-MOST_NAMED:],
        first=min(one.first, other.first),
        last=max(one.last, other.last),
    )


def _values(line: LogLine, names: tuple[str, ...]) -> tuple[str, ...]:
    found = (getattr(line, FIELDS[name]) for name in names)
    return tuple("" if value is None else str(value) for value in found)


def _written(at: float) -> str:
    moment = datetime.datetime.fromtimestamp(at, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
