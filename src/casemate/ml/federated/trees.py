"""Boosted trees over sites: how they are declared, how far they are grown, and what a site sums of
its rows for those that are asked about (`growing` says what a coordinator makes of it).

Sums of derivatives by node and bin: Chen and Guestrin, XGBoost: A Scalable Tree Boosting System,
KDD 2016; Ke et al., LightGBM, NeurIPS 2017, 2.1.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from casemate.core.errors import ConfigError
from casemate.core.types import Record, Schema
from casemate.ml.federated.bins import Bins, counts_of, counts_size
from casemate.ml.federated.encoding import Limits
from casemate.ml.federated.slopes import slopes_of
from casemate.ml.frame import codes_of, groups_of, target_of

Array = np.ndarray[Any, Any]
CLASSIFIER, REGRESSOR = "HistGradientBoostingClassifier", "HistGradientBoostingRegressor"
ESTIMATORS = (CLASSIFIER, REGRESSOR)
POSSIBLE: dict[str, tuple[float, float]] = {
    "trees": (1, 500),
    "depth": (1, 6),
    "rate": (1e-6, 1.0),
    "l2": (0.0, 1e9),
    "bins": (2, 255),
    "least": (1, 1e9),
}
"""Least and most of each setting. A judgement: a round is a level of a tree, and deeper nodes are
of fewer rows.
"""
MOST_NUMBERS = 4_000_000
"""Of one answer: 32 MB."""
LARGEST = 1e9
"""Of one leaf. A judgement: scores are logarithms of odds, or deviations."""
INNER, LEAF, ABSENT, OPEN = 0, -1, -2, -3
"""In the place of a column: it is one, a leaf, no node, or a node that is asked about."""
FIELDS = 4
"""Of a node: column, bin, whether what is missing goes left, value of a leaf."""


class Growth(Record, frozen=True, kw_only=True):
    """How trees are grown; as whoever asks declares it."""

    trees: int
    """Rounds of boosting at most; of several classes each has a tree a class."""
    depth: int
    """Splits from root to leaf at most."""
    rate: float
    """What each tree counts for."""
    l2: float
    """Added to the second derivatives of a leaf (lambda)."""
    bins: int
    """Of a number at most."""
    least: int
    """Rows of a leaf, and of a number's bin, over all sites."""

    @property
    def slots(self) -> int:
        """Places for nodes in a tree: children of node i are 2 i + 1 and 2 i + 2."""
        return int(2 ** (self.depth + 1) - 1)

    @property
    def rounds(self) -> int:
        """Questions at most: counts, and the levels of each tree."""
        return 1 + self.trees * self.depth

    @property
    def settings(self) -> dict[str, float]:
        """As a job has them."""
        return {name: float(getattr(self, name)) for name in POSSIBLE}

    @classmethod
    def of(cls, settings: dict[str, float]) -> "Growth":
        """From what a job has.

        Raises:
            ConfigError: a setting is missing, or beyond what may be.
        """
        if set(settings) != set(POSSIBLE):
            raise ConfigError("boosted trees have other settings: " + ", ".join(POSSIBLE))
        for name, (low, high) in POSSIBLE.items():
            value, whole = settings[name], name not in ("rate", "l2")
            if not low <= value <= high or (whole and value != int(value)):
                raise ConfigError(
                    f"{name} of boosted trees is {value:g}", hint=f"{low:g} to {high:g}"
                )
        return cls(
            rate=float(settings["rate"]),
            l2=float(settings["l2"]),
            **{name: int(settings[name]) for name in ("trees", "depth", "bins", "least")},
        )

    def require_size(self, limits: Limits, classes: int) -> int:
        """Numbers of the largest answer; ConfigError where they are too many to be sent."""
        cells = len(limits.numbers) * (self.bins + 1)
        cells += sum(len(kinds) + 1 for kinds in limits.categories.values())
        nodes = outputs_of(classes) * 2 ** (self.depth - 1)
        found = max(counts_size(limits, classes), 3 * nodes * cells)
        if found > MOST_NUMBERS:
            raise ConfigError(
                f"an answer of a site would be {found} numbers, and {MOST_NUMBERS} may be sent",
                hint="a smaller max_bins or max_depth, or fewer features",
            )
        return int(found)


def outputs_of(classes: int) -> int:
    """Trees of one round of boosting; `classes` is 0 of a quantity."""
    return classes if classes > 2 else 1


