"""Boosted trees of other libraries, read as scikit-learn's own: XGBoost, LightGBM, CatBoost.

A model file holds scikit-learn's types only, so that nobody who reads it needs these libraries or
trusts their readers. What they learnt is a list of trees, which each of them writes as JSON;
histogram gradient boosting can hold any such list exactly: a value that is rounded to float32
before it is compared is compared with the midpoint where the rounding turns. What they do beyond
that is refused by name, and the two must answer alike on the rows that were learnt.
"""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn._loss.loss import HalfPoissonLoss, HalfSquaredError
from sklearn.base import is_classifier
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

Array = np.ndarray[Any, Any]
LIBRARIES = ("xgboost", "lightgbm", "catboost")
CLOSE = 1e-5
"""Their sums are float32; a probability, or a quantity in deviations, may differ by that."""
ROWS = 2_000
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
CATBOOST = {
    "Logloss": "classes", "CrossEntropy": "classes", "MultiClass": "classes", "RMSE": "identity",
    "MAE": "identity", "Quantile": "identity", "Poisson": "log", "Tweedie": "log",
}  # fmt: skip
"""Objectives that are known, and through which link they answer."""


class Foreign(Exception):
    """A model of another library that has no exact form here; the message says what, and what to
    use instead.
    """

    kind = "BadEntry"


@dataclass(frozen=True)
class Grown:
    """What a library learnt: trees by iteration and output, what they begin with, float64 [k], the
    link.
    """

    trees: list[list[Array]]
    base: Array
    link: str


def library(model: Any) -> str:
    """The package that the estimator comes from, if it is one of ours to read."""
    name = type(model).__module__.partition(".")[0]
    return name if name in LIBRARIES else ""


def as_sklearn(model: Any, frame: Any) -> Any:
    """The fitted model as histogram gradient boosting of scikit-learn.

    Args:
        model: XGBClassifier, LGBMRegressor, CatBoostClassifier and the like, fitted.
        frame: rows that it learnt, as it gets them.

    Raises:
        Foreign: it does something that trees on numbers do not, or the two answer differently.
    """
    grown = {"xgboost": _xgboost, "lightgbm": _lightgbm, "catboost": _catboost}[library(model)](
        model
    )
    made = _shell(grown, is_classifier(model), model, frame)
    asked = frame[:ROWS]
    if is_classifier(model):
        found, expected, unit = (
            made.predict_proba(asked),
            np.asarray(model.predict_proba(asked)),
            1.0,
        )
    else:
        found, expected = made.predict(asked), np.ravel(model.predict(asked))
        unit = float(np.std(expected)) or 1.0
    if found.shape != expected.shape or not np.abs(found - expected).max() <= CLOSE * unit:
        raise Foreign(
            f"{type(model).__name__} answers otherwise than its trees do; use plain options, or"
            " HistGradientBoosting of scikit-learn"
        )
    return made


def _shell(grown: Grown, classes: bool, model: Any, frame: Any) -> Any:
    """A fitted estimator of scikit-learn with these trees in it."""
    count = max(len(grown.base), 2) if classes else 1
    width = frame.shape[1]
    rows: Any = np.zeros((4 * count, width))
    rows[:, 0] = np.arange(len(rows))
    if isinstance(frame, pd.DataFrame):
        rows = pd.DataFrame(rows, columns=frame.columns)
    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    made = kind(max_iter=1, early_stopping=False, min_samples_leaf=1).fit(
        rows, np.arange(4 * count) % count if classes else np.arange(4.0)
    )
    if classes:
        made.classes_ = np.asarray(model.classes_).astype(np.int64)
    else:
        made._loss = HalfPoissonLoss() if grown.link == "log" else HalfSquaredError()  # noqa: SLF001 - its link is what counts
    made._baseline_prediction = grown.base.reshape(1, -1)  # noqa: SLF001 - there is no other way to hand trees over
    none = np.zeros((0, 8), dtype=np.uint32)
    made._predictors = [  # noqa: SLF001 - same
        [TreePredictor(nodes, none, none) for nodes in stage] for stage in grown.trees
    ]
    made.set_params(max_iter=max(len(grown.trees), 1))
    return made


def _node(
    nodes: Array, at: int, feature: int, threshold: float, missing_left: bool, left: int, right: int
) -> None:
    node = nodes[at]
    node["feature_idx"], node["num_threshold"], node["missing_go_to_left"] = (
        feature,
        threshold,
        missing_left,
    )
    node["left"], node["right"], node["count"] = left, right, 1


def _leaf(nodes: Array, at: int, value: float) -> None:
    nodes[at]["value"], nodes[at]["is_leaf"], nodes[at]["count"] = value, True, 1


def turning(threshold: float, *, below: bool) -> float:
    """The greatest float64 that, rounded to float32, is below (or, else, not above) a float32
    threshold.
    """
    edge = np.float32(threshold)
    low, high = (
        (np.nextafter(edge, np.float32(-np.inf)), edge)
        if below
        else (edge, np.nextafter(edge, np.float32(np.inf)))
    )
    middle = (float(low) + float(high)) / 2
    return middle if np.float32(middle) == low else float(np.nextafter(middle, -np.inf))


def _known(name: str, known: dict[str, str], library: str) -> str:
    if name not in known:
        raise Foreign(
            f"{library} with the objective {name!r} is not known here: use one of"
            f" {', '.join(known)}"
        )
    return known[name]


