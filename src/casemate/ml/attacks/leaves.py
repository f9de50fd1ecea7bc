"""Trees read as arrays: which leaves a box of inputs reaches, and which box each of them answers
for.

Every family of scikit-learn's trees becomes one list of nodes and a sum over trees, so that one
search and one bound fit them all. What is read here is a view for looking for points; what the
model itself answers to a point decides.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from casemate.ml.attacks.interface import Array

ONE_TREE = {
    "DecisionTreeClassifier",
    "ExtraTreeClassifier",
    "DecisionTreeRegressor",
    "ExtraTreeRegressor",
}
FORESTS = {
    "RandomForestClassifier",
    "ExtraTreesClassifier",
    "RandomForestRegressor",
    "ExtraTreesRegressor",
}
BOOSTED = {"GradientBoostingClassifier", "GradientBoostingRegressor"}
HISTOGRAMS = {"HistGradientBoostingClassifier", "HistGradientBoostingRegressor"}
SAME_SCALE = {"squared_error", "huber", "quantile", "absolute_error"}
"""Losses whose raw scores are the quantities themselves."""


@dataclass(frozen=True)
class Trees:
    """The nodes of all trees, N of them, one after another."""

    roots: Array
    """Of each tree, [t]."""
    left: Array
    """Child for inputs up to the threshold, -1 at leaves, [N]."""
    right: Array
    """The other child, [N]."""
    parent: Array
    """[N]; -1 at roots."""
    tree: Array
    """Which tree a node belongs to, [N]."""
    feature: Array
    """[N]."""
    threshold: Array
    """[N]."""
    missing_left: Array
    """Whether a missing input goes left, bool [N]."""
    value: Array
    """What a leaf adds to the scores, [N, k]."""
    base: Array
    """Scores before any tree, [k]."""
    single: bool
    """Whether inputs are compared as float32."""

    @property
    def exact(self) -> bool:
        """Whether equal scores are equal in the model's arithmetic too: one tree, whose leaves hold
        the scores themselves.
        """
        return len(self.roots) == 1 and not self.base.any()

    def inputs(self, rows: Array) -> Array:
        """Inputs as the trees compare them."""
        return rows.astype(np.float32).astype(np.float64) if self.single else rows

    def reached(self, low: Array, high: Array) -> tuple[Array, Array]:
        """(row, leaf) of every leaf that the box [low, high] of each row reaches, by row and tree;
        both [n, d].

        An input that is missing is missing at both ends.
        """
        rows = np.repeat(np.arange(len(low)), len(self.roots))
        nodes = np.tile(self.roots, len(low))
        found: list[tuple[Array, Array]] = []
        while len(rows):
            ends = self.left[nodes] < 0
            found.append((rows[ends], nodes[ends]))
            rows, nodes = rows[~ends], nodes[~ends]
            least, most, limit = (
                low[rows, self.feature[nodes]],
                high[rows, self.feature[nodes]],
                self.threshold[nodes],
            )
            down, up = least <= limit, most > limit
            missing = np.isnan(least) | np.isnan(most)
            if missing.any():
                down[missing], up[missing] = (
                    self.missing_left[nodes[missing]],
                    ~self.missing_left[nodes[missing]],
                )
            rows, nodes = (
                np.concatenate([rows[down], rows[up]]),
                np.concatenate([self.left[nodes[down]], self.right[nodes[up]]]),
            )
        row, leaf = (np.concatenate([part[i] for part in found]) for i in (0, 1))
        order = np.lexsort((leaf, row))  # nodes of one tree follow one another
        return row[order], leaf[order]

    def boxes(self, leaves: Array, columns: Array) -> tuple[Array, Array]:
        """What `columns` must be above, and at most, to end in each leaf, [leaves, len(columns)]
        each.
        """
        place = np.full(int(max(self.feature.max(initial=0), columns.max(initial=0))) + 1, -1)
        place[columns] = np.arange(len(columns))
        low, high = (
            np.full((len(leaves), len(columns)), -np.inf),
            np.full((len(leaves), len(columns)), np.inf),
        )
        child, at = leaves, np.arange(len(leaves))
        while len(at):
            above = self.parent[child]
            going = above >= 0
            child, above, at = child[going], above[going], at[going]
            column = place[self.feature[above]]
            asked = column >= 0
            for limits, side, tighter in (
                (high, self.left, np.minimum),
                (low, self.right, np.maximum),
            ):
                here = asked & (side[above] == child)
                limits[at[here], column[here]] = tighter(
                    limits[at[here], column[here]], self.threshold[above[here]]
                )
            child = above
        return low, high

    def bounds(self, low: Array, high: Array) -> tuple[Array, Array]:
        """Least and greatest sum over the trees of what each alone can give inside the box of each
        row, [n, k] each.

        Exact for one tree; for more a bound, because one input must suit them all (Chen et al.,
        Robustness Verification of Tree-based Models, NeurIPS 2019, level 1).
        """
        row, leaf = self.reached(self.inputs(low), self.inputs(high))
        starts = np.flatnonzero(
            np.r_[True, (row[1:] != row[:-1]) | (self.tree[leaf[1:]] != self.tree[leaf[:-1]])]
        )
        shape = (len(low), len(self.roots), self.value.shape[1])
        least, most = (
            np.asarray(f.reduceat(self.value[leaf], starts)).reshape(shape).sum(axis=1)
            for f in (np.minimum, np.maximum)
        )
        return least + self.base, most + self.base


def read(model: Any) -> Trees | None:
    """The trees of a fitted estimator; None where it has none, or its scores are no sum over them.

    Scores are [k]: of forests the mean probabilities, of boosted trees the raw scores (two classes
    as minus and plus half of one), of regressors the quantities.
    """
    name = type(model).__name__
    if name in ONE_TREE | FORESTS:
        return _forest(
            [model] if name in ONE_TREE else model.estimators_,
            regression=name.endswith("Regressor"),
        )
    if name in BOOSTED:
        return _boosted(model)
    if name in HISTOGRAMS:
        return _histograms(model)
    return None


def _forest(trees: list[Any], *, regression: bool) -> Trees | None:
    parts = []
    for tree in trees:
        inner = tree.tree_
        if not regression and inner.value.shape[1] > 1:
            return None  # several outputs
        values = (
            inner.value[:, :, 0]
            if regression
            else inner.value[:, 0, :] / inner.value[:, 0, :].sum(axis=1, keepdims=True)
        )
        parts.append(_nodes(inner, values / len(trees)))
    return _joined(parts, np.zeros(parts[0]["value"].shape[1]), single=True)


def _boosted(model: Any) -> Trees | None:
    loss = str(getattr(model, "loss", ""))
    if type(model).__name__.endswith("Regressor") and loss not in SAME_SCALE:
        return None
    if model.init_ != "zero" and type(model.init_).__name__ not in (
        "DummyClassifier",
        "DummyRegressor",
    ):
        return None  # the first scores are another model's
    outputs = model.estimators_.shape[1]
    base = np.asarray(
        model._raw_predict_init(np.zeros((1, model.n_features_in_), dtype=np.float32)),  # noqa: SLF001
        dtype=np.float64,
    )[0]
    parts = []
    for stage in model.estimators_:
        for number, tree in enumerate(stage):
            values = np.zeros((tree.tree_.node_count, outputs))
            values[:, number] = tree.tree_.value[:, 0, 0] * model.learning_rate
            parts.append(_nodes(tree.tree_, values))
    return _two_sided(parts, base, single=True, classes=hasattr(model, "classes_"))


def _histograms(model: Any) -> Trees | None:
    if not hasattr(model, "classes_") and model.loss not in SAME_SCALE:
        return None
    stages = model._predictors  # noqa: SLF001 - scikit-learn offers no public view of the trees
    outputs = len(stages[0])
    base = np.asarray(model._baseline_prediction, dtype=np.float64).reshape(-1)  # noqa: SLF001 - same
    if model.is_categorical_ is not None and np.any(model.is_categorical_):
        return None  # its own encoder changes the order of the inputs
    if np.any(model._bin_mapper.is_categorical_):  # noqa: SLF001 - same
        return None  # splits on categories of another library's trees
    parts = []
    for stage in stages:
        for number, predictor in enumerate(stage):
            nodes = predictor.nodes
            values = np.zeros((len(nodes), outputs))
            values[:, number] = nodes["value"]
            leaf = nodes["is_leaf"] == 1
            parts.append(
                {
                    "left": np.where(leaf, -1, nodes["left"].astype(np.int64)),
                    "right": np.where(leaf, -1, nodes["right"].astype(np.int64)),
                    "feature": nodes["feature_idx"].astype(np.int64),
                    "threshold": nodes["num_threshold"].astype(np.float64),
                    "missing_left": nodes["missing_go_to_left"] == 1,
                    "value": values,
                }
            )
    return _two_sided(parts, base, single=False, classes=hasattr(model, "classes_"))


def _nodes(inner: Any, values: Array) -> dict[str, Array]:
    return {
        "left": np.asarray(inner.children_left, dtype=np.int64),
        "right": np.asarray(inner.children_right, dtype=np.int64),
        "feature": np.maximum(inner.feature, 0),
        "threshold": np.asarray(inner.threshold, dtype=np.float64),
        "missing_left": np.asarray(inner.missing_go_to_left) == 1,
        "value": np.asarray(values, dtype=np.float64),
    }


def _two_sided(parts: list[dict[str, Array]], base: Array, *, single: bool, classes: bool) -> Trees:
    """Joined, one score of two classes as two that differ by it."""
    if classes and len(base) == 1:
        parts = [
            {**part, "value": np.hstack([-part["value"], part["value"]]) / 2} for part in parts
        ]
        base = np.r_[-base, base] / 2
    return _joined(parts, base, single=single)


def _joined(parts: list[dict[str, Array]], base: Array, *, single: bool) -> Trees:
    sizes = [len(part["left"]) for part in parts]
    roots = np.r_[0, np.cumsum(sizes)[:-1]].astype(np.int64)
    left, right = (
        np.concatenate(
            [
                np.where(part[side] < 0, -1, part[side] + root)
                for part, root in zip(parts, roots, strict=True)
            ]
        )
        for side in ("left", "right")
    )
    inner = np.flatnonzero(left >= 0)
    parent = np.full(len(left), -1)
    parent[left[inner]] = parent[right[inner]] = inner
    names = ("feature", "threshold", "missing_left", "value")
    feature, threshold, missing_left, value = (
        np.concatenate([part[name] for part in parts]) for name in names
    )
    return Trees(
        roots=roots,
        left=left,
        right=right,
        parent=parent,
        tree=np.repeat(np.arange(len(parts)), sizes),
        feature=feature,
        threshold=threshold,
        missing_left=missing_left,
        value=value,
        base=base,
        single=single,
    )
