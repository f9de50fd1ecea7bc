"""A coordinator's model, seen from outside: what its entry wants sites to train, and the file of
what they learnt. The entry runs in the sandbox, and sees no row there.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from casemate.config import Config, TrainTable
from casemate.core.errors import TrainingError
from casemate.core.files import scratch_folder
from casemate.core.sandbox import failure
from casemate.core.sandbox import run as sandbox
from casemate.core.types import Schema
from casemate.ml.federated.encoding import Limits
from casemate.ml.federated.updates import raw
from casemate.stages.train.answer import nonsense
from casemate.stages.train.described import GRAPH, START, WEIGHTS, Described
from casemate.stages.train.stage import explained, limits_of, must_be_confined

Array = np.ndarray[Any, Any]
TARGET = "casemate.stages.train.described:main"


@dataclass(frozen=True)
class Entry:
    """The code that says what sites train."""

    name: str
    """`FILE:FUNCTION`."""
    code: dict[str, bytes]
    columns: Schema
    """Features and target of the charter."""
    limits: Limits
    seed: int


@dataclass(frozen=True)
class Room:
    """What the process may use."""

    config: Config
    scratch: Path
    hidden: list[Path]


def described(entry: Entry, room: Room) -> tuple[Described, Array]:
    """(what sites train, the weights to begin with [p]).

    Raises:
        TrainingError: the code failed, or returns what sites cannot train.
        SandboxError: the kernel cannot confine it and `[sandbox] mode` is "require".
    """
    outcome, said = _ran(entry, room, {}, START)
    content = outcome.files.get(START)
    start = np.zeros(said.layout.size) if content is None else np.frombuffer(content, dtype="<f8")
    if len(start) != said.layout.size or not np.isfinite(start).all():
        text = "the training code leaves weights that are not those of its model"
        raise TrainingError(text, hint="see train.py", plain=text)
    return said, start


def graph(entry: Entry, room: Room, weights: Array) -> bytes:
    """The network with these weights as an ONNX file, for `[train] model`.

    Raises:
        TrainingError: the code failed, or the network cannot be exported.
    """
    outcome, _ = _ran(entry, room, {WEIGHTS: raw(weights)}, GRAPH)
    if GRAPH not in outcome.files:
        text = "the training code left no graph"
        raise TrainingError(text, hint="see train.py", plain=text)
    return outcome.files[GRAPH]


def _ran(
    entry: Entry, room: Room, more: dict[str, bytes], output: str
) -> tuple[sandbox.Outcome, Described]:
    config = room.config
    job = {
        "entry": entry.name,
        "schema": msgspec.to_builtins(entry.columns),
        # as sites build it: nothing of this project's own options
        "train": msgspec.to_builtins(TrainTable(entry=entry.name, seed=entry.seed)),
        "limits": msgspec.to_builtins(entry.limits),
        "monotone": {},
        "width": entry.limits.width,
    }
    try:
        with (
            sandbox.Worker(TARGET, config.train.threads) as worker,
            scratch_folder(room.scratch) as scratch,
        ):
            outcome = worker.run(
                job,
                tables=[],
                inputs=entry.code | more,
                scratch=scratch,
                limits=limits_of(config),
                required=must_be_confined(config, entry.code),
                outputs=(output,),
                hidden=room.hidden,
            )
        return outcome, msgspec.convert(outcome.result, Described)
    except failure.JobFailed as error:
        raise explained(error, config, entry.code) from error
    except msgspec.ValidationError as error:
        raise nonsense(error) from error
