"""Rows that look like another unit: far outside of their column as they are, usual once converted.

Pint knows the units and converts. A row counts when it lies more than 6 robust deviations from the
median and less than 3 after conversion; three such rows for one unit are a finding.
"""

from typing import Any

import numpy as np
from scipy.stats import median_abs_deviation

from casemate.core.errors import ConfigError
from casemate.stages.data.checks.interface import Answer, CheckedTable
from casemate.stages.data.odd import rows_text

ALTERNATIVES = (
    "g", "mg", "kg", "lb", "oz", "m", "cm", "mm", "inch", "foot", "km", "mile", "degC", "degF",
    "kelvin", "kPa", "mmHg", "bar", "l", "ml", "dl", "s", "min", "h", "day", "year", "g/l", "mg/dl",
    "ug/l", "kcal", "kJ", "m/s", "km/h", "mile/h",
)  # fmt: skip
FAR, NEAR, LEAST = 6.0, 3.0, 3
"""Robust deviations from the median beyond which a cell is far, and within which it is usual once
converted; and cells of one unit that make a finding. Chosen: the gap between the two keeps honest
extremes apart from other units.
"""


def check(checked: CheckedTable) -> Answer:
    """A finding per column and unit that some rows seem to be in.

    Raises:
        ConfigError: a unit is unknown.
    """
    answer = Answer()
    for column in checked.schema.columns:
        unit = checked.config.data.column(column.name).unit
        if unit is None or column.type != "number":
            continue
        values = checked.table[column.name].to_numpy().astype(np.float64)
        present = values[~np.isnan(values)]
        spread = median_abs_deviation(present, scale="normal") if len(present) else 0.0
        if not spread > 0:
            continue
        middle = float(np.median(present))
        far = np.abs(values - middle) > FAR * spread
        if far.sum() >= LEAST:
            for other, converted in _converted(values, unit, column.name):
                rows = np.flatnonzero(far & (np.abs(converted - middle) < NEAR * spread))
                if len(rows) >= LEAST:
                    answer.say(
                        "data.unit",
                        "high",
                        f"{len(rows)} cells of {column.name!r} look like {other}, not {unit}",
                        rows_text(rows),
                        "medium",
                    )
                    break
    return answer


def _converted(values: Any, unit: str, column: str) -> list[tuple[str, Any]]:
    import pint

    registry: Any = pint.UnitRegistry()
    try:
        wanted = registry.Unit(unit)
    except Exception as error:
        raise ConfigError(
            f"[data.columns] {column}: unit {unit!r} is unknown: {error}",
            hint="for example kg, degC, mmHg, mg/dl",
        ) from error
    found = []
    for other in ALTERNATIVES:
        given = registry.Unit(other)
        if given.dimensionality == wanted.dimensionality and given != wanted:
            found.append((other, np.asarray(registry.Quantity(values, given).to(wanted).magnitude)))
    return found
