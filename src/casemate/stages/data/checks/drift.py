"""How far a table's columns moved from a reference's.

Population stability index over the reference's bins (0.1: some, 0.25: much; Siddiqi, Credit Risk
Scorecards, 2006), and a chi-squared test over both versions' counts (SciPy), Bonferroni-corrected,
so that small tables do not cry wolf. Rows of subjects with several count for as many as they are
worth (Rao and Scott, JASA 76, 1981).
"""

from typing import Any

import numpy as np
from scipy.stats import chi2_contingency, f

from casemate.stages.data.checks.interface import Answer
from casemate.stages.data.checks.profile import TableProfile, counted

SOME, MUCH = 0.1, 0.25
"""Stability index from which a column moved somewhat, and much: the customary limits of credit
scoring (Siddiqi, 2006).
"""
SURE = 0.001
"""One false alarm in a thousand tables that only differ by chance."""
FLOOR = 1e-4
"""Share of an empty bin: the index has no finite value otherwise. 1 % of the rows in a new bin
count .046.
"""
EXPECTED = 5.0
"""Bins that expect fewer rows are tested together, or the chi-squared law does not hold (Cochran,
Biometrics 10, 1954).
"""
Array = np.ndarray[Any, Any]


def check(
    reference: list[TableProfile], current: list[TableProfile], version: str
) -> tuple[Answer, list[dict[str, float | str]]]:
    """(findings and `drift`, the largest index among columns that surely moved; per column index
    and p-value).
    """
    answer = Answer()
    old = {column.name: column for column in reference}
    both = [(column, counted(old[column.name], column)) for column in current if column.name in old]
    pairs = [(column, counts) for column, counts in both if counts is not None]
    told: list[dict[str, float | str]] = []
    for column, counts in pairs:
        name = column.name
        index, p = index_of(counts), min(1.0, _chance(counts, old[name], column) * len(pairs))
        told.append({"column": name, "index": index, "p": p})
        if index >= SOME and p < SURE:
            word = "much" if index >= MUCH else "somewhat"
            severity = "medium" if index >= MUCH else "low"
            answer.say(
                "data.drift",
                severity,
                f"{name!r} moved {word} since {version} (stability index {index:.2f})",
                name,
            )
    answer.figures["drift"] = max(
        (float(row["index"]) for row in told if float(row["p"]) < SURE), default=0.0
    )
    return answer, told


def index_of(counts: Array) -> float:
    """The population stability index of rows per bin, [2, bins]; 0 where one of the tables has no
    row.
    """
    rows = counts.sum(axis=1, keepdims=True)
    if (rows == 0).any():
        return 0.0
    old, new = np.maximum(counts / rows, FLOOR)
    return float(np.sum((new - old) * np.log(new / old)))


def _chance(counts: Array, before: TableProfile, after: TableProfile) -> float:
    """`p_value`, by Rao and Scott's second correction where rows repeat subjects, with the degrees
    of freedom of Thomas and Rao (JASA 82, 1987).
    """
    if not before.subjects and not after.subjects:
        return p_value(counts)
    tested = _tested(counts * np.array([[before.worth], [after.worth]]))
    if tested.shape[1] < 2:
        return 1.0
    uneven = 1 + max(before.uneven, after.uneven)
    freedom = (tested.shape[1] - 1) / uneven
    people = [one.subjects or one.rows for one in (before, after)]
    found = float(chi2_contingency(tested, correction=False).statistic) / uneven / freedom
    return float(f.sf(found, freedom, freedom * (sum(people) - 2)))


def p_value(counts: Array) -> float:
    """How likely so different counts [2, bins] are by chance."""
    tested = _tested(counts)
    # of one bin nothing can differ
    return float(chi2_contingency(tested).pvalue) if tested.shape[1] >= 2 else 1.0


def _tested(counts: Array) -> Array:
    """The bins that expect enough rows, and the others together, [2, bins]; none where a table has
    no row.
    """
    rows = counts.sum(axis=1)
    if (rows == 0).any():
        return counts[:, :0]
    few = counts.sum(axis=0) * rows.min() / rows.sum() < EXPECTED
    tested = np.column_stack([counts[:, ~few], counts[:, few].sum(axis=1)])
    return np.asarray(tested[:, tested.sum(axis=0) > 0])
