"""What a table's columns hold that tells who somebody is: by their cells, and by their names where
the cells allow it.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from casemate.config.deidentify import Identifier
from casemate.core.clock import SystemClock
from casemate.core.types import Record
from casemate.stages.data.identifiers import ages, checks, patterns
from casemate.stages.data.identifiers.cells import MOSTLY, Cells
from casemate.stages.data.identifiers.dates import GROUP
from casemate.stages.data.identifiers.kinds import KINDS, called
from casemate.stages.data.identifiers.shapes import Pattern

Sure = Literal["checksum", "shape", "name"]
HALF = 0.5
"""Share of cells with so many digits that must have a right check digit: of numbers at random it is
one in ten, so half of five is one chance in a hundred."""
FEW = 5
"""Bare digits are judged by their check digit from so many different cells on."""
CODES, CODES_SHARE = 20, 0.5
"""A code is somebody's own if it has so many different values, or so large a share of them is
different; fewer are categories."""
UNIQUE = 50
"""From so many cells on, codes that never repeat and have one outline are taken for identifiers."""
PHOTOS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\x00", b"MM\x00*")
"""What JPEG, PNG, GIF, BMP and TIFF begin with."""
DIGITS = r"^[\s\d.,+-]{0,8}$"
"""Numbers too short for anything that is looked for by shape."""
NOT_LOOKED_FOR = (
    (
        "names of people in free text, other than after a title (Mr, Dr) and those that the row's"
        " own columns hold"
    ),
    (
        "dates in free text that are written 3.4.24, without digits (last Monday),"
        " or as a year alone"
    ),
    "names of places in free text, other than streets and ZIP codes",
    (
        "national telephone numbers of other countries than the United States, other than by the"
        " column's name"
    ),
    "what a photograph, a scan or a recording shows",
    "anything that tells who somebody is only together with other data",
)
"""What no answer of a scan is about."""


class Evidence(Record, frozen=True, kw_only=True):
    """One kind that a column seems to hold."""

    kind: Identifier
    letter: str
    """Paragraph of 45 CFR 164.514(b)(2)(i)."""
    sure: Sure
    """`checksum`: check digits are right; `shape`: it is written so; `name`: the column is called
    so, and the cells may be it."""
    share: float
    """Of the cells that are not missing."""
    cells: int
    inside: bool = False
    """Whether it stands among other words."""
    example: str = ""
    """Outline of one value: letters are `a`, digits `9`."""


class ColumnFound(Record, frozen=True, kw_only=True):
    """What is known of one column."""

    column: str
    type: str
    filled: int
    free_text: bool
    evidence: list[Evidence]
    """The surest first; empty: nothing was found."""

    @property
    def kind(self) -> Identifier | None:
        """What the column as a whole is; None where identifiers stand among other words, or
        nowhere.
        """
        return next((one.kind for one in self.evidence if not one.inside), None)


def look(
    table: pa.Table,
    *,
    said: Mapping[str, str] | None = None,
    unnamed: Collection[str] = (),
) -> list[ColumnFound]:
    """What each column holds.

    Args:
        table: any table.
        said: what columns are, by who knows; `none` and `text` leave the cells to be looked at.
        unnamed: columns whose names say nothing, because their cells were replaced.

    Raises:
        ConfigError: the libraries of check digits are not installed.
    """
    checks.require_libraries()
    said = said or {}
    return [
        _column(Cells(name, table[name]), said.get(name), is_named=name not in unnamed)
        for name in table.column_names
    ]


def _column(cells: Cells, said: str | None, *, is_named: bool) -> ColumnFound:
    evidence: list[Evidence] = []
    free_text = said == "text" or (said is None and cells.is_free_text)
    if cells.filled:
        named = _by_name(cells) if is_named and said is None and not cells.date_form else []
        free_text = free_text and not named
        if said is not None and said not in ("text", "none"):
            evidence.append(_all(cells, said))  # type: ignore[arg-type]
        evidence += _dates(cells) if not free_text else []
        evidence += _old(cells, said) if is_named else []
        if not evidence:
            evidence += _by_content(cells, free_text=free_text)
        if named and named[0].kind == "fax" and evidence and evidence[0].kind == "phone":
            evidence[0] = msgspec.structs.replace(evidence[0], kind="fax", letter="E")
        if all(one.inside for one in evidence):
            evidence += named or (_unique(cells) if said is None and not free_text else [])
        evidence.sort(key=lambda one: (one.inside, ("checksum", "shape", "name").index(one.sure)))
    return ColumnFound(
        column=cells.name,
        type=str(cells.column.type),
        filled=cells.filled,
        free_text=free_text,
        evidence=evidence,
    )


def _all(cells: Cells, kind: Identifier) -> Evidence:
    return told(kind, "name", cells.filled, cells.filled, cells.different[0].as_py())


def told(
    kind: Identifier, sure: Sure, count: int, filled: int, example: str, *, inside: bool = False
) -> Evidence:
    """Evidence of `count` cells among `filled`; of `example` only the outline is kept."""
    return Evidence(
        kind=kind,
        letter=KINDS[kind].letter,
        sure=sure,
        share=round(count / filled, 6),
        cells=count,
        inside=inside,
        example=patterns.masked(example.strip()),
    )


def _dates(cells: Cells) -> list[Evidence]:
    if not cells.date_form:
        return []
    count = len(cells.times) - cells.times.null_count
    example = cells.different[0].as_py()
    return [told("date", "shape", count, cells.filled, example)] if count else []


def _old(cells: Cells, said: str | None) -> list[Evidence]:
    """Ages above 89, in a column that is called an age, and years of birth that tell them."""
    this_year = SystemClock().now().year
    if said in (None, "age") and ages.are_birth_years(cells, this_year):
        early = pc.sum(pc.less(cells.numbers, this_year - GROUP)).as_py() or 0
        return [told("age", "name", int(early), cells.filled, "9999")] if early else []
    if said != "age" and (said is not None or "age" not in called(cells.name)):
        return []
    if cells.date_form or cells.is_free_text:
        return []
    years = ages.ages(cells)
    plausible = ((years >= 0) & (years <= ages.OLDEST)).sum()
    old = (years > ages.OLD).sum()
    if not old or (said is None and plausible < MOSTLY * (~np.isnan(years)).sum()):
        return []
    return [told("age", "name", int(old), cells.filled, "99")]


def _by_content(cells: Cells, *, free_text: bool) -> list[Evidence]:
    kind = cells.column.type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return _photos(cells)
    if pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_temporal(kind):
        return []
    texts, counts = cells.different, cells.counts
    long = pc.invert(pc.match_substring_regex(texts, DIGITS))
    texts, counts = texts.filter(long), counts.filter(long)
    if not len(texts):
        return []
    chosen = patterns.candidates(texts)
    found: Counter[tuple[Identifier, bool]] = Counter()
    summed: dict[tuple[Identifier, bool], bool] = {}
    examples: dict[tuple[Identifier, bool], str] = {}
    weak = _by_chance(texts, chosen)
    strong = {pattern: mask for pattern, mask in chosen.items() if pattern not in weak}
    for row, usable in patterns.by_text(strong).items():
        text, times = texts[row].as_py(), counts[row].as_py()
        here = set()
        for hit in patterns.hits(text, usable):
            whole = hit.end - hit.start >= len(text.strip()) and not free_text
            key = (hit.pattern.kind, not whole)
            here.add(key)
            examples.setdefault(key, text[hit.start : hit.end])
            summed[key] = summed.get(key, True) and hit.pattern.has_checksum
        for key in here:
            found[key] += times
    return [
        told(
            key[0],
            "checksum" if summed[key] else "shape",
            count,
            cells.filled,
            examples[key],
            # dates in no one notation are replaced where they stand
            inside=key[1] or count < HALF * cells.filled or key[0] == "date",
        )
        for key, count in found.items()
    ]


def _by_chance(texts: pa.Array, chosen: Mapping[Pattern, pa.Array]) -> set[Pattern]:
    """Patterns whose check digits are right no more often than those of any number."""
    weak = set()
    for pattern, mask in chosen.items():
        if pattern.check is None or not pattern.chance:
            continue
        written = [
            found.group(1 if pattern.exact.groups else 0)
            for text in texts.filter(mask).to_pylist()
            for found in pattern.exact.finditer(text)
        ]
        right = sum(map(pattern.check, written))
        is_bare = pattern.exact.pattern.startswith("^")
        if right < HALF * len(written) or (is_bare and len(written) < FEW):
            weak.add(pattern)
    return weak


def _photos(cells: Cells) -> list[Evidence]:
    values = cells.column.drop_null().to_pylist()
    photos = sum(bytes(value).startswith(PHOTOS) for value in values)
    return [told("photo", "shape", photos, len(values), "")] if photos else []


def _by_name(cells: Cells) -> list[Evidence]:
    for kind in called(cells.name):
        if kind == "age" or not _is_plausible(cells, kind):
            continue
        return [_all(cells, kind)]
    return []


def _is_plausible(cells: Cells, kind: Identifier) -> bool:
    is_code = kind in ("other-id", "mrn", "account", "health-plan")
    different = len(cells.different)
    if is_code and different < min(CODES, CODES_SHARE * cells.filled):
        return False
    if pa.types.is_boolean(cells.column.type):
        return False
    if kind == "zip" and cells.is_text and cells.matching(r"^\s*\d{3}\s*$") == 1:
        return False  # only the first three digits; of numbers 601 is 00601
    return cells.matching(KINDS[kind].plausible) >= HALF


def _unique(cells: Cells) -> list[Evidence]:
    """Codes of letters and digits that never repeat and are all written alike."""
    if not cells.is_text or not UNIQUE <= cells.filled == len(cells.different):
        return []
    sample = cells.different.slice(0, 1000).to_pylist()
    outlines = {patterns.masked(text) for text in sample}
    is_code = all(any(s.isdigit() for s in text) and " " not in text for text in sample)
    has_letters = any(any(sign.isalpha() for sign in text) for text in sample)
    if len(outlines) > 1 or not is_code or not has_letters:
        return []
    return [told("other-id", "shape", cells.filled, cells.filled, sample[0])]
