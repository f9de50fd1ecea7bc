"""From declared limits to bounded features, without a look at the data: what private training and
networks see.

Whatever is learnt from private rows before the noise (means, deviations, vocabularies) is outside
of the guarantee, so numbers are scaled by declared bounds, categories come from a declared list,
and what lies outside is clipped or unknown.
"""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, MinMaxScaler, OneHotEncoder

Array = np.ndarray[Any, Any]
DECADES = 1000.0
"""How far the growing bins reach: from a narrow one at `low` to one about a thousand times as wide,
as incomes and counts have them. Declared, because a look at the data would spend privacy.
"""


def edges(low: float, high: float, bins: int) -> Array:
    """Bin edges over [low, high]: equal widths, and widths that grow from `low`, so that long tails
    are seen too; float64 ascending.
    """
    if not high > low:
        return np.array([low, low + 1.0])
    equal = np.linspace(0, 1, bins + 1)
    growing = np.expm1(np.linspace(0, np.log1p(DECADES), bins + 1)) / DECADES
    found = np.unique(np.round(np.concatenate([equal, growing]), 12))
    return np.asarray(low + found * (high - low))


def encoder(
    numbers: dict[str, tuple[float, float]], categories: dict[str, list[str]], bins: int = 0
) -> tuple[ColumnTransformer, float]:
    """(a fitted transformer of plain scikit-learn parts, the largest norm that a transformed row
    can have).

    Args:
        numbers: declared (least, greatest) per numeric feature.
        categories: declared values per category.
        bins: bins per scale of a number beside its scaled value; 0: the scaled value alone.
    """
    parts: list[tuple[str, Any, list[str]]] = []
    square = 0.0
    for name, (low, high) in numbers.items():
        frame = pd.DataFrame({name: np.array([low, high], dtype=np.float64)})
        middle = SimpleImputer(
            strategy="constant", fill_value=(low + high) / 2, keep_empty_features=True
        )
        scale = make_pipeline(middle, MinMaxScaler((0, 1), clip=True)).fit(frame)
        parts.append((f"scaled-{name}", scale, [name]))
        square += 1.0
        if bins and high > low:
            cut = edges(low, high, bins)
            binned = KBinsDiscretizer(
                len(cut) - 1, encode="onehot-dense", strategy="uniform", subsample=None
            )
            pipeline = make_pipeline(middle, binned).fit(frame)
            binned.bin_edges_[0] = cut
            parts.append((f"binned-{name}", pipeline, [name]))
            square += 1.0
    for name, values in categories.items():
        kinds = np.array(values, dtype=object)
        one = OneHotEncoder(categories=[kinds], handle_unknown="ignore", sparse_output=False)
        parts.append((f"category-{name}", one.fit(pd.DataFrame({name: kinds})), [name]))
        square += 1.0
    transformer = ColumnTransformer(parts, verbose_feature_names_out=False, sparse_threshold=0)
    rows = {name: np.array(limits, dtype=np.float64) for name, limits in numbers.items()} | {
        name: np.array([values[0], values[-1]], dtype=object) for name, values in categories.items()
    }
    transformer.fit(pd.DataFrame(rows))
    transformer.transformers_[: len(parts)] = parts  # what was fitted on the declared limits
    return transformer, float(np.sqrt(square))


def pipeline(transformer: ColumnTransformer, model: Any) -> Pipeline:
    """Both as one fitted scikit-learn pipeline."""
    return Pipeline([("encode", transformer), ("model", model)])
