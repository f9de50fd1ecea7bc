"""What people ask the log store: tantivy's query language with the names of our fields, bounded.

Names are resolved and values that hold a colon are quoted here, because tantivy says of a mistake
that there is one, and not where.
"""

import datetime
import re
from collections.abc import Callable
from dataclasses import dataclass

from casemate.core.errors import ConfigError
from casemate.core.text import clean

MOST_QUERY = 1_000
"""Characters of a query."""
MOST_CLAUSES = 64
"""Words and values of a query: each is looked up in every day."""
MOST_DEPTH = 10
"""Brackets within brackets: tantivy's parser calls itself for each."""
NAMES = (
    "level",
    "dataset",
    "kind",
    "action",
    "outcome",
    "reason",
    "user",
    "service",
    "node",
    "method",
    "code",
    "rule",
    "resource",
    "model",
    "run",
    "stage",
)
"""Fields that hold a name: found by all of it, and counted by."""
IDENTIFIERS = ("id", "request", "trace")
"""Fields that hold something different in nearly every line: found by all of it."""
NUMBERS = ("status", "duration", "size")
NAMED = "name"
"""The field of documents that has the names as an object: one field costs a byte a line for its
length, whatever is in it, and 16 fields would cost 16.
"""
FIELDS = {
    **{name: f"{NAMED}.{name}" for name in NAMES},
    **{name: name for name in (*IDENTIFIERS, *NUMBERS, "message", "time")},
}
"""What can be asked for, and tantivy's field."""
ALIASES = {
    "@timestamp": "time",
    "log.level": "level",
    "event.id": "id",
    "event.dataset": "dataset",
    "event.kind": "kind",
    "event.action": "action",
    "event.outcome": "outcome",
    "event.reason": "reason",
    "event.duration": "duration",
    "user.name": "user",
    "principal": "user",
    "service.name": "service",
    "service.node.name": "node",
    "trace.id": "trace",
    "http.request.id": "request",
    "http.request.method": "method",
    "http.response.status_code": "status",
    "http.response.body.bytes": "size",
    "error.code": "code",
    "rule.name": "rule",
    "route": "action",
    **{f"labels.{name}": name for name in ("resource", "model", "run", "stage")},
}
"""Other names of the same: those of the Elastic Common Schema, and the policies' and the gateway's
words.
"""
_PIECES = re.compile(
    r"""(?P<space>\s+)
    |(?P<phrase>"(?:[^"\\]|\\.)*"(?:~\d+|\*)?)
    |(?P<open>\()
    |(?P<close>\)(?:\^[\d.]+)?)
    |(?P<field>[@A-Za-z_][\w.@]*):(?!:)
    |(?P<word>[^\s()"]+)""",
    re.VERBOSE,
)
_VALUE = re.compile(
    r"""[\[{][^\[\]{}]{1,200}[\]}]      # a range: [400 TO 499]
    |IN\s*\[[^\[\]]{1,600}\]            # one of several
    |(?:>=|<=|>|<)[^\s()"]+
    |"(?:[^"\\]|\\.)*"(?:~\d+|\*)?
    |[^\s()"][^\s()]*""",
    re.VERBOSE,
)
_ONE_OF = re.compile(r"IN\s*\[")
_PLAIN = re.compile(r"[\w.@-]+|\*")
WORDS = ("message", *IDENTIFIERS)
"""Fields that a word without a field is looked for in."""
OPERATORS = ("AND", "OR", "NOT")


@dataclass(frozen=True)
class Query:
    """A query whose names and bounds hold."""

    text: str = "*"
    """In tantivy's words; `*` for everything."""
    since: datetime.datetime | None = None
    """No older lines."""
    until: datetime.datetime | None = None
    """Only older ones."""
    hidden: str = ""
    """A data set whose lines are not shown."""


def parse(
    text: str,
    since: datetime.datetime | None = None,
    until: datetime.datetime | None = None,
    hidden: str = "",
) -> Query:
    """Read a query; "" asks for everything.

    Args:
        text: as people write it.
        since: see `Query`.
        until: see `Query`.
        hidden: see `Query`.

    Raises:
        ConfigError: where it is wrong, and what to write.
    """
    if len(text) > MOST_QUERY:
        raise ConfigError(
            f"the query has {len(text)} characters, {MOST_QUERY} may be",
            hint="ask for less at once",
        )
    if not text.strip():
        return Query("*", since, until, hidden)
    reading = _Reading(text)
    while reading.at < len(text):
        reading.step()
    return Query(reading.ended(), since, until, hidden)


