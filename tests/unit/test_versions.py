"""Versions of a table: one that only adds rows shares the files of the one before."""

import pytest

import casemate
from casemate import rotation
from casemate.controls.keys import tables
from casemate.fsck import examine


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
        project.audit.shred('User::"ana"', str(first.to_arrow(["patient_id"])["patient_id"][0]))
    (own / "data" / "wdbc.csv").write_text("\n".join(rows) + "\n")
    _, grown = seal(own)
    after = sealed(own, grown.folder)
    assert len(after) == len(before)
    assert not set(after.values()) & set(before.values())
    assert grown.to_arrow().num_rows == grown.record.rows == len(rows) - 1


def test_a_table_in_many_files_is_written_anew(own, lines, monkeypatch):
    from casemate.stages.data import stage

    monkeypatch.setattr(stage, "MOST_PARTS", 1)
    with (own / "data" / "wdbc.csv").open("a") as file:
        file.write("".join(f"{line}\n" for line in new_rows(lines, 5)))
    _, grown = seal(own)
    assert len(list(grown.folder.glob("*.parquet"))) == 1
    assert tables.check(grown.folder, casemate.open(own).signer.verifier)["rows"] == grown.record.rows
