"""kill -9 in each stage, a full disk, two runs at once: nothing half-written, and the next run
finishes the work.
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from tests.conftest import command, wait_for

import casemate
from casemate.core.steps import STAGES
from casemate.core.types import Assessment, SealedDataset, TrainedModel


def outcome(root: Path) -> dict[str, object]:
    """Everything that two equal runs must agree on."""
    project = casemate.open(root)
    run = project.engine.runs()[0].id
    model = project.engine.record(run, "train", TrainedModel)
    assessment = project.engine.record(run, "assess", Assessment)
    return {
        "data": project.engine.record(run, "data", SealedDataset).version,
        "model": model.files,
        "metrics": assessment.metrics,
        "robustness": assessment.robustness,
        "membership": assessment.membership,
        "verdict": project.models[next(iter(project.models))].verdict,
    }


def start(root: Path, *words: str) -> subprocess.Popen:
    # A shell that runs the tests in the background has Ctrl-C ignored; a user's shell has not.
    usual = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    return subprocess.Popen(
        command("run", *words),
        cwd=root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **usual,
    )


def finished_stages(root: Path) -> list[str]:
    return [
        stage
        for i, stage in enumerate(STAGES)
        if any((root / ".casemate" / "runs").glob(f"*/{i + 1}-{stage}"))
    ]


@pytest.fixture(scope="module")
def uninterrupted(home, tmp_path_factory):
    """A project on a small table, and what an uninterrupted run of it gives."""
    import numpy as np
    import pyarrow as pa
    from tests.conftest import lighten, write_csv

    from casemate.operations import scaffold

    generator = np.random.default_rng(5)
    values = generator.standard_normal((400, 4))
    table = pa.table(
        {name: values[:, i] for i, name in enumerate("abcd")}
        | {"y": (values[:, 0] + values[:, 1] > 0).astype(int)}
    )
    root = tmp_path_factory.mktemp("faults") / "p"
    root.mkdir()
    scaffold.create(root, scaffold.from_table(root, write_csv(root / "t.csv", table), "y"))
    lighten(root)
    # copies have one key of sides, and so one hold-out
    casemate.open(root).identifiers.root(create=True)
    pristine = root.parent / "pristine"
    shutil.copytree(root, pristine)
    assert casemate.open(root).run().verdict.outcome == "passed"
    return pristine, outcome(root)


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_killed_in_a_stage_is_resumed_by_the_next_with_identical_results(
    uninterrupted, tmp_path, stage
):
    pristine, expected = uninterrupted
    root = tmp_path / "p"
    shutil.copytree(pristine, root)
    process = start(root)
    before = STAGES[: STAGES.index(stage)]
    wait_for(lambda: set(before) <= set(finished_stages(root)) or process.poll() is not None)
    time.sleep(0.0 if stage == STAGES[-1] else 0.3)  # the last one is over soon
    process.send_signal(signal.SIGKILL)
    is_killed = process.wait() != 0
    done = len(casemate.open(root).engine.runs())
    result = subprocess.run(command("run"), cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert ("resumed" in result.stderr) == (bool(done) and is_killed)
    assert outcome(root) == expected
    assert len(casemate.open(root).engine.runs()) == 1
    assert not list((root / ".casemate").rglob(".tmp-*"))
    assert not list((root / ".casemate" / "tmp").glob("*"))
    assert (
        subprocess.run(
            command("audit", "verify"), cwd=root, capture_output=True, check=False
        ).returncode
        == 0
    )


def test_runs_killed_again_and_again_still_finish(uninterrupted, tmp_path):
    pristine, expected = uninterrupted
    root = tmp_path / "p"
    shutil.copytree(pristine, root)
    for delay in (0.5, 2.0, 3.5, 5.0):
        process = start(root)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
    result = subprocess.run(
        command("run", "--from", "data"), cwd=root, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert outcome(root) == expected
    assert (
        subprocess.run(
            command("audit", "verify"), cwd=root, capture_output=True, check=False
        ).returncode
        == 0
    )


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def running_children(pid: int) -> list[int]:
    """Every living descendant of a process."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rsplit(")", 1)[1].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == pid and alive(int(path.parent.name)):
            found += [int(path.parent.name), *running_children(int(path.parent.name))]
    return found


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_an_interrupted_or_killed_run_stops_its_training_code_too(
    uninterrupted, tmp_path, number, code
):
    pristine, _ = uninterrupted
    root = tmp_path / "p"
    shutil.copytree(pristine, root)
    (root / "train.py").write_text("import time\ndef build():\n    time.sleep(300)\n")
    process = start(root)
    wait_for(lambda: "data" in finished_stages(root))
    time.sleep(2.0)
    mine = running_children(process.pid)
    assert mine
    process.send_signal(number)
    assert process.wait(20) == code
    wait_for(lambda: not any(alive(pid) for pid in mine), 10)
    assert casemate.open(root).engine.runs()[0].state == "interrupted"


