"""The gateway under hostile and malformed requests: uniform refusals, bounded input, everything
recorded.
"""

import contextlib
import datetime
import gzip
import http.client
import json
import socket
import ssl
import struct
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from tests.conftest import serving, wait_for

from casemate.controls.access.identity.tokens import TokenLimits
from casemate.controls.access.policy import actions
from casemate.core.errors import RequestError
from casemate.serve.protocols import oip, tensors
from casemate.serve.routes import PROBES, ROUTES


def context(ca) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(ca))


class Caller:
    def __init__(self, running, token=None):
        self.running, self.token = running, token

    def __call__(self, method, path, body=None, **headers):
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.running.port, context=context(self.running.ca), timeout=30
        )
        given = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        content = json.dumps(body) if isinstance(body, dict | list) else body
        connection.request(
            method,
            path,
            content,
            {**given, **{name.replace("_", "-"): value for name, value in headers.items()}},
        )
        reply = connection.getresponse()
        answer = reply.read()
        connection.close()
        return reply.status, answer, dict(reply.headers)


def new_token(project, service="client", role="client", models=("*",)) -> tuple[str, str]:
    with project.database.transaction() as tx:
        return project.point.tokens.create(
            tx, service, [role], list(models), datetime.timedelta(hours=1)
        )


@pytest.fixture(scope="module")
def client(gateway):
    running, project = gateway
    return Caller(running, new_token(project)[0])


@pytest.fixture(scope="module")
def rows(gateway):
    frame = gateway[1].datasets["wdbc"].to_pandas()
    return (
        frame.drop(columns=["patient_id", "malignant"])[:3].to_numpy().tolist(),
        frame["malignant"][:3].tolist(),
    )


def infer(values, **changed):
    tensor = {
        "name": "x",
        "shape": [len(values), 30],
        "datatype": "FP64",
        "data": values,
        **changed,
    }
    return {"inputs": [tensor]}


PATHS = [
    "/",
    "/v2",
    "/health",
    "/v2/models/wdbc",
    "/v2/models/none",
    "/v2/models/wdbc/infer",
    "/metrics",
    "/etc/passwd",
    "/v2/../x",
]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS", "HEAD", "TRACE"])
def test_strangers_get_the_same_answer_everywhere(gateway, method):
    answers = set()
    for path in PATHS:
        for token in (None, "x", "cm_00000000_" + "A" * 43, "cm_" + "é" * 3):
            caller = Caller(gateway[0])
            headers = (
                {"Authorization": f"Bearer {token}".encode().decode("latin-1")} if token else {}
            )
            status, answer, found = caller(method, path, **headers)
            answers.add((status, answer, found.get("www-authenticate"), found.get("server")))
    assert len(answers) == 1
    status, answer, challenge, server = answers.pop()
    assert (status, challenge, server) == (401, "Bearer", None)
    assert answer in (b"", b'{"error":"authentication required"}')


def test_a_request_is_answered_like_the_estimator(gateway, client, rows):
    values, labels = rows
    status, answer, _ = client("POST", "/v2/models/wdbc/infer", {**infer(values), "id": "r1"})
    assert status == 200
    reply = json.loads(answer)
    outputs = {output["name"]: output for output in reply["outputs"]}
    assert reply["id"] == "r1"
    assert outputs["label"]["data"] == labels
    verified = gateway[1].models["wdbc"].verify()
    import pandas as pd

    from casemate.ml.models import load_skops

    names = [column.name for column in verified.card.inputs.features]
    expected = load_skops(verified.files["model.skops"]).predict(
        pd.DataFrame(values, columns=names)
    )[1]
    assert outputs["probabilities"]["data"] == pytest.approx(expected.ravel().tolist(), abs=1e-4)


def test_columns_by_name_give_the_same_answer_as_a_matrix(client, gateway, rows):
    values, _ = rows
    described = json.loads(client("GET", "/v2/models/wdbc")[1])
    tensors = [
        {"name": item["name"], "shape": [3], "datatype": "FP64", "data": [row[i] for row in values]}
        for i, item in enumerate(described["inputs"])
    ]
    first = json.loads(client("POST", "/v2/models/wdbc/infer", {"inputs": tensors[::-1]})[1])[
        "outputs"
    ]
    assert (
        first
        == json.loads(client("POST", "/v2/models/wdbc/versions/1/infer", infer(values))[1])[
            "outputs"
        ]
    )


