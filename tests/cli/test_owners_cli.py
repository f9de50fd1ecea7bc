"""`casemate federate card`, `found`, `approve`, `leave`, `list`, `rounds`, `audit`: owners agree,
and what they tell of it.
"""

import json
import re
import shutil
import signal
import subprocess

import msgspec
import pytest
from msgspec import structs
from tests.conftest import command, write_csv
from tests.ports import free_port
from tests.unit.operations.owners import job_of

import casemate
from casemate.cli.federate import owners
from casemate.controls.federation import cards
from casemate.controls.federation.messages import RoundRecord
from casemate.controls.federation.rounds import Kept
from casemate.core.errors import ConfigError
from casemate.core.files import alone
from casemate.core.types import ColumnSchema, Schema
from casemate.ml.federated.local import LocalPlan
from casemate.operations import scaffold
from casemate.operations.federated.books import begun_with
from casemate.operations.federated.conducting import Options
from casemate.stages.data import schema as pinned

URL = "https://localhost:8460"
COLUMNS = Schema(
    target="y",
    classes=["no", "yes"],
    columns=[
        ColumnSchema(name="a", type="number", min=-3.1, max=2.9),
        ColumnSchema(name="b", type="number", min=-2.2, max=3.3),
        ColumnSchema(name="c", type="category", categories=["x", "z"]),
        ColumnSchema(name="who", type="text", column_class="identifier", use=False),
        ColumnSchema(name="y", type="category", use=False),
    ],
    rows=120,
)
LIMITS = """
[data.columns]
"a" = { min = -10, max = 10 }
"b" = { min = -10, max = 10 }
"c" = { categories = ["x", "y", "z"] }
"""


@pytest.fixture(scope="module")
def made(home, tmp_path_factory):
    """A coordinator and three sites: projects that never ran."""
    import pyarrow as pa

    folder = tmp_path_factory.mktemp("owners")
    table = pa.table({"a": [0.0, 1.0], "b": [0.0, 1.0], "c": ["x", "z"], "y": ["no", "yes"]})
    for name in ("centre", "north", "south", "east"):
        root = folder / name
        root.mkdir()
        plan = scaffold.from_table(root, write_csv(root / "t.csv", table), "y")
        scaffold.create(root, plan)
        file = root / "casemate.toml"
        head, _, rest = file.read_text().partition("[data.columns]")
        rest = rest[rest.index("[screen]") :]
        text = f"{head}{LIMITS}\n{rest}"
        file.write_text(_with_purpose(text))
        (root / "schema.toml").write_text(pinned.dump(COLUMNS))
    return folder


def _with_purpose(text):
    lines = [line for line in text.splitlines() if not line.startswith("purpose")]
    place = lines.index("[project]") + 1
    return "\n".join([*lines[:place], 'purpose = "triage"', *lines[place:], ""])


@pytest.fixture
def at(made, tmp_path, monkeypatch):
    """Copies of them, in the folder where commands work."""
    shutil.copytree(made, tmp_path / "owners")
    monkeypatch.chdir(tmp_path / "owners")
    return tmp_path / "owners"


def card_of(at, cli, name):
    answer = cli("federate", "card", name, "--config", at / name)
    assert answer.code == 0, answer.err
    (at / f"{name}.card.json").write_text(answer.out)
    said, _, fingerprint = answer.err.strip().partition(": ")
    assert said == name
    return fingerprint


def founded(at, cli, *words, sites=("north", "south", "east")):
    for name in sites:
        card_of(at, cli, name)
    given = [word for name in sites for word in ("--site", f"{name}.card.json")]
    return cli(
        "federate", "found", "wards", "--as", "centre", "--url", URL, *given, "--config", "centre",
        *words,
    )  # fmt: skip


def trusting(at, name, *fingerprints, more=""):
    with (at / name / "casemate.toml").open("a") as file:
        file.write(f"\n[federate]\ncoordinators = {json.dumps(fingerprints)}\n{more}\n")


