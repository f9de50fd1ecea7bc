"""Playbooks in force: whose rights they have, what they may not do, and what people decide."""

import pytest
from tests.unit.operations.test_operations import secret_of

import casemate
from casemate.cli import hold
from casemate.core.errors import AccessDenied, ConfigError, RefusedError
from casemate.operations.playbooks import asking
from casemate.respond import holds
from casemate.respond.playbooks.runs import PLAYBOOKS, NoPlaybook
from casemate.respond.trouble import pseudonym

PASSWORD = "correct horse battery"
ALERT = (
    b'{"alerts": [{"name": "quality-realised", "severity": "page", "labels": {"model": "wdbc@1"}}]}'
)
HEAD = 'title = "t"\n[when]\ncauses = ["model"]\n'


def step(name, do, more=""):
    return f'[[steps]]\nname = "{name}"\ndo = "{do}"\n{more}\n'


def written(root, text, name="b"):
    (root / "playbooks").mkdir(exist_ok=True)
    (root / "playbooks" / f"{name}.toml").write_text(text)


@pytest.fixture
def project(clinic, monkeypatch):
    monkeypatch.setattr(asking, "PATIENCE", 0.0)  # no gateway runs here
    project = casemate.open(clinic)
    project.incidents.report(ALERT)
    return project


def progress(run):
    return {one.name: one.progress for one in run.steps}


def test_what_lies_in_the_folder_does_nothing_until_somebody_puts_it_in_force(project):
    written(project.root, HEAD + step("f", "freeze"))
    assert [one.state for one in project.playbooks.list()] == ["new"]
    with pytest.raises(NoPlaybook):
        project.playbooks.run("b", 1)
    assert project.playbooks.apply() == ["b"]
    assert project.playbooks.apply() == []
    (listed,) = project.playbooks.list()
    assert (listed.state, listed.author) == ("in force", 'User::"root"')
    written(project.root, HEAD + step("f", "freeze", "approvals = 1"))
    assert [one.state for one in project.playbooks.list()] == ["changed"]
    # what is in force is what was put in force
    assert progress(project.playbooks.run("b", 1)) == {"f": "done"}
    written(project.root, HEAD)
    assert "playbooks/b.toml" in project.playbooks.list()[0].state
    with pytest.raises(ConfigError, match="b.toml"):
        project.playbooks.apply()
    (project.root / "playbooks" / "b.toml").unlink()
    assert [one.state for one in project.playbooks.list()] == ["gone"]
    assert project.playbooks.apply() == ["b"]
    assert project.playbooks.list() == []


def test_a_file_that_is_no_text_is_refused_before_anything_is_put_in_force(project):
    written(project.root, HEAD + step("f", "freeze"))
    (project.root / "playbooks" / "y.toml").write_bytes(b"\xff\xfe")
    for verb in (project.playbooks.check, project.playbooks.apply):
        with pytest.raises(ConfigError, match="playbooks/y.toml"):
            verb()
    assert [one.state for one in project.playbooks.list()][:1] == ["new"]


def test_nobody_puts_a_playbook_in_force_that_may_do_more_than_they_may(project):
    project.access.add_user("ops", ["operator"], PASSWORD)
    written(project.root, HEAD + step("f", "freeze") + step("k", "rotate-key", 'of = "objects"'))
    ops = project.acting(secret_of(project, "ops"))
    with pytest.raises(AccessDenied, match=r"b.toml:8: step 'k' needs keys:rotate"):
        ops.playbooks.apply()
    assert [one.state for one in project.playbooks.list()] == ["new"]
    written(project.root, HEAD + step("f", "freeze"))
    assert ops.playbooks.apply() == ["b"]


def test_a_policy_of_the_project_keeps_one_playbook_from_doing_something(project):
    (project.root / "policies").mkdir(exist_ok=True)
    (project.root / "policies" / "own.cedar").write_text(
        '@id("b-holds-nothing")\nforbid (principal == Service::"playbook-b", action =='
        ' Action::"hold:place", resource);\n'
    )
    project.access.apply_policies()
    written(project.root, HEAD + step("f", "freeze") + step("r", "retrain"))
    project.playbooks.apply()
    planned = project.playbooks.plan("b", 1)
    assert [one.permitted for one in planned.steps] == [False, True]
    run = project.playbooks.run("b", 1)
    assert progress(run) == {"f": "failed", "r": "done"}
    assert "b-holds-nothing" in run.step("f").text
    assert project.holds.list() == []
    denied = [one for one in project.log.entries() if one.outcome == "denied"]
    assert [one.principal for one in denied] == ['Service::"playbook-b"']


