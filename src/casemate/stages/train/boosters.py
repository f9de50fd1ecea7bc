"""Boosted trees of other libraries, read as scikit-learn's own: XGBoost, LightGBM, CatBoost.

A model file holds scikit-learn's types only, so that nobody who reads it needs these libraries or
trusts their readers. What they learnt is a list of trees, which each of them writes as JSON;
histogram gradient boosting can hold any such list exactly: a value that is rounded to float32
before it is compared is compared with the midpoint where the rounding turns. What they do beyond
that is refused by name, and the two must answer alike on the rows that were learnt.
"""

import json
from typing import Any

import numpy as np
import pandas as pd
from sklearn._loss.loss import HalfPoissonLoss, HalfSquaredError
from sklearn.base import is_classifier
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

from casemate.stages.train import categories, oblivious
from casemate.stages.train.grown import Foreign, Grown, Tree, known_link, turning

LIBRARIES = ("xgboost", "lightgbm", "catboost")
CLOSE = 1e-5
"""Their sums are float32; a probability, or a quantity in deviations, may differ by that."""
ROWS = 2_000
"""Training rows on which the trees must answer as the library does. A judgement: the assessment
compares on every kind of row later; this is an early word with a cause.
"""
XGBOOST = {
    "binary:logistic": "classes", "multi:softprob": "classes", "multi:softmax": "classes",
    "reg:squarederror": "identity", "reg:absoluteerror": "identity",
    "reg:pseudohubererror": "identity", "reg:quantileerror": "identity", "count:poisson": "log",
    "reg:gamma": "log", "reg:tweedie": "log",
}  # fmt: skip
LIGHTGBM = {
    "binary sigmoid:1": "classes", "regression": "identity", "regression_l1": "identity",
    "huber": "identity", "fair": "identity", "quantile": "identity", "mape": "identity",
    "poisson": "log", "gamma": "log", "tweedie": "log",
}  # fmt: skip
"""Objectives that are known, and through which link they answer."""


def library(model: Any) -> str:
    """The package that the estimator comes from, if it is one of ours to read."""
    name = type(model).__module__.partition(".")[0]
    return name if name in LIBRARIES else ""


def as_sklearn(model: Any, frame: Any, unknown: Any = None) -> Any:
    """The fitted model as histogram gradient boosting of scikit-learn.

    Args:
        model: XGBClassifier, LGBMRegressor, CatBoostClassifier and the like, fitted.
        frame: rows that it learnt, as it gets them.
        unknown: rows with categories that nobody has seen, as it gets them; None: there are none,
            or what stands before it refuses them.

    Raises:
        Foreign: it does something that trees on numbers do not, or the two answer differently.
    """
    read = {"xgboost": _xgboost, "lightgbm": _lightgbm, "catboost": oblivious.read}[library(model)]
    grown = read(model, frame, unknown)
    if any(count > categories.MOST for count in grown.counts.values()):
        raise Foreign(
            f"{type(model).__name__} with native categories tells at most {categories.MOST} apart:"
            f" OrdinalEncoder(max_categories={categories.KEPT}) makes the rarest one"
        )
    made = shell(grown, model.classes_ if is_classifier(model) else None, frame)
    wrong = f"{type(model).__name__} answers otherwise than its trees do; use plain options, or"
    if not _alike(made, model, frame[:ROWS]):
        raise Foreign(f"{wrong} HistGradientBoosting of scikit-learn")
    if grown.counts and unknown is not None and not _alike(made, model, unknown):
        raise Foreign(
            f"{type(model).__name__} answers otherwise than its trees do where a category is"
            ' unknown; use OrdinalEncoder(handle_unknown="use_encoded_value",'
            " unknown_value=numpy.nan)"
        )
    return made


