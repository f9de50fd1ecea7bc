"""Backdoor triggers in tables: a rare value, or a rare combination of two or three, that decides the label.

Items are single values of features: an exact number that repeats, a category, a number beyond its 1st or 99th percentile.
Counts of items, pairs and triples come from products of one sparse matrix. A combination is a candidate when it is rare and
has a label far more often than a linear model expects from the row's *other* features; candidates are then tried by `excess`.
Poisoning of this kind: Gu, Dolan-Gavitt, Garg, BadNets (2017).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import binom
from sklearn.linear_model import LogisticRegression

from casemate.config import ScreenTable
from casemate.core.threads import fitting
from casemate.core.types import Finding, Quarantined
from casemate.stages.data.screen.excess import excess
from casemate.stages.data.screen.interface import MOST_KINDS, Array, Rows, Suspicion

LEAST, LEAST_SHARE, MOST_SHARE = 10, 0.002, 0.06
ITEM_SHARE = 0.5
PURE, GAIN = 0.9, 0.25
LIFT = 2.0
SURE = 8.0
"""-log10 of the chance from which a candidate is tried."""
MOST_ITEMS = 3_000
ALIKE = 0.8
"""Rows with both items over rows with either, from which two items are one."""
MOST_SURPRISE = 300.0
"""Beyond it the chance is zero in float64."""
PAIRS = 400
TRIED = 6
KEPT = 300
FIT_ROWS = 10_000
OVERLAP = 0.5
Found = tuple[float, tuple[int, ...]]


@dataclass(frozen=True)
class _Items:
    matrix: sparse.csc_array
    """Which rows have which item, float32 [n, items]."""
    feature: Array
    """Place of each item's feature."""
    tail: Array
    """Whether it is a percentile, bool."""
    text: list[str]
    """The item for people."""

    @cached_property
    def together(self) -> Array:
        """Rows that have both items, float32 [items, items]."""
        return np.asarray((self.matrix.T @ self.matrix).todense())

    def features(self, parts: tuple[int, ...]) -> Array:
        """Places of the items' features and of those that go with one of them nearly always, as the pixels of one patch do."""
        both, sizes = self.together[list(parts)], self.together.diagonal()
        alike = both >= ALIKE * (sizes[list(parts)][:, None] + sizes - both)
        return np.unique(self.feature[alike.any(axis=0)])


class Triggers:
    """Flags the rows that carry a trigger and its label."""

    id = "trigger"

    def __call__(self, rows: Rows, options: ScreenTable) -> Suspicion:
        """See `Detector`."""
        items = _items(rows)
        suspects: list[Quarantined] = []
        findings: list[Finding] = []
        taken: list[Array] = []
        tried = 0
        for score, parts, label in _candidates(rows, items) if len(items.text) else []:
            if tried >= TRIED * len(rows.schema.classes):
                break
            members = np.logical_and.reduce([np.asarray(items.matrix[:, [part]].todense()).ravel() > 0 for part in parts])
            carrying = members & (rows.codes == label)
            if any(np.sum(carrying & other) > OVERLAP * min(carrying.sum(), other.sum()) for other in taken):
                continue
            tried += 1
            told = excess(rows, members, label, items.features(parts).tolist())
            if told is None or not told.planted:
                continue
            taken.append(carrying)
            what = " and ".join(items.text[part] for part in parts)
            name = rows.schema.classes[label]
            text = (
                f"{int(members.sum())} rows with {what} have class {name!r} in {told.observed:.0%}, the other rows suggest {told.expected:.0%}: "
                "this looks like a planted trigger"
            )
            findings.append(Finding(id="data.trigger", severity="high", confidence="high", message=text, location=what))
            detail = f"{what}, class {name!r}"
            suspects += [Quarantined(row=int(row), reason=self.id, detail=detail, score=float(score)) for row in np.flatnonzero(carrying)]
        return Suspicion(rows=suspects, findings=findings, figures={"triggers": float(len(findings))})


