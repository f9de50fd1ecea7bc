"""A release stands whole or not at all: beside the former version, judged, switched, or as it was."""

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
from tests.unit.deploy.api_server import ApiServer
from tests.unit.deploy.cluster_parts import Says, manifests, release, releasing

from casemate.core.errors import (
    BusyError,
    ConfigError,
    Interrupted,
    RefusedError,
    TransientError,
)
from casemate.deploy.cluster.client import FieldConflict
from casemate.deploy.cluster.documents import PROJECT, REVISION

OLD, NEW = manifests(), manifests(version=2, text="two")
WORSE = Says("worse", "3 of 60 requests failed")


@pytest.fixture
def server(tmp_path):
    with ApiServer(tmp_path / "server") as found:
        yield found


def selector(server):
    return server.find("Service", "gateway")["spec"]["selector"]


def counts(server):
    return {
        name: server.find("Deployment", name)["spec"]["replicas"]
        for name in server.names("Deployment")
    }


def test_the_first_release_makes_everything_in_order_and_leads_to_it(server, tmp_path):
    steps = []
    done = release(server, tmp_path, OLD, told=lambda step, **_: steps.append(step))
    assert (done.how, done.namespace, done.objects) == ("released", "clinic", 5)
    assert steps == ["namespace", "begun", "prepare", "place", "switch", "drain", "released"]
    assert selector(server)[REVISION] == done.revision
    assert counts(server) == {f"gateway-{done.revision}": 2}
    kinds = [path.split("/")[-2] for method, path in server.sent("PATCH")]
    assert kinds[:5] == ["namespaces", "namespaces", "configmaps", "networkpolicies", "services"]
    assert kinds[5] == "deployments"
    assert all(
        query["fieldManager"] == "casemate" and query["force"] == "false"
        and query["fieldValidation"] == "Strict"
        for method, _, query in server.requests if method == "PATCH"
    )  # fmt: skip


def test_a_new_version_stands_beside_the_live_one_is_judged_and_takes_its_place(server, tmp_path):
    first = release(server, tmp_path, OLD)
    seen = {}

    class Looking(Says):
        def look(self, *asked):
            seen.update(selector=dict(selector(server)), counts=counts(server), asked=asked)
            return super().look(*asked)

    done = release(server, tmp_path, NEW, judge=Looking())
    old, new = f"gateway-{first.revision}", f"gateway-{done.revision}"
    assert REVISION not in seen["selector"]
    assert seen["counts"] == {old: 2, new: 1}
    assert seen["asked"][:3] == ("clinic", [new], [old])
    assert selector(server)[REVISION] == done.revision
    assert counts(server) == {old: 0, new: 2}
    assert server.find("ConfigMap", "settings")["data"] == {"text": "two"}
    third = release(server, tmp_path, manifests(version=3), judge=Says())
    assert counts(server) == {new: 0, f"gateway-{third.revision}": 2}


@pytest.mark.parametrize("outcome", ["worse", "inconclusive"])
def test_what_is_worse_or_was_not_measured_is_taken_back_and_everything_is_as_it_was(
    server, tmp_path, outcome
):
    release(server, tmp_path, OLD)
    before, steps = server.state(), []
    clock = iter(range(10**6)).__next__ if outcome == "inconclusive" else time.monotonic
    with pytest.raises(RefusedError, match=f"{'inconclusive: ' if outcome != 'worse' else ''}why"):
        release(
            server, tmp_path, NEW, judge=Says(outcome, "why"),
            told=lambda step, **detail: steps.append((step, detail.get("reason", ""))),
            clock=clock,
        )  # fmt: skip
    assert server.state() == before
    assert steps[-1][0] == "rolled-back"
    assert "why" in steps[-1][1]


def test_without_figures_a_second_version_is_refused_before_anything_is_sent(server, tmp_path):
    release(server, tmp_path, OLD)
    before = len(server.sent())
    with pytest.raises(RefusedError, match="no figures"):
        release(server, tmp_path, NEW)
    assert len(server.sent()) == before


