"""Inside a second sandbox, without user code and without a row: read what the training process
left, and write it anew.

A model with code of the user's is written anew as well, but not constructed: its types are looked
at, and its listing is put into canonical form. The code runs beside nobody's keys or rows, in the
process that training had and in those that ask the model (docs/adr/0046).

The training process is believed nothing but the bytes of its safe model file. They are read here
under the allow-list and the limits, in a process without keys; what is kept is what this process
writes: the same estimator in canonical form, and the ONNX graph made of it. Casemate's own process
stores the bytes and never reads them (docs/adr/0028).
"""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import onnxruntime  # noqa: F401 - loaded while the training process works

from casemate.core.digest import sha256
from casemate.core.errors import Error, VerificationError
from casemate.core.sandbox.child import Channel, Watch
from casemate.core.types import Record, Schema
from casemate.ml import graph as graphs
from casemate.ml.labels import parts_of
from casemate.ml.models import (
    FILES,
    NETWORK,
    ONNX,
    PLAIN,
    SKOPS,
    WEIGHTS,
    dump_skops,
    load_skops,
    skops_io,
    untrusted_types,
)
from casemate.ml.own import code as own
from casemate.ml.own.asked import AskedModel
from casemate.ml.own.process import apart
from casemate.ml.skopsfile import canonical
from casemate.stages.train import diagram, export, imported
from casemate.stages.train.diagram import Found

skops_io()  # same
IMPORTED_SKOPS, IMPORTED_ONNX = "imported.skops", "imported.onnx"
EXPORT_SHARE = 0.5
"""Of the time limit: a converter that takes longer is given up, and the estimator itself serves."""


class Converted(Record, frozen=True, kw_only=True):
    """What this process says of what it read and wrote."""

    files: dict[str, str] = {}
    """SHA-256 of every file that it left."""
    estimator: str = ""
    """The estimator's repr, cut at 500 characters; empty for a network."""
    diagram: Found | None = None
    """What it is made of; None for a network."""
    order: list[int] = []
    """See `TrainedModel.order`."""
    export_problem: str = ""
    """Why there is no ONNX graph; empty when there is one."""
    refused: str = ""
    """Why nothing was written; empty when it was."""
    hint: str = ""
    """What to do about that."""
    own: bool = False
    """Whether the model holds classes or functions of the user's own files."""


class TooSlow(BaseException):
    """The converter took too long; no `except Exception` of a library may take it for a fault of
    its own.
    """


def main(job: dict[str, Any], channel: Channel, watch: Watch) -> dict[str, Any]:
    """Read the files among the inputs, leave canonical ones; returns a `Converted`."""
    inputs, outputs = Path(job["inputs"]), Path(job["outputs"])
    schema = msgspec.convert(job["schema"], Schema)
    known = (*FILES, PLAIN, IMPORTED_SKOPS, IMPORTED_ONNX)
    places = [*known, *(own.place_of(path.name) for path in (inputs / own.FOLDER).glob("*.py"))]
    given = {name: (inputs / name).read_bytes() for name in places if (inputs / name).exists()}
    channel.progress("exporting", 0, 1)
    try:
        files, said = converted(given, schema, job["classes"], job["seconds"], watch)
    except VerificationError as error:
        return dict(
            msgspec.to_builtins(Converted(refused=error.message[:1000], hint=error.hint[:500]))
        )
    for name, content in files.items():
        (outputs / name).write_bytes(content)
    return dict(
        msgspec.to_builtins(
            msgspec.structs.replace(
                said, files={name: sha256(content) for name, content in files.items()}
            )
        )
    )


def converted(
    given: dict[str, bytes],
    schema: Schema,
    classes: list[str],
    seconds: float,
    watch: Watch | None = None,
) -> tuple[dict[str, bytes], Converted]:
    """(canonical files by name, what to say of them).

    Args:
        given: the files that were left or imported, by name.
        schema: the pinned schema.
        classes: `[train] classes`.
        seconds: time limit of the job.
        watch: of this confined process; needed for an imported model with code of its own.

    Raises:
        VerificationError: they are malformed, beyond the limits, not on the lists, or no model of
            this table.
    """
    try:
        return _converted(given, schema, classes, seconds * EXPORT_SHARE, watch)
    except Error as error:
        raise VerificationError(error.message, hint=error.hint) from error
    except Exception as error:  # readers and converters of damaged files raise anything
        text = (
            f"the model file is malformed: {type(error).__name__}:"
            f" {' '.join(str(error).split())[:300]}"
        )
        raise VerificationError(text, hint="train or export it again") from error