def test_only_the_outputs_asked_for_are_sent(client, rows):
    body = {**infer(rows[0]), "outputs": [{"name": "label"}]}
    assert [
        o["name"] for o in json.loads(client("POST", "/v2/models/wdbc/infer", body)[1])["outputs"]
    ] == ["label"]


GOOD = [[1.0] * 30]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "not an inference request"),
        (b"not json", "not an inference request"),
        (b"[]", "not an inference request"),
        (b'{"inputs": "x"}', "not an inference request"),
        (b"[" * 100_000, ""),
        (b'{"inputs":' + b"[" * 50_000, ""),
        (b'{"inputs":[{"name":"x","shape":[1,30],"datatype":"FP64","data":[' + b"NaN," * 29 + b"NaN]}]}", ""),
        (b'{"inputs":[{"name":"x","shape":[1,30],"datatype":"FP64","data":[' + b"1e999," * 29 + b"1e999]}]}", ""),
        ({"inputs": []}, "no inputs"),
        (infer(GOOD, shape=[1, 29]), "expected [n, 30]"),
        (infer(GOOD, shape=[2, 30]), "30 values, the shape needs 60"),
        (infer(GOOD, shape=[0, 30]), "no rows"),
        (infer(GOOD, shape=[-1, 30]), "no rows"),
        (infer(GOOD, shape=[10**9, 30]), "at most"),
        (infer(GOOD, shape=[]), ""),
        (infer(GOOD, datatype="INT322"), "expected a numeric one"),
        (infer(GOOD, datatype="BYTES"), "expected a numeric one"),
        (infer([["a"] * 30]), "do not fit"),
        (infer([[None] * 30]), "never missing in training"),
        (infer([[1.0] * 30, [1.0] * 29]), ""),
        (infer(GOOD, data={"a": 1}), "do not fit"),
        ({**infer(GOOD), "outputs": [{"name": "secret"}]}, "no output called"),
        ({"inputs": [{"name": "mean_radus", "shape": [1], "datatype": "FP64", "data": [1]}]}, "did you mean"),
        ({"inputs": [{"name": "mean_radius", "shape": [1], "datatype": "FP64", "data": [1]}]}, "is missing"),
    ],
)  # fmt: skip
def test_a_malformed_request_is_explained_and_refused(client, body, expected):
    status, answer, _ = client("POST", "/v2/models/wdbc/infer", body)
    assert status == (422 if "missing in training" in expected else 400), answer
    assert expected in json.loads(answer)["error"]


def test_a_body_over_the_limit_is_refused_by_its_length_and_by_its_bytes(client, gateway):
    assert client("POST", "/v2/models/wdbc/infer", b"x" * (9 * 2**20))[0] == 413

    def chunks():
        for _ in range(20):
            yield b"x" * 2**19

    connection = http.client.HTTPSConnection(
        "127.0.0.1", gateway[0].port, context=context(gateway[0].ca), timeout=30
    )
    try:
        connection.request(
            "POST",
            "/v2/models/wdbc/infer",
            chunks(),
            {"Authorization": f"Bearer {client.token}"},
            encode_chunked=True,
        )
        assert connection.getresponse().status == 413
    except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
        pass  # the gateway may hang up before everything is sent


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/health/live", 200),
        ("GET", "/v2/health/ready", 200),
        ("GET", "/v2/models/wdbc/ready", 200),
        ("GET", "/v2/models/wdbc/versions/1/ready", 200),
        ("GET", "/v2/models/wdbc/versions/9", 404),
        ("GET", "/v2/models/none", 404),
        ("GET", "/nothing", 404),
        ("POST", "/v2", 405),
        ("DELETE", "/v2/models/wdbc", 405),
        ("TRACE", "/v2/health/live", 405),
        ("TRACE", "/v2/health/ready", 405),
        ("POST", "/.well-known/gpc.json", 405),
        ("GET", "/v2/models/wdbc/infer", 405),
        ("POST", "/v2/models/wdbc/unload", 404),
        ("POST", "/v2/repository/models/wdbc/unload", 404),
        ("GET", "/v2/models/" + "x" * 5000, 404),
    ],
)
def test_paths_and_methods_answer_by_the_protocol(client, method, path, status):
    assert client(method, path)[0] == status


