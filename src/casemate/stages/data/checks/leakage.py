"""Features that know the answer: each alone, all together in a few cuts, and by whether they are
filled in at all.

One shallow tree a feature, cross-validated; missing values are a value of their own, because a
field that is filled in only after the outcome is the most common leak. How grave it is goes by what
the *honest* features reach together, those that are not suspicious themselves: several leaks would
otherwise excuse one another. A strong honest feature differs from a leak in its ROC curve: a
measurement errs more and more towards the border, a field that was copied from the outcome is exact
where it says anything and chance elsewhere. Sources: Kaufman, Rosset, Perlich, Leakage in Data
Mining (KDD 2011), for the idea; Fawcett, An introduction to ROC analysis (2006), for the shape.

Where `[data] subject` names people with several rows, people are told from people who were not
learnt from: a date of birth knows whose row it is, and so the outcome of a person who was learnt
from, but nothing of anybody else.

Of more than two classes each is also asked against the rest: a balance that is nought for every
repaid loan says nothing of the other outcomes, and a mean over classes hides it. There a perfect
ROC curve is no proof, because a measurement may set one class apart (the largest kind of bean): a
leak is one value, or a gap, that all rows of the class have and no other, or the other way round.
What is strong for that class beside such a field is told too, at medium severity: fields of one
record come to be known together.
"""

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.tree import DecisionTreeClassifier

from casemate.core.findings import leaks
from casemate.core.types import MISSING_CATEGORY
from casemate.ml.frame import numeric
from casemate.stages.data.checks.interface import Answer, CheckedTable
from casemate.stages.data.checks.separation import (
    FOLDS,
    Array,
    auc,
    probabilities,
    quick_auc,
    reached,
    shallow_tree,
)

# Where a limit names no source it was chosen. What all of them do together is simulated by
# bench/assurance/triggers.py, with leaks and honest
# tables (docs/explanation/assurance.md, Triggers).
ROWS = 4_000
"""Rows that are looked at, a sample. Chosen for time: every feature is cross-validated."""
WORTH = 0.8
"""AUC by a quick look, which is a little too good, from which a feature is looked at closely: a
leak lies far above.
"""
SUSPICIOUS, CERTAIN = 0.9, 0.995
"""AUC of a feature alone from which it is suspicious, and from which it is told whatever the others
reach. Chosen; how grave it is goes by `FAR`, `COPY` and the curve. With these limits all simulated
leaks were found and no honest table was called leaky (docs/explanation/assurance.md).
"""
FILLED_LATER = 0.85
"""AUC of a feature's mere presence from which it is taken for filled in after the outcome."""
FAR = 0.25
"""Part of the honest features' gap to 1 that a leak leaves."""
EASY = 0.9
"""AUC of the honest features from which the problem is easy, and a strong feature no wonder."""
COPY, COPY_FAR, COPY_ROWS = 0.998, 0.05, 500
"""Even in an easy problem a feature is a copy of the outcome: from this AUC, this part of the gap,
and so many rows.
"""
EXACT, FALSE = 0.9, 0.005
"""Part of the greatest true positive rate that an AUC allows, reached at this false positive rate:
.94 of .94 for a copy with gaps and AUC .97, .55 for two overlapping normal distributions.
"""
CUTS = 4
"""Cuts with which a few features together must not be nearly perfect."""
PURE, LEAST, SURE = 0.99, 20, 1e-6
"""Share of a group of (un)filled rows, or of rows told by `CUTS` cuts, that must have one class or
be told right; least rows of the group, and of the rest; and the chance of so pure a group
(binomial, one of a million: every feature is asked). Chosen.
"""


