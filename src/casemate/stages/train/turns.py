"""What a site computes of a question, seen from outside: a confined process for each, forked from
one that is warm, and numbers that are looked at before anybody believes them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from casemate.config import TrainTable
from casemate.core.errors import TrainingError
from casemate.core.files import scratch_folder
from casemate.core.sandbox import failure
from casemate.core.sandbox import run as sandbox
from casemate.core.sandbox.server import ForkServer, HeldTable
from casemate.core.types import Record, Schema
from casemate.ml.federated.encoding import Limits
from casemate.ml.federated.updates import Layout
from casemate.stages.train.answer import nonsense
from casemate.stages.train.member import ANSWER, BUILT, CONTROL, OWN, WEIGHTS, Said, Task

Array = np.ndarray[Any, Any]
LINEAR, NETWORK, BUILDING = (
    "casemate.stages.train.member:main",
    "casemate.stages.train.member_network:main",
    "casemate.stages.train.member_network:building",
)


class Found(Record, frozen=True, kw_only=True):
    """What a site computed for a round; it is kept whole, and part of it is sent."""

    vector: bytes
    """What was asked for, float64 little-endian."""
    rows: int
    """That it was computed on."""
    control: bytes = b""
    """SCAFFOLD's difference, float64; sent too."""
    own: bytes = b""
    """The site's own control variate, float64; never sent."""
    counted: float | None = None
    """How many subjects there are, with noise; drawn once for all rounds."""
    of: str = ""
    """Digest of the rows that it was computed on, see `ownrows.OwnRows`."""


@dataclass(frozen=True)
class Model:
    """What of a job the processes need."""

    network: bool
    """Whether the job's code builds it."""
    entry: str
    code: dict[str, bytes]
    schema: Schema
    """Features and target, as the charter has them."""
    layout: Layout
    limits: Limits
    """Of the features, as the charter has them."""
    seed: int


@dataclass(frozen=True)
class Numbers:
    """What comes with a question, float64; empty where it needs none."""

    weights: bytes = b""
    control: bytes = b""
    own: bytes = b""


@dataclass(frozen=True)
class Room:
    """What the processes may use."""

    scratch: Path
    """Where an empty folder can be made."""
    hidden: list[Path]
    """See `Worker.run`."""
    limits: failure.JobLimits
    required: bool
    """Refuse where a kernel cannot confine."""
    threads: int


class Turns:
    """A site's rows, and the processes that compute on them."""

    def __init__(self, model: Model, room: Room) -> None:
        """Warm up; rows are given later.

        Args:
            model: what is computed.
            room: what it may use.
        """
        self.model, self.room = model, room
        self._target = NETWORK if model.network else LINEAR
        targets = [self._target, BUILDING] if model.network else [self._target]
        self._server = ForkServer(targets, room.threads)
        self._rows: HeldTable | None = None
        self._inputs: dict[str, bytes] | None = None

    def hold(self, rows: pa.Table) -> None:
        """Compute on these from now on: features, target, and subjects where there are some."""
        self._drop()
        self._rows = HeldTable(rows)

    def _drop(self) -> None:
        if self._rows is not None:
            self._rows.close()
            self._rows = None

    def close(self) -> None:
        """End everything."""
        self._drop()
        self._server.close()

    def built(self) -> dict[str, bytes]:
        """Files of the network, which the job's code builds once, in a process without a row; of a
        linear model none.

        Raises:
            TrainingError: the code failed, or builds no such network.
            SandboxError: the kernel cannot confine it and `[sandbox] mode` is "require".
        """
        if self._inputs is None:
            found: dict[str, bytes] = {}
            if self.model.network:
                found = self._ran(BUILDING, {}, [], self.model.code, BUILT).files
                if set(found) != set(BUILT):
                    text = "the job's code left no network"
                    raise TrainingError(text, hint="see the code of the job", plain=text)
            self._inputs = found
        return self._inputs

    def _ran(
        self,
        target: str,
        more: dict[str, Any],
        tables: list[Any],
        inputs: dict[str, bytes],
        outputs: tuple[str, ...],
    ) -> sandbox.Outcome:
        model, room = self.model, self.room
        job = {
            "schema": msgspec.to_builtins(model.schema),
            "entry": model.entry,
            "layout": msgspec.to_builtins(model.layout),
            "limits": msgspec.to_builtins(model.limits),
            "train": msgspec.to_builtins(TrainTable(entry=model.entry, seed=model.seed)),
            "monotone": {},
        }
        with scratch_folder(room.scratch) as scratch:
            return sandbox.Worker(target, server=self._server).run(
                job | more,
                tables=tables,
                inputs=inputs,
                outputs=outputs,
                scratch=scratch,
                limits=room.limits,
                required=room.required,
                hidden=room.hidden,
            )

    def __call__(self, task: Task, numbers: Numbers, size: int) -> Found:
        """The answer to a question.

        Args:
            task: which.
            numbers: that come with it.
            size: numbers that the answer must have.

        Raises:
            TrainingError: the job's code failed, or what it left is no such answer.
            SandboxError: the kernel cannot confine it and `[sandbox] mode` is "require".
        """
        assert self._rows is not None  # noqa: S101 - whoever answers has rows
        given = {WEIGHTS: numbers.weights, CONTROL: numbers.control, OWN: numbers.own}
        told = {
            name: np.frombuffer(content, dtype="<f8") for name, content in given.items() if content
        }
        inputs = self.built()
        try:
            outcome = self._ran(
                self._target,
                {"task": msgspec.to_builtins(task)},
                [self._rows, pa.table(told)],
                inputs,
                (ANSWER, CONTROL, OWN),
            )
            said = msgspec.convert(outcome.result, Said)
        except msgspec.ValidationError as error:
            raise nonsense(error) from error
        files = outcome.files
        # whoever asks looks whether it fits: that it does not is an answer, too
        _require(files.get(ANSWER, b""), size, finite=False)
        for name in (CONTROL, OWN):
            if name in files:
                _require(files[name], self.model.layout.size)
        return Found(
            vector=files[ANSWER],
            rows=said.rows,
            control=files.get(CONTROL, b""),
            own=files.get(OWN, b""),
            counted=said.counted,
        )


def _require(content: bytes, size: int, *, finite: bool = True) -> None:
    """Nothing; TrainingError where this is not so many numbers, or not `finite` ones."""
    if len(content) != 8 * size:
        text = f"the answer has {len(content) // 8} numbers, and {size} are asked for"
        raise TrainingError(text, hint="see the code of the job", plain=text)
    if finite and not np.isfinite(np.frombuffer(content, dtype="<f8")).all():
        text = "the answer holds NaN or infinity"
        raise TrainingError(
            text, hint="a smaller learning rate, or a look at this site's rows", plain=text
        )
