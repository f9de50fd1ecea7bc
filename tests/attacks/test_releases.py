"""Versions come and go while requests go on: promotion, canary, shadow, rollback, withdrawal,
draining, several workers.
"""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import ssl
import threading
import time

import pytest
from tests.attacks.test_gateway import Caller, new_token
from tests.attacks.test_predictions import configured
from tests.conftest import command, serving
from tests.faults.test_gateway_faults import children

import casemate
from casemate.core.errors import BackendError, ConfigError
from casemate.operations import models
from casemate.serve import watches
from casemate.serve.health import Health
from casemate.serve.metrics import Metrics
from casemate.serve.parts import assemble

BODY = json.dumps(
    {"inputs": [{"name": "x", "shape": [1, 30], "datatype": "FP64", "data": [1.0] * 30}]}
)
INFER = "/v2/models/wdbc/infer"


class Asking:
    """Somebody who asks all the time from a connection of his own, and opens a new one when the
    server closes it between requests.
    """

    def __init__(self, running, token):
        self.running, self.token = running, token
        self.answers, self.faults, self.end = [], [], threading.Event()
        self.thread = threading.Thread(target=self.ask)

    def ask(self):
        context, connection = ssl.create_default_context(cafile=str(self.running.ca)), None
        while not self.end.is_set():
            connection = connection or http.client.HTTPSConnection(
                "127.0.0.1", self.running.port, context=context, timeout=20
            )
            try:
                connection.request("POST", INFER, BODY, {"Authorization": f"Bearer {self.token}"})
                reply = connection.getresponse()
                content = reply.read()
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                connection = None  # closed before it took the request: that is no lost answer
                continue
            except OSError as error:
                self.faults.append(repr(error))
                return
            if reply.will_close:
                connection = None
            if reply.status == 200:
                self.answers.append(
                    (json.loads(content)["model_version"], reply.headers["x-request-id"])
                )
            else:
                self.faults.append((reply.status, content))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.end.set()
        self.thread.join()

    def sees(self, version, seconds=15.0):
        """Wait until this version answers."""
        end, start = time.monotonic() + seconds, len(self.answers)
        while time.monotonic() < end and not self.faults:
            if version in {one for one, _ in self.answers[start:]}:
                return True
            time.sleep(0.01)
        raise AssertionError((version, self.answers[-1:], self.faults))


@pytest.fixture
def two(own):
    """A project with two versions that passed."""
    assert casemate.open(own).run(start="release").model.reference == "wdbc@2"
    return own


def test_promotion_and_rollback_lose_no_request(two):
    project = casemate.open(two)
    project.models["wdbc@1"].promote(reason="first")
    token, _ = new_token(project, "ward")
    with serving(two) as running, Asking(running, token) as asking:
        asking.sees("1")
        began = time.monotonic()
        project.models["wdbc@2"].promote()
        asking.sees("2")
        assert time.monotonic() - began < 5
        assert project.models.rollback("wdbc", "worse") == ("wdbc@2", "wdbc@1")
        asking.sees("1")
        time.sleep(0.5)
        assert {version for version, _ in asking.answers[-20:]} == {"1"}
    assert asking.faults == []
    actions = [
        entry.action
        for entry in project.log.entries()
        if entry.action.startswith(("model:promoted", "model:rolled"))
    ]
    assert actions == ["model:promoted", "model:promoted", "model:rolled-back"]
    assert {prediction.id for prediction in project.decisions.newest(10**6)} == {
        identifier for _, identifier in asking.answers
    }


def test_a_canary_answers_its_share_and_its_principals_and_a_shadow_nobody(two):
    project = casemate.open(two)
    project.models["wdbc@1"].promote()
    project.models["wdbc@2"].promote("canary", share=0.25, principals=['Service::"chosen"'])
    chosen, other = (Caller(None, new_token(project, name)[0]) for name in ("chosen", "other"))
    with serving(two) as running:
        chosen.running = other.running = running

        def versions(caller, count):
            return [
                json.loads(caller("POST", INFER, BODY)[1])["model_version"] for _ in range(count)
            ]

        assert set(versions(chosen, 5)) == {"2"}
        assert versions(other, 40).count("2") == 10
        assert other("POST", "/v2/models/wdbc/versions/2/infer", BODY)[0] == 200
        project.models.rollback("wdbc")
        project.models["wdbc@2"].promote("shadow")
        time.sleep(1.5)
        assert set(versions(other, 8)) == {"1"}
        assert other("POST", "/v2/models/wdbc/versions/2/infer", BODY)[0] == 404
    said = list(project.decisions.newest(16))
    assert (
        sorted((one.model, one.part) for one in said)
        == [("wdbc@1", "live")] * 8 + [("wdbc@2", "shadow")] * 8
    )
    assert {project.decisions.find(one.id)[0].part for one in said} == {"live"}


