"""What served models answered: read from the records of predictions, each once, and counted by
minute for the time series and by window for the judges.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from casemate.core.types import Record, Schema
from casemate.operations.outcomes import value_of
from casemate.operations.watching.models import Catalogue, Watched
from casemate.watch.tables import Array
from casemate.watch.telemetry import MINUTE, Sample, Series, Telemetry

MOST_CALLERS = 1_000
"""That get a series of their own in one pass; the others are one."""
MOST_COUNTS = 20_000
"""That are held in memory at once."""
OTHER_CALLERS = "(others)"


class Answer(msgspec.Struct, frozen=True):
    """What of a recorded prediction is counted; see `controls.audit.predictions.Prediction`."""

    id: str
    time: float
    principal: str
    model: str
    part: str
    rows: int
    labels: bytes
    probabilities: bytes
    guards: dict[str, int]
    micros: int
    refused: str = ""


class Window(Record, frozen=True, kw_only=True):
    """Answers of one model version in one stretch of time, counted."""

    requests: int
    """That were answered."""
    rows: int
    labels: dict[str, int]
    """Rows a class; of a regressor none."""
    scores: list[int]
    """Rows a step of `Watched.edges`, by `Watched.scores`."""
    known: list[int]
    """Of these, rows whose outcome is known by now; of classes."""
    positive: list[int]
    """Of these, rows whose outcome was what the score is the probability of."""
    outcomes: int = 0
    """Rows whose outcome is known, of any model."""
    hits: int = 0
    """Of these, rows whose class was said rightly."""
    error: float = 0.0
    """Sum of absolute errors, of a regressor."""
    square: float = 0.0
    """Sum of squared errors, of a regressor."""
    delay: float = 0.0
    """Sum over rows of the seconds from answer to outcome."""


def place(model: str, window: int) -> str:
    """Under which name a window is kept; names in the order of time."""
    return f"answers/{model}/{window:010d}"


@dataclass
class _Minute:
    """Answers of one model version, part and minute, before they are counted together."""

    rows: int = 0
    requests: int = 0
    micros: int = 0
    asked: int = 0
    """Requests, with those that were refused."""
    labels: list[bytes] = field(default_factory=list)
    outputs: list[bytes] = field(default_factory=list)


class Counter:
    """Counts answers and outcomes of one pass, in memory that does not grow with their number."""

    def __init__(self, catalogue: Catalogue, seconds: int) -> None:
        """Begin with nothing.

        Args:
            catalogue: of the models.
            seconds: length of a window, whole minutes.
        """
        self._catalogue, self._seconds = catalogue, seconds
        self._decoder = msgspec.json.Decoder(list[Answer])
        self._flows: dict[tuple[int, Series], float] = {}
        self._times: dict[tuple[int, Series], list[float]] = {}
        self._series: dict[tuple[str, ...], Series] = {}
        self._windows: dict[tuple[str, int], _Sums] = {}
        self._callers: set[str] = set()
        self.count = 0
        self.unusable = 0
        """Outcomes that are nothing that the model could have said."""

    def add(self, bodies: list[bytes]) -> None:
        """Count predictions, given as their JSON."""
        minutes: dict[tuple[str, str, int], _Minute] = {}
        for said in self._decoder.decode(b"[" + b",".join(bodies) + b"]"):
            key = said.model, said.part, int(said.time) // MINUTE
            found = minutes.get(key)
            if found is None:
                found = minutes[key] = _Minute()
            found.asked += 1
            found.micros += said.micros
            if said.refused:
                self._flow(key[2], "casemate_refused", 1, model=said.model, code=said.refused)
            else:
                found.requests += 1
                found.rows += said.rows
                found.labels.append(said.labels)
                found.outputs.append(said.probabilities)
            for guard, rows in said.guards.items():
                self._flow(key[2], "casemate_guarded", rows, model=said.model, guard=guard)
            if said.part != "shadow":
                self._flow(key[2], "casemate_caller_rows", said.rows, caller=self._caller(said))
        for (model, part, minute), found in minutes.items():
            self._counted(model, part, minute, found)
        self.count += len(bodies)

    def _counted(self, model: str, part: str, minute: int, found: _Minute) -> None:
        self._flow(minute, "casemate_answers", found.requests, model=model, part=part)
        self._flow(minute, "casemate_rows", found.rows, model=model, part=part)
        series = Series.level("casemate_seconds", model=model, part=part)
        times = self._times.setdefault((minute, series), [0.0, 0.0])
        times[0] += found.micros / 1e6
        times[1] += found.asked
        watched = self._catalogue(model)
        # what a shadow says nobody hears
        if found.requests and part != "shadow" and watched is not None:
            sums = self._sums(watched, minute * MINUTE)
            sums.add(found.requests, found.rows, b"".join(found.labels), b"".join(found.outputs))

    def _caller(self, said: Answer) -> str:
        if said.principal not in self._callers:
            if len(self._callers) >= MOST_CALLERS:
                return OTHER_CALLERS
            self._callers.add(said.principal)
        return said.principal

    def outcome(self, said: Answer, outcome: list[Any], time: float) -> None:
        """Count what really was.

        Args:
            said: what was answered.
            outcome: per row a class, a quantity or several.
            time: when somebody told, in seconds since 1970.
        """
        watched = self._catalogue(said.model)
        if watched is None or said.part == "shadow" or said.refused:
            return
        try:
            self._sums(watched, said.time).learn(said, outcome, max(time - said.time, 0.0))
        except (ValueError, TypeError, IndexError):  # a word for a quantity, or the like
            self.unusable += said.rows

    def _sums(self, watched: Watched, time: float) -> "_Sums":
        key = watched.reference, int(time) // self._seconds
        found = self._windows.get(key)
        if found is None:
            found = self._windows[key] = _Sums(watched)
        return found

    def _flow(self, minute: int, name: str, by: float, **labels: str) -> None:
        known = (name, *labels.values())
        series = self._series.get(known)
        if series is None:
            series = self._series[known] = Series.flow(name, **labels)
        key = minute, series
        self._flows[key] = self._flows.get(key, 0.0) + by

    @property
    def is_full(self) -> bool:
        """Whether `samples` should be taken away."""
        return len(self._flows) >= MOST_COUNTS

    def samples(self) -> Iterator[Sample]:
        """Take away what was counted by minute."""
        flows, times = self._flows, self._times
        self._flows, self._times = {}, {}
        for (minute, series), value in flows.items():
            yield Sample(series, minute * MINUTE, value)
        for (minute, series), (total, count) in times.items():
            yield Sample(series, minute * MINUTE, total / count, int(count))

    def keep(self, telemetry: Telemetry) -> None:
        """Add what was counted by window to what is kept."""
        for (model, window), sums in self._windows.items():
            where = place(model, window)
            telemetry.keep(where, sums.joined(telemetry.kept(where, Window)))
        self._windows.clear()


class _Sums:
    """One window, while it is counted."""

    def __init__(self, watched: Watched) -> None:
        self.watched = watched
        self.requests = self.rows = self.outcomes = self.hits = 0
        self.error = self.square = self.delay = 0.0
        steps = len(watched.middles)
        self.scores, self.known, self.positive = (np.zeros(steps, np.int64) for _ in range(3))
        self.labels: dict[str, int] = {}

    def add(self, requests: int, rows: int, labels: bytes, outputs: bytes) -> None:
        """Count answers, given one behind the other as they were recorded."""
        self.requests += requests
        self.rows += rows
        if not self.watched.schema.regression:
            codes, counts = np.unique(np.frombuffer(labels, "<u2"), return_counts=True)
            for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
                name = self.watched.schema.answer(code)
                self.labels[name] = self.labels.get(name, 0) + count
        steps = self._steps(labels, outputs, rows)
        if steps is not None:
            self.scores += np.bincount(steps, minlength=len(self.scores))

    def _steps(self, labels: bytes, outputs: bytes, rows: int) -> Array | None:
        """The step of each row's answer; None with several labels a row."""
        if self.watched.schema.regression:
            quantities = np.frombuffer(outputs, "<f8").reshape(rows, -1)[:, 0]
            return np.searchsorted(self.watched.edges, quantities, side="left")
        codes = np.frombuffer(labels, "<u2")
        scores = self.watched.scores(codes, np.frombuffer(outputs, "<f4").reshape(rows, -1))
        return None if scores is None else np.searchsorted(self.watched.edges, scores, side="right")

    def learn(self, said: Answer, outcome: list[Any], delay: float) -> None:
        """Count what really was; ValueError or TypeError when it is nothing of the kind."""
        schema = self.watched.schema
        if schema.regression:
            first = [one[0] if isinstance(one, list) else one for one in outcome]
            quantities = np.frombuffer(said.probabilities, "<f8").reshape(said.rows, -1)[:, 0]
            errors = np.asarray(first, float) - quantities
            if not np.isfinite(errors).all():
                raise ValueError("an outcome is no finite number")
            self.error += float(np.abs(errors).sum())
            self.square += float((errors**2).sum())
        else:
            told = [_told(one, schema) for one in outcome]
            codes = np.frombuffer(said.labels, "<u2").tolist()
            pairs = [(schema.answer(code), one) for code, one in zip(codes, told, strict=True)]
            self.hits += sum(answer == one for answer, one in pairs)
            steps = self._steps(said.labels, said.probabilities, said.rows)
            if steps is not None:
                positive = np.array([self.watched.is_positive(*pair) for pair in pairs])
                self.known += np.bincount(steps, minlength=len(self.known))
                self.positive += np.bincount(steps[positive], minlength=len(self.positive))
        self.outcomes += said.rows
        self.delay += delay * said.rows

    def joined(self, before: Window | None) -> Window:
        """Together with what was counted of this window in earlier passes."""
        now = Window(
            requests=self.requests,
            rows=self.rows,
            labels=self.labels,
            scores=self.scores.tolist(),
            known=self.known.tolist(),
            positive=self.positive.tolist(),
            outcomes=self.outcomes,
            hits=self.hits,
            error=self.error,
            square=self.square,
            delay=self.delay,
        )
        return now if before is None else together([before, now])


def _told(outcome: Any, schema: Schema) -> str:
    """An outcome as `Schema.answer` has it; ValueError when the model could not have said it."""
    said = value_of(outcome, schema)
    return "+".join(said) or "(none)" if schema.labels else str(said)


def together(windows: list[Window]) -> Window:
    """Several windows of one model version as one."""
    labels: dict[str, int] = {}
    for one in windows:
        for name, rows in one.labels.items():
            labels[name] = labels.get(name, 0) + rows

    def added(lists: list[list[int]]) -> list[int]:
        # an earlier version counted no scores of more than two classes
        return [sum(values) for values in itertools.zip_longest(*lists, fillvalue=0)]

    return Window(
        requests=sum(one.requests for one in windows),
        rows=sum(one.rows for one in windows),
        labels=labels,
        scores=added([one.scores for one in windows]),
        known=added([one.known for one in windows]),
        positive=added([one.positive for one in windows]),
        outcomes=sum(one.outcomes for one in windows),
        hits=sum(one.hits for one in windows),
        error=sum(one.error for one in windows),
        square=sum(one.square for one in windows),
        delay=sum(one.delay for one in windows),
    )
