"""No model answers about a person whose processing is restricted, where the request says by the
table's own column whose its rows are.
"""

import json

import pytest
from tests.unit.controls.test_subjects import Ward
from tests.unit.operations.test_affected import PERSONS
from tests.unit.operations.test_restrictions import granted
from tests.unit.serve.test_serving import NUMBERS, Shape

from casemate.core.errors import BackendError, RequestError, VerificationError
from casemate.respond.requests.tables import REQUESTS
from casemate.serve.barred import Barred, RestrictedSubject
from casemate.serve.protocols import invocations, oip, oip_grpc

pytestmark = pytest.mark.slow


@pytest.fixture
def at(home, tmp_path):
    """(the project, an endpoint's shape)."""
    project = Ward(tmp_path / "ward", PERSONS).sealed()
    shape = Shape(NUMBERS)
    shape.barred = Barred(project)
    return project, shape


def asked(shape, people, protocol="json"):
    """How many rows are asked about these people."""
    rows = [{"a": 0.5, "b": 1.0, "person": one} for one in people]
    if protocol == "json":
        body = json.dumps({"dataframe_records": rows}).encode()
        return invocations.read(shape, body, b"application/json", 100).count
    if protocol == "csv":
        lines = ["a,b,person", *(f"0.5,1,{one}" for one in people)]
        return invocations.read(shape, "\n".join(lines).encode(), b"text/csv", 100).count
    numbers = {"datatype": "FP64", "shape": [len(rows)], "data": [0.5] * len(rows)}
    texts = {"name": "person", "datatype": "BYTES", "shape": [len(rows)], "data": list(people)}
    body = {"inputs": [{"name": "a", **numbers}, {"name": "b", **numbers}, texts]}
    return oip.read(shape, "m", json.dumps(body).encode(), None, 100).count


@pytest.mark.parametrize("protocol", ["json", "csv", "oip"])
def test_rows_of_the_barred_are_refused_by_number_and_others_are_answered(at, protocol):
    project, shape = at
    shape.barred.follow()
    assert asked(shape, PERSONS[:3], protocol) == 3
    request = granted(project, PERSONS[1], "objection")
    shape.barred.follow()
    with pytest.raises(
        RestrictedSubject, match="people whose processing is restricted: 1"
    ) as caught:
        asked(shape, PERSONS[:3], protocol)
    assert [one.row for one in caught.value.rows] == [1]
    assert (caught.value.http_status, PERSONS[1] in str(caught.value.rows)) == (451, False)
    assert asked(shape, [PERSONS[0], PERSONS[2]], protocol) == 2
    project.privacy.requests.decide(request, "lift", "agreed")
    shape.barred.follow()
    assert asked(shape, PERSONS[:3], protocol) == 3


def test_a_gateway_that_refuses_further_inputs_lets_the_subject_say_whose_rows_are(at):
    project, shape = at
    shape.extra = "refuse"
    granted(project, PERSONS[1])
    shape.barred.follow()
    assert asked(shape, PERSONS[2:4]) == 2
    with pytest.raises(RestrictedSubject):
        asked(shape, PERSONS[:2])
    body = json.dumps({"dataframe_records": [{"a": 0.5, "b": 1.0, "other": 1}]}).encode()
    with pytest.raises(RequestError, match="no input called 'other'"):
        invocations.read(shape, body, b"application/json", 100)


def test_while_nobody_can_tell_who_is_restricted_no_named_person_is_answered(at):
    project, shape = at
    granted(project, PERSONS[1])
    with project.database.transaction() as tx:
        row = tx.execute(REQUESTS.select()).mappings().one()
        content = row["content"].replace(b'"granted"', b'"refused"')
        tx.execute(REQUESTS.update().values(state="refused", content=content))
    with pytest.raises(VerificationError):
        shape.barred.follow()
    with pytest.raises(BackendError, match="who is restricted cannot be read"):
        asked(shape, PERSONS[2:3])


