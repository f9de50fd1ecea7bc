"""Whoever does the trials of a search, its result is the same: one contract over every engine.

The processes are real: a sandbox beside this test, and for Dask a scheduler and two workers that
speak TLS with a CA of their own.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.contract.crews import TRAIN, Crew

from casemate.config import DaskTable
from casemate.core.errors import ConfigError, TransientError
from casemate.core.sandbox.failure import JobFailed
from casemate.core.sandbox.kernel import available
from casemate.core.sandbox.server import ForkServer
from casemate.supply.crew import dask

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not available()["landlock"], reason="this kernel has no Landlock"),
]

FOREST = """
from sklearn.ensemble import ExtraTreesClassifier
def build():
    return ExtraTreesClassifier(3, random_state=None)  # draws from the global generator
"""
GRID = ("train.folds=3", "train.search={ max_depth = [2, 3] }", "train.repeats=2")
RANGES = (
    "train.folds=3",
    "train.search={ max_depth = { low = 1, high = 4, int = true } }",
    "train.trials=2",
    "train.nested=2",
)


@pytest.fixture(scope="module")
def server():
    server = ForkServer([TRAIN], threads=1)
    yield server
    server.close()


@pytest.fixture(scope="module")
def helpers(tmp_path_factory):
    """A cluster of two workers; it comes up when it is first asked, and again after it was lost."""
    helpers = dask.DaskHelpers(DaskTable(workers=2, wait=20.0), tmp_path_factory.mktemp("d"), 1)
    yield helpers
    helpers.close()


@pytest.fixture
def alone(tmp_path, server):
    """The engine that all others are compared with: one process."""
    return Crew(tmp_path, server)


@pytest.fixture
def thorough(pytestconfig):
    """What costs a cluster, or trainings, more is asked for."""
    if not pytestconfig.getoption("--full"):
        pytest.skip("a sample runs without --full")


@pytest.fixture(params=["processes", "dask"])
def crew(request, tmp_path, server):
    if request.param == "processes":
        request.getfixturevalue("thorough")
        return Crew(tmp_path, server, overrides=("train.jobs=2",))
    return Crew(tmp_path, server, request.getfixturevalue("helpers"))


@pytest.fixture
def on_dask(tmp_path, server, helpers):
    return Crew(tmp_path, server, helpers)


@pytest.mark.parametrize("search", [GRID, RANGES], ids=["grid", "ranges"])
def test_every_engine_finds_the_same_scores_and_the_same_model(
    crew, alone, tiny, config, search, request
):
    if search is RANGES:
        request.getfixturevalue("thorough")
    table = tiny.drop_columns("c")
    expected = alone.train(FOREST, table, config(*search))
    found = crew.train(FOREST, table, config(*search, *crew.overrides))
    assert found.result == expected.result
    assert found.files == expected.files
    assert found.isolation == expected.isolation


def test_a_fault_in_a_fold_is_told_in_the_same_words(crew, alone, tiny, config):
    table, search = tiny.drop_columns("c"), ("train.search={ max_depth = [2, -3] }",)
    told = []
    for one in (alone, crew):
        with pytest.raises(JobFailed) as caught:
            one.train(FOREST, table, config(*GRID, *search, *one.overrides))
        told.append((caught.value.kind, caught.value.message, caught.value.plain))
    assert told[0] == told[1]
    assert "max_depth" in told[0][1]


PATCHED = """
from sklearn.tree import DecisionTreeClassifier
fit = DecisionTreeClassifier.fit
def patched(self, x, y, *args, **kwargs):
    if len(x) == 80:  # a fold, and neither the first look nor the whole table
        in_a_fold()
    return fit(self, x, y, *args, **kwargs)
DecisionTreeClassifier.fit = patched
def build():
    return DecisionTreeClassifier(random_state=0)
"""
HOSTILE = (
    """
import socket
def in_a_fold():
    for place in ("/etc/shadow", "/proc/1/environ"):
        try:
            open(place).read()
            raise SystemExit("read " + place)
        except OSError:
            pass
    try:
        socket.create_connection(("127.0.0.1", 22), timeout=1)
        raise SystemExit("connected")
    except OSError:
        pass
