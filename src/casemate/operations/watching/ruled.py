"""Alarms of rules over log lines: one for a rule, or for each group of a correlation; and one for a
rule that does not run, because nobody watches in its place.
"""

from collections.abc import Iterator
from importlib.util import find_spec

from casemate.core.errors import BackendError, ConfigError
from casemate.core.types import Record
from casemate.operations.logs.ingest import is_there, store_of
from casemate.operations.watching.alarms import EVERY, Cause, Severity
from casemate.watch.logs.index import Index
from casemate.watch.logs.line import LogLine
from casemate.watch.logs.store import LogStore
from casemate.watch.rules import Fault, Match, Rules
from casemate.watch.rules.rule import Grade
from casemate.watch.rules.windows import State
from casemate.watch.telemetry import Telemetry
from casemate.wiring import Wiring

MATCHED, BROKEN = "log-rule", "log-rule-broken"
"""What alarms are called."""
FOLDER = "rules"
"""In the project's folder: its own rules, beside those that ship."""
LOOKED_AT = {(MATCHED, EVERY), (BROKEN, EVERY)}
"""What a look that has judged every new line can end, for `alarms.update`: after a quiet time."""
PLACE, SEEN = "rules-judged", "rules-seen/"
"""Where the telemetry keeps how far was judged, and what each correlation has seen."""
MOST_JUDGED = 100_000
"""Lines of one look, some seconds; more wait for the next."""
SEVERITY: dict[Grade, Severity] = {
    "critical": "page",
    "high": "page",
    "medium": "note",
    "low": "note",
    "informational": "note",
}
MODEL = "labels.model"
"""The group by which an alarm is about a model."""
MOST_TOLD = 3
"""Lines that an alarm names."""


class Mark(Record, frozen=True, kw_only=True):
    """How far a day was judged."""

    blocks: int = 0
    """That were."""
    last: str = ""
    """Id of the last line in them: another one there says that the day was written anew."""


class Judged(Record, frozen=True, kw_only=True):
    """How far the log store was judged."""

    days: dict[str, Mark]


def judge(project: Wiring, telemetry: Telemetry) -> tuple[list[Cause], set[tuple[str, str]]]:
    """Judge the lines that the log store has got since the last look, within the caller's
    transaction: whoever dies before it ends judges them again. The first look begins with what
    comes next.

    Returns what is wrong, and what could have been found.
    """
    folder = project.root / FOLDER
    if not is_there() or (find_spec("re2") is None and not folder.is_dir()):
        return [], set()
    try:
        rules = Rules(*([folder] if folder.is_dir() else []), clock=project.clock)
        rules.restore(telemetry.all_kept(SEEN, State))
        matches, faults = _judged(rules, store_of(project), telemetry)
    except (BackendError, ConfigError, OSError) as error:
        text = error.strerror or "a file is away" if isinstance(error, OSError) else error.message
        hint = getattr(error, "hint", "")
        cause = Cause(name=BROKEN, labels={}, severity="page", text=text, hint=hint)
        return [cause], {(BROKEN, EVERY)}
    for key, state in rules.state().items():
        telemetry.keep(SEEN + key, state)
    for key in set(telemetry.names(SEEN)) - rules.state().keys():
        telemetry.forget(SEEN + key)
    rules.close()
    return causes(matches, faults), LOOKED_AT


def _judged(rules: Rules, store: LogStore, telemetry: Telemetry) -> tuple[list[Match], list[Fault]]:
    before = telemetry.kept(PLACE, Judged)
    if before is None:
        marks = {name: _end(store.day(name).index) for name in store.days()}
        telemetry.keep(PLACE, Judged(days=marks))
        return [], rules.faults
    marks = {name: mark for name, mark in before.days.items() if name in store.days()}
    batch: list[LogLine] = []
    for name, number, lines in _newer(store, marks):
        batch += lines
        marks[name] = Mark(blocks=number + 1, last=lines[-1].id)
        if len(batch) >= MOST_JUDGED:
            break
    matches = rules.judge(batch)
    telemetry.keep(PLACE, Judged(days=marks))
    return matches, rules.faults


def _end(index: Index) -> Mark:
    blocks = index.blocks()
    return Mark(blocks=blocks, last=index.block(blocks - 1)[-1].id) if blocks else Mark()


def _newer(store: LogStore, marks: dict[str, Mark]) -> Iterator[tuple[str, int, list[LogLine]]]:
    """(day, block, its lines) of what was not judged, oldest first; all of a day that was written
    anew since, because lines were erased from it: better twice than never.
    """
    for name in store.days():
        index, mark = store.day(name).index, marks.get(name, Mark())
        blocks = index.blocks()
        is_same = 0 < mark.blocks <= blocks and index.block(mark.blocks - 1)[-1].id == mark.last
        start = mark.blocks if is_same else 0
        for number in range(start, blocks):
            yield name, number, index.block(number)


def causes(matches: list[Match], faults: list[Fault]) -> list[Cause]:
    """What is wrong by the rules' word."""
    return [*map(_matched, matches), *_broken(faults)]


def _matched(match: Match) -> Cause:
    rule = match.rule
    labels = {"rule": rule.title}
    for field, value in match.group.items():
        labels["model" if field == MODEL else field] = value
    of = ", ".join(f"{field} {value}" for field, value in match.group.items())
    text = f"{rule.title}{f' ({of})' if of else ''}: {match.count} since {match.first}"
    named = ", ".join(match.lines[-MOST_TOLD:])
    seldom = f"; harmless when: {'; '.join(rule.falsepositives)}" if rule.falsepositives else ""
    return Cause(
        name=MATCHED,
        labels=labels,
        severity=SEVERITY[rule.level or "high"],
        text=text[:1_000],
        hint=f"look at the lines with event.id {named}{seldom}"[:1_000],
    )


def _broken(faults: list[Fault]) -> list[Cause]:
    """One for each file and rule, with all reasons."""
    found: dict[tuple[str, str], list[str]] = {}
    for fault in faults:
        found.setdefault((fault.file, fault.rule), []).append(fault.reason)
    return [
        Cause(
            name=BROKEN,
            labels={"file": file, "rule": rule},
            severity="page",
            text=f"the rule {rule or 'in'} ({file}) does not run: {'; '.join(reasons)}"[:1_000],
            hint="casemate logs rules check says what is wrong with which rule",
        )
        for (file, rule), reasons in found.items()
    ]
