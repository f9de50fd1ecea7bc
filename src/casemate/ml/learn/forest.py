"""Forests that can be unlearnt exactly: without some rows they are, to the last bit, what a fit
without them gives.

Each row lies in the same number of trees, and in which ones is drawn from the row itself and a key
(Wang et al., DynFrs, arXiv:2410.01588, "OCC(q)", with draws by SHAKE128 in place of a generator
that goes on from row to row). A tree is therefore a function of its number, the key, the parameters
and its own rows, which lie in an order of their own; no row decides about another one's trees. The
forest keeps a digest of all that per tree. To unlearn is to grow anew the trees that held a row;
of a stored forest, to fit what stays and to take over every tree whose digest is the same. In an
ordinary bootstrap a row is in 63 % of the trees, and one row less moves every draw behind it.

>>> import numpy as np
>>> from casemate.ml.learn.forest import UnlearnableForestClassifier
>>> X = np.arange(400.0).reshape(-1, 1)
>>> y = (X[:, 0] > 200).astype(int)
>>> forest = UnlearnableForestClassifier(n_estimators=40, share=0.1).fit(X, y)
>>> forest.unlearn([0]).kept_  # 4 of 40 trees held the first row
36
"""

import hashlib
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.tree._tree import Tree
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    assert_all_finite,
    check_array,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from casemate.ml.learn.placing import Learnt, going, placed

Array = np.ndarray[Any, Any]
MOST_TREES = 10_000
"""A judgement: quality has long stopped rising, and each tree is kept."""
STATE = "unlearning_"
"""Attribute of a stored forest that says of which rows each tree is, by digest."""
_known: dict[str, Any] = {}
"""Trees by digest that a fit in this process may take over; see `recall`."""


def recall(forest: Any) -> int:
    """Let fits in this process take over the trees of a stored forest; how many.

    Args:
        forest: fitted, as `as_sklearn` gave it, or a pipeline that ends in it.
    """
    last = forest
    while last is not None and not hasattr(last, STATE):  # behind other steps, and a threshold
        last = last.steps[-1][1] if hasattr(last, "steps") else getattr(last, "estimator_", None)
    trees = getattr(last, STATE, {}).get("trees", [])
    if len(trees) != len(getattr(last, "estimators_", [])):
        return 0
    _known.update(zip(trees, getattr(last, "estimators_", []), strict=True))
    return len(trees)


def forget() -> None:
    """Take nothing over any more."""
    _known.clear()


