"""Open Inference Protocol V2, REST with tensors in JSON or, by the binary tensor extension, as
bytes behind the JSON.

Spec: https://github.com/kserve/open-inference-protocol, extension_binary_data of the V2 dialect
that Triton speaks. A request holds either one numeric tensor [n, d] with the features in the
schema's order, or one tensor [n] or [n, 1] a feature by name: a number may come as BYTES, a
category as BOOL or a number; or the columns of the training table as it was written (BYTES), of
which the metadata's parameters tell (`raw`). JSON null, or NaN in bytes, is a missing value. The
reply holds `label` (BYTES, class names) and `probabilities` (FP32 [n, k]), or of a regressor
`prediction` (FP64 [n], of several targets [n, m]); of several labels `label` is BYTES [n, m] and
`probabilities` are those of yes; noisy counts are `count` (INT64 [k]) beside all
labels.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from casemate.core.errors import RequestError
from casemate.serve.endpoint import Endpoint
from casemate.serve.outputs import NAMES, shape_of
from casemate.serve.protocols.columns import asked_of, raw_names
from casemate.serve.protocols.interface import Asked, Encode, Read
from casemate.serve.protocols.tensors import DTYPES, Tensor, columns, datatype, matrix, packed, raw
from casemate.serve.types import BINARY, JSON, Answer, Headers

OUTPUTS = ("label", "probabilities", "prediction", "count")
"""What is sent to a caller who names no outputs; what is hidden from them is left out."""


class TensorParameters(msgspec.Struct, frozen=True):
    """Of a tensor."""

    binary_data_size: int | None = None


class OutputParameters(msgspec.Struct, frozen=True):
    """Of an output that is asked for."""

    binary_data: bool | None = None


class InferParameters(msgspec.Struct, frozen=True):
    """Of a call."""

    binary_data_output: bool = False
    subject: str | int | None = None
    """Whom all rows are about, as the table writes it in the column `[data] subject`."""


class TensorJson(msgspec.Struct, frozen=True):
    """One tensor on the wire; without `data` its bytes follow the JSON."""

    name: str
    shape: list[int]
    datatype: Annotated[str, Meta(extra_json_schema={"enum": [*DTYPES, "BYTES"]})]
    data: Annotated[msgspec.Raw | msgspec.UnsetType, Meta(extra_json_schema={"type": "array"})] = (
        msgspec.UNSET
    )
    parameters: TensorParameters | None = None


class WantedOutput(msgspec.Struct, frozen=True):
    """An output that is asked for."""

    name: str
    parameters: OutputParameters | None = None


class InferBody(msgspec.Struct, frozen=True):
    """The JSON part of a call to `infer`; unknown fields (parameters) are allowed by the
    protocol.
    """

    inputs: Annotated[list[TensorJson], Meta(extra_json_schema={"minItems": 1})]
    id: str | None = None
    outputs: list[WantedOutput] | None = None
    parameters: InferParameters | None = None


@dataclass(frozen=True)
class InferRequest:
    """A call to `infer`."""

    inputs: list[Tensor]
    id: str | None
    outputs: list[tuple[str, bool]]
    """Name of each output that the caller asks for, and whether it is to be bytes."""
    subject: str | int | None = None
    """Whom all rows are about."""


_REQUEST = msgspec.json.Decoder(InferBody)


def decode(body: bytes, header: int | None = None) -> InferRequest:
    """The request in `body`.

    Args:
        body: JSON, and behind it the tensors that are bytes.
        header: length of the JSON, when the caller says that there is more.

    Raises:
        RequestError: it is not JSON of the right shape, has NaN, nests too deep, or the sizes do
            not add up.
    """
    if header is None:
        return _filled(_parsed(body), memoryview(b""))
    try:
        if not 0 <= header <= len(body):
            raise RequestError(
                f"Inference-Header-Content-Length is {header}, the body has {len(body)} bytes"
            )
        return _filled(_parsed(body[:header]), memoryview(body)[header:])
    except RequestError:
        # tritonclient keeps the header of an earlier call when the caller uses its dict of headers
        # again.
        try:
            return _filled(_parsed(body), memoryview(b""))
        except RequestError:
            pass
        raise


def _parsed(body: bytes) -> InferBody:
    try:
        return _REQUEST.decode(body)
    except (msgspec.MsgspecError, ValueError) as error:
        raise RequestError(f"the body is not an inference request: {error}") from error
    except RecursionError as error:
        raise RequestError("the body is nested too deep") from error


def _filled(request: InferBody, rest: memoryview) -> InferRequest:
    """The request with the bytes of its tensors, which follow in the order of the inputs."""
    inputs = []
    for tensor in request.inputs:
        size = tensor.parameters.binary_data_size if tensor.parameters else None
        if (size is None) == (tensor.data is msgspec.UNSET):
            raise RequestError(f"input {tensor.name[:100]!r}: give data or binary_data_size")
        if size is None:
            inputs.append(
                Tensor(tensor.name, tensor.shape, tensor.datatype, bytes(tensor.data), binary=False)  # type: ignore[arg-type]
            )
            continue
        if not 0 <= size <= len(rest):
            raise RequestError(
                f"input {tensor.name[:100]!r}: binary_data_size is {size}, {len(rest)} bytes are"
                " left"
            )
        inputs.append(Tensor(tensor.name, tensor.shape, tensor.datatype, rest[:size], binary=True))
        rest = rest[size:]
    if len(rest):
        raise RequestError(f"{len(rest)} bytes are left over behind the tensors")
    usual = request.parameters is not None and request.parameters.binary_data_output
    subject = None if request.parameters is None else request.parameters.subject
    if not request.outputs:
        return InferRequest(inputs, request.id, [(name, usual) for name in OUTPUTS], subject)
    said = [
        (one.name, one.parameters.binary_data if one.parameters else None)
        for one in request.outputs
    ]
    wanted = [(name, usual if binary is None else binary) for name, binary in said]
    return InferRequest(inputs, request.id, wanted, subject)


def read(endpoint: Endpoint, name: str, body: bytes, header: int | None, max_rows: int) -> Asked:
    """A call to `infer` of the model that callers know as `name`; RequestError when it does not fit
    the model's inputs.
    """
    request = decode(body, header)
    return understood(
        endpoint,
        request,
        max_rows,
        lambda endpoint, answer: encode(endpoint, name, answer, request),
    )


def understood(endpoint: Endpoint, request: InferRequest, max_rows: int, encode: Encode) -> Asked:
    """The rows of a request; RequestError when it does not fit the model's inputs.

    Args:
        endpoint: the model.
        request: from JSON or gRPC.
        max_rows: that one request may have.
        encode: writes the answer.
    """
    unknown = [output for output, _ in request.outputs if output not in NAMES]
    if unknown:
        raise RequestError(f"no output called {unknown[0][:100]!r}; outputs: {', '.join(NAMES)}")
    if len({output for output, _ in request.outputs}) != len(request.outputs):
        raise RequestError("an output is asked for twice")
    features = endpoint.features
    if not request.inputs:
        raise RequestError("the request has no inputs")
    first = request.inputs[0]
    by_name = first.name in raw_names(endpoint) or (
        len(features) == 1 and first.name == features[0].name
    )
    if len(request.inputs) == 1 and len(first.shape) >= 2 and not by_name:
        found = Read(matrix(endpoint, first, max_rows))
    else:
        found = columns(endpoint, request.inputs, max_rows)
    return asked_of(endpoint, found, request.subject, encode)


def encode(
    endpoint: Endpoint, called: str, answer: Answer, request: InferRequest
) -> tuple[Headers, bytes]:
    """(headers, body of the reply)."""
    outputs, parts = [], []
    for name, binary in request.outputs:
        values = answer.outputs.get(name)
        if values is None:
            continue
        text = isinstance(values, list)
        output: dict[str, Any] = {
            "name": name,
            "shape": shape_of(endpoint, name, values) if text else list(values.shape),
            "datatype": datatype(values),
        }
        if binary:
            parts.append(packed(values) if text else raw(values))
            output["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            output["data"] = values if text else values.ravel().tolist()
        outputs.append(output)
    reply: dict[str, Any] = {
        "model_name": called,
        "model_version": endpoint.version,
        "outputs": outputs,
    }
    if request.id is not None:
        reply["id"] = request.id
    if answer.noticed:
        reply["parameters"] = answer.noticed
    told = msgspec.json.encode(reply)
    if not parts:
        return JSON, told
    return [*BINARY, (b"inference-header-content-length", b"%d" % len(told))], b"".join(
        [told, *parts]
    )


def server(version: str, extensions: list[str], epoch: int) -> dict[str, Any]:
    """The metadata of the gateway itself; `access_epoch`: up to which change it knows who may act,
    and has forgotten what it had verified before.
    """
    own = {"version": version, "extensions": extensions, "access_epoch": epoch}
    return {"name": "casemate", **own}


def metadata(endpoint: Endpoint, name: str, versions: list[str]) -> dict[str, Any]:
    """The metadata of a model under the name that callers use: one input a feature; label and
    probabilities, or the prediction.
    """
    targets = endpoint.schema.targets
    outputs = [
        {"name": "label", "datatype": "BYTES", "shape": [-1]},
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, len(endpoint.classes)]},
    ]
    if endpoint.labels:
        outputs[0]["shape"] = [-1, len(targets)]
    if endpoint.regression:
        outputs = [
            {
                "name": "prediction",
                "datatype": "FP64",
                "shape": [-1] if len(targets) == 1 else [-1, len(targets)],
            }
        ]
    if endpoint.label_only:
        outputs = [outputs[0] | {"name": "label", "datatype": "BYTES"}]
    return {
        "name": name,
        "versions": versions,
        "platform": f"casemate_{endpoint.card.serve_format}",
        "inputs": [
            {
                "name": column.name,
                "datatype": "BYTES" if column.type == "category" else "FP64",
                "shape": [-1],
            }
            for column in endpoint.features
        ],
        "outputs": outputs,
        "parameters": (
            (
                {"targets": targets}
                if endpoint.regression
                else {"labels": targets}
                if endpoint.labels
                else {"classes": endpoint.classes}
            )
            | {"signer": endpoint.fingerprint, "digest": endpoint.digest}
            | ({} if endpoint.raw is None else {"raw": endpoint.raw.described})
        ),
    }
