"""Ensembles of trees as ONNX that answers as scikit-learn does, to the last bit of a sum.

Every threshold and leaf keeps its float64, trees are added up in the estimator's order, splits on
categories and on missing values stay what they are, and the label is taken from the same numbers by
the same rule, ties included. The converters of skl2onnx round to float32, which moves thresholds
and decides ties by chance, and take splits on categories for splits on numbers. The operator is
`TreeEnsemble` of ai.onnx.ml 5, https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsemble.html.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto
from skl2onnx.common.data_types import DoubleTensorType, Int64TensorType
from skl2onnx.common.utils_classifier import _finalize_converter_classes
from sklearn import ensemble, tree
from sklearn.dummy import DummyClassifier, DummyRegressor

from casemate.stages.train.ensemble import Array, Ensemble, Tree
from casemate.stages.train.nodes import Nodes

OPSET = 5
"""Of ai.onnx.ml: the first with `TreeEnsemble`, which keeps float64."""


def grown(estimator: Any, scale: float = 1.0, classes: int | None = None) -> Tree:
    """A tree of `sklearn.tree`; `classes`: outputs to take of a classifier."""
    made = estimator.tree_
    if made.n_outputs > 1 and classes is not None:
        raise ValueError("a tree with several targets of classes")
    values = made.value[:, 0, :classes] if classes is not None else made.value[:, :, 0]
    leaf = made.children_left < 0
    missing = np.asarray(made.missing_go_to_left).astype(bool)
    return Tree(
        made.feature,
        made.threshold,
        made.children_left,
        made.children_right,
        leaf,
        missing,
        scale * values,
    )


def boosted(predictor: Any, columns: Array, categories: dict[int, Array]) -> Tree:
    """A tree of histogram gradient boosting.

    Args:
        predictor: scikit-learn's `TreePredictor`.
        columns: the input's column of each of the tree's features.
        categories: of features with categories: the value of each code.
    """
    nodes = predictor.nodes
    members: dict[int, tuple[Array, bool]] = {}
    for number in np.flatnonzero(
        nodes["is_categorical"].astype(bool) & ~nodes["is_leaf"].astype(bool)
    ):
        node = nodes[number]
        values = categories[int(node["feature_idx"])]
        bits = predictor.raw_left_cat_bitsets[node["bitset_idx"]]
        codes = np.arange(len(values))
        inside = (bits[codes // 32] >> (codes % 32).astype(np.uint32)) & 1
        # what is unknown goes the way of what is missing
        aside = inside == (0 if node["missing_go_to_left"] else 1)
        members[int(number)] = values[aside], not node["missing_go_to_left"]
    return Tree(
        columns[nodes["feature_idx"].astype(np.int64)],
        nodes["num_threshold"].astype(np.float64),
        nodes["left"].astype(np.int64),
        nodes["right"].astype(np.int64),
        nodes["is_leaf"].astype(bool),
        nodes["missing_go_to_left"].astype(bool),
        nodes["value"].astype(np.float64).reshape(-1, 1),
        members,
    )


def _single_value(value: float, shape: tuple[int, ...] = (1,)) -> Array:
    return np.full(shape, value, dtype=np.float64)


class _Graph(Nodes):
    """Begins with the rows of all inputs, float64 [n, d]."""

    def __init__(self, scope: Any, operator: Any, container: Any) -> None:
        super().__init__(scope, operator, container)
        names = [port.full_name for port in operator.inputs]
        doubles = [
            (
                name
                if isinstance(port.type, DoubleTensorType)
                else self("Cast", [name], to=TensorProto.DOUBLE)
            )
            for name, port in zip(names, operator.inputs, strict=True)
        ]
        self.rows = doubles[0] if len(doubles) == 1 else self("Concat", doubles, axis=1)

    def trees(self, made: Ensemble, *, rounded: bool) -> str:
        """The sums, float64 [n, outputs]; `rounded`: the trees see float32, as those of
        `sklearn.tree` do.
        """
        rows = self.rows
        if rounded:
            rows = self("Cast", [self("Cast", [rows], to=TensorProto.FLOAT)], to=TensorProto.DOUBLE)
        return self("TreeEnsemble", [rows], **made.attributes())

    def classes(self, places: str) -> None:
        """`places` int64 [n] name the labels."""
        _finalize_converter_classes(
            self.scope,
            places,
            self.operator.outputs[0].full_name,
            self.container,
            self.operator.raw_operator.classes_,
            TensorProto.DOUBLE,
        )

    def largest(self, scores: str) -> None:
        """The label is the first of the largest `scores` [n, k]."""
        self.classes(self("ArgMax", [scores], axis=1, keepdims=0))

    def binary(self, raw: str, *, at_zero: bool) -> None:
        """Label and probabilities from a raw score [n, 1]: the logistic function, class 1 above 0
        (or at 0 too).
        """
        zero = self.number(_single_value(0.0, (1, 1)))
        above = self("GreaterOrEqual" if at_zero else "Greater", [raw, zero])
        self.classes(self("Squeeze", [self("Cast", [above], to=TensorProto.INT64), self.whole(1)]))
        second = self("Sigmoid", [raw])
        first = self("Sub", [self.number(_single_value(1.0, (1, 1))), second])
        self.answer([first, second])


def _classes_of(estimator: Any) -> int:
    if np.ndim(estimator.n_classes_) or estimator.n_outputs_ > 1:
        raise ValueError("a forest with several targets of classes")
    return int(estimator.n_classes_)


def convert_tree(scope: Any, operator: Any, container: Any) -> None:
    """A single tree: class or quantity."""
    model, graph = operator.raw_operator, _Graph(scope, operator, container)
    count = _classes_of(model) if hasattr(model, "classes_") else None
    made = Ensemble(count or model.n_outputs_)
    made.add(grown(model, classes=count))
    sums = graph.trees(made, rounded=True)
    if count is not None:
        graph.largest(sums)
    graph.answer([sums])


def convert_forest(scope: Any, operator: Any, container: Any) -> None:
    """A forest: the mean of its trees, summed in their order."""
    model, graph = operator.raw_operator, _Graph(scope, operator, container)
    count = _classes_of(model) if hasattr(model, "classes_") else None
    made = Ensemble(count or model.n_outputs_)
    for part in model.estimators_:
        made.add(grown(part, classes=count))
    mean = graph(
        "Div",
        [
            graph.trees(made, rounded=True),
            graph.number(_single_value(float(len(model.estimators_)))),
        ],
    )
    if count is not None:
        graph.largest(mean)
    graph.answer([mean])


def convert_gradient_boosting(scope: Any, operator: Any, container: Any) -> None:
    """The older gradient boosting, begun from a constant."""
    model, graph = operator.raw_operator, _Graph(scope, operator, container)
    if (
        not isinstance(model.init_, str | DummyClassifier | DummyRegressor)
        or model.loss == "exponential"
    ):
        raise ValueError("a start that is no constant, or an exponential loss")
    stages = model.estimators_
    made = Ensemble(stages.shape[1])
    width = np.zeros((1, model.n_features_in_), dtype=np.float32)
    made.constant(np.asarray(model._raw_predict_init(width), dtype=np.float64).ravel())  # noqa: SLF001 - shown nowhere else
    for stage in stages:
        for output, part in enumerate(stage):
            made.put(grown(part, scale=model.learning_rate), 0, output)
    raw = graph.trees(made, rounded=True)
    if not hasattr(model, "classes_"):
        graph.answer([raw])
    elif stages.shape[1] == 1:
        graph.binary(raw, at_zero=True)
    else:
        graph.largest(raw)
        graph.answer([graph("Softmax", [raw], axis=1)])


def convert_histogram_boosting(scope: Any, operator: Any, container: Any) -> None:
    """Histogram gradient boosting: float64 rows, splits on categories, any link."""
    model, graph = operator.raw_operator, _Graph(scope, operator, container)
    columns, categories = _remapped(model)
    base = np.ravel(model._baseline_prediction).astype(np.float64)  # noqa: SLF001 - scikit-learn shows trees nowhere else
    made = Ensemble(len(base))
    made.constant(base)
    for stage in model._predictors:  # noqa: SLF001 - same
        for output, part in enumerate(stage):
            made.put(boosted(part, columns, categories), 0, output)
    raw = graph.trees(made, rounded=False)
    if not hasattr(model, "classes_"):
        link = type(model._loss.link).__name__  # noqa: SLF001 - same
        if link not in ("IdentityLink", "LogLink"):
            raise ValueError(f"the link {link}")
        graph.answer([graph("Exp", [raw]) if link == "LogLink" else raw])
    elif len(base) == 1:
        graph.binary(raw, at_zero=False)
    else:
        graph.largest(raw)
        graph.answer([graph("Softmax", [raw], axis=1)])


def _remapped(model: Any) -> tuple[Array, dict[int, Array]]:
    """(the input's column of each feature that the trees see, values of the codes of those with
    categories).
    """
    count = model.n_features_in_
    if model.is_categorical_ is None:  # categories of other libraries' trees are codes already
        known = model._bin_mapper  # noqa: SLF001 - same
        return np.arange(count), {
            int(place): known.bin_thresholds_[place]
            for place in np.flatnonzero(known.is_categorical_)
        }
    first, rest = np.flatnonzero(model.is_categorical_), np.flatnonzero(~model.is_categorical_)
    found = {}
    for place, values in enumerate(model._preprocessor.named_transformers_["encoder"].categories_):  # noqa: SLF001 - same
        if values.dtype.kind not in "fiu":
            raise ValueError("native categories that are text: put an OrdinalEncoder before")
        found[place] = values.astype(np.float64)
    return np.concatenate([first, rest]), found


def classified(operator: Any) -> None:
    """Shapes of a classifier's outputs."""
    model, rows = operator.raw_operator, operator.inputs[0].get_first_dimension()
    operator.outputs[0].type = Int64TensorType([rows])
    operator.outputs[1].type = DoubleTensorType([rows, len(model.classes_)])


def measured(operator: Any) -> None:
    """Shape of a regressor's output."""
    rows = operator.inputs[0].get_first_dimension()
    operator.outputs[0].type = DoubleTensorType(
        [rows, getattr(operator.raw_operator, "n_outputs_", 1)]
    )


Convert = Callable[[Any, Any, Any], None]
CONVERTERS: dict[type, Convert] = {
    tree.DecisionTreeClassifier: convert_tree,
    tree.DecisionTreeRegressor: convert_tree,
    tree.ExtraTreeClassifier: convert_tree,
    tree.ExtraTreeRegressor: convert_tree,
    ensemble.RandomForestClassifier: convert_forest,
    ensemble.RandomForestRegressor: convert_forest,
    ensemble.ExtraTreesClassifier: convert_forest,
    ensemble.ExtraTreesRegressor: convert_forest,
    ensemble.GradientBoostingClassifier: convert_gradient_boosting,
    ensemble.GradientBoostingRegressor: convert_gradient_boosting,
    ensemble.HistGradientBoostingClassifier: convert_histogram_boosting,
    ensemble.HistGradientBoostingRegressor: convert_histogram_boosting,
}
SHAPES = {
    kind: classified if kind.__name__.endswith("Classifier") else measured for kind in CONVERTERS
}
