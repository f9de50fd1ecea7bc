"""Outcomes that are known of some answers only, such as loans that were granted: how the known rows
stand for all, and of which answers nothing can be known.

Rows are weighted by the inverse of how often outcomes are known among answers like theirs (Horvitz
and Thompson, A generalization of sampling without replacement from a finite universe, JASA 47,
1952), in strata of equal answers and scores (post-stratification: Little, Missing-data adjustments
in large surveys, JBES 6, 1988). It holds if, among answers alike, whether an outcome becomes known
does not hang on the outcome. Where of a stratum none is known no weight can help (positivity; Hand
and Henley, Can reject inference ever work?, IMA Journal of Mathematics Applied in Business and
Industry 5, 1993), and that is said.
"""

from collections import Counter
from typing import Any

import numpy as np

from casemate.core.types import Finding
from casemate.ml.frame import worth

Array = np.ndarray[Any, Any]
MOST = 10.0
"""Largest weight beside a mean of 1: one row of a rare stratum must not decide a model (truncation,
Cole and Hernan, American Journal of Epidemiology 168, 2008, who found little bias at such bounds).
"""
UNKNOWN = 0.02
"""Share of all answers without any outcome in their stratum, from which it is told. Chosen."""
UNEVEN = 0.5
"""Below half of their number the known rows tell much less than their count suggests."""


def weights(known: Array, answered: Counter[int]) -> tuple[Array, list[Finding]]:
    """(weight of each known row with a mean of 1, [n]; what is to be said).

    Args:
        known: stratum of each row with an outcome that may teach, int64 [n].
        answered: rows answered per stratum, those without outcome included.
    """
    if not len(known):
        return np.ones(0), []
    kinds, places, counts = np.unique(known, return_inverse=True, return_counts=True)
    total = sum(answered.values())
    each = np.array(
        [max(answered[int(kind)], count) / count for kind, count in zip(kinds, counts, strict=True)]
    )
    found = each[places]
    found = np.minimum(found / found.mean(), MOST)
    found = found / found.mean()
    blind = sum(rows for kind, rows in answered.items() if kind not in set(kinds.tolist()))
    findings = []
    if total and blind >= UNKNOWN * total:
        text = (
            f"no outcome that may teach is known of {blind} of {total} answers"
            f" ({blind / total:.0%}) or of any like them: what would have become of"
            " them cannot be learnt from feedback"
        )
        findings.append(_finding("feedback.unknown", text))
    if worth(found) < UNEVEN * len(found):
        text = (
            "outcomes are known of some kinds of answers far more often than of others:"
            f" {len(found)} rows, weighted for that, tell as much as {worth(found):.0f}"
        )
        findings.append(_finding("feedback.selected", text))
    return found, findings


def _finding(name: str, text: str) -> Finding:
    return Finding(id=name, severity="medium", confidence="high", message=text)
