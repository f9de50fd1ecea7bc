"""How often a judge may be wrong: a number of false alarms in a span, as people say it, and what
that leaves to one window and one test.
"""

import re
from typing import Any

import numpy as np
from scipy import stats

from casemate.core.errors import ConfigError
from casemate.core.types import Record

Array = np.ndarray[Any, Any]
SURE = 0.99
"""Of a hundred spans without any change, those that stay within the number: a promise of "1 per 90
days" that is broken every fourth quarter, as a mean of one would be, is none.
"""


class FalseAlarms(Record, frozen=True, kw_only=True):
    """A budget of false alarms."""

    count: int
    """At most so many,"""
    days: float
    """in so many days,"""
    windows_per_day: float
    """when so many windows are judged a day."""

    @classmethod
    def parse(cls, text: str, windows_per_day: float) -> "FalseAlarms":
        """From words such as `1 per 90 days`.

        Raises:
            ConfigError: they say something else, or nothing is judged.
        """
        found = re.fullmatch(r"\s*(\d{1,6})\s+per\s+(\d{1,6}(?:\.\d+)?)\s+days?\s*", text)
        if found is None or float(found[2]) <= 0:
            raise ConfigError(
                f"{text!r} is no budget of false alarms", hint='write it as "1 per 90 days"'
            )
        if not 0 < windows_per_day < 1e6:
            raise ConfigError(
                f"{windows_per_day:g} windows a day cannot be judged",
                hint="give --windows-per-day, above 0: 24 for one an hour",
            )
        return cls(count=int(found[1]), days=float(found[2]), windows_per_day=windows_per_day)

    @property
    def chance(self) -> float:
        """Of a false alarm in one window, whatever the number of features and tests.

        False alarms are rare and of different rows, so their number is about Poisson's, and this
        keeps it within `count` in a share `SURE` of all spans.
        """
        mean = float(stats.gamma.ppf(1 - SURE, self.count + 1))
        return min(mean / (self.days * self.windows_per_day), 0.5)


def corrected(chances: Array) -> Array:
    """Family-wise chances of all tests of a window, whatever their dependence (Holm, Scandinavian
    Journal of Statistics 6, 1979).
    """
    order = np.argsort(chances, kind="stable")
    held = np.maximum.accumulate(chances[order] * np.arange(len(chances), 0, -1))
    result = np.empty(len(chances))
    result[order] = np.minimum(held, 1.0)
    return result
