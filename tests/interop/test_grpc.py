"""The Open Inference Protocol over gRPC, asked by Triton's client and by bare calls: the same
answers, refusals, limits and records as over HTTP.
"""

import asyncio
import contextlib
import gzip
import json
import select
import socket
import subprocess
import threading

import numpy as np
import pytest
from google.protobuf.struct_pb2 import Struct
from tests.attacks.test_gateway import Caller, new_token
from tests.attacks.test_predictions import configured
from tests.conftest import command, serving, wait_for

import casemate
from casemate.config import ServeTable
from casemate.serve.explain import explain
from casemate.serve.metrics import Metrics
from casemate.serve.protocols.oip_grpc import message

grpc = pytest.importorskip("grpc", reason="casemate[grpc] is not installed")
triton = pytest.importorskip(
    "tritonclient.grpc", reason="tritonclient is a development requirement"
)

INFER = message("ModelInferRequest")
ROWS = np.linspace(1, 2, 60).reshape(2, 30)
SERVICE = "/inference.GRPCInferenceService/"


def client(running, ca=None, folder=None, **options):
    files = (
        {}
        if folder is None
        else {"private_key": str(folder / "key.pem"), "certificate_chain": str(folder / "cert.pem")}
    )
    return triton.InferenceServerClient(
        running.grpc, ssl=True, root_certificates=str(ca or running.ca), **files, **options
    )


def bearer(token):
    return {"authorization": f"Bearer {token}"}


def tensor(name, values, datatype):
    found = triton.InferInput(name, values.shape, datatype)
    found.set_data_from_numpy(values)
    return found


class Bare:
    """Calls with bytes as they are."""

    def __init__(self, running, token=None, **options):
        credentials = grpc.ssl_channel_credentials(running.ca.read_bytes())
        self.channel = grpc.secure_channel(running.grpc, credentials, options=list(options.items()))
        self.metadata = [("authorization", f"Bearer {token}")] if token else []

    def __call__(self, call, request, **more):
        """(code, details or body)."""
        ask = self.channel.unary_unary(SERVICE + call)
        try:
            return grpc.StatusCode.OK, ask(request, metadata=self.metadata, timeout=30, **more)
        except grpc.RpcError as error:
            return error.code(), error.details()


@pytest.fixture(scope="module")
def served(finished, tmp_path_factory):
    import shutil

    root = tmp_path_factory.mktemp("grpc") / "clinic"
    shutil.copytree(finished, root)
    configured(root, "grpc_port = 0\nmax_body_mb = 1.0\n")
    project = casemate.open(root)
    token = new_token(project, "ward")[0]
    with serving(root) as running:
        yield running, project, token


def tell(running, token, **said):
    credentials = grpc.ssl_channel_credentials(running.ca.read_bytes())
    with grpc.secure_channel(running.grpc, credentials) as channel:
        ask = channel.unary_unary(
            "/casemate.Feedback/Tell", Struct.SerializeToString, Struct.FromString
        )
        message = Struct()
        message.update(said)
        return dict(ask(message, metadata=[("authorization", f"Bearer {token}")], timeout=30))


