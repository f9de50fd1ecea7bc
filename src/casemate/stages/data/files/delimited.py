"""Delimited text, read strictly: a row that is not what the header says, or a quote where none may
be, is named by its line.
"""

import csv
import io
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from casemate.config import DataTable
from casemate.core.errors import DataError
from casemate.core.types import Finding
from casemate.stages.data import notation
from casemate.stages.data.files import dialect as dialects
from casemate.stages.data.files import evenly, exact, naming
from casemate.stages.data.files.content import BLOCK, Content
from casemate.stages.data.files.dialect import Dialect
from casemate.stages.data.files.quotes import Check

LONGEST = 1000
"""Lines of one quoted cell, where the row that is wrong is looked for."""
LONGEST_ROW = 8 << 20
"""Bytes of a row at most."""
LONG = r"^\s*[+-]?\d{16,}\s*$"
Kept = Callable[[str], bool]
SHOWN = 5
MOST_BAD = 0.1
"""Share of rows above which they are not put aside: then the file is another one than was
thought.
"""
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+|\d+,\d+)([eE][+-]?\d+)?")
NUMBERS = rf"^\s*({NUMBER.pattern})\s*$"
FOOTER = re.compile(r"\W*(grand\s+|sub-?)?(total|sum|average|mean)s?\b", re.IGNORECASE)


def look(content: Content, options: DataTable) -> Dialect:
    """How the text is written."""
    text, encoding = dialects.decoded(content, options)
    return dialects.found(begun(text, options), options, encoding)


def names(content: Content, options: DataTable) -> list[str]:
    """The names of the columns, as the header has them."""
    if options.header:
        return naming.cleaned(options.header)
    text, encoding = dialects.decoded(content, options)
    text = begun(text, options)
    return naming.cleaned(_header(text, dialects.found(text, options, encoding)))


def read(content: Content, options: DataTable, kept: Kept, findings: list[Finding]) -> pa.Table:
    """The rows, with numbers where all cells are numbers.

    Args:
        content: the file.
        options: the `[data]` table.
        kept: whether a column's cells stay letter by letter.
        findings: gets what was noticed.

    Raises:
        DataError: the text is truncated, ragged, wrongly quoted or not written as it is said to be;
            with the line's number.
    """
    text, dialect, written, header = _opened(content, options)
    text, dialect = dialects.plain(text, dialect)
    if options.bad_rows == "quarantine":
        text = _sifted(text, dialect, header, options, findings)
    lines = _require_sound(text, dialect, header, options)
    if lines is None:  # carriage returns end lines somewhere
        text = dialects.line_feeds(text)
        lines = _require_sound(text, dialect, header, options)
    try:
        table = _typed(text, dialect, header, options, kept, findings, lines=bool(lines))
    except (pa.ArrowException, UnicodeDecodeError) as error:
        text = _mended(text, dialect, header, options, error)
        table = _typed(text, dialect, header, options, kept, findings, lines=bool(lines))
    while (
        table.num_columns > 1
        and written[table.num_columns - 1] == ""
        and table[table.num_columns - 1].null_count == table.num_rows
    ):
        table = table.remove_column(table.num_columns - 1)  # a delimiter at the end of every line
    findings += naming.told(written[: table.num_columns], table.column_names)
    return _tidied(table, text, options, findings)


def some(content: Content, options: DataTable, most: int) -> pa.Table:
    """About `most` rows, evenly from the whole text, every cell as it is written; nothing is
    checked, which `read` does.

    Raises:
        DataError, ArrowException: the text is not written as it seems to be.
    """
    text, dialect, written, header = _opened(content, options)
    if options.bad_rows == "quarantine" or written[-1] == "":
        raise DataError(
            f"{content.path} is read in full", hint="all of its rows say what its columns are"
        )
    text, dialect = dialects.plain(text, dialect)
    rows = evenly.rows(text, most, quoted=dialect.quote != "", headed=not options.header)
    table = _arrow(Content(content.path, rows), dialect, header, options, header, lines=True)
    return _without_blank_rows(table, [])


def _opened(content: Content, options: DataTable) -> tuple[Content, Dialect, list[str], list[str]]:
    """(text from its header on, how it is written, the header as it is written, the columns'
    names).
    """
    text, encoding = dialects.decoded(content, options)
    text = begun(text, options)
    dialect = dialects.found(text, options, encoding)
    written = options.header or _header(text, dialect)
    if not written:
        raise DataError(f"{content.path} holds no text", hint="export the table again")
    header = naming.cleaned(written)
    naming.require_distinct(header, content.path)
    return text, dialect, written, header


