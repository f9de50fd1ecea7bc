"""A search's folder: what is cut goes back to a whole line, and nothing but the journal stays."""

import os

import pytest

from casemate.config import TrainTable
from casemate.core.types import Quarantined
from casemate.stages.data.screening import per_detector
from casemate.stages.train import study
from casemate.stages.train.candidates import Models
from casemate.stages.train.search import _study

OPTIONS = TrainTable(entry="train.py:build", trials=3, search={"c": {"low": 0.0, "high": 1.0}})


def go(folder, count=3):
    """The first trials of a search, and how many of them were computed just now."""
    computed = []

    def score(params, _stop):
        computed.append(params)
        return [params["c"]]

    trials = _study(Models({"": None}), OPTIONS.search, OPTIONS, folder, score)
    return [next(trials) for _ in range(count)], len(computed)


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "studies" / "r.1"
    made.mkdir(parents=True)
    return made


def test_a_journal_that_was_cut_anywhere_loses_only_the_trial_that_was_cut(folder):
    whole, _ = go(folder)
    content = (folder / "journal").read_bytes()
    ends = [at for at, byte in enumerate(content) if byte == 10]
    for at in {1, len(content) - 1, *(end - 7 for end in ends), *(end + 3 for end in ends[:-1])}:
        (folder / "journal").write_bytes(content[:at])
        study.clean(folder)
        kept = (folder / "journal").read_bytes()
        assert content.startswith(kept)
        assert at - len(kept) <= max(b - a for a, b in zip([-1, *ends], ends, strict=False))
        again, computed = go(folder)
        assert again == whole
        assert computed <= 3


def test_zeros_behind_a_power_loss_are_cut_too_and_whole_trials_are_not_computed_again(folder):
    whole, _ = go(folder, 2)
    with (folder / "journal").open("ab") as file:
        file.write(bytes(300) + b"\n{}\n")
    study.clean(folder)
    again, computed = go(folder, 2)
    assert (again, computed) == (whole, 0)


def test_nothing_but_the_journal_stays(folder, tmp_path):
    go(folder, 1)
    content = (folder / "journal").read_bytes()
    (folder / "rows.csv").write_text("ana,17")
    (folder / "left.lock").mkdir(mode=0o000)
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "rows").write_text("ana,17")
    (folder / "away").symlink_to(tmp_path)
    study.clean(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"journal": content}


@pytest.mark.parametrize("kind", ["symbolic", "hard", "folder", "pipe"])
def test_a_journal_that_is_no_file_of_its_own_is_not_followed(folder, tmp_path, kind):
    other = tmp_path / "precious"
    other.write_bytes(b"no newline")
    journal = folder / "journal"
    {
        "symbolic": lambda: journal.symlink_to(other),
        "hard": lambda: os.link(other, journal),
        "folder": journal.mkdir,
        "pipe": lambda: os.mkfifo(journal),
    }[kind]()
    study.clean(folder)
    assert list(folder.iterdir()) == []
    assert other.read_bytes() == b"no newline"


def test_counts_per_detector_come_in_the_same_order_from_a_run_and_from_its_record():
    suspects = [
        Quarantined(row=row, reason=reason, detail="", score=1.0)
        for row, reason in enumerate(["triggers", "floods", "triggers"])
    ]
    assert list(per_detector(suspects).items()) == [("floods", 1), ("triggers", 2)]