def in_bytes(values, **header):
    """(body, length of its JSON) of a request whose one tensor is bytes."""
    content = np.asarray(values, "<f8").tobytes()
    tensor = {
        "name": "x",
        "shape": [len(values), 30],
        "datatype": "FP64",
        "parameters": {"binary_data_size": len(content)},
    }
    told = json.dumps({"inputs": [tensor], **header}).encode()
    return told + content, len(told)


def test_tensors_as_bytes_say_the_same_as_json(client, rows):
    values, labels = rows
    plain = json.loads(client("POST", "/v2/models/wdbc/infer", infer(values))[1])["outputs"]
    body, told = in_bytes(values)
    status, answer, _ = client(
        "POST", "/v2/models/wdbc/infer", body, Inference_Header_Content_Length=str(told)
    )
    assert (status, json.loads(answer)["outputs"]) == (200, plain)
    body, told = in_bytes(values, parameters={"binary_data_output": True})
    status, answer, found = client(
        "POST", "/v2/models/wdbc/infer", body, Inference_Header_Content_Length=str(told)
    )
    length = int(found["inference-header-content-length"])
    label, probabilities = json.loads(answer[:length])["outputs"]
    sizes = [output["parameters"]["binary_data_size"] for output in (label, probabilities)]
    assert (status, found["content-type"], length + sum(sizes)) == (
        200,
        "application/octet-stream",
        len(answer),
    )
    assert answer[length : length + sizes[0]] == b"".join(
        len(text).to_bytes(4, "little") + text.encode() for text in labels
    )
    assert (
        np.frombuffer(answer[length + sizes[0] :], "<f4").tolist()
        == np.float32(plain[1]["data"]).tolist()
    )


def test_parameters_that_are_null_are_none(client, rows):
    body = infer(rows[0], parameters=None) | {
        "parameters": None,
        "outputs": [{"name": "label", "parameters": None}],
    }
    status, answer, _ = client("POST", "/v2/models/wdbc/infer", body)
    assert (status, json.loads(answer)["outputs"][0]["data"]) == (200, rows[1])


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.just("x") | JSON,
        "shape": st.just([1, 1]) | JSON,
        "datatype": st.sampled_from([*tensors.DTYPES, "BYTES", "BF16"]),
        "data": JSON,
        "parameters": st.fixed_dictionaries(
            {}, optional={"binary_data_size": st.integers(-1, 9) | JSON}
        ),
    },
)


@settings(max_examples=300, deadline=None)
@given(
    inputs=st.lists(FIELDS, max_size=3),
    rest=st.binary(max_size=12),
    header=st.none() | st.integers(0, 200),
)
def test_any_header_and_bytes_are_a_request_or_refused(inputs, rest, header):
    told = json.dumps({"inputs": inputs}).encode()
    try:
        request = oip.decode(told + rest, len(told) if header is None else header)
    except RequestError:
        return
    assert sum(len(tensor.data) for tensor in request.inputs if tensor.binary) in (len(rest), 0)


@settings(max_examples=100, deadline=None)
@given(values=st.lists(st.text(max_size=8), max_size=6), cut=st.integers(0, 40))
def test_texts_in_bytes_come_back_or_are_refused(values, cut):
    packed = tensors.packed(values)
    tensor = tensors.Tensor("x", [len(values)], "BYTES", packed, binary=True)
    assert tensors.unpacked(tensor, len(values)) == values
    try:
        found = tensors.unpacked(tensors.Tensor("x", [9], "BYTES", packed[:cut], binary=True), 9)
    except RequestError:
        return
    assert found == values[: len(found)]