def test_owners_agree_by_files_and_each_log_says_what_was_approved(at, cli):
    answer = founded(at, cli)
    assert answer.code == 0, answer.err
    charter = cards.charter_in((at / "wards.charter.json").read_bytes())
    assert [one.name for one in charter.sites] == ["north", "south", "east"]
    assert (charter.purpose, charter.least, charter.url) == ("triage", 3, URL)
    # limits are those that were declared, and nothing of what rows showed
    a, b, c, target = charter.columns.columns
    assert (a.min, a.max, b.min, b.max) == (-10, 10, -10, 10)
    assert c.categories == ["x", "y", "z"]
    assert (target.name, charter.columns.rows) == ("y", 0)
    assert "-3.1" not in (at / "wards.charter.json").read_text()
    head = card_of(at, cli, "centre")
    assert charter.coordinator.fingerprint == head

    look = cli("federate", "approve", "wards.charter.json", "--look")
    assert look.code == 0
    assert head in look.out
    assert re.search(r"^a +number +-10 to 10$", look.out, re.MULTILINE)
    assert re.search(r"^c +category +x, y, z$", look.out, re.MULTILINE)
    assert "nothing was approved" in look.out
    refused = cli("federate", "approve", "wards.charter.json", "--config", "north")
    assert refused.code == 1
    assert head in refused.err
    assert "[federate] coordinators" in refused.err
    trusting(at, "north", head)
    done = cli("federate", "approve", "wards.charter.json", "--config", "north")
    assert done.code == 0, done.err
    for card in charter.sites:
        assert card.fingerprint in done.out

    north = casemate.open(at / "north")
    told = [
        (one.outcome, one.detail.get("digest"))
        for one in north.log.entries(0)
        if one.action == "federation:approve" and one.outcome != "allowed"
    ]
    assert told == [("denied", charter.digest), ("done", charter.digest)]
    assert north.federation.charter("wards").digest == charter.digest
    (listed,) = cli("federate", "list", "--config", "north", "--format", "json").value
    assert (listed["roles"], listed["digest"]) == (["site"], charter.digest)
    (own,) = cli("federate", "list", "--config", "centre", "--format", "json").value
    assert own["roles"] == ["coordinator"]
    (entry,) = [
        one
        for one in casemate.open(at / "centre").log.entries(0)
        if one.action == "federation:found"
    ]
    assert entry.detail["sites"] == [card.fingerprint for card in charter.sites]

    assert cli("federate", "leave", "wards", "--config", "north").code == 0
    assert cli("federate", "leave", "wards", "--config", "north").code == 2
    assert casemate.open(at / "north").federated.charters() == []
    actions = [one.action for one in casemate.open(at / "north").log.entries(0)]
    assert "federation:leave" in actions


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('purposes = ["research"]', "its purpose is 'triage', and here it is research"),
        ("least_sites = 4", "a round would hear of 3 sites, and 4 are the least here"),
    ],
)
def test_a_charter_that_the_sites_own_policy_does_not_allow_is_not_approved(at, cli, more, said):
    assert founded(at, cli).code == 0
    trusting(at, "north", card_of(at, cli, "centre"), more=more)
    answer = cli("federate", "approve", "wards.charter.json", "--config", "north")
    assert answer.code == 1
    assert said in answer.err
    assert casemate.open(at / "north").federated.charters() == []


def test_whoever_is_no_site_of_a_charter_or_has_other_keys_by_now_does_not_approve_it(at, cli):
    assert founded(at, cli, sites=("north", "south")).code == 0
    head = card_of(at, cli, "centre")
    for name in ("east", "north"):
        trusting(at, name, head, more="least_sites = 2")
    answer = cli("federate", "approve", "wards.charter.json", "--config", "east")
    assert (answer.code, "is no site of wards" in answer.err) == (2, True), answer.err
    assert cli("keys", "signer", "rotate", "--config", "north").code == 0
    answer = cli("federate", "approve", "wards.charter.json", "--config", "north")
    assert (answer.code, "other keys of this project" in answer.err) == (2, True), answer.err


