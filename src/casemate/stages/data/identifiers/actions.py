"""What is done with each column, and doing it."""

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from casemate.config.deidentify import DeidentifyTable
from casemate.core.errors import ConfigError
from casemate.stages.data.identifiers import ages, dates, patterns, zips
from casemate.stages.data.identifiers.cells import Cells
from casemate.stages.data.identifiers.columns import ColumnFound
from casemate.stages.data.identifiers.secret import Key

Action = Literal[
    "kept",
    "dropped",
    "pseudonym",
    "year",
    "shifted",
    "zip3",
    "age",
    "redacted",
    "generalised",
]
REPLACED = ("pseudonym", "year", "shifted", "zip3", "age", "generalised")
"""After these a column's name says nothing any more of its cells."""
TAKEN = ("dropped", "pseudonym", "zip3", "year", "shifted")
"""After these a cell of the source may stand nowhere else in its row."""
SHORTEST = 3
"""Letters or digits from which a value of the row is looked for in its free text."""
LONG = 4
"""Letters or digits from which a cell that equals an identifier of its row is no coincidence."""
NO_NAMES = frozenset(
    ("the", "and", "for", "mrs", "miss", "prof", "herr", "frau", "mme", "von", "van", "del", "der")
)
"""Words of names that are words of any text as well."""
Array = np.ndarray[Any, Any]


def planned(
    found: Sequence[ColumnFound], plan: DeidentifyTable, key: Key | None
) -> dict[str, Action]:
    """What is to be done with each column.

    Raises:
        ConfigError: the plan names columns that there are not, or needs a key or a subject.
    """
    _require_possible([one.column for one in found], plan, key)
    return {one.column: _action(one, plan, key) for one in found}


def _require_possible(names: Sequence[str], plan: DeidentifyTable, key: Key | None) -> None:
    named = [
        *([plan.subject] if plan.subject else []),
        *(plan.columns), *(plan.pseudonyms), *plan.drop, *(plan.keep), *plan.quasi,
        *plan.sensitive, *(plan.widths), *(plan.hierarchies),
    ]  # fmt: skip
    unknown = sorted({name for name in named if name not in names})
    if unknown:
        raise ConfigError(
            f"the table has no column {unknown[0]!r}",
            hint=f"its columns: {', '.join(map(patterns.shown, names[:30]))}",
        )
    if plan.pseudonyms and key is None:
        raise ConfigError("pseudonyms need a key", hint="give --key file:PATH or env:NAME")
    if plan.dates == "shift" and (key is None or plan.subject is None):
        raise ConfigError(
            "dates are moved by subject, under a key", hint="give --subject COLUMN and --key"
        )
    if plan.method == "k-anonymity" and not plan.quasi:
        raise ConfigError(
            "k-anonymity needs quasi-identifiers",
            hint="name with --quasi what others may know of people, such as age, ZIP code, sex",
        )
    told = [*plan.drop, *plan.pseudonyms, *plan.keep]
    if plan.subject is not None and plan.subject not in plan.pseudonyms:
        told.append(plan.subject)
    if plan.method == "k-anonymity":
        told += [*plan.quasi, *plan.sensitive]
    twice = sorted({name for name in told if told.count(name) > 1})
    if twice:
        raise ConfigError(
            f"{twice[0]!r} is to be treated in two ways",
            hint="name it once among subject, pseudonyms, drop, keep, quasi and sensitive",
        )


def _action(one: ColumnFound, plan: DeidentifyTable, key: Key | None) -> Action:
    """What the plan says of a column, or else what it holds."""
    name = one.column
    if name in plan.drop:
        return "dropped"
    if name in plan.pseudonyms or name == plan.subject:
        return "dropped" if key is None else "pseudonym"
    if plan.method == "k-anonymity" and name in plan.quasi:
        return "generalised"
    if name in plan.keep:
        return "redacted" if one.free_text else "kept"
    return "kept" if plan.columns.get(name) == "none" else _by_kind(one, plan)


def _by_kind(one: ColumnFound, plan: DeidentifyTable) -> Action:
    if one.kind is None:
        return "redacted" if one.evidence or one.free_text else "kept"
    if one.kind == "date":
        return "year" if plan.dates == "year" else "shifted"
    return "zip3" if one.kind == "zip" else "age" if one.kind == "age" else "dropped"


@dataclass
class Done:
    """A table after the actions, and how many cells each changed."""

    table: pa.Table
    changed: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    known: list[list[tuple[str, str]]] = field(default_factory=list)
    """Of each row, words that its identifiers are made of, with what takes their place."""


def apply(
    table: pa.Table,
    found: Sequence[ColumnFound],
    actions: Mapping[str, Action],
    plan: DeidentifyTable,
    key: Key | None,
    today: datetime.date,
) -> Done:
    """The table after everything but generalisation, columns and rows in their order."""
    kinds = {one.column: one.kind for one in found}
    done = Done(table)
    if "shifted" in actions.values() and key is not None and plan.subject is not None:
        _shift(done, actions, plan, key, plan.subject)
    times = [
        cells
        for name, action in actions.items()
        if action in ("year", "shifted") and (cells := Cells(name, done.table[name])).date_form
    ]
    # rows that a pseudonym joins show an age together
    joining = {name for name, action in actions.items() if action == "pseudonym"}
    if plan.subject is not None:
        joining.add(plan.subject)
    whose = [Cells(name, table[name]) for name in sorted(joining)]
    latest = dates.latest_years(times, whose, table.num_rows, today.year)
    if "redacted" in actions.values():
        done.known = _known(table, kinds, actions)
    for name, action in actions.items():
        cells = Cells(name, done.table[name])
        if action == "dropped":
            done.table = done.table.drop_columns([name])
            done.changed[name] = cells.filled
            continue
        made: dates.Changed | None
        if action == "pseudonym" and key is not None:
            made = _pseudonyms(cells, plan, key)
        elif action == "redacted":
            made = _redacted(cells, done.known)
        elif action == "shifted" and cells.date_form:
            _replace(done, name, dates.grouped(cells, latest))
            continue
        else:
            made = _made(cells, action, latest, plan, today)
        if made is not None:
            _replace(done, name, made.cells)
            done.changed[name], done.lost[name] = made.changed, made.lost
    return done


