"""A fault at every write, fsync, rename, unlink, mkdir and truncate: nothing lost, nothing twice,
nothing half-written.

`make test` takes a sample of the points; `make faults` takes every one.
"""

import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tomlkit
from tests.conftest import command, write_csv
from tests.faults import work
from tests.unit.conftest import grow, make_log
from tests.unit.controls.test_witness import request as ask

import casemate
from casemate.controls.audit.witness import Witness
from casemate.controls.keys import recipients
from casemate.controls.keys.store import KeyStore
from casemate.core.steps import STAGES
from casemate.operations import backup, scaffold
from casemate.operations.fsck import examine

HERE = Path(__file__).parent
FAULTS = [
    ("kill", False),
    ("torn", False),
    ("enospc", False),
    ("enospc", True),
    ("eio", False),
    ("eio", True),
]


class Injector:
    """The fork server with the injector preloaded."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            pytest.skip("no C compiler for the fault injector: install gcc")
        library = folder / "injector.so"
        subprocess.run(
            [
                compiler,
                "-shared",
                "-fPIC",
                "-O1",
                "-o",
                str(library),
                str(HERE / "injector.c"),
                "-ldl",
            ],
            check=True,
            capture_output=True,
        )
        environment = os.environ | {
            "LD_PRELOAD": str(library),
            "CASEMATE_INJECTOR": str(library),
            "OMP_NUM_THREADS": "1",
        }
        words = [sys.executable, "-m", "tests.faults.server"]
        self.folder, self.count = folder, 0
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
            cwd=HERE.parents[1],
        )

    def run(
        self,
        name: str,
        root: Path,
        at: int = 0,
        mode: str = "off",
        sticky: bool = False,
        **more: float,
    ) -> tuple[int, list[str], int]:
        """(exit status, acknowledgements, points passed) of one trial."""
        self.count += 1
        acks = self.folder / f"acks-{self.count}"
        trial = {
            "work": name,
            "root": str(root),
            "acks": str(acks),
            "at": at,
            "mode": mode,
            "sticky": sticky,
        } | more
        self.process.stdin.write(json.dumps(trial) + "\n")
        self.process.stdin.flush()
        status = json.loads(self.process.stdout.readline())["status"]
        points = Path(f"{acks}.points")
        return (
            status,
            acks.read_text().splitlines() if acks.exists() else [],
            int(points.read_text()) if points.exists() else 0,
        )

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def injector(home, tmp_path_factory):
    injector = Injector(tmp_path_factory.mktemp("injector"))
    yield injector
    injector.close()


@pytest.fixture(scope="module")
def pristine(home, tmp_path_factory):
    """A small project with a folder that hears of its runs."""
    import numpy as np
    import pyarrow as pa

    generator = np.random.default_rng(5)
    values = generator.standard_normal((200, 2))
    table = pa.table(
        {"a": values[:, 0], "b": values[:, 1], "y": (values.sum(axis=1) > 0).astype(int)}
    )
    root = tmp_path_factory.mktemp("points") / "p"
    root.mkdir()
    scaffold.create(root, scaffold.from_table(root, write_csv(root / "t.csv", table), "y"))
    toml = tomlkit.parse((root / "casemate.toml").read_text())
    toml["assess"] = {"bootstrap": 20, "attack_rows": 10, "attack_steps": 1, "eps": [0.1]}
    toml["screen"] = {"label_noise": False}
    toml["gates"] = {"accuracy": {"min": 0.5}}
    toml["notices"] = {"folder": {"kind": "folder", "to": ".casemate/out"}}
    toml["outbox"] = {"backoff": 0, "timeout": 0.001}
    (root / "casemate.toml").write_text(tomlkit.dumps(toml))
    work.prepare_counter(root)
    return root


def copy(pristine: Path, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(pristine, folder)
    return folder


def check_acknowledged(root: Path, acks: list[str]) -> None:
    """What was said to be done is there, before anything repairs it."""
    project = casemate.open(root)
    finished = {step.name for run in project.engine.runs() for step in run.finished}
    assert {ack.split()[1] for ack in acks if ack.startswith("stage ")} <= finished
    for ack in acks:
        if ack.startswith("entry "):
            assert project.log.size() > int(ack.split()[1])
    assert project.database.damage() == []
    project.database.close()


def check_complete(root: Path, effects: int | None) -> None:
    project = casemate.open(root)
    (run,) = project.engine.runs()
    assert run.state in {"passed", "refused"}
    actions = [entry.action for entry in project.log.entries()]
    assert {
        name: actions.count(name)
        for name in ("run:start", *(f"run:{s}" for s in STAGES), "run:end")
    } == dict.fromkeys(("run:start", *(f"run:{s}" for s in STAGES), "run:end"), 1)
    project.log.check()
    if effects is None:
        assert len(project.models) == 1
        report = examine(project)
        assert report.outcome == "intact", report.damage
    else:
        assert work.count_of(root) == effects
        assert [m["state"] for m in project.outbox.messages()] == ["sent"] * 5
        assert (
            len(
                [
                    path
                    for path in (root / ".casemate" / "out").iterdir()
                    if not path.name.startswith(".")
                ]
            )
            == 5
        )
    project.database.close()


@pytest.mark.parametrize(("mode", "sticky"), FAULTS, ids=str)
def test_the_bookkeeping_of_a_run_survives_a_fault_at_every_point(
    injector, pristine, tmp_path, scale, mode, sticky
):
    root = copy(pristine, tmp_path / "p")
    status, _, points = injector.run("bookkeeping", root)
    assert status == 0
    check_complete(root, effects=4)
    assert points > 100
    first = scale(1 + 16 * FAULTS.index((mode, sticky)), 1)  # a sample has others in each mode
    tried = range(first, points + 1, scale(197, 1))
    assert tried
    for at in tried:
        copy(pristine, root)
        status, acks, _ = injector.run("bookkeeping", root, at, mode, sticky)
        check_acknowledged(root, acks)
        if status == 0:
            check_complete(root, effects=4)
        resumed, acks, _ = injector.run("bookkeeping", root)
        assert resumed == 0, (at, status, acks)
        check_complete(root, effects=4)


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A witness, three requests of a log that grows, and a fork's request for each size that the
    witness may know.
    """
    folder = tmp_path_factory.mktemp("asked")
    keys = KeyStore.create(folder / "keys", "test")
    for name in ("log", "fork", "requests", "forks"):
        (folder / name).mkdir()
    log, fork = make_log(folder / "log", keys), make_log(folder / "fork", keys)
    known = Witness.create(folder / ".casemate" / "witness", "witness.example/w1")
    known.trust(log.signer.vkeys)
    for old, new in ((0, 5), (5, 300), (300, 301)):
        grow(log, new - old)
        (folder / "requests" / f"{old:04d}-{new:04d}").write_bytes(ask(log, old))
        grow(fork, new - old)
        (folder / "forks" / f"{old:04d}").write_bytes(ask(fork, old))
    return folder


