"""Encoders, imputers and selections as ONNX that answers as scikit-learn does: the fitted estimator
itself says what each category becomes.

An encoder that works column by column is a table. It is asked about every category that it knows
and about one that it does not know, and what it says is the graph's table: rare and unknown
categories, dropped ones and codes of a caller's own included.
"""

import warnings
from typing import Any

import numpy as np
from onnx import TensorProto
from skl2onnx.common.data_types import DoubleTensorType, StringTensorType
from sklearn import feature_selection
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

from casemate.stages.train.nodes import Nodes

Array = np.ndarray[Any, Any]
SELECTORS = (
    feature_selection.GenericUnivariateSelect,
    feature_selection.SelectFdr,
    feature_selection.SelectFpr,
    feature_selection.SelectFromModel,
    feature_selection.SelectFwe,
    feature_selection.SelectKBest,
    feature_selection.SelectPercentile,
    feature_selection.SequentialFeatureSelector,
    feature_selection.VarianceThreshold,
)
UNKNOWN = "casemate-has-never-seen-this"
BEYOND = -987_654_321.25
"""A number that is no category."""


class _Graph(Nodes):
    """`columns` are the operator's inputs one by one, (name, is text)."""

    def __init__(self, scope: Any, operator: Any, container: Any) -> None:
        super().__init__(scope, operator, container)
        self.columns: list[tuple[str, bool]] = []
        for port in operator.inputs:
            text = isinstance(port.type, StringTensorType)
            name = (
                port.full_name
                if text or isinstance(port.type, DoubleTensorType)
                else self("Cast", [port.full_name], to=TensorProto.DOUBLE)
            )
            width = port.type.shape[1]
            if not isinstance(width, int):
                raise TypeError("inputs of unknown width")
            if width == 1:
                self.columns.append((name, text))
                continue
            for place in range(width):
                self.columns.append((self("Gather", [name, self.whole(place)], axis=1), text))

    def place(
        self, column: str, categories: Array, *, text: bool, places: Array, unknown: int
    ) -> str:
        """int64 [n, 1]: `places` of the categories, `unknown` for every other value."""
        if text:
            keys = np.array([str(value).encode() for value in categories])
            values = places.astype(np.int64)
            found = self(
                "LabelEncoder",
                [column],
                keys_strings=keys,
                values_int64s=values.tolist(),
                default_int64=unknown,
            )
            return self("Reshape", [found, self.whole(-1, 1)])
        kept = categories.astype(np.float64)
        same = self(
            "Equal", [column, self.number(np.where(np.isnan(kept), BEYOND, kept).reshape(1, -1))]
        )
        if np.isnan(kept).any():
            gap = self("And", [self("IsNaN", [column]), self.number(np.isnan(kept).reshape(1, -1))])
            same = self("Or", [same, gap])
        marked = self("Cast", [same], to=TensorProto.FLOAT)
        known = self(
            "Greater",
            [
                self("ReduceSum", [marked, self.whole(1)], keepdims=1),
                self.number(np.zeros((1, 1), dtype=np.float32)),
            ],
        )
        found = self(
            "Gather",
            [self.number(places.astype(np.int64)), self("ArgMax", [marked], axis=1, keepdims=1)],
            axis=0,
        )
        return self("Where", [known, found, self.number(np.array([[unknown]], dtype=np.int64))])


def _asked(encoder: Any, column: int, text: bool) -> tuple[Array, Array]:
    """(categories [k], what the encoder makes of them and then of an unknown one [k + 1, all its
    outputs]).
    """
    every = [np.asarray(values) for values in encoder.categories_]
    if text != (every[column].dtype.kind in "OUST"):
        raise ValueError("categories of another type than the column")
    values = every[column]
    unknown: Any = UNKNOWN if text else BEYOND
    probe = np.empty((len(values) + 1, len(every)), dtype=object)
    for place, others in enumerate(every):
        probe[:, place] = others[0] if len(others) else np.nan
    probe[:-1, column] = values
    probe[-1, column] = unknown
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            made = _dense(encoder, probe)
        except ValueError:  # it refuses what it does not know, so the graph is not asked
            made = _dense(encoder, probe[:-1])
            made = np.vstack([made, np.zeros((1, made.shape[1]))])
    return values, made.astype(np.float64)


def _dense(encoder: Any, probe: Array) -> Array:
    import pandas as pd

    names = getattr(encoder, "feature_names_in_", [str(place) for place in range(probe.shape[1])])
    kinds = [
        values.dtype if values.dtype.kind in "fiu" else object for values in encoder.categories_
    ]
    frame = pd.DataFrame(
        {
            name: pd.Series(probe[:, place]).astype(kind)
            for place, (name, kind) in enumerate(zip(names, kinds, strict=True))
        }
    )
    made = encoder.transform(
        frame if hasattr(encoder, "feature_names_in_") else frame.to_numpy(dtype=object)
    )
    return np.asarray(made.toarray() if hasattr(made, "toarray") else made)


def _widths(encoder: Any) -> list[int]:
    """Outputs of each column."""
    count = len(encoder.categories_)
    if isinstance(encoder, OneHotEncoder):
        return [int(width) for width in encoder._n_features_outs]  # noqa: SLF001 - shown in names only
    if isinstance(encoder, TargetEncoder) and encoder.target_type_ == "multiclass":
        return [len(encoder.classes_)] * count
    return [1] * count


