"""Model files: skops under our own allow-list, ONNX on one thread; no pickle in any form.

`Model.predict` takes a feature frame (see `ml.frame`) and gives (class numbers int64 [n],
probabilities float [n, k]), both in the order of the schema's classes; a regressor has no labels
and gives (empty int64 [0], quantities float [n, m]); a model of several labels gives (int64 [n, m],
1 is yes, probabilities of yes [n, m]). The label is the model's own answer, which
need not be the likeliest class (see `core.answers`).
"""

import importlib
import sys
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd

from casemate.core import archive
from casemate.core.errors import VerificationError
from casemate.core.types import Schema
from casemate.ml import answers
from casemate.ml.skopsfile import canonical
from casemate.ml.storable import ALLOWED_TYPES

SKOPS, ONNX, NETWORK, WEIGHTS = "model.skops", "model.onnx", "network.json", "model.safetensors"
PLAIN = "plain.skops"
"""The same model without hardening, kept to show what hardening costs."""
FORMER = "former.skops"
"""The model before, whose trees training may take over."""
FILES = (SKOPS, ONNX, NETWORK, WEIGHTS)
"""Every file that a trained model may consist of."""
TINY = 1e-300
"""Instead of a probability of 0, so that its logarithm is finite; above the least normal float64
(2.2e-308).
"""
NO_LABELS = np.empty(0, dtype=np.int64)
TORCH_ADAPTER = "sklearn.externals.array_api_compat.torch"
MALFORMED = (
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    RecursionError,
    ArithmeticError,
    MemoryError,
    NotImplementedError,
    AssertionError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    SyntaxError,
    ImportError,
)
"""What readers of a damaged file raise."""


class Model(Protocol):
    """Predicts rows: what is measured, attacked and served, whatever its file is."""

    def predict(self, frame: pd.DataFrame) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """(labels int64 [n], probabilities [n, k]) for a feature frame, or (empty, quantities [n,
        m]).
        """


class Scored(Model, Protocol):
    """Predicts, and shows scores whose largest is the predicted class."""

    def scores(self, frame: pd.DataFrame) -> np.ndarray[Any, Any]:
        """Scores [n, k], without the saturation of probabilities; of a regressor its quantities [n,
        m].
        """


class SkopsModel:
    """A scikit-learn estimator, as it was read from its safe file."""

    def __init__(self, estimator: Any, order: list[int] | None = None, *, own: bool = True) -> None:
        """Wrap it.

        Args:
            estimator: fitted.
            order: the table's class number of each of the estimator's classes; default: they are
                the same.
            own: off: the label is the likeliest class, as models were measured that casemate 0.1
                signed.
        """
        self.estimator = estimator
        self.regression = not hasattr(estimator, "classes_")
        self.own = own
        self.order = (
            None if not order or order == sorted(order) else np.asarray(order, dtype=np.int64)
        )
        self._shift = None if self.regression or not own else answers.shift(estimator)

    def predict(self, frame: pd.DataFrame) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """See `Model.predict`."""
        if self.regression:
            return NO_LABELS, np.asarray(self.estimator.predict(frame), dtype=np.float64).reshape(
                len(frame), -1
            )
        probabilities = self.estimator.predict_proba(frame)
        places = (
            answers.places(self.estimator, frame, probabilities)
            if self.own
            else probabilities.argmax(axis=1)
        )
        if self.order is None:
            return places, probabilities
        return self.order[places], self._ordered(probabilities)

    def _ordered(self, columns: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """`columns` [n, k] of the estimator's classes in the order of the table's."""
        return columns if self.order is None else columns[:, np.argsort(self.order)]

    def scores(self, frame: pd.DataFrame) -> np.ndarray[Any, Any]:
        """Scores [n, k] whose largest is the predicted class: the decision function where there is
        one and it agrees.

        Probabilities of a confident model are 0 and 1 to the last bit, and an attack would see no
        slope there. A threshold of the model's own is taken off first.
        """
        labels, probabilities = self.predict(frame)
        if self.regression:
            return probabilities
        kind, taken = self._shift or ("", np.zeros(2))
        if hasattr(self.estimator, "decision_function") and kind != "probability":
            decisions = np.asarray(self.estimator.decision_function(frame), dtype=np.float64)
            decisions = (
                np.column_stack([-decisions, decisions]) / 2 if decisions.ndim == 1 else decisions
            )
            decisions = self._ordered(decisions - taken if kind else decisions)
            if (
                decisions.shape == probabilities.shape
                and (decisions.argmax(axis=1) == labels).all()
            ):
                return decisions
        logarithms = np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), TINY))
        if kind == "probability":
            logarithms = logarithms - self._ordered(taken[None, :])
        return _largest_at(logarithms, labels)


