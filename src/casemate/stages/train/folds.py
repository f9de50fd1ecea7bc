"""What is learnt from, cut into folds."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, TimeSeriesSplit

from casemate.config import TrainTable
from casemate.ml.frame import are_labels, strata_of

Array = np.ndarray[Any, Any]
FEW = 10
"""A user's fit stands alone, so threads pay from a tenth of the size on that they pay for ours."""


class BadSearch(Exception):
    """A parameter or metric of the configuration does not exist."""

    kind = "BadSearch"


class Rows(NamedTuple):
    """What is learnt from."""

    frame: pd.DataFrame
    """Features."""
    target: Array
    """Class numbers [n], labels int [n, m], or quantities float [n, m]."""
    groups: Array | None = None
    """Subject per row, [n]; keeps a subject's rows in one fold."""
    weights: Array | None = None
    """What each row weighs, [n]; None: all weigh alike."""

    @property
    def views(self) -> list["Rows"]:
        """The rows with each label as the only target; of one target, or quantities, the rows as
        they are.
        """
        if not are_labels(self.target):
            return [self]
        return [self._replace(target=codes) for codes in self.target.T]

    def at(self, rows: Array) -> "Rows":
        """The rows of these numbers."""
        groups, weights = (
            None if one is None else one[rows] for one in (self.groups, self.weights)
        )
        return Rows(self.frame.iloc[rows], self.target[rows], groups, weights)


def splits(rows: Rows, options: TrainTable, folds: int, seed: int) -> list[tuple[Array, Array]]:
    """(numbers of the rows to train on, to ask about) of each fold."""
    frame, target, groups, _ = rows
    if options.split == "ordered":
        return [
            _forward(train, test, target, groups)
            for train, test in TimeSeriesSplit(folds).split(frame)
        ]
    splitter = StratifiedKFold if groups is None else StratifiedGroupKFold
    return list(
        splitter(folds, shuffle=True, random_state=seed).split(frame, strata_of(target), groups)
    )


def _forward(train: Array, test: Array, target: Array, groups: Array | None) -> tuple[Array, Array]:
    """A fold that goes forward in time, without the later rows of people who are known already."""
    if groups is not None:
        test = test[~np.isin(groups[test], groups[train])]
    if target.ndim == 1 and any(
        len(np.unique(target[side])) <= target.max() for side in (train, test)
    ):
        text = (
            f"[train] folds: cut in order of time, {len(train)} older rows and {len(test)} newer"
            " ones do not hold every class both"
        )
        raise BadSearch(text + ": lower folds, or use more rows")
    return train, test
