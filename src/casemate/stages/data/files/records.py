"""JSON: one object a line, or one array of objects."""

import io
import json
import re

import msgspec
import pyarrow as pa
import pyarrow.json

from casemate.config import DataTable
from casemate.core.errors import DataError
from casemate.core.types import Finding
from casemate.stages.data.files import exact
from casemate.stages.data.files.content import UTF8_BOM, Content


def read(content: Content, options: DataTable, findings: list[Finding]) -> pa.Table:
    """The records; a field that a record lacks is missing.

    Raises:
        DataError: a line is no JSON object, or a field holds values of two kinds; with the line's
            number.
    """
    data = content.whole().removeprefix(UTF8_BOM)
    lines = not data.lstrip().startswith(b"[")
    try:
        if not lines:
            records = msgspec.json.decode(data, type=list[msgspec.Raw])
            data = b"\n".join(
                bytes(record).replace(b"\n", b" ").replace(b"\r", b" ") for record in records
            )
        _require_records(data, content, lines=lines)
        table = pyarrow.json.read_json(
            io.BytesIO(data), read_options=pyarrow.json.ReadOptions(block_size=64 << 20)
        )
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"{content.path} is no JSON that can be read: {error}",
            hint="one flat object a line, or one array of flat objects",
        ) from error
    except pa.ArrowException as error:
        said = str(error).split("\n", maxsplit=1)[0][:200]
        raise DataError(
            f"{content.path}: {said}",
            hint="every record needs the same fields with values of one kind",
        ) from error
    for name in exact.suspects(table):
        key = re.escape(json.dumps(name, ensure_ascii=False).encode())
        if re.search(key + rb"\s*:\s*-?\d{16,}\s*[,}]", data):
            exact.tell(name, options, findings)
    return table


def _require_records(data: bytes, content: Content, *, lines: bool) -> None:
    """Every line is one object that names no field twice."""
    decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
    for number, line in enumerate(data.split(b"\n")):
        if not line.strip():
            continue
        where = f"line {number + 1}" if lines else f"record {number} (counting from 0)"
        try:
            decoder.decode(line)
        except msgspec.DecodeError as error:
            raise DataError(
                f"{content.path}: {where} is no JSON object",
                hint="one flat object a line, or one array of flat objects",
            ) from error