def test_a_name_belongs_to_the_coordinator_whose_charter_counts(at, cli):
    assert founded(at, cli).code == 0
    trusting(at, "north", card_of(at, cli, "centre"))
    assert cli("federate", "approve", "wards.charter.json", "--config", "north").code == 0
    # its coordinator may found it anew
    (at / "wards.charter.json").unlink()
    assert founded(at, cli, "--least", "2").code == 0
    answer = cli("federate", "approve", "wards.charter.json", "--config", "north")
    assert "2 sites, and 3 are the least" in answer.err
    # somebody else may not
    card_of(at, cli, "centre")
    other = cli(
        "federate", "found", "wards", "--url", URL, "--site", "centre.card.json", "--site",
        "south.card.json", "--config", "north", "-o", "other.json",
    )  # fmt: skip
    assert other.code == 1
    assert "wards is a federation of centre here" in other.err
    assert not (at / "other.json").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda text: text.replace('"a" = { min = -10, max = 10 }', ""),
            "limits are declared of a",
        ),
        (
            lambda text: text.replace('"a" = { min = -10, max = 10 }', ""),
            '"a" = { min = LEAST, max = GREATEST }',
        ),
        (lambda text: text.replace('"c" =', '"d" ='), "limits are declared of c"),
        (lambda text: text.replace('"c" =', '"d" ='), '"c" = { categories = [ALL VALUES] }'),
        (lambda text: text.replace('purpose = "triage"', ""), "[project] purpose says nothing"),
    ],
)
def test_what_rows_showed_and_what_nobody_said_is_no_charter(at, cli, change, said):
    file = at / "centre" / "casemate.toml"
    file.write_text(change(file.read_text()))
    answer = founded(at, cli)
    assert answer.code == 2
    assert said in answer.err
    assert not (at / "wards.charter.json").exists()
    assert casemate.open(at / "centre").federated.charters() == []


def test_a_charter_with_the_same_owner_twice_or_at_no_address_is_not_founded(at, cli):
    twice = founded(at, cli, sites=("north", "north"))
    assert (twice.code, "north is there twice" in twice.err) == (2, True), twice.err
    nowhere = cli(
        "federate", "found", "wards", "--url", "http://localhost:1", "--site", "north.card.json",
        "--site", "north.card.json", "--config", "centre",
    )  # fmt: skip
    assert (nowhere.code, "https://HOST:PORT" in nowhere.err) == (2, True), nowhere.err
    many = founded(at, cli, "--least", "9")
    assert (many.code, "hint: 2 to 3" in many.err) == (2, True), many.err
    card_of(at, cli, "south")
    forged = json.loads((at / "north.card.json").read_text())
    forged["payload"] = json.loads((at / "south.card.json").read_text())["payload"]
    (at / "forged.json").write_text(json.dumps(forged))
    answer = cli(
        "federate", "found", "wards", "--url", URL, "--site", "forged.json", "--site",
        "north.card.json", "--config", "centre",
    )  # fmt: skip
    assert answer.code == 4, answer.err
    assert "forged.json: " in answer.err
    assert "have its owner send it again" in answer.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_site_that_is_stopped_while_it_calls_ends_with_a_word(at, cli, number):
    assert founded(at, cli, "--url", f"https://localhost:{free_port()}").code == 0
    trusting(at, "north", card_of(at, cli, "centre"))
    assert cli("federate", "approve", "wards.charter.json", "--config", "north").code == 0
    # what runs the tests in the background has Ctrl-C ignored
    usual = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    site = subprocess.Popen(
        command("federate", "join", "wards", "--config", "north"),
        stderr=subprocess.PIPE, text=True,
        **usual,
    )  # fmt: skip
    try:
        assert "does not answer" in site.stderr.readline()
        site.send_signal(number)
        _, said = site.communicate(timeout=60)
    finally:
        site.kill()
        site.wait()
    assert (site.returncode, said.splitlines()[0]) == (130, "error[CM-INTERRUPTED]: interrupted")