def test_a_second_run_at_the_same_time_is_refused_and_changes_nothing(uninterrupted, tmp_path):
    pristine, expected = uninterrupted
    root = tmp_path / "p"
    shutil.copytree(pristine, root)
    first = start(root)
    wait_for(lambda: "data" in finished_stages(root))
    second = subprocess.run(command("run"), cwd=root, capture_output=True, text=True, check=False)
    assert second.returncode == 5
    assert "another process works on run" in second.stderr
    assert first.wait(120) == 0
    assert outcome(root) == expected


@pytest.mark.parametrize("small_disk", ["8m"], indirect=True)
@pytest.mark.parametrize("left", [0, 60, 200])
def test_a_full_disk_is_one_clear_message_and_the_run_resumes_when_there_is_space(
    uninterrupted, small_disk, left
):
    pristine, expected = uninterrupted
    root = small_disk / "p"
    shutil.copytree(pristine, root)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    os.truncate(filler, max(0, filler.stat().st_size - left * 1024))
    result = subprocess.run(command("run"), cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 5, (result.returncode, result.stdout, result.stderr)
    assert "full" in result.stderr
    assert "Traceback" not in result.stderr
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
    again = subprocess.run(command("run"), cwd=root, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert outcome(root) == expected
    assert not list((root / ".casemate").rglob(".tmp-*"))


def test_a_search_over_ranges_resumes_with_the_same_trials(tmp_path):
    import numpy as np
    import pandas as pd
    from sklearn.linear_model import LogisticRegression

    from casemate.config import TrainTable
    from casemate.stages.train.candidates import Models
    from casemate.stages.train.folds import Rows
    from casemate.stages.train.search import search

    class Channel:
        def __init__(self, stop_after=None):
            self.stop_after = stop_after

        def progress(self, _text, done=0, _total=0):
            if done == self.stop_after:
                raise KeyboardInterrupt

    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.standard_normal((200, 3)), columns=list("abc"))
    codes = (frame["a"] + generator.standard_normal(200) > 0).astype(int).to_numpy()
    options = TrainTable(
        entry="t.py:b",
        search={"C": {"low": 0.001, "high": 100.0, "log": True}, "fit_intercept": [True, False]},
        trials=8,
        folds=3,
    )

    def go(folder, channel):
        folder.mkdir(exist_ok=True)
        return search(
            Models({"": LogisticRegression()}), Rows(frame, codes), options, folder, channel
        )

    whole = go(tmp_path / "whole", Channel())
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "cut", Channel(stop_after=4))
    assert go(tmp_path / "cut", Channel()) == whole
    assert len(whole[1]) == 8


def test_a_source_that_changes_while_it_is_read_is_refused(tiny_project, monkeypatch):
    from casemate.core.errors import DataError
    from casemate.stages.data import source

    read = source.read

    def read_and_change(path, *given, **more):
        found = read(path, *given, **more)
        with path.open("a") as file:
            file.write("\n")
        return found

    monkeypatch.setattr(source, "read", read_and_change)
    with pytest.raises(DataError, match="changed while it was read"):
        casemate.open(tiny_project).run()


def test_an_edited_schema_is_not_passed_over_by_a_resumed_run(tiny_project):
    project = casemate.open(tiny_project)
    process = start(tiny_project)
    wait_for(lambda: "data" in finished_stages(tiny_project))
    process.send_signal(signal.SIGKILL)
    process.wait()
    pinned = tiny_project / "schema.toml"
    pinned.write_text(
        pinned.read_text().replace(
            'categories = ["blue", "green", "red"]', 'categories = ["blue", "green"]'
        )
    )
    from casemate.core.errors import DataError

    with pytest.raises(DataError, match="unknown category"):
        project.run()


def test_what_killed_processes_left_is_removed_by_the_next_run(tiny_project):
    state = tiny_project / ".casemate"
    for name in (
        "objects/ab/.tmp-x",
        "datasets/t/.tmp-y/part",
        "runs/old/.tmp-data/data.json",
        "tmp/z/in/train.py",
    ):
        (state / name).parent.mkdir(parents=True)
        (state / name).write_text("half")
    casemate.open(tiny_project).run()
    assert not [
        path for path in state.rglob("*") if path.is_file() and path.read_bytes() == b"half"
    ]