def test_what_really_was_is_told_over_grpc_as_over_http(served):
    running, project, token = served
    body = {
        "inputs": [{"name": "x", "shape": [1, 30], "datatype": "FP64", "data": ROWS[0].tolist()}]
    }
    _, _, headers = Caller(running, token)("POST", "/v2/models/wdbc/infer", body)
    request = headers["x-request-id"]
    said = tell(running, token, model="wdbc", id=request, outcome=1)
    assert said == {"id": request, "recorded": True}
    (told,) = project.feedback.show(request)
    assert told.value == ["1"]
    other = new_token(project, "elsewhere")[0]
    for more, code in (
        ({"model": "wdbc", "id": request, "outcome": 1, "token": other}, "INVALID_ARGUMENT"),
        ({"model": "nothing", "id": request, "outcome": 1}, "INVALID_ARGUMENT"),
        ({"id": request, "outcome": 1}, "INVALID_ARGUMENT"),
        ({"model": "wdbc", "id": request}, "INVALID_ARGUMENT"),
        ({"model": "wdbc", "id": request, "outcome": 1, "more": 2}, "INVALID_ARGUMENT"),
        ({"model": "wdbc", "id": request, "outcome": "green"}, "INVALID_ARGUMENT"),
        ({"model": "wdbc", "id": request, "outcome": 1, "token": "nobody"}, "UNAUTHENTICATED"),
    ):
        who = more.pop("token", token)
        with pytest.raises(grpc.RpcError) as refused:
            tell(running, who, **more)
        assert refused.value.code().name in code, (more, refused.value.details())
    bare = Bare(running, token)
    ask = bare.channel.unary_unary("/casemate.Feedback/Tell")
    with pytest.raises(grpc.RpcError) as refused:
        ask(b"\xff\xff", metadata=bare.metadata, timeout=30)
    assert refused.value.code().name == "INVALID_ARGUMENT"


def test_tritons_client_gets_over_grpc_what_it_gets_over_http(served):
    running, project, token = served
    asking, headers = client(running), bearer(token)
    assert asking.is_server_live(headers=headers) and asking.is_server_ready(headers=headers)
    assert asking.is_model_ready("wdbc", headers=headers) and asking.is_model_ready(
        "wdbc", "1", headers=headers
    )
    assert asking.get_server_metadata(headers=headers).name == "casemate"
    described = asking.get_model_metadata("wdbc", headers=headers)
    assert (len(described.inputs), described.outputs[1].shape, list(described.versions)) == (
        30,
        [-1, 2],
        ["1"],
    )
    body = {"inputs": [{"name": "x", "shape": [2, 30], "datatype": "FP64", "data": ROWS.tolist()}]}
    expected = {
        one["name"]: one["data"]
        for one in json.loads(Caller(running, token)("POST", "/v2/models/wdbc/infer", body)[1])[
            "outputs"
        ]
    }
    for wanted in (
        None,
        [triton.InferRequestedOutput("label"), triton.InferRequestedOutput("probabilities")],
    ):
        for coding in (None, "gzip", "deflate"):
            found = asking.infer(
                "wdbc",
                [tensor("x", ROWS, "FP64")],
                outputs=wanted,
                request_id="mine",
                headers=headers,
                compression_algorithm=coding,
            )
            assert found.get_response().id == "mine"
            assert [label.decode() for label in found.as_numpy("label")] == expected["label"]
            assert found.as_numpy("probabilities").ravel().tolist() == expected["probabilities"]
    named = [
        tensor(one.name, ROWS[:, place].copy(), "FP64")
        for place, one in enumerate(described.inputs)
    ]
    assert (
        asking.infer("wdbc", named[::-1], headers=headers)
        .as_numpy("probabilities")
        .ravel()
        .tolist()
        == expected["probabilities"]
    )
    said = next(project.decisions.newest(1))
    assert (said.principal, said.rows, said.shown) == ('Service::"ward"', 2, "all")
    assert explain(project, said.id, body=json.dumps(body).encode()).replayed is True


@pytest.mark.parametrize(
    ("datatype", "field"),
    [
        ("FP64", "fp64_contents"),
        ("FP32", "fp32_contents"),
        ("INT64", "int64_contents"),
        ("UINT8", "uint_contents"),
        ("BOOL", "bool_contents"),
    ],
)
def test_typed_contents_are_answered_with_typed_contents(served, datatype, field):
    running, _, token = served
    request = INFER(model_name="wdbc")
    one = request.inputs.add(name="x", datatype=datatype, shape=[1, 30])
    getattr(one.contents, field).extend([1] * 30)
    code, body = Bare(running, token)("ModelInfer", request.SerializeToString())
    assert code == grpc.StatusCode.OK
    found = message("ModelInferResponse").FromString(body)
    assert (
        found.model_version,
        len(found.outputs[0].contents.bytes_contents),
        len(found.outputs[1].contents.fp32_contents),
    ) == ("1", 1, 2)
    assert not found.raw_output_contents
    assert sum(found.outputs[1].contents.fp32_contents) == pytest.approx(1)


