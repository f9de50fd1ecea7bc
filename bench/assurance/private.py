"""Private training audited by canaries: a person is put in or left out, and an attacker guesses
which from the model alone.

Jagielski, Ullman and Oprea, Auditing Differentially Private Machine Learning (NeurIPS 2020); Nasr
et al., Tight Auditing of Differentially Private Machine Learning (USENIX Security 2023). Every
model comes out of the pipeline's own steps: the data stage reads, checks, screens and divides the
neighbouring tables, the train stage's limits and fit do the rest. The bound is Clopper and
Pearson's at 95 % over models that did not choose the attacker's threshold; it can only be below the
true epsilon.
"""

import datetime
import hashlib
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression

from casemate.config import Config, parse
from casemate.controls.keys.subjects import Root
from casemate.ml.frame import codes_of, features_of
from casemate.ml.learn.accountant import sigma_for
from casemate.ml.learn.linear import PrivateClassifier, noisy_sums
from casemate.stages.data import stage as data
from casemate.stages.data.tools import DataTools
from casemate.stages.train import fit, promise

AUDITED = "audit lower bound of epsilon through the pipeline at claimed 1"
SEEN = "the same audit where a twentieth of the noise is added"
POWER = "the same audit where a half, a quarter, an eighth of the noise is added"
FIGURES = {AUDITED: ("<=", 1.0), SEEN: (">=", 1.0), POWER: (">=", 0.0)}
"""The others show which training that does not hold what it claims the audit would see: one from
the outside sees large faults only.
"""
PARTS = (2, 4, 8)
TRAININGS = 1000
"""On each of the two tables: 500 choose the attacker's threshold, 500 judge it."""
CLAIMED, DELTA = 1.0, 1e-5
TOML = """[project]
name = "audit"
id = "audit-1"
[data]
source = "table.csv"
target = "ill"
[data.columns]
age = { min = 0, max = 120 }
cost = { min = 0, max = 100000 }
ward = { categories = ["north", "south", "east", "west"] }
ill = { categories = ["0", "1"] }
[train]
entry = "train.py:build"
mode = "private"
[privacy]
epsilon = 1.0
[gates]
accuracy = { min = 0.5 }
"""
CANARY = {"age": 118, "cost": 90_000.0, "ward": "west", "ill": 0}
"""Whom nobody resembles: the only one of their ward, with the label that everything else speaks
against.
"""
Array = np.ndarray[Any, Any]


def people(count: int, seed: int) -> pd.DataFrame:
    """A table of made-up patients; nobody is in the west."""
    generator = np.random.default_rng(seed)
    age, cost = (
        generator.integers(20, 90, count),
        np.exp(generator.normal(6, 1.5, count)).clip(0, 99_999).round(2),
    )
    ward = generator.choice(["north", "south", "east"], count)
    ill = ((age - 55) / 20 + (np.log(cost + 1) - 6) + generator.normal(0, 0.5, count) > 0).astype(
        int
    )
    return pd.DataFrame({"age": age, "cost": cost, "ward": ward, "ill": ill})


class Keys:
    """Where the key of the sides hangs, as `Identifiers` gives it."""

    def __init__(self, seed: str) -> None:
        self._root = Root(hashlib.sha512(seed.encode()).digest())

    def candidate(self) -> Root:
        """The same for ever."""
        return self._root


def examined(frame: pd.DataFrame, keys: Keys, config: Config, reviews: Any = None) -> data.Examined:
    """The table after the data stage, short of being sealed."""
    with tempfile.TemporaryDirectory() as folder:
        frame.to_csv(Path(folder) / config.data.source, index=False)
        now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        nothing: Any = None
        tools = DataTools(
            Path(folder), config, Path(folder), nothing, nothing, keys, nothing, now, lambda *_: None, None, None, reviews or {}  # type: ignore[arg-type]
        )  # fmt: skip
        return data.examine(tools)


@dataclass(frozen=True)
class Given:
    """What the training process gets."""

    frame: pd.DataFrame
    codes: Array
    job: dict[str, Any]
    classes: int


def given(found: data.Examined, config: Config) -> Given:
    """Training rows and job of a table, as the spine cuts them."""
    schema = found.schema
    rows = np.flatnonzero(~found.holdout & ~found.excluded)
    frame = features_of(found.table, schema).iloc[rows].reset_index(drop=True)
    job = {"privacy": promise.promised(schema, config), "rehearsal": False}
    return Given(frame, codes_of(found.table, schema)[rows], job, len(schema.classes))


