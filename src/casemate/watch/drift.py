"""Whether what is asked of a model today is still like the reference; few alarms, and right ones.

Every feature is looked at in several ways, all features together by a classifier, and the answers.
The chance of a false alarm is held over all of them and over all windows of months (`budget`); the
laws are those of rows drawn at random, widened where the reference's own windows differ more than
that. A finding wakes somebody only where quality suffers or cannot be told; else it is a note.
"""

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
import pandas as pd
from msgspec import structs

from casemate.core.errors import ConfigError, DataError
from casemate.core.types import Record
from casemate.watch import chances, tables
from casemate.watch.budget import FalseAlarms, corrected
from casemate.watch.estimate import FEWEST_REFERENCE, Chunk, Judge
from casemate.watch.populations import told_apart
from casemate.watch.profiles import KINDS, Check, Profile, profile

JOINT = "(all features together)"
MOST_WINDOWS = 20
"""Of the reference that are compared with its rest: more hardly move their spread."""
MOST_JOINT_WINDOWS = 12
"""The same for the classifier, which learns anew for each."""
FINENESS = 4
"""Steps to a doubling of a window's size, between which its own windows are not made anew."""
JOINT_ROWS = 5
"""Reference rows per row of the window that the classifier gets: more add little."""
LOSS = 0.02
"""Of a figure in 0 to 1 that is worth waking somebody, and the share of rows of a kind that the
model has never met, since all of these may be answered wrongly; of an error in the target's unit,
ten times this share. Smaller losses are below what a week's retraining gains or loses.
"""
FEWEST_ROWS = 100
"""Of a reference: its range and rarest categories would be chance."""
FEWEST_CURRENT = 20
"""Of a window: of fewer, all could be of a kind that the reference hardly has, and the exact tests
would still not say so within a budget of months. Chosen.
"""
BEARING = {"classes": ("roc_auc", "accuracy"), "quantity": ("mae", "rmse")}
"""Figures that must not suffer."""


class Finding(Record, frozen=True, kw_only=True):
    """Something that is not as in the reference."""

    feature: str
    kind: str
    """A key of `profiles.KINDS`, or `joint`."""
    chance: float
    """Family-wise: that any test of this window shows as much by chance."""
    shift: float
    """Share of rows that would have to be others, at least."""
    importance: float
    """Of the feature, the greatest as 1."""
    rank: float
    """Shift times importance: findings are in this order, that of all together last."""
    page: bool
    """Somebody should be woken; else it is a note."""
    text: str


class Drift(Record, frozen=True, kw_only=True):
    """What one window showed."""

    rows: int
    tests: int
    limit: float
    """On the family-wise chance: false alarms stay within the budget."""
    least: float
    """The smallest family-wise chance of all tests."""
    findings: list[Finding]
    quality: str
    """`holds`, `suffers` or `unknown`."""
    because: str
    """Why the quality is what it is."""
    page: bool
    left_out: list[str]
    """Columns of one table only."""
    estimate: Chunk | None = None


