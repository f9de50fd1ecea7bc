"""Rendered Kubeflow pipelines, compiled by kfp and run by its local runner, the training in casemate's
own sandbox. A cluster is not there.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import casemate
from casemate.cli import main
from casemate.core.digest import sha256

SOURCE = Path(__file__).with_name("kubeflow")
PYTHON = "CASEMATE_KFP_PYTHON"
"""Variable that names an interpreter with the packages of the lock, so that they are installed once."""
IMAGE = "registry.example/casemate@sha256:" + "0" * 64


@pytest.fixture(scope="session")
def kfp(tmp_path_factory) -> Path:
    """An interpreter with kfp, and without casemate."""
    if given := os.environ.get(PYTHON):
        return Path(given)
    folder = tmp_path_factory.mktemp("kfp")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
    done = subprocess.run(
        [folder / "bin/python", *install, "--requirement", SOURCE / "requirements.txt"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"pip cannot install kfp here: {done.stderr[-300:]}")
    return folder / "bin/python"


@pytest.fixture
def full(pytestconfig: pytest.Config) -> None:
    """What takes too long for each time."""
    if not pytestconfig.getoption("--full"):
        pytest.skip("in `make pipelines`: another run of the whole pipeline")


def ready(root: Path) -> None:
    """The project as a repository with its pipelines and public keys."""
    shutil.copytree(root / ".casemate" / "public", root / "trusted")
    words = ["deploy", "kubeflow", str(root), "--config", str(root), "--image", IMAGE]
    assert main(words) == 0


def change(root: Path, old: str, new: str) -> None:
    path = root / "casemate.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def started(kfp: Path, root: Path, pipeline: str, *said: str) -> subprocess.CompletedProcess[str]:
    """A pipeline, as kfp's local runner runs it."""
    settings = {
        "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}",
        "CASEMATE_REPOSITORY": str(root),
        "TMPDIR": str(root.parent),
    }
    return subprocess.run(
        [kfp, SOURCE / "local.py", root / "pipeline.py", root.parent / "outputs", pipeline, *said],
        cwd=root.parent,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def run_of(done: subprocess.CompletedProcess[str]) -> str:
    """The id that kfp gave to the pipeline."""
    return re.search(r'"run": "([^"]+)"', done.stdout + done.stderr).group(1)


def outcome(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """How each step ended."""
    plain = re.sub(r"\x1b\[\d+m", "", done.stdout + done.stderr)
    return dict(re.findall(r"Task '([\w-]+)' finished with status (\w+)", plain))


def live(root: Path) -> list[str]:
    return [one.reference for one in casemate.open(root).rollouts.all() if one.part == "live"]


PASSED = dict.fromkeys(["build", "test", "train", "assess", "gate"], "SUCCESS")


@pytest.mark.long
def test_a_pipeline_trains_keeps_evidence_by_digest_and_a_second_one_lets_the_model_out(
    kfp, clinic
):
    ready(clinic)
    done = started(kfp, clinic, "train_pipeline")
    assert done.returncode == 0, done.stdout + done.stderr
    assert outcome(done) == PASSED
    assert live(clinic) == []
    outputs = next((clinic.parent / "outputs").glob("casemate-train-*"))
    told = json.loads((outputs / "assess/executor_output.json").read_text())["artifacts"]
    (evidence,), (gates,) = (told[name]["artifacts"] for name in ("evidence", "gates"))
    signed = outputs / "assess/evidence/evidence/evidence.dsse.json"
    assert evidence["metadata"] == {"casemate": f"sha256:{sha256(signed.read_bytes())}"}
    keys = ("--key", str(clinic / "trusted"))
    assert main(["verify", str(signed.parent), *keys]) == 0
    assert gates["metadata"]["roc_auc"] > 0.85
    # a person starts the other one
    done = started(kfp, clinic, "deploy_pipeline", f"run={run_of(done)}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert live(clinic) == ["wdbc@2"]
    outputs = next((clinic.parent / "outputs").glob("casemate-deploy-*"))
    (model,) = json.loads((outputs / "deploy/executor_output.json").read_text())["artifacts"][
        "model"
    ]["artifacts"]
    folder = outputs / "deploy/model"
    assert model["metadata"] == {
        "casemate": f"sha256:{sha256((folder / 'model.sig').read_bytes())}"
    }
    assert main(["verify", str(folder), *keys]) == 0
    # a run that nobody made lets nothing out, however it is spelled
    for run in ("1", '"; casemate model promote wdbc@1; "', "$(id)"):
        assert started(kfp, clinic, "deploy_pipeline", f"run={run}").returncode == 1
    assert live(clinic) == ["wdbc@2"]


@pytest.mark.parametrize("how", ["refused", "crashed"])
@pytest.mark.long
def test_a_gate_ends_a_pipeline_with_the_words_of_the_refusal(kfp, clinic, how, request):
    if how == "crashed":
        request.getfixturevalue("full")
    ready(clinic)
    if how == "refused":
        change(clinic, "roc_auc = { min = 0.85 }", "roc_auc = { max = 0.1 }")
    else:
        (clinic / "train.py").write_text("raise SystemExit(9)\n")
    done = started(kfp, clinic, "train_pipeline")
    assert done.returncode == 1
    steps = outcome(done)
    assert list(steps.values())[-1] == "FAILURE"
    assert "deploy" not in steps
    if how == "refused":
        assert steps == PASSED | {"gate": "FAILURE"}
        assert re.search(r"RuntimeError:(?s:.*)roc_auc", done.stdout + done.stderr)
        kept = next((clinic.parent / "outputs").glob("casemate-train-*/assess/evidence"))
        assert main(["verify", str(kept / "evidence"), "--key", str(clinic / "trusted")]) == 0
    refused = started(kfp, clinic, "deploy_pipeline", f"run={run_of(done)}")
    assert refused.returncode == 1
    assert live(clinic) == []


@pytest.mark.long
def test_a_model_that_nobody_approved_is_not_let_out(kfp, clinic, full):
    with (clinic / "casemate.toml").open("a") as file:
        file.write("\n[release]\napprovals = 1\n")
    ready(clinic)
    done = started(kfp, clinic, "train_pipeline")
    assert outcome(done) == PASSED
    refused = started(kfp, clinic, "deploy_pipeline", f"run={run_of(done)}")
    assert refused.returncode == 1
    assert "0 of 1 approvals" in refused.stdout + refused.stderr
    assert live(clinic) == []


def test_what_is_compiled_mounts_the_volume_asks_for_its_image_and_has_no_numbers(
    kfp, fresh, tmp_path
):
    with (fresh / "casemate.toml").open("a") as file:
        file.write('\n[deploy]\nsecrets = ["PW"]\n')
    ready(fresh)
    for _ in range(2):  # the same each time
        done = subprocess.run(
            [kfp, fresh / "pipeline.py"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    for name in ("train", "deploy", "feedback"):
        said, platform = yaml.safe_load_all((tmp_path / f"{name}.yaml").read_text())
        executors = said["deploymentSpec"]["executors"]
        for one in executors.values():
            container = one["container"]
            assert container["image"] == IMAGE
            assert {"name": "HOME", "value": "/casemate/home"} in container["env"]
            assert "pip install" not in " ".join(container["command"])
            assert container["resources"]["resourceMemoryLimit"]
        placed = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        assert set(placed) == set(executors)
        for one in placed.values():
            (mounted,) = one["pvcMount"]
            assert (mounted["constant"], mounted["mountPath"]) == ("casemate", "/casemate")
            assert one["secretAsEnv"][0]["keyToEnv"] == [{"secretKey": "PW", "envVar": "PW"}]
        for task in said["root"]["dag"]["tasks"].values():
            assert not task.get("cachingOptions")
        kinds = {
            parameter["parameterType"]
            for component in said["components"].values()
            for parameter in component["inputDefinitions"]["parameters"].values()
        }
        assert kinds == {"STRING"}
    assert ast.parse((fresh / "pipeline.py").read_text())