class Forest:
    """Trees as far as they are grown; the last may have nodes that are asked about.

    Args:
        growth: how.
        bins: of the columns.
        middle: of a quantity, taken off before anything is learnt; else 0.
        size: of a quantity, in which it is learnt; else 1.
        base: scores to begin with [k].
        trees: of each round of boosting [k, slots, FIELDS].
    """

    def __init__(
        self,
        growth: Growth,
        bins: Bins,
        middle: float,
        size: float,
        base: Array,
        trees: list[Array],
    ) -> None:
        self.growth, self.bins, self.middle, self.size = growth, bins, middle, size
        self.base, self.trees = base, trees

    def flat(self) -> Array:
        """All of it as one vector."""
        parts = [
            np.array([self.middle, self.size]),
            self.base,
            *(one.ravel() for one in self.trees),
        ]
        return np.concatenate(parts)

    @classmethod
    def from_flat(cls, vector: Array, growth: Growth, bins: Bins, classes: int) -> "Forest":
        """What `flat` made one vector of.

        Raises:
            ConfigError: there are no such trees, or no such bins.
        """
        outputs = outputs_of(classes)
        count, rest = divmod(len(vector) - 2 - outputs, outputs * growth.slots * FIELDS)
        if rest or not 0 <= count <= growth.trees or not bins.fits(growth.bins):
            raise ConfigError("trees of another size, too many, or with bins that are none")
        base, body = vector[2 : 2 + outputs], vector[2 + outputs :]
        trees = [*body.reshape(count, outputs, growth.slots, FIELDS)]
        found = cls(growth, bins, float(vector[0]), float(vector[1]), base, trees)
        sound = np.isfinite(vector).all() and np.abs(vector[2:]).max(initial=0.0) <= LARGEST
        if not sound or not found.size > 0:
            raise ConfigError("trees with numbers that none have")
        if not all(_is_tree(tree, bins) for stage in trees for tree in stage):
            raise ConfigError("trees with nodes that none have")
        if any((stage[:, :, 0] == OPEN).any() for stage in trees[:-1]) or len(found.levels) > 1:
            raise ConfigError("trees that are asked about in several places at once")
        return found

    @property
    def open(self) -> list[tuple[int, int]]:
        """(output, node) of what is asked about, in order."""
        if not self.trees:
            return []
        return [
            (int(output), int(at)) for output, at in np.argwhere(self.trees[-1][..., 0] == OPEN)
        ]

    @property
    def levels(self) -> set[int]:
        """Of the nodes that are asked about; the root's is 0."""
        return {(at + 1).bit_length() - 1 for _, at in self.open}

    @property
    def asked(self) -> int:
        """Numbers of an answer."""
        return 3 * len(self.open) * self.bins.cells

    def scores(self, rows: Array, known: Array | None = None, begin: int = 0) -> Array:
        """Before any link, [n, k]; of trees that are grown to their end.

        Args:
            rows: bins [n, c].
            known: scores by the first rounds of boosting; None: by none.
            begin: how many those are.
        """
        found = np.tile(self.base, (len(rows), 1)) if known is None else known.copy()
        for stage in self.trees[begin:]:
            for output, tree in enumerate(stage):
                for at, members in self.members(tree, rows).items():
                    found[members, output] += tree[at, 3]
        return found

    def members(self, tree: Array, rows: Array) -> dict[int, Array]:
        """By node that is no inner one, which rows end there, int64."""
        found = {0: np.arange(len(rows))}
        for at in np.flatnonzero(tree[:, 0] >= INNER).tolist():
            column, cut, missing_left = (int(value) for value in tree[at, :3])
            inside = found.pop(at)
            values = rows[inside, column]
            if column < self.bins.numbers:
                right = values > cut
                right[values == self.bins.widths[column]] = not missing_left
            else:
                right = values == cut
            found[2 * at + 1], found[2 * at + 2] = inside[~right], inside[right]
        return found


def _is_tree(tree: Array, bins: Bins) -> bool:
    """Whether nodes [slots, FIELDS] are those of one tree."""
    kind, inner = tree[:, 0], tree[:, 0] >= INNER
    half = len(tree) // 2
    if inner[half:].any() or (kind[half:] == OPEN).any():  # no node has a place below them
        return False
    children = np.repeat(inner[:half], 2) == (kind[1:] != ABSENT)
    known = np.isin(kind, (LEAF, ABSENT, OPEN, *range(len(bins.widths)))).all()
    if not known or not children.all() or kind[0] == ABSENT:
        return False
    # what is known may lie on one side, and what is missing on the other
    widths = np.array(bins.widths)[kind[inner].astype(np.int64)]
    cuts = tree[inner, 1]
    right = (cuts >= 0) & (cuts < widths) & (cuts == np.rint(cuts))
    return bool(right.all() and np.isin(tree[inner, 2], (0, 1)).all())


class Asked(NamedTuple):
    """One question about trees."""

    weights: Array
    """`Forest.flat`; empty: counts are asked for."""
    cuts: list[list[int]]
    """Of the numbers; empty with counts."""
    size: int
    """Numbers that are expected."""
    most: float | None
    """Largest of them under masks; None: not known yet."""


