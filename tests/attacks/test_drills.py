"""Drills: each verdict turns to `missed` where its guard is off, and the project that is drilled stays
as it is.
"""

import http.server
import json
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pandas as pd
import pytest
from tests.attacks.guards import WITHOUT, option
from tests.conftest import command, wait_for

import casemate
from casemate.core.digest import sha256, sha256_file
from casemate.core.errors import ConfigError, VerificationError
from casemate.core.files import clear_scratch
from casemate.core.store.sqlite import driver
from casemate.operations.drills import catalogue, playing, twin
from casemate.operations.drills.player import played
from casemate.operations.drills.scene import Scene
from casemate.operations.drills.twin import TABLE
from casemate.stages.release import drill as records
from casemate.verification import verify_path

pytestmark = pytest.mark.slow
SAMPLE = (
    *("planted-file", "tampered-model", "tampered-rows", "forged-approval"),
    *("forged-waiver", "own-approval", "written-right", "replayed-code", "edited-log"),
    "rolled-back-log",
)
"""Attacks that need neither a run nor a gateway."""
PLAYED = [
    pytest.param(name, marks=() if name in SAMPLE else (pytest.mark.long,))
    for name in catalogue.ATTACKS
]


def scene_of(root: Path, work: Path) -> Scene:
    work.mkdir()
    return Scene(root, work)


def copied(root: Path) -> None:
    """The table as a drill's copy has it, and the screens that the light example leaves out."""
    frame = pd.read_csv(root / "data" / "wdbc.csv", dtype={"patient_id": str, "malignant": str})
    frame.to_parquet(root / TABLE)
    option(data__source=TABLE, screen__triggers=True, screen__spectral=True)(None, root)
    casemate.open(root).run()  # as a drill's copy has: some attacks run again from its release on


def test_every_attack_has_a_guard_that_can_be_switched_off():
    assert WITHOUT.keys() == catalogue.ATTACKS.keys()


@pytest.mark.parametrize("name", PLAYED)
def test_an_attack_is_seen_and_is_missed_where_its_guard_is_off(
    name, clinic, tmp_path, monkeypatch
):
    attack = catalogue.ATTACKS[name]
    scene = scene_of(clinic, tmp_path / "with")
    copied(clinic)
    found = played(scene, attack)
    scene.close()
    assert found.verdict in ("contained", "detected"), found
    assert found.holds, found
    _, off = WITHOUT[name]
    off(monkeypatch, clinic)
    scene = scene_of(clinic, tmp_path / "without")
    found = played(scene, attack)
    scene.close()
    assert found.verdict == "missed", found


def content_of(root: Path) -> dict[str, str]:
    """Digest of every row of the catalogue by table, but of the log and what it binds; and of the
    files beside it.
    """
    found: dict[str, str] = {}
    with driver.connect(root / ".casemate" / "catalog.db") as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (name,) in names:
            if not name.startswith(("audit_", "row_", "sqlite_")):
                rows = sorted(map(repr, connection.execute(f'SELECT * FROM "{name}"')))
                found[name] = sha256(repr(rows).encode())
    connection.close()
    left = ("catalog.db", "audit", "drills", "lock")
    for path in sorted(root.rglob("*")):
        below = path.relative_to(root)
        is_state = below.parts[0] == ".casemate"
        if path.is_file() and not (is_state and below.parts[1].startswith(left)):
            found[str(below)] = sha256_file(path)
    return found


class Listener(http.server.BaseHTTPRequestHandler):
    calls: list[str] = []

    def do_POST(self):
        self.calls.append(self.path)
        self.send_response(200)
        self.end_headers()


