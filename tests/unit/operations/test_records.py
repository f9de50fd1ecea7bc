"""Records that laws want: every figure is one that was measured, with its run, digest and entry; what
people must say is listed first; and nobody's column name becomes part of a page.
"""

import csv
import datetime
import html.parser
import io
import json
import re

import pytest
from markdown_it import MarkdownIt
from tests.unit.controls.test_subjects import Ward
from tests.unit.operations.test_affected import PERSONS, release

import casemate
from casemate.core.errors import AccessDenied, ConfigError, VerificationError
from casemate.core.types import Assessment
from casemate.operations.incidents.intake import take
from casemate.operations.rights.records import disclosures
from casemate.operations.rights.records.document import rendered
from casemate.operations.rights.records.facts import gather, people_in
from casemate.operations.rights.records.writing import KINDS, made
from casemate.respond.alerts import Alert, moment
from casemate.respond.readers import Post

pytestmark = pytest.mark.slow

SOURCE = re.compile(
    r"run (?P<run>\S+), (?P<file>\w+\.json) SHA-256 (?P<digest>[0-9a-f]{64}), log entry (?P<entry>\d+)"
)
CONTROLLER = """[controller]
name = "St. Anna Hospital"
contact = "Main Street 1"
joint = []
representative = "none needed: established in the Union"
officer = "dpo@example.org"
people = ["patients"]
recipients = []
transfers = []
[controller.said]
"dpia/35(9)" = "Patients' council, 3 May."
[privacy.basis.unspecified]
legal = "public-task"
record = "act 7"
"""


@pytest.fixture
def ward(home, tmp_path):
    return Ward(tmp_path / "ward", PERSONS)


def test_every_measured_figure_stands_with_run_digest_and_entry_that_exist(clinic):
    project = casemate.open(clinic)
    model = project.registry.list()[0]
    measured = project.engine.record(model.release.lineage.run, "assess", Assessment)
    entries = {one.index: one for one in project.log.entries()}
    document = project.privacy.records.show("dpia")
    known = [one for point in document.points for one in point.known]
    found = [match for one in known if (match := SOURCE.search(one.source))]
    assert len(found) > 20
    for match in found:
        entry = entries[int(match["entry"])]
        assert entry.resource == f'Run::"{match["run"]}"'
        assert entry.detail["evidence"][match["file"]] == match["digest"]
    auc = f"membership_auc: {measured.membership['auc']['value']:.4f} "
    (line,) = [one for one in known if one.text.startswith("membership_auc:")]
    assert line.text.startswith(auc) and "assess.json" in line.source
    assert any(text.startswith("epsilon (training was plain") for text in document.unmeasured)
    assert not any("epsilon:" in one.text for one in known)
    assert [one.id for one in document.to_complete][:2] == ["35(1)", "35(7)(a)"]


def test_what_people_must_say_is_listed_first_and_is_gone_once_it_is_said(ward):
    before = ward.sealed().privacy.records.show("processing")
    page = rendered(before, "md").decode()
    head, _, rest = page.partition("## What this is")
    assert f"To be completed: {len(before.to_complete)} of 7 points" in head
    for one in before.to_complete:
        assert f"| {one.id} |" in head and "TO BE COMPLETED" in rest
    after = ward.seal(columns=CONTROLLER).privacy.records
    said = {one.id: one for one in after.show("processing").points}
    assert said["30(1)(a)"].missing == "" and said["30(1)(e)"].known[0].text == "none"
    assert said["30(1)(a)"].known[0].source == "casemate.toml [controller] name"
    assert "time limits" in said["30(1)(f)"].missing
    views = {one.id: one for one in after.show("dpia").points}["35(9)"]
    assert (views.missing, views.known[0].text) == ("", "Patients' council, 3 May.")
    assert "people with rows in" in "".join(one.text for one in said["30(1)(c)"].known)


def test_the_assessment_of_impact_takes_how_people_hide_from_the_report_about_its_source(
    ward, cli, tmp_path
):
    head, *rows = (ward.root / "t.csv").read_text().splitlines()
    told = [f"{head},b", *(f"{row},{at * 7 % 83}.5" for at, row in enumerate(rows))]
    (tmp_path / "raw.csv").write_text("\n".join(told) + "\n")
    (tmp_path / "key").write_text("wH7!qPz2_Lk9@fT4%vB8^mN1*xR6&cJ3+yD5")
    (tmp_path / "key").chmod(0o600)
    (ward.root / "t.csv").unlink()
    done = cli(
        *("privacy", "deidentify", tmp_path / "raw.csv", "-o", ward.root / "t.csv"),
        *("--subject", "person", "--key", f"file:{tmp_path / 'key'}", "--quasi", "a", "-k", "4"),
        *("--method", "k-anonymity", "--sensitive", "y", "--format", "json"),
    )
    assert done.code == 0, done.err
    report = ward.root / "report.json"

    def point(text):
        report.write_text(text)
        columns = '[controller]\ndeidentified = "report.json"\n'
        points = ward.seal(columns=columns).privacy.records.show("dpia").points
        return next(one for one in points if one.id == "35(7)(c) 1")

    found = point(done.out)
    after = done.value["after"]
    assert after["k"] >= 4
    assert not [one for one in found.unmeasured if "de-identification" in one]
    (line,) = [one for one in found.known if one.text.startswith("after: ")]
    assert f"k = {after['k']} over {after['people']} people" in line.text
    assert f"l = {after['l']['y']} (y)" in line.text
    assert f"t = {after['t']['y']:.3f} (y)" in line.text
    assert done.value["sha256"] in line.source
    for text, why in (
        (done.out.replace(done.value["sha256"], "0" * 64), "of another table than the source"),
        ("{}", "cannot be read"),
    ):
        found = point(text)
        assert not any("k = " in one.text for one in found.known)
        assert any(why in one for one in found.unmeasured), why


