"""Inside the process that holds a model's own code: read the model from its signed bytes, and
answer about rows until nobody asks any more.

Two ways lead here. A gateway has a sandbox for each such model (`main`). Where a confined process
measures a model, the code gets a process beside it (`apart`), which has neither its rows nor its
files: it was forked before there were any, its descriptors are closed, and a second Landlock domain
lets it open nothing but Python's own folders, and look into no process above it.
"""

import os
import sys
from typing import Any

import numpy as np

from casemate.core.errors import SandboxError
from casemate.core.sandbox import confine
from casemate.core.sandbox.child import Channel, Watch
from casemate.ml import models
from casemate.ml.learn.binning import allow_empty_columns
from casemate.ml.models import SkopsModel, load_skops
from casemate.ml.own import code
from casemate.ml.own.line import Gone, Head, Line, numbers, unpacked
from casemate.ml.refit import refitted

models.skops_io()  # loaded before anybody asks
allow_empty_columns()
LONGEST = 500
"""Characters of a fault's text: what a person reads of it."""


class _Reports:
    """Findings go the same way as answers."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def send(self, **message: Any) -> None:
        """See `Channel.send`."""
        told = {name: str(value) for name, value in message.get("finding", {}).items()}
        self._line.send(Head(what="finding", finding=told))


def main(job: dict[str, Any], _channel: Channel, watch: Watch) -> dict[str, Any]:
    """Answer in a sandbox of its own; the job's tables are the two ends of the line."""
    read, write = job["tables"]
    sys.addaudithook(watch)
    _answer(Line(read, write))
    return {}


def apart(watch: Watch) -> Line:
    """Start a process beside this confined one, before it holds anything; the line to it.

    Raises:
        SandboxError: without Landlock it would not be apart.
    """
    if confine.landlock_abi() == 0:
        raise SandboxError(
            "a model with code of its own can be measured only where Landlock works",
            hint="use Linux 5.13 or newer with Landlock, or remove [train] transformers",
        )
    theirs_read, write = os.pipe()
    read, theirs_write = os.pipe()
    if os.fork():
        os.close(theirs_read)
        os.close(theirs_write)
        return Line(read, write)
    status = 1
    try:
        confine.die_with_parent()
        confine.close_other_descriptors({0, 1, 2, theirs_read, theirs_write})
        os.dup2(2, 1)
        line = Line(theirs_read, theirs_write)
        folders = [path for path in watch.read if path not in watch.write]
        if confine.landlock(folders, [os.devnull]):
            reports: Any = _Reports(line)
            sys.addaudithook(Watch(reports, folders, [os.devnull]))
            _answer(line)
            status = 0
    except Gone:
        status = 0
    finally:
        os._exit(status)


def _answer(line: Line) -> None:
    """Questions and answers, until the other side closes its end."""
    model: SkopsModel | None = None
    while True:
        try:
            head, parts = line.receive()
        except Gone:
            return
        try:
            if head.what == "load":
                model = _loaded(head, parts)
                line.send(_described(model))
            elif model is not None:
                answer, shape = _ASKED[head.what](model, head, parts)
                line.send(Head(what="done", shape=shape), answer)
        except Gone:
            return
        except BaseException as error:  # noqa: BLE001 - code of the user's may raise anything
            text = f"{type(error).__name__}: {' '.join(str(error).split())}"
            line.send(Head(what="failed", text=text[:LONGEST]))


def _loaded(head: Head, parts: list[bytes]) -> SkopsModel:
    files = dict(zip(head.names, parts[1:], strict=True))
    code.install(files)
    return load_skops(parts[0], head.order, own=head.own, trusted=code.names_in(files))


def _described(model: SkopsModel) -> Head:
    classes = [] if model.regression else np.asarray(model.estimator.classes_).tolist()
    names = [str(name) for name in getattr(model.estimator, "feature_names_in_", [])]
    return Head(what="done", regression=model.regression, classes=classes, names=names)


def _predict(model: SkopsModel, _head: Head, parts: list[bytes]) -> tuple[list[bytes], list[int]]:
    labels, found = model.predict(unpacked(parts[0]))
    return [np.ravel(labels).astype("<i8").tobytes(), _bytes(found)], list(np.shape(found))


def _scores(model: SkopsModel, _head: Head, parts: list[bytes]) -> tuple[list[bytes], list[int]]:
    found = model.scores(unpacked(parts[0]))
    return [_bytes(found)], list(np.shape(found))


def _refit(model: SkopsModel, head: Head, parts: list[bytes]) -> tuple[list[bytes], list[int]]:
    taught, asked = unpacked(parts[0]), unpacked(parts[3])
    target = numbers(parts[1], "<f8" if model.regression else "<i8", head.shape)
    weights = numbers(parts[2], "<f8", [-1]) if parts[2] else None
    found = refitted(model.estimator, (taught, target, weights), asked)
    return [_bytes(found)], list(np.shape(found))


_ASKED = {"predict": _predict, "scores": _scores, "refit": _refit}


def _bytes(found: Any) -> bytes:
    return np.ascontiguousarray(np.asarray(found, dtype="<f8")).tobytes()