def trained(rows: Given, sigma: float | None = None) -> Any:
    """A model of the train stage; with `sigma` one that adds other noise than it claims."""
    if sigma is None:
        return fit.private_fit(
            LogisticRegression(), rows.frame, rows.codes, None, rows.job, rows.classes
        )[0]
    told = rows.job["privacy"]
    bounds = {name: tuple(limits) for name, limits in told["numbers"].items()}
    model = PrivateClassifier(
        bounds=bounds, categories=told["categories"], classes=list(range(rows.classes)), sigma=sigma
    )
    return model.fit(rows.frame, rows.codes).model_


def scores(rows: Given, times: int, sigma: float | None = None) -> Array:
    """What the attacker looks at: how little each model thinks the canary ill, [times]."""
    canary = pd.DataFrame({name: [CANARY[name]] for name in rows.frame.columns}).astype(
        rows.frame.dtypes
    )
    return np.array(
        [-float(trained(rows, sigma).decision_function(canary)[0]) for _ in range(times)]
    )


def lower_bound(without: Array, with_: Array, delta: float) -> float:
    """Least epsilon that explains how well the attacker tells the two apart, with 95 % confidence.

    Args:
        without: scores of models trained without the canary, [m].
        with_: scores of models trained with it, [m].
        delta: of the claim.
    """
    half = len(with_) // 2
    choices = np.quantile(
        np.concatenate([without[:half], with_[:half]]), np.linspace(0.02, 0.98, 97)
    )
    best = max(choices, key=lambda cut: max(_odds(without[:half], with_[:half], cut)))
    return max(0.0, *_bounds(without[half:], with_[half:], best, delta))


def _odds(without: Array, with_: Array, cut: float) -> tuple[float, float]:
    """Log odds on either side of the threshold, with a count of one half for nothing."""
    true, false, count = float((with_ >= cut).sum()), float((without >= cut).sum()), len(with_)
    return math.log((true + 0.5) / (false + 0.5)), math.log(
        (count - false + 0.5) / (count - true + 0.5)
    )


def _bounds(without: Array, with_: Array, cut: float, delta: float) -> tuple[float, float]:
    count, true, false = len(with_), int((with_ >= cut).sum()), int((without >= cut).sum())
    pairs = ((true, false), (count - false, count - true))
    found = []
    # two-sided 95 % of each share: both hold together with 95 % on the side that matters
    for hit, alarm in pairs:
        low, high = (
            binomtest(hit, count).proportion_ci(0.95).low,
            binomtest(alarm, count).proportion_ci(0.95).high,
        )
        found.append(math.log(max(low - delta, 1e-12) / high))
    return found[0], found[1]


def neighbours(count: int) -> tuple[Given, Given]:
    """(training rows without the canary, with it), both through the data stage, under a key that
    puts the canary among them.
    """
    config, frame = parse(TOML), people(count, 0)
    more = pd.concat([frame, pd.DataFrame([CANARY])], ignore_index=True)
    keys = Keys("audit")
    for number in range(100):
        keys = Keys(f"audit {number}")
        found = examined(more, keys, config)
        if not found.holdout[-1]:
            return given(examined(frame, keys, config), config), given(found, config)
    raise AssertionError("a hundred keys hold the canary out")


def run(scale: float) -> dict[str, list[dict[str, float]]]:
    """Both figures; scale 1.0 is a thousand trainings on each table."""
    times = max(20, round(TRAININGS * scale))
    without, with_ = neighbours(400)
    bound = lower_bound(scores(without, times), scores(with_, times), DELTA)
    claimed = sigma_for(CLAIMED, DELTA, noisy_sums(60, None))

    def seen(part: int) -> float:
        few = max(100, times // 4)
        return lower_bound(
            scores(without, few, claimed / part), scores(with_, few, claimed / part), DELTA
        )

    power = [{"value": seen(part), "x": float(part)} for part in PARTS]
    return {
        AUDITED: [{"value": bound, "x": CLAIMED, "trainings": 2.0 * times}],
        SEEN: [{"value": seen(20), "x": 20.0}],
        POWER: power,
    }