class OnnxModel:
    """An ONNX graph with one input `x` [n, d] of float64 or float32, or one input [n, 1] a
    feature.
    """

    def __init__(self, content: bytes, schema: Schema) -> None:
        self.session = onnx_session(content)
        inputs = self.session.get_inputs()
        self.names = [item.name for item in inputs]
        self.regression = schema.regression
        self.single = self.names == ["x"]
        kinds = {
            "tensor(double)": np.float64,
            "tensor(float)": np.float32,
            "tensor(string)": object,
        }
        try:
            self.kinds: list[Any] = [kinds[item.type] for item in inputs]
        except KeyError as error:
            raise VerificationError(
                f"the ONNX graph takes a {error.args[0]}",
                hint="its inputs must be float64, float32 or string",
            ) from error
        outputs = [item.type for item in self.session.get_outputs()]
        if outputs[int(not schema.regression) :][:1] not in (
            ["tensor(float)"],
            ["tensor(double)"],
        ) or (schema.regression and len(outputs) > 1):
            wanted = (
                "quantities, and nothing else"
                if schema.regression
                else "labels, and probabilities as a tensor"
            )
            raise VerificationError(
                f"the ONNX graph does not give {wanted}",
                hint=f"its outputs are {', '.join(outputs)}",
            )
        # The converter keeps the order of the features and may change their names ("a-b" becomes
        # "a_b").
        self.columns = [column.name for column in schema.features]
        if not self.single and len(self.names) != len(self.columns):
            raise VerificationError("the ONNX graph does not take the features of the schema")

    @property
    def dtype(self) -> Any:
        """The type of numbers that `predict_array` takes."""
        return self.kinds[0]

    def predict(self, frame: pd.DataFrame) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """See `Model.predict`."""
        if self.single:
            return self.predict_array(frame.to_numpy(dtype=self.dtype))
        return self.predict_columns({name: frame[name].to_numpy() for name in self.columns})

    def predict_columns(
        self, columns: dict[str, np.ndarray[Any, Any]]
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """The same for one array [n] a feature, where the graph takes them one by one."""
        named = zip(self.names, self.columns, self.kinds, strict=True)
        return self._run(
            {given: columns[name].astype(kind).reshape(-1, 1) for given, name, kind in named}
        )

    def scores(self, frame: pd.DataFrame) -> np.ndarray[Any, Any]:
        """Logarithms of the probabilities, [n, k]; quantities as they are."""
        if self.regression:
            return self.predict(frame)[1]
        return np.log(np.maximum(np.asarray(self.predict(frame)[1], dtype=np.float64), TINY))

    def predict_array(
        self, array: np.ndarray[Any, Any]
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """The same for an array [n, d] of `dtype` when all features are numeric."""
        return self._run({"x": array})

    def _run(
        self, inputs: dict[str, np.ndarray[Any, Any]]
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        found = self.session.run(None, inputs)
        if self.regression:
            return NO_LABELS, np.asarray(found[0], dtype=np.float64).reshape(
                len(next(iter(inputs.values()))), -1
            )
        return found[0], found[1]


def _largest_at(scores: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """`scores` [n, k] with the largest of each row changed for the one at its label, where the
    model answers by another rule.
    """
    largest = scores.argmax(axis=1)
    rows = np.flatnonzero(largest != labels)
    if len(rows):
        here, there = scores[rows, labels[rows]], scores[rows, largest[rows]]
        scores[rows, labels[rows]], scores[rows, largest[rows]] = there, here
    return scores


def onnx_session(content: bytes) -> Any:
    """The graph, ready to run on one thread that does not spin."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def skops_io() -> Any:
    """The module `skops.io`, whose import walks through all of scikit-learn: an adapter there would
    load torch (2.6 s), its tests pytest.
    """
    hidden = (
        []
        if "skops.io" in sys.modules
        else [name for name in (TORCH_ADAPTER, "pytest") if name not in sys.modules]
    )
    sys.modules |= dict.fromkeys(hidden)  # type: ignore[arg-type] # an import of them fails, as where they are not installed
    try:
        return importlib.import_module("skops.io")
    finally:
        for name in hidden:
            del sys.modules[name]


def dump_skops(estimator: Any) -> bytes:
    """The estimator as a skops file that is the same for equal estimators; see `canonical`."""
    return canonical(skops_io().dumps(estimator))


def untrusted_types(content: bytes, trusted: Sequence[str] = ()) -> list[str]:
    """Types in a skops file that are neither skops' defaults nor in `ALLOWED_TYPES` or `trusted`
    (qualified names); nothing is constructed.
    """
    archive.check(content)
    known = {*ALLOWED_TYPES, *trusted}
    try:
        return sorted(set(skops_io().get_untrusted_types(data=content)) - known)
    except MALFORMED as error:
        raise VerificationError(f"the model file is malformed: {type(error).__name__}") from error


def load_skops(
    content: bytes,
    order: list[int] | None = None,
    *,
    own: bool = True,
    trusted: Sequence[str] = (),
) -> SkopsModel:
    """The estimator in a skops file (see `SkopsModel`); VerificationError when it is malformed or
    holds a type that is not allowed.

    `trusted` are names of the model's own code, in the process that imported it and nowhere else.
    """
    unknown = untrusted_types(content, trusted)
    if unknown:
        raise VerificationError(
            f"the model holds types that cannot be stored safely: {', '.join(unknown[:5])}",
            hint=(
                "docs/reference/estimators.md lists what a model may consist of; classes of your"
                " own are part of it where [train] transformers names their file"
            ),
        )
    try:
        made = skops_io().loads(content, trusted=[*ALLOWED_TYPES, *trusted])
        return SkopsModel(made, order, own=own)
    except MALFORMED as error:
        raise VerificationError(f"the model file is malformed: {type(error).__name__}") from error


def load_trained(
    files: dict[str, bytes], schema: Schema, order: list[int] | None = None, *, own: bool = True
) -> Scored:
    """The model as it was trained: a scikit-learn estimator, or a torch network rebuilt from its
    listed layers.
    """
    if NETWORK in files:
        from casemate.ml.networks import load_network

        return load_network(files[NETWORK], files.get(WEIGHTS, b""), schema)
    if SKOPS not in files and ONNX in files:
        return OnnxModel(files[ONNX], schema)
    if SKOPS not in files:
        raise VerificationError(
            "the model has no model file that could be measured",
            hint="it must hold model.skops, a network or an ONNX graph",
        )
    return _stored(files[SKOPS], schema, order, own=own)


def _stored(content: bytes, schema: Schema, order: list[int] | None, *, own: bool) -> Scored:
    found = load_skops(content, order, own=own)
    if not schema.labels:
        return found
    from casemate.ml.labels import LabelsModel, parts_of

    return LabelsModel([SkopsModel(part, own=own) for part in parts_of(found.estimator, schema)])


def load(
    files: dict[str, bytes],
    serve_format: str,
    schema: Schema,
    order: list[int] | None = None,
    *,
    own: bool = True,
) -> Model:
    """The model to predict with: `onnx` or `skops`."""
    return (
        OnnxModel(files[ONNX], schema)
        if serve_format == "onnx"
        else _stored(files[SKOPS], schema, order, own=own)
    )
