"""The container's contract, run for real in a folder like `/opt/ml`: training leaves a signed model
or a file that says why not; nothing is served that was not verified.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request

import msgspec
import pytest
from tests.conftest import command, wait_for
from tests.ports import free_port

import casemate
from casemate.config.container import SETTING, ContainerTable
from casemate.core.digest import sha256
from casemate.core.errors import ConfigError, Error, RefusedError, TrainingError
from casemate.core.home import keystore_folder
from casemate.operations import trainingjob as job
from casemate.serve import contained

pytestmark = pytest.mark.slow
ROW = [1.0] * 30


@pytest.fixture
def model(clinic, tmp_path):
    """An exported model that somebody approved, and the public keys of its owner."""
    project = casemate.open(clinic)
    project.models["wdbc"].export(tmp_path / "ml/model")
    wiring = project.project
    release = wiring.registry.get("wdbc").release
    _, statement = wiring.approvals.sign(
        wiring.signer, release, "production", "User::ana", "tried on ward 7"
    )
    (tmp_path / "ml/model/approvals.jsonl").write_bytes(statement + b"\n")
    shutil.copytree(clinic / ".casemate/public", tmp_path / "keys")
    return tmp_path / "ml"


def told(root, **said):
    bundle = sha256((root / "model/model.sig").read_bytes())
    table = ContainerTable(**{"bundle": bundle, "stage": "production", **said})
    return msgspec.json.encode(table).decode()


def environment(root, **said):
    return {**os.environ, SETTING: told(root, **said)}


def words(root, port=0):
    return command(
        "sagemaker", "serve", "--root", root, "--key", root.parent / "keys", "--port", port
    )


def refused(root, port=18080, **said):
    done = subprocess.run(
        words(root, port),
        env=environment(root, **said),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done


@contextlib.contextmanager
def served(root, **said):
    port = free_port()
    process = subprocess.Popen(
        words(root, port),
        env=environment(root, **said),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def ready():
        if process.poll() is not None:
            raise AssertionError(process.stderr.read())
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/ping").status == 200
        return False

    try:
        wait_for(ready)
        yield port, process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def ask(port, body, path="/invocations", kind="application/json", **headers):
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        body if isinstance(body, bytes) else json.dumps(body).encode(),
        {"content-type": kind, **headers},
    )
    try:
        with urllib.request.urlopen(asked) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_a_verified_model_answers_as_sagemaker_asks_and_ends_as_it_says(model):
    with served(model, max_body_mb=0.01) as (port, process):
        status, body = ask(port, {"instances": [ROW, ROW]})
        assert status == 200
        answer = json.loads(body)
        assert len(answer["predictions"]) == len(answer["probabilities"]) == 2
        csv = ask(port, ",".join(map(str, ROW)).encode(), kind="text/csv", accept="text/csv")
        assert csv[0] == 200
        assert csv[1].decode().split(",")[0] == str(answer["predictions"][0])
        assert ask(port, {"instances": [["hunter2"] * 30]})[0] in (400, 422)
        assert ask(port, b"{", kind="application/json")[0] == 400
        assert ask(port, b"x" * 20_000)[0] == 413
        assert ask(port, {}, path="/models")[0] == 404
        with pytest.raises(urllib.error.HTTPError, match="405"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/invocations")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        lines = [json.loads(line) for line in process.stdout]
    assert [line["status"] for line in lines][:2] == [200, 200]
    assert {line["model"] for line in lines} == {"wdbc@1"}
    assert lines[0]["rows"] == 2
    assert all(set(line) == {*contained.Line.__struct_fields__} for line in lines)


def test_callers_are_told_as_much_as_the_project_says(model):
    with served(model, outputs={"show": "label"}) as (port, _):
        _, body = ask(port, {"instances": [ROW]})
        assert set(json.loads(body)) == {"predictions"}


def test_one_flipped_byte_in_any_file_and_nothing_is_served(model):
    for path in [*sorted((model / "model/model").iterdir()), model / "model/model.sig"]:
        sound = path.read_bytes()
        os.chmod(path, 0o644)
        path.write_bytes(sound[:-9] + bytes([sound[-9] ^ 1]) + sound[-8:])
        assert refused(model, bundle=told_bundle(model, sound, path)).returncode == 4, path.name
        path.write_bytes(sound)


def told_bundle(root, sound, path):
    """The digest that is meant: of the bundle as it was."""
    return sha256(sound if path.name == "model.sig" else (root / "model/model.sig").read_bytes())


@pytest.mark.long
def test_another_model_stage_or_too_few_approvals_and_nothing_is_served(model):
    assert refused(model, bundle="0" * 64).returncode == 1
    assert "signed for the stage" in refused(model, stage="staging").stderr
    assert "1 of 2 approvals" in refused(model, approvals=2).stderr
    assert "the ledger" in refused(model, outputs={"show": "aggregate"}).stderr
    (model / "model/approvals.jsonl").unlink()
    assert "0 of 1 approvals" in refused(model).stderr
    shutil.rmtree(model.parent / "keys")
    assert refused(model).returncode == 2


@pytest.mark.parametrize("text", [None, "", "{}", "[]", '{"bundle": "x"}', "[" * 100_000])
def test_a_container_that_was_not_told_its_model_starts_none(text):
    with pytest.raises(ConfigError, match=SETTING):
        contained.told(text)
    table = ContainerTable(bundle="a" * 64, stage="production")
    with pytest.raises(RefusedError, match="sha256:"):
        contained.require_meant("b" * 64, table)


@pytest.mark.parametrize("port", ["99999", "65536", "0", "-5"])
def test_what_is_no_port_is_told_before_anything_is_read(port, tmp_path, monkeypatch, cli):
    done = cli("sagemaker", "serve", "--root", tmp_path, "--port", port)
    assert (done.code, "is no port" in done.err) == (2, True)
    for said in (port, "", "eighty", "0" * 9 + "8080", "00080000000000", "²"):
        monkeypatch.setenv("SAGEMAKER_BIND_TO_PORT", said)
        done = cli("sagemaker", "serve", "--root", tmp_path)
        assert (done.code, "is no port" in done.err) == (2, True)


def test_a_port_that_is_taken_is_one_message(model):
    with socket.create_server(("0.0.0.0", 0)) as taken:
        done = refused(model, taken.getsockname()[1])
    assert done.returncode == 5
    assert "cannot listen on 0.0.0.0" in done.stderr
    assert "set --port" in done.stderr


@pytest.fixture
def given(own, tmp_path):
    """`/opt/ml` as SageMaker makes it for a job."""
    root = tmp_path / "ml"
    config = root / "input/config"
    config.mkdir(parents=True)
    shutil.copytree(own, root / "input/data/project")
    keys = keystore_folder(casemate.open(own).config.project.id)
    shutil.copytree(keys, root / "input/data/keys")
    for name, said in (
        ("hyperparameters", {"train.metric": '"accuracy"', "sagemaker_region": '"eu-central-1"'}),
        ("inputdataconfig", {one: {"TrainingInputMode": "File"} for one in ("project", "keys")}),
        ("resourceconfig", {"current_host": "algo-1", "hosts": ["algo-1"]}),
    ):
        (config / f"{name}.json").write_text(json.dumps(said))
    (root / "model").mkdir()
    return root


def setting(root, name, said):
    text = said if isinstance(said, str) else json.dumps(said)
    (root / "input/config" / f"{name}.json").write_text(text)


def failure(root):
    return (root / "output/failure").read_text()


def test_a_job_leaves_a_signed_model_and_the_project_and_no_private_key(given, capsys):
    assert job.train(given) == job.Trained(model="wdbc@2", why="")
    assert capsys.readouterr().out == ""
    assert not (given / "output/failure").exists()
    assert {"model", "model.sig"} <= {path.name for path in (given / "model").iterdir()}
    casemate.verify(given / "model", [given / "output/data/project/.casemate/public"])
    project = casemate.open(given / "output/data/project")
    assert project.models["wdbc"].reference == "wdbc@2"
    secret = (given / "input/data/keys/keystore.json").read_bytes()
    for path in (given / "output").rglob("*"):
        assert not path.is_file() or path.name != "keystore.json"
        assert not path.is_file() or secret not in path.read_bytes()


@pytest.mark.long
def test_a_model_that_waits_for_approvals_is_signed_and_not_given_out(given, cli):
    path = given / "input/data/project/casemate.toml"
    path.write_text(path.read_text() + "\n[release]\napprovals = 1\n")
    done = cli("sagemaker", "train", "--root", given, "--format", "json")
    assert done.code == 0
    assert done.value["model"] == "wdbc@2"
    assert "approv" in done.value["why"]
    assert list((given / "model").iterdir()) == []
    assert not (given / "output/failure").exists()


def test_a_refused_model_is_a_failed_job_that_says_why(given, cli):
    path = given / "input/data/project/casemate.toml"
    text = path.read_text()
    assert "roc_auc = { min = 0.85 }" in text
    path.write_text(text.replace("roc_auc = { min = 0.85 }", "roc_auc = { max = 0.1 }"))
    done = cli("sagemaker", "train", "--root", given)
    assert done.code == 1
    assert done.out.startswith("refused: ")
    assert failure(given).startswith("refused: ")
    assert "roc_auc" in failure(given)
    assert list((given / "model").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "said", "expected"),
    [
        ("hyperparameters", {"gates.roc_auc.min": "0"}, "no option of [train]"),
        ("hyperparameters", {"keys.provider": "file"}, "no option of [train]"),
        ("hyperparameters", {"train.metric=x": "1"}, "no option of [train]"),
        ("hyperparameters", {"train.metrik": "1"}, "metrik"),
        ("hyperparameters", {"train.metric": 1}, "not what SageMaker writes"),
        ("hyperparameters", "[" * 100_000, "not what SageMaker writes"),
        ("hyperparameters", " " * (2 << 20), "more than"),
        ("inputdataconfig", {"project": {}}, "no channel 'keys'"),
        ("inputdataconfig", {}, "no channel 'project'"),
        (
            "inputdataconfig",
            {"project": {"TrainingInputMode": "Pipe"}, "keys": {}},
            "in mode 'Pipe'",
        ),
        ("resourceconfig", {"hosts": ["algo-1", "algo-2"]}, "2 machines"),
    ],
)
def test_a_job_that_is_none_of_ours_says_what_is_wrong(tmp_path, name, said, expected):
    root = tmp_path / "ml"
    (root / "input/config").mkdir(parents=True)
    (root / "input/data/keys").mkdir(parents=True)
    (root / "input/data/project").mkdir()
    (root / "input/data/project/casemate.toml").write_text(
        '[project]\nname = "a"\nid = "a-1"\n[data]\nsource = "a.csv"\ntarget = "y"\n'
        '[train]\nentry = "t.py:b"\n'
    )
    both = {one: {"TrainingInputMode": "File"} for one in ("project", "keys")}
    setting(root, "inputdataconfig", both)
    setting(root, name, said)
    with pytest.raises(Error) as raised:
        job.train(root)
    assert raised.value.exit_code == 2
    assert expected in failure(root)
    assert len(failure(root)) <= 1024


def test_a_link_in_a_channel_leads_nowhere(given, tmp_path):
    (tmp_path / "secret").write_text("hunter2")
    (given / "input/data/project/data/link").symlink_to(tmp_path / "secret")
    with pytest.raises(Error) as raised:
        job.train(given)
    assert raised.value.exit_code == 2
    assert "is no file" in failure(given)
    assert not (given / "output/data/project").exists()


def test_what_training_code_says_of_rows_is_not_told_where_the_job_is_described(given):
    text = "def build():\n    raise ValueError('could not convert Ada Lovelace to float')\n"
    (given / "input/data/project/train.py").write_text(text)
    with pytest.raises(TrainingError, match="Lovelace"):
        job.train(given)
    assert failure(given).startswith("CM-TRAIN: ")
    assert "ValueError" in failure(given)
    assert "Lovelace" not in failure(given)


def test_a_fault_of_ours_is_told_without_its_words(given, monkeypatch):
    monkeypatch.setattr(job, "_trained", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        job.train(given)
    assert failure(given) == "ZeroDivisionError: a fault of casemate; the job's log says where"
