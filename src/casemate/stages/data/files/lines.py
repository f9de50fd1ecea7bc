"""Records read one by one, slowly and strictly: which one is wrong and why, and the rest."""

import re
import sys
from collections.abc import Iterator

from casemate.config import DataTable
from casemate.core.errors import DataError
from casemate.core.types import Finding
from casemate.stages.data.files import dialect as dialects
from casemate.stages.data.files.content import Content
from casemate.stages.data.files.dialect import Dialect

LONGEST = 1000
"""Lines of one quoted cell, where the row that is wrong is looked for."""
LONGEST_ROW = 8 << 20
"""Bytes of a row at most."""
SHOWN = 5
"""Lines that a message names; the count is told whole."""
MOST_BAD = 0.1
"""Share of rows above which they are not put aside: then the file is another one than was
thought.
"""


def _cells(dialect: Dialect) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """(a whole record, a quoted cell) as bytes."""
    sign, quote = re.escape(dialect.delimiter.encode()), re.escape(dialect.quote.encode())
    quoted = rb"%b(?:[^%b]|%b%b)*+%b" % (quote, quote, quote, quote, quote)
    cell = rb"(?>%b|[^%b%b]*+)" % (quoted, quote, sign)
    return re.compile(rb"%b(?:%b%b)*+" % (cell, sign, cell)), re.compile(quoted)


def _records(
    text: Content, dialect: Dialect, width: int, options: DataTable
) -> Iterator[tuple[int, bytes, str]]:
    """(line number, bytes, what is wrong or nothing) of every record; after a wrong one the next
    line begins another.
    """
    whole, quoted = _cells(dialect) if dialect.quote else (None, None)
    sign, quote = dialect.delimiter.encode(), dialect.quote.encode()
    opening = re.compile(rb"(?:^|%b)%b" % (re.escape(sign), re.escape(quote)))
    swallow = options.quote is None and width >= 3
    ahead: list[tuple[int, bytes]] = []
    lines = text.lines()
    with text.open() as file:
        first = b"" if options.header else file.readline().strip()

    def take() -> tuple[int, bytes] | None:
        return ahead.pop(0) if ahead else next(lines, None)

    while (item := take()) is not None:
        number, line = item
        record = line
        more: list[tuple[int, bytes]] = []
        if whole is not None and quoted is not None and quote in line:
            opened = opening.search(line) is not None
            while (
                opened
                and record.count(quote) % 2
                and len(more) < LONGEST
                and (item := take()) is not None
            ):
                more.append(item)
                record += item[1]
            bare = record.rstrip(b"\r\n")
            if opened and record.count(quote) % 2:
                trouble = "a quote is opened and never closed"
            elif whole.fullmatch(bare) is None:
                trouble = (
                    "a quote stands inside of a cell that is not quoted, or text follows a closing"
                    " quote"
                )
            elif (
                more
                and swallow
                and all(
                    part.count(sign) == width - 1 for part in (line, *(part for _, part in more))
                )
            ):
                trouble = "a quoted cell runs over whole rows, as if a quote were never closed"
            else:
                trouble = _shape(quoted.sub(b"", bare), sign, width)
        else:
            bare = line.rstrip(b"\r\n")
            trouble = "" if width > 1 and not bare.strip(b" ") else _shape(bare, sign, width)
        trouble = trouble or _unreadable(record)
        if trouble == "" and number > text.line and line.strip() == first:
            trouble = "it is the header again: a second table may follow there"
        if trouble and more:
            ahead, record = [*more, *ahead], line
        yield number, record, trouble


def _shape(bare: bytes, sign: bytes, width: int) -> str:
    found = bare.count(sign) + 1
    return (
        "" if found == width else f"it has {found} cells, the header has {width}: the row is ragged"
    )


def _unreadable(record: bytes) -> str:
    if b"\0" in record:
        return "it holds a NUL byte"
    try:
        record.decode()
    except UnicodeDecodeError:
        return "it is not UTF-8"
    return ""


def explained(
    text: Content, dialect: Dialect, header: list[str], options: DataTable, error: Exception | None
) -> DataError:
    """The first line that is wrong, found by a slow and strict reading."""
    width = len(header)
    for number, _, trouble in _records(text, dialect, width, options):  # noqa: B007 - told below
        if trouble == "it is not UTF-8":
            return dialects.not_utf8(text)
        if trouble:
            break
    else:
        said = (
            ""
            if error is None
            else re.sub(r"(got \d+).*", r"\1", str(error).split("\n", maxsplit=1)[0])[:200]
        )
        if "straddling" in said:
            said = f"a row has more than {LONGEST_ROW} bytes"
        return DataError(
            f"{text.path}: {said}",
            hint="every row needs the header's columns; check quotes and the last line",
        )
    if "ragged" in trouble:
        return _ragged(text, dialect, width, options, number, trouble)
    hint = "quote the whole cell and double the quotes in it"
    hint += (
        "; if quotes are letters like others here: --quote '' ([data] quote)"
        if "quote" in trouble
        else ""
    )
    return DataError(
        f"{text.path}: line {number}: {trouble}",
        hint=f'{hint}; [data] bad_rows = "quarantine" puts such rows aside',
    )