@pytest.fixture
def receiver():
    server = http.server.HTTPServer(("127.0.0.1", 0), Listener)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_drill_changes_nothing_but_its_report_and_the_log_and_tells_nobody(
    own, receiver, monkeypatch, cli
):
    monkeypatch.setenv("CASEMATE_CANARY", "a secret of the environment")
    with (own / "casemate.toml").open("a") as file:
        file.write(f'\n[notices.desk]\nkind = "webhook"\nto = "{receiver}"\n')
    keys = casemate.open(own).keystore.folder
    before, size = content_of(own), len(list(casemate.open(own).log.entries()))
    secrets = {path: sha256_file(path) for path in keys.rglob("*") if path.is_file()}
    heard = []
    done = casemate.open(own).drills.play(
        ["own-approval", "written-right"], progress=lambda *told: heard.append(told)
    )
    assert [one.verdict for one in done.drill.played] == ["contained", "contained"], done.drill
    assert [text for text, *_ in heard] == [
        "an honest run on the copy",
        "own-approval",
        "written-right",
    ]
    assert content_of(own) == before
    project = casemate.open(own)
    entries = list(project.log.entries())[size:]
    assert entries[-1].action == records.PLAYED
    assert entries[-1].detail["verdicts"] == dict.fromkeys(
        ("own-approval", "written-right"), "contained"
    )
    assert entries[-1].detail["sha256"] == sha256_file(Path(done.folder) / records.SIGNATURE)
    assert {path: sha256_file(path) for path in keys.rglob("*") if path.is_file()} == secrets
    assert Listener.calls == []
    assert not any((own / ".casemate" / "tmp").iterdir())
    assert "without [notices]" in done.drill.differences
    assert verify_path(done.folder).kind == "drill"
    assert cli("fsck", "--config", own).code == 0
    assert playing._young(project) is None  # not every attack was asked for
    page = Path(done.folder) / records.PAGE
    page.write_bytes(page.read_bytes() + b" ")
    with pytest.raises(VerificationError):
        verify_path(done.folder)


def test_only_a_young_whole_report_that_nobody_changed_is_told_instead_of_playing(clinic, cli):
    project = casemate.open(clinic)

    def kept(name, **changed):
        told = {
            "id": name,
            "project": project.config.project.id,
            "time": project.clock.now().isoformat(),
            "casemate": "x",
            "seconds": 1.0,
            "whole": True,
            "rows": 1,
            "differences": [],
            "left_out": {},
            "played": [catalogue.ATTACKS["backdoor"].told("missed", said="nobody looks")],
        }
        made = records.Drill(**{**told, **changed})
        playing._kept(project, made, project.state / "drills" / name)

    kept("1-older", time="2026-01-01T00:00:00+00:00")
    kept("2-partial", whole=False)
    kept("3-foreign", project="another")
    kept("4-ahead", time="2999-01-01T00:00:00+00:00")
    assert playing._young(project) is None
    kept("5-good")
    kept("6-changed")
    page = project.state / "drills" / "6-changed" / records.REPORT
    page.write_bytes(page.read_bytes().replace(b"missed", b"contained"))
    answer = cli("drill", "--if-due", "--config", clinic)
    assert answer.code == 1, answer.err
    assert "backdoor: [screen] triggers, spectral or label_noise has not seen it" in answer.out
    assert "none is due yet" in answer.out


def test_the_copy_has_no_row_of_somebody_who_was_erased_and_no_more_rows_than_are_said(
    own, tmp_path
):
    project = casemate.open(own)
    names = pd.read_csv(own / "data" / "wdbc.csv", dtype=str)["patient_id"]
    assert twin.prepare(project, tmp_path / "all", 10_000).rows == len(names)
    project.privacy.erase(names[7])
    made = twin.prepare(project, tmp_path / "less", 10_000)
    copy = pd.read_parquet(tmp_path / "less" / twin.PROJECT / TABLE)
    assert made.rows == len(copy) == len(names) - sum(names == names[7])
    assert names[7] not in set(copy["patient_id"])
    assert twin.prepare(project, tmp_path / "few", 200).rows == 200


