"""How good a model's answers are while nobody knows the outcomes yet; and, once they are known,
whether that was right.

For classes: confidence-based estimation from calibrated scores, and beside it the same with the
calibration moved to each chunk's own population by weighted reference rows (Bialek and others,
arXiv 2401.08348: CBPE and PAPE). For quantities: the loss itself is learnt; see `losses`.

What no method without outcomes can see: that the relation of features and outcome itself has
changed. That shows when the realised figure leaves the interval.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from casemate.core.errors import ConfigError, DataError
from casemate.core.types import Interval, Record
from casemate.ml.frame import worth
from casemate.watch import expected, losses, tables
from casemate.watch.calibration import Calibrator, Moved
from casemate.watch.populations import density_ratio

Array = np.ndarray[Any, Any]
LEVEL = 0.95
"""Of all chunks' intervals of one figure together: five of a hundred files in which the relation
holds are said to have changed.
"""
FEWEST_REFERENCE = 100
"""Rows with a known outcome: below, calibration says next to nothing."""
CUT = 0.5
"""Score from which an answer is positive where no column of answers is named."""
CHANGED = "the relation itself has changed"


class Figure(Record, frozen=True, kw_only=True):
    """One figure of one chunk."""

    name: str
    reference: float
    """What it is in the reference."""
    promised: Interval
    """What the same estimate says of the reference's own rows."""
    estimated: Interval
    """For what will be realised, by the reference's own calibration (CBPE)."""
    moved: Interval | None = None
    """The same by a calibration moved to the chunk's population (PAPE); None where that is no
    other. Which of both is nearer depends on what else has changed, so both stand there.
    """
    realised: float | None = None
    """From outcomes, where the chunk has them."""
    changed: bool = False
    """The realised figure left both intervals."""


class Chunk(Record, frozen=True, kw_only=True):
    """Consecutive rows that were judged together."""

    first: int
    """Of the rows that could be used, from 0."""
    rows: int
    moved: bool
    """Its population differs from the reference's, so reference rows were weighted."""
    worth: float
    """How many reference rows tell about this population."""
    figures: list[Figure]
    text: str = ""
    """What was found; empty while estimate and outcomes agree."""


class Estimate(Record, frozen=True, kw_only=True):
    """What was estimated of every chunk."""

    kind: str
    """`classes` or `quantity`."""
    calibration: str
    """Kind of calibration; empty for quantities."""
    chunks: list[Chunk]
    left_out: int
    """Current rows without a score."""
    changed: bool
    """Some chunk's realised figure left its intervals."""