def _xgboost(model: Any) -> Grown:
    booster = model.get_booster()
    learner = json.loads(booster.save_raw("json"))["learner"]
    if learner["gradient_booster"]["name"] != "gbtree" or not np.isnan(model.missing):
        raise Foreign(
            "XGBoost with another booster than gbtree, or another mark than NaN for missing values"
        )
    link = _known(learner["objective"]["name"], XGBOOST, "XGBoost")
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
    trees = [_xgboost_tree(tree) for tree in body["trees"]]
    if len(trees) % outputs or list(body["tree_info"]) != [
        number % outputs for number in range(len(trees))
    ]:
        raise Foreign("XGBoost with several trees at once: leave num_parallel_tree at 1")
    stages = [trees[start : start + outputs] for start in range(0, len(trees), outputs)]
    best = booster.attr("best_iteration")
    return Grown(stages if best is None else stages[: int(best) + 1], base, link)


def _xgboost_tree(tree: dict[str, Any]) -> Array:
    if any(tree.get("split_type", [])):
        raise Foreign(
            "XGBoost with native categories: put an OrdinalEncoder or OneHotEncoder before it, and"
            " leave enable_categorical off"
        )
    nodes = np.zeros(len(tree["left_children"]), dtype=PREDICTOR_RECORD_DTYPE)
    for at, (left, right) in enumerate(
        zip(tree["left_children"], tree["right_children"], strict=True)
    ):
        if left < 0:
            _leaf(nodes, at, float(np.float32(tree["split_conditions"][at])))
        else:
            threshold = turning(tree["split_conditions"][at], below=True)
            _node(
                nodes,
                at,
                tree["split_indices"][at],
                threshold,
                bool(tree["default_left"][at]),
                left,
                right,
            )
    return nodes


def _lightgbm(model: Any) -> Grown:
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
        else _known(objective, LIGHTGBM, "LightGBM")
    )
    trees = [_lightgbm_tree(tree["tree_structure"]) for tree in said["tree_info"]]
    return Grown(
        [trees[start : start + outputs] for start in range(0, len(trees), outputs)],
        np.zeros(outputs),
        link,
    )


def _lightgbm_tree(root: dict[str, Any]) -> Array:
    flat: list[dict[str, Any]] = [root]
    nodes: list[tuple[int, int]] = []
    for one in flat:  # grows while it is walked
        if "leaf_value" in one:
            nodes.append((0, 0))
            continue
        nodes.append((len(flat), len(flat) + 1))
        flat += [one["left_child"], one["right_child"]]
    made = np.zeros(len(flat), dtype=PREDICTOR_RECORD_DTYPE)
    for at, (one, (left, right)) in enumerate(zip(flat, nodes, strict=True)):
        if "leaf_value" in one:
            _leaf(made, at, float(one["leaf_value"]))
        elif one["decision_type"] != "<=" or one["missing_type"] == "Zero":
            raise Foreign(
                "LightGBM with native categories: put an OrdinalEncoder or OneHotEncoder before it,"
                " without categorical_feature"
            )
        else:  # a column that had no gap: a missing value counts as 0
            missing = one["default_left"] if one["missing_type"] == "NaN" else one["threshold"] >= 0
            _node(
                made,
                at,
                int(one["split_feature"]),
                float(one["threshold"]),
                bool(missing),
                left,
                right,
            )
    return made


def _catboost(model: Any) -> Grown:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        model.save_model(str(path), format="json")
        said = json.loads(path.read_text(encoding="utf-8"))
    if (
        said["features_info"].get("categorical_features")
        or said["features_info"].get("text_features")
        or "oblivious_trees" not in said
    ):
        raise Foreign(
            "CatBoost with categories, text or trees that are not symmetric: put an encoder before"
            " it, leave cat_features out"
        )
    name = str(model.get_all_params()["loss_function"]).partition(":")[0]
    link = _known(name, CATBOOST, "CatBoost")
    scale, bias = said["scale_and_bias"]
    base = np.ravel(np.asarray(bias, dtype=np.float64))
    features = {one["feature_index"]: one for one in said["features_info"]["float_features"]}
    trees = [
        _catboost_tree(tree, features, len(base), float(scale)) for tree in said["oblivious_trees"]
    ]
    return Grown(trees, base, link)


def _catboost_tree(
    tree: dict[str, Any], features: dict[int, Any], outputs: int, scale: float
) -> list[Array]:
    splits = tree["splits"] or []
    values = scale * np.asarray(tree["leaf_values"], dtype=np.float64).reshape(-1, outputs)
    depth = len(splits)
    made = [np.zeros(2 ** (depth + 1) - 1, dtype=PREDICTOR_RECORD_DTYPE) for _ in range(outputs)]
    # a heap: level by level, the last split first, so that leaves lie in the order of their numbers
    for at in range(2**depth - 1):
        level = (at + 1).bit_length() - 1
        split = splits[depth - 1 - level]
        feature = features[split["float_feature_index"]]
        left = feature.get("nan_value_treatment", "AsIs") != "AsTrue"
        for nodes in made:
            _node(
                nodes,
                at,
                int(feature["flat_feature_index"]),
                turning(split["border"], below=False),
                left,
                2 * at + 1,
                2 * at + 2,
            )
    for output, nodes in enumerate(made):
        for leaf in range(2**depth):
            _leaf(nodes, 2**depth - 1 + leaf, float(values[leaf, output]))
    return made