def asked(**changed):
    request = INFER(model_name="wdbc")
    request.inputs.add(**{"name": "x", "datatype": "FP64", "shape": [1, 30], **changed})
    return request


def overfull():
    request = asked()
    request.inputs[0].contents.fp64_contents.extend([1.0] * 30)
    request.raw_input_contents.append(b"")
    return request


def too_small():
    request = asked(datatype="INT8")
    request.inputs[0].contents.int_contents.extend([1000] * 30)
    return request


WRONG = {
    "no protobuf": b"\xff\xff\xff",
    "nothing inside": INFER(model_name="wdbc").SerializeToString(),
    "no contents": asked().SerializeToString(),
    "both kinds of contents": overfull().SerializeToString(),
    "a value beyond its type": too_small().SerializeToString(),
    "an unknown type": asked(datatype="FP8").SerializeToString(),
    "a shape that is negative": asked(shape=[-1, 30]).SerializeToString(),
    "a shape that overflows": asked(shape=[2**62, 2**62]).SerializeToString(),
    "an output that is not there": (
        INFER(
            model_name="wdbc", outputs=[{"name": "secret"}], inputs=asked().inputs
        ).SerializeToString()
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_malformed_message_is_an_invalid_argument(served, wrong):
    running, _, token = served
    code, details = Bare(running, token)("ModelInfer", WRONG[wrong])
    assert code == grpc.StatusCode.INVALID_ARGUMENT, details
    assert "Traceback" not in details


@pytest.mark.parametrize("call", ["ServerLive", "ServerReady"])
def test_probes_need_no_token(served, call):
    for token in (None, "cm_wrong"):
        assert Bare(served[0], token)(call, b"") == (grpc.StatusCode.OK, b"\x08\x01")


@pytest.mark.parametrize("call", ["ServerMetadata", "ModelReady", "ModelMetadata", "ModelInfer"])
def test_strangers_get_one_answer_whatever_they_ask(served, call):
    running, _, _ = served
    for token in (None, "cm_wrong"):
        for request in (b"", b"\xff", asked().SerializeToString()):
            assert Bare(running, token)(call, request) == (
                grpc.StatusCode.UNAUTHENTICATED,
                "authentication required",
            )


def test_policy_and_names_are_the_same_as_over_http(served):
    running, project, token = served
    other = new_token(project, "other", models=("different",))[0]
    request = asked()
    request.inputs[0].contents.fp64_contents.extend([1.0] * 30)
    assert (
        Bare(running, other)("ModelInfer", request.SerializeToString())[0]
        == grpc.StatusCode.PERMISSION_DENIED
    )
    for name in ("nobody", "wdbc/versions/1", "../wdbc", "", "wdbc/infer"):
        request.model_name = name
        assert (
            Bare(running, token)("ModelInfer", request.SerializeToString())[0]
            == grpc.StatusCode.NOT_FOUND
        ), name
    ready = message("ModelReadyRequest")(name="wdbc/../..", version="/ready")
    assert (
        Bare(running, token)("ModelReady", ready.SerializeToString())[0]
        == grpc.StatusCode.NOT_FOUND
    )
    assert Bare(running, token)("Other", b"")[0] == grpc.StatusCode.UNIMPLEMENTED


def test_a_message_beyond_max_body_is_refused_also_when_it_was_compressed(served):
    running, _, token = served
    # one field of raw bytes, all of them zero
    bomb = b"\x3a" + b"\x80\x80\x80\x20" + bytes(64 << 20)
    assert len(gzip.compress(bomb)) < 1 << 20
    for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
        bare = Bare(running, token, **{"grpc.max_send_message_length": -1})
        code, details = bare("ModelInfer", bomb, compression=compression)
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED, details
    with open(f"/proc/{running.process.pid}/status") as status:
        assert (
            int(next(line for line in status if line.startswith("VmHWM")).split()[1]) < 600_000
        ), "the whole bomb was inflated"


def test_a_call_has_its_request_id_and_a_refusal_for_now_says_when_to_come_again(clinic):
    configured(clinic, "grpc_port = 0\n", "[serve.limits]\nrequests_per_minute = 3\n")
    project = casemate.open(clinic)
    token = new_token(project, "ward")[0]
    with serving(clinic) as running:
        ask = Bare(running, token).channel.unary_unary(SERVICE + "ServerMetadata")
        metadata = [("authorization", f"Bearer {token}")]
        _, call = ask.with_call(b"", metadata=metadata)
        assert "-" in dict(call.trailing_metadata())["x-request-id"]
        for _ in range(2):
            ask(b"", metadata=metadata)
        with pytest.raises(grpc.RpcError) as refused:
            ask(b"", metadata=metadata)
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert int(dict(refused.value.trailing_metadata())["retry-after"]) >= 1


def test_client_certificates_are_demanded_bound_and_revoked_over_grpc_too(clinic, cli, tmp_path):
    configured(clinic, 'grpc_port = 0\nclient_certificates = "require"\n')
    project = casemate.open(clinic)

    def issue(name):
        answer = cli(
            "keys",
            "certificate",
            "issue",
            "client",
            name,
            "--out",
            tmp_path / name,
            "--config",
            clinic,
            "--format",
            "json",
        )
        return json.loads(answer.out)["serial"], tmp_path / name

    serial, mine = issue("ward-7")
    _, thief = issue("ward-8")
    bound = (
        "access",
        "token",
        "create",
        "bound",
        "--certificate",
        mine / "cert.pem",
        "--out",
        tmp_path / "token",
        "--config",
        clinic,
    )
    assert cli(*bound).code == 0
    headers = bearer((tmp_path / "token").read_text().strip())
    with serving(clinic) as running:
        asking = client(running, folder=mine)
        assert asking.is_server_live(headers=headers)
        with pytest.raises(triton.InferenceServerException, match="UNAUTHENTICATED"):
            client(running, folder=thief).get_server_metadata(headers=headers)
        with pytest.raises(triton.InferenceServerException, match="UNAVAILABLE"):
            client(running).is_server_live(headers=headers)
        assert cli("keys", "certificate", "revoke", serial, "--config", clinic).code == 0

        def ended():
            try:
                return not asking.get_server_metadata(headers=headers)
            except triton.InferenceServerException as error:
                return "UNAUTHENTICATED" in str(error)

        wait_for(ended)
    assert project is not None


def test_callers_who_give_up_leave_nothing_behind(served):
    running, project, token = served
    monitor = Caller(running, new_token(project, "prometheus", role="monitor")[0])
    request = INFER(
        model_name="wdbc",
        raw_input_contents=[np.ones(30 * 1000).tobytes()],
        inputs=asked(shape=[1000, 30]).inputs,
    )
    ask = Bare(running, token).channel.unary_unary(SERVICE + "ModelInfer")
    for number in range(60):
        call = ask.future(
            request.SerializeToString(),
            metadata=[("authorization", f"Bearer {token}")],
            timeout=0.001 * (number % 12 + 1),
        )
        with contextlib.suppress(grpc.RpcError):
            call.result()

    def idle():
        page = monitor("GET", "/metrics")[1].decode().splitlines()
        return "casemate_in_flight 1.0" in page  # the one that asks

    wait_for(idle, 10)


def test_several_workers_share_the_port_of_grpc_and_end_in_peace(clinic):
    configured(clinic, "grpc_port = 0\nworkers = 2\n")
    project = casemate.open(clinic)
    token = new_token(project, "ward")[0]
    with serving(clinic) as running:
        channels = [
            Bare(running, token, **{"grpc.use_local_subchannel_pool": 1}) for _ in range(12)
        ]
        request = asked()
        request.inputs[0].contents.fp64_contents.extend([1.0] * 30)
        assert {bare("ModelInfer", request.SerializeToString())[0] for bare in channels} == {
            grpc.StatusCode.OK
        }
    writers = {said.id.partition("-")[0] for said in project.decisions.newest(12)}
    assert len(writers) == 2, "one worker took all connections"
    assert running.process.returncode == 0


def test_a_port_that_is_taken_refuses_to_start(clinic):
    with socket.create_server(("127.0.0.1", 0)) as other:
        configured(clinic, f"grpc_port = {other.getsockname()[1]}\n")
        done = subprocess.run(
            command("serve", "--port", "0"),
            cwd=clinic,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode != 0
    assert (
        "cannot listen on" in done.stderr
        and "grpc_port" in done.stderr
        and "Traceback" not in done.stderr
    )


def unfinished(running, token, end):
    """A call that sends its message once `end` is set; what it ended with."""

    def late():
        end.wait(60)
        yield asked().SerializeToString()

    bare = Bare(running, token, **{"grpc.use_local_subchannel_pool": 1})
    return bare.channel.stream_unary(SERVICE + "ModelInfer").future(
        late(), metadata=bare.metadata, timeout=60
    )


def test_calls_of_one_address_that_send_nothing_give_way_to_newer_ones_and_keep_nobody_out(clinic):
    configured(
        clinic, "grpc_port = 0\nstrangers_per_address = 20\nstrangers = 40\nmax_waiting = 10\n"
    )
    token = new_token(casemate.open(clinic), "ward")[0]
    request = asked()
    request.inputs[0].contents.fp64_contents.extend([1.0] * 30)
    end = threading.Event()
    with serving(clinic) as running:
        calls = [unfinished(running, token, end) for _ in range(80)]
        try:
            wait_for(lambda: sum(call.done() for call in calls) >= 60)
            assert {call.code() for call in calls if call.done()} == {grpc.StatusCode.UNAVAILABLE}
            for _ in range(5):
                assert (
                    Bare(running, token)("ModelInfer", request.SerializeToString())[0]
                    == grpc.StatusCode.OK
                )
            assert [call for call in calls if not call.done()], "whoever has room keeps it"
        finally:
            end.set()


def test_a_call_has_one_message_and_half_a_minute_for_it(monkeypatch):
    from casemate.serve import grpc as served_by

    monkeypatch.setattr(served_by, "BODY_SECONDS", 0.05)
    calls = served_by.Calls(ServeTable(), Metrics())

    async def never():
        yield b"first"
        await asyncio.Event().wait()

    async def several():
        for _ in range(3):
            yield b"one"

    async def ask(requests):
        context = Told()
        with contextlib.suppress(Aborted):
            return await calls.message(requests, context)
        return context.told

    class Aborted(Exception):
        """As gRPC's."""

    class Told:
        """As much of gRPC's context as a call without an end needs."""

        def peer(self):
            return "ipv4:192.0.2.1:5"

        async def abort(self, code, details, trailing=()):
            self.told = code
            raise Aborted

    async def nothing():
        return
        yield

    async def all_of_them():
        return [await ask(requests) for requests in (never(), several(), nothing())]

    assert asyncio.run(all_of_them()) == [
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.INVALID_ARGUMENT,
    ]
    assert calls.open == 0


def readable(connection):
    """Whether something can be read; `poll` takes any number of open files."""
    asked = select.poll()
    asked.register(connection, select.POLLIN)
    return bool(asked.poll(0))


def test_connections_of_grpc_are_bounded_in_all_and_leave_http_its_own(clinic):
    configured(clinic, "grpc_port = 0\nmax_connections = 10\nstrangers = 10\n")
    token = new_token(casemate.open(clinic), "ward")[0]
    with serving(clinic) as running:
        host, _, port = running.grpc.rpartition(":")
        silent = [socket.create_connection((host, int(port))) for _ in range(40)]
        try:

            def ended():
                return [one for one in silent if readable(one)]

            wait_for(lambda: len(ended()) >= 20)
            assert Caller(running, token)("GET", "/v2")[0] == 200
            assert len(ended()) < 40
        finally:
            for one in silent:
                one.close()
