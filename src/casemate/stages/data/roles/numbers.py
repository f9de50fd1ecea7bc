"""Numbers as people write them, and numbers that stand for "missing"."""

import dataclasses
import json

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import structs

from casemate.config import ColumnTable
from casemate.stages.data import notation
from casemate.stages.data.entries import line
from casemate.stages.data.odd import NOTABLE, examples
from casemate.stages.data.roles.types import Column, Role

MISSING_WORDS = frozenset(
    (
        *(
            "?",
            "unknown",
            "unk",
            "unkn",
            "missing",
            "none",
            "na",
            "n/a",
            "n.a.",
            "#n/a",
            "nan",
            "nil",
            "null",
            "k.a.",
            "k. a.",
            "n.b.",
            "n. b.",
            "n.d.",
            "unbekannt",
            "inconnu",
            "desconocido",
        ),
        *("-", "--", "---", ".", "..", "*", "undefined", "not_available", "not_known"),
        *("not available", "not applicable", "not known", "no data", "keine angabe"),
    )
)
"""Words for "missing", in small letters. They count as such in columns that otherwise hold numbers
or times.
"""
SENTINELS = tuple(
    float(value) for value in (-1, -9, -99, -999, -9999, -99999, 99, 999, 9999, 99999, 999999)
)
"""Numbers that people write for "missing" (survey code books; SAS and SPSS user-missing values)."""
OFTEN = 3
"""Rows that a sentinel has at least: one may be a slip."""
OTHERS = 10
"""Different other values from which a column measures something, and -1 is no code beside 0
and 1.
"""
APART = 1.0
"""A sentinel lies as far from the other values as those spread, or is the only one below 0."""
MOSTLY = 0.5
"""Share of cells that are numbers from which a column is asked about rather than taken for text."""


def amounts(column: Column) -> Role | None:
    """A column of numbers: plain ones, amounts, percent, thousands, decimal commas, censored ones;
    words for "missing" taken out.
    """
    if column.plain is not None:
        blank = ColumnTable(type="number", missing=[""]) if column.blanks else ColumnTable()
        return column.role(
            "number", blank, "numbers", _lost(column.blanks, ["blanks"]) if column.blanks else ""
        )
    if not column.is_text or not _promising(column.sample):
        return None
    marks = _marks(column)
    cells = (
        column.cells
        if not marks
        else pc.if_else(
            pc.is_in(column.cells, pa.array(marks)), pa.scalar(None, pa.string()), column.cells
        )
    )
    count = len(cells) - cells.null_count
    entry, found = max(_readings(column, cells), key=lambda pair: len(pair[1]) - pair[1].null_count)
    read = len(found) - found.null_count
    if count == 0 or read < MOSTLY * count:
        return None
    wrong = cells.filter(pc.and_(pc.is_valid(cells), pc.is_null(found)))
    entry = structs.replace(
        entry, type="number", missing=[*marks, *([""] if column.blanks else [])]
    )
    if len(wrong) > NOTABLE * count:
        return unsure(column, wrong, entry)
    note = _lost(column.count - count, marks)
    if len(wrong):
        entry = structs.replace(entry, coerce=True)
        note += (
            f"{'; ' if note else ''}{len(wrong)} cells are no numbers and become missing:"
            f" {examples(wrong)}"
        )
    if entry.censored:
        limits = found.filter(
            pc.fill_null(pc.match_substring_regex(cells, notation.CENSORED), False)
        )
        note += (
            f"{'; ' if note else ''}{len(limits)} censored cells are read as their limit,"
            f" {column.name}_censored says which"
        )
    unusual = cells.filter(
        pc.and_(
            pc.is_valid(found),
            pc.invert(pc.match_substring_regex(pc.fill_null(cells, ""), notation.PLAIN)),
        )
    )
    return column.role(
        "number", entry, _why(entry, unusual), note, unusual if len(unusual) else None
    )


def _promising(sample: pa.ChunkedArray) -> bool:
    """Whether about half of the cells end or begin as numbers do; cheap, before anything is
    read.
    """
    digits = (
        pc.sum(
            pc.match_substring_regex(
                sample,
                r"^[^\pL]{0,4}\d[\d.,'\s]*\D{0,4}$|^(USD|EUR|GBP|CHF|[A-Z]{2,3})\s?\d|^(?i:true|false)$",
            )
        ).as_py()
        or 0
    )
    return bool(digits >= MOSTLY * 0.9 * len(sample))


def _marks(column: Column) -> list[str]:
    """Words for "missing" among the cells, as they are written."""
    words = pc.unique(
        column.valid.filter(pc.invert(pc.match_substring_regex(column.valid, r"\d")))
    ).to_pylist()
    return sorted(word for word in words[:1000] if word.lower() in MISSING_WORDS)


