"""Wrong labels, copies and floods in simulated tables: labels drawn from logistic models (Platt,
1999), flips as Northcutt et al. (JAIR 2021).
"""

from typing import Any

import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues
from pandas.api.types import is_numeric_dtype
from scipy.optimize import brentq
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from casemate.config import ScreenTable
from casemate.core.types import ColumnSchema, Schema
from casemate.stages.data.screen.duplicates import Duplicates
from casemate.stages.data.screen.floods import Floods
from casemate.stages.data.screen.interface import ScreenedRows, Suspicion
from casemate.stages.data.screen.label_noise import LabelNoise
from casemate.stages.data.screen.neighbours import Neighbours
from casemate.stages.data.screen.outliers import Outliers

FIGURES = {
    "clean tables refused": ("<=", 0.02),
    "label noise, F1 at 10 % less that of cleanlab": (">=", 0.02),
    "flips in a group, recall": (">=", 0.5),
    "floods found": (">=", 0.95),
    "copies found": (">=", 0.95),
}
Array = np.ndarray[Any, Any]
AUCS = (0.65, 0.72, 0.79, 0.86, 0.95)
SIZES = (300, 1000, 3000)
LARGE = (8000, 20_000)
KINDS = (
    "linear",
    "joint",
    "heavy",
    "curved",
    "yes or no",
    "ordinal",
    "mixed",
    "steps",
    "survey",
    "regions",
)


def table(
    count: int, auc: float, kind: str, random: np.random.Generator, positives: float = 0.5
) -> tuple[pd.DataFrame, Array, Array]:
    """(features, labels drawn from their true probabilities, these); `auc` and the share of
    `positives` are those of the true probabilities.
    """
    width = int(random.integers(5, 12))
    if kind in ("yes or no", "ordinal", "mixed", "survey"):
        kinds = np.full(width, 2) if kind == "yes or no" else random.integers(2, 7, width)
        # answers that hang together: 6 ways to answer, one answer in ten by itself
        if kind == "survey":
            ways = random.integers(0, kinds, (6, width))[
                random.choice(6, count, p=random.dirichlet(np.ones(6) * 2))
            ]
            values = np.where(
                random.random((count, width)) < 0.1, random.integers(0, kinds, (count, width)), ways
            )
        else:
            values = np.column_stack(
                [
                    random.choice(int(k), count, p=random.dirichlet(np.full(int(k), 3.0)))
                    for k in kinds
                ]
            )
        logit = np.sum(
            [
                random.standard_normal(int(k))[values[:, j]] * (j == 0 or random.random() < 0.7)
                for j, k in enumerate(kinds)
            ],
            axis=0,
        )
        names = np.array([f"v{k}" for k in range(7)], dtype=object)
        frame = pd.DataFrame(
            {
                f"q{j}": names[values[:, j]] if j % 2 else values[:, j].astype(float)
                for j in range(width)
            }
        )
        if kind == "mixed":
            numbers = np.round(random.standard_normal((count, 3)), 1)
            frame[["z0", "z1", "z2"]], logit = numbers, logit + numbers @ [1.0, 0.5, 0.0]
    else:
        values = (
            random.standard_t(3, (count, width))
            if kind == "heavy"
            else random.standard_normal((count, width))
        )
        logit = (
            values
            @ np.r_[1.0, random.standard_normal(width - 1) * (random.random(width - 1) < 0.6)]
        )
        if kind == "joint":
            logit = logit + 1.2 * values[:, 1] * values[:, 2] + (values[:, 3] > 0) * values[:, 0]
        if kind == "curved":
            logit = logit + values[:, 1] ** 2 - np.abs(values[:, 2])
        if kind == "steps":
            logit = random.standard_normal(8)[
                (values[:, 0] > 0) * 4 + (values[:, 1] > 0.3) * 2 + (values[:, 2] > -0.3)
            ]
        frame = pd.DataFrame(values, columns=[f"x{j}" for j in range(width)])
    logit = (logit - logit.mean()) / max(logit.std(), 1e-9)
    if kind == "regions":  # one feature says how sure the outcome is
        logit = logit * np.where(values[:, -1] > 0, 0.4, 3.0)
    sharpest = 80.0
    scale = sharpest
    if _auc(_true(sharpest, logit, positives)) > auc:
        scale = brentq(lambda scale: _auc(_true(scale, logit, positives)) - auc, 0.01, sharpest)
    true = _true(scale, logit, positives)
    return frame, (random.random(count) < true).astype(int), true


def _true(scale: float, logit: Array, positives: float) -> Array:
    """Probabilities of this steepness and mean."""
    edge = 30 + scale * float(np.abs(logit).max())
    return np.asarray(
        expit(
            scale * logit
            + brentq(lambda base: expit(scale * logit + base).mean() - positives, -edge, edge)
        )
    )