class _Reading:
    """A query as far as it was read."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.out: list[str] = []
        self.opened: list[int] = []
        self.clauses = 0
        self.operator: int | None = None
        """Where an operator stands that waits for what it joins."""

    def wrong(self, at: int, what: str, hint: str) -> ConfigError:
        shown = clean(self.text, MOST_QUERY)
        return ConfigError(f"character {at + 1} of the query {shown!r}: {what}", hint=hint)

    def step(self) -> None:
        found = _PIECES.match(self.text, self.at)
        if found is None:
            raise self.wrong(self.at, "a quotation mark is not closed", 'write "two words"')
        start, self.at = self.at, found.end()
        kind, piece = str(found.lastgroup), found[0]
        handle: Callable[[int, str], None] = getattr(self, f"_{kind}")
        handle(start, piece)

    def _space(self, start: int, piece: str) -> None:
        self.out.append(" ")

    def _open(self, start: int, piece: str) -> None:
        self.opened.append(start)
        self.out.append(piece)
        if len(self.opened) > MOST_DEPTH:
            hint = "ask more than one question"
            raise self.wrong(start, f"more than {MOST_DEPTH} brackets in one another", hint)

    def _close(self, start: int, piece: str) -> None:
        if not self.opened:
            raise self.wrong(start, "nothing was opened that this bracket closes", "leave it out")
        if self.operator is not None:
            raise self.wrong(self.operator, "nothing follows this word", "write what it joins")
        self.opened.pop()
        self.out.append(piece)

    def _phrase(self, start: int, piece: str) -> None:
        self._count(start)
        self.out.append(piece)

    def _field(self, start: int, piece: str) -> None:
        name = piece[:-1]
        field = FIELDS.get(ALIASES.get(name, name))
        if field is None:
            raise self.wrong(
                start,
                f"there is no field {name!r}",
                f"fields are {', '.join(sorted(FIELDS))}; a word that holds a colon is written in"
                f' quotation marks: "{name}:..."',
            )
        value = _VALUE.match(self.text, self.at)
        if value is None:
            hint = f'write {name}:word, {name}:"two words", {name}:IN [one other] or {name}:*'
            raise self.wrong(self.at, f"no value follows {name}:", hint)
        self.at = value.end()
        self._count(start)
        if value[0] == "*" and field in WORDS:
            hint = "write a word; * stands for any name, such as code:*"
            raise self.wrong(start, f"{name}:* asks for everything", hint)
        if field == FIELDS["user"] and _PLAIN.fullmatch(value[0]) and value[0] != "*":
            # people say ana, the log User::"ana"
            whole = [_quoted(f'{kind}::"{value[0]}"') for kind in ("User", "Service")]
            self.out.append(f"{field}:IN [{value[0]} {' '.join(whole)}]")
            return
        said = self._value(start, name, value[0])
        # what a request's line is known by is its request id, which is indexed once
        self.out.append(
            f"(request:{said} OR id:{said})" if field == "request" else f"{field}:{said}"
        )

    def _value(self, start: int, name: str, value: str) -> str:
        if value[0] in '[{<>"' or _ONE_OF.match(value) or _PLAIN.fullmatch(value):
            return value
        self._whole(start, value)
        return _quoted(value)

    def _word(self, start: int, piece: str) -> None:
        if piece in OPERATORS:
            if piece != "NOT" and (self.operator is not None or not "".join(self.out).strip()):
                raise self.wrong(start, f"nothing stands before {piece}", "write what it joins")
            self.operator = start
            self.out.append(piece)
            return
        if piece[0] in "+-":
            # what follows is read next: -word, -level:info, -"two words", -(a b)
            self.at = start + 1
            if self.text[self.at : self.at + 1] in ("", *" \t)+-"):
                raise self.wrong(start, "a sign without a word", "write -word")
            self.out.append(piece[0])
            return
        self._count(start)
        if not _PLAIN.fullmatch(piece):
            self._whole(start, piece)
        self.out.append(piece if _PLAIN.fullmatch(piece) else _quoted(piece))

    def _whole(self, start: int, word: str) -> None:
        """No pattern: each would be compared with every word that there is."""
        if word.startswith("/") and word.endswith("/") and len(word) > 2:
            hint = "regular expressions are not searched by; casemate logs sql has regexp_matches"
            raise self.wrong(start, f"{word!r} is a regular expression", hint)
        if "*" in word or "?" in word:
            hint = (
                "words are found by all of their letters; of a phrase the last word may be begun:"
                ' message:"could not be wri"*'
            )
            raise self.wrong(start, f"{word!r} is a pattern", hint)

    def _count(self, start: int) -> None:
        self.operator = None
        self.clauses += 1
        if self.clauses > MOST_CLAUSES:
            hint = "ask more than one question"
            raise self.wrong(start, f"more than {MOST_CLAUSES} words and values", hint)

    def ended(self) -> str:
        """The query, if nothing is missing."""
        if self.opened:
            raise self.wrong(self.opened[-1], "this bracket is not closed", "write )")
        if self.operator is not None:
            raise self.wrong(self.operator, "nothing follows this word", "write what it joins")
        return "".join(self.out).strip()


def _quoted(value: str) -> str:
    """What tantivy would else take for its own signs: run:start, Model::"m", 2026-11-29T08:00Z."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