class Site:
    """A site's rows, and what it need not compute anew for its next question.

    Args:
        frame: features [n, ...].
        target: class numbers, or quantities [n].
        limits: of the features.
        classes: how many; 0 of a quantity.
        growth: how trees are grown.
        apart: a node of fewer rows than this is not told of, nor is the other half of what it was
            split from, nor anything below: their difference would tell it. 0: all are told of.
        owners: whose each row is, int64 [n]; None: each stands for itself.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        target: Array,
        limits: Limits,
        classes: int,
        growth: Growth,
        apart: int = 0,
        owners: Array | None = None,
    ) -> None:
        self.frame, self.target, self.limits = frame, target, limits
        self.classes, self.growth, self.apart = classes, growth, apart
        self.owners = (
            np.arange(len(target))
            if owners is None
            else np.unique(owners, return_inverse=True)[1].astype(np.int64)
        )
        self._bins: Bins | None = None
        self._rows = np.zeros((0, 0), dtype=np.int64)
        self._done, self._scores = np.zeros(0), np.zeros(0)

    @classmethod
    def of(
        cls,
        table: pa.Table,
        frame: pd.DataFrame,
        schema: Schema,
        limits: Limits,
        growth: Growth,
        apart: int = 0,
    ) -> "Site":
        """The rows of a table, whose features `frame` holds; for the others see the class."""
        target = codes_of(table, schema) if schema.classes else target_of(table, schema)[:, 0]
        classes = len(schema.classes)
        return cls(frame, target, limits, classes, growth, apart, groups_of(table))

    def part(self, inside: Array, apart: int = 0) -> "Site":
        """The same with some of its rows alone, bool [n]."""
        return Site(
            self.frame[inside],
            self.target[inside],
            self.limits,
            self.classes,
            self.growth,
            apart,
            self.owners[inside],
        )

    def __len__(self) -> int:
        return len(self.target)

    @property
    def subjects(self) -> int:
        """How many the rows are of."""
        return int(self.owners.max(initial=-1)) + 1

    def __call__(self, asked: Asked) -> Array:
        """The answer: `bins.Counts`, or sums of first derivatives, of second ones, and rows, in
        each open node and bin, [3 * nodes * cells].

        Raises:
            ConfigError: there are no such trees.
        """
        if not len(asked.weights):
            return counts_of(self.frame, self.target, self.limits, self.classes).flat()
        forest, slope, bend = self.looked(asked)
        bins = forest.bins
        widths = np.array(bins.widths) + 1
        begins = np.cumsum(widths) - widths
        found = np.zeros((3, len(forest.open), bins.cells))
        stage = forest.trees[-1]
        members = [self.members(forest, output) for output in range(len(stage))]
        told = [_told(tree, one, self.apart) for tree, one in zip(stage, members, strict=True)]
        for place, (output, at) in enumerate(forest.open):
            if at not in told[output]:
                continue
            inside = members[output][at]
            for column, (begin, width) in enumerate(zip(begins, widths, strict=True)):
                values, to = self._rows[inside, column], slice(begin, begin + width)
                found[0, place, to] = np.bincount(values, slope[inside, output], width)
                found[1, place, to] = np.bincount(values, bend[inside, output], width)
                found[2, place, to] = np.bincount(values, minlength=width)
        return found.ravel()

    def looked(self, asked: Asked) -> tuple[Forest, Array, Array]:
        """(the trees, first and second derivatives of each row's loss, both [n, k], where all trees
        but the last count).

        Raises:
            ConfigError: there are no such trees.
        """
        bins = Bins(limits=self.limits, cuts=asked.cuts)
        forest = Forest.from_flat(asked.weights, self.growth, bins, self.classes)
        if bins != self._bins:
            self._bins, self._rows = bins, np.asfortranarray(bins.of(self.frame))
            self._done = np.zeros(0)
        target = self.target if self.classes else (self.target - forest.middle) / forest.size
        return forest, *slopes_of(self._scored(forest), target, self.classes)

    def members(self, forest: Forest, output: int) -> dict[int, Array]:
        """Which rows end in which node of the last tree, once it was looked at."""
        return forest.members(forest.trees[-1][output], self._rows)

    def _scored(self, forest: Forest) -> Array:
        """Scores by the trees that are grown to their end; only those that are new are added."""
        done = Forest(
            forest.growth, forest.bins, forest.middle, forest.size, forest.base, forest.trees[:-1]
        )
        flat, before = done.flat(), len(self._done)
        if before and np.array_equal(flat[:before], self._done):
            added = (before - 2 - len(done.base)) // max(done.trees[0].size, 1) if done.trees else 0
            self._scores = done.scores(self._rows, self._scores, added)
        else:
            self._scores = done.scores(self._rows)
        self._done = flat
        return self._scores


def _told(tree: Array, members: dict[int, Array], apart: int) -> set[int]:
    """Nodes that a site tells of."""
    counts = np.zeros(len(tree))
    for at, inside in members.items():
        counts[at] = len(inside)
    for at in range(len(tree) // 2 - 1, -1, -1):
        counts[at] += counts[2 * at + 1] + counts[2 * at + 2]
    enough = (counts == 0) | (counts >= apart)
    found = {0}
    for at in range(len(tree) // 2):
        if at in found and enough[2 * at + 1] and enough[2 * at + 2]:
            found |= {2 * at + 1, 2 * at + 2}
    return found
