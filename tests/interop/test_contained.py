"""Playbooks against a real gateway: what they do is seen there, or it is not called done."""

import json
import shutil

import pytest
from tests.attacks.test_gateway import Caller, new_token
from tests.conftest import serving, wait_for

import casemate
from casemate.core.errors import RefusedError
from casemate.operations.playbooks import asking
from casemate.operations.playbooks.asking import Unproven

BOOK = """title = "t"
[when]
causes = ["model", "endpoint"]
"""
STEP = '\n[[steps]]\nname = "{0}"\ndo = "{0}"\n{1}\n'


@pytest.fixture(scope="session")
def two_versions(finished, tmp_path_factory):
    """The finished project with a second version that passed."""
    root = tmp_path_factory.mktemp("two") / "clinic"
    shutil.copytree(finished, root)
    project = casemate.open(root)
    assert project.run(start="release").model.reference == "wdbc@2"
    project.models["wdbc@1"].promote(reason="first")
    project.models["wdbc@2"].promote(reason="second")
    project.close()
    return root


@pytest.fixture
def clinic(two_versions, tmp_path):
    root = tmp_path / "clinic"
    shutil.copytree(two_versions, root)
    return root


def written(root, name, *steps, when=BOOK):
    folder = root / "playbooks"
    folder.mkdir(exist_ok=True)
    said = [STEP.format(*(one if isinstance(one, tuple) else (one, ""))) for one in steps]
    (folder / f"{name}.toml").write_text(when + "".join(said))


def opened(root, gateway):
    return casemate.open(root, [f'incidents.gateways=["{gateway.url}"]'])


def alert(name="quality-realised", model="wdbc@2", **more):
    one = {"name": name, "severity": "page", "labels": {"model": model}, **more}
    return json.dumps({"alerts": [one]}).encode()


def steps_of(run):
    return {one.name: one.progress for one in run.steps}


def served(running, token, name="wdbc"):
    return Caller(running, token)("GET", f"/v2/models/{name}", None)


def test_a_model_that_got_worse_is_taken_back_and_the_gateway_proves_it(clinic):
    written(
        clinic,
        "bad",
        *("freeze", "rollback", "keep-evidence"),
        *(("contain", 'needs = ["rollback"]'), "retrain"),
        when=BOOK.replace('"model"', '"dataset", "model"'),
    )
    with serving(clinic) as running:
        project = opened(clinic, running)
        token, _ = new_token(project, "app", "client")
        before = json.loads(served(running, token)[1])
        assert (before["versions"], before["parameters"]["digest"]) == (
            ["2"],
            project.registry.verify("wdbc@2").digest,
        )
        assert project.playbooks.apply() == ["bad"]
        # a cause upstream of the model: what is meant must not change once it is taken back
        project.incidents.report(alert("drift"))
        planned = project.playbooks.plan("bad", 1)
        assert planned.fits
        assert all(one.permitted and one.possible for one in planned.steps), planned
        assert project.playbooks.runs() == []
        run = project.playbooks.run("bad", 1)
        assert set(steps_of(run).values()) == {"done"}, run
        assert run.state == "done"
        after = json.loads(served(running, token)[1])
        assert after["versions"] == ["1"]
        assert after["parameters"]["digest"] == project.registry.verify("wdbc@1").digest
        assert after["parameters"]["digest"][:16] in run.step("rollback").text
        shown = project.incidents.show(1)
        assert shown.incident.state == "contained"
        assert any("rollback: done" in line.change.text for line in shown.lines)
        with pytest.raises(RefusedError, match="hold"):
            project.models["wdbc@2"].promote()
        assert project.retrain.plan().because[0].startswith("demanded: incident 1")
        # and back again, by a person
        project.incidents.acknowledge(1)
        undone = project.playbooks.undo(run.id, reason="it was the monitoring")
        assert steps_of(undone)["rollback"] == "undone"
        assert project.holds.list() == []
        wait_for(lambda: json.loads(served(running, token)[1])["versions"] == ["2"])


@pytest.mark.long
def test_a_canary_that_was_taken_back_comes_back_as_canary_and_every_name_is_asked(clinic):
    with (clinic / "casemate.toml").open("a") as file:
        file.write('\n[serve.models]\nwdbc = "wdbc"\npinned = "wdbc@2"\n')
    written(clinic, "bad", "rollback")
    project = casemate.open(clinic)
    project.models.rollback("wdbc")
    project.models["wdbc@2"].promote("canary", share=0.25)
    with serving(clinic) as running:
        project = opened(clinic, running)
        project.playbooks.apply()
        project.incidents.report(alert())
        run = project.playbooks.run("bad", 1)
        # a name that is pinned to the version goes on serving it: that is no success
        assert steps_of(run) == {"rollback": "acted"}
        assert "still serves wdbc@2" in run.step("rollback").text
        project.playbooks.undo(run.id, reason="r")
    (canary,) = [one for one in project.rollouts.all() if one.version == 2]
    assert (canary.part, canary.share) == ("canary", 0.25)


