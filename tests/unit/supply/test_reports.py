"""Reports of ZAP, SonarQube and SARIF: what they say becomes findings; what is no whole report has
said nothing.
"""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.supply.foreign_reports import (
    SCRIPT,
    alert,
    encoded,
    gate,
    generic_new,
    generic_old,
    issues,
    result,
    sarif,
    zap,
    zap_xml,
)

from casemate.core.errors import ConfigError
from casemate.supply.reports import reading
from casemate.supply.reports import sarif as sarif_reader
from casemate.supply.reports import sonar as sonar_reader
from casemate.supply.reports import zap as zap_reader
from casemate.supply.reports.reading import Lines
from casemate.supply.scanners.identity import weaknesses
from casemate.supply.scanners.interface import CouldNotLook

PATH = "https://gateway.example.org:8443/v2"


@pytest.fixture
def lines(tmp_path):
    (tmp_path / "a.py").write_text("import sys\n  eval(sys.argv[1])\n")
    return Lines(tmp_path)


def only(report):
    (looked,) = report.looked
    return looked


def of_zap(report):
    return only(zap_reader.read(encoded(report)))


def test_an_alert_becomes_a_finding_of_whose_word_it_is():
    (one,) = weaknesses([of_zap(zap(alert()))])
    assert (one.kind, one.rule, one.severity, one.path) == ("endpoint", "zap.40012", "high", PATH)
    assert one.scanners == ["report:zap@https://gateway.example.org:8443"]
    assert (one.references, one.mend) == (["CWE-79"], "Encode. Say so.")
    assert one.message == "Cross Site Scripting <script>: GET, parameter x"
    assert "s3cret" not in str(one), "what was sent and answered is not kept"


def test_xml_says_what_json_says():
    (of_json,) = weaknesses([of_zap(zap(alert()))])
    (of_xml,) = weaknesses([of_zap(zap_xml())])
    assert of_xml == of_json


def test_informational_alerts_are_left_out_and_counted():
    looked = of_zap(zap(alert(risk="0"), alert(risk="1")))
    assert [hit.severity for hit in looked.hits] == ["low"]
    assert looked.notes == ["1 informational alerts: they are no weaknesses"]


def test_an_alert_that_is_everywhere_is_one_finding_wherever_zap_lists_it():
    found = [of_zap(zap(alert(uri=uri, systemic=True))) for uri in ("/a", "/b")]
    assert weaknesses(found[:1]) == weaknesses(found[1:])


@pytest.mark.parametrize(
    "report",
    [
        b"",
        b"\x00\xff\xfe",
        b"[1]",
        b"[" * 100_000,
        encoded(zap(alert()))[:-20],
        zap(site="javascript:alert(1)"),
        zap(alert(riskcode="4")),
        zap(alert(instances=[])),
        zap(alert(instances="none")),
        zap(site=[]) | {"site": []},
        zap() | {"@programName": "Burp"},
        {"version": "2.1.0", "runs": []},
        zap_xml()[:-40],
        zap_xml(before='<!DOCTYPE x [<!ENTITY y "z">]>'),
        zap_xml(before='<!DOCTYPE x SYSTEM "file:///etc/passwd">'),
        zap_xml("<a>" * 60 + "</a>" * 60),
        b"<html>" + zap_xml()[22:],
        b"<?xml version='1.0' encoding='utf-7'?><OWASPZAPReport/>",
        b"<OWASPZAPReport/>",
    ],
    ids=range(19),
)
def test_what_is_no_whole_report_of_zap_has_said_nothing(report):
    with pytest.raises(CouldNotLook):
        zap_reader.read(encoded(report))


@given(st.binary(max_size=200))
def test_whatever_bytes_are_no_report(content):
    for read in (
        zap_reader.read,
        lambda whole: sonar_reader.read(whole, Lines(reading.Path("/nowhere"))),
        lambda whole: sarif_reader.read(whole, Lines(reading.Path("/nowhere")), "/nowhere"),
    ):
        with pytest.raises(CouldNotLook):
            read(content)


