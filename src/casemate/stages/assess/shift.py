"""Is the hold-out like what was trained on, and is the model as good there as cross-validation
promised.

`shift_auc`: how well a classifier tells hold-out rows from training rows (0.5: not at all);
Lopez-Paz and Oquab, Revisiting Classifier Two-Sample Tests (ICLR 2017). `cv_gap`: mean
cross-validation score less the hold-out's figure; of errors in the unit of the target a share of
that score.
"""

from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import train_test_split

from casemate.core.threads import fitting
from casemate.core.types import Finding, Interval, Schema
from casemate.ml.frame import numeric
from casemate.stages.assess import roc
from casemate.stages.assess.sample import Sample
from casemate.stages.assess.subjects import Array, Groups, of, repeated

ROWS = 5_000
"""Rows a side, a sample; chosen for time."""
LEAST_ROWS = 20
"""Rows a side below which the interval is too wide to decide; the figure is unmeasured then."""
LEAST_SUBJECTS = 4
"""Two a half: one does not tell how subjects differ."""
GAP = 0.05
"""A gap whose whole interval lies above this is a finding that blocks."""
SCORERS = {
    "roc_auc": "roc_auc",
    "roc_auc_ovr": "roc_auc",
    "neg_log_loss": "log_loss",
    "neg_brier_score": "brier",
    "neg_root_mean_squared_error": "rmse",
    "neg_mean_absolute_error": "mae",
    "neg_median_absolute_error": "median_absolute_error",
}
IN_UNITS = {"rmse", "mae", "median_absolute_error"}
"""Figures in the unit of the target: their gap is a share of what cross-validation promised."""


class TooFew(ValueError):
    """There are too few rows to compare."""


def shift_auc(members: Sample, holdout: Sample, schema: Schema, seed: int) -> Interval:
    """AUC with interval of telling hold-out rows from training rows.

    A classifier learns from one half and is asked about the other. Both halves in turn would use
    each row, but the two areas then depend on one another: their interval held .87 of .95. All rows
    of a subject are in one half, or it would be asked about subjects whose side it was told.
    """
    count = min(len(members.target), len(holdout.target), ROWS)
    if count < LEAST_ROWS:
        raise TooFew(f"{count} rows a side, at least {LEAST_ROWS} are needed")
    rows = members.take(count, seed).joined(holdout.take(count, seed))
    frame = numeric(rows.frame, schema)
    side = np.r_[np.zeros(count), np.ones(count)]
    model = HistGradientBoostingClassifier(max_iter=50, random_state=seed)
    taught, asked = _halves(side, repeated(rows.groups), seed)
    with fitting(frame.size):
        found = model.fit(frame.iloc[taught], side[taught]).predict_proba(frame.iloc[asked])[:, 1]
    return roc.area(side[asked], found, of(rows.groups, asked))


def _halves(side: Array, groups: Groups, seed: int) -> tuple[Array, Array]:
    """Row numbers of two halves with about equally many rows, or subjects, of each side."""
    if groups is None:
        halves = train_test_split(
            np.arange(len(side)), test_size=0.5, stratify=side, random_state=seed
        )
        return halves[0], halves[1]
    sides = side[np.unique(groups, return_index=True)[1]]  # a subject is on one side
    if min(np.bincount(sides.astype(int), minlength=2)) < LEAST_SUBJECTS:
        raise TooFew(f"fewer than {LEAST_SUBJECTS} subjects a side")
    taught, _ = train_test_split(
        np.arange(len(sides)), test_size=0.5, stratify=sides, random_state=seed
    )
    within = np.isin(groups, taught)
    return np.flatnonzero(within), np.flatnonzero(~within)


def cv_gap(scores: list[float], metric: str, metrics: dict[str, Any]) -> Interval | None:
    """Cross-validation's mean less the hold-out's figure, with the hold-out's interval; None for
    scorers without a figure.
    """
    name = SCORERS.get(metric, metric)
    if name not in metrics or not scores:
        return None
    sign = -1.0 if metric.startswith("neg_") else 1.0
    expected = float(np.mean(scores)) * sign
    found = metrics[name]
    unit = _unit(scores, metric)
    ends = sorted(sign * (expected - found[end]) / unit for end in ("low", "high"))
    return Interval(value=sign * (expected - found["value"]) / unit, low=ends[0], high=ends[1])


def _unit(scores: list[float], metric: str) -> float:
    """What a gap is measured in: what cross-validation promised, where that has the unit of the
    target.
    """
    return abs(float(np.mean(scores))) or 1.0 if SCORERS.get(metric, metric) in IN_UNITS else 1.0


def findings(gap: Interval | None, scores: list[float], metric: str) -> list[Finding]:
    """Blocks when the model is clearly worse on the hold-out than cross-validation promised, whose
    folds differ by chance too.
    """
    if gap is None:
        return []
    relative = SCORERS.get(metric, metric) in IN_UNITS
    chance = (
        2 * float(np.std(scores, ddof=1)) / _unit(scores, metric) / len(scores) ** 0.5
        if len(scores) > 1
        else 0.0
    )
    if gap.low - chance <= GAP:
        return []
    where = (
        f"error is {gap.value:.0%} ({gap.low:.0%} to {gap.high:.0%}) larger than in"
        if relative
        else (f"figure lies {gap.value:.3f} ({gap.low:.3f} to {gap.high:.3f}) below")
    )
    text = f"the hold-out's {where} cross-validation: the rows differ, or the folds leak"
    return [Finding(id="assess.shift", severity="high", confidence="high", message=text)]
