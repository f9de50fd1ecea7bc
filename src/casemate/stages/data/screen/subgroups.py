"""Groups of rows whose labels are wrong unusually often: a value of a column with few values, a
quarter of a number.

Noise in one group hardly moves the figures of the whole table, and a model that may join columns
learns it away. So the labels of each group are compared with what a model without joins expects
(see `plateau.turned_over`), and a group is told only where a model that could have learnt it sees
the same, after correction for how many groups were looked at (Bonferroni).

An outcome that is less certain in a group looks much the same. So a group is held to be sure only
where its labels have a plateau of their own, whatever slope its certainty has.

What it cannot see: a group that only two columns make together, or one whose column also decides
the label.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import chi2

from casemate.stages.data.screen.interface import Array, ScreenedRows
from casemate.stages.data.screen.out_of_fold import WIDE, Expectation
from casemate.stages.data.screen.plateau import Plateau, plateau, turned_over

# Where a limit names no source it was chosen. What all of them do together is simulated by
# bench/assurance/labels.py: tables of right labels are
# not to be refused, flips are to be named better than cleanlab names them
# (docs/explanation/assurance.md, Labels; ADR 0035).
LEAST_ROWS, LARGEST_SHARE = 20, 0.75
"""A group of fewer rows says nothing of its own; a larger one is the table."""
FEW_VALUES = 20
"""A number with more values than this is cut into quarters."""
MOST = 5
"""Groups that are told of one table."""
WRONG = 0.15
"""A group is told from this share of wrong labels on: less is within what a model without joins
misses of an honest group.
"""
LIKELY, CONFIRMED, SURE = 0.05, 1e-2, 1e-4
"""Probabilities of such a group where no label is wrong: to be told (corrected), of what the second
model sees (uncorrected), and to be held to be sure (both corrected). In 495 simulated tables
without wrong labels the last was reached in none.
"""


@dataclass(frozen=True)
class NoisyGroup:
    """A group whose labels are wrong unusually often."""

    column: str
    value: str
    rows: int
    wrong: float
    """Likeliest share of wrong labels."""
    chance: float
    """Probability of as much in any group of a table in which none is wrong."""
    sure: bool
    doubtful: Array
    """Numbers of the rows whose label is probably wrong."""


@dataclass(frozen=True)
class _View:
    """What one model expects: each row's probability to agree with it, and whether it does."""

    agreement: Array
    agrees: Array

    @classmethod
    def of(cls, probabilities: Array, codes: Array, whole: Plateau) -> "_View":
        """Noise of the whole table is expected of its groups too."""
        return cls(whole.agreement * (1 - whole.wrong), probabilities.argmax(axis=1) == codes)

    def turned_over(self, places: Array) -> tuple[Array, Array]:
        """See `plateau.turned_over`."""
        return turned_over(self.agreement, self.agrees, places)


@dataclass(frozen=True)
class _Best:
    """The group that stands out most of all that were looked at."""

    ratio: float
    wrong: float
    column: str
    value: str
    member: Array
    looks: int


def noisy_groups(
    rows: ScreenedRows, expected: Expectation, whole: Plateau, named: float
) -> Iterator[NoisyGroup]:
    """At most `MOST` groups, the clearest first; a row is in one of them.

    Args:
        rows: the table.
        expected: of its labels.
        whole: the plateau of the model without joins.
        named: how probably wrong a doubtful label is.
    """
    groups = list(_places(rows)) if rows.frame.shape[1] <= WIDE else []
    if not groups:
        return
    single = _View.of(expected.single, rows.codes, whole)
    joint = _View.of(expected.joint, rows.codes, plateau(expected.joint, rows.codes))
    left = np.ones(len(rows.codes), dtype=bool)
    for _ in range(MOST):
        best = _clearest(single, groups, left)
        if best is None:
            return
        also, ratio = joint.turned_over(np.where(best.member, 0, -1))
        chance, again = _chance(best.ratio), _chance(ratio[0])
        if chance * best.looks >= LIKELY or again >= CONFIRMED:
            return
        left &= ~best.member
        kept = np.where(single.agrees, single.agreement, 1 - single.agreement)
        doubt = best.wrong * (1 - kept) / (best.wrong * (1 - kept) + (1 - best.wrong) * kept)
        yield NoisyGroup(
            column=best.column,
            value=best.value,
            rows=int(best.member.sum()),
            wrong=best.wrong,
            chance=chance * best.looks,
            sure=max(chance, again) * best.looks < SURE
            and bool(also[0] >= WRONG)
            and _unlike_uncertainty(expected, rows.codes, best.member),
            doubtful=np.flatnonzero(best.member & ~single.agrees & (doubt >= named)),
        )


def _unlike_uncertainty(expected: Expectation, codes: Array, member: Array) -> bool:
    """Whether the group's labels contradict even a model that may be as uncertain of the group as
    it likes.

    In some regions an outcome is less certain than elsewhere, and a model that joins no columns is
    too sure of it there.
    """
    return all(
        plateau(found[member], codes[member]).chance < CONFIRMED
        for found in (expected.single, expected.joint)
    )


def _chance(ratio: float) -> float:
    return float(chi2.sf(ratio, 1)) / 2


def _clearest(view: _View, groups: list[tuple[str, Array, list[str]]], left: Array) -> _Best | None:
    """The group with the largest likelihood ratio among rows that are `left`."""
    best, looks = None, sum(len(values) for _, _, values in groups)
    for column, places, values in groups:
        kept = np.where(left, places, -1)
        sizes = np.bincount(kept[kept >= 0], minlength=len(values))
        share, ratio = view.turned_over(kept)
        for which in np.flatnonzero((sizes[: len(share)] >= LEAST_ROWS) & (share >= WRONG)):
            if best is None or ratio[which] > best.ratio:
                best = _Best(
                    float(ratio[which]),
                    float(share[which]),
                    column,
                    values[which],
                    kept == which,
                    looks,
                )
    return best


def _places(rows: ScreenedRows) -> Iterator[tuple[str, Array, list[str]]]:
    """(column, the group of each row by its value or quarter and -1 for none, what the groups are
    called).
    """
    for column in rows.schema.features:
        values = rows.frame[column.name]
        if column.type == "number" and values.nunique() > FEW_VALUES:
            edges = np.unique(values.quantile([0.25, 0.5, 0.75]).to_numpy())
            places = np.where(values.isna(), -1, np.searchsorted(edges, values.to_numpy()))
            told = [f"{edge:.4g}" for edge in edges]
            names = [
                f"{low} to {high}"
                for low, high in zip(["the least", *told], [*told, "the most"], strict=True)
            ]
        else:
            places, kinds = pd.factorize(values)
            names = [str(kind) for kind in kinds]
        sizes = np.bincount(places[places >= 0], minlength=len(names))
        fit = (sizes >= LEAST_ROWS) & (sizes <= LARGEST_SHARE * len(places))
        if fit.any():
            numbers = np.where(fit, np.cumsum(fit) - 1, -1)
            kept = [name for name, large in zip(names, fit, strict=True) if large]
            yield column.name, np.where(places >= 0, numbers[places], -1), kept