def _auc(true: Array) -> float:
    """AUC of true probabilities over labels that are drawn from them."""
    ordered = np.sort(true)
    below = np.cumsum(1 - ordered) - (1 - ordered) / 2
    return float(np.sum(ordered * below) / (ordered.sum() * (1 - ordered).sum()))


def rows_of(frame: pd.DataFrame, codes: Array) -> ScreenedRows:
    """What a detector gets."""
    columns = [
        ColumnSchema(name=name, type="number" if is_numeric_dtype(frame[name]) else "category")
        for name in frame
    ]
    frame = frame.astype({column.name: object for column in columns if column.type == "category"})
    return ScreenedRows(
        frame,
        codes,
        None,
        Schema(
            target="y",
            classes=["0", "1"],
            columns=[*columns, ColumnSchema(name="y", type="category", use=False)],
        ),
        0,
    )


def flipped(
    codes: Array, share: float, random: np.random.Generator, where: Array | None = None
) -> tuple[Array, Array]:
    """(labels of which a share is turned over, which)."""
    among = np.arange(len(codes)) if where is None else np.flatnonzero(where)
    wrong = np.zeros(len(codes), dtype=bool)
    wrong[random.choice(among, round(share * len(among)), replace=False)] = True
    return np.where(wrong, 1 - codes, codes), wrong


def marked(found: Suspicion, count: int) -> Array:
    """Rows that a detector names, bool [n]."""
    mask = np.zeros(count, dtype=bool)
    mask[[suspect.row for suspect in found.rows]] = True
    return mask


def refused(rows: ScreenedRows) -> tuple[bool, float]:
    """(whether the detectors of this part would refuse the table, the share of its rows that they
    name).
    """
    options = ScreenTable()
    found = [
        detector()(rows, options)
        for detector in (Duplicates, Floods, Outliers, Neighbours, LabelNoise)
    ]
    share = float(np.mean(np.any([marked(one, len(rows.codes)) for one in found], axis=0)))
    return (
        share > options.cap
        or any(finding.severity == "high" for one in found for finding in one.findings),
        share,
    )


