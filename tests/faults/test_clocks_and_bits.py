"""Clocks that lie, and bits that flip."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.conftest import command, wait_for
from tests.faults.test_every_point import copy, pristine  # noqa: F401 - a fixture

import casemate
from casemate.core.errors import Error
from casemate.core.types import Assessment, Release, SealedDataset, TrainedModel
from casemate.operations.fsck import examine

LIBRARIES = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
)
HOLD = """
import sys, threading
from pathlib import Path
sys.path.insert(0, {repo!r})
import casemate
from casemate.core import lease
from casemate.core.steps import STAGES
from casemate.core.types import Finding
from casemate.core.errors import Error
lease.BEAT_SECONDS, lease.TICK_SECONDS, lease.PATIENCE = 0.2, 0.05, 10
real = lambda seconds: threading.Event().wait(seconds)  # libfaketime refuses the system call behind time.sleep
lease.time.sleep = lambda seconds: real(seconds / 10)
lease.Place.state = lambda place: "unknown"  # as on another machine: only the heartbeat tells
project = casemate.open({root!r})
try:
    with project.engine.begin(dict.fromkeys(STAGES, "clock"), "me") as run:
        for stage in STAGES:
            run.step(stage, Finding, lambda: (real(1.0), Finding(id="a", severity="low", confidence="low", message={who!r}))[1])
        run.finish("passed")
    print("finished", run.id)
except Error as error:
    print(error.code, error.message)
"""


@pytest.fixture
def faked(tmp_path):
    """The environment of a process whose wall clock reads what a file says."""
    library = next((path for path in LIBRARIES if os.path.exists(path)), None)
    if library is None:
        pytest.skip("no libfaketime: apt install faketime")

    def environment(setting: str) -> dict[str, str]:
        file = tmp_path / f"clock-{abs(hash(setting))}"
        file.write_text(setting)
        # The wall clock is what lies in real life; CLOCK_MONOTONIC cannot leap by its definition
        # (clock_gettime(2)).
        return os.environ | {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    return environment


@pytest.mark.parametrize(
    ("first", "second"),
    [("+0", "+1d"), ("+0", "-1d"), ("@2026-01-01 00:00:00", "+0"), ("+1d", "2020-02-02 02:02:02")],
)
def test_no_clock_steals_a_living_lease(pristine, tmp_path, faked, first, second):  # noqa: F811
    root = copy(pristine, tmp_path / "p")
    repo = str(Path(__file__).parents[2])
    start = lambda who, setting: subprocess.Popen(  # noqa: E731
        [sys.executable, "-c", HOLD.format(repo=repo, root=str(root), who=who)],
        env=faked(setting),
        stdout=subprocess.PIPE,
        text=True,
    )
    owner = start("owner", first)
    project = casemate.open(root)
    wait_for(project.engine.runs)
    thieves = [start("thief", second) for _ in range(2)]
    assert [thief.communicate(timeout=60)[0].split()[0] for thief in thieves] == [
        "CM-BUSY",
        "CM-BUSY",
    ]
    said = owner.communicate(timeout=60)[0]
    assert said.startswith("finished"), (
        said,
        project.engine.runs(),
        [(e.action, e.time) for e in project.log.entries()],
    )
    assert [run.state for run in project.engine.runs()] == ["passed"]


def test_the_order_of_the_log_does_not_depend_on_the_clock(pristine, tmp_path, faked):  # noqa: F811
    root = copy(pristine, tmp_path / "p")
    before = casemate.open(root).log.size()
    for setting in ("+1d", "-1d", "@2030-01-01 00:00:00", "+0"):
        done = subprocess.run(
            command(
                "access",
                "token",
                "create",
                "svc",
                "--days",
                3000,
                "--out",
                tmp_path / setting.replace(" ", ""),
            ),
            cwd=root,
            env=faked(setting),
            check=False,
        )
        assert done.returncode == 0
    project = casemate.open(root)
    assert [entry.index for entry in project.log.entries(before)] == list(
        range(before, before + len(list(project.log.entries(before))))
    )
    times = [entry.time for entry in project.log.entries(before)]
    assert times != sorted(times)
    assert project.log.check().checkpoint.size == project.log.size()


@pytest.mark.long
def test_a_clock_that_leaps_while_a_run_goes_on_changes_nothing(pristine, tmp_path, faked):  # noqa: F811
    root = copy(pristine, tmp_path / "p")
    environment = faked("+0")
    clock = Path(environment["FAKETIME_TIMESTAMP_FILE"])
    process = subprocess.Popen(
        command("run"), cwd=root, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    for setting in ("+1d", "-1d", "+400d", "+0") * 10:
        if process.poll() is not None:
            break
        clock.write_text(setting)
        time.sleep(0.3)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told
    assert examine(casemate.open(root)).outcome == "intact"


def told(root: Path) -> str:
    """Everything that a project answers, read through its own verification."""
    project = casemate.open(root)
    try:
        run = project.engine.runs()[0].id
        records = [project.engine.record(run, name, kind) for name, kind in
                   {"data": SealedDataset, "train": TrainedModel, "assess": Assessment, "release": Release}.items()]  # fmt: skip
        if None in records:
            raise KeyError("a record is gone")
        model = project.models[project.config.project.name].verify()
        table = next(iter(project.datasets.values())).to_arrow()
        log = project.log.check()
        entries = [
            entry.to_json().decode()
            for entry in project.log.entries()
            if not entry.action.startswith("dataset:")
        ]
        return json.dumps(
            [
                run,
                [r.to_json().decode() for r in records],
                sorted(model.files),
                table.to_pydict(),
                entries,
                log.checkpoint.size > 0,
            ],
            default=str,
        )
    finally:
        project.database.close()


def test_a_flipped_bit_is_detected_or_harmless_and_never_another_answer(finished, tmp_path, scale):
    """Catalogue, objects, tables, evidence and log."""
    root = tmp_path / "p"
    shutil.copytree(finished, root)
    casemate.open(root).database.close()
    state = root / ".casemate"
    expected = told(root)
    files = [
        path
        for path in sorted(state.rglob("*"))
        if path.is_file()
        and path.stat().st_size
        and path.name not in {"lock", ".lock", ".gitignore"}
    ]
    groups = [
        [path for path in files if path.name == "catalog.db"],
        [path for path in files if "objects" in path.parts],
        [path for path in files if "datasets" in path.parts],
        [path for path in files if "audit" in path.parts],
        [path for path in files if "runs" in path.parts],
    ]
    original = {path: path.read_bytes() for path in files}
    generator = random.Random(11)
    detected = 0
    times = scale(12, 10_000)
    for _ in range(times):
        path = generator.choice(generator.choice(groups))
        content = bytearray(original[path])
        content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        path.write_bytes(content)
        try:
            answer = told(root)
        except (Error, OSError, KeyError, IndexError, StopIteration):
            detected += 1
        else:
            assert json.loads(answer)[:4] == json.loads(expected)[:4], path
        for file in state.rglob("*"):
            if (
                file.is_file()
                and file not in original
                and file.name not in {"lock", ".lock", ".gitignore"}
            ):
                file.unlink()
        for file in files:
            if not file.exists() or file.read_bytes() != original[file]:
                file.write_bytes(original[file])
    assert detected > times / 10
