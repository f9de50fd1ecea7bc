"""Hold-outs: reported figures against fresh rows, comparisons of two models, and what a gate says a
hold-out can decide.

Sources: the bias of figures on rows chosen by outcome as in Ambroise and McLachlan, PNAS 99 (2002);
non-inferiority and its power as in Julious, Sample Sizes for Clinical Trials (2010), ch. 4.
"""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from casemate import config as configuration
from casemate.config import AssessTable, Config, ScreenTable
from casemate.core.types import ColumnSchema, Schema
from casemate.stages.assess import compare
from casemate.stages.assess.roc import auc
from casemate.stages.assess.sample import Sample
from casemate.stages.data import screening, sides
from casemate.stages.data.screen.interface import ScreenedRows, Suspicion
from casemate.stages.release import rows as standing

FIGURES = {
    "reported minus fresh AUC, mean of a table": ("<=", 0.02),
    "better models refused by comparison": ("<=", 0.05),
    "equal models that pass the margin said to be decidable": (">=", 0.75),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "quarantine = exclude": {"quarantine": "exclude"},
    "exclude = label-noise, neighbours": {"exclude": ["label-noise", "neighbours"]},
}
SCREENS = ("duplicates", "outliers", "neighbours", "label_noise")
FEATURES, FRESH, NEED = 6, 12_000, sides.Need(0.25, 5)
SCHEMA = Schema(
    target="y",
    classes=["0", "1"],
    columns=[ColumnSchema(name=f"x{i}", type="number") for i in range(FEATURES)],
)
TOML = (
    '[project]\nname = "t"\nid = "t-0000"\n[data]\nsource = "t.csv"\ntarget = "y"\n[train]\nentry ='
    ' "train.py:build"\n'
)
Array = np.ndarray[Any, Any]


