"""Versions of a table: one that only adds rows shares the files of the one before."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from tests.conftest import lighten, write_csv

import casemate
from casemate.config import TrainTable
from casemate.controls.keys import manifests
from casemate.operations import runs, scaffold
from casemate.operations.fsck import examine
from casemate.operations.keys import rotation
from casemate.stages.train.folds import BadSearch, Rows, splits
from casemate.supply.rows import SealedRows


def sealed(project, folder):
    """Version, its data files with their inodes."""
    return {path.name: path.stat().st_ino for path in sorted(folder.glob("*.parquet"))}


def seal(root):
    """The version that a run of today's source seals; the run itself may be refused later."""
    project = casemate.open(root, ["gates.roc_auc.min=0.5"])
    project.run()
    return project, project.datasets["wdbc"]


@pytest.fixture
def lines(own):
    return (own / "data" / "wdbc.csv").read_text().splitlines()


def new_rows(lines, count):
    """Rows of people who are not there yet."""
    for number, line in enumerate(lines[1 : count + 1]):
        identifier, radius, rest = line.split(",", 2)
        yield f"new-{number}-{identifier},{float(radius) * 0.999:.3f},{rest}"


def test_a_version_that_only_adds_rows_shares_the_files_of_the_one_before(own, lines):
    first = casemate.open(own).datasets["wdbc"]
    before = sealed(own, first.folder)
    with (own / "data" / "wdbc.csv").open("a") as file:
        file.write("".join(f"{line}\n" for line in new_rows(lines, 30)))
    project, grown = seal(own)
    assert grown.record.rows == first.record.rows + 30
    after = sealed(own, grown.folder)
    assert len(after) == len(before) + 1
    assert {name: after[name] for name in before} == before
    whole = grown.to_arrow()
    assert whole.num_rows == grown.record.rows
    assert whole.slice(0, first.record.rows).equals(first.to_arrow())
    assert "new-0-" in whole["patient_id"][first.record.rows].as_py()
    rotation.rotate(project, ["general", "footer"])
    rotation.destroy(project, "general", 1)
    project = casemate.open(own)
    assert project.datasets[first.reference].to_arrow().num_rows == first.record.rows
    assert project.datasets[grown.reference].to_arrow().equals(whole)
    assert examine(project).damage == []


@pytest.mark.parametrize("change", ["a row in the middle", "a damaged version", "an erased person"])
def test_otherwise_the_version_is_written_as_a_whole(own, lines, change):
    project = casemate.open(own)
    first = project.datasets["wdbc"]
    before, rows = sealed(own, first.folder), [*lines, *new_rows(lines, 20)]
    if change == "a row in the middle":
        rows.insert(5, next(new_rows(lines[40:], 1)))
    elif change == "a damaged version":
        path = next(first.folder.glob("*.parquet"))
        path.write_bytes(path.read_bytes()[:-100])
    else:
        project.log.shred('User::"ana"', str(first.to_arrow(["patient_id"])["patient_id"][0]))
    (own / "data" / "wdbc.csv").write_text("\n".join(rows) + "\n")
    _, grown = seal(own)
    after = sealed(own, grown.folder)
    assert len(after) == len(before)
    assert not set(after.values()) & set(before.values())
    assert grown.to_arrow().num_rows == grown.record.rows == len(rows) - 1


def test_a_table_in_many_files_is_written_anew(own, lines, monkeypatch):
    from casemate.stages.data import parts

    monkeypatch.setattr(parts, "MOST_PARTS", 1)
    with (own / "data" / "wdbc.csv").open("a") as file:
        file.write("".join(f"{line}\n" for line in new_rows(lines, 5)))
    _, grown = seal(own)
    assert len(list(grown.folder.glob("*.parquet"))) == 1
    assert (
        manifests.check(grown.folder, casemate.open(own).signer.verifier)["rows"]
        == grown.record.rows
    )


def test_an_ordered_split_trains_in_order_of_time_on_what_is_older_than_the_hold_out(
    home, tmp_path
):
    generator = np.random.default_rng(4)
    times = generator.permutation(300).astype(float)
    table = pa.table(
        {"when": times, "a": generator.standard_normal(300), "y": generator.integers(0, 2, 300)}
    )
    scaffold.create(
        tmp_path, scaffold.from_table(tmp_path, write_csv(tmp_path / "t.csv", table), "y")
    )
    lighten(tmp_path)
    project = casemate.open(tmp_path, ['train.split="ordered"', 'data.time="when"'])
    project.run()
    rows = SealedRows(runs.run_context(project), project.datasets["t"].record)
    trained, held = rows.training["when"].to_pylist(), rows.holdout["when"].to_pylist()
    assert trained == sorted(trained)
    assert max(trained) < min(held)
    assert sorted(trained + held) == sorted(times)


def test_folds_that_go_forward_in_time_know_nobody_they_are_tested_on():
    options = TrainTable(entry="train.py:build", split="ordered")
    frame, codes = pd.DataFrame({"a": np.arange(60.0)}), np.arange(60) % 2
    folds = splits(Rows(frame, codes, np.arange(60) // 7), options, 3, 0)
    assert len(folds) == 3
    for train, test in folds:
        assert train.max() < test.min()
        assert not set(train // 7) & set(test // 7)
    with pytest.raises(BadSearch, match="lower folds"):
        splits(Rows(frame, codes, np.zeros(60)), options, 3, 0)