def test_the_copy_has_the_training_code_that_patterns_name_and_nothing_outside_the_folder(
    clinic, tmp_path
):
    (clinic / "parts").mkdir()
    (clinic / "parts" / "one.py").write_text("ONE = 1\n")
    option(train__files=["parts/*.py"])(None, clinic)
    twin.prepare(casemate.open(clinic), tmp_path / "all", 200)
    copy = tmp_path / "all" / twin.PROJECT
    assert (copy / "parts" / "one.py").read_text() == "ONE = 1\n"
    assert (copy / "train.py").read_text() == (clinic / "train.py").read_text()
    (clinic.parent / "outside.py").write_text("OUTSIDE = 1\n")
    shutil.copyfile(clinic / "schema.toml", clinic.parent / "outside.toml")
    refused = (
        {"train__files": ["../outside.py"]},
        {"train__files": [], "train__transformers": ["../outside.py"]},
        {"train__transformers": [], "data__schema": "../outside.toml"},
    )
    for number, options in enumerate(refused):
        option(**options)(None, clinic)
        with pytest.raises(ConfigError, match="outside"):
            twin.prepare(casemate.open(clinic), tmp_path / "work" / str(number), 200)
    assert not [*(tmp_path / "work").rglob("outside.*")]


def test_a_drill_that_is_killed_leaves_nothing_but_what_the_next_run_removes(clinic):
    before = content_of(clinic)
    process = subprocess.Popen(
        command("drill", "--only", "written-right", "--config", str(clinic)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    tmp = clinic / ".casemate" / "tmp"

    def players() -> list[str]:
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes()
            except OSError:
                continue
            if str(tmp).encode() in words and b"drills.alone" in words:
                found.append(path.parent.name)
        return found

    wait_for(lambda: bool(players()), 60)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: not players(), 30)
    assert not (clinic / ".casemate" / "drills").exists()
    clear_scratch(tmp)
    assert content_of(clinic) == before


def test_what_is_not_there_is_refused_and_nothing_is_copied(clinic, cli):
    answer = cli("drill", "--only", "label-flip", "--config", clinic)
    assert answer.code == 2
    assert "there is no attack 'label-flip'" in answer.err
    assert cli("drill", "-s", "screen.triggers=false", "--config", clinic).code == 2
    (clinic / "data" / "wdbc.csv").unlink()
    answer = cli("drill", "--only", "written-right", "--config", clinic)
    assert answer.code == 2, answer.err
    assert "wdbc.csv" in answer.err
    assert not any((clinic / ".casemate" / "tmp").iterdir())
    assert not (clinic / ".casemate" / "drills").exists()


def test_an_attack_that_cannot_be_prepared_is_not_played_which_blocks(
    clinic, tmp_path, monkeypatch
):
    scene = scene_of(clinic, tmp_path / "w")
    scene.fault = "its honest run was refused"
    found = played(scene, catalogue.ATTACKS["tampered-model"])
    assert (found.verdict, found.holds) == ("not-played", False)
    assert "its honest run was refused" in found.said
    monkeypatch.setattr(
        "casemate.operations.models.verify", lambda *_: (_ for _ in ()).throw(KeyError("x"))
    )
    scene.fault = ""
    found = played(scene, catalogue.ATTACKS["tampered-model"])
    assert (found.verdict, found.holds) == ("not-played", False)


def test_what_is_left_out_has_a_reason_that_is_told_and_must_exist(clinic, cli):
    with (clinic / "casemate.toml").open("a") as file:
        file.write('\n[drill]\nleave_out = { label-flips = "a quantity" }\n')
    answer = cli("drill", "--list", "--format", "json", "--config", clinic)
    assert {one["attack"]: one["left_out"] for one in json.loads(answer.out)}[
        "label-flips"
    ] == "a quantity"
    text = (clinic / "casemate.toml").read_text().replace("label-flips", "label-flaps")
    (clinic / "casemate.toml").write_text(text)
    with pytest.raises(ConfigError, match="no attack"):
        casemate.open(clinic).drills.play()