def clean(scale: float) -> dict[str, list[dict[str, Any]]]:
    """Tables in which no label is wrong."""
    repeats = max(1, round(4 * scale))
    sizes = SIZES if scale >= 0.2 else SIZES[:1]
    answers = []
    for count in sizes + (LARGE if scale >= 1 else ()):
        for auc in AUCS:
            for place, kind in enumerate(KINDS if scale >= 0.2 else KINDS[:: len(KINDS) // 2]):
                for repeat in range(repeats if count in SIZES else 1):
                    random = np.random.default_rng([count, int(100 * auc), place, repeat])
                    frame, codes, _ = table(
                        count, auc, kind, random, (0.5, 0.15)[(place + repeat) % 2]
                    )
                    answers.append((count, auc, kind, *refused(rows_of(frame, codes))))
    curve = [
        {
            "value": float(np.mean([a[3] for a in answers if a[:2] == (count, auc)])),
            "x": auc,
            "series": f"{count} rows",
        }
        for count in dict.fromkeys(a[0] for a in answers)
        for auc in AUCS
    ]
    named = [
        {
            "value": float(np.mean([a[4] for a in answers if a[:2] == (count, auc)])),
            "x": auc,
            "series": f"{count} rows",
        }
        for count in dict.fromkeys(a[0] for a in answers)
        for auc in AUCS
    ]
    return {
        "clean tables refused": [
            {
                "value": float(np.mean([a[3] for a in answers])),
                "tables": len(answers),
                "refused": [a for a in answers if a[3]],
            }
        ],
        "clean tables refused, by AUC and rows": curve,
        "clean tables, share of rows named": named,
    }


def usual(rows: ScreenedRows) -> Array:
    """Out-of-fold probabilities of boosted trees as scikit-learn sets them: what people give to
    cleanlab.
    """
    model = HistGradientBoostingClassifier(
        categorical_features=[column.name for column in rows.schema.categories] or None,
        random_state=0,
    )
    return np.asarray(
        cross_val_predict(
            model,
            rows.coded,
            rows.codes,
            cv=StratifiedKFold(5, shuffle=True, random_state=0),
            method="predict_proba",
        )
    )


def noisy(scale: float) -> dict[str, list[dict[str, Any]]]:
    """Labels turned over at random, in the whole table; and rare positives."""
    count, repeats = (6000, max(1, round(3 * scale))) if scale >= 0.2 else (1500, 1)
    told, better = [], []
    for name, auc, kind, positives in (
        ("AUC .95", 0.95, "linear", 0.5),
        ("AUC .9", 0.9, "mixed", 0.5),
        ("AUC .8", 0.8, "joint", 0.5),
        ("2 % positive", 0.99, "curved", 0.02),
    ):
        for share in (0.0, 0.05, 0.1, 0.2, 0.3):
            grave, gains = [], []
            for repeat in range(repeats):
                random = np.random.default_rng([7, repeat, int(100 * auc)])
                frame, codes, _ = table(count, auc, kind, random, positives)
                given, wrong = flipped(codes, share, random)
                rows = rows_of(frame, given)
                found = LabelNoise()(rows, ScreenTable())
                grave.append(any(finding.severity == "high" for finding in found.findings))
                if share == 0.1:
                    issues = find_label_issues(given, usual(rows), n_jobs=1)
                    gains.append(f1_score(wrong, marked(found, count)) - f1_score(wrong, issues))
            told.append({"value": float(np.mean(grave)), "x": share, "series": name})
            if gains:
                better.append({"value": float(np.mean(gains)), "x": auc, "series": name})
    return {
        "label noise blocks, by share of flips": told,
        "label noise, F1 at 10 % less that of cleanlab": better,
    }


def grouped(scale: float) -> dict[str, list[dict[str, Any]]]:
    """Labels turned over inside one group only."""
    points = []
    count, repeats = (4000, max(1, round(3 * scale))) if scale >= 0.2 else (2000, 1)
    for kind in ("linear", "joint", "mixed") if scale >= 0.2 else ("linear",):
        for auc in (0.85, 0.92):
            for what in ("a site", "a quarter"):
                recalls = []
                for repeat in range(repeats):
                    random = np.random.default_rng([11, repeat, int(100 * auc)])
                    frame, codes, _ = table(count, auc, kind, random)
                    frame["site"] = np.array(list("abcdefgh"), dtype=object)[
                        random.integers(0, 8, count)
                    ]
                    frame["age"] = random.normal(50, 15, count)
                    where = (
                        frame["site"].eq("c")
                        if what == "a site"
                        else frame["age"] > frame["age"].quantile(0.75)
                    )
                    given, wrong = flipped(codes, 0.3, random, where.to_numpy())
                    recalls.append(
                        float(
                            np.mean(
                                marked(LabelNoise()(rows_of(frame, given), ScreenTable()), count)[
                                    wrong
                                ]
                            )
                        )
                    )
                points.append(
                    {"value": float(np.mean(recalls)), "x": auc, "series": f"{what}, {kind}"}
                )
    return {"flips in a group, recall": points}


def copied(scale: float) -> dict[str, list[dict[str, Any]]]:
    """Copies of rows, of one row very often or of many rows once."""
    floods, copies = [], []
    for kind in ("linear", "mixed", "ordinal", "survey"):
        for repeat in range(max(1, round(5 * scale))):
            random = np.random.default_rng([13, repeat])
            frame, codes, _ = table(3000, 0.8, kind, random)
            given_often = (
                frame.assign(y=codes)
                .groupby([*frame, "y"], dropna=False)["y"]
                .transform("size")
                .to_numpy()
            )
            # of a row that few others equal: an answer that hundreds give anyway is not told from a
            # flood of it
            for often in (100, 300):
                at = np.r_[
                    np.arange(3000),
                    np.full(often, random.choice(np.flatnonzero(given_often <= 10))),
                ]
                found = Floods()(
                    rows_of(frame.iloc[at].reset_index(drop=True), codes[at]), ScreenTable()
                )
                floods.append((kind, often, bool(marked(found, len(at))[3000:].mean() > 0.9)))
            if kind in ("linear", "mixed"):
                at = np.r_[np.arange(3000), random.choice(3000, 300, replace=False)]
                copies.append(
                    (
                        kind,
                        float(
                            marked(
                                Duplicates()(
                                    rows_of(frame.iloc[at].reset_index(drop=True), codes[at]),
                                    ScreenTable(),
                                ),
                                len(at),
                            )[3000:].mean()
                        ),
                    )
                )
    kinds = dict.fromkeys(kind for kind, _, _ in floods)
    shares = [
        {
            "value": float(np.mean([f[2] for f in floods if f[:2] == (kind, often)])),
            "x": often,
            "series": kind,
        }
        for kind in kinds
        for often in (100, 300)
    ]
    return {
        "floods found, by copies": shares,
        "floods found": [{"value": float(np.mean([f[2] for f in floods if f[1] == 300]))}],
        "copies found": [{"value": float(np.mean([c[1] for c in copies]))}],
    }


def run(scale: float) -> dict[str, list[dict[str, Any]]]:
    """Figure name -> simulated points; `scale` 1.0 takes minutes."""
    return clean(scale) | noisy(scale) | grouped(scale) | copied(scale)