def test_a_service_cannot_call_itself_a_playbook(project):
    with pytest.raises(ConfigError, match="are playbooks"):
        project.access.add_service("playbook-b", ["client"], ["*"])


def test_steps_wait_for_what_they_need_and_stop_where_the_playbook_says_so(project):
    written(
        project.root,
        HEAD
        + step("a", "keep-evidence", "approvals = 1")
        + step("b", "freeze", 'needs = ["a"]')
        + step("c", "suspend", 'of = \'User::"nobody"\'\notherwise = "stop"')
        + step("d", "retrain"),
    )
    project.playbooks.apply()
    run = project.playbooks.run("b", 1)
    assert progress(run) == {"a": "waiting", "b": "waiting", "c": "failed", "d": "passed over"}
    assert run.state == "running"
    with pytest.raises(RefusedError, match="waits for nobody"):
        project.playbooks.approve(run.id, "b", "x")
    with pytest.raises(ConfigError, match="no step 'z'"):
        project.playbooks.approve(run.id, "z", "x")
    with pytest.raises(RefusedError, match="reason"):
        project.playbooks.approve(run.id, "a", " ")
    run = project.playbooks.approve(run.id, "a", "seen")
    assert progress(run) == {"a": "done", "b": "done", "c": "failed", "d": "passed over"}
    assert run.state == "failed"
    assert 'User::"root"' in run.step("a").approved
    texts = [line.change.text for line in project.incidents.show(1).lines]
    assert any("waiting: it waits for 1 more" in text for text in texts)
    assert any("c: failed" in text for text in texts)


def test_a_closed_incident_has_nothing_done_about_it_any_more(project):
    written(project.root, HEAD + step("a", "freeze", "approvals = 1"))
    project.playbooks.apply()
    run = project.playbooks.run("b", 1)
    project.incidents.acknowledge(1)
    project.incidents.close(1, "it was nothing")
    (run,) = project.playbooks.resume()
    assert (progress(run), run.state) == ({"a": "passed over"}, "done")
    with pytest.raises(RefusedError, match="is closed"):
        project.playbooks.run("b", 1)


def test_whoever_may_report_alerts_cannot_have_somebody_suspended_or_a_key_rotated(project):
    project.access.add_user("ana", ["scientist"], PASSWORD)
    head = 'title = "t"\n[when]\ncauses = ["person", "key"]\nstanding = false\n'
    written(project.root, head + step("s", "suspend") + step("k", "rotate-key"), "p")
    project.playbooks.apply()
    person = pseudonym('User::"ana"')
    for name, label in (
        ("access-anomaly", f'"person": "{person}"'),
        ("signer-compromised", '"key": "general"'),
    ):
        project.incidents.report(
            f'{{"alerts": [{{"name": "{name}", "severity": "page", "labels": {{{label}}}}}]}}'.encode()
        )
    project.watch.once()
    assert [one for one in project.playbooks.runs() if one.playbook == "p"] == []
    assert {one.root.partition(":")[0] for one in roots(project)} >= {"person", "key"}


def roots(project):
    return [one.incident for one in project.incidents.list("all")]


def test_undo_takes_back_only_what_the_run_did(project):
    project.holds.place("releases", "wdbc", "audit until Friday")
    written(project.root, HEAD + step("f", "freeze") + step("v", "freeze", 'of = "wdbc@1"'))
    project.playbooks.apply()
    run = project.playbooks.run("b", 1)
    assert progress(run) == {"f": "done", "v": "done"}
    with pytest.raises(RefusedError, match="did nothing"):
        project.playbooks.undo(run.id, "f", "x")
    run = project.playbooks.undo(run.id, reason="x")
    assert progress(run) == {"f": "done", "v": "undone"}
    assert [one.of for one in project.holds.list()] == ["wdbc"]


def test_what_was_done_and_not_proven_is_taken_back_too(project):
    written(project.root, HEAD + step("w", "withdraw"))
    project.playbooks.apply()
    run = project.playbooks.run("b", 1)
    assert progress(run) == {"w": "acted"}  # no gateway runs
    run = project.playbooks.undo(run.id, reason="a false alarm")
    assert (progress(run), project.holds.list(), run.state) == ({"w": "undone"}, [], "done")


