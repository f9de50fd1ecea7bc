"""Alerts and incidents over HTTP: a real gateway, a real Alertmanager that sends a storm, and both
killed in the middle of it.
"""

import datetime
import json
import shutil
import signal
import urllib.request

import pytest
import sqlalchemy as sa
from tests.attacks.test_gateway import Caller, new_token
from tests.conftest import command, serving, wait_for
from tests.interop.test_alerts_delivered import run, started
from tests.ports import free_port
from tests.unit.operations.test_operations import PASSWORD, secret_of

import casemate
from casemate.respond import tables

ALERTS = 1_000
managers = pytest.mark.skipif(
    shutil.which("prometheus-alertmanager") is None,
    reason="prometheus-alertmanager is not installed",
)


def own(*names: str, **more) -> bytes:
    return json.dumps({"alerts": [{"name": name, **more} for name in names]}).encode()


def test_an_alerter_reports_and_learns_nothing_and_people_handle_with_their_own_session(clinic):
    project = casemate.open(clinic)
    project.access.add_user("ana", ["operator"], PASSWORD)
    project.access.add_user("eva", ["auditor"], PASSWORD)
    alerter, _ = new_token(project, "alertmanager", "alerter")
    client, _ = new_token(project, "app", "client")
    with serving(clinic) as running:
        told = Caller(running, alerter)
        status, body, _ = told("POST", "/incidents/alerts", own("x"))
        assert (status, json.loads(body)) == (200, {"alerts": 1})
        status, body, _ = told("POST", "/incidents/alerts", b'{"alerts": [{}]}')
        assert (status, json.loads(body)["code"]) == (400, "CM-REQUEST")
        for method, path in (("GET", "/incidents"), ("POST", "/incidents/1/close")):
            assert told(method, path, b"{}" if method == "POST" else None)[0] == 403
        assert Caller(running, client)("POST", "/incidents/alerts", own("x"))[0] == 403
        ana, eva = (Caller(running, secret_of(project, name)) for name in ("ana", "eva"))
        status, body, _ = eva("GET", "/incidents", None)
        assert [one["incident"]["id"] for one in json.loads(body)] == [1]
        assert eva("POST", "/incidents/1/acknowledge", b"{}")[0] == 403
        status, body, _ = ana("POST", "/incidents/1/acknowledge", b'{"personal_data": true}')
        assert (status, json.loads(body)["owner"]) == (200, 'User::"ana"')
        assert ana("POST", "/incidents/1/close", b"{}")[0] == 409
        assert ana("POST", "/incidents/1/close", b'{"text": "a drill"}')[0] == 200
        assert ana("GET", "/incidents/1", None)[0] == 200
        for path in ("/incidents/2", "/incidents/x", "/incidents/99999999999"):
            assert ana("GET", path, None)[0] == 404
        assert ana("POST", "/incidents/1/note", b'{"text": ""}')[0] == 400
        assert ana("POST", "/incidents/1/note", b'{"more": 1}')[0] == 400
    shown = project.incidents.show(1)
    assert [(line.who, line.action) for line in shown.lines] == [
        ('Service::"alertmanager"', "incident:opened"),
        ('User::"ana"', "incident:acknowledged"),
        ('User::"ana"', "incident:closed"),
    ]


def storm(port: int) -> None:
    """Post a thousand alerts that say the same of a thousand parts."""
    now = datetime.datetime.now(datetime.UTC)
    for start in range(0, ALERTS, 100):
        alerts = [
            {
                "labels": {
                    "alertname": "Down",
                    "severity": "page",
                    "instance": f"host{n}",
                },
                "annotations": {"summary": "it is down"},
                "startsAt": now.isoformat(),
                "endsAt": (now + datetime.timedelta(hours=1)).isoformat(),
            }
            for n in range(start, start + 100)
        ]
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/v2/alerts",
            json.dumps(alerts).encode(),
            {"content-type": "application/json"},
        )
        urllib.request.urlopen(request).close()


def heard(project) -> int:
    """How many different alerts the project knows."""
    with project.database.reading() as tx:
        return tx.execute(sa.select(sa.func.count()).select_from(tables.ALERTS)).scalar_one()


@managers
def test_a_storm_with_both_killed_in_the_middle_is_one_incident_and_none_is_lost(clinic, tmp_path):
    project = casemate.open(clinic)
    folder, port, gateway = tmp_path / "prom", free_port(), free_port()
    run(
        [*command(), "deploy", "prometheus", str(folder), "--address", f"127.0.0.1:{gateway}"],
        clinic,
    )
    token, _ = new_token(project, "alertmanager", "alerter")
    (folder / "alerter.token").write_text(token)
    text = (folder / "alertmanager.yml").read_text()
    # a group for each, so that a thousand messages come at once, and intervals of seconds
    text = text.replace("group_by: [alertname, slo, model]", "group_by: [alertname, instance]")
    text = text.replace("group_wait: 5s", "group_wait: 1s")
    text = text.replace("group_interval: 5m", "group_interval: 5s")
    (folder / "alertmanager.yml").write_text(text)
    words = [
        "prometheus-alertmanager",
        "--config.file=alertmanager.yml",
        "--storage.path=am",
        "--cluster.listen-address=",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    manager = started(words, folder, port)
    try:
        with serving(clinic, port=gateway) as running:
            storm(port)
            wait_for(lambda: heard(project) > 10)
            running.process.send_signal(signal.SIGKILL)
            manager.kill()
            manager.wait(20)
        manager = started(words, folder, port)
        storm(port)  # as Prometheus goes on to tell
        with serving(clinic, port=gateway):
            wait_for(lambda: heard(project) == ALERTS, 180)
    finally:
        manager.kill()
        manager.wait(20)
    (found,) = project.incidents.list("all")
    assert (found.incident.alerts, found.standing) == (ALERTS, ALERTS)
    assert found.incident.root == "name:Down"
    project.incidents.show(found.incident.id)
