"""Sources and times at which suspicious rows, or one label, are unusually frequent.

Binomial tests of every source (and of 20 stretches of time) against the other rows,
Bonferroni-corrected (SciPy). A site may well have other patients, so a label's frequency is told
and no row is flagged for it; a source that sends three times as many suspicious rows as the others
should be looked at.
"""

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from casemate.config import ScreenTable
from casemate.core.types import Finding, Quarantined
from casemate.stages.data.screen.interface import Array, ScreenedRows

STRETCHES = 20
"""Of time, with as many rows each. Chosen: each still has enough rows to be compared."""
SURE = 1e-4
"""Chance, corrected for all places that are looked at (Bonferroni), below which a concentration is
told: by chance in one of 10 000 tables. Chosen.
"""
LEAST = 5
"""Suspicious rows, or rows of a source, below which nothing is said of it. Chosen."""
TIMES = 3.0
"""As many suspicious rows as elsewhere, times this, from which a source is told. Chosen: sites
differ honestly.
"""
FAR = 0.2
"""Difference of a label's shares, here and elsewhere, from which it is told (severity `low`,
nothing is flagged). Chosen.
"""


def findings(
    rows: ScreenedRows, suspects: list[Quarantined], options: ScreenTable
) -> list[Finding]:
    """What is concentrated where."""
    if not options.provenance:
        return []
    found: list[Finding] = []
    flagged = np.zeros(len(rows.codes), dtype=bool)
    flagged[[suspect.row for suspect in suspects]] = True
    places: list[tuple[str, Array]] = []
    if rows.origin is not None:
        places.append(("source", np.asarray(rows.origin).astype(str)))
    if rows.time is not None and len(rows.codes) >= STRETCHES * LEAST:
        ranks = pd.Series(rows.time).rank(method="first").to_numpy()
        stretch = np.minimum((ranks - 1) * STRETCHES / len(ranks), STRETCHES - 1).astype(int)
        places.append(("stretch of time", np.char.add(stretch.astype(str), f" of {STRETCHES}")))
    for word, kinds in places:
        found += _suspicious(word, kinds, flagged)
        found += _labels(word, kinds, rows)
    return found


def _suspicious(word: str, kinds: Array, flagged: Array) -> list[Finding]:
    found = []
    names = np.unique(kinds)
    for name in names:
        mine = kinds == name
        hits, others = (
            int(flagged[mine].sum()),
            (float(flagged[~mine].mean()) if (~mine).any() else 0.0),
        )
        if hits < LEAST or hits / mine.sum() < TIMES * max(others, 1e-4):
            continue
        p = binomtest(hits, int(mine.sum()), max(others, 1e-4), alternative="greater").pvalue * len(
            names
        )
        if p < SURE:
            text = (
                f"{word} {name!r}: {hits / mine.sum():.1%} of its rows are under suspicion,"
                f" elsewhere {others:.1%}"
            )
            found.append(
                Finding(
                    id="data.provenance",
                    severity="medium",
                    confidence="high",
                    message=text,
                    location=str(name),
                )
            )
    return found


def _labels(word: str, kinds: Array, rows: ScreenedRows) -> list[Finding]:
    found = []
    names = np.unique(kinds)
    for name in names:
        mine = kinds == name
        if mine.sum() < LEAST or not (~mine).any():
            continue
        here, there = (
            np.bincount(rows.codes[part], minlength=len(rows.schema.classes)) / part.sum()
            for part in (mine, ~mine)
        )
        code = int(np.argmax(np.abs(here - there)))
        if abs(here[code] - there[code]) < FAR:
            continue
        p = binomtest(
            int(np.sum(rows.codes[mine] == code)),
            int(mine.sum()),
            float(np.clip(there[code], 1e-6, 1 - 1e-6)),
        ).pvalue
        if p * len(names) * len(here) < SURE:
            label = rows.schema.classes[code]
            text = (
                f"{word} {name!r} has class {label!r} in {here[code]:.0%} of its rows, elsewhere"
                f" {there[code]:.0%}"
            )
            found.append(
                Finding(
                    id="data.provenance-label",
                    severity="low",
                    confidence="high",
                    message=text,
                    location=str(name),
                )
            )
    return found[:20]
