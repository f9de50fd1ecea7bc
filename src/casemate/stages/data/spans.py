"""Times of day as hours, and durations as seconds: `08:15`, `8:15 pm`, `1h 30m`, `26:10:00`,
`PT1H30M`; whole columns at a time with Arrow.

Years and months have no fixed length, so an ISO 8601 duration with them is no number; neither are
units that could be others (`5 m`) where nothing in the column says that they are times.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

UNITS = {"clock": "hours", "duration": "seconds"}
"""Format -> what its numbers count: hours since midnight, seconds."""
_NUMBER = r"\d+(?:[.,]\d+)?"
_CLOCK = (
    r"^(?P<h>[01]?\d|2[0-4]):(?P<m>[0-5]\d)(?::(?P<s>[0-5]\d(?:\.\d{1,9})?))?"
    r"\s?(?P<half>[AaPp]\.?[Mm]\.?)?$"
)
_BETWEEN = r"(?:[\s,]|and)*"
_WORDED = r"(?i)^(?P<sign>-)?" + "".join(
    rf"(?:(?P<{name}>{_NUMBER})\s*(?:{words}){_BETWEEN})?"
    for name, words in (
        ("w", "weeks?|wks?|w"),
        ("d", "days?|d"),
        ("h", "hours?|hrs?|h"),
        ("m", "minutes?|mins?|m"),
        ("s", "seconds?|secs?|s"),
        ("ms", "milliseconds?|ms"),
    )
)
_FORMS = (
    _WORDED + "$",
    rf"^(?P<sign>-)?P(?:(?P<w>{_NUMBER})W)?(?:(?P<d>{_NUMBER})D)?(?:T(?:(?P<h>{_NUMBER})H)?(?:(?P<m>{_NUMBER})M)?(?:(?P<s>{_NUMBER})S)?)?$",
    r"^(?P<sign>-)?(?:(?P<d>\d+)\s*d(?:ays?)?,?\s+)?(?P<h>\d{1,6}):(?P<m>[0-5]\d)(?::(?P<s>[0-5]\d(?:\.\d{1,9})?))?$",
)
"""In words; ISO 8601-1:2019, 5.5.2; as clocks, Python and pandas count on: `1 day, 2:03:04`,
`26:10`.
"""
_SECONDS = {"w": 604_800.0, "d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3}
"""Of each unit of a span."""
SURE = r"(?i)\d\s*(h|hours?|hrs?|min|mins|minutes?|sec|secs|seconds?|days?|ms)([\s,\d]|$)|^-?P|:"
"""What no other quantity is written like: a column of `5 m` or `10 w` alone may be metres
or watts.
"""


def numbers(values: pa.ChunkedArray, form: str) -> pa.ChunkedArray:
    """Cells as hours since midnight (`clock`) or seconds (`duration`), float64; null where a cell
    is missing or written otherwise.

    Args:
        values: trimmed text, or a type of times of day or of durations.
        form: `clock` or `duration`.
    """
    kind = values.type
    if pa.types.is_time(kind) and form == "clock":
        return pc.divide(
            values.cast(pa.time64("ns")).cast(pa.int64()).cast(pa.float64(), safe=False), 3.6e12
        )
    if not pa.types.is_string(kind):
        return values.cast(pa.float64(), safe=False)
    return (
        _clock(values)
        if form == "clock"
        else pc.coalesce(*[_duration(values, regex) for regex in _FORMS])
    )


def _clock(text: pa.ChunkedArray) -> pa.ChunkedArray:
    found = _groups(text, _CLOCK)
    hours, minutes, seconds = (_number(found[name]) for name in ("h", "m", "s"))
    half = pc.utf8_lower(pc.replace_substring(found["half"], ".", ""))
    written, late = pc.not_equal(half, ""), pc.equal(half, "pm")
    noon = pc.equal(hours, 12.0)
    turned = pc.add(pc.if_else(noon, 0.0, hours), pc.if_else(late, 12.0, 0.0))
    of_day = pc.divide(pc.add(pc.multiply(minutes, 60.0), seconds), 3600.0)
    sum_ = pc.add(pc.if_else(written, turned, hours), of_day)
    possible = pc.and_(
        pc.less_equal(sum_, 24.0), pc.or_(pc.invert(written), pc.less_equal(hours, 12.0))
    )
    return _chunked(pc.if_else(pc.fill_null(possible, False), sum_, pa.scalar(None, pa.float64())))


def _duration(text: pa.ChunkedArray, regex: str) -> pa.ChunkedArray:
    found = _groups(text, regex)
    total = pa.array(np.zeros(len(text)))
    for name, seconds in _SECONDS.items():
        if name in found:
            total = pc.add(total, pc.multiply(_number(found[name]), seconds))
    signed = pc.if_else(pc.equal(found["sign"], "-"), pc.negate(total), total)
    return _chunked(pc.if_else(pc.is_finite(signed), signed, pa.scalar(None, pa.float64())))


def _groups(text: pa.ChunkedArray, regex: str) -> dict[str, pa.Array]:
    """What the named groups of `regex` took of each cell, empty where one took nothing; null where
    the cell is written otherwise.
    """
    written = pc.match_substring_regex(text, r"\d")
    joined = pc.if_else(pc.fill_null(written, False), text, pa.scalar(None, pa.string()))
    chunks = joined.chunks if isinstance(joined, pa.ChunkedArray) else [joined]
    found = pc.extract_regex(
        pa.concat_arrays(chunks) if chunks else pa.array([], pa.string()), regex
    )
    return {field.name: pc.struct_field(found, field.name) for field in found.type}


def _number(text: pa.Array) -> pa.Array:
    """float64; a group that took nothing is 0."""
    return pc.replace_substring(pc.if_else(pc.equal(text, ""), "0", text), ",", ".").cast(
        pa.float64()
    )


def _chunked(values: pa.Array) -> pa.ChunkedArray:
    return pa.chunked_array([values])