def test_the_approval_of_somebody_who_may_no_more_does_not_count(project):
    project.access.add_user("eva", ["operator"], PASSWORD)
    written(project.root, HEAD + step("a", "freeze", "approvals = 2"))
    project.playbooks.apply()
    run = project.playbooks.run("b", 1)
    eva = project.acting(secret_of(project, "eva"))
    eva.playbooks.approve(run.id, "a", "yes")
    project.access.suspend('User::"eva"', "stolen laptop")
    run = project.playbooks.approve(run.id, "a", "yes")
    assert progress(run) == {"a": "waiting"}
    project.access.resume('User::"eva"', "found")
    (run,) = project.playbooks.resume()
    assert progress(run) == {"a": "done"}


def test_a_release_hold_on_a_version_holds_under_the_name_too(project):
    project.holds.place("releases", "wdbc@1", "r")
    for reference in ("wdbc", "wdbc@1"):
        with pytest.raises(RefusedError, match="keeps releases"):
            project.models.promote(reference)


def test_a_demand_of_another_incident_is_not_taken_for_this_ones(project):
    project.retrain.demand("incident 12: see incident 1")
    written(project.root, HEAD + step("r", "retrain"))
    project.playbooks.apply()
    assert progress(project.playbooks.run("b", 1)) == {"r": "done"}
    said = [one.because for one in project.retrainings.all() if one.state == "demanded"]
    assert len(said) == 2
    assert said[0].startswith("incident 1: ")


def test_an_incident_that_became_part_of_another_is_contained_there(project):
    project.incidents.report(
        b'{"alerts": [{"name": "x", "severity": "page", "labels": {"job": "j"}}]}'
    )
    written(
        project.root,
        HEAD + step("f", "freeze", "approvals = 1") + step("c", "contain", 'needs = ["f"]'),
    )
    project.playbooks.apply()
    run = project.playbooks.run("b", 1)
    project.incidents.merge(1, 2)
    run = project.playbooks.approve(run.id, "f", "yes")
    assert progress(run) == {"f": "done", "c": "done"}
    assert project.incidents.show(2).incident.contained is not None


def test_a_playbook_that_is_not_understood_any_more_fails_no_look(project):
    with project.database.transaction() as tx:
        row = {"content": b"of another version", "digest": "x", "author": "a", "applied": "2026"}
        tx.execute(PLAYBOOKS.insert().values(name="odd", **row))
        project.log.append(tx, "casemate", "playbook:applied", 'Playbook::"odd"', "done", {})
    written(project.root, HEAD + step("r", "retrain"))
    project.playbooks.apply()
    project.watch.once()
    assert [one.state for one in project.playbooks.runs()] == ["done"]


def test_what_can_be_taken_back_is_taken_back_by_the_right_of_who_asks(project):
    written(
        project.root,
        HEAD + step("a", "freeze") + step("b", "retrain") + step("c", "withdraw", "approvals = 1"),
    )
    project.playbooks.apply()
    run = project.playbooks.run("b", 1)
    project.access.add_user("eva", ["auditor"], PASSWORD)
    eva = project.acting(secret_of(project, "eva"))
    with pytest.raises(AccessDenied):
        eva.playbooks.undo(run.id, reason="x")
    with pytest.raises(RefusedError, match="not taken back"):
        project.playbooks.undo(run.id, "b", "x")
    run = project.playbooks.undo(run.id, reason="a false alarm")
    assert progress(run) == {"a": "undone", "b": "done", "c": "passed over"}
    assert (run.state, project.holds.list()) == ("done", [])


def test_an_incident_begins_a_playbook_by_itself_once(project):
    written(project.root, HEAD + step("a", "keep-evidence"))
    written(
        project.root, HEAD.replace("[when]", "automatic = false\n[when]") + step("a", "freeze"), "m"
    )
    project.playbooks.apply()
    for _ in range(3):
        project.watch.once()
    (run,) = project.playbooks.runs()
    assert (run.playbook, run.by, run.state) == ("b", "casemate", "done")
    (held,) = project.holds.list()
    assert held.what == "deletion"
    again = project.playbooks.run("b", 1, "once more")
    assert again.turn == 2
    assert len(project.holds.list()) == 1