@pytest.mark.parametrize("released", [False, True])
def test_pods_that_never_answer_are_taken_back(server, tmp_path, released):
    if released:
        release(server, tmp_path, OLD)
    before = server.state()
    server.ready = lambda one: "wdbc@1" in json.dumps(one) and released
    with pytest.raises(RefusedError, match="is not ready: 0 of . pods are available after"):
        release(server, tmp_path, NEW, judge=Says(), clock=iter(range(10**6)).__next__)
    kept = {key: one for key, one in server.state().items() if key[1] != "Namespace"}
    assert kept == {key: one for key, one in before.items() if key[1] != "Namespace"}


def test_applying_the_same_again_changes_nothing_and_only_texts_around_it_need_no_judge(
    server, tmp_path
):
    first = release(server, tmp_path, OLD)
    before = server.state()
    again = release(server, tmp_path, OLD)
    assert (again.how, again.revision, server.state()) == ("unchanged", first.revision, before)
    wider = manifests()
    wider[3]["spec"]["policyTypes"].append("Egress")
    around = release(server, tmp_path, wider)
    assert (around.how, around.revision) == ("released", first.revision)
    assert server.find("NetworkPolicy", "default-deny")["spec"]["policyTypes"][-1] == "Egress"
    less = [one for one in wider if one["kind"] != "NetworkPolicy"]
    release(server, tmp_path, less)
    assert server.names("NetworkPolicy") == []


def test_fields_that_somebody_else_manages_are_named_and_nothing_is_changed(server, tmp_path):
    release(server, tmp_path, OLD)
    server.edit("ConfigMap", "settings", lambda one: one["data"].update(text="by hand"))
    before = server.state()
    with pytest.raises(FieldConflict, match=r"\.data\.text is managed by kubectl-edit") as caught:
        release(server, tmp_path, NEW, judge=Says())
    assert "--take-over" in caught.value.hint
    assert server.state() == before
    release(server, tmp_path, NEW, judge=Says(), take_over=True)
    assert server.find("ConfigMap", "settings")["data"] == {"text": "two"}


def test_objects_of_others_are_left_alone(server, tmp_path):
    release(server, tmp_path, OLD)
    server.edit("ConfigMap", "settings", lambda one: one["metadata"]["labels"].pop(PROJECT))
    with pytest.raises(RefusedError, match="is there already, and casemate did not make it"):
        release(server, tmp_path, OLD)
    server.edit("ConfigMap", "settings", lambda one: one["metadata"].update(labels={PROJECT: "p2"}))
    with pytest.raises(RefusedError, match="belongs to the project p2"):
        release(server, tmp_path, OLD, take_over=True)


def test_another_projects_namespace_is_refused_and_so_is_a_journal_that_nobody_can_read(
    server, tmp_path
):
    release(server, tmp_path, OLD)

    def to(text):
        return lambda one: one["data"].update(journal=text)

    text = server.find("ConfigMap", "casemate-release")["data"]["journal"]
    server.edit("ConfigMap", "casemate-release", to(text.replace('"p1"', '"p2"')))
    with pytest.raises(ConfigError, match="belongs to the project p2"):
        release(server, tmp_path, OLD)
    server.edit("ConfigMap", "casemate-release", to("[" * 5000))
    with pytest.raises(ConfigError, match="nothing that casemate wrote"):
        release(server, tmp_path, OLD)


def test_an_autoscaler_follows_the_version_and_its_count_is_its_own(server, tmp_path):
    first = release(server, tmp_path, manifests(scaled=True))
    old = f"gateway-{first.revision}"
    server.edit(
        "Deployment", old, lambda one: one["spec"].update(replicas=5), "kube-controller-manager"
    )
    assert release(server, tmp_path, manifests(scaled=True)).how == "unchanged"
    assert counts(server) == {old: 5}
    done = release(server, tmp_path, manifests(version=2, scaled=True), judge=Says())
    assert counts(server) == {old: 0, f"gateway-{done.revision}": 5}
    target = server.find("HorizontalPodAutoscaler", "gateway")["spec"]["scaleTargetRef"]
    assert target["name"] == f"gateway-{done.revision}"