def _replace(done: Done, name: str, cells: pa.ChunkedArray) -> None:
    done.table = done.table.set_column(done.table.column_names.index(name), name, cells)


def _shift(
    done: Done, actions: Mapping[str, Action], plan: DeidentifyTable, key: Key, subject: str
) -> None:
    whose = Cells(subject, done.table[subject])
    name = plan.pseudonyms.get(subject, "subject")
    of = {text: key.days(text.strip(), name) for text in whose.different.to_pylist()}
    days = dates.offsets(whose.text.to_pylist(), of)
    for name, action in actions.items():
        cells = Cells(name, done.table[name])
        if action == "shifted" and cells.date_form:
            made = dates.shifted(cells, days)
            _replace(done, name, made.cells)
            done.changed[name], done.lost[name] = made.changed, made.lost


def _pseudonyms(cells: Cells, plan: DeidentifyTable, key: Key) -> dates.Changed:
    shared = plan.pseudonyms.get(cells.name, "subject")
    return _each(cells, lambda text: key.pseudonym(text.strip(), shared))


def _made(
    cells: Cells, action: Action, latest: Array, plan: DeidentifyTable, today: datetime.date
) -> dates.Changed | None:
    if action in ("year", "shifted") and not cells.date_form:
        if ages.are_years(cells, today.year):
            return ages.years(cells, latest)
        gone = pa.nulls(len(cells.column), pa.string())  # said to be dates, and are none
        return dates.Changed(pa.chunked_array([gone]), 0, cells.filled)
    if action == "year":
        return dates.years(cells, latest)
    if action == "zip3":
        few = zips.FEW_PEOPLE if plan.few_people is None else plan.few_people
        whole = str.strip if cells.is_text else zips.whole
        return _each(cells, lambda text: zips.first_three(whole(text), few))
    if action == "age":
        by_year = ages.are_birth_years(cells, today.year)
        return ages.years(cells, latest) if by_year else ages.grouped(cells)
    return None


def _each(cells: Cells, change: Any) -> dates.Changed:
    """Every different cell changed once; None makes it missing."""
    made = {text: change(text) for text in cells.different.to_pylist()}
    column = pa.array([made.get(text) for text in cells.text.to_pylist()], pa.string())
    return dates.Changed(
        pa.chunked_array([column]),
        len(column) - column.null_count,
        column.null_count - cells.text.null_count,
    )


def _known(
    table: pa.Table, kinds: Mapping[str, str | None], actions: Mapping[str, Action]
) -> list[list[tuple[str, str]]]:
    """What each row's own identifiers are made of, the longest first."""
    rows: list[list[tuple[str, str]]] = [[] for _ in range(table.num_rows)]
    for name, action in actions.items():
        if action not in TAKEN:
            continue
        kind = kinds[name] or "other-id"
        tag = f"[{kind.upper()}]"
        parts: dict[str, list[str]] = {}
        for row, text in enumerate(Cells(name, table[name]).text.to_pylist()):
            if text is None:
                continue
            if text not in parts:
                parts[text] = _parts(text, kind)
            rows[row] += [(part, tag) for part in parts[text]]
    for words in rows:
        words.sort(key=lambda one: -len(one[0]))
    return rows


def _parts(text: str, kind: str) -> list[str]:
    whole = text.strip()
    if kind == "name":
        words = re.findall(r"[^\W\d_][\w'-]*", whole)
        return [word for word in words if len(word) >= SHORTEST and word.lower() not in NO_NAMES]
    return [whole] if sum(sign.isalnum() for sign in whole) >= SHORTEST else []


def own(text: str, words: Sequence[tuple[str, str]]) -> list[patterns.Place]:
    """Where the row's own identifiers stand in a text."""
    lower = text.lower()
    return [
        (found.start(), found.end(), tag)
        for word, tag in words
        if word.lower() in lower
        for found in re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", text, flags=re.IGNORECASE)
    ]


def _redacted(cells: Cells, known: list[list[tuple[str, str]]]) -> dates.Changed:
    texts = cells.column.cast(pa.string()).to_pylist()
    different = pa.array(sorted({text for text in texts if text is not None}), pa.string())
    chosen = patterns.by_text(patterns.candidates(different))
    shaped = {
        (text := different[row].as_py()): patterns.places(text, usable)
        for row, usable in chosen.items()
    }
    made: list[str | None] = []
    changed = 0
    for text, words in zip(texts, known, strict=True):
        if text is None:
            made.append(None)
            continue
        after, count = patterns.replaced(text, [*shaped.get(text, ()), *own(text, words)])
        made.append(after)
        changed += bool(count)
    return dates.Changed(pa.chunked_array([pa.array(made, pa.string())]), changed)
