"""Shared fixtures: a private HOME, one finished clinical project, copies of it to break, and the
real cases.
"""

import contextlib
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import settings
from tests import tiers
from threadpoolctl import threadpool_limits

import casemate
from casemate import config as configuration
from casemate.cli import main
from casemate.controls.access.identity import accounts
from casemate.controls.keys import slots
from casemate.controls.keys.subjects import Root
from casemate.core import threads
from casemate.core.imports import uncollected
from casemate.core.lease import RUNS
from casemate.core.store import sqlite
from casemate.core.store.migrations import Seal
from casemate.core.store.sqlite import SqliteStore, driver
from casemate.operations import scaffold
from casemate.operations.project import Project

FAST = "not slow"
FAST_PROFILE = "fast"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--full`: every point and every trial of the fault tests instead of a sample."""
    parser.addoption("--full", action="store_true", help="fault tests: every point, every trial")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """In the fast tier, modules that are slow as a whole are not even imported."""
    return (config.option.markexpr == FAST and tiers.is_all_slow(collection_path)) or None


def pytest_configure(config: pytest.Config) -> None:
    """In the fast tier a property that does not say how often is tried on fewer examples: `make
    test` draws a hundred.
    """
    if config.option.markexpr == FAST:
        settings.register_profile(FAST_PROFILE, settings.default, max_examples=25)
        settings.load_profile(FAST_PROFILE)


def often(times: int) -> int:
    """How often a property is tried that says so itself: no more than the others in the fast
    tier.
    """
    is_fast = settings.get_current_profile_name() == FAST_PROFILE
    return min(times, settings.default.max_examples) if is_fast else times


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Modules and tests stay until the end: the collector of garbage never looks among them, and
    later less often than every 700 objects.
    """
    gc.set_threshold(20_000)
    with uncollected(for_good=True):
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow, before `-m` chooses."""
    for item in items:
        if isinstance(item, pytest.Function) and tiers.is_slow(item):
            item.add_marker("slow")


@pytest.fixture(scope="session", autouse=True)
def tier(pytestconfig: pytest.Config) -> Iterator[None]:
    """In the fast tier no test runs the pipeline."""
    with tiers.no_run() if pytestconfig.option.markexpr == FAST else contextlib.nullcontext():
        yield


@pytest.fixture(autouse=True)
def signal_handlers() -> Iterator[None]:
    """What a test leaves installed would hear the signals of the next ones: a run past its time
    went on for ten minutes because an earlier command had kept SIGINT for itself.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    assert before == {number: signal.getsignal(number) for number in before}


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A HOME of this test session, so that no key store of the user is touched."""
    folder = tmp_path_factory.mktemp("home")
    before = os.environ.get("HOME")
    os.environ["HOME"] = str(folder)
    yield folder
    if before is not None:
        os.environ["HOME"] = before


@pytest.fixture(scope="session", autouse=True)
def root_of_subjects() -> Iterator[None]:
    """The same root in every project of this process, so that a table has the same hold-out in
    every session.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Root, "drawn", lambda: Root(bytes(range(64)), kept=False))
        yield


@dataclass(frozen=True)
class Costs:
    """What Argon2id costs where it is not a test."""

    password: dict[str, int]
    passphrase: dict[str, int]


@pytest.fixture(scope="session", autouse=True)
def real_costs() -> Iterator[Costs]:
    """Passwords and passphrases of this process cost next to nothing: hundreds of tests take one,
    and what is stored says what it cost. The fixture's value is what they cost otherwise.
    """
    with pytest.MonkeyPatch.context() as patch:
        real = Costs(accounts.COST, slots.COST)
        patch.setattr(accounts, "COST", {"iterations": 1, "lanes": 1, "memory_cost": 8})
        patch.setattr(slots, "COST", {"iterations": 1, "lanes": 1, "memory_kib": 8})
        yield real


@pytest.fixture(scope="session", autouse=True)
def one_catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The scripts of all versions make one empty catalogue in this process; others that would be
    made from nothing are copies of its file. Empty ones hold nothing that tells them apart, but
    the mode that an affected library asks for.
    """
    template = tmp_path_factory.mktemp("catalogue") / "catalog.db"
    upgrade = SqliteStore.upgrade

    def copied(store: SqliteStore, seal: Seal | None = None) -> None:
        if store.path.exists() or sqlite.affected(sqlite.driver.sqlite_version_info):
            upgrade(store, seal)
            return
        if not template.exists():
            made = SqliteStore(template)
            upgrade(made)
            made.close()
        shutil.copyfile(template, store.path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SqliteStore, "upgrade", copied)
        yield


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tests run on every core: a second thread in a product of matrices would wait for the first's
    neighbour, and spin while it waits. So no fit needs to look for the libraries whose threads it
    would limit.
    """
    with threadpool_limits(1), pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "SMALL", 0)
        yield


@pytest.fixture(scope="session")
def aged(home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A signed model and two that were refused on other data sets, all of them years old."""
    values = np.random.default_rng(5).standard_normal((200, 2))
    table = pa.table(
        {"a": values[:, 0], "b": values[:, 1], "y": (values.sum(axis=1) > 0).astype(int)}
    )
    root = tmp_path_factory.mktemp("aged") / "p"
    root.mkdir()
    scaffold.create(root, scaffold.from_table(root, write_csv(root / "t.csv", table), "y"))
    quick = [
        "assess.bootstrap=20",
        "assess.attack_rows=10",
        "assess.attack_steps=1",
        "assess.eps=[0.1]",
        "screen.label_noise=false",
    ]
    ids = []
    for share, gate in ((0.25, "min=0.5"), (0.26, "max=0.01"), (0.27, "max=0.01")):
        project = casemate.open(
            root,
            [
                *quick,
                f"train.test_share={share}",
                "gates.membership_auc.max=1.0",
                "gates.accuracy.min=0.0",
                f"gates.accuracy.{gate}",
            ],
        )
        result = project.run()
        assert result.verdict.outcome == ("passed" if share == 0.25 else "refused")
        ids.append(result.id)
        project.database.close()
    project = casemate.open(root)
    with project.database.transaction() as tx:
        for number, run in enumerate(ids, 1):
            long_ago = f"2020-01-0{number}T00:00:00+00:00"
            tx.execute(
                RUNS.update().where(RUNS.c.id == run).values(started=long_ago, ended=long_ago)
            )
    project.database.close()
    return root, ids


@pytest.fixture
def scale(pytestconfig: pytest.Config) -> Callable[[int, int], int]:
    """How often: the first figure in `make test`, the second, full one in `make faults`."""
    return lambda few, full: full if pytestconfig.getoption("--full") else few


@pytest.fixture
def case(pytestconfig: pytest.Config) -> Callable[[str], Path]:
    """A file or folder among the real cases; the test is skipped, visibly, where they are
    absent.
    """

    def find(name: str) -> Path:
        path = pytestconfig.rootpath.parent / "shared" / "cases" / name
        if not path.exists():
            pytest.skip(f"real case not present: {path}")
        return path

    return find


def lighten(root: Path) -> None:
    """What tests of other things need not measure each time: less of it."""
    path = root / "casemate.toml"
    light = (
        "[assess]\nbootstrap = 60\nattack_rows = 60\nattack_steps = 12\nshadows = 0\nimportance ="
        " false\n\n[robustness]\ndecision_rows = 0\n"
    )
    screen = "spectral = false\ntriggers = false\ninfluence = false\n"
    text = path.read_text()
    path.write_text(
        text.replace("[screen]\n", "[screen]\n" + screen, 1).replace(
            "[gates]\n", light + "\n[gates]\n", 1
        )
    )


@pytest.fixture(scope="session")
def finished(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clinical example after one passed run; tests must not change it."""
    root = tmp_path_factory.mktemp("clinic") / "project"
    scaffold.create(root, scaffold.clinical())
    lighten(root)
    result = casemate.open(root).run()
    assert result.verdict.outcome == "passed", result.verdict
    return root


@pytest.fixture
def own(clinic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The finished project with a key store that no other test uses."""
    home = tmp_path / "home"
    shutil.copytree(Path("~/.config").expanduser(), home / ".config")
    monkeypatch.setenv("HOME", str(home))
    return clinic


@pytest.fixture
def clinic(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished clinical project, free to break (its key store is shared)."""
    root = tmp_path / "clinic"
    shutil.copytree(finished, root)
    return root


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A clinical project that was never run."""
    scaffold.create(tmp_path / "fresh", scaffold.clinical())
    lighten(tmp_path / "fresh")
    return tmp_path / "fresh"


@dataclass
class Answer:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def value(self) -> object:
        """The JSON that it printed."""
        return json.loads(self.out)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Run a command in this process."""

    def run(*words: object) -> Answer:
        capsys.readouterr()
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return run


def command(*words: object) -> list[str]:
    """The command line for a real process."""
    return [sys.executable, "-m", "casemate", *map(str, words)]


@pytest.fixture
def tiny() -> pa.Table:
    """120 rows, two numbers, one category, a target."""
    generator = np.random.default_rng(0)
    numbers = generator.standard_normal((120, 2))
    return pa.table(
        {
            "a": numbers[:, 0],
            "b": numbers[:, 1],
            "c": [("red", "green", "blue")[i % 3] for i in range(120)],
            "y": [str(int(v > 0)) for v in numbers[:, 0] + 0.3 * numbers[:, 1]],
        }
    )


TOML = """[project]
name = "tiny"
id = "tiny-1"
[data]
source = "t.csv"
target = "y"
[train]
entry = "train.py:build"
folds = 3
[gates]
accuracy = { min = 0.5 }
"""


@pytest.fixture
def config() -> Callable[..., configuration.Config]:
    """A small valid configuration with overrides."""
    return lambda *overrides: configuration.parse(TOML, list(overrides))


def write_csv(path: Path, table: pa.Table) -> Path:
    """Write a table as CSV."""
    import pyarrow.csv

    pyarrow.csv.write_csv(table, path)
    return path


@pytest.fixture
def tiny_project(tmp_path: Path, tiny: pa.Table) -> Path:
    """A project on the tiny table with one gate that it passes."""
    root = tmp_path / "tiny"
    root.mkdir()
    table = write_csv(root / "t.csv", tiny)
    scaffold.create(root, scaffold.from_table(root, table, "y"))
    text = (root / "casemate.toml").read_text()
    head, _, tail = text.partition("[gates]")
    (root / "casemate.toml").write_text(
        head + "[gates]\naccuracy = { min = 0.5 }\n\n[serve]" + tail.partition("[serve]")[2]
    )
    return root


@dataclass
class Gateway:
    """A running gateway."""

    url: str
    port: int
    ca: Path
    process: subprocess.Popen[str]
    grpc: str
    """HOST:PORT of gRPC; empty when it is not served."""


@pytest.fixture(scope="module")
def gateway(
    finished: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Gateway, Project]]:
    """A gateway process for a copy of the finished project, on a free port, and that project."""
    root = tmp_path_factory.mktemp("served") / "clinic"
    shutil.copytree(finished, root)
    with serving(root) as running:
        yield running, casemate.open(root)


class serving:
    """Start `casemate serve` in `root` and stop it by its pid."""

    def __init__(
        self, root: Path, *words: str, program: Sequence[str] = (), port: int = 0, **variables: str
    ) -> None:
        """Say what is started.

        Args:
            root: the project.
            words: further options.
            program: instead of `casemate`.
            port: 0 takes a free one.
            variables: of its environment.
        """
        self.root, self.variables = root, variables
        self.words = [*(program or command()), "serve", "--port", str(port), *words]

    def __enter__(self) -> Gateway:
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            self.words,
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**os.environ, **self.variables},
        )
        # what verifies the model first speaks before it
        line = next((line for line in self.process.stdout if " at http" in line), "")
        if not line:
            raise AssertionError(self.told())
        url = next(word for word in line.split() if word.startswith("http"))
        ca = Path(line.rpartition("CA ")[2].strip().rstrip(")"))  # none where it is plain HTTP
        grpc = next(
            (word.partition("://")[2] for word in line.split() if word.startswith("grpc")), ""
        )
        return Gateway(url, int(url.rsplit(":", 1)[1]), ca, self.process, grpc)

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(45)
        finally:
            self.process.kill()
            self.process.stdout.close()
            self.errors.close()

    def told(self) -> str:
        """What it has said on stderr."""
        # from its beginning, and without moving to where the process writes
        return os.pread(self.errors.fileno(), 1 << 24, 0).decode()


def wait_for(check: Callable[[], object], seconds: float = 60.0) -> object:
    """Poll until `check` is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = check()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("timed out")


def tree(root: Path) -> dict[str, object]:
    """Every file below `root` with its content; of a catalogue what it holds, not how SQLite lays
    it out.
    """
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        if path.name == "catalog.db":
            with contextlib.closing(driver.connect(path)) as database:
                tables = [
                    name
                    for (name,) in database.execute(
                        "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
                    )
                ]
                held = {
                    name: sorted(database.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr)
                    for name in tables
                }
                found[str(path.relative_to(root))] = (
                    held,
                    database.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall(),
                )
        elif path.is_file() and not path.name.endswith(("-wal", "-shm")):
            found[str(path.relative_to(root))] = path.read_bytes()
    return found


@pytest.fixture
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system with a size limit (64 MB, or the parameter); needs root."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    size = getattr(request, "param", "64m")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("this machine does not let us mount a tmpfs")
    yield folder
    # this process may still hold its catalogue
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