def test_generic_issues_of_both_formats_are_the_same_findings(lines):
    old = only(sonar_reader.read(encoded(generic_old()), lines))
    new = only(sonar_reader.read(encoded(generic_new()), lines))
    (of_old,), (of_new,) = weaknesses([old]), weaknesses([new])
    assert of_old.fingerprint == of_new.fingerprint
    assert (of_old.severity, of_new.severity) == ("critical", "high")
    assert (of_new.rule, of_new.line, of_new.mend) == ("test.rule1-CWE-95", 2, "Do so.")
    assert of_new.references == ["CWE-95"]
    assert old.notes == ["1 issues about how readable code is: they are no weaknesses"]


def test_a_generic_issue_is_the_same_when_its_line_moves(lines, tmp_path):
    (before,) = weaknesses([only(sonar_reader.read(encoded(generic_new()), lines))])
    (tmp_path / "a.py").write_text("\neval(sys.argv[1])\n")
    (after,) = weaknesses([only(sonar_reader.read(encoded(generic_new()), Lines(tmp_path)))])
    assert before.fingerprint == after.fingerprint


@pytest.mark.parametrize(
    "report",
    [
        {"issues": 3},
        {"rules": [], "issues": generic_new()["issues"]},
        generic_old(severity="AWFUL"),
        generic_old(engineId=None),
        generic_old(primaryLocation={"message": "m"}),
        generic_new("AWFUL"),
        {"paging": {}, "issues": []},
        {"projectStatus": {"status": "FINE"}},
        {"errors": [{"msg": "Component key 'x' not found"}]},
        b"<html>log in</html>",
    ],
    ids=range(10),
)
def test_what_is_no_report_of_sonarqube_has_said_nothing(report, lines):
    with pytest.raises(CouldNotLook):
        sonar_reader.read(encoded(report), lines)


def test_issues_of_the_web_api_become_findings_and_what_is_fixed_does_not(lines):
    listed = issues({}, {"resolution": "FIXED", "line": 9}, {"resolution": "WONTFIX", "line": 3})
    (one, other) = weaknesses(sonar_reader.read(encoded(listed), lines).looked)
    assert (one.rule, one.path, one.severity) == ("sonar.python:S4790", "src/a.py", "high")
    assert one.scanners == ["report:sonar@clinic issues"]
    assert "CWE-328" in one.references
    assert other.line == 3, "what somebody let stand over there has no waiver here"


def test_a_page_of_issues_says_that_there_are_more(lines):
    looked = only(sonar_reader.read(encoded(issues({}, total=700)), lines))
    assert looked.unseen == {"": "699 more issues are on other pages"}


@pytest.mark.parametrize(
    ("status", "grades", "unseen"),
    [
        (gate(), ["high"], {}),
        (gate("WARN"), ["medium"], {}),
        (gate("OK"), [], {}),
        (gate("NONE"), [], {"": "the project was never analysed there, or has no quality gate"}),
        (gate("ERROR", conditions=[]), ["high"], {}),
        (
            gate("OK", ignoredConditions=True),
            [],
            {"conditions": "SonarQube left some out, because few lines were changed"},
        ),
    ],
)
def test_a_quality_gate_is_findings_of_its_conditions(status, grades, unseen, lines):
    looked = only(sonar_reader.read(encoded(status), lines))
    assert ([hit.severity for hit in looked.hits], looked.unseen) == (grades, unseen)


def of_sarif(report, lines, root="/project"):
    return only(sarif_reader.read(encoded(report), lines, root))


def test_results_in_sarif_have_fingerprints_of_ours(lines):
    looked = of_sarif(sarif(result(), result(line=1, text="another")), lines)
    assert len({one.fingerprint for one in weaknesses([looked])}) == 2
    moved = of_sarif(sarif(result(text="other words", partialFingerprints={"a": "b"})), lines)
    assert weaknesses([moved])[0].fingerprint in {one.fingerprint for one in weaknesses([looked])}