def test_a_second_process_does_not_lead_too_and_is_told_so(at, cli):
    assert founded(at, cli).code == 0
    folder = casemate.open(at / "centre").state / "federated"
    with alone(folder / "wards.leading.lock", "a test"):
        answer = cli("federate", "lead", "wards", "--config", "centre")
    assert answer.code == 5
    assert "another process of this project leads wards already" in answer.err


def test_who_leads_with_other_options_than_a_job_began_with_is_told_which(at, cli):
    assert founded(at, cli).code == 0
    project = casemate.open(at / "centre")
    charter = cards.charter_in(project.federation.charter("wards").content)
    before = job_of(charter, id="", begun="", rounds=25, plan=LocalPlan(rate=0.5))
    now = structs.replace(before, rounds=10, plan=LocalPlan(), code={"train.py": b""})
    file = at / "wards.led"
    begun_with(project, file, charter, before, Options(), fresh=False)
    kept = file.read_bytes()
    with pytest.raises(ConfigError) as caught:
        begun_with(project, file, charter, now, Options(liars=1, wait=1.0), fresh=False)
    for said in ("another code, ", "rounds 25 instead of 10", "rate 0.5 instead of 0.1"):
        assert said in caught.value.message
    assert "liars 0 instead of 1" in caught.value.message
    assert file.read_bytes() == kept
    begun_with(project, file, charter, before, Options(wait=1.0), fresh=False)  # it goes on


def test_a_wrong_address_to_listen_at_is_refused_before_an_earlier_job_is_left(at, cli):
    assert founded(at, cli).code == 0
    begun = casemate.open(at / "centre").state / "federated" / "wards.led"
    begun.parent.mkdir()
    begun.write_bytes(b"an earlier job")
    answer = cli("federate", "lead", "wards", "--fresh", "--listen", "x", "--config", "centre")
    assert (answer.code, begun.read_bytes()) == (2, b"an earlier job")


def keep(at, name, charter, site, rounds):
    """Rounds as a site or a coordinator writes them down."""
    project = casemate.open(at / name)
    with project.database.transaction() as tx:
        for one in rounds:
            kept = Kept(
                charter=charter.digest, job="ab" * 32, number=one.number, question=one.question,
                content="00" * 32, record=msgspec.json.encode(one), time="2026-01-01T00:00:00Z",
                site=site,
            )  # fmt: skip
            project.federation.keep(tx, kept)


def test_records_of_several_parties_are_compared_without_a_project(at, cli, monkeypatch):
    assert founded(at, cli).code == 0
    charter = cards.charter_in((at / "wards.charter.json").read_bytes())
    trusting(at, "north", charter.coordinator.fingerprint)
    assert cli("federate", "approve", "wards.charter.json", "--config", "north").code == 0
    first = RoundRecord(number=1, what="train", question="q1", answers={0: "a", 1: "b", 2: "c"})
    keep(at, "centre", charter, -1, [first])
    keep(at, "north", charter, 0, [structs.replace(first, answers={0: "a"})])

    shown = cli("federate", "rounds", "wards", "--config", "north")
    assert "answered as 0" in shown.out
    for name in ("centre", "north"):
        words = ("--export", f"{name}.json", "--config", name)
        assert cli("federate", "rounds", "wards", *words).code == 0
        assert cli("federate", "rounds", "wards", *words).code == 2  # nothing is overwritten
    (at / "empty").mkdir()
    monkeypatch.chdir(at / "empty")
    same = cli("federate", "audit", "../wards.charter.json", "../centre.json", "../north.json")
    assert same.code == 0, same.err
    assert "not compared, for their record is not there: south, east" in same.out

    monkeypatch.chdir(at)
    project = casemate.open(at / "north")
    (kept,) = project.federation.of(charter.digest)
    with project.database.transaction() as tx:
        lie = structs.replace(first, answers={0: "z"})
        project.federation.amend(tx, kept, msgspec.json.encode(lie))
    assert cli("federate", "rounds", "wards", "--export", "lie.json", "--config", "north").code == 0
    other = cli("federate", "audit", "wards.charter.json", "centre.json", "lie.json")
    assert other.code == 1
    assert "DIFFERENT: round 1: north sent another answer than the coordinator says" in other.out

    with project.database.transaction() as tx:
        project.federation.amend(tx, kept, b"{")
    damaged = cli("federate", "rounds", "wards", "--config", "north")
    assert damaged.code == 4
    assert "the record of a round cannot be read" in damaged.err


