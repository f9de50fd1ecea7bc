"""Reports of others in a project: kept beside its own scans, never instead of them, and asked of a
SonarQube server that misbehaves.
"""

import datetime
import http.server
import json
import threading

import pytest
from tests.unit.supply.foreign_reports import (
    NOW,
    alert,
    encoded,
    gate,
    issues,
    result,
    sarif,
    zap,
)

import casemate
from casemate.core.errors import ConfigError
from casemate.operations.scanned import standing
from casemate.operations.scans import looking
from casemate.supply.scanners.interface import Looked

DAY = datetime.timedelta(days=1)


@pytest.fixture
def project(tiny_project):
    return casemate.open(tiny_project)


@pytest.fixture
def take(project, tmp_path):
    """Import a report."""

    def taken(report, source="zap", name="report.json"):
        file = tmp_path / name
        file.write_bytes(encoded(report))
        return project.scans.add(file, source)

    return taken


def configured(root, text):
    with (root / "casemate.toml").open("a") as file:
        file.write(text)
    return casemate.open(root)


def test_a_report_becomes_findings_that_block_are_waived_and_go(take, project):
    found = take(zap(alert()))
    (print_,) = found.blocking
    assert found.scan.parts[0].source.startswith("report.json, SHA-256 ")
    assert found.found[0].owner == "operator" and found.found[0].due
    project.scans.waive(print_, NOW + DAY, "r")
    assert take(zap(alert())).blocking == []
    take(zap())
    assert project.scans.list().found == []


def test_a_report_about_something_else_or_nothing_takes_no_finding_away(take, project):
    take(zap(alert()))
    take(zap(site="https://other.example.org"))
    take(b"{}")
    assert len(project.scans.list().found) == 1


def test_a_report_is_no_look_of_ours(take, project):
    take(sarif(), "sarif")
    assert "code was never looked at" in standing(project).unknown


def test_a_report_hides_nothing_that_could_not_be_looked_at(take, project, monkeypatch):
    class Blind:
        id, kind = "blind", "code"

        def look(self, place):
            return Looked(scanner=self.id, kind="code", unseen={"a.py": "x"})

    monkeypatch.setattr(looking, "scanners", lambda *_: [Blind()])
    project.scans.scan(["code"])
    take(sarif(), "sarif")
    assert "blind could not look at a.py: x" in standing(project).unknown
    assert project.findings_kept.newest()["code"].number == 1


def test_garbage_is_kept_as_having_said_nothing_until_there_is_a_whole_report(take, project):
    found = take(b"<html>502 Bad Gateway</html>")
    assert found.unseen and found.scan.parts[0].scanner == "report:zap"
    (told,) = [one for one in standing(project).unknown if "report:zap" in one]
    assert "says nothing about anything: this is no traditional XML report" in told
    take(sarif(), "sarif")
    assert told in standing(project).unknown, "another tool's report says nothing of this one"
    take(zap())
    assert told not in standing(project).unknown


def test_a_report_of_another_time_says_nothing_about_now(take):
    for created, words in (
        (NOW - 30 * DAY, "older than 7 days"),
        (NOW + 30 * DAY, "which is to come"),
    ):
        assert words in take(zap(created=created)).unseen[0]


def test_the_gate_asks_for_the_reports_that_the_project_wants(take, project, tiny_project):
    project = configured(tiny_project, '\n[scan]\nkinds = ["code"]\nreports = ["zap"]\n')
    assert "no report of zap was ever imported" in standing(project).unknown
    take(zap(alert(risk="2")))
    assert "zap" not in " ".join(standing(project).unknown)
    assert standing(project).open == {"medium": 1}, "of whatever kind it is"
    now = project.clock.now() + 8 * DAY
    project.clock = type("Later", (), {"now": lambda _: now})()
    assert "a report of zap was imported" in " ".join(standing(project).unknown)


def test_what_is_imported_is_listed_and_logged(take, project):
    take(zap(alert()))
    (scan,) = project.scans.list().scans
    assert scan.parts[0].scanner == "report:zap@https://gateway.example.org:8443"
    entry = next(one for one in project.log.entries() if one.action == "scan:imported")
    assert len(entry.detail["report"]) == 64 and entry.detail["source"] == "zap"


def test_there_is_no_report_of_another_format_and_no_file_that_is_not_there(project, tmp_path):
    with pytest.raises(ConfigError, match="no format"):
        project.scans.add(tmp_path / "x", "burp")
    with pytest.raises(ConfigError, match="No such file"):
        project.scans.add(tmp_path / "x", "zap")
    assert project.findings_kept.scans() == []


def test_our_own_findings_come_back_as_the_same_ones(take, project, tmp_path):
    before = take(sarif(result(uri="train.py")), "sarif").new
    for form, source in (("sarif", "sarif"), ("sonar", "sonar"), ("sonar-old", "sonar")):
        project.scans.export(tmp_path / form, form)
        found = take((tmp_path / form).read_bytes(), source)
        assert [one.kept.finding.fingerprint for one in found.found] == before