@pytest.mark.parametrize(
    ("level", "rule", "grade"),
    [
        ({"level": "error"}, {}, "high"),
        ({}, {}, "medium"),
        ({}, {"defaultConfiguration": {"level": "note"}}, "low"),
        ({"level": "note"}, {"properties": {"security-severity": "9.1"}}, "critical"),
        ({"level": "error"}, {"properties": {"security-severity": "4.0"}}, "medium"),
        ({"level": "error"}, {"properties": {"security-severity": "grave"}}, "high"),
    ],
)
def test_how_grave_a_result_is_says_its_figure_or_its_level(level, rule, grade, lines):
    looked = of_sarif(sarif(result(**level), rules=[{"id": "r1"} | rule]), lines)
    assert looked.hits[0].severity == grade


def test_results_that_say_that_all_is_well_are_no_findings(lines):
    listed = [result(kind="pass"), result(baselineState="absent"), result(kind="open")]
    assert len(of_sarif(sarif(*listed), lines).hits) == 1


def test_what_a_tool_suppressed_is_waived_by_nobody_here(lines):
    looked = of_sarif(sarif(result(suppressions=[{"kind": "inSource"}])), lines)
    assert len(looked.hits) == 1
    assert looked.notes == ["1 results are suppressed there, which waives nothing here"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"results": None}, "did not look for results"),
        ({"invocations": [{"executionSuccessful": False}]}, "did not succeed"),
        ({"externalPropertyFileReferences": {}}, "in other files"),
        (
            {
                "invocations": [
                    {
                        "executionSuccessful": True,
                        "toolExecutionNotifications": [
                            {"level": "error", "message": {"text": "b.py was too long"}}
                        ],
                    }
                ]
            },
            "b.py was too long",
        ),
    ],
    ids=["no results", "failed", "elsewhere", "notice"],
)
def test_a_run_that_did_not_look_wholly_says_so(more, words, lines):
    looked = of_sarif(sarif(result(), **more), lines)
    assert words in " ".join(looked.unseen.values())


@pytest.mark.parametrize(
    "report", [{"version": "2.0.0", "runs": []}, {"version": "2.1.0", "runs": []}, {"runs": []}]
)
def test_what_is_no_sarif_2_1_0_of_any_run_has_said_nothing(report, lines):
    with pytest.raises(CouldNotLook):
        sarif_reader.read(encoded(report), lines, "/project")


def test_what_bandit_says_in_sarif_is_the_finding_that_bandit_makes_here(lines):
    looked = of_sarif(sarif(result("B307", uri="file:///project/a.py"), name="Bandit"), lines)
    (hit,) = looked.hits
    assert (hit.rule, hit.path, hit.material) == ("code.eval", "a.py", "eval(sys.argv[1])")


def test_no_line_outside_of_the_project_is_looked_up(lines, tmp_path):
    outside = tmp_path.parent / "outside.txt"
    outside.write_text("secret\n")
    (tmp_path / "link").symlink_to(outside)
    for path in ("../outside.txt", str(outside), "link", "a\0b", "."):
        assert lines.said(path, 1) == ""


def test_scripts_in_texts_drive_nothing(lines):
    looked = of_sarif(sarif(result(text=f"\x1b[2J{SCRIPT}\u202e")), lines)
    assert weaknesses([looked])[0].message == f"{SCRIPT}?"


def test_a_report_is_a_file_of_a_bounded_size(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CouldNotLook, match="is no file"):
        reading.content(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="No such file"):
        reading.content(tmp_path / "absent")
    with pytest.raises(ConfigError, match="Is a directory"):
        reading.content(tmp_path)
    with (tmp_path / "large").open("wb") as file:
        file.truncate(500 * 2**20)
    with pytest.raises(CouldNotLook, match="larger than 32 MiB"):
        reading.content(tmp_path / "large")
    (tmp_path / "marked").write_bytes(b"\xef\xbb\xbf{}")
    assert reading.content(tmp_path / "marked") == b"{}"
