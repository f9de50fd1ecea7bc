"""Scans of a project: findings with one identity and a history, waivers, the gate's standing,
exports as others take them.
"""

import datetime
import json
import xml.etree.ElementTree as ET

import pytest
from msgspec import structs
from tests.unit.supply.planted import advisory, snapshot

import casemate
from casemate.core.errors import ConfigError, RefusedError, VerificationError
from casemate.deploy import state
from casemate.operations.scanned import standing
from casemate.operations.scans import configuration, exports, looking
from casemate.supply.scanners import place as places
from casemate.supply.scanners.identity import fingerprint, same, weaknesses
from casemate.supply.scanners.interface import Hit, Looked

DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.UTC)


def hit(rule="code.eval", path="a.py", line=1, material="eval(x)", severity="medium", **more):
    return Hit(
        rule=rule,
        severity=severity,
        message="text is run as code",
        path=path,
        line=line,
        material=material,
        **more,
    )


class Fake:
    """A scanner that answers what a test says."""

    kind = "code"

    def __init__(self, *hits, name="fake", unseen=(), kind="code"):
        self.id, self.hits, self.kind = name, list(hits), kind
        self.unseen = dict(unseen)

    def look(self, place):
        return Looked(scanner=self.id, kind=self.kind, hits=self.hits, count=1, unseen=self.unseen)


class Clock:
    def __init__(self):
        self.time = NOW

    def now(self):
        return self.time


@pytest.fixture
def project(tiny_project):
    return casemate.open(tiny_project)


@pytest.fixture
def scanned(project, monkeypatch):
    """Scan with the scanners given."""

    def scan(*fakes, kinds=("code",)):
        monkeypatch.setattr(
            looking, "scanners", lambda _, kind: [f for f in fakes if f.kind == kind]
        )
        return project.scans.scan(kinds)

    return scan


def rows(project, gone=False):
    return project.scans.list(gone=gone).found


def test_a_finding_keeps_its_identity_when_lines_move_and_scanners_change(scanned, project):
    first = scanned(Fake(hit(line=3), name="one"))
    again = scanned(Fake(hit(line=30), name="two", unseen={"b.py": "x"}), Fake(name="one"))
    assert (len(first.new), again.new) == (1, [])
    (kept,) = rows(project)
    assert (kept.kept.finding.line, kept.kept.first_scan, kept.kept.last_scan) == (30, 1, 2)


def test_two_alike_in_one_file_are_two_and_stay_so():
    pair = [Looked(scanner="s", kind="code", hits=[hit(line=1), hit(line=5)])]
    moved = [Looked(scanner="s", kind="code", hits=[hit(line=11), hit(line=15)])]
    prints = [one.fingerprint for one in weaknesses(pair)]
    assert len(set(prints)) == 2 and prints == [one.fingerprint for one in weaknesses(moved)]


def test_two_scanners_that_see_one_fault_make_one_finding_of_it():
    both = [
        Looked(scanner="a", kind="code", hits=[hit(severity="low")]),
        Looked(scanner="b", kind="code", hits=[hit(severity="high")]),
    ]
    (one,) = weaknesses(both)
    assert (one.scanners, one.severity) == (["a", "b"], "high")


def test_parts_of_an_identity_do_not_run_into_each_other():
    assert fingerprint("code", "a", "b", "c") != fingerprint("code", "ab", "", "c")
    assert fingerprint("code", "a", "b", "c", 0) != fingerprint("code", "a", "b", "c", 1)


def test_an_advisory_that_becomes_two_is_two_findings():
    def found(*families):
        hits = [
            hit(material=names[0], package="leaky", references=list(names), path="")
            for names in families
        ]
        return weaknesses([Looked(scanner="s", kind="dependencies", hits=hits)])

    before = found(["PYSEC-1", "PYSEC-2"])
    after = same(before, found(["CVE-1", "PYSEC-1"], ["CVE-2", "PYSEC-2"]))
    assert len({one.fingerprint for one in after}) == 2
    assert before[0].fingerprint in {one.fingerprint for one in after}
    apart = same(before, found(["PYSEC-1"], ["PYSEC-2"]))
    assert len({one.fingerprint for one in apart}) == 2


