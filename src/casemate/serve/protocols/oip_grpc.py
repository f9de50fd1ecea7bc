"""The messages of the Open Inference Protocol V2 over gRPC.

Spec: https://github.com/kserve/open-inference-protocol,
specification/protocol/open_inference_grpc.proto. The messages live in a pool of their own, so that
a client library with the same names can be imported beside them.
"""

import struct
from typing import Any

import msgspec
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.message import DecodeError

from casemate.core.errors import RequestError
from casemate.serve.endpoint import Endpoint
from casemate.serve.outputs import shape_of
from casemate.serve.protocols import oip
from casemate.serve.protocols import tensors as wire
from casemate.serve.protocols.interface import Asked
from casemate.serve.types import Answer, Headers

PACKAGE, SERVICE = "inference", "inference.GRPCInferenceService"
_TYPES = descriptor_pb2.FieldDescriptorProto
_NAMED = {1: ("name", "string"), 2: ("version", "string")}
_TENSOR = {
    1: ("name", "string"),
    2: ("datatype", "string"),
    3: ("shape", "repeated int64"),
    4: ("parameters", "map InferParameter"),
    5: ("contents", "InferTensorContents"),
}
_MESSAGES: dict[str, dict[int, tuple[str, str]]] = {
    "ServerLiveRequest": {},
    "ServerLiveResponse": {1: ("live", "bool")},
    "ServerReadyRequest": {},
    "ServerReadyResponse": {1: ("ready", "bool")},
    "ModelReadyRequest": _NAMED,
    "ModelReadyResponse": {1: ("ready", "bool")},
    "ServerMetadataRequest": {},
    "ServerMetadataResponse": {
        1: ("name", "string"),
        2: ("version", "string"),
        3: ("extensions", "repeated string"),
    },
    "ModelMetadataRequest": _NAMED,
    "ModelMetadataResponse.TensorMetadata": {
        1: ("name", "string"),
        2: ("datatype", "string"),
        3: ("shape", "repeated int64"),
    },
    "ModelMetadataResponse": {
        1: ("name", "string"),
        2: ("versions", "repeated string"),
        3: ("platform", "string"),
        4: ("inputs", "repeated ModelMetadataResponse.TensorMetadata"),
        5: ("outputs", "repeated ModelMetadataResponse.TensorMetadata"),
        6: ("properties", "map string"),
    },
    "InferParameter": {
        1: ("bool_param", "bool"),
        2: ("int64_param", "int64"),
        3: ("string_param", "string"),
        4: ("double_param", "double"),
        5: ("uint64_param", "uint64"),
    },
    "InferTensorContents": {
        1: ("bool_contents", "repeated bool"),
        2: ("int_contents", "repeated int32"),
        3: ("int64_contents", "repeated int64"),
        4: ("uint_contents", "repeated uint32"),
        5: ("uint64_contents", "repeated uint64"),
        6: ("fp32_contents", "repeated float"),
        7: ("fp64_contents", "repeated double"),
        8: ("bytes_contents", "repeated bytes"),
    },
    "ModelInferRequest.InferInputTensor": _TENSOR,
    "ModelInferRequest.InferRequestedOutputTensor": {
        1: ("name", "string"),
        2: ("parameters", "map InferParameter"),
    },
    "ModelInferRequest": {
        1: ("model_name", "string"),
        2: ("model_version", "string"),
        3: ("id", "string"),
        4: ("parameters", "map InferParameter"),
        5: ("inputs", "repeated ModelInferRequest.InferInputTensor"),
        6: ("outputs", "repeated ModelInferRequest.InferRequestedOutputTensor"),
        7: ("raw_input_contents", "repeated bytes"),
    },
    "ModelInferResponse.InferOutputTensor": _TENSOR,
    "ModelInferResponse": {
        1: ("model_name", "string"),
        2: ("model_version", "string"),
        3: ("id", "string"),
        4: ("parameters", "map InferParameter"),
        5: ("outputs", "repeated ModelInferResponse.InferOutputTensor"),
        6: ("raw_output_contents", "repeated bytes"),
    },
}
"""Per message its fields: number, name and type as a .proto file writes it; `map` is one from
strings.
"""
CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Where the values of each datatype lie when they are not raw bytes."""


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="casemate/open_inference_grpc.proto", package=PACKAGE, syntax="proto3"
    )
    made: dict[str, Any] = {}
    for name in sorted(_MESSAGES, key=lambda name: name.count(".")):
        outer, _, own = name.rpartition(".")
        made[name] = (made[outer].nested_type if outer else file.message_type).add(name=own)
    for name, fields in _MESSAGES.items():
        for number, (label, kind) in fields.items():
            field = made[name].field.add(
                name=label,
                number=number,
                label=_TYPES.LABEL_REPEATED if " " in kind else _TYPES.LABEL_OPTIONAL,
            )
            of = kind.rpartition(" ")[2]
            if kind.startswith("map "):
                entry = made[name].nested_type.add(name=f"{label.title()}Entry")
                entry.options.map_entry = True
                entry.field.add(
                    name="key", number=1, type=_TYPES.TYPE_STRING, label=_TYPES.LABEL_OPTIONAL
                )
                value = entry.field.add(
                    name="value", number=2, type=_TYPES.TYPE_STRING, label=_TYPES.LABEL_OPTIONAL
                )
                if of in _MESSAGES:
                    value.type, value.type_name = _TYPES.TYPE_MESSAGE, f".{PACKAGE}.{of}"
                field.type, field.type_name = _TYPES.TYPE_MESSAGE, f".{PACKAGE}.{name}.{entry.name}"
            elif of in _MESSAGES:
                field.type, field.type_name = _TYPES.TYPE_MESSAGE, f".{PACKAGE}.{of}"
            else:
                field.type = _TYPES.Type.Value(f"TYPE_{of.upper()}")
    parameter = made["InferParameter"]
    parameter.oneof_decl.add(name="parameter_choice")
    for field in parameter.field:
        field.oneof_index = 0
    return file


_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_file())


def message(name: str) -> Any:
    """The class of a message, such as `ModelInferRequest`."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))


