"""Network files: `network.json` says which layers and limits, `model.safetensors` holds the
weights; nothing is executed.

Reading rebuilds the layers from a closed list (`core.learn.layers`), so a file can hold no code.
"""

from typing import Any

import msgspec
import numpy as np
import pandas as pd

from casemate.core.errors import VerificationError
from casemate.core.types import Record, Schema
from casemate.ml.learn.network import NetworkClassifier, torch_or_refuse

Array = np.ndarray[Any, Any]
MAX_JSON = 16 * 2**20
"""Bytes of a network's description, before it is parsed; weights lie elsewhere."""
OPSET = 18
"""As `export` asks for; every layer that is listed exists in it."""


class NetworkFile(Record, frozen=True, kw_only=True):
    """What `network.json` says of a network: its layers and how rows are encoded."""

    layers: list[tuple[str, dict[str, Any]]]
    """Layers and their arguments, in order."""
    frozen: list[str]
    """Parameters that training left as they were."""
    numbers: list[tuple[str, float, float]]
    """(name, least, greatest) per numeric feature, in the order of the inputs."""
    categories: list[tuple[str, list[str]]]
    """(name, values) per category, in the order of the inputs."""
    classes: int
    """Number of classes."""
    training: dict[str, float]
    """Epochs, batch, rate, momentum, seed: enough to train one like it."""
    version: int = 1
    """Version of this format."""


class NetworkModel:
    """A network with scores and exact gradients."""

    def __init__(self, estimator: NetworkClassifier) -> None:
        self.estimator = estimator

    def predict(self, frame: pd.DataFrame) -> tuple[Array, Array]:
        """See `Model.predict`."""
        probabilities = self.estimator.predict_proba(frame)
        return probabilities.argmax(axis=1), probabilities

    def scores(self, frame: pd.DataFrame) -> Array:
        """The logit of each class for each row, [n, k]."""
        return np.asarray(self.estimator.logits(frame), dtype=np.float64)

    def margin_gradient(self, frame: pd.DataFrame, codes: Array, names: list[str]) -> Array:
        """Gradient of the true class's logit less the best other's, by the numeric features
        `names`, float64 [n, m].
        """
        import torch

        numbers = self.estimator.numbers or {}
        rows = torch.as_tensor(self.estimator.encode(frame)).requires_grad_(True)
        logits = self.estimator.network_(rows)
        at = torch.arange(len(rows))
        true = torch.as_tensor(np.asarray(codes, dtype=np.int64))
        others = logits.clone()
        others[at, true] = -torch.inf
        (slopes,) = torch.autograd.grad((logits[at, true] - others.amax(dim=1)).sum(), rows)
        found = slopes[:, : len(numbers)].numpy().astype(np.float64) / np.array(
            [(high - low) or 1.0 for low, high in numbers.values()]
        )
        places = {name: place for place, name in enumerate(numbers)}
        return np.asarray(found[:, [places[name] for name in names]])


def dump_network(estimator: NetworkClassifier) -> tuple[bytes, bytes]:
    """(`network.json`, `model.safetensors`) of a fitted network."""
    from safetensors.torch import save

    told = NetworkFile(
        layers=[(name, dict(arguments)) for name, arguments in estimator.layers],
        frozen=sorted(estimator.frozen or {}),
        numbers=[
            (name, float(low), float(high))
            for name, (low, high) in (estimator.numbers or {}).items()
        ],
        categories=list((estimator.categories or {}).items()),
        classes=len(estimator.classes_),
        training={
            name: float(getattr(estimator, name))
            for name in ("epochs", "batch", "rate", "momentum", "seed")
        },
    )
    weights = {
        name: value.detach().contiguous() for name, value in estimator.network_.state_dict().items()
    }
    return told.to_json(), save(weights)


def load_network(description: bytes, weights: bytes, schema: Schema) -> NetworkModel:
    """The network in the two files.

    Raises:
        VerificationError: a layer is not allowed, shapes do not fit, or the features are not the
            schema's.
        BackendError: torch is not installed.
    """
    torch_or_refuse()
    from safetensors import SafetensorError
    from safetensors.torch import load

    from casemate.ml.learn.layers import build

    if len(description) > MAX_JSON:
        raise VerificationError("network.json is larger than it may be")
    try:
        told = msgspec.json.decode(description, type=NetworkFile)
        network = build([list(layer) for layer in told.layers])
        values = load(weights)
        network.load_state_dict(values, strict=True)
    except (
        msgspec.MsgspecError,
        SafetensorError,
        RuntimeError,
        ValueError,
        OSError,
        KeyError,
    ) as error:
        raise VerificationError(f"the network files are malformed: {str(error)[:300]}") from error
    features = [column.name for column in schema.features]
    if sorted(name for name, *_ in [*told.numbers, *told.categories]) != sorted(
        features
    ) or told.classes != len(schema.classes):
        raise VerificationError("the network does not take the features and classes of the schema")
    settings: dict[str, Any] = {
        name: int(value) if name in ("epochs", "batch", "seed") else value
        for name, value in told.training.items()
    }
    estimator = NetworkClassifier(
        layers=[list(layer) for layer in told.layers],
        frozen={name: values[name].numpy() for name in told.frozen},
        numbers={name: (low, high) for name, low, high in told.numbers},
        categories=dict(told.categories),
        **settings,
    )
    estimator.classes_ = np.arange(told.classes)
    estimator.network_ = network.eval()
    return NetworkModel(estimator)


def to_onnx(estimator: NetworkClassifier, schema: Schema) -> bytes:
    """ONNX with one float32 input `x` [n, d] (numbers only), outputs labels and probabilities;
    scaling is part of the graph.

    Raises:
        VerificationError: the network has categories, which this export does not know.
    """
    import io
    import warnings

    import torch

    if estimator.categories:
        raise VerificationError(
            "networks with categories are not exported yet",
            hint="encode the categories as numbers in the source",
        )
    names = list(estimator.numbers or {})
    order = [names.index(column.name) for column in schema.features]
    if order != list(range(len(names))):
        raise VerificationError("the network's features are in another order than the schema's")
    limits = np.array(list((estimator.numbers or {}).values()), dtype=np.float32)

    class Whole(torch.nn.Module):  # type: ignore[misc]
        """Scaling, network and probabilities as one graph."""

        def __init__(self) -> None:
            super().__init__()
            self.network = estimator.network_
            self.register_buffer("low", torch.as_tensor(limits[:, 0]))
            self.register_buffer(
                "span",
                torch.as_tensor(
                    np.where(limits[:, 1] > limits[:, 0], limits[:, 1] - limits[:, 0], 1.0).astype(
                        np.float32
                    )
                ),
            )

        def forward(self, x: Any) -> Any:
            """Raw features [n, d] to (labels [n], probabilities [n, k])."""
            scaled = ((x - self.low) / self.span).clamp(0, 1)
            scaled = torch.where(torch.isnan(scaled), torch.full_like(scaled, 0.5), scaled)
            probabilities = torch.softmax(self.network(scaled), dim=1)
            return probabilities.argmax(dim=1), probabilities

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # the exporter talks about its successor, which takes 70 times as long
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Whole().eval(),
            (torch.zeros(2, len(names)),),
            buffer,
            input_names=["x"],
            output_names=["label", "probabilities"],
            dynamic_axes={"x": {0: "n"}, "label": {0: "n"}, "probabilities": {0: "n"}},
            opset_version=OPSET,
            dynamo=False,
        )
    return buffer.getvalue()