class Reference:
    """Knows the reference; judges window after window."""

    def __init__(
        self,
        rows: pd.DataFrame,
        features: Sequence[str],
        *,
        alarms: FalseAlarms,
        importance: Mapping[str, float] | None = None,
        score: str | None = None,
        target: str | None = None,
        prediction: str | None = None,
        positive: str | None = None,
        is_ordered: bool = True,
        is_joint: bool = True,
    ) -> None:
        """Learn.

        Args:
            rows: the reference, in the order in which rows came.
            features: columns to look at.
            alarms: how often it may be wrong.
            importance: of features, 0 or more; what is not named has none. None: all alike.
            score: column of answers; looked at as well.
            target: column of outcomes in the reference; with `score`, quality is estimated.
            prediction: see `estimate.Judge`.
            positive: see `estimate.Judge`.
            is_ordered: whether the order of the rows says something, so that neighbours may be
                alike.
            is_joint: whether a classifier looks at all features together: nearly all of the cost.

        Raises:
            ConfigError: an importance is no number from 0, or names no feature.
            DataError: a column is missing, or there are too few rows.
        """
        tables.require_rows(rows, "the reference", FEWEST_ROWS)
        self.features, self.alarms, self.is_ordered = list(features), alarms, is_ordered
        self.is_joint = is_joint and len(self.features) > 1
        self.importance = _weighed(importance, self.features)
        self.columns = [*self.features, *([score] if score else [])]
        tables.require_columns(rows, self.columns, "the reference")
        self.score = score
        self.rows = rows
        self.own: dict[tuple[str, str, int], tables.Array] = {}
        self.profiles = {name: profile(rows[name]) for name in self.columns}
        self.matrix = tables.Matrix(rows, self.features)
        self.tests = sum(one.tests for one in self.profiles.values()) + self.is_joint
        self.judge = None
        if target is not None:
            if score is None:
                raise ConfigError("a target without a score", hint="name both, or none")
            self.judge = Judge(
                rows,
                target=target,
                score=score,
                features=self.features,
                prediction=prediction,
                positive=positive,
            )

    @classmethod
    def sketched(
        cls,
        profiles: Mapping[str, Profile],
        *,
        alarms: FalseAlarms,
        importance: Mapping[str, float] | None = None,
        score: str | None = None,
        judge: Judge | None = None,
    ) -> Self:
        """A reference of which no rows are left: features one by one, and answers; not all
        together, and not how much its own windows differ.

        Args:
            profiles: by column, `score` among them.
            alarms: how often it may be wrong.
            importance: see `__init__`.
            score: column of answers.
            judge: estimates quality.
        """
        made = cls.__new__(cls)
        made.profiles, made.columns, made.score = dict(profiles), list(profiles), score
        made.features = [name for name in made.columns if name != score]
        made.alarms, made.judge = alarms, judge
        made.is_ordered = made.is_joint = False
        made.importance = _weighed(importance, made.features)
        made.tests = sum(one.tests for one in made.profiles.values())
        return made

    def window(self, current: pd.DataFrame, left_out: Sequence[str] = ()) -> Drift:
        """What a window shows.

        Args:
            current: its rows.
            left_out: columns that were not looked at, to be told.

        Raises:
            DataError: it has too few rows, or a column is missing.
        """
        tables.require_rows(current, "the current table", FEWEST_CURRENT)
        tables.require_columns(current, self.columns, "the current table")
        found = self.checks(current)
        limit = self.alarms.chance
        adjusted = self._adjusted(found)
        for at in np.flatnonzero(adjusted <= limit):
            feature, check = found[at]
            chance = chances.among(check.chance, self._own(feature, check.kind, len(current)))
            found[at] = feature, structs.replace(check, chance=chance)
        adjusted = self._adjusted(found)
        held = [(*found[at], adjusted[at]) for at in np.flatnonzero(adjusted <= limit)]
        quality, because, chunk = self._quality(current, [check for _, check, _ in held])
        page = bool(held) and quality != "holds"
        findings = [
            self._finding(feature, check, float(chance), page) for feature, check, chance in held
        ]
        return Drift(
            rows=len(current),
            tests=self.tests,
            limit=limit,
            least=float(adjusted.min()),
            findings=sorted(findings, key=lambda one: (one.feature == JOINT, -one.rank)),
            quality=quality,
            because=because,
            page=page,
            left_out=list(left_out),
            estimate=chunk,
        )

    def checks(self, current: pd.DataFrame) -> list[tuple[str, Check]]:
        """Every (feature, test) of a window, by the laws of rows drawn at random."""
        found = [
            (name, check)
            for name in self.columns
            for check in self.profiles[name].checks(current[name])
        ]
        if self.is_joint:
            found.append((JOINT, self._joint(self.rows, current)))
        return found

    def _adjusted(self, found: list[tuple[str, Check]]) -> tables.Array:
        each = np.ones(max(self.tests, len(found)))
        each[: len(found)] = [check.chance for _, check in found]
        return corrected(each)[: len(found)]

    def _joint(self, reference: pd.DataFrame, current: pd.DataFrame) -> Check:
        most = max(JOINT_ROWS * len(current), FEWEST_ROWS)
        if len(reference) > most:
            at = np.random.default_rng(0).choice(len(reference), most, replace=False)
            reference = reference.iloc[np.sort(at)]
        area, chance, _ = told_apart(self.matrix(reference), self.matrix(current))
        # of all pairs of distributions so far apart, none has a greater area
        shift = max(1 - float(2 - 2 * area) ** 0.5, 0.0)
        detail = f"a classifier tells the rows apart with an area of {area:.3f}"
        return Check(kind="joint", chance=chance, shift=shift, detail=detail)

    def _own(self, feature: str, kind: str, size: int) -> tables.Array:
        """Chances of the reference's own windows of about as many rows, each beside its rest."""
        if not self.is_ordered:
            return np.empty(0)
        total = len(self.rows)
        size = round(2 ** (round(np.log2(size) * FINENESS) / FINENESS))
        most = MOST_JOINT_WINDOWS if feature == JOINT else MOST_WINDOWS
        count = min(total // size, most)
        if count < chances.FEWEST_WINDOWS:
            return np.empty(0)
        if (feature, kind, size) not in self.own:
            # one anywhere in each part: evenly spaced ones might all be of the same hour
            drawn = np.arange(count) + np.random.default_rng(0).random(count)
            starts = (drawn / count * (total - size)).astype(int)
            self._look_at_own(feature, size, [int(start) for start in starts])
        return self.own[feature, kind, size]

    def _look_at_own(self, feature: str, size: int, starts: list[int]) -> None:
        own: dict[str, list[float]] = {}
        for start in starts:
            inside = np.zeros(len(self.rows), bool)
            inside[start : start + size] = True
            rest, window = self.rows[~inside], self.rows[inside]
            if feature == JOINT:
                checks = [self._joint(rest, window)]
            else:
                checks = profile(rest[feature]).checks(window[feature])
            for check in checks:
                own.setdefault(check.kind, []).append(check.chance)
        for kind, each in own.items():
            self.own[feature, kind, size] = np.array(each)

    def _finding(self, feature: str, check: Check, chance: float, page: bool) -> Finding:
        importance = self.importance.get(feature, 1.0)
        said = KINDS.get(check.kind, "the rows as a whole are others")
        return Finding(
            feature=feature,
            kind=check.kind,
            chance=chance,
            shift=check.shift,
            importance=importance,
            rank=check.shift * importance,
            page=page,
            text=f"{said}: {check.detail}",
        )

    def _quality(self, current: pd.DataFrame, found: list[Check]) -> tuple[str, str, Chunk | None]:
        if self.judge is None:
            return "unknown", "no target and score to estimate it by", None
        try:
            # a page is an alarm too: the budget holds for what is said to suffer
            usable = self.judge.usable(current)
            chunk = self.judge.chunk(usable, level=1 - self.alarms.chance)
        except DataError as error:
            return "unknown", error.message, None
        suffering = _suffering(chunk, BEARING[self.judge.kind])
        if suffering:
            return "suffers", suffering, chunk
        blind = max((check.blind for check in found), default=0.0)
        if blind >= LOSS:
            return "unknown", f"{blind:.1%} of rows are of a kind that it hardly met", chunk
        if chunk.worth < FEWEST_REFERENCE:
            because = f"only {chunk.worth:.0f} reference rows tell about this population"
            return "unknown", because, chunk
        return "holds", "no figure is worse for sure", chunk


def drift(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    *,
    features: Sequence[str] | None = None,
    importance: Mapping[str, float] | None = None,
    false_alarms: str = "1 per 90 days",
    windows_per_day: float = 1.0,
    score: str | None = None,
    target: str | None = None,
    prediction: str | None = None,
    positive: str | None = None,
    is_ordered: bool = True,
) -> Drift:
    """Compare one window with the reference.

    Args:
        reference: rows known to be fine.
        current: the window.
        features: see `tables.shared_features`.
        importance: see `Reference`.
        false_alarms: over all features and windows.
        windows_per_day: how often a window is judged.
        score: see `Reference`.
        target: see `Reference`.
        prediction: see `Reference`.
        positive: see `Reference`.
        is_ordered: see `Reference`.

    Raises:
        ConfigError: an option does not fit.
        DataError: a table does not.
    """
    alarms = FalseAlarms.parse(false_alarms, windows_per_day)
    others = (target, score, prediction)
    shared = tables.shared_features(reference, current, features, others)
    judged = Reference(
        reference,
        shared,
        alarms=alarms,
        importance=importance,
        score=score,
        target=target,
        prediction=prediction,
        positive=positive,
        is_ordered=is_ordered,
    )
    known, now = set(reference.columns), set(current.columns)
    return judged.window(current, sorted(str(name) for name in (known ^ now) - set(others)))


def _weighed(importance: Mapping[str, float] | None, features: Sequence[str]) -> dict[str, float]:
    """Importances with the greatest as 1."""
    if importance is None:
        return {}
    strange = [name for name in importance if name not in features]
    if strange:
        raise ConfigError(
            f"{strange[0]!r} has an importance and is no feature",
            hint=f"features: {', '.join(features[:20])}",
        )
    wrong = [name for name, value in importance.items() if not 0 <= value < np.inf]
    most = max(importance.values(), default=0.0)
    if wrong or not most > 0:
        raise ConfigError(
            f"the importance of {wrong[0] if wrong else 'every feature'!r} is no positive number",
            hint="give numbers from 0, such as a mean fall of a figure",
        )
    return {name: importance.get(name, 0.0) / most for name in features}


def _suffering(chunk: Chunk, bearing: Sequence[str]) -> str:
    """Which figure is worse than in the reference, for sure and by enough; empty for none."""
    for figure in chunk.figures:
        if figure.name not in bearing:
            continue
        worse = -1.0 if figure.name in ("mae", "rmse") else 1.0
        least = LOSS if worse > 0 else 10 * LOSS * figure.reference
        usual = figure.reference
        if figure.realised is None:  # compared with its like: a calibration may be wrong for all
            usual = worse * min(worse * usual, worse * figure.promised.value)
        for interval in (figure.estimated, figure.moved):
            if interval is None:
                continue
            value = interval.value if figure.realised is None else figure.realised
            fall = worse * (usual - value)
            # a reference of few rows might as well have come out otherwise
            if fall >= least and fall > np.hypot(interval.half, figure.promised.half):
                how = "estimated at" if figure.realised is None else "realised as"
                return f"{figure.name} {how} {value:.3f}, in the reference {usual:.3f}"
    return ""