class _Forest(BaseEstimator):  # type: ignore[misc]
    """What the two forests share."""

    _tree: ClassVar[Any]
    _plain: ClassVar[Any]

    def __init__(
        self,
        n_estimators: int = 400,
        share: float = 0.05,
        max_features: Any = "sqrt",
        max_depth: int | None = None,
        min_samples_leaf: int = 1,
        random_state: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.share = share
        self.max_features = max_features
        self.max_depth = max_depth
        self.min_samples_leaf = min_samples_leaf
        self.random_state = random_state

    @property
    def each(self) -> int:
        """How many trees hold a row; about `n_estimators / each` times faster than a fit is the
        unlearning of one row.
        """
        return max(1, round(self.share * self.n_estimators))

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:  # noqa: N803 - scikit-learn's names
        """Grow every tree, or take it over where `recall` knows it.

        Args:
            X: numbers [n, d], dense or sparse; missing ones are NaN.
            y: target per row.
            sample_weight: per row.
        """
        if not 1 <= self.n_estimators <= MOST_TREES:
            raise ValueError(f"n_estimators is not between 1 and {MOST_TREES}")
        if not 0 < self.share <= 1:
            raise ValueError("share is not in (0, 1]")
        seen, y = self._numbers(X, reset=True), self._coded(y)
        if len(y) != len(seen):
            raise ValueError(f"inconsistent numbers of samples: {len(seen)} rows, {len(y)} of y")
        weight = None if sample_weight is None else _check_sample_weight(sample_weight, seen)
        beside = [y, *([] if weight is None else [weight])]
        rows = np.hstack([seen.view(np.uint8), np.column_stack(beside).view(np.uint8)])
        key = b"casemate-forest-1/%d" % self.random_state
        found = placed(key, rows, self.n_estimators, self.each)
        given = None if weight is None else weight[found.order]
        self._learnt = Learnt(seen[found.order], y[found.order], given, found)
        self._trees: dict[int, tuple[str, Any]] = {}
        self._regrow(range(self.n_estimators), _known)
        return self

    def unlearn(self, rows: Any) -> Any:
        """Be what a fit that never saw these rows gives: the trees that hold them are grown anew.

        Args:
            rows: which, by their places in the table that `fit` got, or a mask; later ones by their
                places among those that stayed.

        Raises:
            ValueError: the forest was read from a file, which holds no rows, or none would stay.
        """
        check_is_fitted(self)
        learnt = getattr(self, "_learnt", None)
        if learnt is None:
            raise ValueError("the rows are not here: recall(forest), then fit those that stay")
        places = np.unique(np.arange(len(learnt.X))[np.asarray(rows)])
        if len(places) == len(learnt.X):
            raise ValueError("no row would stay")
        found, at = going(learnt.placed, places)
        touched = np.unique(found.trees[at])
        left = learnt._replace(placed=found).without(at)
        if left.weight is not None and not left.weight.any():
            raise ValueError("no row would stay that weighs anything")
        self._learnt = left
        if not self._complete(left.y):  # a class went with its last row, and every tree knows it
            back = np.argsort(left.placed.order)
            weight = None if left.weight is None else left.weight[back]
            return self.fit(left.X[back], self._decoded(left.y[back]), weight)
        for number in touched:
            self._trees.pop(int(number), None)
        self._regrow(touched, {})
        return self

    def _regrow(self, numbers: Any, known: dict[str, Any]) -> None:
        """Grow these trees, or take them over, and say what the forest is now."""
        learnt, kept = self._learnt, len(self._trees)
        for number, at in self._rows_of(learnt, np.asarray(numbers)):
            digest = self._digest(number, learnt.weight is not None, learnt.placed.names[at])
            tree = known.get(digest)
            kept += tree is not None
            if tree is None:
                weight = None if learnt.weight is None else learnt.weight[at]
                tree = self._grown(number, learnt.X[at], learnt.y[at], weight)
            self._trees[number] = digest, tree
        self.kept_, made = kept, [self._trees[number] for number in sorted(self._trees)]
        self.digests_, self.estimators_ = [one for one, _ in made], [one for _, one in made]
        self.n_outputs_, self.rows_ = 1, len(learnt.X)
        self.rows_digest_ = hashlib.sha256(learnt.placed.names.tobytes()).hexdigest()

    def _rows_of(self, learnt: Learnt, numbers: Array) -> Iterator[tuple[int, Array]]:
        """(number, its rows in their order) of these trees; one without rows is none, and a row
        that weighs nothing is nowhere.
        """
        wanted, trees = np.zeros(self.n_estimators, dtype=bool), learnt.placed.trees
        wanted[numbers] = True
        here = wanted[trees]
        if learnt.weight is not None:
            here &= (learnt.weight > 0)[:, None]
        rows, columns = np.nonzero(here)
        held = trees[rows, columns]
        rows = rows[np.argsort(held, kind="stable")]
        bounds = np.concatenate([[0], np.bincount(held, minlength=self.n_estimators).cumsum()])
        for number in numbers:
            if bounds[number] < bounds[number + 1]:
                yield int(number), rows[bounds[number] : bounds[number + 1]]

    def __getstate__(self) -> dict[str, Any]:
        """Without rows: what is copied or written holds none."""
        state = dict(super().__getstate__())
        state.pop("_learnt", None)
        return state

    def _numbers(self, X: Any, *, reset: bool) -> Array:  # noqa: N803
        """As trees see them, so that what they cannot tell apart is one row."""
        dense = X.toarray() if hasattr(X, "toarray") else X
        dense = validate_data(
            self, dense, reset=reset, dtype=np.float32, ensure_all_finite="allow-nan", order="C"
        )
        dense = np.ascontiguousarray(dense + np.float32(0))  # one zero
        dense[np.isnan(dense)] = np.nan  # and one NaN
        return dense

    def _digest(self, number: int, weighted: bool, names: Array) -> str:
        """SHA-256 of everything that a tree is a function of; `names` stand for its rows."""
        said = [self._tree.__name__, self.max_features, self.max_depth, self.min_samples_leaf]
        said += [self.random_state, number, self.n_features_in_, weighted, *self._of_target()]
        said += [f"scikit-learn {sklearn.__version__}", f"numpy {np.__version__}"]
        return hashlib.sha256(repr(said).encode() + b"\n" + names.tobytes()).hexdigest()

    def _seed(self, number: int) -> int:
        drawn = hashlib.shake_128(b"tree/%d/%d" % (self.random_state, number)).digest(4)
        return int.from_bytes(drawn, "big") >> 1

    def _grown(self, number: int, X: Array, y: Array, weight: Array | None) -> Any:  # noqa: N803
        return self._unfitted(self._seed(number)).fit(X, y, sample_weight=weight)

    def _unfitted(self, seed: int) -> Any:
        return self._tree(
            max_features=self.max_features,
            max_depth=self.max_depth,
            min_samples_leaf=self.min_samples_leaf,
            random_state=seed,
        )

    def as_sklearn(self) -> Any:
        """The same forest as scikit-learn's own class, which model files hold. Its attribute
        `unlearning_` says of which rows each tree is, by digest, and holds none.
        """
        check_is_fitted(self)
        made = self._plain(
            n_estimators=self.n_estimators,
            max_features=self.max_features,
            max_depth=self.max_depth,
            min_samples_leaf=self.min_samples_leaf,
            bootstrap=True,
            max_samples=self.share,  # what is trained like it, such as shadows, is like it
            random_state=self.random_state,
        )
        made.estimator_ = self._tree()
        made.estimators_ = [self._rebuilt(tree) for tree in self.estimators_]
        made.n_features_in_, made.n_outputs_ = self.n_features_in_, 1
        if hasattr(self, "feature_names_in_"):
            made.feature_names_in_ = self.feature_names_in_
        setattr(made, STATE, self.state())
        return made

    def _rebuilt(self, tree: Any) -> Any:
        """A tree as if it had been grown just now, wherever it came from: equal forests are equal
        files.
        """
        made = self._unfitted(tree.random_state)
        for name in ("n_features_in_", "n_outputs_", "max_features_", "n_classes_"):
            if hasattr(tree, name):
                setattr(made, name, int(getattr(tree, name)))
        if hasattr(tree, "classes_"):
            made.classes_ = np.arange(len(tree.classes_))
        made.tree_ = tree.tree_
        return made

    def state(self) -> dict[str, Any]:
        """What a stored forest keeps so that it can be unlearnt."""
        return {
            "trees": list(self.digests_),
            "each": self.each,
            "rows": int(self.rows_),
            "digest": self.rows_digest_,
        }

    def __sklearn_tags__(self) -> Any:
        """Missing numbers and sparse ones are taken."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        return tags

    def _coded(self, y: Any) -> Array:
        raise NotImplementedError

    def _decoded(self, y: Array) -> Array:
        return y

    def _complete(self, _: Array) -> bool:
        return True

    def _of_target(self) -> list[Any]:
        raise NotImplementedError


class UnlearnableForestClassifier(ClassifierMixin, _Forest):  # type: ignore[misc]
    """A forest of trees on a share of the rows each, from which rows can be taken exactly.

    Args:
        n_estimators: trees.
        share: of the trees, how many hold a row: the smaller, the faster is unlearning, and the
            fewer rows has a tree.
        max_features: that a split chooses among, as scikit-learn has it.
        max_depth: of a tree.
        min_samples_leaf: rows in a leaf at least.
        random_state: the key of all draws, a number: with the same one, a fit without some rows is
            equal to the last bit to the unlearning of them.
    """

    _tree = DecisionTreeClassifier
    _plain = RandomForestClassifier

    def predict_proba(self, X: Any) -> Array:  # noqa: N803
        """Mean of the trees' probabilities, float64 [n, k]."""
        check_is_fitted(self)
        rows = self._numbers(X, reset=False)
        total = np.zeros((len(rows), len(self.classes_)))
        for tree in self.estimators_:
            total += tree.predict_proba(rows, check_input=False)
        return np.asarray(total / len(self.estimators_))

    def predict(self, X: Any) -> Array:  # noqa: N803
        """The likeliest class of each row, [n]."""
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])

    def as_sklearn(self) -> Any:
        """See the class that it is made from."""
        made = super().as_sklearn()
        made.classes_, made.n_classes_ = self.classes_, len(self.classes_)
        return made

    def _coded(self, y: Any) -> Array:
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        y = column_or_1d(y, warn=True)
        assert_all_finite(y, input_name="y")
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        self.n_classes_ = len(self.classes_)
        return np.asarray(codes, dtype=np.float64)

    def _decoded(self, y: Array) -> Array:
        return np.asarray(self.classes_[y.astype(np.int64)])

    def _complete(self, y: Array) -> bool:
        return len(np.unique(y)) == len(self.classes_)

    def _of_target(self) -> list[Any]:
        return list(self.classes_.tolist())

    def _grown(self, number: int, X: Array, y: Array, weight: Array | None) -> Any:  # noqa: N803
        return _of_all_classes(super()._grown(number, X, y, weight), len(self.classes_))


