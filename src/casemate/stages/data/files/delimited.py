"""Delimited text, read strictly: a row that is not what the header says, or a quote where none may
be, is named by its line.
"""

import csv
import io
import re
from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from casemate.config import DataTable
from casemate.core.errors import DataError
from casemate.core.types import Finding
from casemate.stages.data import notation
from casemate.stages.data.files import dialect as dialects
from casemate.stages.data.files import evenly, exact, naming
from casemate.stages.data.files.content import BLOCK, Content, size_of
from casemate.stages.data.files.dialect import Dialect
from casemate.stages.data.files.lines import LONGEST_ROW, explained, mended, sifted, sifting
from casemate.stages.data.files.quotes import Check
from casemate.stages.data.files.surplus import (
    Part,
    tell_blank,
    tidied,
    without_blank_rows,
)

AT_ONCE = 2
"""Pieces of a text that are read at once: cutting, looking at quotes and parsing take turns with
what is done with the piece before. More would take memory, and Arrow's threads are shared.
"""
SEP = re.compile(rb"(?:\xef\xbb\xbf)?\"?sep=(?:[^\r\n]|\t)\"?[\r\n]*", re.IGNORECASE)
LONG = r"^\s*[+-]?\d{16,}\s*$"
Kept = Callable[[str], bool]


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


def count(content: Content, options: DataTable) -> int:
    """How many rows there are, as far as line ends and quotes tell."""
    text, dialect, _, _ = _opened(content, options)
    text, dialect = dialects.plain(text, dialect)
    return evenly.count(text, quoted=dialect.quote != "", headed=not options.header)


def about(content: Content) -> float:
    """How many rows a text has if they are as long as the first ones, without a look at others."""
    sample = content.head(dialects.SAMPLE)
    rows = evenly.count(Content(content.path, sample), quoted=True, headed=False)
    return size_of(content.path) * rows / max(1, len(sample))


def read(
    content: Content,
    options: DataTable,
    kept: Kept,
    findings: list[Finding],
    numbers: evenly.Numbers | None = None,
) -> pa.Table:
    """The rows, with numbers where all cells are numbers.

    Args:
        content: the file.
        options: the `[data]` table.
        kept: whether a column's cells stay letter by letter.
        findings: gets what was noticed.
        numbers: of the only rows that are read, int64 [k] from 0, ascending; default: all.

    Raises:
        DataError: the text is truncated, ragged, wrongly quoted or not written as it is said to be;
            with the line's number.
    """
    if numbers is not None:
        try:
            return _drawn(content, options, kept, findings, numbers)
        except DataError:
            for _ in pieces(content, options, kept, []):  # says which line it is of all
                pass
            raise
    text, dialect, written, header = _opened(content, options)
    text, dialect = dialects.plain(text, dialect)
    return _sifted(text, dialect, written, header, options, kept, findings)


def _drawn(
    content: Content,
    options: DataTable,
    kept: Kept,
    findings: list[Finding],
    numbers: evenly.Numbers,
) -> pa.Table:
    text, dialect, written, header = _opened(content, options)
    text, dialect = dialects.plain(text, dialect)
    quoted, headed = dialect.quote != "", not options.header
    rows = evenly.chosen(text, numbers, quoted=quoted, headed=headed)
    if not rows:  # of several files without a header: none of this one's rows was drawn
        return pa.table({name: pa.nulls(0) for name in header})
    text = Content(content.path, rows)
    return _sifted(text, dialect, written, header, options, kept, findings)


def _sifted(
    text: Content,
    dialect: Dialect,
    written: list[str],
    header: list[str],
    options: DataTable,
    kept: Kept,
    findings: list[Finding],
) -> pa.Table:
    if options.bad_rows == "quarantine":
        text = sifted(text, dialect, header, options, findings)
    table, text = _strict(text, dialect, header, options, kept, findings, written)
    findings += naming.told(written[: table.num_columns], table.column_names)
    table, blank = tidied(table, text, options)
    tell_blank(blank, findings)
    return table