def test_a_length_of_the_header_from_an_earlier_call_is_forgiven(client, rows):
    status, answer, _ = client(
        "POST", "/v2/models/wdbc/infer", infer(rows[0]), Inference_Header_Content_Length="87"
    )
    assert (status, len(json.loads(answer)["outputs"])) == (200, 2)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_bodies_are_inflated_within_the_limit_and_replies_are_compressed_when_asked(
    client, rows, coding
):
    pack, unpack = {
        "gzip": (gzip.compress, gzip.decompress),
        "deflate": (zlib.compress, zlib.decompress),
    }[coding]
    path, many = "/v2/models/wdbc/infer", infer(rows[0] * 200)
    plain = client("POST", path, many)[1]
    status, answer, found = client(
        "POST",
        path,
        pack(json.dumps(many).encode()),
        Content_Encoding=coding,
        Accept_Encoding=f"br, {coding}",
    )
    assert (status, found["content-encoding"], unpack(answer)) == (200, coding, plain)
    assert "content-encoding" not in client("POST", path, many, Accept_Encoding=f"{coding};q=0")[2]
    assert "content-encoding" not in client("POST", path, infer(rows[0]), Accept_Encoding=coding)[2]
    bomb = pack(b" " * (100 * 2**20))
    assert len(bomb) < 200_000
    assert client("POST", path, bomb, Content_Encoding=coding)[0] == 413
    whole = pack(json.dumps(many).encode())
    for wrong in (whole[:-3], whole + b"x", whole + whole, b"", json.dumps(many).encode()):
        assert client("POST", path, wrong, Content_Encoding=coding)[0] == 400


def test_other_codings_and_sizes_that_do_not_add_up_are_refused_plainly(client, rows):
    path = "/v2/models/wdbc/infer"
    assert b"gzip, deflate" in client("POST", path, infer(rows[0]), Content_Encoding="br")[1]
    body, told = in_bytes(rows[0])
    for length in (told - 1, told + 1, len(body) + 1, 0, 10**11):
        assert client("POST", path, body, Inference_Header_Content_Length=str(length))[0] == 400
    for length in ("-1", "1e2", "", "9" * 13):
        assert client("POST", path, body, Inference_Header_Content_Length=length)[0] == 400
    for wrong in (body[:-1], body + b"x"):
        assert client("POST", path, wrong, Inference_Header_Content_Length=str(told))[0] == 400
    for value in (np.inf, -np.inf):
        body, told = in_bytes([[value] * 30])
        assert (
            b"infinite" in client("POST", path, body, Inference_Header_Content_Length=str(told))[1]
        )
    body, told = in_bytes([[np.nan] * 30])
    assert b"missing" in client("POST", path, body, Inference_Header_Content_Length=str(told))[1]


def test_a_service_may_only_ask_its_own_models(gateway):
    running, project = gateway
    other = Caller(running, new_token(project, "other", models=["something"])[0])
    assert other("POST", "/v2/models/wdbc/infer", infer(GOOD))[:2] == (
        403,
        b'{"error":"not permitted"}',
    )
    assert other("GET", "/v2/models/wdbc")[0] == 403
    assert other("GET", "/v2/models/none")[0] == 403
    assert other("GET", "/metrics")[0] == 403


def test_a_revoked_token_is_refused_within_a_second(gateway, rows):
    running, project = gateway
    secret, identifier = new_token(project, "leaver")
    caller = Caller(running, secret)
    assert caller("POST", "/v2/models/wdbc/infer", infer(rows[0]))[0] == 200
    with project.database.transaction() as tx:
        project.point.tokens.revoke(tx, identifier)
    time.sleep(1.0)
    assert caller("POST", "/v2/models/wdbc/infer", infer(rows[0]))[0] == 401


def within_a_second(caller, status, path="/v2/models/wdbc"):
    """Whether the answer becomes `status` within a second; polls without pause, so that every cache
    stays warm.
    """
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        if caller("GET", path)[0] == status:
            return True
    return False


def test_roles_policies_and_services_change_within_a_second_while_calls_go_on(gateway):
    running, project = gateway
    admin, hour = project.access, datetime.timedelta(hours=1)
    caller = Caller(running, admin.create_token("changing", ["client"], ["wdbc"], hour)[0])
    assert caller("GET", "/v2/models/wdbc")[0] == 200
    policy = project.root / "policies" / "freeze.cedar"
    policy.write_text(
        '@id("freeze") forbid (principal == Service::"changing", action == Action::"model:read",'
        " resource);"
    )
    project.access.apply_policies()
    assert within_a_second(caller, 403)
    policy.unlink()
    project.access.apply_policies()
    assert within_a_second(caller, 200)
    admin.remove_service("changing")
    assert within_a_second(caller, 401)


