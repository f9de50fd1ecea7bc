"""Boosted trees that sites learnt together, as an estimator of scikit-learn's own steps: what
casemate imports, measures, signs and serves like any other.

Numbers go through as they are, each declared value of a category becomes a column of its own, and
histogram gradient boosting holds the trees. Cuts are values, so limits are clipped by the trees.
"""

from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from casemate.core.types import Schema
from casemate.ml.federated.trees import INNER, Forest
from casemate.ml.models import dump_skops
from casemate.stages.train.boosters import shell
from casemate.stages.train.global_linear import features_of
from casemate.stages.train.grown import Grown, Tree

Array = np.ndarray[Any, Any]


def skops_file(forest: Forest, columns: Schema) -> bytes:
    """The model as a skops file, the same bytes for equal models.

    Args:
        forest: grown to its end.
        columns: features and target of the charter.
    """
    return dump_skops(estimator_of(forest, columns))


def estimator_of(forest: Forest, columns: Schema) -> Pipeline:
    """The fitted pipeline; arguments as `skops_file` has them."""
    bins, growth, limits = forest.bins, forest.growth, forest.bins.limits
    widths = [1] * bins.numbers + [len(kinds) for kinds in limits.categories.values()]
    begins = [0, *np.cumsum(widths).tolist()]
    trees = [[_tree(tree, forest, begins) for tree in stage] for stage in forest.trees]
    base = forest.middle + forest.size * forest.base
    made = shell(
        Grown(trees, base, "identity" if columns.regression else "classes"),
        None if columns.regression else range(len(columns.classes)),
        np.zeros((1, limits.width)),
        seed=0,
    )
    if not columns.regression:
        made.classes_ = np.array(columns.classes)
    made.set_params(
        learning_rate=growth.rate,
        max_depth=growth.depth,
        max_leaf_nodes=None,
        l2_regularization=growth.l2,
        max_bins=growth.bins,
        min_samples_leaf=growth.least,
    )
    return Pipeline([("features", features_of(limits, columns, "passthrough")), ("model", made)])


def _tree(tree: Array, forest: Forest, begins: list[int]) -> Tree:
    """One tree, its nodes without gaps; `begins`: the first input of each column."""
    bins, thresholds = forest.bins, forest.bins.thresholds
    order, ways = [0], {}
    for at in order:  # grows while it is walked
        if tree[at, 0] >= INNER:
            ways[at] = len(order), len(order) + 1
            order += [2 * at + 1, 2 * at + 2]
    made = Tree(len(order))
    for place, at in enumerate(order):
        if at not in ways:
            made.leaf(place, forest.size * float(tree[at, 3]))
            continue
        column, cut, missing_left = (int(value) for value in tree[at, :3])
        if column < bins.numbers:
            ends = thresholds[column]
            # above the last cut nothing is left but what is missing
            threshold = float(ends[cut]) if cut < len(ends) else np.inf
            made.split(place, begins[column], bool(missing_left), ways[at], threshold)
        else:
            made.split(place, begins[column] + cut, True, ways[at], 0.5)
    return made
