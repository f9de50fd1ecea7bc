"""Owners as real processes over mutual TLS: `casemate federate lead` and `join`, and what becomes of
the model.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tests.conftest import command, lighten, write_csv
from tests.ports import free_port
from tests.unit.operations.test_carried import Carrier

import casemate
from casemate.core.digest import sha256
from casemate.core.types import ColumnSchema, Schema
from casemate.operations import scaffold
from casemate.stages.data import schema as pinned

pytestmark = pytest.mark.slow
SITES = ("north", "south", "east")
COLUMNS = Schema(
    target="y",
    classes=["no", "yes"],
    columns=[
        ColumnSchema(name="a", type="number"),
        ColumnSchema(name="b", type="number"),
        ColumnSchema(name="c", type="category"),
        ColumnSchema(name="y", type="category"),
    ],
    rows=150,
)
LIMITS = """
"a" = { min = -5, max = 5 }
"b" = { min = -5, max = 5 }
"c" = { categories = ["x", "y", "z"] }
"""
MODEL = """from sklearn.linear_model import LogisticRegression
def build(): return LogisticRegression()
"""
SECONDS = 180.0


def table(seed: int, rows: int = 150) -> pa.Table:
    chance = np.random.default_rng(seed)
    a, b, kind = (
        chance.standard_normal(rows),
        chance.standard_normal(rows),
        chance.integers(0, 3, rows),
    )
    sure = a + 2 * b + (kind == 1) + 0.5 * chance.standard_normal(rows)
    return pa.table(
        {
            "a": a,
            "b": b,
            "c": np.array(["x", "y", "z"])[kind].tolist(),
            "y": np.where(sure > 0, "yes", "no").tolist(),
        }
    )


def made(root: Path, seed: int) -> None:
    root.mkdir()
    scaffold.create(root, scaffold.from_table(root, write_csv(root / "t.csv", table(seed)), "y"))
    lighten(root)
    file = root / "casemate.toml"
    text = re.sub(r"(?m)^(purpose|search) = .*\n", "", file.read_text())
    text = text.replace("[project]\n", '[project]\npurpose = "triage"\n', 1)
    assert "[data.columns]" not in text
    text = text.replace("[screen]\n", f"[data.columns]{LIMITS}\n[screen]\n", 1)
    head, _, tail = text.partition("[gates]")
    file.write_text(
        head + "[gates]\naccuracy = { min = 0.5 }\n\n[serve]" + tail.partition("[serve]")[2]
    )
    (root / "train.py").write_text(MODEL)


@pytest.fixture
def at(tmp_path, cli, monkeypatch):
    """A coordinator with a pinned schema and three sites that approved its charter."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("centre", *SITES)):
        made(tmp_path / name, seed)
    (tmp_path / "centre" / "schema.toml").write_text(pinned.dump(COLUMNS))
    for name in SITES:
        (tmp_path / f"{name}.json").write_text(cli("federate", "card", name, "--config", name).out)
    cards = [word for name in SITES for word in ("--site", f"{name}.json")]
    url = f"https://localhost:{free_port()}"
    founded = cli(
        "federate", "found", "wards", "--as", "centre", "--url", url, *cards, "--config", "centre",
        "--format", "json",
    )  # fmt: skip
    assert founded.code == 0, founded.err
    head = cli("federate", "card", "centre", "--config", "centre").err.strip().partition(": ")[2]
    code = cli("federate", "code", "--config", "centre").out.splitlines()[0]
    for name in SITES:
        with (tmp_path / name / "casemate.toml").open("a") as file:
            file.write(f'\n[federate]\ncoordinators = ["{head}"]\ncode = ["{code}"]\n')
        done = cli("federate", "approve", "wards.charter.json", "--config", name)
        assert done.code == 0, done.err
    return tmp_path