@pytest.mark.parametrize(("mode", "sticky"), FAULTS, ids=str)
def test_a_witness_refuses_every_fork_after_a_fault_at_any_point(
    injector, asked, tmp_path, mode, sticky
):
    """What it cosigned it remembers: nothing older, and nothing of another history, is cosigned
    after that.
    """
    root = copy(asked, tmp_path / "p")
    status, acks, points = injector.run("witness", root)
    assert (status, acks) == (0, ["cosigned 0005", "cosigned 0300", "cosigned 0301"])
    assert points >= 9
    for at in range(1, points + 1):
        copy(asked, root)
        status, acks, _ = injector.run("witness", root, at, mode, sticky)
        assert status != 0 or len(acks) == 3
        known = Witness.open(root / ".casemate" / "witness")
        size = known.latest("casemate/test").size
        assert size >= max(
            [int(ack.split()[1]) for ack in acks if ack.startswith("cosigned")], default=0
        )
        for path in (root / "forks").iterdir():
            # a fork from the start is this witness's first sight of the log
            if int(path.name) or size:
                assert known.add_checkpoint(path.read_bytes()).status in {409, 422}
        assert injector.run("witness", root)[0] == 0
        assert Witness.open(root / ".casemate" / "witness").latest("casemate/test").size == 301


