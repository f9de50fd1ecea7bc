"""Native categories of XGBoost, LightGBM and CatBoost: which of them a split sends left.

All three work on whole numbers that stand for categories, so an `OrdinalEncoder` stands before
them; one that was returned alone gets it here. A split on a category is a set of such numbers,
which histogram gradient boosting of scikit-learn holds as bits. What the encoder says of a category
that it does not know is part of the answer, so it is compared too.
"""

import copy
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

Array = np.ndarray[Any, Any]
MOST = 255
"""Codes that a split can hold: scikit-learn counts the categories of a tree by bytes, less one."""
KEPT = 250
"""Categories that the encoder tells apart, the rarest beyond are one: as in the template."""
UNKNOWN = "casemate-has-never-seen-this"
ROWS = 50
"""Rows that are asked about with a category nobody has seen in every such column. A judgement: what
goes wrong there goes wrong in most of them.
"""


class BadCategories(Exception):
    """Categories that the booster cannot be given; the message says what to do."""

    kind = "BadEntry"


def encoded(model: Any, kind: str, features: list[tuple[str, bool]]) -> Any:
    """The booster behind an encoder, its categories switched on; as it is where there are none, or
    it does not ask for them.

    Args:
        model: unfitted, of the library `kind`, returned alone.
        kind: `xgboost`, `lightgbm` or `catboost`.
        features: name of each feature in order, and whether it is a category.
    """
    at = [place for place, (_, category) in enumerate(features) if category]
    given = model.get_params()
    if not at:
        return model
    if kind == "xgboost":
        if not given.get("enable_categorical") or given.get("feature_types") is not None:
            return model
        types = ["c" if category else "q" for _, category in features]
        options: dict[str, Any] = {"enable_categorical": True, "feature_types": types}
    elif kind == "lightgbm":
        options = {"categorical_feature": at}
    else:
        if given.get("cat_features") is None:
            return model
        options = {"cat_features": tuple(at)}  # see `cloneable`
    _require_all(given.get("cat_features", given.get("categorical_feature")), features, at)
    whole = kind == "catboost"  # it takes whole numbers, the others a gap for what is unknown
    return Pipeline(
        [
            ("columns", _encoder(features, whole=whole)),
            (
                "clf" if hasattr(model, "predict_proba") else "reg",
                copy.deepcopy(model).set_params(**options),
            ),
        ]
    )


def cloneable(model: Any) -> None:
    """Give CatBoost its categories as a tuple: it copies a list, and scikit-learn refuses to clone
    an estimator that does.
    """
    said = model.get_params().get("cat_features")
    if isinstance(said, list):
        model.set_params(cat_features=tuple(said))


def _require_all(said: Any, features: list[tuple[str, bool]], at: list[int]) -> None:
    """BadCategories where other columns are named than those that are categories."""
    if said is None or isinstance(said, str):  # "auto"
        return
    names = [name for name, _ in features]
    named = {names.index(one) if one in names else one for one in said}
    if named != {*at}:
        wrong = sorted(
            map(str, (names[one] if isinstance(one, int) else one for one in named ^ {*at}))
        )
        raise BadCategories(
            "the categories that train.py names and those of the table differ in"
            f' {", ".join(wrong)}: name columns.categories; [data.columns] type = "category" makes'
            " a category of a number"
        )


def _encoder(features: list[tuple[str, bool]], *, whole: bool) -> ColumnTransformer:
    """Every column where it was, categories as codes, so that what is said of columns by number or
    name still holds.
    """
    codes = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=-1 if whole else np.nan,
        max_categories=KEPT,
        dtype=np.int64 if whole else np.float64,
    )
    parts: list[tuple[str, Any, list[str]]] = []
    for name, category in features:
        kind = "codes" if category else "numbers"
        if parts and parts[-1][0].startswith(kind):
            parts[-1][2].append(name)
        else:
            parts.append(
                (f"{kind}{len(parts)}", clone(codes) if category else "passthrough", [name])
            )
    made = ColumnTransformer(parts, verbose_feature_names_out=False)
    return made.set_output(transform="pandas")


def unknown_rows(frame: Any) -> pd.DataFrame | None:
    """A few rows with a text in every category that nobody has seen; None where there is none."""
    if not isinstance(frame, pd.DataFrame):
        return None
    texts = [name for name in frame.columns if frame[name].dtype == object]
    if not texts:
        return None
    rows = frame.iloc[:ROWS].reset_index(drop=True).copy()
    for name in texts:
        rows[name] = pd.Series([UNKNOWN] * len(rows), dtype=object)
    return rows


def column(frame: Any, place: int) -> Array:
    """One column of a frame, matrix or sparse matrix as numbers, [n]."""
    if isinstance(frame, pd.DataFrame):
        return pd.to_numeric(frame.iloc[:, place], errors="coerce").to_numpy(dtype=np.float64)
    part = frame[:, [place]]
    dense = part.toarray() if hasattr(part, "toarray") else np.asarray(part)
    return np.asarray(dense, dtype=np.float64).ravel()


def count_of(frame: Any, place: int) -> int:
    """One more than the greatest code of a column."""
    values = column(frame, place)
    values = values[~np.isnan(values)]
    return int(values.max()) + 1 if len(values) else 0


def negative(unknown: Any, place: int) -> bool:
    """Whether the encoder says a number below zero of a category that it does not know."""
    return unknown is not None and bool((column(unknown, place) < 0).any())


def bits(codes: Any) -> Array:
    """The set of `codes` as scikit-learn's trees hold it, uint32 [8]."""
    made = np.zeros(8, dtype=np.uint32)
    for code in codes:
        made[code // 32] |= np.uint32(1 << (code % 32))
    return made


def told_apart(model: Any, frame: Any, place: int, count: int) -> Array:
    """What CatBoost's trees say of each code of a column, and then of an unknown one: the leaf of
    each tree, [count + 1, trees]. Of a split on this column alone a leaf's bit says on which side
    the code is.
    """
    rows = frame.iloc[[0] * (count + 1)].reset_index(drop=True).copy()
    codes = pd.Series([*range(count), -1], dtype=np.int64)
    rows.isetitem(place, codes)
    return np.asarray(model.calc_leaf_indexes(rows)).reshape(count + 1, -1)