def test_the_same_by_hand_in_a_terminal(project, cli, monkeypatch):
    monkeypatch.chdir(project.root)
    assert "bad-model" in cli("playbook", "copy").out
    assert cli("playbook", "copy", "bad-model").code == 0
    assert "exists already" in cli("playbook", "copy", "bad-model").err
    assert "no starter" in cli("playbook", "copy", "x").err
    assert cli("playbook", "check").out.startswith("1 playbooks: bad-model")
    assert cli("playbook", "apply").out == "changed: bad-model\n"
    dry = cli("playbook", "run", "bad-model", "--incident", "1", "--dry-run")
    assert "nothing to go back to" in dry.out
    assert (dry.code, project.playbooks.runs()) == (1, [])
    assert "back" in cli("playbook", "show", "bad-model").out
    done = cli("playbook", "run", "bad-model", "--incident", "1")
    assert done.code == 1
    assert "it waits for 1 more to approve it" in cli("playbook", "runs").out
    assert cli("playbook", "runs", "--incident", "7").out.startswith("no playbook")
    assert "keeps releases" in cli("model", "promote", "wdbc@1").err
    assert "releases" in cli("hold", "list").out
    assert cli("playbook", "undo", "1", "--reason", "r").code == 0
    assert cli("playbook", "undo", "9", "--reason", "r").code == 2


def test_the_command_line_knows_every_kind_of_hold():
    assert hold.WHAT == holds.WHAT


def test_holds_are_placed_once_and_lifted_by_people(project, cli, monkeypatch):
    monkeypatch.chdir(project.root)
    assert cli("hold", "place", "releases", "wdbc", "--reason", "r").out.endswith("held\n")
    assert cli("hold", "place", "releases", "wdbc", "--reason", "r").out.endswith("already\n")
    assert "there is no model" in cli("hold", "place", "answers", "x", "--reason", "r").err
    assert "there is no run" in cli("hold", "place", "deletion", "x", "--reason", "r").err
    assert "is no name" in cli("hold", "place", "teaching", "\x1b", "--reason", "r").err
    assert "no source of" in cli("hold", "place", "teaching", "wrad", "--reason", "r").err
    assert "a reason of" in cli("hold", "place", "answers", "wdbc", "--reason", " ").err
    assert "keeps releases" in cli("model", "promote", "wdbc@1").err
    assert cli("hold", "lift", "releases", "wdbc", "--reason", "r").code == 0
    assert cli("hold", "lift", "releases", "wdbc", "--reason", "r").code == 2
    assert cli("model", "promote", "wdbc@1").code == 0


def test_a_suspended_person_acts_no_more_and_again_after_resume(project):
    project.access.add_user("eva", ["operator"], PASSWORD)
    secret = secret_of(project, "eva")
    assert project.access.suspend('User::"eva"', "stolen laptop") == 1
    with pytest.raises(AccessDenied):
        project.acting(secret).runs.list()
    with pytest.raises(ConfigError, match="no user 'eva'"):
        project.access.suspend('User::"eva"', "again")
    with pytest.raises(RefusedError, match="only owner"):
        project.access.suspend('User::"root"', "x")
    with pytest.raises(ConfigError, match="names nobody"):
        project.access.suspend("eva", "x")
    project.access.resume('User::"eva"', "found")
    with pytest.raises(AccessDenied):
        project.acting(secret).runs.list()  # that session stays ended
    project.acting(secret_of(project, "eva")).runs.list()
    with pytest.raises(ConfigError, match="not suspended"):
        project.access.resume('User::"eva"', "found")


def test_what_an_owner_took_for_good_nobody_resumes(project, cli, monkeypatch):
    monkeypatch.chdir(project.root)
    project.access.add_user("eva", ["operator"], PASSWORD)
    project.access.add_user("ann", ["operator"], PASSWORD)
    project.access.suspend('User::"eva"', "stolen laptop")
    project.access.suspend('User::"ann"', "stolen laptop")
    project.access.disable_user("eva")
    shown = {line.split()[0]: line for line in cli("access", "list").out.splitlines() if line}
    assert shown['User::"eva"'].rstrip().endswith("disabled")
    assert shown['User::"ann"'].rstrip().endswith("suspended")
    with pytest.raises(ConfigError, match="for good") as refused:
        project.access.resume('User::"eva"', "found")
    assert refused.value.hint
    with pytest.raises(ConfigError, match="no user 'eva'"):
        project.access.suspend('User::"eva"', "again")
    with pytest.raises(ConfigError, match="no user 'eva'"):
        project.access.disable_user("eva")
    project.access.resume('User::"ann"', "found")
    project.acting(secret_of(project, "ann")).runs.list()