def test_from_the_keyboard_everything_is_as_it_was(server, tmp_path):
    release(server, tmp_path, OLD)
    before = server.state()

    class Impatient(Says):
        def look(self, *asked):
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="everything is as it was"):
        release(server, tmp_path, NEW, judge=Impatient())
    assert server.state() == before
    assert release(server, tmp_path, NEW, judge=Says()).how == "released"


def test_a_cluster_that_goes_away_in_the_middle_says_how_to_go_on(server, tmp_path):
    release(server, tmp_path, OLD)
    before = server.state()

    class Away(Says):
        def look(self, *asked):
            server.fault = lambda *_: (503, {}, b"{}")
            raise TransientError("away")

    with pytest.raises(TransientError) as caught:
        release(server, tmp_path, NEW, judge=Away())
    assert "the same command goes on or takes it back" in caught.value.hint
    server.fault = lambda *_: None
    release(server, tmp_path, OLD, judge=Says())  # something else than what was begun
    assert server.state() == before


def test_two_do_not_release_at_once(server, tmp_path):
    release(server, tmp_path, OLD)
    found = []

    class Meanwhile(Says):
        def look(self, *asked):
            def beat(seconds):
                one.keeper.beat()

            with pytest.raises(BusyError, match="another process releases in clinic: step judge"):
                release(server, tmp_path, manifests(version=3), judge=Says(), sleep=beat)
            found.append(True)
            return super().look(*asked)

    with releasing(server, tmp_path, NEW, judge=Meanwhile()) as one:
        assert one.run().how == "released"
    assert found


def _apply(server, folder, documents):
    os.setsid()
    release(server, folder, documents, judge=Says())


def _killed(server, folder, documents, at, where):
    """Apply in a process that is killed at its change number `at`; whether it was."""
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=_apply, args=(server, folder, documents))
    seen = []

    def kill(method, path):
        if method == "GET" or os.getpid() != parent or is_dry():
            return
        seen.append(path)
        if len(seen) == at:
            os.kill(process.pid, signal.SIGKILL)
            while is_alive(process.pid):  # whoever started it waits for it
                time.sleep(0.001)

    def is_alive(pid):
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    def is_dry():
        return "dryRun" in server.requests[-1][2]

    parent = os.getpid()
    setattr(server, where, kill)
    process.start()
    process.join()
    server.fault, server.after = (lambda *_: None), (lambda *_: None)
    return process.exitcode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("where", ["fault", "after"])
@pytest.mark.parametrize("first", [True, False])
def test_killed_at_any_change_the_next_apply_finishes_it_or_takes_it_back(tmp_path, where, first):
    at = 0
    while True:
        at += 1
        with ApiServer(tmp_path / f"s{at}") as server:
            folder = tmp_path / f"f{at}"
            folder.mkdir()
            if not first:
                release(server, folder, OLD)
            if not _killed(server, folder, NEW, at, where):
                break
            server.requests.clear()
            halfway = server.objects.copy()
            done = release(server, folder, NEW, judge=Says())
            assert selector(server)[REVISION] == done.revision, at
            assert counts(server)[f"gateway-{done.revision}"] == 2, at
            assert sorted(counts(server).values()) == ([2] if first else [0, 2]), at
            assert server.find("ConfigMap", "settings")["data"] == {"text": "two"}, at
            if first:
                continue
            # and somebody who applies the former manifests instead gets those
            server.objects = halfway
            back = release(server, folder, OLD, judge=Says())
            assert selector(server)[REVISION] == back.revision, at
            assert counts(server)[f"gateway-{back.revision}"] == 2, at
            assert server.find("ConfigMap", "settings")["data"] == {"text": "one"}, at
    assert at > (8 if first else 15)