class Fitted:
    """A scikit-learn classifier as the assessment sees a model."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def predict(self, frame: pd.DataFrame) -> tuple[Array, Array]:
        """(labels, probabilities)."""
        found = self.estimator.predict_proba(frame.to_numpy())
        return found.argmax(axis=1), found


class Linear:
    """A model with given weights."""

    def __init__(self, weights: Array) -> None:
        self.weights = weights

    def predict_proba(self, values: Array) -> Array:
        """Probabilities [n, 2]."""
        positive = 1 / (1 + np.exp(-values @ self.weights))
        return np.column_stack([1 - positive, positive])


def drawn(
    count: int, strength: float, generator: np.random.Generator
) -> tuple[pd.DataFrame, Array]:
    """Rows of which logistic regression is the true model; `strength` .8 to 4 makes AUC .65
    to .95.
    """
    values = generator.standard_normal((count, FEATURES))
    score = values @ (strength * np.array([0.8, 0.5, -0.3, 0.15, 0.0, 0.0]))
    frame = pd.DataFrame(values, columns=[f"x{i}" for i in range(FEATURES)])
    return frame, (score + generator.logistic(size=count) > 0).astype(np.int64)


def suspicion(frame: pd.DataFrame, codes: Array, options: ScreenTable) -> Suspicion:
    """What the screen dislikes."""
    total = Suspicion()
    for switch in SCREENS:
        total.rows += screening.DETECTORS[switch]()(
            ScreenedRows(frame, codes, None, SCHEMA, 0), options
        ).rows
    return total


def settings() -> dict[str, Config]:
    """A configuration for every quarantine setting."""
    plain = configuration.parse(TOML)
    from msgspec import structs

    return {
        name: structs.replace(plain, screen=structs.replace(plain.screen, cap=1.0, **changed))
        for name, changed in SETTINGS.items()
    }


def reported(tables: int, count: int, keys: int) -> list[dict[str, Any]]:
    """One point a table and setting: the mean over keys of the reported AUC less that on fresh
    rows.

    Over keys, because one hold-out of 1 000 rows alone misses by .013 (standard error); the same
    keys for every setting.
    """
    points = []
    for table in range(tables):
        generator = np.random.default_rng(table)
        strength = 0.8 + 3.2 * table / max(1, tables - 1)
        frame, codes = drawn(count, strength, generator)
        fresh, truth = drawn(FRESH, strength, generator)
        for name, config in settings().items():
            found = suspicion(frame, codes, config.screen)
            moved = []
            for key in range(keys):
                place = sides.places(key.to_bytes(32, "big"), frame, None)
                held, _ = sides.divide(sides.units_of(place, codes, None), SCHEMA.classes, NEED, {})
                out = screening.left_out(config, found.rows, {}, held)  # the rule that is measured
                model = Fitted(
                    LogisticRegression().fit(frame[~held & ~out].to_numpy(), codes[~held & ~out])
                )
                kept = held & ~out
                moved.append(
                    auc(codes[kept], model.predict(frame[kept])[1][:, 1])
                    - auc(truth, model.predict(fresh)[1][:, 1])
                )
            points.append(
                {
                    "value": abs(float(np.mean(moved))),
                    "signed": float(np.mean(moved)),
                    "x": table,
                    "series": name,
                }
            )
    return points


def refused(tables: int, count: int) -> list[dict[str, Any]]:
    """Share of better models that a comparison calls worse by more than .01: the older one
    memorised part of today's hold-out.
    """
    answers: dict[str, list[bool]] = {"rows that neither saw": [], "whole hold-out": []}
    for table in range(tables):
        generator = np.random.default_rng(1000 + table)
        frame, codes = drawn(2 * count, 1.5, generator)
        old = np.arange(2 * count) < count
        seen = old & (generator.random(2 * count) < 0.75)
        held = sides.held(sides.places(generator.bytes(32), frame, None), 0.25)
        before = Fitted(
            RandomForestClassifier(60, random_state=0).fit(frame[seen].to_numpy(), codes[seen])
        )
        after = Fitted(LogisticRegression().fit(frame[~held].to_numpy(), codes[~held]))
        identity = sides.identities(frame, None)
        unseen = ~np.isin(identity[held], identity[seen])
        holdout = Sample(frame[held].reset_index(drop=True), codes[held])
        for name, which in (("rows that neither saw", unseen), ("whole hold-out", None)):
            fair = compare.unseen(holdout, which, "older")
            found, _ = compare.measure(
                after, before, (SCHEMA, SCHEMA), fair, AssessTable(bootstrap=100), 0
            )  # type: ignore[arg-type]
            answers[name].append(found["roc_auc"].high < -0.01)
    return [
        {"value": float(np.mean(flags)), "x": tables, "series": name}
        for name, flags in answers.items()
    ]


def power(trials: int, sizes: tuple[int, ...]) -> list[dict[str, Any]]:
    """How often an equally good model passes the margin at which `rows.decidable` promises four in
    five.
    """
    angle = 0.35
    first, second = (
        np.array([np.cos(turn), np.sin(turn), 0, 0, 0, 0]) * 1.5 for turn in (angle, -angle)
    )
    points = []
    for count in sizes:
        generator = np.random.default_rng(count)
        passed = []
        for _ in range(trials):
            values = generator.standard_normal((count, FEATURES))
            codes = (1.5 * values[:, 0] + generator.logistic(size=count) > 0).astype(np.int64)
            sample = Sample(pd.DataFrame(values, columns=[f"x{i}" for i in range(FEATURES)]), codes)
            models = Fitted(Linear(first)), Fitted(Linear(second))
            found, _ = compare.measure(
                *models, (SCHEMA, SCHEMA), sample, AssessTable(bootstrap=200), 0
            )  # type: ignore[arg-type]
            difference = found["roc_auc"]
            passed.append(
                difference.low >= -standing.decidable((difference.high - difference.low) / 2)
            )
        points.append({"value": float(np.mean(passed)), "x": count, "series": "equal models"})
    return points


def run(scale: float) -> dict[str, list[dict[str, Any]]]:
    """Every figure; scale 1 takes some minutes."""
    tables = max(2, round(20 * scale))
    compared = refused(max(4, round(60 * scale)), 1500)
    return {
        "reported minus fresh AUC, mean of a table": reported(
            tables, 8000 if scale > 0.5 else 2000, max(1, round(8 * scale))
        ),
        "better models refused by comparison": [
            point for point in compared if point["series"] == "rows that neither saw"
        ],
        "equal models that pass the margin said to be decidable": power(
            max(20, round(300 * scale)), (300, 1000) if scale < 0.5 else (300, 1000, 4000)
        ),
    }