@pytest.mark.parametrize(("mode", "sticky"), FAULTS, ids=str)
def test_a_search_goes_on_behind_its_last_trial_after_a_fault_at_any_point(
    injector, tmp_path, scale, mode, sticky
):
    root = tmp_path / "p"
    root.mkdir()
    status, whole, points = injector.run("search", root)
    assert (status, len(whole)) == (0, 3)
    for at in range(2, points + 1, scale(67 if mode == "torn" else 199, 1)):
        shutil.rmtree(root / ".casemate")
        status, acks, _ = injector.run("search", root, at, mode, sticky)
        done = [ack for ack in acks if ack.startswith("trial")]
        assert done == whole[: len(done)]
        status, again, _ = injector.run("search", root)
        assert (status, again) == (0, whole), (mode, at, acks)


def test_a_whole_run_survives_a_kill_at_every_point(injector, pristine, tmp_path, scale):
    root = copy(pristine, tmp_path / "p")
    status, _, points = injector.run("whole", root)
    assert status == 0
    check_complete(root, effects=None)
    for at in range(1, points + 1, scale(499, 1)):
        shutil.rmtree(root)
        # elsewhere: this machine remembers how far the log of a folder was
        root = copy(pristine, tmp_path / f"p{at}")
        status, acks, _ = injector.run("whole", root, at, "kill")
        check_acknowledged(root, acks)
        resumed, acks, _ = injector.run("whole", root)
        assert resumed == 0, (at, status, acks)
        check_complete(root, effects=None)


def test_the_bookkeeping_survives_kills_at_random_moments(injector, pristine, tmp_path, scale):
    """kill -9 from outside, not at a system call of ours; the next start alone finishes the
    work.
    """
    root = tmp_path / "p"
    generator = random.Random(3)
    for _ in range(scale(6, 1000)):
        copy(pristine, root)
        _, acks, _ = injector.run("bookkeeping", root, kill_after=generator.uniform(0, 0.25))
        check_acknowledged(root, acks)
        assert injector.run("bookkeeping", root)[0] == 0
        check_complete(root, effects=4)


def test_a_command_that_met_a_full_disk_never_says_that_it_succeeded(injector, pristine, tmp_path):
    root = copy(pristine, tmp_path / "p")
    status, acks, _ = injector.run("whole", root, 40, "enospc", True)
    assert status == 5
    assert not [ack for ack in acks if ack.startswith("done")]
    assert injector.run("whole", root)[0] == 0
    assert (
        subprocess.run(
            command("audit", "verify"), cwd=root, capture_output=True, check=False
        ).returncode
        == 0
    )


@pytest.fixture(scope="module")
def saved(home, tmp_path_factory):
    """A folder with a backup, its keys and a key that opens both; the project's key store is
    somewhere else.
    """
    folder = tmp_path_factory.mktemp("saved")
    scaffold.create(folder / "p", scaffold.clinical())
    project = casemate.open(folder / "p")
    private, public = recipients.generate()
    backup.add_recipient(project, "safe", public=public, keys=True)
    backup.create(project, folder / "b", with_keys=True)
    (folder / "key").write_text(private)
    secrets = re.findall(
        rb'"([A-Za-z0-9+/=]{40,})"', (project.keystore.folder / "keystore.json").read_bytes()
    )
    shutil.rmtree(folder / "p")
    return folder, secrets


