"""A model with code of its own, asked in the process that holds the code."""

import builtins
import threading
from collections.abc import Callable

import numpy as np
import pandas as pd

from casemate.core.errors import VerificationError
from casemate.core.types import Schema
from casemate.ml.models import NO_LABELS, SKOPS
from casemate.ml.own import code
from casemate.ml.own.line import Array, Gone, Head, Line, Silent, numbers, packed

MOST_FINDINGS = 1000
"""Findings between two answers that are listened to: more than an honest model has in all."""


NONSENSE = "the model's own code gave no answer that is understood"
_ENDS: dict[type[Exception], str] = {
    Gone: "the process of the model's own code ended",
    Silent: "the model's own code came to no end",
}


class OwnCodeFailed(RuntimeError):
    """The model's own code raised something, ended its process, or answered with nonsense.

    Its text quotes nothing that the code said, which may hold rows: of an exception only a name of
    Python's own.
    """

    def __init__(self, what: str, said: str = "") -> None:
        kind = said.partition(":")[0]
        known = isinstance(getattr(builtins, kind, None), type)
        missing = "; the model does not take missing values" if "contains NaN" in said else ""
        super().__init__(f"{what}: {kind}{missing}" if known else what)


class AskedModel:
    """See `ml.models.Scored`; what it computes, another process does."""

    def __init__(
        self,
        line: Line,
        files: dict[str, bytes],
        schema: Schema,
        order: list[int] | None = None,
        *,
        own: bool = True,
        heard: Callable[[dict[str, str]], None] = lambda _: None,
    ) -> None:
        """Hand the model over.

        Args:
            line: to a process that has not been asked anything.
            files: the model's, its code among them.
            schema: pinned.
            order: see `SkopsModel`.
            own: see `SkopsModel`.
            heard: hears of what the code tried; see `core.sandbox.child.Watch`.

        Raises:
            VerificationError: the process could not read the model.
        """
        self._line, self._heard, self._lock = line, heard, threading.Lock()
        self.ended = ""
        """Why it cannot be asked any more: its process ended, or what it says is not understood."""
        self._width = len(schema.targets) if schema.regression else len(schema.classes)
        carried = code.among(files)
        head = Head(what="load", names=list(carried), order=list(order or []), own=own)
        try:
            said, _ = self._asked(head, [files[SKOPS], *carried.values()], 0)
        except OwnCodeFailed as error:
            raise VerificationError(
                f"the model could not be read with its own code: {error}",
                hint="[train] transformers names that code: what it does when it is imported must"
                " work without files, network and rows",
            ) from error
        self.regression = said.regression
        self.classes = said.classes
        """What the estimator calls its classes."""
        self.features = said.names
        """The features that the estimator wants, if it says so."""

    def predict(self, frame: pd.DataFrame) -> tuple[Array, Array]:
        """See `Model.predict`; OwnCodeFailed when there is no sound answer."""
        said, parts = self._ask_about("predict", frame, 2)
        labels = self._numbers(parts[0], "<i8", [0 if self.regression else len(frame)])
        found = self._table(said, parts[1], len(frame))
        return (NO_LABELS if self.regression else labels), found

    def scores(self, frame: pd.DataFrame) -> Array:
        """See `Scored.scores`; OwnCodeFailed when there is no sound answer."""
        said, parts = self._ask_about("scores", frame, 1)
        return self._table(said, parts[0], len(frame))

    def refitted(
        self, taught: tuple[pd.DataFrame, Array, Array | None], asked: pd.DataFrame
    ) -> Array:
        """See `refit.refitted`; whoever asks this shows the code the labels, so it must not be the
        process whose answers are measured.
        """
        frame, target, weights = taught
        kind = "<f8" if self.regression else "<i8"
        parts = [
            packed(frame),
            np.ascontiguousarray(target.astype(kind)).tobytes(),
            b"" if weights is None else weights.astype("<f8").tobytes(),
            packed(asked),
        ]
        head = Head(what="refit", shape=list(target.shape))
        said, found = self._asked(head, parts, 8 * len(asked) * max(self._width, 1))
        return self._table(said, found[0] if found else b"", len(asked), narrower=True)

    def close(self) -> None:
        """Ask no more: the process ends."""
        self._line.close()

    def _ask_about(self, what: str, frame: pd.DataFrame, parts: int) -> tuple[Head, list[bytes]]:
        most = 8 * len(frame) * (self._width + 1)
        said, found = self._asked(Head(what=what), [packed(frame)], most)
        if len(found) != parts:
            raise OwnCodeFailed(NONSENSE)
        return said, found

    def _asked(self, head: Head, parts: list[bytes], most: int) -> tuple[Head, list[bytes]]:
        with self._lock:
            try:
                self._line.send(head, parts)
                for _ in range(MOST_FINDINGS):
                    said, found = self._line.receive(most)
                    if said.what != "finding":
                        break
                    self._heard(said.finding)
            except (Gone, Silent, ValueError) as error:
                self.ended = _ENDS.get(type(error), NONSENSE)
                self.close()
                raise OwnCodeFailed(self.ended) from error
        if said.what != "done":
            raise OwnCodeFailed("the model's own code failed", said.text)
        return said, found

    def _table(self, said: Head, content: bytes, rows: int, *, narrower: bool = False) -> Array:
        """Numbers [rows, width]; `narrower`: of the first classes only."""
        shape = said.shape
        fits = len(shape) == 2 and shape[0] == rows
        if not fits or not (shape[1] == self._width or (narrower and 0 < shape[1] < self._width)):
            raise OwnCodeFailed(f"{NONSENSE}: {shape} to {rows} rows of {self._width} outputs")
        return self._numbers(content, "<f8", shape)

    def _numbers(self, content: bytes, kind: str, shape: list[int]) -> Array:
        try:
            return numbers(content, kind, shape)
        except ValueError as error:
            raise OwnCodeFailed(f"{NONSENSE}: another number of numbers") from error
