"""How far a version's columns moved from the pinned statistics.

Population stability index over the reference's bins (0.1: some, 0.25: much; Siddiqi, Credit Risk Scorecards, 2006), and a
chi-squared test over both versions' counts (SciPy), Bonferroni-corrected, so that small tables do not cry wolf.
"""

import numpy as np
from scipy.stats import chi2_contingency

from casemate.stages.data.checks.interface import Answer
from casemate.stages.data.checks.profile import Profile, shares

SOME, MUCH = 0.1, 0.25
SURE = 0.001
FLOOR = 1e-4


def check(reference: list[Profile], current: list[Profile], version: str) -> tuple[Answer, list[dict[str, float | str]]]:
    """(findings and `drift`, the largest index among columns that surely moved; per column index and p-value)."""
    answer = Answer()
    old = {column.name: column for column in reference}
    pairs = [(old[column.name], column) for column in current if column.name in old and len(old[column.name].counts) == len(column.counts)]
    told: list[dict[str, float | str]] = []
    for before, after in pairs:
        index, p = _index(before, after), min(1.0, _p_value(before, after) * len(pairs))
        told.append({"column": after.name, "index": index, "p": p})
        if index >= SOME and p < SURE:
            word = "much" if index >= MUCH else "somewhat"
            severity = "medium" if index >= MUCH else "low"
            answer.say("data.drift", severity, f"{after.name!r} moved {word} since {version} (stability index {index:.2f})", after.name)
    answer.figures["drift"] = max((float(row["index"]) for row in told if float(row["p"]) < SURE), default=0.0)
    return answer, told


def _index(before: Profile, after: Profile) -> float:
    old, new = (np.maximum(shares(column), FLOOR) for column in (before, after))
    return float(np.sum((new - old) * np.log(new / old)))


def _p_value(before: Profile, after: Profile) -> float:
    counts = np.array([[*column.counts, column.missing] for column in (before, after)], dtype=np.float64)
    counts = counts[:, counts.sum(axis=0) > 0]
    if counts.shape[1] < 2 or (counts.sum(axis=1) == 0).any():  # one bin: nothing can differ
        return 1.0
    return float(chi2_contingency(counts).pvalue)
