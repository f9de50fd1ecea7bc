"""How people write numbers and times: `$1,234.50`, `35%`, `> 89`, `01.02.2019`; read whole columns
at a time with Arrow.

A notation is found once, at `casemate init`, and written into casemate.toml; later nothing is
guessed. Percent stay percent (`35%` is 35), and a censored cell is read as its limit.
"""

import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

PLAIN = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
CENSORED = "^\\s*(<=|>=|[<>\u2264\u2265\u2a7d\u2a7e])\\s*"
CODES = "USD|EUR|GBP|CHF|JPY|INR|SEK|NOK|DKK|PLN|CAD|AUD"
MONEY = f"(US\\$|[$\u20ac\u00a3\u00a5\u20b9\u20bd]|\\b({CODES})\\b)"
"""Signs and ISO 4217 codes that are taken off amounts."""
NO_CENTS = "[-\u2013\u2014]{1,2}"
"""Behind the decimal sign of an amount without cents: `150,-`."""
_SPACES = "[\\s\u00a0\u2009\u202f']"
"""What separates thousands beside point and comma (BIPM SI brochure 5.4.4; apostrophes:
Switzerland).
"""
_AMOUNT = {
    ".": r"^[+-]?(\d{1,3}(,\d{3})+|\d+)?(\.\d*)?([eE][+-]?\d+)?$",
    ",": r"^[+-]?(\d{1,3}(\.\d{3})+|\d+)?(,\d*)?([eE][+-]?\d+)?$",
}
_DIGIT = r"\d"
_TRUE, _FALSE = ["true", "True", "TRUE"], ["false", "False", "FALSE"]

DATES = (
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%d.%m.%y",
    "%d/%m/%y",
    "%m/%d/%y",
    "%d %b %Y",
    "%d-%b-%Y",
    "%d %B %Y",
    "%d-%b-%y",
    "%b %d, %Y",
    "%B %d, %Y",
)
"""Notations of a day that are tried beside ISO 8601; month names are English."""
CLOCKS = ("", " %H:%M:%S", " %H:%M", " %I:%M:%S %p", " %I:%M %p", "T%H:%M:%S")
_PIECES = {
    "%d": r"\d{1,2}",
    "%m": r"\d{1,2}",
    "%Y": r"\d{4}",
    "%y": r"\d{2}",
    "%b": "[A-Za-z]{3}",
    "%B": "[A-Za-z]{3,9}",
    "%H": r"\d{1,2}",
    "%I": r"\d{1,2}",
    "%M": r"\d{2}",
    "%S": r"\d{2}",
    "%p": "[AaPp][Mm]",
    "%z": r"(Z|[+-]\d{2}:?\d{2})",
}
_ISO = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}(:\d{2}(:\d{2}(\.\d{1,9})?)?)?\s?(Z|[+-]\d{2}(:?\d{2})?)?)?$"
EPOCHS = {"epoch-s": 1.0, "epoch-ms": 1e3}
"""Unit of numbers that count from 1970 -> how many are a second."""


def numbers(
    text: pa.ChunkedArray, decimal: str | None = None, censored: bool = False
) -> pa.ChunkedArray:
    """Text as float64; null where a cell is missing or no number.

    Args:
        text: cells, trimmed.
        decimal: decimal sign of amounts; default: plain numbers, and true or false as 1 and 0.
        censored: `<0.1` is .1.
    """
    if censored:
        text = pc.replace_substring_regex(text, CENSORED, "")
    if decimal is not None:
        text = _without_signs(text)
        text = _kept(text, _AMOUNT[decimal])
        text = pc.replace_substring(text, ",."[decimal == ","], "")
        text = pc.replace_substring(text, ",", ".")
    else:
        # most columns are numbers in every cell, and a cast is five times as quick as a look at
        # each
        try:
            found = text.cast(pa.float64())
            if pc.all(pc.is_finite(found)).as_py() is not False:
                return found
        except pa.ArrowInvalid:
            pass
        text = pc.if_else(
            pc.is_in(text, pa.array(_TRUE)),
            "1",
            pc.if_else(pc.is_in(text, pa.array(_FALSE)), "0", text),
        )
    found = _kept(text, PLAIN).cast(pa.float64())
    # 1e999 is no number
    return pc.if_else(pc.is_finite(found), found, pa.scalar(None, pa.float64()))


