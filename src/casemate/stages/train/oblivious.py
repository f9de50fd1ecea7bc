"""CatBoost's symmetric trees, with splits on numbers, single categories and a category's target
statistics.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from casemate.stages.train import categories
from casemate.stages.train.grown import Array, Foreign, Grown, Tree, known_link, turning

COMBINED = (
    "CatBoost with combinations of categories, which no single split holds: set"
    " max_ctr_complexity=1 (target statistics of single categories) or one_hot_max_size=255"
)
CATBOOST = {
    "Logloss": "classes", "CrossEntropy": "classes", "MultiClass": "classes", "RMSE": "identity",
    "MAE": "identity", "Quantile": "identity", "Poisson": "log", "Tweedie": "log",
}  # fmt: skip
"""Objectives that are known, and through which link they answer."""


def refusal(model: Any) -> str:
    """Why the trees of the unfitted model could not be read, known before it learns; empty where
    nothing is.
    """
    given = model.get_params()
    categorical = given.get("cat_features") not in (None, (), [])
    single = given.get("max_ctr_complexity") == 1 or (
        (given.get("one_hot_max_size") or 0) >= categories.MOST
    )
    return COMBINED if categorical and not single else ""


def read(model: Any, frame: Any, _unknown: Any) -> Grown:
    """The trees of a fitted CatBoost model; Foreign where they are something else."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        model.save_model(str(path), format="json")
        said = json.loads(path.read_text(encoding="utf-8"))
    about = said["features_info"]
    if about.get("text_features") or "oblivious_trees" not in said:
        raise Foreign(
            "CatBoost with text or trees that are not symmetric: put an encoder before it"
        )
    name = str(model.get_all_params()["loss_function"]).partition(":")[0]
    link = known_link(name, CATBOOST, "CatBoost")
    scale, bias = said["scale_and_bias"]
    base = np.ravel(np.asarray(bias, dtype=np.float64))
    kinds = [int(one["flat_feature_index"]) for one in about.get("categorical_features") or []]
    if kinds and not all(_whole(frame, place) for place in kinds):
        raise Foreign(
            "CatBoost with categories that are no whole numbers: put OrdinalEncoder(dtype=int)"
            ' before it, in a ColumnTransformer with set_output(transform="pandas")'
        )
    counts = {place: categories.count_of(frame, place) for place in kinds}
    leaves = {
        place: categories.told_apart(model, frame, place, min(count, categories.MOST))
        for place, count in counts.items()
    }
    splits = _splits(about, kinds)
    trees = [
        _tree(
            tree, splits, {place: found[:, at] for place, found in leaves.items()}, len(base), scale
        )
        for at, tree in enumerate(said["oblivious_trees"])
    ]
    return Grown(trees, base, link, counts)


def _whole(frame: Any, place: int) -> bool:
    return isinstance(frame, pd.DataFrame) and pd.api.types.is_integer_dtype(
        frame.dtypes.iloc[place]
    )


def _splits(about: dict[str, Any], kinds: list[int]) -> list[dict[str, Any]]:
    """What each number of a split is about, in CatBoost's order: borders of numbers, categories one
    by one, borders of a category's target statistics.
    """
    made: list[dict[str, Any]] = []
    for one in about.get("float_features") or []:
        made += [one | {"at": int(one["flat_feature_index"])}] * len(one["borders"] or [])
    for one in about.get("categorical_features") or []:
        made += [{"category": int(one["flat_feature_index"])}] * len(one.get("values") or [])
    for one in about.get("ctrs") or []:
        first, *more = one["elements"]
        if more or first["combination_element"] != "cat_feature_value":
            raise Foreign(COMBINED)
        made += [{"category": kinds[first["cat_feature_index"]]}] * len(one["borders"])
    return made


def _tree(
    tree: dict[str, Any],
    about: list[dict[str, Any]],
    leaves: dict[int, Array],
    outputs: int,
    scale: float,
) -> list[Tree]:
    splits = tree["splits"] or []
    values = scale * np.asarray(tree["leaf_values"], dtype=np.float64).reshape(-1, outputs)
    depth = len(splits)
    made = [Tree(2 ** (depth + 1) - 1) for _ in range(outputs)]
    # a heap: level by level, the last split first, so that leaves lie in the order of their numbers
    for at in range(2**depth - 1):
        number = depth - (at + 1).bit_length()
        split, ways = splits[number], (2 * at + 1, 2 * at + 2)
        one = about[split["split_index"]]
        for part in made:
            if "category" in one:  # the leaf's bit says which codes are on the other side
                *sides, unknown = (leaves[one["category"]] >> number) & 1
                codes = np.flatnonzero(np.equal(sides, 0)).tolist()
                if len({*sides, unknown}) == 1:  # it tells no code from another: an empty set
                    edge = -np.inf if unknown else np.inf
                    part.split(at, one["category"], not unknown, ways, edge)
                else:
                    part.split(at, one["category"], not unknown, ways, codes=codes)
            else:
                left = one.get("nan_value_treatment", "AsIs") != "AsTrue"
                part.split(at, one["at"], left, ways, turning(split["border"], below=False))
    for output, part in enumerate(made):
        for leaf in range(2**depth):
            part.leaf(2**depth - 1 + leaf, float(values[leaf, output]))
    return made
