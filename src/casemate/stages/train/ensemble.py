"""Trees as the attributes of the ONNX operator for ensembles of them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import numpy_helper

LEQ, MEMBER = 0, 6
"""Modes of a split as `TreeEnsemble` of ai.onnx.ml 5 numbers them: BRANCH_LEQ and BRANCH_MEMBER."""
SUM = 1
"""`aggregate_function` of the same operator: the trees' values are added."""
MOST_NODES = 6_000_000
"""Splits of a graph: about 300 MB. A larger forest is served by scikit-learn."""
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Tree:
    """One tree; its nodes by number, the root is 0."""

    feature: Array
    threshold: Array
    """float64; `<=` goes left."""
    left: Array
    right: Array
    leaf: Array
    """bool"""
    missing_left: Array
    """bool"""
    values: Array
    """float64 [nodes, outputs]"""
    members: dict[int, tuple[Array, bool]] = field(default_factory=dict)
    """Of nodes that split on a category: (values, whether they go left); every other value goes to
    the other side.
    """


class Ensemble:
    """Collects the attributes of the operator."""

    def __init__(self, outputs: int) -> None:
        self.outputs = outputs
        self.columns: dict[str, list[Array]] = {
            name: []
            for name in ("features", "modes", "splits", "true", "true_leaf", "false", "false_leaf")
        }
        self.missing: list[Array] = []
        self.targets: list[Array] = []
        self.weights: list[Array] = []
        self.members: list[Array] = []
        self.roots: list[int] = []
        self.nodes = self.leaves = 0

    def add(self, one: Tree) -> None:
        """Every output of a tree; the tree is repeated for each, because a leaf of this operator
        has one.
        """
        for output in range(self.outputs):
            self.put(one, output, output)

    def constant(self, values: Array) -> None:
        """Add the same to every row, float64 [outputs]."""
        nothing = np.zeros(1, dtype=np.int64)
        self.add(
            Tree(
                nothing,
                np.zeros(1),
                nothing,
                nothing,
                np.ones(1, bool),
                np.zeros(1, bool),
                values.reshape(1, -1),
            )
        )

    def put(self, one: Tree, column: int, output: int) -> None:
        """The tree's values in `column` are added to `output`."""
        if self.nodes + len(one.leaf) > MOST_NODES:
            raise ValueError(f"the ensemble has more than {MOST_NODES} splits")
        inner, leaves = np.flatnonzero(~one.leaf), np.flatnonzero(one.leaf)
        place = np.zeros(len(one.leaf), dtype=np.int64)
        place[inner] = self.nodes + np.arange(len(inner))
        place[leaves] = self.leaves + np.arange(len(leaves))
        self.roots.append(self.nodes)
        self.targets.append(np.full(len(leaves), output, dtype=np.int64))
        self.weights.append(one.values[leaves, column])
        self.leaves += len(leaves)
        if not len(inner):  # a root that is a leaf is a split with the same on both sides
            self._split([0], [LEQ], [0.0], [place[0]], [1], [place[0]], [1], [0])
            return
        left, right = one.left[inner].astype(np.int64), one.right[inner].astype(np.int64)
        modes, splits = np.full(len(inner), LEQ, dtype=np.uint8), one.threshold[inner].copy()
        missing = one.missing_left[inner].astype(np.int64)
        for position, node in enumerate(inner if one.members else ()):
            if node in one.members:
                values, to_left = one.members[int(node)]
                # no member: the way of what is missing
                modes[position], splits[position], missing[position] = MEMBER, 0.0, 0
                self.members.append(np.append(values, np.nan))
                if not to_left:
                    left[position], right[position] = right[position], left[position]
        self._split(
            one.feature[inner],
            modes,
            splits,
            place[left],
            one.leaf[left],
            place[right],
            one.leaf[right],
            missing,
        )

    def _split(
        self,
        features: Any,
        modes: Any,
        splits: Any,
        true: Any,
        true_leaf: Any,
        false: Any,
        false_leaf: Any,
        missing: Any,
    ) -> None:
        for name, values in zip(
            self.columns, (features, modes, splits, true, true_leaf, false, false_leaf), strict=True
        ):
            self.columns[name].append(np.asarray(values))
        self.missing.append(np.asarray(missing))
        self.nodes += len(splits)

    def attributes(self) -> dict[str, Any]:
        """Of the node."""
        made = {name: np.concatenate(parts) for name, parts in self.columns.items()}
        found = {
            "n_targets": self.outputs,
            "aggregate_function": SUM,
            "post_transform": 0,
            "tree_roots": self.roots,
            "nodes_featureids": made["features"].astype(np.int64).tolist(),
            "nodes_modes": numpy_helper.from_array(made["modes"].astype(np.uint8), "modes"),
            "nodes_splits": numpy_helper.from_array(made["splits"].astype(np.float64), "splits"),
            "nodes_truenodeids": made["true"].astype(np.int64).tolist(),
            "nodes_trueleafs": made["true_leaf"].astype(np.int64).tolist(),
            "nodes_falsenodeids": made["false"].astype(np.int64).tolist(),
            "nodes_falseleafs": made["false_leaf"].astype(np.int64).tolist(),
            "nodes_missing_value_tracks_true": (
                np.concatenate(self.missing).astype(np.int64).tolist()
            ),
            "leaf_targetids": np.concatenate(self.targets).tolist(),
            "leaf_weights": numpy_helper.from_array(
                np.concatenate(self.weights).astype(np.float64), "weights"
            ),
        }
        if self.members:
            found["membership_values"] = numpy_helper.from_array(
                np.concatenate(self.members).astype(np.float64), "members"
            )
        return found
