"""One sheet of a workbook (.xlsx, .xlsb, .ods, .xls), by python-calamine: the extra
`spreadsheets`.
"""

import io
import re
import zipfile
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa

from casemate.config import DataTable
from casemate.core.errors import ConfigError, DataError
from casemate.core.types import Finding
from casemate.stages.data.files import values
from casemate.stages.data.files.content import Content

_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


def read(content: Content, options: DataTable, findings: list[Finding]) -> pa.Table:
    """The rows of `[data] table`, or of the only sheet that holds any, under the names of its first
    row.

    Raises:
        ConfigError: the extra is not installed, or it is not clear which sheet is meant.
        DataError: the workbook is damaged, cells are merged, or formulas were never computed.
    """
    try:
        import python_calamine
    except ImportError as error:
        raise ConfigError(
            f"{content.path} is a spreadsheet",
            hint='pip install "casemate[spreadsheets]", or export it as CSV',
        ) from error
    data = content.whole()
    _require_bounded(data, content, options)
    try:
        with python_calamine.CalamineWorkbook.from_object(io.BytesIO(data)) as book:
            name = _chosen(book, content, options)
            sheet = book.get_sheet_by_name(name)
            rows = sheet.to_python(skip_empty_area=False)
            merged = sheet.merged_cell_ranges or []
    except (python_calamine.CalamineError, OSError, ValueError) as error:
        raise DataError(
            f"{content.path} is not a readable workbook: {error}",
            hint="it may be damaged or protected by a password",
        ) from error
    where = f"{content.path}, sheet {name!r}"
    _require_single(merged, options.skip_lines, where)
    _note_cells(data, name, where, findings)
    return _table(rows, options, where)


def _require_bounded(data: bytes, content: Content, options: DataTable) -> None:
    """A workbook is a zip file: what its members unpack to counts."""
    if not data.startswith(b"PK"):
        return
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > options.max_bytes:
        raise DataError(
            f"{content.path} unpacks to {size} bytes, more than [data] max_bytes",
            hint="raise max_bytes if this is intended",
        )


def _chosen(book: Any, content: Content, options: DataTable) -> str:
    names = list(book.sheet_names)
    if options.table is not None:
        if options.table not in names:
            raise ConfigError(
                f"[data] table: {content.path.name} has no sheet {options.table!r}",
                hint=f"the sheets are: {', '.join(names[:12])}",
            )
        return options.table
    visible = [one.name for one in book.sheets_metadata if str(one.visible).endswith(".Visible")]
    held = [name for name in visible if book.get_sheet_by_name(name).height > 1]
    if len(held) != 1:
        shown = ", ".join(map(repr, held[:12] or names[:12]))
        raise ConfigError(
            f"{content.path.name} has {len(held)} sheets with rows: {shown}",
            hint='say which one: --from-table NAME, or [data] table = "NAME"',
        )
    return str(held[0])


def _require_single(merged: Sequence[Any], skipped: int, where: str) -> None:
    inside = [area for area in merged if area[1][0] >= skipped]
    if inside:
        (top, left), (bottom, right) = inside[0]
        area = f"{_letters(left)}{top + 1}:{_letters(right)}{bottom + 1}"
        raise DataError(
            f"{where}: the cells {area} are merged, so it is not clear which rows they belong to",
            hint="split them and fill each cell",
        )


def _letters(column: int) -> str:
    text = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        text = chr(65 + rest) + text
    return text


def _note_cells(data: bytes, sheet: str, where: str, findings: list[Finding]) -> None:
    """Formulas without a result would read as missing, and so do errors such as #N/A: the first
    refuse, the second are told.
    """
    if not data.startswith(b"PK"):
        return
    errors, empty, first = 0, 0, ""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        member = _member(archive, sheet)
        if member is None:
            return
        with archive.open(member) as file:
            for _, element in ElementTree.iterparse(file):  # noqa: S314 - see the import
                if element.tag == _MAIN + "c":
                    errors += element.get("t") == "e"
                    result = element.find(_MAIN + "v")
                    if (
                        element.find(_MAIN + "f") is not None
                        and (result is None or not result.text)
                        and element.get("t") != "str"
                    ):
                        empty, first = empty + 1, first or element.get("r", "")
                elif element.tag == _MAIN + "row":
                    element.clear()
    if empty:
        raise DataError(
            f"{where}: {empty} formulas have no result, the first one in {first}",
            hint="open and save it in a spreadsheet program, which computes them",
        )
    if errors:
        message = (
            f"{errors} cells of the sheet {sheet!r} hold errors such as #N/A and were read as"
            " missing"
        )
        findings.append(
            Finding(id="data.sheet-errors", severity="medium", confidence="high", message=message)
        )


def _member(archive: zipfile.ZipFile, sheet: str) -> str | None:
    """The part of an .xlsx file that holds a sheet; None in other workbooks."""
    names = set(archive.namelist())
    if not {"xl/workbook.xml", "xl/_rels/workbook.xml.rels"} <= names:
        return None
    book = ElementTree.fromstring(archive.read("xl/workbook.xml"))  # noqa: S314 - see the import
    relation = next(
        (one.get(_RELATION) for one in book.iter(_MAIN + "sheet") if one.get("name") == sheet), None
    )
    relations = ElementTree.fromstring(archive.read("xl/_rels/workbook.xml.rels"))  # noqa: S314 - see the import
    target = next((one.get("Target", "") for one in relations if one.get("Id") == relation), "")
    path = target.lstrip("/") if target.startswith("/") else f"xl/{target}"
    return path if path in names else None


def _table(rows: list[list[Any]], options: DataTable, where: str) -> pa.Table:
    cells = [[None if cell == "" else cell for cell in row] for row in rows[options.skip_lines :]]
    while cells and not any(cell is not None for cell in cells[0]):
        cells.pop(0)
    while cells and not any(cell is not None for cell in cells[-1]):
        cells.pop()
    if not cells:
        raise DataError(f"{where} is empty", hint="export the table again")
    keep = [at for at in range(len(cells[0])) if any(row[at] is not None for row in cells)]
    cells = [[row[at] for at in keep] for row in cells]
    if options.header:
        return values.table(options.header, _fitting(cells, len(options.header), where), whole=True)
    written = [cell for cell in cells[0] if cell is not None]
    if len(written) <= len(keep) / 2:
        begins = next((number for number, row in enumerate(cells) if None not in row), 1)
        raise DataError(
            f"{where}: the first row names {len(written)} of {len(keep)} columns",
            hint=f"if it is a title: [data] skip_lines = {begins}",
        )
    names = ["" if cell is None else re.sub(r"\.0$", "", str(cell)) for cell in cells[0]]
    return values.table(
        names, [row for row in cells[1:] if any(cell is not None for cell in row)], whole=True
    )


def _fitting(cells: list[list[Any]], width: int, where: str) -> list[list[Any]]:
    if len(cells[0]) != width:
        raise ConfigError(
            f"{where} has {len(cells[0])} columns, [data] header names {width}",
            hint="name each of them",
        )
    return cells