def test_a_person_calls_with_a_session_until_it_ends(gateway):
    running, project = gateway
    project.access.add_user("ben", ["auditor"])
    with project.database.transaction() as tx:
        pair = project.point.sessions.begin(tx, "ben", "password")
    caller = Caller(running, pair.access)
    assert caller("GET", "/v2/models/wdbc")[0] == 200
    assert caller("POST", "/v2/models/wdbc/infer", infer(GOOD))[0] == 403
    assert Caller(running, pair.refresh)("GET", "/v2/models/wdbc")[0] == 401
    project.access.withdraw("ben", "auditor")
    assert within_a_second(caller, 403)
    project.access.disable_user("ben")
    assert within_a_second(caller, 401)


@pytest.mark.parametrize(
    ("limits", "path", "status"),
    [
        (TokenLimits(networks=("127.0.0.0/8",)), "/v2/models/wdbc", 200),
        (TokenLimits(networks=("10.0.0.0/8",)), "/v2/models/wdbc", 401),
        (TokenLimits(certificate="ab" * 32), "/v2/models/wdbc", 401),
        (TokenLimits(actions=("model:infer",)), "/v2/models/wdbc", 403),
        (TokenLimits(actions=("model:infer",)), "/v2", 403),
        (TokenLimits(actions=("gateway:read",)), "/v2", 200),
    ],
)
def test_a_token_opens_no_more_than_it_was_narrowed_to(gateway, limits, path, status):
    running, project = gateway
    token, _ = project.access.create_token(
        "narrow", ["client"], ["*"], datetime.timedelta(hours=1), limits
    )
    assert Caller(running, token)("GET", path)[0] == status


def test_a_rate_holds_for_its_token_and_for_no_other(gateway):
    running, project = gateway
    hour = datetime.timedelta(hours=1)
    slow = Caller(
        running,
        project.access.create_token("slow", ["client"], ["*"], hour, TokenLimits(rate=5))[0],
    )
    other = Caller(running, new_token(project, "quick")[0])
    answers = [slow("GET", "/v2/models/wdbc") for _ in range(8)]
    assert [status for status, *_ in answers] == [200] * 5 + [429] * 3
    assert answers[-1][2]["retry-after"] == "1"
    assert other("GET", "/v2/models/wdbc")[0] == 200


@pytest.mark.parametrize(
    "token",
    [None, "", "x", "cm_00000000_" + "A" * 43, "cs_0123456789abcdef_" + "A" * 43, "A" * 500],
)
def test_strangers_get_one_answer_at_every_door_and_where_there_is_none(gateway, token):
    running, _ = gateway
    caller, answers = Caller(running, token), set()
    paths = ["/" + "/".join(part.strip("{}") for part in route.path) for route in ROUTES]
    for path in [
        *(path for path in paths if path not in PROBES),
        "/",
        "/admin",
        "/v2/models/none",
        "/v2/repository/index",
        "/.env",
        "/metrics/x",
        "//",
        "/%00",
    ]:
        for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS"):
            status, body, headers = caller(method, path)
            answers.add(
                (
                    status,
                    body,
                    tuple(
                        sorted((name, value) for name, value in headers.items() if name != "date")
                    ),
                )
            )
    assert len(answers) == 1
    status, body, headers = answers.pop()
    assert (status, body) == (401, b'{"error":"authentication required"}')
    assert "server" not in dict(headers)


@pytest.mark.parametrize("path", PROBES)
def test_whoever_watches_over_the_process_hears_that_it_lives_and_is_ready_and_no_more(
    gateway, path
):
    for token in (None, "cm_00000000_" + "A" * 43, "é".encode().decode("latin-1")):
        for method in ("GET", "HEAD"):
            status, body, headers = Caller(gateway[0], token)(method, path)
            assert (status, headers["content-type"]) == (200, "application/json")
            assert body in (b'{"live":true}', b'{"ready":true}', b"")
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert Caller(gateway[0])(method, path)[0] == 401


def test_every_route_asks_for_an_action_that_policies_know():
    for route in ROUTES:
        one_model = "{name}" in route.path or route.name == "invocations"
        assert ("Model" if one_model else "Project") in actions()[route.action], route