def _alike(made: Any, model: Any, asked: Any) -> bool:
    """Whether the two answer alike on some rows."""
    if is_classifier(model):
        found, expected, unit = (
            made.predict_proba(asked),
            np.asarray(model.predict_proba(asked)),
            1.0,
        )
    else:
        found, expected = made.predict(asked), np.ravel(model.predict(asked))
        unit = float(np.std(expected)) or 1.0
    return found.shape == expected.shape and bool(np.abs(found - expected).max() <= CLOSE * unit)


def shell(grown: Grown, numbers: Any, frame: Any, seed: int | None = None) -> Any:
    """A fitted estimator of scikit-learn with these trees in it.

    Args:
        grown: the trees.
        numbers: what the classes are called, whole numbers; None: a quantity is predicted.
        frame: rows as it gets them, for their width and names.
        seed: of what it draws and never uses; None: from NumPy's global generator.
    """
    classes = numbers is not None
    count = max(len(grown.base), 2) if classes else 1
    width = frame.shape[1]
    rows: Any = np.zeros((4 * count, width))
    rows[:, 0] = np.arange(len(rows))
    if isinstance(frame, pd.DataFrame):
        rows = pd.DataFrame(rows, columns=frame.columns)
    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    made = kind(max_iter=1, early_stopping=False, min_samples_leaf=1, random_state=seed).fit(
        rows, np.arange(4 * count) % count if classes else np.arange(4.0)
    )
    if classes:
        made.classes_ = np.asarray(numbers).astype(np.int64)
    else:
        made._loss = HalfPoissonLoss() if grown.link == "log" else HalfSquaredError()  # noqa: SLF001 - its link is what counts
    made._baseline_prediction = grown.base.reshape(1, -1)  # noqa: SLF001 - there is no other way to hand trees over
    made._predictors = [  # noqa: SLF001 - same
        [TreePredictor(tree.nodes, tree.sets, tree.sets) for tree in stage] for stage in grown.trees
    ]
    for (
        place,
        count,
    ) in grown.counts.items():  # what is no known code goes the way of what is missing
        made._bin_mapper.is_categorical_[place] = True  # noqa: SLF001 - same
        made._bin_mapper.bin_thresholds_[place] = np.arange(float(count))  # noqa: SLF001 - same
    made.set_params(max_iter=max(len(grown.trees), 1))
    return made


def _xgboost(model: Any, frame: Any, unknown: Any) -> Grown:
    booster = model.get_booster()
    learner = json.loads(booster.save_raw("json"))["learner"]
    if learner["gradient_booster"]["name"] != "gbtree" or not np.isnan(model.missing):
        raise Foreign(
            "XGBoost with another booster than gbtree, or another mark than NaN for missing values"
        )
    link = known_link(learner["objective"]["name"], XGBOOST, "XGBoost")
    outputs = max(int(learner["learner_model_param"]["num_class"]), 1)
    if int(learner["learner_model_param"].get("num_target", 1)) > 1:
        raise Foreign(
            "XGBoost with several targets: wrap it in MultiOutputRegressor of scikit-learn's"
            " HistGradientBoosting"
        )
    text = learner["learner_model_param"]["base_score"].strip("[]")
    base = np.array([float(value) for value in text.split(",")])
    base = (
        np.log(base / (1 - base))
        if link == "classes" and outputs == 1
        else np.log(base)
        if link == "log"
        else base
    )
    base = np.broadcast_to(base, (outputs,)).astype(np.float64).copy()
    body = learner["gradient_booster"]["model"]
    kinds = learner.get("feature_types") or []
    counts = {
        place: categories.count_of(frame, place) for place, kind in enumerate(kinds) if kind == "c"
    }
    left = {place for place in counts if categories.negative(unknown, place)}
    trees = [_xgboost_tree(tree, counts, left) for tree in body["trees"]]
    if len(trees) % outputs or list(body["tree_info"]) != [
        number % outputs for number in range(len(trees))
    ]:
        raise Foreign("XGBoost with several trees at once: leave num_parallel_tree at 1")
    stages = [trees[start : start + outputs] for start in range(0, len(trees), outputs)]
    best = booster.attr("best_iteration")
    return Grown(stages if best is None else stages[: int(best) + 1], base, link, counts)