def described(body: bytes) -> bytes:
    """The `ModelMetadataResponse` of a model's metadata in JSON; what has no field of its own is a
    property, as JSON.
    """
    known = msgspec.json.decode(body, type=dict[str, Any])
    properties = {
        name: msgspec.json.encode(value).decode()
        for name, value in known.get("parameters", {}).items()
    }
    return bytes(
        json_format.ParseDict(
            known | {"properties": properties}, message("ModelMetadataResponse")(), True
        ).SerializeToString()
    )


_RESPONSE = message("ModelInferResponse")


def parsed(kind: Any, body: bytes) -> Any:
    """The message in `body`; RequestError when there is none."""
    try:
        return kind.FromString(body)
    except DecodeError as error:
        raise RequestError("the message is not of the protocol") from error


def read(endpoint: Endpoint, name: str, request: Any, max_rows: int) -> Asked:
    """A `ModelInferRequest` of the model that callers know as `name`; RequestError when it does not
    fit the model's inputs.
    """
    raw = list(request.raw_input_contents)
    if raw and (
        len(raw) != len(request.inputs) or any(one.HasField("contents") for one in request.inputs)
    ):
        raise RequestError("raw_input_contents stands for all inputs, in their order, or for none")
    tensors = [
        wire.Tensor(
            one.name,
            list(one.shape),
            one.datatype,
            raw[place] if raw else _contents(one),
            binary=True,
        )
        for place, one in enumerate(request.inputs)
    ]
    outputs = [one.name for one in request.outputs] or oip.OUTPUTS
    asked = oip.InferRequest(
        tensors, request.id or None, [(output, bool(raw)) for output in outputs], _subject(request)
    )
    return oip.understood(
        endpoint, asked, max_rows, lambda endpoint, answer: encode(endpoint, name, answer, asked)
    )


def _subject(request: Any) -> str | int | None:
    """Whom a request says that it is about."""
    if "subject" not in request.parameters:
        return None
    said = request.parameters["subject"]
    kind = said.WhichOneof("parameter_choice")
    if kind not in ("string_param", "int64_param", "uint64_param"):
        raise RequestError("the parameter subject is a text or a whole number")
    value: str | int = getattr(said, kind)
    return value


def _contents(tensor: Any) -> bytes:
    """The values of a tensor as the raw bytes that they stand for."""
    field = CONTENTS.get(tensor.datatype)
    if field is None:
        raise RequestError(
            f"input {tensor.name[:100]!r}: datatype {tensor.datatype[:20]!r} has no contents: send"
            " raw bytes"
        )
    values = getattr(tensor.contents, field)
    if tensor.datatype == "BYTES":
        return b"".join(struct.pack("<I", len(value)) + value for value in values)
    try:
        return np.array(values, wire.DTYPES[tensor.datatype]).tobytes()
    except OverflowError as error:
        raise RequestError(
            f"input {tensor.name[:100]!r}: a value is no {tensor.datatype}"
        ) from error


def encode(
    endpoint: Endpoint, called: str, answer: Answer, request: oip.InferRequest
) -> tuple[Headers, bytes]:
    """(no headers, the `ModelInferResponse`): raw bytes for a caller who sent raw bytes."""
    response = _RESPONSE(model_name=called, model_version=endpoint.version, id=request.id or "")
    for guard, rows in answer.noticed.items():
        response.parameters[guard].int64_param = rows
    for name, raw in request.outputs:
        values = answer.outputs.get(name)
        if values is None:
            continue
        text = isinstance(values, list)
        output = response.outputs.add(
            name=name,
            datatype=wire.datatype(values),
            shape=shape_of(endpoint, name, values) if text else values.shape,
        )
        if raw:
            response.raw_output_contents.append(wire.packed(values) if text else wire.raw(values))
        elif text:
            output.contents.bytes_contents.extend(value.encode() for value in values)
        else:
            getattr(output.contents, CONTENTS[output.datatype]).extend(values.ravel())
    return [], response.SerializeToString()