def _readings(column: Column, cells: pa.ChunkedArray) -> list[tuple[ColumnTable, pa.ChunkedArray]]:
    """Every way to read the cells that something in them asks for, the plain one first."""
    censored = bool(pc.any(pc.match_substring_regex(cells, notation.CENSORED)).as_py())
    if column.parts_thousands:
        return [
            (ColumnTable(decimal=",", censored=censored), notation.numbers(cells, ",", censored))
        ]
    found = [(ColumnTable(censored=censored), notation.numbers(cells, censored=censored))]
    if pc.any(
        pc.match_substring_regex(cells, rf"[,%'\s]|{notation.MONEY}|^\(|\.\d+\.|\d\.-")
    ).as_py():
        signs = [","] if _comma_is_decimal(cells) else ["."]
        found += [
            (ColumnTable(decimal=sign, censored=censored), notation.numbers(cells, sign, censored))  # type: ignore[arg-type]
            for sign in signs
        ]
    return found


def _comma_is_decimal(cells: pa.ChunkedArray) -> bool:
    """Whether a comma parts the fraction: where it stands last, or is not followed by three digits,
    or follows a lone 0.
    """

    def some(pattern: str) -> int:
        return pc.sum(pc.match_substring_regex(cells, pattern)).as_py() or 0

    decimal = some(
        rf"\d\.\d{{3}},\d|^\D*0,\d|^[^,]*,(\d{{1,2}}|\d{{4,}}|{notation.NO_CENTS})(\D*)$"
    )
    thousands = some(r",\d{3}\.\d|,\d{3},\d{3}|^[^,]*\.\d{1,2}\D*$")
    dotted = some(r"\.\d{3}\.\d{3}")
    return bool(decimal + dotted > thousands)


def unsure(column: Column, wrong: pa.ChunkedArray, entry: ColumnTable) -> Role:
    """More than a slip: the cells stay as they are, and the owner says what they are."""
    what = "times" if entry.type == "time" else "numbers"
    read = line(column.name, structs.replace(entry, coerce=True))
    few = column.distinct <= 50
    kept = ColumnTable(type="category") if few else ColumnTable(type="text", use=False)
    now = "kept as a category" if few else "left out"
    note = (
        f"{len(wrong)} of {column.count} cells are no {what} ({examples(wrong)}): {now}; to read"
        f" these as missing: {read}"
    )
    return column.role("unsure", kept, f"mostly {what}", note, wrong)


def _lost(count: int, marks: list[str]) -> str:
    return f"{count} cells mean missing: {', '.join(map(repr, marks))}" if marks else ""


def _why(entry: ColumnTable, unusual: pa.ChunkedArray) -> str:
    signs = [("%", "percent"), (notation.MONEY, "a currency")]
    found = [
        word
        for sign, word in signs
        if len(unusual) and pc.any(pc.match_substring_regex(unusual, sign)).as_py()
    ]
    found += ["decimal commas"] if entry.decimal == "," else []
    found += ["thousands"] if entry.decimal == "." and not found else []
    found += ["censored values"] if entry.censored else []
    return "numbers" + (f" with {' and '.join(found)}" if found else "")


def sentinels(column: Column, role: Role) -> Role:
    """`role`, with numbers that surely mean "missing" declared so, and others told."""
    if (
        role.role != "number"
        or column.plain is None
        or not column.count
        or pa.types.is_boolean(column.cells.type)
    ):
        return role
    low, high = column.extremes
    strong: list[tuple[float, int]] = []
    weak: list[tuple[float, int]] = []
    for value in SENTINELS:
        if value not in (low, high):
            continue
        rows = pc.sum(pc.equal(column.plain, value)).as_py() or 0
        others = column.plain.filter(pc.not_equal(column.plain, value)).drop_null()
        if rows < OFTEN or len(others) < OFTEN:
            continue
        spread = pc.min_max(others).as_py()
        width = spread["max"] - spread["min"]
        alone = (
            value < 0 <= spread["min"]
            or min(abs(value - spread["min"]), abs(value - spread["max"])) > APART * width
        )
        if not alone:
            continue
        measured = pc.count_distinct(others).as_py() > OTHERS
        sure = measured and (value != 99 or width < 60)
        (strong if sure else weak).append((value, rows))
    if strong:
        marks = [f"{value:g}" for value, _ in strong]
        told = ", ".join(f"{value:g} in {rows} rows" for value, rows in strong)
        note = (
            f"{told} lies apart from all other values and is taken for missing (missing ="
            f" {json.dumps(marks)})"
        )
        return dataclasses.replace(
            role,
            entry=structs.replace(role.entry, type="number", missing=[*role.entry.missing, *marks]),
            note=_and(role.note, note),
        )
    if weak:
        told = ", ".join(f"{value:g} in {rows} rows" for value, rows in weak)
        return dataclasses.replace(
            role, note=_and(role.note, f"{told} may mean missing: if so, say missing = [...]")
        )
    return role


def _and(*texts: str) -> str:
    return "; ".join(text for text in texts if text)
