"""What an alert is about, and what that depends on."""

import re
from pathlib import Path

import pytest

from casemate.respond.alerts import Alert
from casemate.respond.causes import KINDS, Origin, chain, common, level, worst

TIME = "2026-11-29T08:00:00.000000+00:00"
DOCS = Path(__file__).parents[3] / "docs" / "how-to" / "incidents.md"


class Known:
    """One live model, and one that was."""

    def origin(self, model):
        if model not in ("m", "m@2", "m@1"):
            return None
        number = 1 if model == "m@1" else 2
        return Origin(
            reference=f"m@{number}", run=f"r{number}", dataset="d", version=f"{number}", source="s"
        )

    def served(self):
        return ["m@2"]


def steps(name, **labels):
    alert = Alert(source="x", name=name, severity="page", labels=labels, began=TIME)
    return chain(alert, Known())


@pytest.mark.parametrize(
    ("name", "labels", "subject"),
    [
        ("drift", {"model": "m@1"}, "dataset:d@1"),
        ("quality-realised", {"model": "m@2"}, "model:m@2"),
        ("CasemateQualityLow", {"model": "m"}, "model:m@2"),
        ("model-withdrawn", {"model": "m@2"}, "endpoint:m@2"),
        ("CasemateDown", {"job": "casemate"}, "gateway:gateway"),
        ("disk-full", {}, "machine:machine"),
        ("runs-out", {"dataset": "d"}, "budget:d"),
        ("key-overdue", {"key": "objects"}, "key-care:objects"),
        ("signer-compromised", {}, "key:signer"),
        ("log-forked", {}, "log:log"),
        ("break-glass", {"person": "ab"}, "person:ab"),
        ("CasemateAlarm", {"alarm": "drift", "model": "m@1"}, "dataset:d@1"),
        ("CasemateNote", {"alarm": "key-overdue", "of": "footer"}, "key-care:footer"),
        ("Other", {"model": "m", "instance": "h:1"}, "model:m@2"),
        ("Other", {"model": "strange"}, "model:strange"),
        ("Other", {"dataset": "d"}, "dataset:d"),
        ("Other", {"instance": "h:1", "job": "j"}, "instance:h:1"),
        ("Other", {"job": "j"}, "job:j"),
        ("Other", {}, "name:Other"),
    ],
)
def test_every_alert_has_a_subject(name, labels, subject):
    assert steps(name, **labels)[0] == subject


def test_an_alert_about_an_answer_depends_on_all_that_made_it():
    found = steps("model-withdrawn", model="m@2")
    assert found[:5] == ["endpoint:m@2", "model:m@2", "run:r2", "dataset:d@2", "dataset:d"]
    assert {"source:s", "key:signer", "key:objects"} <= set(found)


def test_a_key_that_wants_care_explains_nothing_but_a_lost_one_explains_both():
    overdue = steps("key-overdue", key="objects")
    for other in (steps("quality-realised", model="m"), steps("drift", model="m")):
        assert overdue[0] not in other
    assert "key:objects" in overdue
    assert "key:objects" in steps("quality-realised", model="m")


def test_a_gateway_that_is_down_is_no_matter_of_quality():
    gateway = steps("CasemateNotReady")
    assert gateway == ["gateway:gateway", "machine:machine", "endpoint:m@2"]
    assert steps("quality-realised", model="m")[0] not in gateway
    assert steps("model-withdrawn", model="m")[0] in gateway


def test_parts_that_fail_in_the_same_way_have_their_way_in_common():
    one, two = steps("Other", instance="a"), steps("Other", instance="b")
    assert common(one) == common(two) == "name:Other"
    assert common(steps("drift", model="m")) == ""


def test_a_note_is_low_and_the_worst_of_several_counts():
    note = Alert(source="x", name="log-forked", severity="note", began=TIME)
    page = Alert(source="x", name="log-forked", severity="page", began=TIME)
    assert (level(note), level(page), worst("low", "high", "medium")) == ("low", "critical", "high")


def test_the_page_about_incidents_has_the_table_of_kinds():
    rows = re.findall(r"^\| `([\w-]+)` \| ([\w-]+) \| (\w+) \|", DOCS.read_text(), re.MULTILINE)
    assert rows == [(name, kind.nature, kind.level) for name, kind in KINDS.items()]