def check_no_keys_lie_about(root: Path, secrets: list[bytes]) -> None:
    for path in root.rglob("*"):
        if path.is_file() and path.name != "keystore.json":
            content = path.read_bytes()
            assert not [secret for secret in secrets if secret in content], path
        assert path.name != "keystore.json" or not [
            part for part in path.parts if part.startswith(".tmp-")
        ], path


@pytest.mark.parametrize("mode", ["kill", "torn", "enospc", "eio"])
def test_a_restore_that_is_interrupted_leaves_no_keys_behind_but_in_their_place_and_is_done_again(
    injector, saved, tmp_path, scale, mode
):
    folder, secrets = saved
    assert secrets

    def trial(at: int, mode: str) -> tuple[int, list[str], int]:
        return injector.run("restore", tmp_path / "m", at, mode)

    copy(folder, tmp_path / "m")
    (tmp_path / "m" / ".casemate" / "home").mkdir(parents=True)
    status, acks, points = trial(0, "off")
    assert (status, acks) == (0, ["done"])
    assert points > 20
    for at in sorted(
        random.Random(mode).sample(range(1, points + 1), min(points, scale(2, points)))
    ):
        copy(folder, tmp_path / "m")
        (tmp_path / "m" / ".casemate" / "home").mkdir(parents=True)
        again = tmp_path / "m" / ".casemate" / "again"
        status, acks, _ = trial(at, mode)
        check_no_keys_lie_about(tmp_path / "m", secrets)
        assert again.exists() or "done" not in acks
        if not again.exists():
            status, acks, _ = trial(0, "off")
            assert (status, acks[-1:]) == (0, ["done"]), (at, acks)
        assert (again / ".casemate" / "catalog.db").exists()


@pytest.fixture(scope="module")
def cleaned(injector, aged, tmp_path_factory):
    """(a project of which something may go, the run that goes, what is left of it, points of the
    way there).
    """
    folder = tmp_path_factory.mktemp("cleaned")
    source = copy(aged[0], folder / "before")
    with (source / "casemate.toml").open("a") as file:
        file.write("\n[retention]\nkeep_runs = 1\n")
    root = copy(source, folder / "after")
    status, acks, points = injector.run("collect", root)
    assert (status, acks) == (0, ["done 1"])
    assert points > 20
    return source, aged[1][1], kept_files(root), points


def kept_files(root: Path) -> set[str]:
    """Evidence, sealed tables and objects."""
    state = root / ".casemate"
    places = [state / name for name in ("runs", "datasets", "objects")]
    return {
        str(path.relative_to(state))
        for place in places
        for path in place.rglob("*")
        if not path.is_dir()
    }


@pytest.mark.parametrize(
    ("mode", "sticky"), [("kill", False), ("enospc", True), ("eio", False)], ids=str
)
def test_a_cleaning_that_is_interrupted_loses_nothing_that_is_referred_to_and_is_finished_by_the_next(
    injector, cleaned, tmp_path, scale, mode, sticky
):
    source, run, left, points = cleaned
    for at in sorted(
        random.Random(mode).sample(range(1, points + 1), min(points, scale(2, points)))
    ):
        root = copy(source, tmp_path / f"p{at}")
        status, acks, _ = injector.run("collect", root, at, mode, sticky)
        project = casemate.open(root)
        gone = run not in {known.id for known in project.engine.runs()}
        assert kept_files(root) >= (left if gone else kept_files(source)), (
            at,
            "something that is referred to is gone",
        )
        told = [entry for entry in project.log.entries() if entry.action == "project:cleaned"]
        assert len(told) == gone, "rows go with the entry that says so"
        project.database.close()
        assert status or acks == ["done 1"]
        status, acks, _ = injector.run("collect", root)
        assert status == 0, (at, acks)
        assert kept_files(root) == left, at
        project = casemate.open(root)
        assert next(
            entry.detail["runs"]
            for entry in project.log.entries()
            if entry.action == "project:cleaned"
        ) == [run]
        assert examine(project).damage == []
        project.database.close()
        shutil.rmtree(root)
