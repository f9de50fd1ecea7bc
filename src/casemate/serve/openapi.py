"""The gateway's OpenAPI 3.1 document, built from the list of its doors and from the types that
bodies are read as.

Replies are written by hand where they are made, for speed; their types stand here, and a test sends
requests and compares.
"""

from functools import cache
from typing import Any

import msgspec

from casemate import __version__
from casemate.core.errors import Wrong
from casemate.operations.incidents.looking import Shown
from casemate.operations.rights.consent import ImportedConsents, ShownConsent
from casemate.respond.readers import ManagerPost, OwnPost, SplunkPost
from casemate.respond.states import Incident
from casemate.serve import consent
from casemate.serve.incidents import AlertsHeard, IncidentBody
from casemate.serve.login import LoginBody
from casemate.serve.protocols.invocations import FORMS, InvocationBody, Split
from casemate.serve.protocols.oip import InferBody, TensorJson
from casemate.serve.routes import INCIDENT_VERBS, ROUTES, Route
from casemate.serve.types import FeedbackBody


class InferReply(msgspec.Struct):
    """Answer to a call by the Open Inference Protocol V2."""

    model_name: str
    outputs: list[TensorJson]
    model_version: str | msgspec.UnsetType = msgspec.UNSET
    id: str | msgspec.UnsetType = msgspec.UNSET


class InvocationReply(msgspec.Struct):
    """Answer to a call as MLflow and SageMaker make it."""

    predictions: list[str | float | list[Any]]
    probabilities: list[Any] | msgspec.UnsetType = msgspec.UNSET
    counts: list[int] | msgspec.UnsetType = msgspec.UNSET


class Refusal(msgspec.Struct):
    """Why a request was not answered."""

    error: str
    code: str | msgspec.UnsetType = msgspec.UNSET
    rows: list[Wrong] | msgspec.UnsetType = msgspec.UNSET
    """Which rows of the request are meant, where it is not all of them."""


TEXT: dict[str, Any] = {"type": "string"}
BODIES: dict[str, Any] = {
    "infer": InferBody,
    "invocations": InvocationBody,
    "feedback": FeedbackBody,
    **dict.fromkeys((f"incident-{verb}" for verb in INCIDENT_VERBS), IncidentBody),
    **consent.BODIES,
}
POSTS = (ManagerPost, SplunkPost, OwnPost)
"""Forms in which alerts are told."""
ANSWERS: dict[str, Any] = {
    "infer": InferReply,
    "invocations": InvocationReply,
    **dict.fromkeys((f"incident-{verb}" for verb in INCIDENT_VERBS), Incident),
    "incident-alerts": AlertsHeard,
    "incident": Shown,
    "consent-add": ImportedConsents,
    **dict.fromkeys(("consent-withdraw", "consent-show"), ShownConsent),
}
_PLACE = "#/components/schemas/{name}"
ABOUT = {
    "metrics": "Counts in OpenMetrics",
    "openapi": "This document",
    "server": "Server metadata (Open Inference Protocol V2)",
    "live": "Whether the process lives",
    "ready": "Whether predictions can be answered",
    "health": "The same, as MLflow asks it",
    "mlflow-version": "Version, as MLflow asks it",
    "ping": "The same as ready, as SageMaker asks it",
    "model": (
        "Inputs and outputs of a model; parameters.raw: columns that are taken as the training"
        " table had them, and what they give"
    ),
    "model-ready": "Whether a model can be asked",
    "infer": "Predict (Open Inference Protocol V2)",
    "invocations": "Predict (MLflow and SageMaker)",
    "incident-alerts": "Tell of alerts as Alertmanager (version 4) or Splunk post them",
    "incidents": "Open incidents, newest first",
    "incident": "One incident: clocks, what happened, alerts",
    **{f"incident-{verb}": f"What a person does: {verb}" for verb in INCIDENT_VERBS},
    "feedback": "Tell what really was, for an earlier request",
    "consent-add": "Tell what people allowed and took back, all of it or nothing",
    "consent-withdraw": "Take one person's consent back",
    "consent-show": "What is known of one person's consent",
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
    components = {
        "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        "schemas": _schemas(),
    }
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": about,
            "security": [{"bearer": []}],
            "components": components,
            "paths": paths,
        }
    )


def _schemas() -> dict[str, Any]:
    """JSON Schema of every type that goes over the wire, by name."""
    types = [*BODIES.values(), *ANSWERS.values(), *POSTS, LoginBody, Split, Refusal]
    _, schemas = msgspec.json.schema_components(types, ref_template=_PLACE)
    # a struct cannot say that
    schemas[InvocationBody.__name__]["oneOf"] = [{"required": [form]} for form in FORMS]
    return schemas


def _of(kind: Any) -> dict[str, Any]:
    return {} if kind is None else {"$ref": _PLACE.format(name=kind.__name__)}


def _operation(route: Route) -> dict[str, Any]:
    kind = {"metrics": "application/openmetrics-text", "mlflow-version": "text/plain"}.get(
        route.name, "application/json"
    )
    content = {kind: {"schema": _of(ANSWERS.get(route.name))}}
    if route.name == "metrics":  # for whoever does not ask for OpenMetrics
        content["text/plain"] = {"schema": {}}
    answer = {"description": "Done", "content": content}
    refusals = {
        status: {"description": why, "content": {"application/json": {"schema": _of(Refusal)}}}
        for status, why in _REFUSALS.items()
    }
    names = [part[1:-1] for part in route.path if part.startswith("{")]
    operation: dict[str, Any] = {
        "operationId": "-".join([route.name, *names]),
        "summary": ABOUT.get(route.name, "The caller's own login"),
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": TEXT} for name in names
        ],
        "responses": {"200": answer, **refusals},
    }
    if route.name in PROBES:
        operation["security"] = []
        operation["responses"]["503"] = {
            "description": "Not ready",
            "content": {kind: {"schema": {}}},
        }
    if route.method == "POST":
        content = {"application/json": {"schema": _of(BODIES.get(route.name, LoginBody))}}
        if route.name == "incident-alerts":
            content["application/json"]["schema"] = {"anyOf": [_of(kind) for kind in POSTS]}
        if route.name == "invocations":
            content["text/csv"] = content["application/jsonlines"] = {"schema": TEXT}
        operation["requestBody"] = {
            "required": route.name in {*BODIES, "incident-alerts"},
            "content": content,
        }
    return operation