class Judge:
    """Knows the reference; estimates chunk after chunk."""

    def __init__(
        self,
        reference: pd.DataFrame,
        *,
        target: str,
        score: str,
        features: Sequence[str] = (),
        prediction: str | None = None,
        positive: str | None = None,
        cut: float = CUT,
        only: Sequence[str] = (),
    ) -> None:
        """Learn the reference.

        Args:
            reference: rows with outcomes that the model has not learnt from.
            target: column of outcomes; two values, else quantities.
            score: column of the positive class's score in [0, 1], or of the foretold quantity.
            features: columns by which populations are compared.
            prediction: column of answers; None: positive from a score of `cut`.
            positive: the positive class; None: the later of the two in order.
            cut: score from which an answer is positive.
            only: figures that are estimated; none: all.

        Raises:
            ConfigError: `positive` is no class, or an option is for classes only.
            DataError: a column is missing, or outcomes or scores say too little.
        """
        named = [name for name in (target, score, prediction) if name is not None]
        tables.require_columns(reference, named, "the reference")
        tables.require_columns(reference, features, "the reference")
        self.target, self.score, self.prediction = target, score, prediction
        self.cut, self.only = cut, only
        self.own: dict[float, dict[str, Interval]] = {}
        scores = tables.numbers(reference[score])[0]
        kept = np.isfinite(scores) & reference[target].notna().to_numpy(bool)
        rows = reference[kept]
        tables.require_rows(rows, "the reference (rows with outcome and score)", FEWEST_REFERENCE)
        self.matrix = tables.Matrix(rows, [*features, score])
        self.rows = self.matrix(rows)
        self.scores = scores[kept]
        self.classes = _classes(rows[target], positive)
        if self.classes is None:
            self._learn_quantity(rows, positive)
        else:
            self._learn_classes(rows)

    def _learn_quantity(self, rows: pd.DataFrame, positive: str | None) -> None:
        if positive is not None or self.prediction is not None:
            raise ConfigError(
                f"{self.target!r} holds quantities, not two classes",
                hint="leave out --positive and --prediction; the score is the foretold quantity",
            )
        self.losses = losses.Losses(self.rows, _outcomes(rows[self.target]) - self.scores)
        self.reference = self.losses.reference()

    def _learn_classes(self, rows: pd.DataFrame) -> None:
        self._require_shares(self.scores)
        self.positive = self._positive(rows[self.target])
        self.calibrator = Calibrator(self.scores, self.positive)
        self.ordered = expected.Rows(self.scores, self._answers(rows, self.scores))
        self.reference = self.ordered.figures(self.positive)

    def _require_shares(self, scores: Array) -> None:
        if scores.min() < 0 or scores.max() > 1:
            raise DataError(
                f"scores in {self.score!r} are not all in 0 to 1",
                hint="give the score of the positive class as a probability",
            )

    @property
    def kind(self) -> str:
        """`classes` or `quantity`."""
        return "quantity" if self.classes is None else "classes"

    def _positive(self, column: pd.Series) -> Array:
        cells, classes = tables.categories(column), self.classes or ("", "")
        strange = {cell for cell in cells if cell is not None} - set(classes)
        if strange:
            raise DataError(
                f"{column.name!r} has a class that the reference has not: {min(strange)!r}",
                hint=f"its classes: {', '.join(classes)}",
            )
        return np.array([cell == classes[1] for cell in cells], float)

    def _answers(self, rows: pd.DataFrame, scores: Array) -> Array:
        if self.prediction is None:
            return np.asarray(scores >= self.cut, float)
        return self._positive(rows[self.prediction])

    def usable(self, current: pd.DataFrame) -> pd.DataFrame:
        """The rows with a score.

        Raises:
            DataError: a column is missing, or no row has a score, or one is outside 0 to 1.
        """
        named = [self.score, *([self.prediction] if self.prediction else [])]
        tables.require_columns(current, named, "the current table")
        tables.require_columns(current, self.matrix.features, "the current table")
        scores = tables.numbers(current[self.score])[0]
        kept = current[np.isfinite(scores)]
        tables.require_rows(kept, f"the current table (rows with a score in {self.score!r})")
        if self.classes is not None:
            self._require_shares(scores[np.isfinite(scores)])
        return kept

    def chunk(self, rows: pd.DataFrame, first: int = 0, level: float = LEVEL) -> Chunk:
        """One chunk's figures.

        Args:
            rows: of `usable`.
            first: where the chunk stands.
            level: of the intervals.
        """
        matrix, outcomes = self.matrix(rows), self._realised(rows)
        # what a score promises does not depend on how frequent it is: only features can move it
        has_features = matrix.shape[1] > 1
        weights = density_ratio(self.rows, matrix) if has_features else None
        scores = matrix[:, -1]
        moved: dict[str, Interval] = {}
        if self.classes is None:
            estimated = self.losses.estimate(matrix, weights, level)
            realised = losses.realised(outcomes - scores) if outcomes is not None else {}
        else:
            ordered = expected.Rows(scores, self._answers(rows, scores))
            estimated = _expected(ordered, scores, Moved(self.calibrator, None), level)
            calibration = Moved(self.calibrator, weights)
            if calibration.is_moved:
                moved = _expected(ordered, scores, calibration, level)
            realised = ordered.figures(outcomes) if outcomes is not None else {}
        promised = self._promised(level)
        figures = [
            _figure(
                name,
                (self.reference[name], promised[name]),
                interval,
                moved.get(name),
                realised.get(name),
            )
            for name, interval in estimated.items()
            if not self.only or name in self.only
        ]
        changed = [one.name for one in figures if one.changed]
        return Chunk(
            first=first,
            rows=len(rows),
            moved=weights is not None,
            worth=float(len(self.rows)) if weights is None else worth(weights),
            figures=figures,
            text=f"{CHANGED}: {', '.join(changed)} outside the interval" if changed else "",
        )

    def _promised(self, level: float) -> dict[str, Interval]:
        """The estimate of the reference's own rows: calibration may be as wrong for these."""
        if level not in self.own:
            if self.classes is None:
                self.own[level] = self.losses.estimate(self.rows, None, level)
            else:
                calibration = Moved(self.calibrator, None)
                self.own[level] = _expected(self.ordered, self.scores, calibration, level)
        return self.own[level]

    def _realised(self, rows: pd.DataFrame) -> Array | None:
        """Quantities, or 1 for the positive class, [n]; None where a row has no outcome."""
        if self.target not in rows or rows[self.target].isna().any():
            return None
        column = rows[self.target]
        return _outcomes(column) if self.classes is None else self._positive(column)


