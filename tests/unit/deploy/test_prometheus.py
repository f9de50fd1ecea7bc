"""What is rendered for Prometheus: every rule has a case in which it fires and one in which it is
silent, and a promise that says too little is refused.
"""

import json
import re
import shutil
import subprocess

import msgspec
import pytest

from casemate.config import ObjectiveTable, parse
from casemate.core.errors import ConfigError
from casemate.deploy import prometheus
from casemate.deploy.files import write
from casemate.deploy.prometheus.texts import TEXTS

BASE = """
[project]
name = "demo"
id = "demo-1"
[data]
source = "t.csv"
target = "y"
[train]
entry = "train.py:build"
"""
OBJECTIVES = """
[slo.answers]
kind = "availability"
[slo.quick]
kind = "latency"
target = 0.99
[slo.young]
kind = "freshness"
most = 90
[slo.known]
kind = "guarded"
most = 0.05
[slo.good]
kind = "quality"
least = 0.7
"""
AUTHORITY = b"-----BEGIN CERTIFICATE-----\n"


def rendered(text: str = BASE + OBJECTIVES) -> dict[str, bytes]:
    return prometheus.render(parse(text), AUTHORITY, "127.0.0.1:8443")


def alerts(files: dict[str, bytes]) -> set[str]:
    return set(re.findall(r"- alert: (\w+)", files["casemate.rules.yml"].decode()))


def test_every_alert_is_tried_in_a_case_where_it_fires_and_one_where_it_is_silent():
    files = rendered()
    tests = files["casemate.rules.test.yml"].decode()
    fires = set(re.findall(r"alertname: (\w+)\n +exp_alerts:\n +- exp_labels", tests))
    silent = set(re.findall(r"alertname: (\w+)\n +exp_alerts: \[\]", tests))
    assert fires == silent == alerts(files) == set(TEXTS)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize("text", [BASE, pytest.param(BASE + OBJECTIVES, marks=pytest.mark.slow)])
def test_promtool_and_its_rule_tests_pass(tmp_path, text):
    write(tmp_path, "prometheus", rendered(text))
    (tmp_path / "token").write_text("t")
    for words in (
        ("check", "config", "prometheus.yml"),
        ("test", "rules", "casemate.rules.test.yml"),
    ):
        done = subprocess.run(
            ["promtool", *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize(
    ("case", "before", "after"),
    [
        ("answers: one is, at night", ">= 10)", ">= 0)"),
        ("answers: some are, for minutes", "0.02 * casemate:slo_budget", "2 * casemate:slo_budget"),
        ("a note", 'casemate_alarm{severity="page"}', "casemate_alarm"),
        (
            "young: a young one",
            "casemate_model_age_seconds) > 7776000",
            "casemate_model_age_seconds) > 0",
        ),
        ("known: few are", "> 0.05 * sum by (model)", "> 0 * sum by (model)"),
        ("it lost a scrape or two", "for: 5m", "for: 0s"),
    ],
)
def test_the_rule_tests_notice_a_rule_that_is_wrong(tmp_path, case, before, after):
    """By the case that is there for it, alone: some of the others last for a day."""
    files = rendered()
    rules = files["casemate.rules.yml"].decode()
    assert before in rules
    tests = files["casemate.rules.test.yml"].decode()
    head, *cases = tests.split("\n  - name: ")
    (only,) = [one for one in cases if one.startswith(f"'{case}'")]
    files["casemate.rules.test.yml"] = f"{head}\n  - name: {only}".encode()
    for text, passes in ((rules, True), (rules.replace(before, after), False)):
        write(tmp_path, "prometheus", files | {"casemate.rules.yml": text.encode()}, replace=True)
        done = subprocess.run(
            ["promtool", "test", "rules", "casemate.rules.test.yml"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode == 0) == passes, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("amtool") is None, reason="amtool is not installed")
def test_amtool_takes_the_alertmanager_configuration(tmp_path):
    write(tmp_path, "prometheus", rendered())
    done = subprocess.run(
        ["amtool", "check-config", "alertmanager.yml"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"kind": "latency", "seconds": 0.3}, "no limit that the gateway counts by"),
        ({"kind": "freshness"}, "needs 'most'"),
        ({"kind": "guarded"}, "needs 'most'"),
        ({"kind": "quality"}, "needs 'least'"),
    ],
)
def test_an_objective_that_says_too_little_is_refused(table, said):
    with pytest.raises(ConfigError, match=said):
        prometheus.require_whole("x", msgspec.convert(table, ObjectiveTable))


def test_rendering_twice_writes_nothing_and_receivers_of_ones_own_stay(tmp_path):
    files = rendered()
    assert set(write(tmp_path, "prometheus", files).written) == set(files)
    assert write(tmp_path, "prometheus", rendered()).written == []
    path = tmp_path / "alertmanager.yml"
    path.write_text(path.read_text().replace("127.0.0.1:9098/pages", "pager.example.org/"))
    moved = prometheus.render(parse(BASE), AUTHORITY, "gateway.example.org:8443")
    done = write(tmp_path, "prometheus", moved)
    assert done.edited == ["alertmanager.yml"]
    text = path.read_text()
    assert "pager.example.org" in text
    assert "gateway.example.org:8443" in text


def test_texts_of_the_configuration_cannot_leave_their_place_in_yaml():
    text = BASE.replace('"demo"', '"demo"').replace("demo-1", "demo-2")
    hostile = "127.0.0.1:1'\n  evil: 'x"
    files = prometheus.render(parse(text), AUTHORITY, hostile)
    (line,) = [
        one
        for one in files["prometheus.yml"].decode().splitlines()
        if 'targets: ["127.0.0.1:1' in one or "127.0.0.1:1'" in one
    ]
    assert "evil" in line


def test_the_dashboard_is_json_whose_panels_all_ask_something():
    board = json.loads(rendered()["grafana/casemate.json"])
    assert board["schemaVersion"] >= 39
    assert all(panel["targets"][0]["expr"] for panel in board["panels"])
    assert sum("Error budget" in panel["title"] for panel in board["panels"]) == 2