def test_every_answer_has_a_durable_entry_before_it_is_sent(gateway, client, rows):
    project = gateway[1]

    for _ in range(5):
        _, _, headers = client("POST", "/v2/models/wdbc/infer", infer(rows[0]))
        prediction, kept = project.decisions.find(headers["x-request-id"])
        assert (prediction.rows, prediction.model, prediction.refused, kept) == (
            3,
            "wdbc@1",
            "",
            None,
        )
        assert prediction.labels == struct.pack("<3H", 1, 1, 1)
    assert len(list(project.decisions.newest(5))) == 5
    assert project.decisions.check() >= 5


def test_metrics_are_openmetrics_and_count(gateway, client, rows):
    running, project = gateway
    monitor = Caller(running, new_token(project, "mon", role="monitor")[0])
    client("POST", "/v2/models/wdbc/infer", infer(rows[0]))
    status, page, headers = monitor("GET", "/metrics", None, accept="application/openmetrics-text")
    assert status == 200
    assert headers["content-type"].startswith("application/openmetrics-text")
    families = {family.name: family for family in text_string_to_metric_families(page.decode())}
    assert sum(s.value for s in families["casemate_rows"].samples if s.name.endswith("_total")) >= 3
    assert {
        "casemate_requests",
        "casemate_request_seconds",
        "casemate_denied",
        "casemate_model",
    } <= set(families)


