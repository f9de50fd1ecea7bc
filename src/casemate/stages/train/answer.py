"""What the training process says of its work; checked, not believed."""

import math
from typing import Annotated, Any, Literal

import msgspec

from casemate.config import TrainTable
from casemate.core.errors import TrainingError
from casemate.core.sandbox import run as sandbox
from casemate.core.types import WentOn
from casemate.ml import models
from casemate.stages.train import told
from casemate.stages.train.tools import Rest


class _Candidate(msgspec.Struct, forbid_unknown_fields=True):
    params: dict[str, Any]
    scores: list[float]
    mean: float
    std: float


Trees = Annotated[int, msgspec.Meta(ge=0, le=10_000)]


class SaidUnlearning(msgspec.Struct, forbid_unknown_fields=True):
    """What it says of an estimator that can be unlearnt: a few numbers."""

    kind: Literal["forest", "least-squares"]
    trees: Trees = 0
    each: Trees = 0
    kept: Trees = 0


class SaidRest(msgspec.Struct, forbid_unknown_fields=True):
    """What it says of rows that it went on with after the sample."""

    rows: int
    loss: float


class Said(msgspec.Struct):
    """What the training process says of its work; checked, not believed."""

    estimator: str
    params: dict[str, Any]
    cv: list[_Candidate]
    metric: str
    nested: list[float] = []
    privacy: dict[str, Any] = {}
    left_out: list[str] = []
    """Classes of steps that private training does not use."""
    unlearning: SaidUnlearning | None = None
    rest: SaidRest | None = None
    calibration: dict[Literal["slope", "shift", "before", "after", "error", "kept"], float] = {}


def answer_of(outcome: sandbox.Outcome, options: TrainTable) -> Said:
    """What the training process says, once it is seen to be possible."""
    if not {models.SKOPS, models.NETWORK} & set(outcome.files):
        text = "the training code left no model"
        raise TrainingError(text, hint="do not end the process in train.py", plain=text)
    try:
        return _checked(msgspec.convert(outcome.result, Said), options)
    except msgspec.ValidationError as error:
        raise nonsense(error) from error


def went_on(rest: Rest, said: Said) -> WentOn:
    """What is recorded of the rows that training went on with.

    Args:
        rest: what it was given.
        said: by the training process.

    Raises:
        TrainingError: it says that it read others.
    """
    if said.rest is None or said.rest.rows != rest.rows or not math.isfinite(said.rest.loss):
        text = "the training code did not go on with the rows that it was given"
        raise TrainingError(text, hint="do not end the process in train.py", plain=text)
    return WentOn(rows=rest.rows, loss=told.figure(said.rest.loss))


def nonsense(error: msgspec.ValidationError) -> TrainingError:
    """What to say of an answer that no process of ours gives."""
    plain = "the training process answered nonsense"
    return TrainingError(f"{plain}: {error}", hint="do not write to its output", plain=plain)


def _checked(said: Said, options: TrainTable) -> Said:
    """What the process says without texts of its own; ValidationError when it chose what
    casemate.toml does not offer.
    """
    params = told.parameters(said.params, options)
    tried = [told.parameters(candidate.params, options) for candidate in said.cv]
    if params is None or None in tried or said.metric not in {options.metric, *told.METRICS}:
        raise msgspec.ValidationError("a parameter or scorer that [train] does not name")
    if len(said.cv) > _most(options) or len(said.nested) > options.nested:
        raise msgspec.ValidationError("more candidates than [train] asks for")
    if any(len(candidate.scores) > options.folds * options.repeats for candidate in said.cv):
        raise msgspec.ValidationError("more scores than [train] asks for")
    cv = [_told(candidate, params or {}) for candidate, params in zip(said.cv, tried, strict=True)]
    return msgspec.structs.replace(
        said, params=params, cv=cv, nested=[told.figure(value) for value in said.nested]
    )


def _most(options: TrainTable) -> int:
    """Candidates of the search at most."""
    spaces = options.search.values()
    return (
        options.trials
        if any(isinstance(space, dict) for space in spaces)
        else math.prod(map(len, spaces))
    )


def _told(candidate: _Candidate, params: dict[str, Any]) -> _Candidate:
    scores = [told.figure(value) for value in candidate.scores]
    return _Candidate(
        params=params,
        scores=scores,
        mean=told.figure(candidate.mean),
        std=told.figure(candidate.std),
    )