def check(checked: CheckedTable) -> Answer:
    """Findings, and `leakage_auc`: the largest AUC of a single feature, as a leak also for one
    class. Nothing where a class is smaller than folds.
    """
    answer = Answer()
    at = checked.sample(ROWS)
    codes = checked.codes[at]
    whose = at if checked.groups is None else checked.groups[at]
    counts = np.bincount(np.unique(np.column_stack([codes, whose]), axis=0)[:, 0].astype(int))
    kept = np.isin(codes, np.flatnonzero(counts >= FOLDS))
    _, codes = np.unique(codes[kept], return_inverse=True)
    whose = whose[kept]
    if len(np.unique(codes)) < 2:
        return answer
    frame = numeric(checked.frame.iloc[at[kept]], checked.schema)
    missing = _missing(checked.frame.iloc[at[kept]])
    for name, absent in missing.items():
        _presence(name, absent, codes, whose, answer)
    quick = {str(name): quick_auc(frame[name].to_numpy(), codes) for name in frame.columns}
    best = max(quick, key=lambda name: quick[name], default=None)
    asked = [name for name in quick if quick[name] >= WORTH or name == best]
    found = {
        name: probabilities(shallow_tree(len(codes)), frame[[name]], codes, whose) for name in asked
    }
    alone = {name: auc(codes, one) for name, one in found.items()}
    answer.figures["leakage_auc"] = max(alone.values(), default=0.5)
    later = _filled_later(missing, codes, whose, answer)
    classes = [checked.schema.classes[code] for code in np.unique(checked.codes[at][kept])]
    told = (
        _one_against_rest(frame, found, codes, whose, classes, answer)
        if len(classes) > 2
        else set()
    )
    suspicious = [name for name in alone if alone[name] >= SUSPICIOUS or name in later]
    honest = frame.drop(columns=[*{*suspicious, *later}])
    if suspicious:
        rest = reached(honest, codes, whose)
        for name in sorted({*suspicious} - told, key=lambda name: (-alone[name], name)):
            _alone(
                name,
                alone[name],
                found[name],
                rest,
                honest.shape[1],
                codes,
                later.get(name),
                answer,
            )
    _together(honest.drop(columns=[name for name in told if name in honest]), codes, whose, answer)
    certain = set(leaks(answer.findings, list(missing)))
    answer.findings = [
        one
        for one in answer.findings
        if one.id != "data.leakage-presence" or one.location not in certain
    ]
    return answer


def _one_against_rest(
    frame: pd.DataFrame,
    found: dict[str, Array],
    codes: Array,
    whose: Array,
    classes: list[str],
    answer: Answer,
) -> set[str]:
    """Features that know one of several classes, told; see above. `found` has each one's
    probabilities [n, classes].
    """
    told: set[str] = set()
    for code in np.flatnonzero(np.bincount(codes) >= LEAST):
        mine = codes == code
        areas = {name: float(roc_auc_score(mine, one[:, code])) for name, one in found.items()}
        strong = [
            name
            for name in sorted(areas, key=lambda name: (-areas[name], name))
            if areas[name] >= SUSPICIOUS
        ]
        copies = [
            name
            for name in strong
            if _without_error(mine, found[name][:, code], 1)
            and _by_one_value(frame[name].to_numpy(), mine)
        ]
        honest = frame.drop(columns=strong)
        if not copies or len(codes) < COPY_ROWS:
            continue
        rest = reached(honest, mine.astype(np.int64), whose)
        known = [
            name
            for name in copies
            if _far(areas[name], rest, honest.shape[1]) or _copy(areas[name], rest, len(codes))
        ]
        answer.figures["leakage_auc"] = max(
            answer.figures["leakage_auc"], *(areas[name] for name in known), 0.5
        )
        others = [
            name
            for name in strong
            if known and name not in known and _far(areas[name], rest, honest.shape[1])
        ]
        for name in [name for name in (*known, *others) if name not in told]:
            told.add(name)
            text = (
                f"{name!r} alone tells class {classes[code]!r} from the others with AUC"
                f" {areas[name]:.3f}, all {honest.shape[1]} features that "
            )
            text += f"are not suspicious together with {rest:.3f}"
            if name in known:
                answer.say(
                    "data.leakage",
                    "high",
                    text + ", by one value: it may be known only after the outcome",
                    name,
                    "medium",
                )
            else:
                answer.say(
                    "data.leakage",
                    "medium",
                    f"{text}; like {known[0]!r} it may be known only after the outcome",
                    name,
                    "low",
                )
    return told


def _by_one_value(values: Array, mine: Array) -> bool:
    """Whether one value, or a gap, is had by nearly all rows of a class and hardly another row, or
    by all others and few of the class.
    """
    places, kinds = pd.factorize(values, use_na_sentinel=False)
    inside, outside = (
        np.bincount(places[rows], minlength=len(kinds)) / rows.sum() for rows in (mine, ~mine)
    )
    return bool(
        np.any((inside >= EXACT) & (outside <= FALSE))
        or np.any((outside >= 1 - FALSE) & (inside <= 1 - EXACT))
    )


def _far(value: float, rest: float, others: int) -> bool:
    return rest < EASY and (1 - value) / max(1 - rest, 1e-9) <= FAR and others > 1


def _copy(value: float, rest: float, rows: int) -> bool:
    return value >= COPY and (1 - value) / max(1 - rest, 1e-9) <= COPY_FAR and rows >= COPY_ROWS


