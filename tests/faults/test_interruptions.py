"""kill -9 in each stage, a full disk, two runs at once: nothing half-written, and the next run finishes the work."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

import casemate
from casemate.core.engine import STAGES
from casemate.core.types import Assessment, SealedDataset, TrainedModel
from tests.conftest import command, wait_for


def outcome(root: Path) -> dict[str, object]:
    """Everything that two equal runs must agree on."""
    project = casemate.open(root)
    run = project.engine.runs()[0]["id"]
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
    return subprocess.Popen(command("run", *words), cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finished_stages(root: Path) -> list[str]:
    return [stage for i, stage in enumerate(STAGES) if any((root / ".casemate" / "runs").glob(f"*/{i + 1}-{stage}"))]


@pytest.fixture(scope="module")
def uninterrupted(home, tmp_path_factory):
    """A project on a small table, and what an uninterrupted run of it gives."""
    import numpy as np
    import pyarrow as pa

    from casemate import scaffold
    from tests.conftest import write_csv

    generator = np.random.default_rng(5)
    values = generator.standard_normal((400, 4))
    table = pa.table({name: values[:, i] for i, name in enumerate("abcd")} | {"y": (values[:, 0] + values[:, 1] > 0).astype(int)})
    root = tmp_path_factory.mktemp("faults") / "p"
    root.mkdir()
    scaffold.create(root, scaffold.from_table(root, write_csv(root / "t.csv", table), "y"))
    pristine = root.parent / "pristine"
    shutil.copytree(root, pristine)
    assert casemate.open(root).run().verdict.outcome == "passed"
    return pristine, outcome(root)


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_killed_in_a_stage_is_resumed_by_the_next_with_identical_results(uninterrupted, tmp_path, stage):
    pristine, expected = uninterrupted
    root = tmp_path / "p"
    shutil.copytree(pristine, root)
    process = start(root)
    before = STAGES[: STAGES.index(stage)]
    wait_for(lambda: set(before) <= set(finished_stages(root)) or process.poll() is not None)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(casemate.open(root).engine.runs())
    result = subprocess.run(command("run"), cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert ("resumed" in result.stderr) == bool(done)
    assert outcome(root) == expected
    assert len(casemate.open(root).engine.runs()) == 1
    assert not list((root / ".casemate").rglob(".tmp-*"))
    assert not list((root / ".casemate" / "tmp").glob("*"))
    assert subprocess.run(command("audit", "verify"), cwd=root, capture_output=True, check=False).returncode == 0


def test_runs_killed_again_and_again_still_finish(uninterrupted, tmp_path):
    pristine, expected = uninterrupted
    root = tmp_path / "p"
    shutil.copytree(pristine, root)
    for delay in (0.5, 2.0, 3.0, 4.0, 4.5, 5.0):
        process = start(root)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
    result = subprocess.run(command("run", "--from", "data"), cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert outcome(root) == expected
    assert subprocess.run(command("audit", "verify"), cwd=root, capture_output=True, check=False).returncode == 0


def test_an_interrupted_run_stops_its_training_code_too(uninterrupted, tmp_path):
    pristine, _ = uninterrupted
    root = tmp_path / "p"
    shutil.copytree(pristine, root)
    (root / "train.py").write_text("import time\ndef build():\n    time.sleep(300)\n")
    process = start(root)
    wait_for(lambda: "data" in finished_stages(root))
    time.sleep(2.0)
    children = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    mine = [int(line.split()[0]) for line in children.splitlines() if "casemate.core.sandbox.child" in line]
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in mine), 10)
    state = casemate.open(root).engine.runs()[0]["state"]
    assert state == "running"


def test_a_second_run_at_the_same_time_is_refused_and_changes_nothing(uninterrupted, tmp_path):
    pristine, expected = uninterrupted
    root = tmp_path / "p"
    shutil.copytree(pristine, root)
    first = start(root)
    wait_for(lambda: "data" in finished_stages(root))
    second = subprocess.run(command("run"), cwd=root, capture_output=True, text=True, check=False)
    assert second.returncode == 5
    assert "another run of this project is going on" in second.stderr
    assert first.wait(120) == 0
    assert outcome(root) == expected


@pytest.fixture
def small_disk(tmp_path):
    """A file system with a size limit; needs root."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("this machine does not let us mount a tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("left", [0, 40, 160, 320])
def test_a_full_disk_is_one_clear_message_and_the_run_resumes_when_there_is_space(uninterrupted, small_disk, left):
    pristine, expected = uninterrupted
    root = small_disk / "p"
    shutil.copytree(pristine, root)
    filler = small_disk / "filler"
    with filler.open("wb") as file:
        try:
            while True:
                file.write(b"x" * 4096)
                file.flush()
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
    options = TrainTable(entry="t.py:b", search={"C": {"low": 0.001, "high": 100.0, "log": True}, "fit_intercept": [True, False]}, trials=8, folds=3)

    def go(folder, channel):
        folder.mkdir(exist_ok=True)
        return search(LogisticRegression(), frame, codes, None, options, folder, channel)

    whole = go(tmp_path / "whole", Channel())
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "cut", Channel(stop_after=4))
    assert go(tmp_path / "cut", Channel()) == whole
    assert len(whole[1]) == 8