def started(name: str, *words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("federate", *words, "wards", "--config", name, "--format", "json"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


@contextlib.contextmanager
def processes(*wanted: subprocess.Popen[str]) -> Iterator[None]:
    """They are gone afterwards, whatever happened."""
    try:
        yield
    finally:
        for one in wanted:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(one.pid, signal.SIGKILL)
            one.wait()


def ended(process: subprocess.Popen[str]) -> object:
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, err
    return json.loads(out)


def audited(cli, *parties: str):
    for name in parties:
        words = ("--export", f"{name}.record.json", "--config", name)
        assert cli("federate", "rounds", "wards", *words).code == 0
    files = [f"{name}.record.json" for name in parties]
    return cli("federate", "audit", "wards.charter.json", *files, "--format", "json")


def test_owners_learn_a_model_that_is_signed_and_names_their_record_and_all_tell_the_same(at, cli):
    lead = started("centre", "lead", "--rule", "exact", "--rounds", "25", "--wait", "60")
    joins = [started(name, "join") for name in SITES]
    with processes(lead, *joins):
        led, joined = ended(lead), [ended(one) for one in joins]
    assert led["sites"] == list(SITES)
    assert [one["site"] for one in joined] == [0, 1, 2]
    assert {len(one["rounds"]) for one in joined} == {led["rounds"]}
    assert {one["job"] for one in joined} == {led["job"]}

    told = audited(cli, "centre", *SITES)
    assert told.code == 0, told
    assert told.value["differences"] == told.value["absent"] == []
    assert told.value["answers"] == 3 * led["rounds"]
    for name in SITES:
        entries = [
            one for one in casemate.open(at / name).log.entries(0)
            if one.action == "federation:answer" and one.outcome == "done"
        ]  # fmt: skip
        assert len(entries) >= led["rounds"]

    assert cli("run", "--config", "centre", "-s", f"train.model={led['model']}").code == 0
    (newest, *_) = casemate.open(at / "centre").models.list()[::-1]
    record = (at / "centre" / led["record"]).read_bytes()
    assert newest.release.lineage.federation == sha256(record)
    assert newest.release.verdict.outcome == "passed"
    # another file beside the record stops the run
    model = at / "centre" / led["model"]
    other = model.with_name("other.skops")
    other.write_bytes(model.read_bytes() + b" ")
    other.with_suffix(".record.json").write_bytes(record)
    refused = cli("run", "--config", "centre", "-s", "train.model=federated/other.skops")
    assert refused.code == 4, refused.err
    assert "of another file" in refused.err


def test_killed_at_any_moment_both_sides_go_on_and_no_round_counts_twice(at, cli):
    words = ("lead", "--rule", "fedavg", "--rounds", "6", "--wait", "60")
    lead, joins = started("centre", *words), [started(name, "join") for name in SITES]
    others: list[subprocess.Popen[str]] = []
    with processes(lead, *joins):
        for victim in ("north", "centre", "south"):
            wait_for_rounds(at / "centre", len(others) + 1)
            which = lead if victim == "centre" else joins[SITES.index(victim)]
            os.killpg(which.pid, signal.SIGKILL)
            which.wait()
            again = started(victim, *(words if victim == "centre" else ("join",)))
            others.append(again)
            if victim == "centre":
                lead = again
            else:
                joins[SITES.index(victim)] = again
        with processes(*others):
            led = ended(lead)
            for one in joins:
                ended(one)
    told = audited(cli, "centre", *SITES)
    assert told.code == 0, told.out
    assert told.value["rounds"] == led["rounds"]
    numbers = [one.round.number for one in casemate.open(at / "north").federated.rounds("wards")]
    assert numbers == sorted(set(numbers))


def wait_for_rounds(root: Path, count: int) -> None:
    """Until the coordinator has gathered so many."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        if len(casemate.open(root).federated.rounds("wards")) >= count:
            return
        time.sleep(0.2)
    pytest.fail("no round was gathered")


@pytest.mark.long
def test_owners_whose_connections_somebody_else_carries_learn_the_same(at, cli):
    with tempfile.TemporaryDirectory() as made, contextlib.ExitStack() as stack:
        place = Path(made)  # a socket has a short path
        words = ("--rule", "fedavg", "--rounds", "2", "--wait", "60")
        lead = started("centre", "lead", "--listen", f"unix:{place / 'lead'}", *words)
        joins = [started(name, "join", "--through", place / name) for name in SITES]
        with processes(lead, *joins):
            for name in SITES:
                stack.enter_context(Carrier(place / name, place / "lead"))
            led = ended(lead)
            for one in joins:
                ended(one)
        assert not [*place.iterdir()]
    assert led["sites"] == list(SITES)
    told = audited(cli, "centre", *SITES)
    assert told.code == 0, told
    assert told.value["answers"] == 3 * led["rounds"]


def test_a_site_that_did_not_approve_the_code_lays_it_down_and_says_its_digest(at, cli):
    file = at / "north" / "casemate.toml"
    file.write_text(re.sub(r"(?m)^code = .*$", "", file.read_text()))
    code = cli("federate", "code", "--config", "centre").out.splitlines()[0]
    lead = started("centre", "lead", "--rule", "exact", "--wait", "8")
    joins = [started(name, "join") for name in SITES]
    with processes(lead, *joins):
        _, err = joins[0].communicate(timeout=SECONDS)
        assert joins[0].returncode == 1
        assert lead.wait(timeout=SECONDS) != 0
    assert code in err
    assert "[federate] code" in err
    assert (at / "north" / "federated" / "wards" / "code" / "train.py").read_text() == MODEL
    assert not (at / "centre" / "federated" / "wards.skops").exists()
