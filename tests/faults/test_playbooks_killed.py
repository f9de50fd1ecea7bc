"""Whoever carries a playbook out is killed between any two steps: the next one goes on, no step is
done twice, and none is left out.
"""

import collections
import datetime
import functools
import shutil

import pytest
from tests.conftest import wait_for
from tests.faults.dying import dying

import casemate
from casemate.respond.playbooks import runs

CARRIES = """
import casemate
from casemate.operations.playbooks import asking, carrying

asking.PATIENCE = 0.0  # no gateway runs
project = casemate.open(root, [f'notices.file={{kind="folder",to="{root}/told",on=["playbook:notice"]}}',
    "outbox.timeout=1", "outbox.backoff=0.1"])
counts(project)
carrying.look(project)
print(steps)
"""
BOOK = """
title = "everything"
[when]
causes = ["model"]
[[steps]]
name = "freeze"
do = "freeze"
[[steps]]
name = "back"
do = "rollback"
[[steps]]
name = "evidence"
do = "keep-evidence"
[[steps]]
name = "suspend"
do = "suspend"
of = 'User::"eva"'
[[steps]]
name = "retrain"
do = "retrain"
[[steps]]
name = "say"
do = "notify"
of = "look at it"
[[steps]]
name = "contained"
do = "contain"
needs = ["freeze", "evidence"]
[[steps]]
name = "ends"
do = "revoke-token"
of = "{token}"
"""
EFFECTS = (
    "hold:placed",
    "model:rolled-back",
    "access:suspended",
    "retrain:demanded",
    "playbook:notice",
    "incident:contained",
    "playbook:began",
    "token:revoke",
)


@pytest.fixture(scope="module")
def project(finished, tmp_path_factory):
    root = tmp_path_factory.mktemp("killed") / "p"
    shutil.copytree(finished, root)
    project = casemate.open(root)
    project.run(start="release")
    project.models["wdbc@1"].promote()
    project.models["wdbc@2"].promote()
    project.access.add_user("eva", ["operator"])
    made = project.access.create_token("app", ["client"], ["*"], datetime.timedelta(hours=1))
    (root / "playbooks").mkdir()
    (root / "playbooks" / "all.toml").write_text(BOOK.replace("{token}", made[1]))
    project.playbooks.apply()
    project.incidents.report(
        b'{"alerts": [{"name": "quality-realised", "severity": "page", "labels": {"model": "wdbc@2"}}]}'
    )
    project.close()
    return root


carried = functools.partial(dying, CARRIES)


def told(root):
    """Carry it out once more; whether the notice went out, and its step knows."""
    assert carried(root).returncode == 0
    return came_to(root)[0]["say"] == "done"


def came_to(root):
    """(how far each step is, how often each effect is in the log, notices that went out)."""
    at = casemate.open(root)
    at.log.check()
    with at.database.reading() as tx:
        (run,) = runs.runs(tx)
    done = collections.Counter(
        one.action
        for one in at.log.entries()
        if one.action in EFFECTS
        and one.outcome == "done"
        and "proof" not in one.detail
        and (one.action != "token:revoke" or "token" not in one.detail)
    )
    state = at.incidents.show(1).incident.state
    at.close()
    notices = len(list((root / "told").glob("*")))
    return {one.name: one.progress for one in run.steps}, done, state, notices


def test_whoever_carries_a_playbook_out_may_die_between_any_two_steps(project, tmp_path, scale):
    shutil.copytree(project, tmp_path / "whole")
    whole = carried(tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    steps, expected = int(whole.stdout), came_to(tmp_path / "whole")
    assert expected == (
        {
            "freeze": "done",
            "back": "acted",
            "evidence": "done",
            "suspend": "acted",
            "retrain": "done",
            "say": "done",
            "contained": "done",
            "ends": "waiting",
        },
        {
            "hold:placed": 2,
            "model:rolled-back": 1,
            "access:suspended": 1,
            "retrain:demanded": 1,
            "playbook:notice": 1,
            "incident:contained": 1,
            "playbook:began": 1,
        },
        "contained",
        1,
    )
    killed = 0
    for last in range(1, steps + 1, max(1, steps // scale(7, steps))):
        root = tmp_path / str(last)
        shutil.copytree(project, root)
        killed += carried(root, last).returncode == -9
        again = carried(root)
        assert again.returncode == 0, again.stderr
        # a message that was being sent is another sender's for two seconds
        wait_for(functools.partial(told, root), 20)
        assert came_to(root) == expected, last
        shutil.rmtree(root)
    assert killed > 3