class UnlearnableForestRegressor(RegressorMixin, _Forest):  # type: ignore[misc]
    """The same for quantities; see `UnlearnableForestClassifier`."""

    _tree = DecisionTreeRegressor
    _plain = RandomForestRegressor

    def predict(self, X: Any) -> Array:  # noqa: N803
        """Mean of the trees, float64 [n]."""
        check_is_fitted(self)
        rows = self._numbers(X, reset=False)
        total = np.zeros(len(rows))
        for tree in self.estimators_:
            total += tree.predict(rows, check_input=False)
        return np.asarray(total / len(self.estimators_))

    def _coded(self, y: Any) -> Array:
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        found = check_array(y, ensure_2d=False, dtype=np.float64)
        return np.asarray(column_or_1d(found, warn=True) + 0.0)

    def _of_target(self) -> list[Any]:
        return []


def _of_all_classes(tree: Any, count: int) -> Any:
    """The tree with a column for each class of the forest, as trees of scikit-learn's have it; its
    rows may lack some.
    """
    here = tree.classes_.astype(np.int64)
    tree.classes_ = np.arange(count)
    if len(here) == count:
        return tree
    old = tree.tree_.__getstate__()
    values = np.zeros((old["node_count"], 1, count))
    values[:, :, here] = old["values"]
    made = Tree(tree.n_features_in_, np.array([count], dtype=np.intp), 1)
    made.__setstate__({**old, "values": values})
    tree.tree_, tree.n_classes_ = made, np.int64(count)
    return tree
