"""Spans of time as people write them."""

import re

from casemate.core.errors import ConfigError

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
"""Seconds of each; a month or a year has no fixed length and is no unit."""


def seconds(text: str) -> float:
    """Of `90s`, `30m`, `6h`, `2d` or `1w`.

    Raises:
        ConfigError: it says something else.
    """
    found = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*([smhdw])\s*", text)
    if found is None:
        raise ConfigError(f"{text!r} is no span of time", hint="write it as 90s, 30m, 6h, 2d or 1w")
    return float(found[1]) * UNITS[found[2]]
