"""The gateway's description of itself is made of the types that bodies are read as: both take the
same documents.
"""

import json
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from casemate.core.errors import RequestError
from casemate.serve import openapi
from casemate.serve.login import LoginBody
from casemate.serve.protocols import oip
from casemate.serve.protocols.invocations import FORMS, InvocationBody
from casemate.serve.refusals import WrongMethod, told_of
from casemate.serve.routes import ROUTES
from casemate.serve.types import FeedbackBody

TENSOR = {"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1.5, None]}
BODIES: dict[str, tuple[list[Any], list[Any]]] = {
    "infer": (
        [
            {"inputs": [TENSOR]},
            {"inputs": [TENSOR | {"parameters": {"binary_data_size": 8, "more": 1}}], "id": "a", "outputs": [{"name": "label"}], "later": True},
            {"inputs": [TENSOR], "id": None, "outputs": None, "parameters": {"binary_data_output": True}},
            {"inputs": [TENSOR], "outputs": [{"name": "label", "parameters": {"binary_data": False}}]},
        ],
        [{}, [], {"inputs": {}}, {"inputs": [{"name": "x"}]}, {"inputs": [TENSOR], "id": 1}, {"inputs": [TENSOR | {"shape": ["1"]}]},
         {"inputs": [TENSOR], "outputs": ["label"]}, {"inputs": [TENSOR], "parameters": {"binary_data_output": "yes"}}],
    ),
    "feedback": (
        [{"id": "a", "outcome": "b"}, {"id": "a", "outcome": 1}, {"id": "a", "outcome": ["b", 1.5, [1, 2]]}, {"id": "a", "outcome": []}, {"id": "a", "outcome": [["b"]]}],
        [{"id": "a"}, {"outcome": 1}, {"id": "a", "outcome": None}, {"id": "a", "outcome": 1, "more": 1}, {"id": "a", "outcome": [[["b"]]]}],
    ),
    "login-renew": (
        [{}, {"refresh": "a"}, {"passkey": {"id": 1}, "code": None}],
        [{"refresh": 1}, {"passkey": "a"}, {"more": 1}, []],
    ),
}  # fmt: skip
TYPES = {"infer": oip.InferBody, "feedback": FeedbackBody, "login-renew": LoginBody}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return json.loads(openapi.document())


def body_of(document: dict[str, Any], route: str) -> Draft202012Validator:
    """What checks the JSON body of a route, with every component at hand."""
    path = next("/" + "/".join(found.path) for found in ROUTES if found.name == route)
    schema = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return Draft202012Validator(schema | {"components": document["components"]})


@pytest.mark.parametrize("route", BODIES)
def test_a_body_fits_the_description_exactly_if_the_gateway_reads_it(route, document):
    good, bad = BODIES[route]
    validator = body_of(document, route)
    for body in good:
        msgspec.json.decode(json.dumps(body), type=TYPES[route])
        validator.validate(body)
    for body in bad:
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(json.dumps(body), type=TYPES[route])
        assert not validator.is_valid(body), body


def test_a_call_for_predictions_is_described_as_exactly_one_form_of_table(document):
    validator = body_of(document, "invocations")
    rows: dict[str, Any] = {
        "dataframe_split": {"columns": ["a"], "data": [[1]]},
        "dataframe_records": [{"a": 1}],
        "inputs": {"a": [1]},
        "instances": [[1]],
    }
    assert tuple(rows) == FORMS
    for form, value in rows.items():
        validator.validate({form: value, "params": {"x": 1}})
        msgspec.json.decode(json.dumps({form: value}), type=InvocationBody)
        assert not validator.is_valid({form: 1})
        assert not validator.is_valid({form: value, "more": 1})
    for body in (
        {},
        {"inputs": [1], "instances": [1]},
        {"dataframe_split": {"columns": ["a"]}},
        {"instances": []},
        {"dataframe_records": [1]},
    ):
        assert not validator.is_valid(body), body


def test_what_no_struct_says_is_in_the_description_because_the_gateway_refuses_it(document):
    validator = body_of(document, "infer")
    for body in (
        {"inputs": []},
        {"inputs": [TENSOR | {"datatype": "FP128"}]},
        {"inputs": [TENSOR | {"data": 1}]},
    ):
        assert not validator.is_valid(body), body
    with pytest.raises(RequestError):
        oip.decode(b'{"inputs": {}}')


def test_every_schema_is_one_and_every_reference_leads_somewhere(document):
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    found = {part.split('"')[0] for part in json.dumps(document).split("#/components/schemas/")[1:]}
    assert found == set(schemas)
    assert document["openapi"] == "3.1.0"
    assert not any(name.startswith("_") for name in schemas)


def test_who_asks_by_another_method_is_told_which_are_offered():
    reply = told_of(WrongMethod("GET", "HEAD"))
    assert reply.status == 405 and (b"allow", b"GET, HEAD") in reply.headers