def test_an_advisory_that_gets_another_name_is_the_same_finding():
    def found(*names):
        made = hit(material=names[0], package="leaky", references=list(names), path="")
        return weaknesses([Looked(scanner="s", kind="dependencies", hits=[made])])

    (before,) = found("PYSEC-1")
    (after,) = same([before], found("CVE-1", "PYSEC-1"))
    assert after.fingerprint == before.fingerprint and "CVE-1" in after.references
    (other,) = same([before], found("CVE-2"))
    assert other.fingerprint != before.fingerprint


def test_what_is_mended_is_gone_and_what_comes_back_is_new_again(scanned, project):
    scanned(Fake(hit()))
    scanned(Fake())
    assert rows(project) == []
    (gone,) = rows(project, gone=True)
    assert gone.kept.gone
    assert len(scanned(Fake(hit())).new) == 1
    (back,) = rows(project)
    assert (back.kept.returned, back.kept.gone, back.kept.first_scan) == (1, "", 1)


def test_who_could_not_look_takes_no_finding_away(scanned, project):
    scanned(Fake(hit()))
    found = scanned(Fake(unseen={"a.py": "it cannot be read"}))
    assert [one.kept.gone for one in rows(project)] == [""]
    assert found.unseen == ["fake: a.py: it cannot be read"]


def test_a_folder_that_cannot_be_listed_takes_no_finding_away(scanned, project, monkeypatch):
    scanned(Fake(hit()))
    unlisted = {"pkg": "the folder cannot be read"}
    monkeypatch.setattr(looking, "listed", lambda *_: ([], unlisted, []))
    scanned(Fake())
    assert [one.kept.gone for one in rows(project)] == [""]


def test_a_kind_that_nobody_looks_at_is_not_clean(scanned):
    assert scanned().unseen == ["none: nobody looks at it"]


def test_a_scanner_that_breaks_is_named_and_the_others_go_on(scanned, project):
    class Broken(Fake):
        def look(self, place):
            raise ZeroDivisionError("oh")

    found = scanned(Broken(name="broken"), Fake(hit()))
    assert found.unseen == ["broken: the scanner broke: ZeroDivisionError: oh"]
    assert len(found.found) == 1


def test_more_findings_than_anybody_takes_are_not_looked_at_wholly(scanned, monkeypatch):
    monkeypatch.setattr(looking, "MOST_FINDINGS", 3)
    found = scanned(Fake(*(hit(material=str(number)) for number in range(9))))
    assert len(found.found) == 3 and "more than 3 findings" in found.unseen[0]


def test_a_waiver_lets_a_finding_stand_until_its_end(scanned, project):
    print_ = scanned(Fake(hit(severity="high"))).blocking[0]
    waived = project.scans.waive(print_[:12], NOW + DAY, "an example")
    assert waived.waiver.reason == "an example"
    assert scanned(Fake(hit(severity="high"))).blocking == []
    assert project.scans.unwaive(print_[:12]) == 1
    assert scanned(Fake(hit(severity="high"))).blocking == [print_]


def test_a_waiver_ends_by_itself(scanned, project):
    print_ = scanned(Fake(hit())).blocking[0]
    project.scans.waive(print_, NOW + DAY, "r")
    project.clock = Clock()
    project.clock.time = NOW + 2 * DAY
    assert scanned(Fake(hit())).blocking == [print_]


def test_a_waiver_is_of_a_finding_that_there_is_with_a_reason_and_an_end(scanned, project):
    print_ = scanned(Fake(hit())).blocking[0]
    for finding, until, reason in (
        ("ffffff", NOW + DAY, "r"),
        (print_[:3], NOW + DAY, "r"),
        (print_, NOW - DAY, "r"),
        (print_, NOW + 400 * DAY, "r"),
        (print_, NOW + DAY, " "),
    ):
        with pytest.raises(ConfigError):
            project.scans.waive(finding, until, reason)


def test_a_finding_is_due_by_its_severity_and_overdue_afterwards(scanned, project):
    scanned(Fake(hit(severity="critical")))
    (one,) = rows(project)
    assert one.due == (NOW + 2 * DAY).date().isoformat() and not one.overdue
    project.clock = Clock()
    project.clock.time = NOW + 4 * DAY
    assert rows(project)[0].overdue
    assert one.owner == "scientist"