def convert_encoder(scope: Any, operator: Any, container: Any) -> None:
    """An encoder of categories, by the table that it answers with."""
    encoder, graph = operator.raw_operator, _Graph(scope, operator, container)
    widths, parts, start = _widths(encoder), [], 0
    if len(widths) != len(graph.columns):
        raise ValueError("an encoder of another number of columns")
    for column, ((name, text), width) in enumerate(zip(graph.columns, widths, strict=True)):
        values, made = _asked(encoder, column, text)
        table = made[:, start : start + width]
        start += width
        if not width:
            continue
        # at most one column is 1: its place says all, and needs no table
        if isinstance(encoder, OneHotEncoder):
            at = np.where(table.any(axis=1), table.argmax(axis=1), -1)
            where = graph.place(name, values, text=text, places=at[:-1], unknown=int(at[-1]))
            parts.append(
                graph(
                    "Cast",
                    [graph("Equal", [where, graph.number(np.arange(width).reshape(1, -1))])],
                    to=TensorProto.DOUBLE,
                )
            )
        else:
            where = graph.place(
                name, values, text=text, places=np.arange(len(values)), unknown=len(values)
            )
            flat = graph("Squeeze", [where, graph.whole(1)])
            parts.append(graph("Gather", [graph.number(table.copy()), flat], axis=0))
    graph.answer(parts)


def convert_imputer(scope: Any, operator: Any, container: Any) -> None:
    """A choice between float64 numbers: columns without any value are left out or kept, as the
    imputer does, indicators follow.
    """
    imputer, graph = operator.raw_operator, _Graph(scope, operator, container)
    names = [name for name, _ in graph.columns]
    rows = names[0] if len(names) == 1 else graph("Concat", names, axis=1)
    if _of_text(imputer):
        _fill_text(imputer, graph, rows)
        return
    mark, filled = imputer.missing_values, imputer.statistics_.astype(np.float64)
    gaps = (
        graph("IsNaN", [rows])
        if _is_nan(mark)
        else graph("Equal", [rows, graph.number(np.array([[mark]], dtype=np.float64))])
    )
    parts = [graph("Where", [gaps, graph.number(filled.reshape(1, -1)), rows])]
    kept = np.flatnonzero(~np.isnan(filled))
    if len(kept) < len(filled) and not imputer.keep_empty_features:
        parts = (
            [graph("Gather", [parts[0], graph.number(kept.astype(np.int64))], axis=1)]
            if len(kept)
            else []
        )
    if imputer.add_indicator and len(imputer.indicator_.features_):
        at = graph.number(np.asarray(imputer.indicator_.features_, dtype=np.int64))
        parts.append(graph("Gather", [graph("Cast", [gaps], to=TensorProto.DOUBLE), at], axis=1))
    graph.answer(parts)


def convert_selector(scope: Any, operator: Any, container: Any) -> None:
    """The columns that were selected."""
    graph = _Graph(scope, operator, container)
    if any(text for _, text in graph.columns):
        raise ValueError("a selection among columns of text")
    graph.answer(
        [graph.columns[place][0] for place in np.flatnonzero(operator.raw_operator.get_support())]
    )


def _fill_text(imputer: Any, graph: _Graph, rows: str) -> None:
    if imputer.add_indicator:
        raise ValueError("an imputer of text with an indicator")
    if not isinstance(imputer.missing_values, str):  # text is never missing: it says so in words
        graph.answer([rows])
        return
    gaps = graph("Equal", [rows, graph.number(np.array([[imputer.missing_values]], dtype=object))])
    graph.answer(
        [
            graph(
                "Where",
                [
                    gaps,
                    graph.number(
                        np.array([[str(value) for value in imputer.statistics_]], dtype=object)
                    ),
                    rows,
                ],
            )
        ]
    )


def _of_text(imputer: Any) -> bool:
    return bool(np.asarray(imputer.statistics_).dtype.kind not in "fiu")


def _is_nan(mark: Any) -> bool:
    return isinstance(mark, float) and np.isnan(mark)


def shaped(operator: Any) -> None:
    """Shape of the output."""
    model, rows = operator.raw_operator, operator.inputs[0].get_first_dimension()
    if hasattr(model, "get_support"):
        width = int(np.sum(model.get_support()))
    elif isinstance(model, SimpleImputer):
        filled = np.asarray(model.statistics_)
        if _of_text(model):
            operator.outputs[0].type = StringTensorType([rows, len(filled)])
            return
        width = (
            len(filled)
            if model.keep_empty_features
            else int((~np.isnan(filled.astype(np.float64))).sum())
        )
        width += len(model.indicator_.features_) if model.add_indicator else 0
    else:
        width = sum(_widths(model))
    operator.outputs[0].type = DoubleTensorType([rows, width])


CONVERTERS = {
    OneHotEncoder: convert_encoder,
    OrdinalEncoder: convert_encoder,
    TargetEncoder: convert_encoder,
    SimpleImputer: convert_imputer,
    **dict.fromkeys(SELECTORS, convert_selector),
}
SHAPES = dict.fromkeys(CONVERTERS, shaped)