def test_a_canary_that_guards_refuse_more_is_rolled_back_by_itself(two):
    configured(two, "", "[serve.canary]\nrequests = 20\ndrift = 1.0\nlatency = 1000\n")
    project = casemate.open(two)
    project.models["wdbc@1"].promote()
    project.models["wdbc@2"].promote("canary", share=0.0, principals=['Service::"odd"'])
    odd, other = (Caller(None, new_token(project, name)[0]) for name in ("odd", "other"))
    with serving(two) as running:
        odd.running = other.running = running
        wrong = BODY.replace("1.0", "null", 1)
        for _ in range(30):
            assert other("POST", INFER, BODY)[0] == 200
            assert odd("POST", INFER, wrong)[0] == 422
        end = time.monotonic() + 30
        while time.monotonic() < end and any(
            one.part == "canary" for one in project.rollouts.all()
        ):
            time.sleep(0.1)
        assert json.loads(odd("POST", INFER, BODY)[1])["model_version"] == "1"
    assert [one.part for one in project.rollouts.all()] == ["live"]
    told = [
        entry
        for entry in project.log.entries()
        if entry.action in ("model:rolled-back", "model:canary-failed")
    ]
    assert (
        len(told) == 2
        and "guards refuse" in told[0].detail["reason"]
        and told[0].principal == "casemate"
    )


@pytest.mark.long
def test_nobody_rolls_a_canary_back_by_asking_it_by_its_number(two):
    configured(two, "", "[serve.canary]\nrequests = 20\n")
    project = casemate.open(two)
    project.models["wdbc@1"].promote()
    project.models["wdbc@2"].promote("canary", share=0.0, principals=['Service::"chosen"'])
    other = Caller(None, new_token(project, "other")[0])
    with serving(two) as running:
        other.running = running
        for _ in range(30):
            assert (
                other("POST", "/v2/models/wdbc/versions/2/infer", BODY.replace("1.0", "null", 1))[0]
                == 422
            )
        time.sleep(2.5)
    assert [one.part for one in project.rollouts.all()] == ["live", "canary"]


@pytest.mark.long
def test_a_gateway_takes_back_the_canary_that_it_judged_and_no_other(two):
    project = casemate.open(two)
    project.models["wdbc@1"].promote()
    project.models["wdbc@2"].promote("canary", share=0.5)
    with pytest.raises(ConfigError):
        models.canary_failed(project, "wdbc", 1, "it was slow")
    assert models.canary_failed(project, "wdbc", 2, "it was slow") == "wdbc@2"


def test_only_who_may_promotes_and_only_what_is_signed(two, cli, monkeypatch):
    monkeypatch.chdir(two)
    assert (
        casemate.open(two, ["gates.roc_auc.min=0.0", "gates.roc_auc.max=0.5"])
        .run(start="assess")
        .verdict.outcome
        == "refused"
    )
    assert cli("model", "promote", "wdbc@3").code == 1
    assert cli("model", "promote", "wdbc@1", "--canary", "1.5").code == 2
    assert cli("model", "promote", "wdbc@1", "--principal", "x").code == 2
    assert cli("model", "promote", "wdbc@1").code == 0
    assert cli("model", "rollback", "wdbc").code == 2, "there is nothing before the first"
    (two / "policies" / "x.cedar").write_text(
        '@id("mine") forbid (principal, action == Action::"model:promote", resource);'
    )
    assert cli("access", "policy", "apply").code == 0
    assert cli("model", "promote", "wdbc@2").code == 3
    assert cli("model", "rollback", "wdbc").code == 3
    assert [one.reference for one in casemate.open(two).rollouts.all()] == ["wdbc@1"]


def test_a_model_that_turns_bad_is_withdrawn_and_the_others_go_on(two):
    configured(two, "verify_minutes = 0.01\n", '[serve.models]\ngood = "wdbc@1"\nbad = "wdbc@2"\n')
    project = casemate.open(two)
    caller = Caller(None, new_token(project, "ward")[0])
    with serving(two) as running:
        caller.running = running
        assert {
            caller("POST", f"/v2/models/{name}/infer", BODY)[0] for name in ("good", "bad")
        } == {200}
        bundle = project.registry.get("wdbc@2").release.bundle
        (path,) = [
            path
            for path in (two / ".casemate" / "objects").rglob("*")
            if path.is_file()
            and (path.parent.name + path.name).startswith(bundle)
            and path.suffix != ".key"
        ]
        path.chmod(0o600)
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        end = time.monotonic() + 20
        while time.monotonic() < end and caller("POST", "/v2/models/bad/infer", BODY)[0] == 200:
            time.sleep(0.2)
        status, answer, headers = caller("POST", "/v2/models/bad/infer", BODY)
        assert (status, json.loads(answer)["code"], headers["retry-after"]) == (
            503,
            "CM-WITHDRAWN",
            "1",
        )
        assert caller("POST", "/v2/models/good/infer", BODY)[0] == 200
        assert [caller("GET", f"/v2/models/{name}/ready")[0] for name in ("good", "bad")] == [
            200,
            503,
        ]
        assert caller("GET", "/v2/health/ready")[0] == 200, "a model hurts itself only"
        assert caller("GET", "/v2/health/live")[0] == 200
    told = [entry for entry in project.log.entries() if entry.action == "model:withdrawn"]
    assert [entry.resource for entry in told] == ['Model::"wdbc@2"']