def test_a_point_that_no_record_has_is_named_with_the_nearest(ward):
    project = ward.seal(columns='[controller.said]\n"dpia/35(7)(bb)" = "x"\n')
    with pytest.raises(ConfigError, match=r"point of no record; did you mean 'dpia/35\(7\)\(b\)'"):
        project.privacy.records.list()
    with pytest.raises(ConfigError, match="no record 'dpai'; did you mean 'dpia'"):
        project.privacy.records.show("dpai")


def test_no_record_says_that_a_law_is_met(ward):
    facts = gather(ward.sealed(columns=CONTROLLER))
    for name in KINDS:
        for form in ("md", "html", "json"):
            text = rendered(made(facts, name), form).decode().lower()
            assert "complian" not in text


def test_records_are_signed_their_digests_are_in_the_log_and_a_change_is_found(ward, cli, tmp_path):
    ward.sealed(columns=CONTROLLER).close()
    out = tmp_path / "records"
    at = ("--config", ward.root)
    said = cli("privacy", "record", "write", "processing", "data-sheet", "--out", out, *at)
    assert said.code == 0, said.err
    assert "processing: 3 points are to be completed by people" in said.out
    assert {one.name for one in out.iterdir()} == {
        *(
            f"{name}.{form}"
            for name in ("processing", "data-sheet")
            for form in ("html", "md", "json")
        ),
        *("croissant.json", "records.dsse.json"),
    }
    assert all(one.stat().st_mode & 0o077 == 0 for one in out.iterdir())
    assert cli("privacy", "record", "verify", out, *at).code == 0
    shown = cli("privacy", "record", "show", "processing", *at)
    assert "## To be completed: " in shown.out.splitlines()[4]
    project = casemate.open(ward.root)
    (entry,) = [one for one in project.log.entries() if one.action == "record:written"]
    assert set(entry.detail["files"]) == {one.name for one in out.iterdir()} - {"records.dsse.json"}
    with pytest.raises(ConfigError, match="exists already"):
        project.privacy.records.write(["dpia"], out)
    page = out / "processing.md"
    page.write_text(page.read_text().replace("Anna", "Berta", 1))
    with pytest.raises(VerificationError, match=r"processing\.md was changed"):
        project.privacy.records.verify(out)
    (out / "records.dsse.json").unlink()
    with pytest.raises(VerificationError, match="holds no signed records"):
        project.privacy.records.verify(out)
    with pytest.raises(ConfigError, match="no such folder"):
        project.privacy.records.verify(tmp_path / "absent")
    # a file is where the folder would be
    said = cli("privacy", "record", "write", "dpia", "--out", page / "below", *at)
    assert (said.code, "cannot be made: Not a directory" in said.err) == (2, True)
    assert ".tmp" not in said.err