def _converted(
    given: dict[str, bytes],
    schema: Schema,
    classes: list[str],
    seconds: float,
    watch: Watch | None,
) -> tuple[dict[str, bytes], Converted]:
    if IMPORTED_ONNX in given:
        return {ONNX: imported.canonical_graph(given[IMPORTED_ONNX], schema, classes)}, Converted(
            estimator="an imported ONNX graph"
        )
    if NETWORK in given:
        return _network(given, schema, seconds)
    content = given.get(SKOPS, given.get(IMPORTED_SKOPS))
    if content is None:
        raise VerificationError("there is no model file")
    carried = own.among(given)
    if set(own.names_in(carried)) & set(untrusted_types(content)):
        return _with_own_code(given, carried, schema, classes, watch)
    model = load_skops(content)
    order = imported.check_estimator(model, schema, classes) if IMPORTED_SKOPS in given else []
    return _estimator(model.estimator, schema, seconds, order, given.get(PLAIN))


def _with_own_code(
    given: dict[str, bytes],
    carried: dict[str, bytes],
    schema: Schema,
    classes: list[str],
    watch: Watch | None,
) -> tuple[dict[str, bytes], Converted]:
    """Such a model, canonical without being constructed; an imported one is asked about classes in
    a process apart.
    """
    names = own.names_in(carried)
    files = {}
    for wanted, there in ((SKOPS, (SKOPS, IMPORTED_SKOPS)), (PLAIN, (PLAIN,))):
        content = next((given[name] for name in there if name in given), None)
        if content is not None:
            unknown = untrusted_types(content, names)
            if unknown:
                raise VerificationError(
                    f"the model holds types that cannot be stored safely: {', '.join(unknown[:5])}",
                    hint="put the classes of your own into the files of [train] transformers",
                )
            files[wanted] = canonical(content)
    order: list[int] = []
    if IMPORTED_SKOPS in given and watch is not None:
        model = AskedModel(apart(watch), {SKOPS: files[SKOPS], **carried}, schema)
        order = imported.check_asked(model, schema, classes)
        model.close()
    held = sorted(set(untrusted_types(files[SKOPS])) & set(names))
    return files, Converted(
        own=True,
        order=[] if order == sorted(order) else order,
        export_problem=(
            f"{held[0]} is code of your own, which no ONNX operator stands for; scikit-learn serves"
            " the model, in a sandbox"
        ),
    )


def _estimator(
    estimator: Any, schema: Schema, seconds: float, order: list[int], plain: bytes | None
) -> tuple[dict[str, bytes], Converted]:
    for part in [estimator, *(parts_of(estimator, schema) if schema.labels else [])]:
        part.set_params(
            **{name: None for name in part.get_params() if name.rpartition("__")[2] == "n_jobs"}
        )
    files = {SKOPS: dump_skops(estimator)}
    if plain is not None:
        files[PLAIN] = dump_skops(load_skops(plain).estimator)
    onnx, problem = _exported(lambda: export.to_onnx(estimator, schema), seconds)
    if onnx:
        try:
            values = [] if schema.regression else list(estimator.classes_)
            files[ONNX] = (
                imported.class_numbers(onnx, values, order) if order else graphs.canonical(onnx)
            )
        except VerificationError as error:
            problem = error.message
    usual = not order or order == sorted(order)
    shown = " ".join(repr(estimator).split())[:500]
    return files, Converted(
        estimator=shown,
        diagram=diagram.found(estimator.estimator if schema.labels else estimator),
        order=[] if usual else order,
        export_problem=problem[:500],
    )


def _network(
    given: dict[str, bytes], schema: Schema, seconds: float
) -> tuple[dict[str, bytes], Converted]:
    from casemate.ml.networks import dump_network, load_network

    estimator = load_network(given[NETWORK], given.get(WEIGHTS, b""), schema).estimator
    description, weights = dump_network(estimator)
    files = {NETWORK: description, WEIGHTS: weights}
    onnx, problem = _exported(lambda: export.network_to_onnx(estimator, schema), seconds)
    if onnx:
        try:
            files[ONNX] = graphs.canonical(onnx)
        except VerificationError as error:
            problem = error.message
    return files, Converted(export_problem=problem[:500])


def _exported(make: Any, seconds: float) -> tuple[bytes, str]:
    """What a converter gives, or why it gave nothing."""
    try:
        with _within(seconds):
            onnx, problem = make()
    except TooSlow:
        return b"", f"the conversion to ONNX took more than {seconds:g} s"
    except (MemoryError, RecursionError) as error:
        return b"", f"the conversion to ONNX ended in {type(error).__name__}"
    return onnx, problem


@contextlib.contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Raises `TooSlow` in the block after so many seconds."""

    def stop(*_: Any) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