def _items(rows: Rows) -> _Items:
    count = len(rows.codes)
    least = max(LEAST, LEAST_SHARE * count)
    feature: list[int] = []
    tail: list[bool] = []
    text: list[str] = []
    members: list[Array] = []
    numbers = set(rows.numbers)
    sensitive = {column.name for column in rows.schema.features if column.column_class == "sensitive"}
    for place, name in enumerate(rows.frame.columns):
        codes, kinds = pd.factorize(rows.frame[name])
        sizes = np.bincount(codes[codes >= 0], minlength=len(kinds)) if len(kinds) else np.array([], dtype=int)
        found = [
            (f"a certain {name}" if name in sensitive else f"{name} = {kinds[int(kind)]}", False, np.flatnonzero(codes == kind))
            for kind in np.flatnonzero((sizes >= least) & (sizes <= ITEM_SHARE * count))
        ]
        if name in numbers and len(kinds) > 2:
            number = rows.frame[name].to_numpy(dtype=np.float64)
            low, high = np.nanquantile(number, [0.01, 0.99])
            words = (f"a very low {name}", f"a very high {name}") if name in sensitive else (f"{name} < {low:.6g}", f"{name} > {high:.6g}")
            found += [(words[0], True, np.flatnonzero(number < low)), (words[1], True, np.flatnonzero(number > high))]
        for what, beyond, at in found:
            if len(at) >= LEAST:
                feature.append(place)
                tail.append(beyond)
                text.append(what)
                members.append(at)
    if len(members) > MOST_ITEMS:  # half are the rarest, for a trigger is rare; half those that say most about a class
        rarest = np.argsort([len(member) for member in members], kind="stable")[: MOST_ITEMS // 2]
        usual = np.bincount(rows.codes) / count
        telling = np.argsort([-_telling(rows.codes[member], usual) for member in members], kind="stable")[: MOST_ITEMS // 2]
        keep = np.union1d(rarest, telling)
        feature, tail, text, members = ([part[int(place)] for place in keep] for part in (feature, tail, text, members))  # type: ignore[assignment]
    at = np.concatenate(members) if members else np.array([], dtype=int)
    owners = np.repeat(np.arange(len(members)), [len(member) for member in members])
    matrix = sparse.csc_array((np.ones(len(at), dtype=np.float32), (at, owners)), shape=(count, len(members)))
    return _Items(matrix, np.array(feature, dtype=int), np.array(tail, dtype=bool), text)


def _telling(codes: Array, usual: Array) -> float:
    """-log10 of the chance that as many of the item's rows have its most surprising class, where `usual` is each class's share."""
    return float(np.max(_surprise(np.bincount(codes, minlength=len(usual)), len(codes), usual)))


def _candidates(rows: Rows, items: _Items) -> list[tuple[float, tuple[int, ...], int]]:
    """Rare combinations whose label is not explained by the other features, the most surprising first: (score, items, class)."""
    ranked: list[tuple[float, tuple[int, ...], int]] = []
    for label in range(len(rows.schema.classes)):
        inside = rows.codes == label
        if LEAST <= inside.sum() < len(inside):
            found = _of_class(items, inside, _Other(rows, label))
            best = sorted({parts: score for score, parts in sorted(found)}.items(), key=lambda one: (-round(one[1]), len(one[0]), one[0]))
            ranked += [(score, parts, label) for parts, score in best[: TRIED * 10]]
    return sorted(ranked, key=lambda one: (-round(one[0]), len(one[1]), one[1]))


class _Other:
    """What a linear model expects of a class from all features but some."""

    def __init__(self, rows: Rows, label: int) -> None:
        every = np.arange(len(rows.codes))
        matrix = rows.scaled(every)
        target = rows.codes == label
        at = rows.sample(FIT_ROWS)
        if len(np.unique(target[at])) < 2:
            at = every
        model = LogisticRegression(C=0.1, max_iter=100)
        with fitting(len(at) * matrix.shape[1]):
            model.fit(matrix[at], target[at])
        terms = matrix * model.coef_[0]
        owners = self._owners(rows)
        self.terms = np.zeros((len(every), rows.frame.shape[1]))
        for place in np.unique(owners):
            self.terms[:, place] = terms[:, owners == place].sum(axis=1)
        self.total = self.terms.sum(axis=1) + model.intercept_[0]
        self.means = self.terms.mean(axis=0)

    @staticmethod
    def _owners(rows: Rows) -> Array:
        """The feature of every column of `Rows.scaled`."""
        places: list[int] = [list(rows.frame.columns).index(name) for name in rows.numbers]
        for column in rows.schema.categories:
            kinds = rows.frame[column.name].nunique()
            places += [list(rows.frame.columns).index(column.name)] * (kinds if kinds <= MOST_KINDS else 0)
        return np.array(places or [0])

    def expected(self, at: Array, features: Array) -> float:
        """Mean probability of the class in rows `at` without `features`."""
        logits = self.total[at] - (self.terms[np.ix_(at, features)] - self.means[features]).sum(axis=1)
        return float(np.mean(1 / (1 + np.exp(-np.clip(logits, -30, 30)))))


def _of_class(items: _Items, inside: Array, other: _Other) -> list[Found]:
    count = items.matrix.shape[0]
    chosen = items.matrix[np.flatnonzero(inside)]
    size = chosen.shape[0]
    total, mine = np.asarray(items.matrix.sum(axis=0)).ravel(), np.asarray(chosen.sum(axis=0)).ravel()
    share = size / count
    groups: list[tuple[float, tuple[int, ...]]] = []

    def rare(here: Array, together: Array) -> Array:
        more = here > (share + GAIN * (1 - share) / 2) * together
        return np.asarray((here >= max(LEAST, LEAST_SHARE * count)) & (together <= MOST_SHARE * count) & more)

    groups += [(float(_surprise(mine[i], total[i], share)), (int(i),)) for i in np.flatnonzero(rare(mine, total))]
    together, here = items.together, np.asarray((chosen.T @ chosen).todense())
    expected = np.outer(mine, mine) / size
    lifted = np.triu(items.feature[:, None] != items.feature[None], k=1) & (here >= LEAST) & (here > LIFT * expected)
    at = np.argwhere(lifted & rare(here, together))
    groups += [(float(score), (int(i), int(j))) for score, (i, j) in zip(_surprise(here[tuple(at.T)], together[tuple(at.T)], share), at, strict=True)]
    groups += _triples(items, chosen, np.where(lifted, (here - expected) / np.sqrt(expected + 1), 0.0), share, rare)
    found: list[Found] = []
    for parts in _foremost(groups):
        rows = _members(items.matrix, parts)
        usual = other.expected(rows, items.features(parts))
        hits = int(inside[rows].sum())
        least = PURE if items.tail[list(parts)].any() else usual + GAIN * (1 - usual)
        score = float(_surprise(hits, len(rows), max(usual, share / 2)))
        if hits >= least * len(rows) and score >= SURE:
            found.append((score, parts))
    return found


def _foremost(groups: list[Found]) -> list[tuple[int, ...]]:
    """The most surprising single items, pairs and triples: in pictures the honest triples alone would leave no room."""
    ranked = [parts for _, parts in sorted(groups, key=lambda one: (-one[0], one[1]))]
    return [parts for size in (1, 2, 3) for parts in [one for one in ranked if len(one) == size][:KEPT]]


def _members(matrix: sparse.csc_array, parts: tuple[int, ...]) -> Array:
    """Row numbers that have all items, ascending."""
    rows = matrix.indices[matrix.indptr[parts[0]] : matrix.indptr[parts[0] + 1]]
    for part in parts[1:]:
        rows = np.intersect1d(rows, matrix.indices[matrix.indptr[part] : matrix.indptr[part + 1]], assume_unique=True)
    return np.asarray(rows)


def _triples(items: _Items, chosen: Any, surprise: Array, share: float, rare: Any) -> list[Found]:
    flat = np.argsort(-surprise, axis=None)[:PAIRS]
    pairs = [(int(i), int(j)) for i, j in zip(*np.unravel_index(flat, surprise.shape), strict=True) if surprise[i, j] > 0]
    if not pairs:
        return []
    first, second = np.array(pairs).T
    here, together = (np.asarray((matrix[:, first].multiply(matrix[:, second]).T @ matrix).todense()) for matrix in (chosen, items.matrix))
    found = []
    for pair, third in np.argwhere(rare(here, together)):
        parts = tuple(sorted((*pairs[pair], int(third))))
        if len(set(items.feature[list(parts)])) == len(parts):
            found.append((float(_surprise(here[pair, third], together[pair, third], share)), parts))
    return found


def _surprise(here: Any, together: Any, share: Any) -> Any:
    """-log10 of the chance that so many of the rows have the class."""
    return np.minimum(-binom.logsf(np.asarray(here) - 1, together, share) / np.log(10), MOST_SURPRISE)