def test_the_gate_is_told_what_was_never_not_wholly_or_not_lately_looked_at(scanned, project):
    kinds = project.config.scan.kinds
    assert standing(project).unknown == [f"{kind} was never looked at" for kind in kinds]
    everything = [Fake(name=kind, kind=kind) for kind in kinds]
    scanned(*everything, kinds=("all",))
    assert standing(project) == structs.replace(standing(project), unknown=[], open={}, told=[])
    scanned(Fake(name="code", unseen={"a.py": "x"}), *everything[1:], kinds=("all",))
    assert standing(project).unknown == ["code could not look at a.py: x"]
    scanned(*everything, kinds=("all",))
    project.clock = Clock()
    project.clock.time = NOW + 8 * DAY
    assert len(standing(project).unknown) == len(kinds)


def test_there_is_nothing_of_another_name_to_look_at(project):
    with pytest.raises(ConfigError, match="nothing called 'kode'"):
        project.scans.scan(["kode"])


@pytest.mark.parametrize("said", ['scan.exclude=["*.py"]', 'scan.tools="elsewhere"'])
def test_nobody_leaves_out_something_for_this_once(said, tiny_project):
    project = casemate.open(tiny_project, [said])
    with pytest.raises(ConfigError, match=r"-s sets scan\.(exclude|tools)"):
        project.scans.scan(["code"])


def test_what_links_lead_to_outside_blocks(scanned, project, tmp_path):
    (tmp_path / "outside.py").write_text("x = 1\n")
    (project.root / "link.py").symlink_to(tmp_path / "outside.py")
    assert scanned(Fake()).unseen == ["files: link.py: it is a link that leads out of the project"]


def test_old_scans_are_forgotten_and_findings_are_not(scanned, project, monkeypatch):
    from casemate.respond import findings

    monkeypatch.setattr(findings, "SCANS_KEPT", 2)
    scanned(Fake(hit()))
    for _ in range(3):
        scanned(Fake(hit()))
    assert [one.number for one in project.findings_kept.scans()] == [4, 3]
    assert rows(project)[0].kept.first_scan == 1


def test_the_log_says_what_was_looked_at_and_waived(scanned, project):
    print_ = scanned(Fake(hit())).blocking[0]
    project.scans.waive(print_, NOW + DAY, "r")
    actions = [one.action for one in project.log.entries()]
    assert {"scan:done", "scan:waived"} <= set(actions)


@pytest.fixture
def exported(scanned, project, tmp_path):
    """The findings of one scan in every form: an open one, a waived one, one in a notebook, an
    advisory, and something that could not be looked at.
    """
    code = Fake(
        hit(line=3, severity="high"),
        hit(material="waived", path="b b.py"),
        hit(material="book", path="n.ipynb", cell=2),
        unseen={"c.py": "<it> cannot be read\ufffe"},
    )
    leaky = hit(
        rule="dependency.vulnerable", path="", line=0, material="leaky CVE-1", package="leaky",
        version="1.0", fixed=["2.0"], references=["CVE-1", "GHSA-1", "CWE-79"], severity="critical",
    )  # fmt: skip
    packages = Fake(leaky, name="advisories", kind="dependencies")
    scanned(code, packages, kinds=("code", "dependencies"))
    waived = next(one for one in rows(project) if one.kept.finding.path == "b b.py")
    project.scans.waive(waived.kept.finding.fingerprint, NOW + DAY, "an example")

    def export(form):
        path = tmp_path / form
        project.scans.export(path, form)
        return path.read_bytes()

    return export


def valid(case, name, document):
    schema = json.loads(case(f"schemas/{name}").read_text())
    refs = []
    if "bom" in name:
        for other in ("spdx.schema.json", "jsf-0.82.schema.json"):
            refs.append(json.loads(case(f"schemas/{other}").read_text()))
    from jsonschema.validators import validator_for
    from referencing import Registry as References
    from referencing import Resource
    from referencing.jsonschema import DRAFT7

    registry = References().with_resources((one["$id"], Resource(one, DRAFT7)) for one in refs)
    return list(validator_for(schema)(schema, registry=registry).iter_errors(document))


def test_sarif_is_valid_and_suppresses_what_is_waived(exported, case):
    document = json.loads(exported("sarif"))
    assert valid(case, "sarif-schema-2.1.0.json", document) == []