def _typed(
    text: Content,
    dialect: Dialect,
    header: list[str],
    options: DataTable,
    kept: Kept,
    findings: list[Finding],
    *,
    lines: bool,
) -> pa.Table:
    table = _arrow(
        text, dialect, header, options, [name for name in header if kept(name)], lines=lines
    )
    for name in exact.suspects(table):
        digits = _arrow(text, dialect, header, options, [name], lines=lines, only=[name])[name]
        if pc.any(pc.match_substring_regex(digits, LONG)).as_py():
            exact.tell(name, options, findings)
    dated = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
    if dated and options.date_format is not None and notation.has_day(options.date_format):
        written = _arrow(text, dialect, header, options, dated, lines=lines, only=dated)
        for name in dated:
            if not notation.possible(written[name], options.date_format, table[name]):
                place = table.schema.get_field_index(name)
                table = table.set_column(place, name, written[name])
    return table


def begun(text: Content, options: DataTable) -> Content:
    """From the first line that is not blank, after those to skip."""
    text = text.skip(options.skip_lines)
    with text.open() as file:
        blank = 0
        while (line := file.readline()) and not line.strip():
            blank += 1
    return text.skip(blank) if blank else text


def _header(text: Content, dialect: Dialect) -> list[str]:
    with text.open() as file, io.TextIOWrapper(file, encoding="utf-8", newline="") as lines:
        try:
            source = (
                (line.strip(" ") for line in lines)
                if dialect.delimiter == " " and dialect.blank
                else lines
            )
            return next(dialects.reader(source, dialect), [])
        except UnicodeDecodeError as error:
            raise dialects.not_utf8(text) from error
        except csv.Error as error:
            raise DataError(
                f"{text.path}: line {text.line}: the header cannot be read with the delimiter"
                f" {dialect.delimiter!r}: {error}",
                hint="check its quotes; [data] delimiter and quote say how cells are written",
            ) from error


def _require_sound(
    text: Content, dialect: Dialect, header: list[str], options: DataTable
) -> bool | None:
    """Whether a line ends inside of a cell, after a look at every quote and for NUL bytes; None
    where a carriage return ends a line alone.
    """
    check = Check(dialect.delimiter, 0 if options.quote is not None else len(header))
    quoted = False
    for block in text.blocks():
        if b"\r" in block and block.count(b"\r") != block.count(b"\r\n"):
            return None
        quoted = quoted or (dialect.quote != "" and b'"' in block)
        if b"\0" in block or (quoted and not check.hold([block], cut=True)):
            raise _explained(text, dialect, header, options, None)
    if check.inside:
        raise _explained(text, dialect, header, options, None)
    return check.lines


def _arrow(
    text: Content,
    dialect: Dialect,
    header: list[str],
    options: DataTable,
    kept: Collection[str],
    *,
    lines: bool,
    only: list[str] | None = None,
) -> pa.Table:
    """The table; `lines` says whether cells may hold line ends, which makes for slow reading."""
    try:  # small pieces stay in a processor's cache
        return _blocks(text, dialect, header, options, kept, BLOCK, lines=lines, only=only)
    except pa.ArrowInvalid as error:
        if "straddling" not in str(error):
            raise
    return _blocks(text, dialect, header, options, kept, LONGEST_ROW, lines=lines, only=only)


def _blocks(
    text: Content,
    dialect: Dialect,
    header: list[str],
    options: DataTable,
    kept: Collection[str],
    size: int,
    *,
    lines: bool,
    only: list[str] | None,
) -> pa.Table:
    moments = [options.date_format, pyarrow.csv.ISO8601] if options.date_format else None
    with text.open() as file:
        return pyarrow.csv.read_csv(
            text.path if text.data is None and text.start == 0 else file,
            read_options=pyarrow.csv.ReadOptions(
                column_names=header,
                skip_rows_after_names=0 if options.header else 1,
                block_size=size,
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=dialect.delimiter,
                quote_char=dialect.quote or False,
                newlines_in_values=lines,
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                null_values=options.null_values,
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
                decimal_point=dialect.decimal,
                include_columns=only,
                timestamp_parsers=moments,
                column_types=dict.fromkeys({*kept}, pa.string()),
            ),
        )


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


