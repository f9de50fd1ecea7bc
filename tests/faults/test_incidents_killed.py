"""Whoever hears alerts is killed between any two steps; the sender sends again, and it is as if
nobody had died.
"""

import functools
import shutil

import pytest
from tests.faults.dying import dying

import casemate
from casemate.operations import scaffold
from casemate.respond import tables

HEARS = """
import casemate
from casemate.operations.incidents.intake import take
from casemate.respond.alerts import Alert
from casemate.respond.readers import Post

project = casemate.open(root)
counts(project)
publish = project.log.publish
project.log.publish = lambda: (step(), publish(), step())

def said(name, second, ended=None, **labels):
    time = "2026-11-29T08:00:{:02}.000000+00:00"
    end = None if ended is None else time.format(ended)
    return Alert(source="t", name=name, severity="page", labels=labels, began=time.format(second), ended=end)

take(project, "t", Post(alerts=[said("x", n, job=f"{n}") for n in range(3)]))
take(project, "t", Post(alerts=[said("CasemateDown", 4), said("x", 0, 5, job="0")]))
take(project, "t", Post(alerts=[said("disk-full", 6)]))
print(steps)
"""


@pytest.fixture(scope="module")
def project(home, tmp_path_factory):
    root = tmp_path_factory.mktemp("killed") / "p"
    scaffold.create(root, scaffold.clinical())
    return root


heard = functools.partial(dying, HEARS)


def came_to(root):
    """Alerts without counts and times of hearing, and incidents without times of their own."""
    at = casemate.open(root)
    at.log.check()
    with at.database.reading() as tx:
        alerts = {
            key: (one.alert, one.incident) for key, one in tables.some_alerts(tx, most=100).items()
        }
    incidents = []
    for one in at.incidents.list("all"):
        shown = at.incidents.show(one.incident.id)
        found = shown.incident
        what = [(line.action, line.change.joined, line.change.ended) for line in shown.lines]
        incidents.append((found.id, found.root, found.alerts, shown.standing, what))
    at.close()
    return alerts, incidents


def test_whoever_hears_alerts_may_die_between_any_two_steps(project, tmp_path, scale):
    shutil.copytree(project, tmp_path / "whole")
    whole = heard(tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    steps, expected = int(whole.stdout), came_to(tmp_path / "whole")
    assert len(expected[1]) == 2
    killed = 0
    for last in range(1, steps + 1, max(1, steps // scale(8, steps))):
        root = tmp_path / str(last)
        shutil.copytree(project, root)
        killed += heard(root, last).returncode == -9
        again = heard(root)
        assert again.returncode == 0, again.stderr
        assert came_to(root) == expected, last
        shutil.rmtree(root)
    assert killed > 5
