"""Boosted trees over sites: how they score beside scikit-learn's, and what a level costs.

python bench/federated_trees.py            breast cancer of scikit-learn, with wide limits
python bench/federated_trees.py FOLDER     Adult as well: FOLDER holds adult-train.csv, adult-test.csv

Five sites, alike and by `dirichlet:0.5`. Times are of the processor, one thread, of all sites and
the coordinator together.
"""

import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from casemate.core.types import MISSING_CATEGORY
from casemate.ml.federated import splits
from casemate.ml.federated.encoding import Limits
from casemate.ml.federated.growing import grow
from casemate.ml.federated.local import LocalPlan
from casemate.ml.federated.simulated_trees import boosted
from casemate.ml.federated.simulation import Design
from casemate.ml.federated.trees import Growth, Site

Array = np.ndarray[Any, Any]
SITES, MIN_GROUP = 5, 10
ADULT = {
    "age": (0.0, 120.0), "fnlwgt": (0.0, 2e6), "education-num": (0.0, 20.0),
    "capital-gain": (0.0, 1e5), "capital-loss": (0.0, 1e4), "hours-per-week": (0.0, 168.0),
}  # fmt: skip
COLUMNS = [
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation",
    "relationship", "race", "sex", "capital-gain", "capital-loss", "hours-per-week",
    "native-country", "income",
]  # fmt: skip
WIDE = {"area": 10_000.0, "perimeter": 500.0, "radius": 100.0, "texture": 100.0}
"""Limits of the clinical table as the how-to declares them; 5 of all others."""


class Table(NamedTuple):
    """Rows to learn from, and rows to measure on."""

    frame: pd.DataFrame
    target: Array
    held: pd.DataFrame
    truth: Array
    limits: Limits


def breast(seed: int) -> Table:
    """A quarter of the rows is held out."""
    found = load_breast_cancer(as_frame=True)
    order = np.random.default_rng(seed).permutation(len(found.data))
    inside, out = order[142:], order[:142]
    limits = {
        name: (0.0, next((most for word, most in WIDE.items() if word in name), 5.0))
        for name in found.data
    }
    rows, codes = found.data, found.target.to_numpy()
    return Table(
        rows.iloc[inside].reset_index(drop=True), codes[inside],
        rows.iloc[out].reset_index(drop=True), codes[out],
        Limits(numbers=limits, categories={}),
    )  # fmt: skip


def adult(folder: Path) -> Table:
    """Its own test rows are held out; values of categories are those of the training rows."""
    parts = [
        pd.read_csv(folder / name, names=COLUMNS, skipinitialspace=True, na_values="?")
        for name in ("adult-train.csv", "adult-test.csv")
    ]
    target = COLUMNS[-1]
    codes = [one[target].astype(str).str.contains(">50K").to_numpy().astype(int) for one in parts]
    frames = [one.drop(columns=target) for one in parts]
    kinds: dict[str, list[str]] = {}
    for name in frames[0]:
        if name in ADULT:
            continue
        for one in frames:
            one[name] = one[name].astype(object).where(one[name].notna(), MISSING_CATEGORY)
        kinds[name] = sorted(set(frames[0][name]) | {MISSING_CATEGORY})
    numbers = {name: ADULT[name] for name in frames[0] if name in ADULT}
    limits = Limits(numbers=numbers, categories=kinds)
    return Table(
        frames[0].astype(dict.fromkeys(numbers, float)), codes[0], frames[1], codes[1], limits
    )


def figures(name: str, table: Table, growth: Growth) -> None:
    """Print them."""
    whole = Site(table.frame, table.target, table.limits, 2, growth)
    held = Site(table.held, table.truth, table.limits, 2, growth)
    for split in ("iid", "dirichlet:0.5"):
        chance = np.random.default_rng(0)
        where = (
            splits.iid(table.target, SITES, chance)
            if split == "iid"
            else splits.dirichlet(table.target, SITES, 0.5, 20, chance)
        )
        for masked in (False, True):
            design = Design(rounds=1, rule="exact", combine="mean", plan=LocalPlan(), masked=masked)
            for apart in (0,) if masked else (0, MIN_GROUP):
                sites = [whole.part(where == place, apart) for place in range(SITES)]
                begun = time.process_time()
                told = boosted(sites, whole, held, design, lambda *_: None)
                seconds = time.process_time() - begun
                print(
                    f"{name:7} {split:14} {'masked' if masked else f'plain, {apart:2} rows':14}"
                    f" accuracy {told.rounds[-1].score:.4f}, off {told.off:.1e}, {told.levels + 1}"
                    f" questions of {told.numbers} numbers, {(told.levels + 1) / seconds:.1f} a"
                    " second with the pooled fit beside",
                    flush=True,
                )
    begun = time.process_time()
    forest = grow(growth, table.limits, 2, whole)
    seconds = time.process_time() - begun
    scores = forest.scores(forest.bins.of(table.held))[:, 0]
    print(
        f"{name:7} pooled, same algorithm: accuracy {np.mean((scores > 0) == table.truth):.4f}, AUC"
        f" {roc_auc_score(table.truth, scores):.4f}, {seconds:.1f} s"
    )
    beside(name, table, growth)


def beside(name: str, table: Table, growth: Growth) -> None:
    """scikit-learn's histogram gradient boosting on the pooled rows."""
    same = {
        "max_iter": growth.trees, "max_depth": growth.depth, "learning_rate": growth.rate,
        "l2_regularization": growth.l2, "min_samples_leaf": growth.least, "max_leaf_nodes": None,
        "max_bins": growth.bins, "early_stopping": False,
    }  # fmt: skip
    encoder = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), [*table.limits.categories]),
        remainder="passthrough",
    )
    for what, options in (("same options", same), ("its own defaults", {})):
        model = make_pipeline(encoder, HistGradientBoostingClassifier(**options))
        model.fit(table.frame, table.target)
        scores = model.decision_function(table.held)
        print(
            f"{name:7} HistGradientBoosting, {what}: accuracy"
            f" {np.mean((scores > 0) == table.truth):.4f}, AUC"
            f" {roc_auc_score(table.truth, scores):.4f}",
            flush=True,
        )


if __name__ == "__main__":
    figures("breast", breast(0), Growth(trees=30, depth=3, rate=0.2, l2=0.0, bins=255, least=20))
    if len(sys.argv) > 1:
        growth = Growth(trees=100, depth=4, rate=0.15, l2=0.0, bins=255, least=20)
        figures("adult", adult(Path(sys.argv[1])), growth)
