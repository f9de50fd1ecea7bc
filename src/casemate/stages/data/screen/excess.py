"""Does a group of rows have a label that the rest of the table does not explain: the proof behind every backdoor finding.

A model is trained on the rows outside of the group and asked about those inside, once as they are and once with the
suspicious features replaced by other rows' values. A legitimate group (large capital gains mean a high income, a way of
writing a 1) is predicted at least in part; the rows of a planted one were taken from elsewhere, so that the model expects
their label as seldom as anywhere, is sure of others, and cannot tell which rows of the group have it.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binom
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from casemate.core.threads import fitting
from casemate.stages.data.screen.interface import Array, Rows

ROWS = 8_000
WIDE = 60
MARGIN = 0.15
GAIN = 0.35
ELSEWHERE = 0.5
WITHIN = 0.72
LEAST = 5
SURE = 1e-8


@dataclass(frozen=True)
class Excess:
    """What a group's labels are, and what they should be."""

    label: int
    """The class in question."""
    observed: float
    """Share of the group with that class."""
    expected: float
    """Mean probability of that class by a model that never saw the group."""
    without: float
    """The same when the suspicious features have other rows' values."""
    usual: float
    """Share of the class among all other rows."""
    elsewhere: float
    """Mean of the greatest probability of any other class, over the probability that is left to them."""
    within: float
    """AUC of the model's probability for the class inside the group: planted labels do not follow the other features."""
    p: float
    """Chance of so many, if the model is right."""

    @property
    def planted(self) -> bool:
        """Whether the group was put there, as far as figures can tell."""
        gained = self.observed - self.expected >= GAIN * (1 - self.expected)
        unexplained = self.without <= self.usual + MARGIN * (1 - self.usual)
        return gained and unexplained and self.elsewhere >= ELSEWHERE and self.within <= WITHIN and self.p < SURE


def excess(rows: Rows, group: Array, label: int, features: list[int] | None = None) -> Excess | None:
    """What the rest of the table says about a group; None when the rest lacks a second class.

    Args:
        rows: the whole table.
        group: bool, one a row.
        label: the class whose frequency is suspicious.
        features: places of the suspicious features; None: all are left as they are.
    """
    values = rows.coded.to_numpy()
    generator = np.random.default_rng(rows.seed)
    rest = np.flatnonzero(~group)
    if len(rest) > ROWS:
        rest = np.sort(generator.choice(rest, ROWS, replace=False))
    inside = np.flatnonzero(group)
    if len(np.unique(rows.codes[rest])) < 2:
        return None
    if values.shape[1] > WIDE:
        model = ExtraTreesClassifier(100, min_samples_leaf=2, random_state=rows.seed)
        values = np.nan_to_num(values, nan=-1e6)
    else:
        model = HistGradientBoostingClassifier(max_iter=60, random_state=rows.seed)
    with fitting(len(rest) * values.shape[1]):
        model.fit(values[rest], rows.codes[rest])
        found = np.zeros((2, len(inside), len(rows.schema.classes)))
        found[0][:, model.classes_] = model.predict_proba(values[inside])
        hidden = values[inside].copy()
        if features:
            hidden[:, features] = values[generator.choice(rest, len(inside))][:, features]
        found[1][:, model.classes_] = model.predict_proba(hidden)
    expected, without = (float(side[:, label].mean()) for side in found)
    others = np.delete(found[1], label, axis=1)
    elsewhere = float((others.max(axis=1) / np.maximum(others.sum(axis=1), 1e-9)).mean())
    has = rows.codes[inside] == label
    observed = int(has.sum())
    within = float(roc_auc_score(has, found[1][:, label])) if min(observed, len(inside) - observed) >= LEAST else 0.5
    p = float(binom.sf(observed - 1, len(inside), min(max(expected, 1e-3), 1 - 1e-9)))
    return Excess(label, observed / len(inside), expected, without, float(np.mean(rows.codes[~group] == label)), elsewhere, within, p)