def _explained(
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


def _mended(
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
        raise _explained(text, dialect, header, options, error) from error
    made = Content(text.path, b"".join([first[0], *(record for record, _ in rows)]))
    if made.data == text.whole():
        raise _explained(text, dialect, header, options, error) from error
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


def _sifted(
    text: Content, dialect: Dialect, header: list[str], options: DataTable, findings: list[Finding]
) -> Content:
    """The text without its wrong rows, which a finding names."""
    good, bad, total = [], [], 0
    for number, record, trouble in _records(text, dialect, len(header), options):
        total += 1
        if trouble:
            bad.append(number)
        else:
            good.append(record)
    if not bad:
        return text
    if len(bad) > MOST_BAD * total:
        shown = ", ".join(map(str, bad[:SHOWN]))
        raise DataError(
            f"{text.path}: {len(bad)} of {total} rows are ragged or wrongly quoted (lines {shown},"
            " …): too many to put aside",
            hint="it may be written in another way: see --delimiter, --quote, --skip-lines",
        )
    findings.append(_aside(bad, "ragged or wrongly quoted"))
    return Content(text.path, b"".join(good), line=text.line)


def _aside(lines: list[int], why: str) -> Finding:
    shown = ", ".join(map(str, lines[:SHOWN])) + (
        f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    )
    message = f"{len(lines)} rows are {why} and were left out"
    return Finding(
        id="data.bad-rows",
        severity="medium",
        confidence="high",
        message=message,
        location=f"lines {shown}",
    )


def _tidied(
    table: pa.Table, text: Content, options: DataTable, findings: list[Finding]
) -> pa.Table:
    """Without rows that hold no cell, and surely without the header again."""
    table = _without_blank_rows(table, findings)
    _require_one_header(table, text, options)
    _require_rows(table, text)
    return table


def _without_blank_rows(table: pa.Table, findings: list[Finding]) -> pa.Table:
    """Spreadsheets write rows of nothing but delimiters."""
    blank: Any = None
    for column in table.columns:
        if column.null_count == 0:
            return table
        missing = pc.is_null(column)
        blank = missing if blank is None else pc.and_(blank, missing)
        if not pc.any(blank).as_py():
            return table
    if pc.all(blank).as_py():
        return table
    message = f"{pc.sum(blank).as_py()} rows hold no cell and were left out"
    findings.append(
        Finding(id="data.blank-rows", severity="low", confidence="high", message=message)
    )
    return table.filter(pc.invert(blank))


def _require_rows(table: pa.Table, text: Content) -> None:
    """No row is the header of another table, and the last one is no footer.

    A header shows by its names in columns that hold numbers in nearly all other rows; a mark for
    missing values is the same in all of them.
    """
    if table.num_rows < 2:
        return
    last = table.slice(table.num_rows - 1)
    first = last[0][0].as_py()
    if (
        isinstance(first, str)
        and FOOTER.match(first)
        and any(column.null_count for column in last.columns)
    ):
        raise DataError(
            f"{text.path}: the last row seems to be a footer ({first[:12].strip()!r}), no row",
            hint="take it out",
        )
    numeric = [
        column
        for column in table.columns
        if pa.types.is_string(column.type) and _is_mostly_numbers(column)
    ]
    if len(numeric) < 2:
        return
    odd: Any = True
    for column in numeric:
        odd = pc.and_(
            odd,
            pc.fill_null(
                pc.and_(
                    pc.invert(pc.match_substring_regex(column, NUMBERS)), pc.not_equal(column, "")
                ),
                False,
            ),
        )
    for row in pc.indices_nonzero(odd).to_pylist()[:100]:
        cells = [column[row].as_py() for column in numeric]
        if len(set(cells)) == len(cells):
            raise DataError(
                f"{text.path}: row {row} (counting from 0) seems to be the header of another table:"
                " it has words where all others have numbers",
                hint="keep each table in a file of its own, and take lines out that are no rows",
            )


def _is_mostly_numbers(column: pa.ChunkedArray) -> bool:
    some = pc.drop_null(column.slice(0, 100))
    return len(some) > 3 and pc.sum(
        pc.match_substring_regex(some, NUMBERS)
    ).as_py() >= dialects.REGULAR * len(some)


def _require_one_header(table: pa.Table, text: Content, options: DataTable) -> None:
    """No row is the header again, and the first one is no second line of it."""
    if options.header or table.num_rows < 2:
        return
    kinds = [pa.types.is_string(column.type) for column in table.columns]
    if all(kinds):
        same: Any = True
        for name, column in zip(table.column_names, table.columns, strict=True):
            same = pc.and_(
                same,
                pc.fill_null(pc.equal(_folded(column), name.strip().lower()), name.strip() == ""),
            )
            if not pc.any(same).as_py():
                break
        else:
            row = pc.index(same, True).as_py()
            raise DataError(
                f"{text.path}: the header is repeated in row {row} (counting from 0): a second"
                " table may follow there",
                hint='take the line out; [data] bad_rows = "quarantine" leaves it out',
            )
    headed = [
        column
        for column, kind in zip(table.columns, kinds, strict=True)
        if kind and _is_headed(column)
    ]
    if headed and not any(
        _is_number(column[0].as_py()) for column in table.columns if column[0].is_valid
    ):
        raise DataError(
            f"{text.path}: the first row seems to be a second line of the header (units?): columns"
            " are numbers but for it",
            hint=(
                "name the columns in [data] header and say skip_lines, the lines before the"
                " first row"
            ),
        )


def _folded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.utf8_lower(pc.utf8_trim_whitespace(column))


def _is_number(value: Any) -> bool:
    return not isinstance(value, str) or NUMBER.fullmatch(value.strip()) is not None


def _is_headed(column: pa.ChunkedArray) -> bool:
    """Text in the first row, numbers in all others."""
    if not column[0].is_valid or _is_number(column[0].as_py()):
        return False
    for size in (100, len(column)):  # most columns are told by a few rows
        others = pc.drop_null(column.slice(1, size))
        if len(others) < 3 or not pc.all(pc.match_substring_regex(others, NUMBERS)).as_py():
            return False
    return True
