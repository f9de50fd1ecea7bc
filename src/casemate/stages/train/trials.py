"""Trials: one candidate on one fold each, done here or by helpers, with the same result.

A trial depends on the rows, the options and its own numbers alone: whatever draws from the global
generators draws from a seed of the fold's, so neither order nor place can be seen in a score.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np
from sklearn.base import clone
from sklearn.utils.parallel import Parallel, delayed

from casemate.config import TrainTable
from casemate.core.sandbox.helpers import NEAR, Answer, Task, packed, unpacked
from casemate.core.threads import fitting
from casemate.core.types import Record
from casemate.ml.frame import are_labels, wanted
from casemate.ml.learn.calibrate import adjustable
from casemate.ml.learn.calibrate import scores as scores_of
from casemate.ml.learn.weights import fit_params
from casemate.stages.train.candidates import Models
from casemate.stages.train.folds import FEW, Array, Rows, splits
from casemate.stages.train.metrics import scorer
from casemate.stages.train.prepared import Prepared

Ask = Callable[[list[Task]], Iterator[Answer]]
"""Has tasks done by helpers: see `helpers.Asked`."""
Scored = tuple[float, Array | None]
"""The score, and what the model said of the fold's rows, where that was asked for."""


class Cut(NamedTuple):
    """A fold."""

    number: int
    train: Array
    """Numbers of the rows to learn from."""
    test: Array
    """Of those to ask about."""


class Trial(Record, frozen=True, kw_only=True):
    """One candidate on one fold."""

    params: dict[str, Any]
    fold: int
    outer: int | None = None
    """The fold of nested cross-validation that is held out from the search; -1: the fold is an
    outer one itself.
    """
    hear: bool = False
    """Whether what the model says of the fold's rows is asked for."""


class Engine(Protocol):
    """Who does trials."""

    def __call__(self, trials: Sequence[Trial]) -> Iterator[Scored]:
        """Their scores, in their order."""


class Bench:
    """Does trials: it holds the rows and knows every fold."""

    def __init__(self, models: Models, rows: Rows, options: TrainTable, metric: str) -> None:
        self.models, self.rows, self.options, self.metric = models, rows, options, metric
        self._inner: dict[int | None, tuple[Rows, list[Cut], Prepared]] = {}

    def within(self, outer: int | None) -> tuple[Rows, list[Cut], Prepared]:
        """(rows, folds, preprocessing that is kept) of the search itself (None), of the search
        without an outer fold, or the outer folds (-1).
        """
        if outer not in self._inner:
            made = (*self._cut(outer), Prepared())
            # of the searches without an outer fold one is at work at a time
            self._inner = {key: one for key, one in self._inner.items() if key in (None, -1)}
            self._inner[outer] = made
        return self._inner[outer]

    def _cut(self, outer: int | None) -> tuple[Rows, list[Cut]]:
        options, rows = self.options, self.rows
        if outer == -1:
            found = splits(rows, options, options.nested, options.seed + 1)
        else:
            if outer is not None:
                rows = rows.at(self.within(-1)[1][outer].train)
            repeats = 1 if options.split == "ordered" else options.repeats
            found = [
                cut
                for repeat in range(repeats)
                for cut in splits(rows, options, options.folds, options.seed + repeat)
            ]
        return rows, [Cut(number, *cut) for number, cut in enumerate(found)]

    def folds(self, outer: int | None = None) -> list[Cut]:
        """See `within`."""
        return self.within(outer)[1]

    def task(self, trial: Trial) -> tuple[Any, ...]:
        """What `done` takes."""
        rows, folds, prepared = self.within(trial.outer)
        model = clone(self.models.made(trial.params))
        prepared = Prepared() if trial.outer == -1 else prepared
        return model, rows, folds[trial.fold], self.metric, self.options, prepared, trial.hear


class Here:
    """Does trials in this process, or in `[train] jobs` others of this machine."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def __call__(self, trials: Sequence[Trial]) -> Iterator[Scored]:
        """See `Engine`."""
        with fitting(FEW * self._bench.rows.frame.size):
            # as a list all would be over before anybody hears of the first
            yield from Parallel(n_jobs=self._bench.options.jobs, return_as="generator")(
                delayed(done)(*self._bench.task(trial)) for trial in trials
            )


class Elsewhere:
    """Has trials done by helpers."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def __call__(self, trials: Sequence[Trial]) -> Iterator[Scored]:
        """See `Engine`."""
        # those on a fold share what is made of its rows
        tasks = [{**msgspec.to_builtins(trial), NEAR: trial.fold} for trial in trials]
        for answer in self._ask(tasks):
            yield _read(answer)


def engine_of(bench: Bench, ask: Ask | None) -> Engine:
    """Who does the trials: helpers where they can be asked."""
    return Here(bench) if ask is None else Elsewhere(ask)


def answer(bench: Bench, task: Task) -> Answer:
    """What a helper says of a trial: floats as their bytes, so that none changes on the way."""
    trial = msgspec.convert({key: one for key, one in task.items() if key != NEAR}, Trial)
    score, said = done(*bench.task(trial))
    return {
        "score": packed(score),
        "said": None if said is None else packed(said),
        "shape": [] if said is None else list(said.shape),
    }


def _read(answer: Answer) -> Scored:
    said = None if answer["said"] is None else unpacked(answer["said"]).reshape(answer["shape"])
    return float(unpacked(answer["score"])[0]), said


def done(
    model: Any,
    rows: Rows,
    fold: Cut,
    metric: str,
    options: TrainTable,
    prepared: Prepared,
    hear: bool,
) -> Scored:
    """The score of a trial, whatever was drawn in this process before."""
    seeded(options.seed + fold.number)
    return scored(model, rows, fold, metric, options, prepared, hear=hear)


def seeded(seed: int) -> None:
    """Begin the global generators anew: user code may draw from them."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - see above


def scored(
    model: Any,
    rows: Rows,
    fold: Cut,
    metric: str,
    options: TrainTable,
    prepared: Prepared,
    *,
    hear: bool,
) -> Scored:
    """Trained on some rows: (score on others, what it says of them if that is asked for and can be
    calibrated); weights count on both sides. Of several labels one is trained for each: the mean
    score, and what they say side by side.
    """
    number, train, test = fold
    if are_labels(rows.target):
        views = rows.views
        told = [
            scored(
                clone(model),
                view,
                # steps may learn from the target
                Cut(number * len(views) + place, train, test),
                metric,
                options,
                prepared,
                hear=hear,
            )
            for place, view in enumerate(views)
        ]
        heard = [one for _, one in told if one is not None]
        return float(np.mean([score for score, _ in told])), (
            np.column_stack(heard) if len(heard) == len(views) else None
        )
    taught, asked = rows.at(train), rows.at(test)
    left, learnt, shown = prepared.apart(model, taught, asked, number)
    left.fit(learnt, wanted(taught.target), **fit_params(left, taught.weights))
    weights = {} if asked.weights is None else {"sample_weight": asked.weights}
    said = scores_of(left, shown) if hear and asked.target.ndim == 1 and adjustable(left) else None
    return float(scorer(metric, options)(left, shown, wanted(asked.target), **weights)), said
