"""The gateway's OpenAPI 3.1 document, built from the list of its doors."""

from functools import cache
from typing import Any

import msgspec

from casemate import __version__
from casemate.serve.protocols.oip import DTYPES
from casemate.serve.routes import ROUTES, Route

TEXT: dict[str, Any] = {"type": "string"}
NUMBER: dict[str, Any] = {"type": "integer"}
ANY_OBJECT: dict[str, Any] = {"type": "object"}


def _list(of: dict[str, Any] | None = None, least: int = 0) -> dict[str, Any]:
    return {"type": "array", **({} if of is None else {"items": of}), **({"minItems": least} if least else {})}


def _object(required: list[str], *, closed: bool = False, **properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties, **({"additionalProperties": False} if closed else {})}


_WRONG = _object(["row", "input", "why"], row=NUMBER, input=TEXT, why=TEXT)
_ERROR = _object(["error"], error=TEXT, code=TEXT, rows=_list(_WRONG))
_TENSOR = _object(
    ["name", "shape", "datatype"], name=TEXT, shape=_list(NUMBER), datatype={"enum": [*DTYPES, "BYTES"]}, data=_list(), parameters=ANY_OBJECT
)
_WANTED = _object(["name"], name=TEXT, parameters=ANY_OBJECT)
_INFER = _object(["inputs"], id=TEXT, parameters=ANY_OBJECT, inputs=_list(_TENSOR, 1), outputs=_list(_WANTED))
_INFERRED = _object(["model_name", "outputs"], model_name=TEXT, model_version=TEXT, id=TEXT, outputs=_list(_TENSOR))
_FORMS = {
    "dataframe_split": _object(["data"], columns=_list(TEXT), data=_list(least=1)),
    "dataframe_records": _list(ANY_OBJECT, 1),
    "inputs": {"type": ["array", "object"]},
    "instances": _list(least=1),
}
_INVOKE = {"oneOf": [_object([name], closed=True, **{name: form}, params={}) for name, form in _FORMS.items()]}
_INVOKED = _object(["predictions"], predictions=_list({"type": ["string", "number", "array"]}), probabilities=_list(), counts=_list(NUMBER))
_TRUTH = {"oneOf": [TEXT, {"type": "number"}, _list({"type": "number"})]}
_FEEDBACK = _object(["id", "outcome"], closed=True, id=TEXT, outcome={"oneOf": [TEXT, {"type": "number"}, _list(_TRUTH)]})
_SAID = _object([], closed=True, passkey=ANY_OBJECT, code=TEXT, refresh=TEXT)
BODIES = {"infer": _INFER, "invocations": _INVOKE, "feedback": _FEEDBACK}
ANSWERS = {"infer": _INFERRED, "invocations": _INVOKED}
ABOUT = {
    "metrics": "Counts in OpenMetrics",
    "openapi": "This document",
    "server": "Server metadata (Open Inference Protocol V2)",
    "live": "Whether the process lives",
    "ready": "Whether predictions can be answered",
    "health": "The same, as MLflow asks it",
    "mlflow-version": "Version, as MLflow asks it",
    "ping": "The same as ready, as SageMaker asks it",
    "model": "Inputs and outputs of a model; parameters.raw: columns that are taken as the training table had them, and what they give",
    "model-ready": "Whether a model can be asked",
    "infer": "Predict (Open Inference Protocol V2)",
    "invocations": "Predict (MLflow and SageMaker)",
    "feedback": "Tell what really was, for an earlier request",
}
PROBES = {"live", "ready", "ping"}
"""Routes that need no credentials."""
_REFUSALS = {
    "400": "The request is malformed",
    "401": "No valid credentials",
    "403": "Policy does not permit it",
    "404": "No such path or model",
    "405": "Another method is offered here",
    "408": "The body took too long",
    "413": "The body is too large",
    "422": "A guard refuses the values",
    "429": "A limit of this caller is used up; see Retry-After",
    "503": "Not now; see Retry-After",
}


@cache
def document() -> bytes:
    """The document as JSON."""
    paths: dict[str, Any] = {}
    for route in ROUTES:
        path = "/" + "/".join(route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route)
    about = {"title": "casemate gateway", "version": __version__}
    schemes = {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}}
    return msgspec.json.encode({"openapi": "3.1.0", "info": about, "security": [{"bearer": []}], "components": schemes, "paths": paths})


def _operation(route: Route) -> dict[str, Any]:
    kind = {"metrics": "application/openmetrics-text", "mlflow-version": "text/plain"}.get(route.name, "application/json")
    answer = {"description": "Done", "content": {kind: {"schema": ANSWERS.get(route.name, {})}}}
    refusals = {status: {"description": why, "content": {"application/json": {"schema": _ERROR}}} for status, why in _REFUSALS.items()}
    names = [part[1:-1] for part in route.path if part.startswith("{")]
    operation: dict[str, Any] = {
        "operationId": "-".join([route.name, *names]),
        "summary": ABOUT.get(route.name, "The caller's own login"),
        "parameters": [{"name": name, "in": "path", "required": True, "schema": TEXT} for name in names],
        "responses": {"200": answer, **refusals},
    }
    if route.name in PROBES:
        operation["security"] = []
        operation["responses"]["503"] = {"description": "Not ready", "content": {kind: {"schema": {}}}}
    if route.method == "POST":
        content = {"application/json": {"schema": BODIES.get(route.name, _SAID)}}
        if route.name == "invocations":
            content["text/csv"] = content["application/jsonlines"] = {"schema": TEXT}
        operation["requestBody"] = {"required": route.name in BODIES, "content": content}
    return operation
