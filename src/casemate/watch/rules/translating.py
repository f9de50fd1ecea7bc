"""From documents to rules that run: parsed and translated by pySigma, checked by `meaning`."""

import functools
from collections.abc import Iterator
from typing import Any, get_args

from casemate.watch.rules import meaning
from casemate.watch.rules.reading import Document
from casemate.watch.rules.rule import Counted, Fault, Kind, Rule
from casemate.watch.rules.table import TABLE, expression

MOST_RULES = 500
"""Each is a look at every line."""
MOST_SQL = 200_000
"""Characters of one statement."""
MOST_SPAN = 24 * 3600
"""Seconds of a correlation: its lines are kept in memory that long."""
MOST_LEAST = 1_000
"""A threshold of a correlation; the lines kept of one group (`windows.MOST_IN_GROUP`) must be
more.
"""
OFF = ("DEPRECATED", "UNSUPPORTED")
"""Sigma's states in which a rule is not run."""


class Translation:
    """Rules of several folders, later ones before earlier ones where the id is the same."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[Document, Any]] = {}
        self.faults: list[Fault] = []

    def add(self, documents: list[Document]) -> None:
        """Parse the documents of one folder; what has an id from an earlier folder replaces it."""
        seen: dict[str, Document] = {}
        for document in documents:
            try:
                parsed = _parsed(document)
            except ValueError as error:
                self.faults += [document.fault(reason) for reason in error.args]
                continue
            key = str(parsed.id)
            if key in seen:
                self.faults.append(document.fault(f"{seen[key].file} has a rule with its id"))
                continue
            seen[key] = document
            self._read[key] = document, parsed

    def rules(self) -> list[Rule]:
        """All that run; what does not is in `faults`."""
        running = {
            key: (document, parsed)
            for key, (document, parsed) in self._read.items()
            if parsed.status is None or parsed.status.name not in OFF
        }
        singles: dict[str, Rule] = {}
        correlations = []
        titles: set[str] = set()
        names: dict[str, str] = {}
        for key, (document, parsed) in running.items():
            if parsed.title in titles or parsed.name in names:
                taken = "title" if parsed.title in titles else "name"
                self.faults.append(document.fault(f"another rule has its {taken}"))
                continue
            titles.add(parsed.title)
            if parsed.name:
                names[parsed.name] = key
            if _is_correlation(parsed):
                correlations.append((document, parsed))
                continue
            try:
                singles[key] = _single(document, parsed)
            except ValueError as error:
                self.faults += [document.fault(reason) for reason in error.args]
        found = list(singles.values())
        counted: set[str] = set()
        for document, parsed in correlations:
            try:
                one = _counted(parsed, singles, names)
            except ValueError as error:
                self.faults += [document.fault(reason) for reason in error.args]
                continue
            found.append(_rule(document, parsed, counted=one))
            counted.update(() if parsed.generate else one.of)
        return self._told(found, counted)

    def _told(self, rules: list[Rule], counted: set[str]) -> list[Rule]:
        """Without those beyond the limit, and those that nobody would hear of."""
        import msgspec

        kept: list[Rule] = []
        for rule in rules:
            document = self._read[rule.key][0]
            if len(kept) == MOST_RULES:
                self.faults.append(document.fault(f"there are more than {MOST_RULES} rules"))
            elif rule.key in counted:
                kept.append(msgspec.structs.replace(rule, is_told=False))
            elif rule.level is None:
                self.faults.append(document.fault("it has no level, such as `level: high`"))
            else:
                kept.append(rule)
        return kept


@functools.cache
def _policy() -> Any:
    """PySigma compiles regular expressions as this package does: bounded, and RE2 is not to write
    on standard error.
    """
    from sigma.policy import SigmaPolicy
    from sigma.policy.regex_engine import RE2RegexEngine

    class Bounded(RE2RegexEngine):
        """RE2 as rules are matched with it."""

        def compile(self, pattern: str, flags: int = 0) -> Any:
            """See `RegexEngine.compile`."""
            return expression(pattern)

    return SigmaPolicy(regex_engine=Bounded())


def _is_correlation(parsed: Any) -> bool:
    from sigma.correlations import SigmaCorrelationRule

    return isinstance(parsed, SigmaCorrelationRule)


def _parsed(document: Document) -> Any:
    """As pySigma has it.

    Raises:
        ValueError: with every reason as an argument.
    """
    from sigma.correlations import SigmaCorrelationRule
    from sigma.rule import SigmaRule

    content = document.content
    for word in ("action", "filter"):
        if word in content:
            raise ValueError(f"documents with {word!r} are not read: a rule stands for itself")
    kind = SigmaCorrelationRule if "correlation" in content else SigmaRule
    try:
        parsed = kind.from_dict(content, collect_errors=True, policy=_policy())
    except Exception as error:
        raise ValueError(f"pySigma cannot read it: {_line(error)}") from error
    reasons = [_line(error) for error in parsed.errors]
    if parsed.id is None:
        reasons.append("it has no id: a UUID, made once")
    if reasons:
        raise ValueError(*reasons)
    return parsed


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__


def _single(document: Document, parsed: Any) -> Rule:
    """A rule about single lines; ValueError with every reason."""
    from sigma.backends.sqlite.sqlite import sqliteBackend

    try:
        reasons = list(dict.fromkeys(meaning.check(parsed, document.content)))
        if not reasons:
            backend: Any = sqliteBackend
            queries = backend(table=TABLE).convert_rule(parsed)
    except Exception as error:
        raise ValueError(f"pySigma cannot translate it: {_line(error)}") from error
    if not reasons and not 1 <= sum(map(len, queries)) <= MOST_SQL:
        reasons.append(f"its SQL is empty or longer than {MOST_SQL} characters")
    if reasons:
        raise ValueError(*reasons)
    fields = meaning.fields(parsed)
    service = parsed.logsource.service
    if service is not None:
        fields.add("event.dataset")
        only = f"`event.dataset` = '{meaning.SERVICES[service]}'"
        queries = [f"SELECT * FROM ({one}) WHERE {only}" for one in queries]  # noqa: S608 - constants
    return _rule(document, parsed, queries=tuple(queries), fields=tuple(sorted(fields)))


def _counted(parsed: Any, singles: dict[str, Rule], names: dict[str, str]) -> Counted:
    """What a correlation counts; ValueError with every reason why it does not."""
    reasons = list(_uncounted(parsed))
    of = [names.get(one.reference, one.reference) for one in parsed.rules or []]
    for key, one in zip(of, parsed.rules or [], strict=True):
        if key not in singles:
            reasons.append(
                f"it counts {one.reference[:80]!r}, which is no rule about single lines that runs"
            )
    if reasons:
        raise ValueError(*reasons)
    condition = parsed.condition
    return Counted(
        kind=parsed.type.name.lower(),
        of=tuple(dict.fromkeys(of)),
        group=tuple(parsed.group_by or ()),
        field=condition.fieldref or "",
        span=parsed.timespan.seconds,
        least=int(condition.count) + (condition.op.name == "GT"),
    )


def _uncounted(parsed: Any) -> Iterator[str]:
    """Why a correlation cannot be counted."""
    from sigma.correlations import SigmaCorrelationCondition

    kind, condition = parsed.type.name.lower(), parsed.condition
    if kind not in get_args(Kind):
        yield f"correlations of type {kind} are not counted; {', '.join(get_args(Kind))} are"
    if not parsed.rules:
        yield "it names no rules whose lines count"
    if len(parsed.aliases):
        yield "aliases have nothing to do: every line has the same fields"
    if parsed.timespan.seconds > MOST_SPAN:
        yield f"its timespan is longer than {MOST_SPAN // 3600} hours"
    yield from meaning.known(list(parsed.group_by or []))
    if isinstance(condition, SigmaCorrelationCondition):
        yield from _unreached(kind, condition, len({one.reference for one in parsed.rules or []}))
    else:
        yield "its condition is an expression: only how many of the rules matched is counted"


def _unreached(kind: str, condition: Any, rules: int) -> Iterator[str]:
    """What is wrong with a threshold."""
    if condition.op.name not in ("GT", "GTE"):
        yield f"{condition.op.name.lower()} is not counted: lines that are missing tell of nothing"
    least = condition.count + (condition.op.name == "GT")
    if least != int(least) or not 1 <= least <= MOST_LEAST:
        yield f"its threshold is a whole number from 1 to {MOST_LEAST}"
    if kind == "value_count" and not isinstance(condition.fieldref, str):
        yield "value_count needs one field in its condition"
    elif kind == "value_count":
        yield from meaning.known([condition.fieldref])
    elif condition.fieldref is not None:
        yield f"{kind} counts no field"
    if kind.startswith("temporal") and least > rules:
        yield f"its threshold is beyond the {rules} rules that it names"
    if kind == "temporal_ordered" and least < rules:
        yield "temporal_ordered is counted for all of its rules together only"


def _rule(
    document: Document,
    parsed: Any,
    *,
    queries: tuple[str, ...] = (),
    fields: tuple[str, ...] = (),
    counted: Counted | None = None,
) -> Rule:
    return Rule(
        key=str(parsed.id),
        title=parsed.title,
        file=document.file,
        level=None if parsed.level is None else parsed.level.name.lower(),
        queries=queries,
        fields=fields,
        counted=counted,
        description=parsed.description or "",
        falsepositives=tuple(map(str, parsed.falsepositives or ())),
        tags=tuple(map(str, parsed.tags or ())),
    )