def test_a_gateway_that_is_told_to_end_answers_what_it_has_begun(own):
    project = casemate.open(own)
    token, _ = new_token(project, "ward")
    gateway = serving(own)
    with gateway as running, Asking(running, token) as asking:
        while len(asking.answers) < 20:
            time.sleep(0.01)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(20) == 0
        asking.end.set()
    assert [fault for fault in asking.faults if isinstance(fault, tuple)] == []
    assert {identifier for _, identifier in asking.answers} <= {
        one.id for one in project.decisions.newest(10**6)
    }


@pytest.fixture
def many(own):
    """Three workers on one port."""
    configured(own, "workers = 3\n")
    project = casemate.open(own)
    with serving(own) as running:
        yield running, project


def test_workers_share_limits_revocation_and_counts_and_are_replaced(many):
    running, project = many
    import datetime

    from casemate.controls.access.identity.tokens import TokenLimits

    assert len(children(running.process.pid)) == 3
    token, identifier = new_token(project, "ward")
    caller = Caller(running, token)
    writers, ids = set(), set()
    for _ in range(60):
        status, _, headers = caller("POST", INFER, BODY)
        assert status == 200
        writers.add(headers["x-request-id"][:12])
        ids.add(headers["x-request-id"])
    assert len(writers) == 3, "the kernel spreads connections over the workers"
    slow, _ = project.access.create_token(
        "slow", ["client"], ["*"], datetime.timedelta(hours=1), TokenLimits(rate=30)
    )
    statuses = []
    for _ in range(50):
        statuses.append(Caller(running, slow)("POST", INFER, BODY)[0])
        time.sleep(0.04)
    assert 30 <= statuses.count(200) <= 42, (
        "one limit for all of them, but for what they do in half a second"
    )
    time.sleep(1.5)
    monitor = Caller(running, new_token(project, "mon", role="monitor")[0])
    page = monitor("GET", "/metrics")[1].decode()
    rows = sum(
        float(line.split()[1])
        for line in page.splitlines()
        if line.startswith("casemate_rows_total")
    )
    assert rows == 60 + statuses.count(200)
    victim = children(running.process.pid)[0]
    os.kill(victim, signal.SIGKILL)
    end = time.monotonic() + 20
    while time.monotonic() < end and (
        len(children(running.process.pid)) < 3 or victim in children(running.process.pid)
    ):
        time.sleep(0.1)
    assert len(children(running.process.pid)) == 3
    assert ids <= {one.id for one in project.decisions.newest(10**6)}, (
        "what was acknowledged is there, whoever died"
    )
    assert caller("POST", INFER, BODY)[0] == 200
    project.access.revoke_token(identifier)
    time.sleep(1.0)
    assert {caller("POST", INFER, BODY)[0] for _ in range(12)} == {401}


def test_workers_end_together_and_a_taken_port_is_one_clear_message(many, own):
    import subprocess

    running, project = many
    team = children(running.process.pid)
    taken = subprocess.run(
        command("serve", "--port", str(running.port)),
        cwd=own,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (
        taken.returncode != 0
        and taken.stderr.count("error[") == 1
        and "cannot listen" in taken.stderr
    )
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(30) == 0
    assert not any(os.path.exists(f"/proc/{pid}") for pid in team)
    assert list(project.log.entries())[-1].action == "gateway:stop"


def test_a_version_that_could_not_be_loaded_is_told_once_and_tried_again(two, monkeypatch):
    def away(*_):
        raise BackendError("the catalogue is away")

    project = casemate.open(two)
    project.models["wdbc@1"].promote()
    parts = assemble(project)
    try:
        project.models["wdbc@2"].promote()
        releases = project.rollouts.all()
        with monkeypatch.context() as patch:
            patch.setattr("casemate.serve.model_set.loaded", away)
            for _ in range(2):
                asyncio.run(parts.model_set._follow(releases))
        assert parts.model_set.references == ["wdbc@1"]
        assert [entry.action for entry in project.log.entries()].count("model:not-loaded") == 1
        assert parts.model_set._releases != releases, "it is tried again"
        asyncio.run(parts.model_set._follow(releases))
        assert (parts.model_set.references, parts.model_set._releases) == (["wdbc@2"], releases)
    finally:
        parts.close()


def test_retention_goes_on_after_an_error(monkeypatch):
    tried = []

    def forget(_):
        tried.append(len(tried))
        if len(tried) == 1:
            raise OSError("the catalogue is away")

    monkeypatch.setattr(watches, "forget", forget)
    monkeypatch.setattr(watches, "FORGET_RETRY_SECONDS", 0.01)

    async def for_a_while():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(watches.forgetting(None, Health(Metrics())), 0.5)

    asyncio.run(for_a_while())
    assert len(tried) == 2