def _alone(
    name: str,
    value: float,
    found: Array,
    rest: float,
    others: int,
    codes: Array,
    filled: float | None,
    answer: Answer,
) -> None:
    far, copy = _far(value, rest, others), _copy(value, rest, len(codes))
    certain = value >= CERTAIN and value > rest
    text = (
        f"{name!r} alone predicts the target with AUC {value:.3f}, all {others} features that are"
        f" not suspicious together with {rest:.3f}"
    )
    if filled is not None:
        text += (
            f", and whether it is filled in with {filled:.3f}: it may be known only after the"
            " outcome"
        )
        answer.say("data.leakage", "high", text, name, "medium")
    elif (far or copy) and _exact(found, codes):
        answer.say("data.leakage", "high", text + ": it may know the answer", name, "medium")
    elif far or certain:
        answer.say("data.leakage", "low", text + ": it may know the answer", name, "medium")


def _exact(found: Array, codes: Array) -> bool:
    """Whether classes with most of the rows are told nearly without false alarms, as often as their
    AUC allows.
    """
    exact = [
        any(_without_error(codes == code, sign * found[:, code], sign) for sign in (1, -1))
        for code in range(found.shape[1])
    ]
    return float(np.mean(np.array(exact)[codes])) > 0.5


def _without_error(mine: Array, score: Array, sign: int) -> bool:
    mine = mine if sign == 1 else ~mine
    area = roc_auc_score(mine, score)
    false, true, _ = roc_curve(mine, score)
    return bool(area >= SUSPICIOUS and np.max(true[false <= FALSE]) >= EXACT * (2 * area - 1))


def _filled_later(
    missing: dict[str, Array], codes: Array, whose: Array, answer: Answer
) -> dict[str, float]:
    """AUC of the presence of features, where it says much; several that say it only together are
    told here.
    """
    some = {
        name: absent.astype(float)
        for name, absent in missing.items()
        if LEAST <= absent.sum() <= len(codes) - LEAST
    }
    each = {
        name: auc(
            codes,
            probabilities(shallow_tree(len(codes)), pd.DataFrame({name: absent}), codes, whose),
        )
        for name, absent in some.items()
    }
    later = {name: value for name, value in each.items() if value >= FILLED_LATER}
    rest = pd.DataFrame({name: absent for name, absent in some.items() if name not in later})
    if (
        rest.shape[1] > 1
        and (value := auc(codes, probabilities(shallow_tree(len(codes)), rest, codes, whose)))
        >= FILLED_LATER
    ):
        names = ", ".join(repr(name) for name in rest.columns[:5])
        text = (
            f"which of {names} are filled in predicts the target with AUC {value:.3f}: they may be"
            " known only after the outcome"
        )
        answer.say("data.leakage", "high", text, ", ".join(rest.columns[:5]), "medium")
    return later


def _together(honest: pd.DataFrame, codes: Array, whose: Array, answer: Answer) -> None:
    """Features none of which says much, and of which a few cuts say nearly everything."""
    if honest.shape[1] < 2:
        return
    model = DecisionTreeClassifier(max_leaf_nodes=CUTS + 1, min_samples_leaf=5, random_state=0)
    found = probabilities(model, honest, codes, whose)
    right = float(np.mean(found.argmax(axis=1) == codes))
    usual = float(np.bincount(codes).max() / len(codes))
    if right >= PURE and auc(codes, found) >= CERTAIN and (1 - right) <= COPY_FAR * (1 - usual):
        used = model.fit(honest, codes).tree_.feature
        names = ", ".join(repr(str(honest.columns[place])) for place in np.unique(used[used >= 0]))
        text = (
            f"{names} together say the target right in {right:.1%} of the rows with {CUTS} cuts:"
            " they may know the answer"
        )
        answer.say("data.leakage", "medium", text, names, "medium")


def _missing(frame: pd.DataFrame) -> dict[str, Array]:
    return {
        str(name): np.asarray(frame[name].isna() | (frame[name] == MISSING_CATEGORY))
        for name in frame.columns
    }


def _presence(name: str, missing: Array, codes: Array, whose: Array, answer: Answer) -> None:
    """A feature that is there, or not there, for one class only; rows of one subject that agree in
    both count once.
    """
    once = np.unique(np.column_stack([whose, missing, codes]), axis=0, return_index=True)[1]
    missing, codes = missing[once], codes[once]
    for absent in (False, True):
        group = codes[missing == absent]
        if not LEAST <= len(group) <= len(codes) - LEAST:
            continue
        counts = np.bincount(group, minlength=int(codes.max()) + 1)
        usual = float(np.mean(codes == counts.argmax()))
        p = binomtest(
            int(counts.max()), len(group), min(max(usual, 1e-6), 1 - 1e-6), alternative="greater"
        ).pvalue
        if counts.max() >= PURE * len(group) and p < SURE:
            word = "missing" if absent else "filled in"
            text = (
                f"where {name!r} is {word}, {counts.max() / len(group):.1%} of {len(group)} rows"
                f" have one class (usual: {usual:.1%})"
            )
            answer.say("data.leakage-presence", "medium", text, name, "medium")