def estimate(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    *,
    target: str,
    score: str,
    features: Sequence[str] | None = None,
    prediction: str | None = None,
    positive: str | None = None,
    chunk: int | None = None,
) -> Estimate:
    """Estimate the model's figures on `current`, whose outcomes may be unknown.

    Args:
        reference: rows with outcomes that the model has not learnt from.
        current: rows to judge; where it holds `target`, realised figures stand beside.
        target: see `Judge`.
        score: see `Judge`.
        features: see `tables.shared_features`.
        prediction: see `Judge`.
        positive: see `Judge`.
        chunk: rows that are judged together; None: all. A rest of less than half a chunk joins the
            last.

    Raises:
        ConfigError: an option does not fit.
        DataError: a table does not.
    """
    if chunk is not None and chunk < 1:
        raise ConfigError("a chunk has no rows", hint="give --chunk of at least 1")
    shared = tables.shared_features(reference, current, features, (target, score, prediction))
    judge = Judge(
        reference,
        target=target,
        score=score,
        features=shared,
        prediction=prediction,
        positive=positive,
    )
    usable = judge.usable(current)
    parts = list(parted(len(usable), chunk))
    level = 1 - (1 - LEVEL) / len(parts)
    chunks = [judge.chunk(usable.iloc[part], part.start, level) for part in parts]
    return Estimate(
        kind=judge.kind,
        calibration="" if judge.classes is None else judge.calibrator.kind,
        chunks=chunks,
        left_out=len(current) - len(usable),
        changed=any(one.text for one in chunks),
    )


def parted(count: int, chunk: int | None) -> Iterator[slice]:
    """Consecutive parts of `count` rows; see `estimate`."""
    size = count if chunk is None else min(chunk, count)
    parts = max((count + size // 2) // size, 1)
    for part in range(parts):
        yield slice(part * size, count if part == parts - 1 else (part + 1) * size)


def _classes(column: pd.Series, positive: str | None) -> tuple[str, str] | None:
    """(the other class, the positive one); None for quantities."""
    known = sorted({cell for cell in tables.categories(column) if cell is not None}, key=_order)
    if len(known) != 2:
        if len(known) > 2 and tables.is_number(column):
            return None
        raise DataError(
            f"{column.name!r} has {len(known)} classes in the reference",
            hint="two classes or a quantity can be estimated",
        )
    if positive is None:
        return known[0], known[1]
    if positive not in known:
        raise ConfigError(
            f"{positive!r} is no class of {column.name!r}", hint=f"its classes: {', '.join(known)}"
        )
    return next(one for one in known if one != positive), positive


def _order(cell: str) -> tuple[bool, float, str]:
    try:
        return False, float(cell), cell
    except ValueError:
        return True, 0.0, cell


def _outcomes(column: pd.Series) -> Array:
    values, _ = tables.numbers(column)
    if not np.isfinite(values).all():
        raise DataError(
            f"{column.name!r} has an outcome that is no finite number", hint="leave its row out"
        )
    return values


def _expected(
    rows: expected.Rows, scores: Array, calibration: Moved, level: float
) -> dict[str, Interval]:
    """Figures from calibrated scores."""

    def draw(generator: np.random.Generator) -> Array:
        return calibration.drawn(scores, generator)

    drawn = expected.realisations(rows, draw, np.random.default_rng(0))
    found = rows.figures(calibration.at(scores))
    return {
        name: expected.interval(found[name], drawn[:, at], level)
        for at, name in enumerate(expected.FIGURES)
    }


def _figure(
    name: str,
    reference: tuple[float, Interval],
    estimated: Interval,
    moved: Interval | None,
    realised: float | None,
) -> Figure:
    changed = False
    if realised is not None and np.isfinite(realised):
        both = [estimated] if moved is None else [estimated, moved]
        changed = not any(one.low <= realised <= one.high for one in both)
    return Figure(
        name=name,
        reference=reference[0],
        promised=reference[1],
        estimated=estimated,
        moved=moved,
        realised=realised,
        changed=changed,
    )