def mended(
    text: Content, dialect: Dialect, header: list[str], options: DataTable, error: Exception
) -> Content:
    """Without lines of blanks, and without a delimiter that ends every row but not the header;
    raises where something else is wrong.
    """
    sign, width = dialect.delimiter.encode(), len(header)
    first, *rows = [
        (record, trouble)
        for _, record, trouble in _records(text, dialect, width, options)
        if record.strip(b" \r\n")
    ]
    bare = [record.rstrip(b"\r\n") for record, _ in rows]
    if (
        not first[1]
        and rows
        and all(record.endswith(sign) and _shape(record, sign, width + 1) == "" for record in bare)
    ):
        return Content(
            text.path, b"".join([first[0], *(record[: -len(sign)] + b"\n" for record in bare)])
        )
    if first[1] or any(trouble for _, trouble in rows):
        raise explained(text, dialect, header, options, error) from error
    made = Content(text.path, b"".join([first[0], *(record for record, _ in rows)]))
    if made.data == text.whole():
        raise explained(text, dialect, header, options, error) from error
    return made


def _ragged(
    text: Content, dialect: Dialect, width: int, options: DataTable, number: int, trouble: str
) -> DataError:
    counts = []
    for _, record, _ in _records(text, dialect, width, options):
        if record.strip():
            counts.append(record.count(dialect.delimiter.encode()) + 1)
        if len(counts) == dialects.SAMPLE_ROWS:
            break
    usual = max(set(counts), key=counts.count)
    if len(counts) > 2 and usual > width and counts[1:].count(usual) == len(counts) - 1:
        return DataError(
            f"{text.path}: line {number}: every row has {usual} cells, the header has {width}",
            hint=(
                "if the rows begin with their names, say so: [data] header = [all names],"
                " skip_lines = 1"
            ),
        )
    if usual > 1 and counts[0] != usual and counts.count(usual) > len(counts) / 2:
        begins = counts.index(usual)
        return DataError(
            f"{text.path}: line {number}: {trouble}; from the {begins + 1}. line on most rows have"
            f" {usual} cells",
            hint=(
                f"if the table begins after a title, say --skip-lines {begins} ([data] skip_lines)"
            ),
        )
    return DataError(
        f"{text.path}: line {number}: {trouble}",
        hint=(
            "every row needs the header's columns: correct the line, or [data] bad_rows ="
            ' "quarantine" puts such rows aside'
        ),
    )


def sifted(
    text: Content, dialect: Dialect, header: list[str], options: DataTable, findings: list[Finding]
) -> Content:
    """The text without its wrong rows, which a finding names."""
    before = len(findings)
    good = b"".join(
        piece.whole()
        for piece in sifting(text, dialect, header, options, findings, size=sys.maxsize)
    )
    return text if len(findings) == before else Content(text.path, good, line=text.line)


def sifting(
    text: Content,
    dialect: Dialect,
    header: list[str],
    options: DataTable,
    findings: list[Finding],
    *,
    size: int,
) -> Iterator[Content]:
    """The same in pieces of about `size` bytes; how many rows are wrong is known, and judged, after
    the last one.
    """
    good: list[bytes] = []
    shown: list[int] = []
    held, bad, total, line = 0, 0, 0, text.line
    for number, record, trouble in _records(text, dialect, len(header), options):
        total += 1
        if trouble:
            bad += 1
            shown += [number] if bad <= SHOWN else []
            continue
        if not good:
            line = number
        good.append(record)
        held += len(record)
        if held >= size:
            yield Content(text.path, b"".join(good), line=line)
            good, held = [], 0
    if good:
        yield Content(text.path, b"".join(good), line=line)
    if bad > MOST_BAD * total:
        raise DataError(
            f"{text.path}: {bad} of {total} rows are ragged or wrongly quoted (lines"
            f" {', '.join(map(str, shown))}, …): too many to put aside",
            hint="it may be written in another way: see --delimiter, --quote, --skip-lines",
        )
    if bad:
        findings.append(_aside(shown, bad, "ragged or wrongly quoted"))


def _aside(lines: list[int], count: int, why: str) -> Finding:
    shown = ", ".join(map(str, lines)) + (
        f" and {count - len(lines)} more" if count > len(lines) else ""
    )
    message = f"{count} rows are {why} and were left out"
    return Finding(
        id="data.bad-rows",
        severity="medium",
        confidence="high",
        message=message,
        location=f"lines {shown}",
    )
