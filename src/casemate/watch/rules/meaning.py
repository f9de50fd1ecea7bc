"""What rules may say about lines: what pySigma reads is checked here before its back end translates
it, because it translates some of it into something else than the author meant, without a word.
"""

import fnmatch
import re
from collections.abc import Iterator
from typing import Any

from casemate.watch.rules.fields import NUMBERS, TIME, WORDS, unknown
from casemate.watch.rules.table import expression

TEXT = ("contains", "startswith", "endswith", "all", "cased", "base64", "base64offset", "neq")
EXPRESSIONS = ("re", "i", "ignorecase", "m", "multiline", "s", "dotall")
PARTS = ("minute", "hour", "day", "month", "year")
COMPARISONS = ("gt", "gte", "lt", "lte")
TRANSLATED = frozenset({*TEXT, *EXPRESSIONS, *PARTS, *COMPARISONS, "exists", "fieldref"})
REFUSED = {
    "wide": "lines are UTF-8",
    "utf16": "lines are UTF-8",
    "utf16be": "lines are UTF-8",
    "windash": "it is for command lines",
    "cidr": "no field holds an address",
    "expand": "there are no placeholders to put in",
    "week": "SQLite counts weeks in another way than ISO 8601",
}
"""Modifiers that are refused, and why."""
MOST_VALUES = 500
"""In one rule."""
MOST_CHARACTERS = 1_000
"""Of one value, and of a condition."""
MOST_NESTED = 50
"""Brackets and negations of a condition: pySigma calls itself for each."""
SERVICES = {"audit": "casemate.audit", "request": "casemate.request"}
"""What a log source may name -> the data set."""


def check(rule: Any, raw: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a rule about single lines.

    Args:
        rule: pySigma's `SigmaRule`.
        raw: what it was made of.
    """
    yield from _source(rule.logsource)
    detection = raw["detection"]
    if "timeframe" in detection:
        yield "timeframe has no effect in a detection: write a correlation with a timespan"
    yield from _conditions(detection, list(rule.detection.detections))
    items = _all(rule)
    if sum(len(item.value) for item in items) > MOST_VALUES:
        yield f"it has more than {MOST_VALUES} values"
    for item in items:
        yield from _item(item)


def fields(rule: Any) -> set[str]:
    """Every field that a rule's SQL can read."""
    from sigma.types import SigmaFieldReference

    found = {TIME}
    for item in _all(rule):
        found.add(item.field)
        found |= {one.field for one in item.value if isinstance(one, SigmaFieldReference)}
    return found


def _all(rule: Any) -> list[Any]:
    return [
        item for one in rule.detection.detections.values() for item in _items(one.detection_items)
    ]


def _source(source: Any) -> Iterator[str]:
    if source.product != "casemate":
        yield "logsource.product is not casemate, so it is about other lines"
    if source.category is not None:
        yield "logsource.category is not known: leave it out"
    if source.service is not None and source.service not in SERVICES:
        yield f"logsource.service is one of {', '.join(SERVICES)}, or left out"


def _conditions(detection: dict[str, Any], names: list[str]) -> Iterator[str]:
    given = detection.get("condition")
    conditions = given if isinstance(given, list) else [given]
    used = set()
    for one in map(str, conditions):
        if len(one) > MOST_CHARACTERS or one.count("(") + len(re.findall(r"\bnot\b", one)) > (
            MOST_NESTED
        ):
            yield "its condition is too long or nested too deeply"
        for word in re.findall(r"[\w*-]+", one):
            pattern = "[!_]*" if word == "them" else word
            used |= set(fnmatch.filter(names, pattern))
    unused = sorted(set(names) - used)
    if unused:
        yield f"no condition uses {', '.join(unused)[:200]}"


def _items(items: list[Any]) -> Iterator[Any]:
    for item in items:
        if hasattr(item, "detection_items"):
            yield from _items(item.detection_items)
        else:
            yield item


def _item(item: Any) -> Iterator[str]:
    from sigma.modifiers import reverse_modifier_mapping

    if item.field is None:
        yield "words without a field are not looked for: name one, such as message|contains"
        return
    wrong = unknown(item.field)
    if wrong is not None:
        yield wrong
        return
    modifiers = [reverse_modifier_mapping[one.__name__] for one in item.modifiers]
    for modifier in modifiers:
        if modifier not in TRANSLATED:
            yield f"{item.field}|{modifier} is refused: {REFUSED.get(modifier, 'unknown here')}"
    if not item.value:
        yield f"{item.field} has an empty list, which would hold for every line without the field"
    is_part = any(one in PARTS for one in modifiers)
    if is_part and item.field != TIME:
        yield f"{item.field} is no time: parts of a time are those of {TIME}"
    if any(one in COMPARISONS for one in modifiers) and not (is_part or item.field in NUMBERS):
        yield f"{item.field} is no number, so nothing is less or greater"
    for value in item.value:
        yield from _value(item.field, modifiers, value)


def _value(field: str, modifiers: list[str], value: Any) -> Iterator[str]:
    from sigma.types import (
        SigmaCasedString,
        SigmaFieldReference,
        SigmaRegularExpression,
        SigmaString,
    )

    if isinstance(value, SigmaFieldReference):
        wrong = unknown(value.field)
        if wrong is not None:
            yield wrong
        return
    if isinstance(value, SigmaRegularExpression):
        yield from _expression(str(value.regexp))
        return
    if not isinstance(value, SigmaString):
        return
    text = str(value)
    if len(text) > MOST_CHARACTERS or "\0" in text:
        yield f"a value of {field} is longer than {MOST_CHARACTERS} characters or has a NUL"
    if not text.isascii() and not isinstance(value, SigmaCasedString):
        yield (
            f"{field} has {text[:40]!r}: of letters beyond ASCII SQLite does not ignore the case;"
            " say |cased, or |re|i"
        )
    words = WORDS.get(field, ())
    if words and not modifiers and not value.contains_special() and text.lower() not in words:
        yield f"{field} is one of {', '.join(words)}, never {text[:40]!r}"


def _expression(pattern: str) -> Iterator[str]:
    import re2

    if len(pattern) > MOST_CHARACTERS:
        yield f"a regular expression is longer than {MOST_CHARACTERS} characters"
        return
    try:
        expression(pattern)
    except re2.error as error:
        yield f"RE2 has no such regular expression as {pattern[:80]!r}: {error}"


def known(fields: list[str]) -> Iterator[str]:
    """What is wrong with names of fields in a correlation."""
    for field in fields:
        wrong = unknown(field)
        if wrong is not None:
            yield wrong