def test_old_tls_and_plain_text_are_refused(gateway):
    running, _ = gateway
    old = context(running.ca)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("127.0.0.1", running.port), 5) as plain,
        pytest.raises(ssl.SSLError),
    ):
        old.wrap_socket(plain, server_hostname="127.0.0.1")
    with socket.create_connection(("127.0.0.1", running.port), 5) as plain:
        plain.sendall(b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200" not in plain.recv(1000)


def test_a_stranger_with_another_ca_is_not_believed(gateway):
    with (
        socket.create_connection(("127.0.0.1", gateway[0].port), 5) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        ssl.create_default_context().wrap_socket(plain, server_hostname="127.0.0.1")


def test_hostile_bytes_leave_the_gateway_answering(gateway, client):
    for payload in (
        b"\x00" * 1000,
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000 + b"\r\n",
        b"POST /v2/models/wdbc/infer HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", gateway[0].port), 5) as plain:
            try:
                with context(gateway[0].ca).wrap_socket(
                    plain, server_hostname="127.0.0.1"
                ) as wrapped:
                    wrapped.sendall(payload)
                    wrapped.settimeout(5)
                    wrapped.recv(1000)
            except (OSError, TimeoutError):
                pass
    assert client("GET", "/v2/health/live")[0] == 200


def test_a_head_without_end_is_cut_off(gateway, client):
    with socket.create_connection(("127.0.0.1", gateway[0].port), 5) as plain:
        with context(gateway[0].ca).wrap_socket(plain, server_hostname="127.0.0.1") as wrapped:
            wrapped.sendall(b"GET /v2 HTTP/1.1\r\n")
            with pytest.raises(OSError):
                for _ in range(10_000):
                    wrapped.sendall(b"A: " + b"b" * 1000 + b"\r\n")
    assert client("GET", "/v2/health/live")[0] == 200


@pytest.mark.parametrize(("size", "taken"), [(60_000, True), (80_000, False)])
def test_a_head_that_comes_in_one_piece_is_no_longer_than_others(gateway, size, taken):
    with socket.create_connection(("127.0.0.1", gateway[0].port), 5) as plain:
        with context(gateway[0].ca).wrap_socket(plain, server_hostname="127.0.0.1") as wrapped:
            line = b"A: " + b"b" * size + b"\r\n"
            wrapped.sendall(b"GET /ping HTTP/1.1\r\nConnection: close\r\n" + line + b"\r\n")
            try:
                got = wrapped.recv(100)
            except OSError:
                got = b""
    assert got.startswith(b"HTTP/1.1 200") == taken


def test_a_connection_that_says_nothing_is_closed(gateway):
    with socket.create_connection(("127.0.0.1", gateway[0].port), 5) as plain:
        with context(gateway[0].ca).wrap_socket(plain, server_hostname="127.0.0.1") as wrapped:
            wrapped.settimeout(20)
            assert wrapped.recv(10) == b""


def test_one_connection_carries_many_requests(gateway, client, rows):
    connection = http.client.HTTPSConnection(
        "127.0.0.1", gateway[0].port, context=context(gateway[0].ca), timeout=30
    )
    for _ in range(200):
        connection.request(
            "POST",
            "/v2/models/wdbc/infer",
            json.dumps(infer(rows[0])),
            {"Authorization": f"Bearer {client.token}"},
        )
        reply = connection.getresponse()
        assert (reply.status, bool(reply.read())) == (200, True)
    connection.close()


def test_a_stopped_gateway_leaves_a_log_that_verifies(finished, tmp_path, cli):
    import shutil

    root = tmp_path / "p"
    shutil.copytree(finished, root)
    with serving(root):
        pass
    shown = cli("audit", "show", "--config", root, "--format", "json").value
    assert [entry["action"] for entry in shown if entry["action"].startswith("gateway:")] == [
        "gateway:start",
        "gateway:stop",
    ]
    assert shown[-1]["action"] == "gateway:stop"
    assert cli("audit", "verify", "--config", root).code == 0
    assert not list((root / ".casemate").rglob(".tls-*"))


def test_a_taken_port_is_one_clear_message(clinic, cli):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        answer = cli("serve", "--config", clinic, "--port", taken.getsockname()[1])
    assert answer.code == 5
    assert "cannot listen" in answer.err


WIDE = (
    b'{"inputs":[{"name":"x","datatype":"FP64","data":[1],"shape":[1' + b",99" * 200_000 + b"]}]}"
)


@pytest.mark.parametrize(
    "body",
    [
        WIDE,
        WIDE.replace(b",99", b"," + b"9" * 400, 1)[:1000] + b"]}]}",
        {"inputs": infer([[1.0] * 30])["inputs"], "outputs": [{"name": "probabilities"}] * 300},
    ],
)
def test_a_request_that_asks_for_more_work_than_it_is_worth_is_refused_at_once(client, body):
    status, answer, _ = client(
        "POST", "/v2/models/wdbc/infer", body.decode() if isinstance(body, bytes) else body
    )
    assert status == 400
    assert len(answer) < 1000


def test_no_byte_keeps_a_silent_connection_open(gateway):
    running, _ = gateway
    with (
        socket.create_connection(("127.0.0.1", running.port)) as raw,
        context(running.ca).wrap_socket(raw, server_hostname="localhost") as silent,
    ):
        silent.sendall(b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"401" in silent.recv(4096)
        silent.sendall(b"\r\n")
        silent.settimeout(20)
        with contextlib.suppress(ConnectionError):
            assert silent.recv(1) == b""


def test_a_revocation_holds_for_a_body_that_is_still_on_its_way(gateway):
    running, project = gateway
    token, identifier = new_token(project, "slow")
    body = json.dumps(infer([[1.0] * 30])).encode()
    with (
        socket.create_connection(("127.0.0.1", running.port)) as raw,
        context(running.ca).wrap_socket(raw, server_hostname="localhost") as slow,
    ):
        head = (
            "POST /v2/models/wdbc/infer HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer"
            f" {token}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        slow.sendall(head.encode() + body[:-1])
        time.sleep(0.3)
        project.access.revoke_token(identifier)
        time.sleep(1.2)
        slow.sendall(body[-1:])
        assert slow.recv(4096).startswith(b"HTTP/1.1 401")


def test_whoever_is_denied_again_and_again_cannot_fill_the_log_and_every_refusal_is_counted(
    gateway,
):
    running, project = gateway
    denied = Caller(running, new_token(project, "insistent", models=("other",))[0])
    start = project.log.size()
    assert {denied("POST", "/v2/models/wdbc/infer", infer([[1.0] * 30]))[0] for _ in range(60)} == {
        403
    }

    def told():
        entries = [
            one
            for one in project.log.entries(start)
            if one.principal == 'Service::"insistent"' and one.outcome == "denied"
        ]
        return entries, sum(one.detail.get("more", 1) for one in entries)

    wait_for(lambda: told()[1] == 60, 15)
    assert len(told()[0]) < 20