def people_of(shape, form, people):
    """Whom a request is about, as its record has it: two rows, named by a parameter or a column."""
    rows = [[0.5, 1.0], [0.25, 2.0]]
    if form == "params":
        body = {"dataframe_split": {"columns": ["a", "b"], "data": rows}}
        body |= {"params": {"subject": people}}
        return invocations.read(shape, json.dumps(body).encode(), b"application/json", 9).people
    if form == "grpc":
        request = oip_grpc.message("ModelInferRequest")()
        tensor = request.inputs.add(name="x", datatype="FP64", shape=[2, 2])
        tensor.contents.fp64_contents.extend([*rows[0], *rows[1]])
        kind = "int64_param" if isinstance(people, int) else "string_param"
        setattr(request.parameters["subject"], kind, people)
        return oip_grpc.read(shape, "m", request, 9).people
    tensor = {"name": "x", "datatype": "FP64", "shape": [2, 2], "data": rows}
    body = {"inputs": [tensor], "parameters": {"subject": people}}
    return oip.read(shape, "m", json.dumps(body).encode(), None, 9).people


@pytest.mark.parametrize("form", ["oip", "grpc", "params"])
def test_a_parameter_says_whom_all_rows_are_about(at, form):
    project, shape = at
    shape.barred.follow()
    root = project.identifiers.root()
    mine = bytes.fromhex(root.pseudonym(PERSONS[1]))
    assert people_of(shape, form, PERSONS[1]) == (mine,)
    assert people_of(shape, form, f" {PERSONS[1]} ") == (mine,)
    assert people_of(shape, form, 7) == (bytes.fromhex(root.pseudonym("7")),)
    granted(project, PERSONS[1])
    shape.barred.follow()
    with pytest.raises(RestrictedSubject):
        people_of(shape, form, PERSONS[1])
    with pytest.raises(RequestError, match="at most"):
        people_of(shape, form, "x" * 2000)


def test_rows_say_whose_each_is_and_nobody_is_named_twice(at):
    project, shape = at
    shape.barred.follow()
    root = project.identifiers.root()
    records = [{"a": 1, "b": 1, "person": one} for one in (PERSONS[2], None, PERSONS[3])]
    body = {"dataframe_records": records}
    read = invocations.read(shape, json.dumps(body).encode(), b"application/json", 9)
    pseudonyms = [bytes.fromhex(root.pseudonym(one)) for one in PERSONS[2:4]]
    assert read.people == (pseudonyms[0], b"", pseudonyms[1])
    twice = json.dumps(body | {"params": {"subject": PERSONS[2]}}).encode()
    with pytest.raises(RequestError, match="say whom it is about once"):
        invocations.read(shape, twice, b"application/json", 9)
    with pytest.raises(RequestError, match="a text or a whole number"):
        people_of(shape, "params", ["x"])
    shape.barred.column = ""
    with pytest.raises(RequestError, match="knows nobody"):
        people_of(shape, "oip", PERSONS[1])


def test_without_the_keys_of_people_nobody_who_is_named_is_answered_until_they_are_back(
    at, monkeypatch
):
    project, shape = at

    def gone(*_, **__):
        raise BackendError("the subjects' keys are not here")

    with monkeypatch.context() as patched:
        patched.setattr(type(project.identifiers), "root", gone)
        shape.barred.follow()
        with pytest.raises(BackendError, match="pseudonyms are not here"):
            asked(shape, PERSONS[:1])
    shape.barred.follow()
    assert asked(shape, PERSONS[:1]) == 1


def test_a_rounded_identifier_is_nobody_and_a_missing_one_too(at):
    project, shape = at
    shape.barred.follow()
    root = project.identifiers.root()
    whole = bytes.fromhex(root.pseudonym(str(2**60 + 1)))
    assert people_of(shape, "oip", 2**60 + 1) == (whole,)
    assert shape.barred.people_of([7.0]) == (bytes.fromhex(root.pseudonym("7")),)
    assert shape.barred.people_of([float("nan"), None]) == ()
    for rounded in (2.0**60, -(2.0**53), 7.5, float("inf")):
        with pytest.raises(RequestError, match="floating-point number from 2"):
            shape.barred.people_of([rounded])
