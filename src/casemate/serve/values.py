"""A table's values as a request of the client has them."""

import datetime
import decimal
import math
from typing import Any

from casemate.core.errors import (
    RequestError,
)
from casemate.serve.cells import Cells


def values_of(reader: Cells, given: list[Any]) -> tuple[list[Any], dict[int, str]]:
    """(what is sent, per value that cannot be sent why)."""
    if reader.column.type == "category":
        texts = [text_of(value) for value in given]
        return [
            None if text is None or text.strip() in reader.missing else text.strip()
            for text in texts
        ], {}
    plain = [_plain(value) for value in given]
    wrong: dict[int, str] = {}
    try:
        numbers = reader.read(plain)
    except RequestError as error:
        wrong = {one.row: one.why for one in error.rows}
        numbers = reader.read(
            [None if place in wrong else value for place, value in enumerate(plain)]
        )
    sent: list[Any] = []
    for place, number in enumerate(numbers.tolist()):
        if math.isinf(number):  # JSON has none: it would go as a missing value
            wrong[place] = "has an infinite value"
        sent.append(number if math.isfinite(number) else None)
    return sent, wrong


def _plain(value: Any) -> Any:
    """A value of Arrow as the table's numbers have it; durations are seconds."""
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    return float(value) if isinstance(value, decimal.Decimal) else value


def text_of(value: Any) -> str | None:
    """A value of Arrow as the table's text has it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value)
