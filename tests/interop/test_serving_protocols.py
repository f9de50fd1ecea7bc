"""Clients that nobody here wrote ask the gateway: MLflow's, curl, a fuzzer of OpenAPI descriptions;
and SageMaker's contract on the wire.
"""

import http.client
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from tests.attacks.test_gateway import Caller, new_token
from tests.conftest import command

import casemate
from casemate.serve import openapi

SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"


@pytest.fixture(scope="module")
def frame(gateway):
    return gateway[1].datasets["wdbc"].to_pandas().drop(columns=["patient_id", "malignant"])


@pytest.fixture(scope="module")
def expected(gateway, frame):
    """What the gateway says by its first protocol."""
    caller = Caller(gateway[0], new_token(gateway[1], "v2")[0])
    rows = frame[:5].to_numpy().tolist()
    body = {"inputs": [{"name": "x", "shape": [5, 30], "datatype": "FP64", "data": rows}]}
    return json.loads(caller("POST", "/v2/models/wdbc/infer", body)[1])["outputs"][0]["data"]


@pytest.fixture(scope="module")
def mlflow(gateway):
    """MLflow's own client, whose HTTP session knows our authority and a token."""
    requests = pytest.importorskip("requests")
    client = pytest.importorskip(
        "mlflow.pyfunc.scoring_server.client", reason="mlflow-skinny is a development requirement"
    )
    running, project = gateway
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {new_token(project, 'mlflow')[0]}"
    session.trust_env, session.verify = False, str(running.ca)
    asking = client.ScoringServerClient("127.0.0.1", running.port)
    asking.url_prefix = running.url
    before, client.requests = client.requests, session
    yield asking
    client.requests = before


def test_mlflows_client_gets_the_same_predictions_from_everything_that_it_can_send(
    mlflow, frame, expected
):
    mlflow.ping()
    assert mlflow.get_version() == casemate.__version__
    few = frame[:5]
    for data in (few, few[few.columns[::-1]], few.to_numpy(), few.to_numpy().tolist()):
        found = mlflow.invoke(data).get_predictions()
        assert [
            str(value)
            for value in found["predictions" if "predictions" in found else found.columns[0]]
        ] == expected
    with pytest.raises(Exception, match="400"):
        mlflow.invoke(few.rename(columns={few.columns[0]: "x"}))


def curl(running, token, *words):
    done = subprocess.run(
        [
            "curl",
            "--silent",
            "--fail-with-body",
            "--cacert",
            str(running.ca),
            "-H",
            f"Authorization: Bearer {token}",
            *words,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("accept", [(), ("--compressed",)])
def test_curl_sends_csv_with_and_without_names(gateway, frame, expected, tmp_path, accept):
    running, project = gateway
    token = new_token(project, "curl")[0]
    for header in (True, False):
        path = tmp_path / "rows.csv"
        frame[:5].to_csv(path, index=False, header=header)
        code, answer = curl(
            running,
            token,
            *accept,
            "-H",
            "Content-Type: text/csv",
            "--data-binary",
            f"@{path}",
            f"{running.url}/invocations",
        )
        assert (code, json.loads(answer)["predictions"]) == (0, expected)
    assert curl(running, "cm_wrong", f"{running.url}/version") == (
        22,
        '{"error":"authentication required"}',
    )
    assert (
        curl(
            running,
            token,
            "-X",
            "POST",
            "-H",
            "Expect: 100-continue",
            "--data-binary",
            "{}",
            f"{running.url}/invocations",
        )[0]
        == 22
    )


@pytest.mark.parametrize("path", ["/v2/health/live", "/version", "/", "/nowhere"])
def test_every_answer_tells_a_browser_that_it_is_no_page(gateway, path):
    running = gateway[0]
    done = subprocess.run(
        ["curl", "-si", "--cacert", running.ca, f"{running.url}{path}"],
        capture_output=True,
        text=True,
        check=True,
    )
    told = done.stdout.lower()
    for header in (
        "x-content-type-options: nosniff",
        "x-frame-options: deny",
        "content-security-policy: default-src 'none'; frame-ancestors 'none'",
    ):
        assert told.count(f"\n{header}") == 1


def fuzzed(running, token, description, tmp_path, checks):
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(description))
    return subprocess.run(
        [SCHEMATHESIS, "run", path, "--url", running.url, "--header", f"Authorization: Bearer {token}", "--tls-verify", running.ca,
         "--checks", checks, "--max-examples", "25", "--phases", "examples,fuzzing", "--seed", "1", "--no-color", "--workers", "1",
         "--suppress-health-check", "all", "--generation-database", "none"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip


def test_the_gateway_does_what_its_own_description_says(gateway, tmp_path):
    if not SCHEMATHESIS.exists():
        pytest.skip("schemathesis is a development requirement")
    running, project = gateway
    token = new_token(project, "fuzz")[0]
    told = json.loads(Caller(running, token)("GET", "/openapi.json")[1])
    assert told == json.loads(openapi.document())
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    done = fuzzed(running, token, told, tmp_path, checks)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_the_gateway_does_what_the_protocols_description_says(gateway, case, tmp_path):
    if not SCHEMATHESIS.exists():
        pytest.skip("schemathesis is a development requirement")
    running, project = gateway
    text = (Path(case("vectors/oip")) / "open_inference_rest.yaml").read_text().replace("${", "{")
    done = fuzzed(
        running,
        new_token(project, "oip")[0],
        yaml.safe_load(text),
        tmp_path,
        "not_a_server_error,response_schema_conformance",
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


@pytest.fixture
def container(own):
    """`casemate serve --sagemaker`, on another port and this machine only."""
    process = subprocess.Popen(
        command("serve", "--sagemaker", "--port", "0"),
        cwd=own,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    line = process.stdout.readline()
    assert "plain HTTP" in line, process.stderr.read()
    yield own, int(line.split("http://")[1].split()[0].rsplit(":", 1)[1])
    process.terminate()
    assert process.wait(20) == 0


def test_sagemakers_contract_holds_and_credentials_come_where_it_lets_them_through(
    container, frame, expected
):
    root, port = container
    project = casemate.open(root)
    content = "\n".join(",".join(map(repr, row)) for row in frame[:5].to_numpy().tolist())

    def ask(method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request(
            method, path, body, {name.replace("_", "-"): value for name, value in headers.items()}
        )
        reply = connection.getresponse()
        return reply.status, reply.read()

    assert ask("GET", "/ping") == (200, b"")
    csv = {"Content_Type": "text/csv"}
    assert ask("POST", "/invocations", content, **csv)[0] == 401, "no such service is registered"
    token = new_token(project, "caller")[0]
    status, answer = ask(
        "POST", "/invocations", content, **csv, X_Amzn_SageMaker_Custom_Attributes=f"Bearer {token}"
    )
    assert (status, json.loads(answer)["predictions"]) == (200, expected)
    assert (
        ask(
            "POST", "/invocations", content, **csv, X_Amzn_SageMaker_Custom_Attributes="Bearer cm_x"
        )[0]
        == 401
    )
    project.access.add_service("sagemaker", ["client"], ["wdbc"], by_certificate=True)
    time.sleep(1.0)
    status, answer = ask("POST", "/invocations", content, **csv)
    assert (status, json.loads(answer)["predictions"]) == (200, expected)
    assert next(project.decisions.newest(1)).principal == 'Service::"sagemaker"'
    assert np.isfinite(json.loads(answer)["probabilities"]).all()