def test_sarif_has_own_fingerprints_and_says_what_could_not_be_looked_at(exported):
    (run,) = json.loads(exported("sarif"))["runs"]
    prints = {one["partialFingerprints"]["casemate/v1"] for one in run["results"]}
    assert len(prints) == len(run["results"]) == 4
    assert (
        len({one["partialFingerprints"]["primaryLocationLineHash"] for one in run["results"]}) == 4
    )
    suppressed = [one for one in run["results"] if one["suppressions"]]
    (location,) = suppressed[0]["locations"]
    assert location["physicalLocation"]["artifactLocation"]["uri"] == "b%20b.py"
    assert run["invocations"][0]["executionSuccessful"] is False
    assert all(
        run["tool"]["driver"]["rules"][one["ruleIndex"]]["id"] == one["ruleId"]
        for one in run["results"]
    )


def test_sarif_for_github_leaves_out_what_is_waived_and_no_more_than_it_takes(
    exported, monkeypatch
):
    (run,) = json.loads(exported("sarif-github"))["runs"]
    assert len(run["results"]) == 3 and "suppressions" not in run["results"][0]
    monkeypatch.setattr(exports, "MOST_RESULTS", 2)
    (run,) = json.loads(exported("sarif-github"))["runs"]
    assert [one["level"] for one in run["results"]] == ["error", "error"]


def test_what_sarif_leaves_out_it_says(exported, monkeypatch):
    monkeypatch.setattr(exports, "MOST_RESULTS", 1)
    (run,) = json.loads(exported("sarif-github"))["runs"]
    notices = run["invocations"][0]["toolExecutionNotifications"]
    assert "2 findings, the least grave, are left out" in notices[-1]["message"]["text"]
    assert run["results"][0]["level"] == "error"
    assert run["invocations"][0]["executionSuccessful"] is False


def test_a_rule_has_no_more_tags_than_github_takes(scanned, project, tmp_path):
    many = [f"GHSA-{number}" for number in range(40)]
    scanned(Fake(hit(references=many)))
    project.scans.export(tmp_path / "s", "sarif-github")
    (run,) = json.loads((tmp_path / "s").read_text())["runs"]
    assert len(run["tool"]["driver"]["rules"][0]["properties"]["tags"]) == exports.MOST_TAGS


def test_a_page_says_what_stands_what_is_waived_and_what_was_not_looked_at(exported):
    text = exported("html").decode()
    assert "Findings that stand: 1 critical, 1 high, 1 medium; overdue: 0; waived: 1." in text
    assert "Not looked at, which is not clean: 1." in text
    assert "&lt;it&gt; cannot be read" in text and "an example" in text


EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)> \"' {{7*7}} `x` \x1b[2J \u202e"


def test_nothing_that_others_wrote_does_anything_in_a_page(scanned, project, tmp_path):
    evil = {"message": EVIL, "mend": EVIL, "references": [EVIL], "package": EVIL}
    found = structs.replace(hit(path=f"{EVIL}.py"), **evil)
    scanned(Fake(found, unseen={EVIL: EVIL}))
    project.scans.export(tmp_path / "page", "html")
    text = (tmp_path / "page").read_text()
    assert "<script" not in text and "<img" not in text and "onerror=alert(1)&gt;" in text
    assert "{{7*7}}" in text and "\x1b" not in text and "\u202e" not in text