def test_limits_of_a_charter_are_shown_as_they_are_and_not_rounded():
    day = ColumnSchema(name="born", type="number", min=19500101.0, max=0.1 + 20261130)
    shown = "\n".join(owners._features(structs.replace(COLUMNS, columns=[day])))
    assert re.search(r"^born +number +19500101 to 20261130\.1$", shown, re.MULTILINE)


def test_what_another_owner_said_of_an_answer_drives_no_terminal(at, cli):
    assert founded(at, cli).code == 0
    charter = cards.charter_in((at / "wards.charter.json").read_bytes())
    one = RoundRecord(
        number=1, what="train", question="q1", answers={0: "a"}, refused={1: "\x1b[2J\n"}
    )
    keep(at, "centre", charter, -1, [one])
    shown = cli("federate", "rounds", "wards", "--config", "centre").out
    assert "the answer of site 1 was not taken: ?[2J?" in shown


def test_there_is_no_record_of_what_never_was(at, cli):
    assert founded(at, cli).code == 0
    answer = cli("federate", "rounds", "wards", "--export", "x.json", "--config", "centre")
    assert (answer.code, "no job" in answer.err) == (2, True), answer.err
    assert cli("federate", "rounds", "others", "--config", "centre").code == 2
    assert "nothing was asked" in cli("federate", "rounds", "wards", "--config", "centre").out
    assert not (at / "x.json").exists()


def test_the_digest_of_the_code_that_jobs_bring_follows_its_files(at, cli):
    first = cli("federate", "code", "--config", "centre")
    assert first.code == 0
    digest = first.out.splitlines()[0]
    assert (len(digest), "train.py" in first.out) == (64, True)
    with (at / "centre" / "train.py").open("a") as file:
        file.write("# another line\n")
    assert cli("federate", "code", "--config", "centre").out.splitlines()[0] != digest


def test_a_coordinator_that_is_a_site_exports_what_it_gathered_and_what_it_answered(at, cli):
    for name in ("centre", "north", "south"):
        card_of(at, cli, name)
    given = [
        word for name in ("centre", "north", "south") for word in ("--site", f"{name}.card.json")
    ]
    words = ("found", "wards", "--as", "centre", "--url", URL, *given, "--config", "centre")
    assert cli("federate", *words).code == 0
    (listed,) = cli("federate", "list", "--config", "centre", "--format", "json").value
    assert listed["roles"] == ["coordinator", "site"]
    charter = cards.charter_in((at / "wards.charter.json").read_bytes())
    first = RoundRecord(number=1, what="train", question="q1", answers={0: "a", 1: "b", 2: "c"})
    keep(at, "centre", charter, -1, [first])
    keep(at, "centre", charter, 0, [structs.replace(first, answers={0: "a"})])
    export = ("federate", "rounds", "wards", "--config", "centre", "--export")
    assert cli(*export, "head.json").code == 0
    assert cli(*export, "own.json", "--as-site").code == 0
    told = cli(
        "federate", "audit", "wards.charter.json", "head.json", "own.json", "--format", "json"
    )
    assert (told.code, told.value["answers"], told.value["differences"]) == (0, 1, [])