"""
    + PATCHED
)
SLOW = "import time\ndef in_a_fold():\n    time.sleep(0.5)\n" + PATCHED


def test_code_in_a_workers_fold_is_confined_and_what_it_tried_is_told(on_dask, tiny, config):
    outcome = on_dask.train(HOSTILE, tiny.drop_columns("c"), config(*GRID))
    assert {"landlock", "seccomp", "namespaces"} <= {*outcome.isolation}
    assert "model.skops" in outcome.files
    assert {"sandbox.file", "sandbox.network"} <= {one.id for one in outcome.findings}


def cluster_of(helpers):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        job = helpers._job
        if job is not None and job._shares:
            return helpers._line._cluster
        time.sleep(0.05)
    raise AssertionError("nothing was given to workers")


def killing(helpers, place):
    """A thread that kills one process of the cluster once tasks are under way."""

    def kill():
        os.kill(cluster_of(helpers).processes[place].pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def test_a_worker_that_dies_costs_time_and_nothing_else(on_dask, alone, tiny, config):
    table = tiny.drop_columns("c")
    thread = killing(on_dask.helpers, 1)
    found = on_dask.train(SLOW, table, config(*GRID))
    thread.join()
    expected = alone.train(SLOW.replace("0.5", "0"), table, config(*GRID))
    assert found.files == expected.files
    assert found.result["cv"] == expected.result["cv"]


def test_a_lost_scheduler_ends_the_job_and_the_next_one_finds_a_new_cluster(
    thorough, on_dask, tiny, config
):
    table = tiny.drop_columns("c")
    thread = killing(on_dask.helpers, 0)
    with pytest.raises(TransientError, match="Dask") as caught:
        on_dask.train(SLOW, table, config(*GRID))
    thread.join()
    assert "casemate run" in caught.value.hint
    assert on_dask.helpers._line is None
    assert on_dask.train(FOREST, table, config("train.folds=2", "train.search={}")).files


def test_a_cluster_listens_on_the_loopback_alone_and_shows_nothing(
    on_dask, tiny, config, monkeypatch
):
    for name in ("distributed", "dask"):  # where the keys are, no pickle is read
        monkeypatch.setitem(sys.modules, name, None)
    on_dask.train(FOREST, tiny.drop_columns("c"), config(*GRID))
    found = [
        line.split()[1].split(":")[0]
        for process in on_dask.helpers._line._cluster.processes
        if process.poll() is None
        for line in listening(process.pid)
    ]
    assert len(found) >= 2
    assert {*found} == {"0100007F"}  # 127.0.0.1, as /proc/net/tcp writes it


def listening(pid):
    """Lines of /proc/net/tcp of sockets that this process listens on."""
    sockets = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            sockets.add(os.readlink(descriptor))
        except OSError:
            continue
    lines = [
        line
        for kind in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{kind}").read_text().splitlines()[1:]
    ]
    return [
        line
        for line in lines
        if line.split()[3] == "0A" and f"socket:[{line.split()[9]}]" in sockets
    ]


def test_an_existing_scheduler_takes_its_own_certificates_and_no_others(
    thorough, on_dask, tmp_path, tiny, config
):
    on_dask.train(FOREST, tiny.drop_columns("c"), config(*GRID))
    cluster = on_dask.helpers._line._cluster
    there = DaskTable(scheduler=cluster.scheduler, certificate=str(cluster.client), wait=10.0)
    again = dask.DaskHelpers(there, tmp_path, 1)
    try:
        crew = Crew(tmp_path, on_dask.server, again)
        assert crew.train(FOREST, tiny.drop_columns("c"), config(*GRID)).files
    finally:
        again.close()
    from casemate.supply.crew.cluster import Cluster

    other = Cluster(0)
    try:
        strange = DaskTable(scheduler=cluster.scheduler, certificate=str(other.client), wait=3.0)
        stranger = dask.DaskHelpers(strange, tmp_path, 1)
        with pytest.raises(TransientError, match="Dask"):
            Crew(tmp_path, on_dask.server, stranger).train(
                FOREST, tiny.drop_columns("c"), config(*GRID)
            )
    finally:
        other.close()


def test_a_folder_without_a_certificate_is_said(tmp_path, server, tiny, config):
    there = DaskTable(scheduler="tls://127.0.0.1:1", certificate="nothing")
    crew = Crew(tmp_path, server, dask.DaskHelpers(there, tmp_path, 1))
    with pytest.raises(ConfigError, match=r"certificate.*has no cert\.pem"):
        crew.train(FOREST, tiny.drop_columns("c"), config(*GRID))