class Seen(html.parser.HTMLParser):
    """Tags and addresses of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.links = set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in ("href", "src", "onerror")]


HOSTILE = "<img src=x onerror=alert(1)>](javascript:x)|`\"'\u202e"


def test_hostile_names_become_no_part_of_a_page(home, tmp_path):
    root = tmp_path / "h"
    ward = Ward(root, PERSONS, **{HOSTILE: range(40), "</script><b>": range(40)})
    words = CONTROLLER.replace("St. Anna Hospital", "<script>x</script> ![a](http://t/x)\\n# H")
    facts = gather(ward.seal(columns=words))
    for name in KINDS:
        document = made(facts, name)
        seen = Seen()
        page = rendered(document, "html").decode()
        seen.feed(page)
        assert not seen.tags & {"img", "script", "b", "a"}, name
        assert seen.links == [] and "\u202e" not in page
        text = rendered(document, "md").decode()
        again = Seen()
        again.feed(MarkdownIt("commonmark").enable("table").render(text))
        assert not again.tags & {"img", "script", "b", "a", "em", "code"}, name
        assert again.links == [] and "\u202e" not in text
    sheet = ward.root.parent / "sheet"
    casemate.open(ward.root).privacy.records.write(["data-sheet"], sheet)
    raw = (sheet / "croissant.json").read_text()
    assert "<" not in raw
    names = [one["name"] for one in json.loads(raw)["recordSet"][0]["field"]]
    assert "</script><b>" in names and set(json.loads(raw)) >= {"@context", "conformsTo"}


def test_others_tool_reads_the_table_by_our_croissant_and_refuses_a_broken_one(ward, tmp_path):
    mlcroissant = pytest.importorskip("mlcroissant")
    folder = tmp_path / "sheet"
    project = ward.sealed(columns=CONTROLLER)
    project.privacy.records.write(["data-sheet"], folder)
    (folder / "t.csv").write_bytes((ward.root / "t.csv").read_bytes())
    found = mlcroissant.Dataset(jsonld=folder / "croissant.json")
    assert found.metadata.conforms_to == ["http://mlcommons.org/croissant/1.1"]
    assert not found.metadata.issues.errors
    rows = list(found.records("rows"))
    assert len(rows) == 80
    assert {one["rows/0"].decode() for one in rows} == set(PERSONS)
    broken = json.loads((folder / "croissant.json").read_text())
    broken["recordSet"][0]["field"][0]["source"]["fileObject"]["@id"] = "other"
    with pytest.raises(mlcroissant.ValidationError):
        mlcroissant.Dataset(jsonld=broken)


def test_the_draft_of_a_breach_counts_whose_rows_the_causes_lead_to(ward, tmp_path):
    project = ward.sealed(columns=CONTROLLER)
    release(project, 1)
    now = moment(project.clock.now())
    one = Alert(
        source="t", name="quality-realised", severity="page", labels={"model": "ward@1"}, began=now
    )
    other = Alert(source="t", name="log-forked", severity="page", began=now)
    take(project, "casemate", Post(alerts=[one, other]))
    for number in (1, 2):
        document = project.privacy.records.show("breach", incident=number)
        known = {one.id: one for one in document.points}["33(3)(a)"].known
        (count,) = [one.text for one in known if one.text.startswith("people concerned")]
        by = "by the incident's causes" if "ward@1" in known[1].text else "the causes name none"
        assert count.startswith("people concerned at most: 40") and by in count
    with pytest.raises(ConfigError, match="which incident"):
        project.privacy.records.show("breach")
    assert people_in(project, [("ward", "nothing")]) is None


def test_the_draft_of_a_breach_does_not_pass_over_versions_whose_people_are_not_known(ward):
    ward.seal(subject="").close()
    project = ward.seal(columns=CONTROLLER)
    one = Alert(source="t", name="log-forked", severity="page", began=moment(project.clock.now()))
    take(project, "casemate", Post(alerts=[one]))
    document = project.privacy.records.show("breach", incident=1)
    known = {one.id: one for one in document.points}["33(3)(a)"].known
    (count,) = [one.text for one in known if one.text.startswith("people concerned")]
    assert "at most" not in count
    assert count.startswith("people concerned: 40 of 1 versions")
    assert "those of 1 others, of which it is not known whose their rows are" in count


def test_the_accounting_has_what_left_and_only_that_of_the_persons_versions(ward):
    project = ward.sealed()
    release(project, 1)
    version = next(iter(project.datasets.values())).record.version
    with project.database.transaction() as tx:
        at = 'Model::"ward"', 'Dataset::"other"'
        project.log.append(tx, 'User::"ben"', "model:export", at[0], "allowed", {"version": 1})
        project.log.append(tx, 'User::"=ben"', "model:export", at[0], "denied", {"version": 1})
        project.log.append(tx, "=cmd|x", "dataset:read", at[1], "allowed", {"version": "v"})
    facts = gather(project)
    found = disclosures.disclosed(facts)
    assert [(one.of, one.outside) for one in found] == [("ward", True), ("other", False)]
    mine = disclosures.disclosed(facts, [("ward", version)])
    assert [one.of for one in mine] == ["ward"]
    lines = list(csv.DictReader(io.StringIO(disclosures.table(found).decode())))
    assert lines[1]["by"] == "'=cmd|x", "no spreadsheet takes it for a formula"
    facts = facts.__class__(**{**vars(facts), "now": facts.now + datetime.timedelta(days=7 * 366)})
    assert disclosures.disclosed(facts) == []


def test_whoever_may_not_write_records_is_denied_and_an_auditor_may_read_them(ward, tmp_path):
    project = ward.sealed()
    for name, role in (("eva", "scientist"), ("aud", "auditor")):
        project.access.add_user(name, [role], "four or five words")
    project.logins.login("eva", "four or five words", None)
    with casemate.open(ward.root) as own, pytest.raises(AccessDenied):
        own.privacy.records.list()
    project.logins.login("aud", "four or five words", None)
    with casemate.open(ward.root) as own:
        assert len(own.privacy.records.list()) == len(KINDS)
        with pytest.raises(AccessDenied):
            own.privacy.records.write([], tmp_path / "out")
    assert not (tmp_path / "out").exists()