def points_part_thousands(text: pa.ChunkedArray, *, decimal_comma: bool) -> bool:
    """Whether 1.250 is more than a thousand: every point has three digits behind it, and either the
    file has decimal commas, or the cells are money from ten thousand on, or they are neither
    written with a fixed number of decimals (some have no point) nor as short as can be (some end
    in 0).

    Args:
        text: cells, trimmed.
        decimal_comma: whether other numbers of the same file have them.
    """

    def some(pattern: str) -> bool:
        return bool(pc.any(pc.match_substring_regex(text, pattern)).as_py())

    if not some(r"\.\d{3}") or some(r"^\D*0\d*\.|\.\d{1,2}(\D|$)|\.\d{4}|\d{4}\.|,\d{3}|\de|\dE"):
        return False
    if decimal_comma or some(r"\.\d{3}\.\d{3}|\.\d{3},"):
        return True
    if some(rf"({MONEY}|,-).*\d|\d.*({MONEY}|,-)") and some(r"\d{2}\.\d{3}"):
        return True
    return some(r"^\D*[1-9]\d{0,2}\D*$") and some(r"\.\d{2}0\D*$") and not some(r"^\D*\d{4}")


def _without_signs(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Amounts without currency, percent and spaces; `(5)` is -5, as bookkeepers write it."""
    text = pc.replace_substring_regex(text, rf"{MONEY}|%|{_SPACES}", "")
    text = pc.replace_substring_regex(text, rf"(\d[.,]){NO_CENTS}$", r"\1")
    return pc.replace_substring_regex(text, r"^\((.*)\)$", r"-\1")


def _kept(text: pa.ChunkedArray, pattern: str) -> pa.ChunkedArray:
    """`text` where it matches `pattern` and has a digit, else null."""
    fits = pc.and_(pc.match_substring_regex(text, pattern), pc.match_substring_regex(text, _DIGIT))
    return pc.if_else(pc.fill_null(fits, False), text, pa.scalar(None, pa.string()))


def flags(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """-1 where a cell says "less than", 1 where it says "more than", 0 where it is exact; float64,
    null where it is missing.
    """
    below, above = (
        pc.match_substring_regex(text, rf"^\s*[{signs}]")
        for signs in ("<\u2264\u2a7d", ">\u2265\u2a7e")
    )
    return pc.subtract(above.cast(pa.float64()), below.cast(pa.float64()))


def times(values: pa.ChunkedArray, form: str) -> pa.ChunkedArray:
    """Text or numbers as UTC time without a zone, microseconds; null where a cell is missing or not
    written like `form`.

    Args:
        values: cells.
        form: `iso`, `epoch-s`, `epoch-ms`, or a strptime format.
    """
    kind = pa.timestamp("us")
    if form in EPOCHS:
        amounts = numbers(values) if pa.types.is_string(values.type) else values.cast(pa.float64())
        whole = pc.round(pc.multiply(amounts, 1e6 / EPOCHS[form]))
        sound = pc.less(pc.abs(whole), 2.0**62)
        return pc.if_else(sound, whole, pa.scalar(None, pa.float64())).cast(pa.int64()).cast(kind)
    if not pa.types.is_string(values.type):
        values = values.cast(pa.string())
    if form == "iso":
        return _iso(values)
    found = pc.strptime(_kept(values, pattern(form)), format=form, unit="us", error_is_null=True)
    return _possible(values, form, pc.cast(found, kind))  # with a zone: the same moment in UTC


def has_day(form: str) -> bool:
    """Whether a form names a day that can be held against what strptime made of it: with a zone it
    may be another one in UTC.
    """
    return "%d" in form and "%z" not in form


def possible(text: pa.ChunkedArray, form: str, found: pa.ChunkedArray) -> bool:
    """Whether `found`, which strptime made of `text`, has no day in the place of one that there is
    not.
    """
    return bool(
        _possible(text, form, found.cast(pa.timestamp("us"))).null_count == found.null_count
    )


def _possible(text: pa.ChunkedArray, form: str, found: pa.ChunkedArray) -> pa.ChunkedArray:
    """`found` without days that there are not: strptime takes 31.02. for the second or third of
    March.
    """
    if not has_day(form):
        return found
    before, after = (_regex(piece) for piece in form.split("%d", 1))
    # only such a day can have been another
    late = pc.if_else(pc.greater(pc.day(found), 3), None, text)
    joined = late.combine_chunks()
    written = pc.struct_field(
        pc.extract_regex(joined, f"^{before}(?P<day>\\d{{1,2}}){after}$"), "day"
    ).cast(pa.int64())
    wrong = pc.fill_null(pc.not_equal(pa.chunked_array([written]), pc.day(found)), False)
    return pc.if_else(wrong, pa.scalar(None, found.type), found)


def _iso(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """ISO 8601; offsets are applied, and a time without one is taken as UTC."""
    text = _kept(text, _ISO)
    text = pc.replace_substring_regex(text, r"(\.\d{6})\d+", r"\1")  # Arrow takes no more of them
    zoned = pc.match_substring_regex(
        text, r"\d{2}:\d{2}(:\d{2}(\.\d+)?)?\s?(Z|[+-]\d{2}(:?\d{2})?)$"
    )
    parts = []
    for mark, kind in ((zoned, pa.timestamp("us", "UTC")), (pc.invert(zoned), pa.timestamp("us"))):
        chosen = pc.if_else(pc.fill_null(mark, False), text, pa.scalar(None, pa.string()))
        parts.append(_cast(chosen, kind))
    return pc.coalesce(pc.cast(parts[0], pa.timestamp("us")), parts[1])


def _cast(text: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    try:
        return text.cast(kind)
    except pa.ArrowInvalid:  # such as 2019-02-30: those cells are found one by one
        return pa.chunked_array([pa.array([_one(cell, kind) for cell in text.to_pylist()], kind)])


def _one(cell: str | None, kind: pa.DataType) -> datetime.datetime | None:
    try:
        found: datetime.datetime | None = pa.scalar(cell, pa.string()).cast(kind).as_py()
    except pa.ArrowInvalid:
        return None
    return found


def pattern(form: str) -> str:
    """A regular expression for what a strptime format writes, so that nothing follows it and a year
    has its digits.
    """
    return f"^{_regex(form)}$"


def _regex(form: str) -> str:
    escaped = form.replace(".", r"\.")
    for piece, digits in _PIECES.items():
        escaped = escaped.replace(piece, digits)
    return escaped


def formats(text: pa.ChunkedArray, least: float) -> list[str]:
    """Notations in which at least the share `least` of the cells (none of them missing) is a time;
    most cells first.

    Several mean that the cells do not say which: 01/02/2019 is two days.
    """
    total = max(len(text), 1)
    shares: dict[str, float] = {}
    for form in ("iso", *(day + clock for day in DATES for clock in CLOCKS)):
        regex = _ISO if form == "iso" else pattern(form)
        if (pc.sum(pc.match_substring_regex(text, regex)).as_py() or 0) < least * total:
            continue
        share = 1 - times(text, form).null_count / total
        if share >= least:
            shares[form] = share
    best = max(shares.values(), default=0.0)
    return [form for form, share in shares.items() if share == best]


def days(values: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Times as days since 1970, float64 [n], NaN where missing."""
    micro = values.cast(pa.timestamp("us")).cast(pa.int64()).cast(pa.float64(), safe=False)
    return np.asarray(pc.divide(micro, 86_400e6).to_numpy(), dtype=np.float64)