def test_junit_fails_for_findings_errs_for_what_was_not_seen_and_skips_what_is_waived(exported):
    suite = ET.fromstring(exported("junit"))[0]
    counts = {name: int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": 6, "failures": 3, "errors": 1, "skipped": 1}


def test_sonar_gets_rules_and_issues_without_what_is_waived(exported):
    document = json.loads(exported("sonar"))
    assert len(document["issues"]) == 3
    assert {one["ruleId"] for one in document["issues"]} <= {one["id"] for one in document["rules"]}
    lines = [one["primaryLocation"].get("textRange") for one in document["issues"]]
    assert sorted(map(str, lines)) == ["None", "None", "{'startLine': 3}"]


def test_sonar_before_10_3_gets_issues_that_say_all_of_themselves(exported):
    document = json.loads(exported("sonar-old"))
    assert set(document) == {"issues"} and len(document["issues"]) == 3
    graver = [one["severity"] for one in document["issues"]]
    assert sorted(graver) == ["BLOCKER", "CRITICAL", "MAJOR"]


def test_no_severity_is_exported_that_sonar_10_3_does_not_know(exported):
    impacts = [rule["impacts"] for rule in json.loads(exported("sonar"))["rules"]]
    assert {one["severity"] for (one,) in impacts} <= {"HIGH", "MEDIUM", "LOW"}


def test_vex_is_valid_and_names_the_package(exported, case):
    document = json.loads(exported("vex"))
    assert document["vulnerabilities"][0]["affects"] == [{"ref": "pkg:pypi/leaky@1.0"}]
    assert valid(case, "bom-1.6.schema.json", document) == []


def test_nothing_scanned_is_no_clean_report(project, tmp_path):
    with pytest.raises(ConfigError, match="no clean report"):
        project.scans.export(tmp_path / "x", "sarif")


def test_an_export_of_another_form_is_refused(exported):
    with pytest.raises(ConfigError, match="no form"):
        exported("pdf")


LEAKY = advisory("GHSA-1", "leaky", [{"introduced": "0"}], NOW)


def test_a_snapshot_is_imported_from_who_signs_and_never_replaced_by_an_older_one(
    project, tmp_path
):
    file = snapshot(tmp_path / "feed", [LEAKY])
    with pytest.raises(VerificationError, match="not signed") as refused:
        project.scans.advisories.add(file)
    assert ".tmp-" not in refused.value.message, "nobody looks for a file there"
    project.scans.advisories.sign(file)
    assert project.scans.advisories.add(file).count == 1
    assert project.scans.advisories.show().fault == ""
    older = snapshot(tmp_path / "older", [advisory("GHSA-1", "leaky", [], NOW - DAY)])
    project.scans.advisories.sign(older)
    with pytest.raises(RefusedError, match="older than the snapshot here"):
        project.scans.advisories.add(older)


def test_an_old_snapshot_is_not_imported(project, tmp_path):
    file = snapshot(tmp_path / "feed", [advisory("GHSA-1", "leaky", [], NOW - 30 * DAY)])
    project.scans.advisories.sign(file)
    with pytest.raises(RefusedError, match="older than 7 days"):
        project.scans.advisories.add(file)
    assert project.scans.advisories.show().snapshot is None


def test_a_snapshot_is_taken_from_the_keys_that_the_configuration_names(
    project, tmp_path, tiny_project
):
    file = snapshot(tmp_path / "feed", [LEAKY])
    project.scans.advisories.sign(file)
    for name, pem in zip(("a.pub", "b.pub"), casemate_signer().verifier.pems, strict=True):
        (tiny_project / name).write_bytes(pem)
    with (tiny_project / "casemate.toml").open("a") as text:
        text.write('\n[scan]\nadvisories_keys = ["a.pub", "b.pub"]\n')
    with pytest.raises(VerificationError):
        casemate.open(tiny_project).scans.advisories.add(file)


@pytest.mark.parametrize("names", [["a.pub"], ["a.pub", "b.pub"]])
def test_keys_that_are_no_pair_are_told_with_the_option_that_names_them(
    names, project, tmp_path, tiny_project
):
    file = snapshot(tmp_path / "feed", [LEAKY])
    project.scans.advisories.sign(file)
    (tiny_project / "a.pub").write_bytes(casemate_signer().verifier.pems[0])
    (tiny_project / "b.pub").write_text("no key")
    with (tiny_project / "casemate.toml").open("a") as text:
        text.write(f"\n[scan]\nadvisories_keys = {json.dumps(names)}\n")
    with pytest.raises(VerificationError, match=r"\[scan\] advisories_keys") as refused:
        casemate.open(tiny_project).scans.advisories.add(file)
    assert "signer-mldsa65.pub of who signs snapshots" in refused.value.hint


def test_nobody_looks_before_everybody_is_there_who_is_to(tiny_project):
    with (tiny_project / "casemate.toml").open("a") as text:
        text.write('\n[scan]\nadvisories_keys = ["absent.pub"]\n')
    said = []
    with pytest.raises(ConfigError, match=r"absent\.pub: No such file"):
        casemate.open(tiny_project).scans.scan(["all"], said.append)
    assert said == []


def casemate_signer():
    from casemate.core.signatures import Signer

    return Signer.generate()


def test_the_name_of_what_marks_rendered_folders_is_theirs():
    assert configuration.STATE == state.FILE


def test_folders_that_are_passed_over_hold_no_text_of_the_project():
    assert ".casemate" in places.PASSED
