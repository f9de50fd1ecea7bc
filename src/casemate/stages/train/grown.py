"""What boosted trees of other libraries are read into: nodes and sets of codes, as histogram
gradient boosting of scikit-learn holds them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE

from casemate.stages.train import categories

Array = np.ndarray[Any, Any]


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

    trees: list[list["Tree"]]
    base: Array
    link: str
    counts: dict[int, int] = field(default_factory=dict)
    """Of features that are categories: how many codes there are."""


class Tree:
    """The nodes of one tree, and the sets of codes that its splits on categories send left."""

    def __init__(self, nodes: int) -> None:
        self.nodes = np.zeros(nodes, dtype=PREDICTOR_RECORD_DTYPE)
        self._sets: list[Array] = []

    @property
    def sets(self) -> Array:
        """uint32 [splits on categories, 8]."""
        return np.array(self._sets, dtype=np.uint32).reshape(-1, 8)

    def leaf(self, at: int, value: float) -> None:
        """A leaf at `at`."""
        node = self.nodes[at]
        node["value"], node["is_leaf"], node["count"] = value, True, 1

    def split(
        self,
        at: int,
        feature: int,
        missing_left: bool,
        ways: tuple[int, int],
        threshold: float = 0.0,
        codes: Iterable[int] | None = None,
    ) -> None:
        """A split at `at`: numbers up to the threshold, or the `codes` of categories, go to the
        first of `ways`; what is missing or unknown goes there if `missing_left`.
        """
        node = self.nodes[at]
        node["feature_idx"], node["missing_go_to_left"] = feature, missing_left
        node["left"], node["right"], node["count"] = *ways, 1
        node["num_threshold"] = threshold
        if codes is not None:
            node["is_categorical"], node["bitset_idx"] = True, len(self._sets)
            self._sets.append(categories.bits(codes))


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


def known_link(name: str, known: dict[str, str], library: str) -> str:
    """The link of an objective; Foreign where it is not known."""
    if name not in known:
        raise Foreign(
            f"{library} with the objective {name!r} is not known here: use one of"
            f" {', '.join(known)}"
        )
    return known[name]
