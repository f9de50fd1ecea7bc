"""How a text file is written: encoding, delimiter, quote, escape and decimal sign, found by
content.

Delimiters are compared by how regular the rows become and how many cells then look like something,
the measure of van den Burg, Nazabal and Sutton, "Wrangling messy CSV files by detecting row and
type patterns" (2019).
"""

import csv
import io
import re
from collections import Counter
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal

import msgspec

from casemate.config import DataTable
from casemate.core.errors import ConfigError, DataError
from casemate.stages.data.files import quotes
from casemate.stages.data.files.content import UTF8_BOM, Content

DELIMITERS = (",", ";", "\t", "|", ":", " ")
SAMPLE, SAMPLE_ROWS = 256 * 1024, 400
"""Bytes and rows of the beginning from which the dialect is told. A judgement: what a dialect is
shows in far fewer; rows that break it later are refused or set aside.
"""
REGULAR = 0.9
"""Share of rows with one width from which a delimiter may be the right one; the strict reading
refuses the others one by one.
"""
LITTLE = 1e-3
"""Least weight of one sign for a dialect, so that none rules it out alone; and by how much another
dialect must be better to be taken instead of an earlier one.
"""
UNIT = b"\x1f"
"""The unit separator, between cells that blanks set apart."""
_BOMS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_NUMBER = r"[+-]?[$€£]?\s?(\d+|\d{1,3}([.,' ]\d{3})+)?([.,]\d+)?([eE][+-]?\d+)?\s?[%$€£]?"
_MOMENT = (
    r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(["
    r" T]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?|\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?"
)
_WORD = r"[\w.\-/+#&()'<>=? ]{1,60}"
_LOOKS = re.compile(rf"\s*({_NUMBER}|{_MOMENT}|{_WORD}|\w+://\S+|\S+@\S+)?\s*")
_WORDS = re.compile(r'"[^"]*"(?=\s|$)|\S+')
_APART = re.compile(rb'(?<![^ \t\n])"([^"\n]*)"(?=[ \t\r\n]|\Z)|[ \t]+')
"""Words, and what lies between them, where blanks set columns apart: blanks between quotes are part
of the word.
"""
_COMMA_NUMBER = re.compile(r"\s*[+-]?(\d{1,3}(\.\d{3})+|\d+),\d+([eE][+-]?\d+)?\s*")
_POINT_NUMBER = re.compile(r"\s*[+-]?(\d{1,3}(,\d{3})+|\d*)\.\d+([eE][+-]?\d+)?\s*")


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """How a text file is written."""

    encoding: str = "utf-8"
    delimiter: str = ","
    """One character."""
    quote: str = '"'
    """Empty: quotes are letters like others."""
    escape: str = ""
    """What stands before a quote inside of a quoted cell; empty: the quote is doubled."""
    blank: bool = False
    """Whether blanks after a delimiter are no part of the cell; where the delimiter is a blank, any
    number of them is one.
    """
    decimal: Literal[".", ","] = "."


def decoded(content: Content, options: DataTable) -> tuple[Content, str]:
    """The content as UTF-8 with line feeds, and the encoding it had.

    Raises:
        ConfigError: there is no such encoding. DataError: the text is not written in it.
    """
    encoding = options.encoding or next(
        (name for bom, name in _BOMS if content.head(4).startswith(bom)), "utf-8"
    )
    if encoding.lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig"):
        if content.head(3) == UTF8_BOM:
            content = replace(content, start=content.start + 3)
        return _line_feeds(content), "utf-8"
    try:
        text = content.whole().decode(encoding)
    except LookupError as error:
        raise ConfigError(
            f"[data] encoding: there is no encoding {encoding!r}",
            hint="for example utf-8, utf-16, cp1252, latin-1",
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{content.path} is not {encoding} text: {error.reason} at byte {error.start}",
            hint="say another --encoding",
        ) from error
    text = text.removeprefix("\ufeff")
    if encoding.startswith("utf-") and "\n" not in text and "\r" not in text:
        raise DataError(
            f"{content.path} is not {encoding.upper()} text, though it begins like it",
            hint="convert it, or say its encoding: --encoding",
        )
    return _line_feeds(Content(content.path, text.encode())), encoding


def line_feeds(content: Content) -> Content:
    """Carriage returns, with a line feed or alone as old Macintosh programs write them, become line
    feeds.
    """
    return replace(
        content, data=content.whole().replace(b"\r\n", b"\n").replace(b"\r", b"\n"), start=0
    )


def _line_feeds(content: Content) -> Content:
    head = content.head(1 << 16)
    return line_feeds(content) if b"\r" in head and b"\n" not in head else content


def not_utf8(content: Content) -> DataError:
    """Says in which line a text is not UTF-8, and what it may be."""
    number, byte = content.line, b""
    for line, found in content.lines():
        try:
            found.decode()
        except UnicodeDecodeError as error:
            number, byte = line, found[error.start : error.start + 1]
            break
    if content.head(64).count(b"\0") > 16:
        return DataError(
            f"{content.path} is not UTF-8 text: it may be UTF-16 without its mark",
            hint="say --encoding utf-16-le, or [data] encoding",
        )
    letter = byte.decode("cp1252", errors="replace")
    return DataError(
        f"{content.path} is not UTF-8 text: line {number} holds the byte 0x{byte.hex()}, which is"
        f" {letter!r} in Western Europe's cp1252",
        hint=(
            "if that is right, say --encoding cp1252 ([data] encoding); else which other encoding"
            " it is, such as cp1250, latin-1 or mac-roman"
        ),
    )


def found(content: Content, options: DataTable, encoding: str = "utf-8") -> Dialect:
    """How UTF-8 content is written: what `options` say, and the rest by a look at its first
    rows.
    """
    for name in ("delimiter", "quote", "escape"):
        if len(getattr(options, name) or " ") != 1:
            raise ConfigError(f"[data] {name} is one character", hint="a tab is --delimiter tab")
    sample = content.head(SAMPLE)
    if len(sample) == SAMPLE:
        sample = sample[: sample.rfind(b"\n") + 1] or sample
    dialect = _seen(sample, options.delimiter, options.quote, options.escape, options.decimal)
    return msgspec.structs.replace(dialect, encoding=encoding)


# a file is opened several times: for its names, some of its rows, all of them
@lru_cache(maxsize=4)
def _seen(
    sample: bytes,
    delimiter: str | None,
    quote: str | None,
    escape: str | None,
    decimal: Literal[".", ","] | None,
) -> Dialect:
    text = sample.decode(errors="replace")
    best, most = None, -1.0
    for candidate in _candidates(text, delimiter, quote, escape):
        if candidate.delimiter == " " and delimiter is None and most > 0:
            break  # words have blanks between them in any text
        score = _score(text, candidate)
        if score > most * (1 + LITTLE):
            best, most = candidate, score
    dialect = best or Dialect(
        delimiter=delimiter or ",", quote='"' if quote is None else quote, escape=escape or ""
    )
    if (
        delimiter in (None, " ")
        and (most <= 0 or (dialect.delimiter in ("\t", " ") and _in_runs(text)))
        and _aligned(text)
    ):
        dialect = Dialect(delimiter=" ", blank=True)
    return msgspec.structs.replace(dialect, decimal=decimal or _decimal(_rows(text, dialect)[0]))


def plain(content: Content, dialect: Dialect) -> tuple[Content, Dialect]:
    """The same text with quotes as RFC 4180 has them, line by line, and how it is then written."""
    if dialect.delimiter == " " and dialect.blank:
        data = re.sub(rb"(?m)^[ \t]+|[ \t]+(?=\r?$)", b"", content.whole())
        data = (
            _APART.sub(lambda found: UNIT if found[1] is None else found[1], data)
            if b'"' in data
            else re.sub(rb"[ \t]+", UNIT, data)
        )
        return replace(content, data=data, start=0), msgspec.structs.replace(
            dialect, delimiter=UNIT.decode(), quote="", blank=False
        )
    if dialect.quote in ('"', "") and not dialect.escape and not dialect.blank:
        return content, dialect
    data = _cell(dialect).sub(lambda found: _rfc4180(found, dialect), content.whole())
    return replace(content, data=data, start=0), msgspec.structs.replace(
        dialect, quote='"', escape="", blank=False
    )


def _cell(dialect: Dialect) -> re.Pattern[bytes]:
    """A cell: (what is before it, its inside if it is quoted, else itself)."""
    sign, quote, escape = (
        re.escape(text.encode()) for text in (dialect.delimiter, dialect.quote, dialect.escape)
    )
    inner = (
        rb"(?:[^%b%b]|%b.)*+" % (quote, escape, escape)
        if escape
        else rb"(?:[^%b]|%b%b)*+" % (quote, quote, quote)
    )
    bare = rb"(?:[^%b\r\n%b]%b)*+" % (sign, escape, rb"|%b." % escape if escape else b"")
    edge = rb"(^|[%b\n])%b" % (sign, b" *" if dialect.blank else b"")
    return re.compile(
        rb"%b(?:%b(%b)%b(?=[%b\r\n]|$)|(%b))" % (edge, quote, inner, quote, sign, bare), re.DOTALL
    )


def _rfc4180(found: re.Match[bytes], dialect: Dialect) -> bytes:
    """The cell as RFC 4180 writes it; one with a quote where none may be gets it there too, so that
    it is refused like any other.
    """
    quote, text = dialect.quote.encode(), found[3] if found[2] is None else found[2]
    escaped = dialect.escape != "" and dialect.escape.encode() in text
    if found[2] is None and (
        text.startswith(quote) or not (escaped or (quote != b'"' and b'"' in text))
    ):
        return found[1] + (b'"' + text[1:] if text.startswith(quote) else text)
    if escaped:
        text = re.sub(rb"(?s)%b(.)" % re.escape(dialect.escape.encode()), rb"\1", text)
    elif found[2] is not None and not dialect.escape:
        text = text.replace(quote * 2, quote)
    return found[1] + b'"' + text.replace(b'"', b'""') + b'"'


def _candidates(
    text: str, delimiter: str | None, quote: str | None, escape: str | None
) -> list[Dialect]:
    delimiters = (delimiter,) if delimiter else tuple(sign for sign in DELIMITERS if sign in text)
    marks = ['"', "'"] if "'" in text else ['"']
    marks = marks if quote is None else [quote]
    escapes = ["", "\\"] if '\\"' in text or "\\'" in text else [""]
    escapes = escapes if escape is None else [escape]
    found = []
    for sign in delimiters:
        for mark in marks:
            for before in escapes if mark else [""]:
                blank = (
                    bool(mark)
                    and sign != " "
                    and re.search(re.escape(sign) + " +" + mark, text) is not None
                )
                found.append(Dialect(delimiter=sign, quote=mark, escape=before, blank=blank))
        if sign == "\t" and quote is None and '"' in text:
            # many tools write tabs and quote nothing
            found.append(Dialect(delimiter=sign, quote=""))
    return found


def reader(lines: object, dialect: Dialect) -> Any:
    """The standard library's strict reader of one dialect."""
    return csv.reader(
        lines,  # type: ignore[arg-type]
        strict=True,
        delimiter=dialect.delimiter,
        quotechar=dialect.quote or None,
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
        doublequote=not dialect.escape,
        escapechar=dialect.escape or None,
        skipinitialspace=dialect.blank,
    )


def _rows(text: str, dialect: Dialect) -> tuple[list[list[str]], bool]:
    """(the first rows, whether their quotes are where quotes may be)."""
    rows: list[list[str]] = []
    source = io.StringIO(text, newline="")
    lines = (
        (line.strip(" ") for line in source)
        if dialect.delimiter == " " and dialect.blank
        else source
    )
    rows_of = reader(lines, dialect)
    try:
        for row in rows_of:
            if any(cell.strip() for cell in row):
                rows.append(row)
            if len(rows) == SAMPLE_ROWS:
                break
    except csv.Error:
        return rows, False
    cut = len(text.encode()) >= SAMPLE - 4
    return rows, dialect.quote != '"' or bool(dialect.escape) or dialect.blank or quotes.Check(
        dialect.delimiter
    ).hold([text.encode()], cut=cut)


def _score(text: str, dialect: Dialect) -> float:
    rows, sound = _rows(text, dialect)
    widths = Counter(map(len, rows))
    if not widths:
        return 0.0
    width, count = widths.most_common(1)[0]
    if width < 2 or count < REGULAR * len(rows):
        return 0.0
    pattern = sum(number * max(LITTLE, size - 1) / size for size, number in widths.items()) / len(
        widths
    )
    cells = [cell for row in rows if len(row) == width for cell in row]
    looks = sum(_LOOKS.fullmatch(cell) is not None for cell in cells) / len(cells)
    return pattern * max(looks, LITTLE) * (1.0 if sound else 0.5)


def _in_runs(text: str) -> bool:
    """Whether nearly every row has several blanks in a row between words: blanks set its columns
    apart, whatever a tab in it may do.
    """
    lines = [line.strip() for line in text.splitlines()[:SAMPLE_ROWS] if line.strip()]
    return sum(re.search(r"\S {2,}\S", line) is not None for line in lines) >= REGULAR * len(lines)


def _aligned(text: str) -> bool:
    """Whether columns are set apart by blanks, beyond doubt: every row has as many words as the
    first, and half of them are numbers.
    """
    rows = [_WORDS.findall(line) for line in text.splitlines()[:SAMPLE_ROWS] if line.strip()]
    if len(rows) < 3 or len(rows[0]) < 2 or any(len(row) != len(rows[0]) for row in rows):
        return False
    cells = [cell for row in rows[1:] for cell in row]
    return sum(re.fullmatch(_NUMBER, cell) is not None for cell in cells) >= len(cells) / 2


def _decimal(rows: list[list[str]]) -> Literal[".", ","]:
    """The decimal sign: a comma where a column is written so and none with a point."""
    comma = point = False
    for column in zip(*(row for row in rows[1:] if rows and len(row) == len(rows[0])), strict=True):
        cells = [cell for cell in column if cell.strip()]
        if not cells:
            continue
        commas = [cell for cell in cells if _COMMA_NUMBER.fullmatch(cell)]
        whole = sum(cell.strip().lstrip("+-").isdigit() for cell in cells)
        sure = not all(_grouped(cell, ",") for cell in commas)
        comma = comma or (sure and len(commas) + whole >= REGULAR * len(cells))
        points = [cell for cell in cells if _POINT_NUMBER.fullmatch(cell)]
        sure = not all(_grouped(cell, ".") for cell in points)
        point = point or (sure and len(points) >= REGULAR * len(cells) / 2)
    return "," if comma and not point else "."


def _grouped(cell: str, sign: str) -> bool:
    """Whether a sign may stand for thousands: 52,093."""
    return re.fullmatch(rf"\s*[+-]?[1-9]\d{{0,2}}({re.escape(sign)}\d{{3}})+\s*", cell) is not None