def pieces(
    content: Content, options: DataTable, kept: Kept, findings: list[Finding]
) -> Iterator[pa.Table]:
    """What `read` gives of all rows, a piece at a time; for arguments and errors see there.

    Only a piece is looked at to tell which of its columns are numbers: `options` should say it.
    """
    text, dialect, written, header = _opened(content, options)
    text, dialect = dialects.plain(text, dialect)
    quoted = dialect.quote != ""
    parts = (
        sifting(text, dialect, header, options, findings, size=evenly.PIECE)
        if options.bad_rows == "quarantine"
        else evenly.pieces(text, quoted=quoted)
    )
    before = blank = 0

    def read(piece: Content) -> tuple[pa.Table, Content, list[Finding]]:
        heard: list[Finding] = []
        return *_strict(piece, dialect, header, options, kept, heard, written), heard

    with ThreadPoolExecutor(AT_ONCE) as pool:
        ahead = deque[Future[tuple[pa.Table, Content, list[Finding]]]]()
        for piece in chain(_headed(parts, options, quoted=quoted), [None]):
            if piece is not None:
                ahead.append(pool.submit(read, piece))
            while len(ahead) > (AT_ONCE if piece is not None else 0):
                raw, own, heard = ahead.popleft().result()
                findings += heard
                last = piece is None and not ahead
                table, none = tidied(
                    raw, own, options, Part(before + blank == 0, last, before, kept)
                )
                yield table
                before, blank = before + table.num_rows, blank + none
    tell_blank(blank, findings)


def _headed(parts: Iterator[Content], options: DataTable, *, quoted: bool) -> Iterator[Content]:
    """Each piece with the header at its beginning, where the text has one."""
    head: bytes | None = b"" if options.header else None
    for piece in parts:
        if head is None:
            head = evenly.head(piece, quoted=quoted)
            if len(head) < len(piece.whole()):  # else it is the header alone
                yield piece
        elif head:
            line = piece.line - head.count(b"\n")
            yield Content(piece.path, head + piece.whole(), line=line)
        else:
            yield piece


def _strict(
    text: Content,
    dialect: Dialect,
    header: list[str],
    options: DataTable,
    kept: Kept,
    findings: list[Finding],
    written: list[str],
) -> tuple[pa.Table, Content]:
    """(the rows of a text, or of a piece of it; the text that they were read of)."""
    lines = _require_sound(text, dialect, header, options)
    if lines is None:  # carriage returns end lines somewhere
        text = dialects.line_feeds(text)
        lines = _require_sound(text, dialect, header, options)
    try:
        table = _typed(text, dialect, header, options, kept, findings, lines=bool(lines))
    except (pa.ArrowException, UnicodeDecodeError) as error:
        text = mended(text, dialect, header, options, error)
        table = _typed(text, dialect, header, options, kept, findings, lines=bool(lines))
    while (
        table.num_columns > 1
        and written[table.num_columns - 1] == ""
        and table[table.num_columns - 1].null_count == table.num_rows
    ):
        table = table.remove_column(table.num_columns - 1)  # a delimiter at the end of every line
    return table, text


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
    return without_blank_rows(table)[0]


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
    """From the first line that is not blank, after those to skip, and after `sep=;`, which tells
    Excel the delimiter.
    """
    text = text.skip(options.skip_lines)
    with text.open() as file:
        blank = 0
        while (line := file.readline()) and not line.strip():
            blank += 1
        blank += SEP.fullmatch(line) is not None
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
            raise explained(text, dialect, header, options, None)
    if check.inside:
        raise explained(text, dialect, header, options, None)
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
    here = text.data is None and text.start == 0 and isinstance(text.path, Path)
    with text.open() as file:
        return pyarrow.csv.read_csv(
            text.path if here else file,
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