@pytest.mark.long
def test_what_no_gateway_shows_is_not_called_done(clinic):
    written(clinic, "bad", "rollback", ("contain", 'needs = ["rollback"]'))
    with serving(clinic) as running:
        gone = running
    project = opened(clinic, gone)
    project.playbooks.apply()
    project.incidents.report(alert())
    run = project.playbooks.run("bad", 1)
    assert steps_of(run) == {"rollback": "acted", "contain": "waiting"}
    assert gone.url in run.step("rollback").text
    assert project.incidents.show(1).incident.state == "new"
    with serving(clinic, port=gone.port):
        (run,) = project.playbooks.resume()
    assert steps_of(run) == {"rollback": "done", "contain": "done"}
    rolled = [one for one in project.log.entries() if one.action == "model:rolled-back"]
    assert len(rolled) == 1


def test_a_model_without_a_former_version_is_withdrawn_by_those_who_may(clinic):
    written(
        clinic,
        "bad",
        "rollback",
        ("withdraw", 'unless = "rollback"'),
        ("label-only", 'of = "wdbc@1"'),
    )
    with serving(clinic) as running:
        project = opened(clinic, running)
        token, _ = new_token(project, "app", "client")
        project.playbooks.apply()
        project.models.rollback("wdbc")  # now 1 is the first that there is
        wait_for(lambda: json.loads(served(running, token)[1])["versions"] == ["1"])
        project.incidents.report(alert(model="wdbc@1"))
        run = project.playbooks.run("bad", 1)
        assert steps_of(run) == {"rollback": "failed", "withdraw": "done", "label-only": "done"}
        assert "first that was promoted" in run.step("rollback").text
        status, body, _ = served(running, token)
        assert status == 503
        assert "until a person lifts" in json.loads(body)["error"]
        project.holds.lift("answers", "wdbc@1", "it was right")
        wait_for(lambda: served(running, token)[0] == 200)
        said = json.loads(served(running, token)[1])
        assert [one["name"] for one in said["outputs"]] == ["label"]
        body = {"inputs": [{"name": "x", "shape": [1, 30], "datatype": "FP64", "data": [1.0] * 30}]}
        _, answer, _ = Caller(running, token)("POST", "/v2/models/wdbc/infer", body)
        assert [one["name"] for one in json.loads(answer)["outputs"]] == ["label"]


def test_a_service_that_probes_is_suspended_and_its_token_is_tried(clinic):
    written(
        clinic,
        "probe",
        ("suspend", "of = 'Service::\"app\"'"),
        ("revoke-token", 'of = "{token}"'),
    )
    with serving(clinic) as running:
        project = opened(clinic, running)
        token, identifier = new_token(project, "app", "client")
        other, _ = new_token(project, "other", "client")
        path = clinic / "playbooks" / "probe.toml"
        path.write_text(path.read_text().replace("{token}", identifier))
        project.playbooks.apply()
        project.incidents.report(alert())
        assert served(running, token)[0] == 200
        run = project.playbooks.run("probe", 1)
        assert steps_of(run) == {"suspend": "done", "revoke-token": "waiting"}
        assert served(running, token)[0] == 401
        assert served(running, other)[0] == 200
        # two different persons for what cannot be undone
        run = project.playbooks.approve(run.id, "revoke-token", "seen in the log")
        assert steps_of(run)["revoke-token"] == "waiting"
        with pytest.raises(RefusedError, match="different persons"):
            project.playbooks.approve(run.id, "revoke-token", "again")
        project.access.add_user("eva", ["operator"], "correct horse battery")
        from tests.unit.operations.test_operations import secret_of

        eva = project.acting(secret_of(project, "eva"))
        run = eva.playbooks.approve(run.id, "revoke-token", "me too")
        assert steps_of(run)["revoke-token"] == "done", run
        project.access.resume('Service::"app"', "it was a test")
        wait_for(lambda: served(running, token)[0] == 401)
        with pytest.raises(RefusedError, match="stays revoked"):
            project.playbooks.undo(run.id, "revoke-token", "sorry")


def test_a_gateway_that_has_not_read_who_may_act_proves_nothing(clinic, monkeypatch):
    with serving(clinic) as running:
        project = opened(clinic, running)
        asking.followed(project)
        monkeypatch.setattr(asking, "PATIENCE", 0.0)
        monkeypatch.setattr(type(project.point.directory), "epoch", lambda _: 10**9)
        with pytest.raises(Unproven, match="does not know yet who may act"):
            asking.followed(project)