class Sonar:
    """What a SonarQube server answers, by path; contract: its web API's documentation."""

    def __init__(self):
        self.answers = {
            "/api/qualitygates/project_status": gate(),
            "/api/project_analyses/search": {
                "paging": {"pageIndex": 1, "pageSize": 1, "total": 1},
                "analyses": [{"key": "A", "date": f"{NOW:%Y-%m-%dT%H:%M:%S}+0000", "events": []}],
            },
            "/api/issues/search": issues({}),
        }
        self.status, self.asked, self.raw = 200, [], None
        stub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                path = self.path.partition("?")[0]
                stub.asked.append((self.path, self.headers["authorization"]))
                body = stub.raw
                if body is None:
                    answer = stub.answers[path]
                    body = json.dumps(answer(self.path) if callable(answer) else answer).encode()
                self.send_response(stub.status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def sonar():
    stub = Sonar()
    yield stub
    stub.server.shutdown()
    stub.server.server_close()


@pytest.fixture
def asking(sonar, tiny_project, monkeypatch):
    """A project that asks it."""
    monkeypatch.setenv("SONAR", "t0ken")
    return configured(
        tiny_project,
        f'\n[scan.sonar]\nurl = "{sonar.url}"\nproject = "clinic"\ntoken = "env:SONAR"\n',
    )


def test_a_quality_gate_and_issues_are_asked_for_and_become_findings(sonar, asking):
    found = asking.scans.ask_sonar()
    assert found.unseen == []
    assert {one.kept.finding.rule for one in found.found} == {
        "sonar.gate.new_security_rating",
        "sonar.python:S4790",
    }
    assert len(found.blocking) == 2
    assert {token for _, token in sonar.asked} == {"Bearer t0ken"}
    assert "t0ken" not in "".join(path for path, _ in sonar.asked)
    sonar.answers["/api/qualitygates/project_status"] = gate("OK")
    sonar.answers["/api/issues/search"] = issues()
    assert asking.scans.ask_sonar().found == []
    assert asking.scans.list().found == [], "what is mended over there is gone here"


def test_pages_of_issues_are_read_to_the_end(sonar, asking):
    def page(path):
        number = int(path.rpartition("p=")[2])
        return issues(*[{}] * (500 if number == 1 else 2), total=502, page=number)

    sonar.answers["/api/issues/search"] = page
    found = asking.scans.ask_sonar()
    assert found.unseen == [] and found.scan.parts[1].count == 502


MISDEEDS = {
    "renew what [scan.sonar] token refers to": {"status": 401},
    "browse the project": {"status": 403},
    "answered 302": {"status": 302},
    "answered 500": {"status": 500},
    "no answer of api/qualitygates/project_status": {"raw": b"<html>log in</html>"},
    "Object missing required field": {"raw": b"{}"},
    "got `array`": {"raw": b'{"projectStatus": ' + b"[" * 90_000},
    "Invalid enum value 'GREEN'": {"raw": b'{"projectStatus": {"status": "GREEN"}}'},
    "more than 16777216 bytes": {"raw": b" " * (16 * 2**20 + 1)},
}
ANALYSES = {
    "has never analysed clinic": [],
    "older than 7 days": [{"date": "2020-01-01T00:00:00+0000"}],
    "dates an analysis 'yesterday'": [{"date": "yesterday"}],
}


def test_a_server_that_does_not_answer_as_documented_has_said_nothing(sonar, asking, tmp_path):
    no_issues = tmp_path / "generic.json"
    no_issues.write_text('{"issues": []}')
    for words, change in MISDEEDS.items():
        vars(sonar).update({"status": 200, "raw": None} | change)
        found = asking.scans.ask_sonar()
        assert words in found.unseen[0] and "t0ken" not in str(found)
    asking.scans.add(no_issues, "sonar")
    told = " ".join(standing(asking).unknown)
    assert "report:sonar@clinic quality gate" in told and "report:sonar@clinic issues" in told


def test_a_project_that_was_not_analysed_lately_is_not_clean(sonar, asking):
    for words, analyses in ANALYSES.items():
        sonar.answers["/api/project_analyses/search"] = {"analyses": analyses}
        assert words in asking.scans.ask_sonar().unseen[0]


def test_a_server_that_is_away_has_said_nothing(sonar, asking):
    sonar.server.shutdown()
    sonar.server.server_close()
    assert "was not reached" in asking.scans.ask_sonar().unseen[0]


def test_nobody_is_asked_in_the_clear_or_without_being_named(tiny_project):
    with pytest.raises(ConfigError, match="names no server"):
        casemate.open(tiny_project).scans.ask_sonar()
    said = (tiny_project / "casemate.toml").read_text()
    for url in ("http://sonar.example.org", "https://[::1", "https://sonar.example.org:99999"):
        (tiny_project / "casemate.toml").write_text(said)
        with pytest.raises(ConfigError, match="must be https"):
            configured(
                tiny_project,
                f'\n[scan.sonar]\nurl = "{url}"\nproject = "x"\ntoken = "env:S"\n',
            )