def _xgboost_tree(tree: dict[str, Any], counts: dict[int, int], left: set[int]) -> Tree:
    """One tree. The codes that it lists for a split go right, every other one left, one below zero
    (of the features `left`, whose encoder says that of what it does not know) too.
    """
    made = Tree(len(tree["left_children"]))
    kinds = tree.get("split_type") or [0] * len(made.nodes)
    right = {
        node: {*tree["categories"][start : start + size]}
        for node, start, size in zip(
            tree.get("categories_nodes", []),
            tree.get("categories_segments", []),
            tree.get("categories_sizes", []),
            strict=True,
        )
    }
    for at, ways in enumerate(zip(tree["left_children"], tree["right_children"], strict=True)):
        feature = tree["split_indices"][at]
        if ways[0] < 0:
            made.leaf(at, float(np.float32(tree["split_conditions"][at])))
        elif kinds[at]:
            codes = {*range(min(counts[feature], categories.MOST))} - right[at]
            missing = bool(tree["default_left"][at]) or feature in left
            made.split(at, feature, missing, ways, codes=codes)
        else:
            threshold = turning(tree["split_conditions"][at], below=True)
            made.split(at, feature, bool(tree["default_left"][at]), ways, threshold)
    return made


def _lightgbm(model: Any, frame: Any, _unknown: Any) -> Grown:
    options = model.get_params()
    if (
        options.get("boosting_type") == "rf"
        or options.get("linear_tree")
        or options.get("zero_as_missing")
    ):
        raise Foreign("LightGBM with boosting_type rf, linear_tree or zero_as_missing")
    said = model.booster_.dump_model()
    outputs = int(said["num_tree_per_iteration"])
    objective = str(said.get("objective", ""))
    link = (
        "classes"
        if objective == f"multiclass num_class:{outputs}"
        else known_link(objective, LIGHTGBM, "LightGBM")
    )
    if said.get("pandas_categorical"):
        raise Foreign(
            "LightGBM with columns of pandas' category type: put an OrdinalEncoder before it, and"
            " name the columns in categorical_feature"
        )
    counts: dict[int, int] = {}
    trees = [_lightgbm_tree(tree["tree_structure"], frame, counts) for tree in said["tree_info"]]
    return Grown(
        [trees[start : start + outputs] for start in range(0, len(trees), outputs)],
        np.zeros(outputs),
        link,
        counts,
    )


def _lightgbm_tree(root: dict[str, Any], frame: Any, counts: dict[int, int]) -> Tree:
    flat: list[dict[str, Any]] = [root]
    nodes: list[tuple[int, int]] = []
    for one in flat:  # grows while it is walked
        if "leaf_value" in one:
            nodes.append((0, 0))
            continue
        nodes.append((len(flat), len(flat) + 1))
        flat += [one["left_child"], one["right_child"]]
    made = Tree(len(flat))
    for at, (one, ways) in enumerate(zip(flat, nodes, strict=True)):
        if "leaf_value" in one:
            made.leaf(at, float(one["leaf_value"]))
            continue
        feature = int(one["split_feature"])
        if one["decision_type"] == "==":  # what is missing, below zero or not listed goes right
            codes = [int(code) for code in one["threshold"].split("||")]
            counts[feature] = max(categories.count_of(frame, feature), max(codes) + 1)
            made.split(at, feature, False, ways, codes=[c for c in codes if c <= categories.MOST])
        elif one["decision_type"] != "<=" or one["missing_type"] == "Zero":
            raise Foreign("LightGBM with splits other than on numbers and categories")
        else:  # a column that had no gap: a missing value counts as 0
            missing = one["default_left"] if one["missing_type"] == "NaN" else one["threshold"] >= 0
            made.split(at, feature, bool(missing), ways, float(one["threshold"]))
    return made
