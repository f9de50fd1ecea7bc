"""The gateway's fault table: what stands still, ends, fills up or floods hurts itself only, and operators are told."""

import contextlib
import http.client
import json
import os
import signal
import ssl
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.attacks.test_gateway import Caller, new_token
from tests.attacks.test_predictions import configured
from tests.conftest import serving, wait_for
from tests.faults.stuck import HOLDS, LOOPS

import casemate

STUCK = [sys.executable, str(Path(__file__).with_name("stuck.py"))]
GONE = (OSError, http.client.HTTPException)


def body(first=1.0):
    return json.dumps({"inputs": [{"name": "x", "shape": [1, 30], "datatype": "FP64", "data": [first] + [1.0] * 29}]})


def tried(caller, *words):
    """(status, code) of an answer; None where there is none."""
    try:
        status, content, _ = caller(*words)
    except GONE:
        return None
    return status, json.loads(content).get("code")


def children(pid):
    """Processes that `pid` has started and that are not dead yet."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(stat.parent.name))
    return sorted(found)


def is_gone(pid):
    """Whether a process is not there any more."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


@pytest.fixture
def two(own):
    """A gateway's project with two models, of which one will be told to stand still."""
    assert casemate.open(own).run(start="release").model.reference == "wdbc@2"
    return configured(own, "stuck = 1.0\n", '[serve.models]\nbad = "wdbc@1"\ngood = "wdbc@2"\n')


class Calls:
    """Somebody who asks a model all the time, and again when a connection ends."""

    def __init__(self, caller, path):
        self.caller, self.path, self.seen, self.end = caller, path, [], threading.Event()
        self.thread = threading.Thread(target=self.ask)

    def ask(self):
        while not self.end.is_set():
            self.seen.append(tried(self.caller, "POST", self.path, body()))
            time.sleep(0.02)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.end.set()
        self.thread.join()


@pytest.mark.parametrize("first", [LOOPS, HOLDS])
def test_a_model_that_stands_still_hurts_itself_only_and_is_withdrawn_when_it_does_so_again(two, first):
    project = casemate.open(two)
    caller, monitor = (Caller(None, new_token(project, name, role)[0]) for name, role in (("ward", "client"), ("prometheus", "monitor")))
    server = serving(two, program=STUCK)
    with server as running:
        caller.running = monitor.running = running
        with Calls(caller, "/v2/models/good/infer") as calls:
            team = children(running.process.pid)
            assert tried(caller, "POST", "/v2/models/bad/infer", body(first)) in (None, (503, "CM-STUCK"))
            wait_for(lambda: children(running.process.pid) not in (team, []), 20)
            wait_for(lambda: tried(caller, "POST", "/v2/models/bad/infer", body()) == (200, None), 20)
            assert tried(caller, "POST", "/v2/models/bad/infer", body(first)) in (None, (503, "CM-STUCK"))
            wait_for(lambda: tried(caller, "POST", "/v2/models/bad/infer", body()) == (503, "CM-WITHDRAWN"), 20)
            count = len(calls.seen)
            wait_for(lambda: calls.seen[count:] and calls.seen[-1] == (200, None), 20)
            assert tried(caller, "POST", "/v2/models/bad/infer", body(first)) == (503, "CM-WITHDRAWN")
        assert set(calls.seen) <= {(200, None), None}, "only what shared the worker can lose its connection"
        assert [caller("GET", f"/v2/models/{name}/ready")[0] for name in ("bad", "good")] == [503, 200]
        assert caller("GET", "/v2/health/ready")[0] == 200
        page = monitor("GET", "/metrics")[1].decode()
        assert 'casemate_withdrawn{model="wdbc",reason="stuck",version="1"} 1.0' in page
        assert 'casemate_workers_replaced{reason="stuck"} 2.0' in page
        wait_for(lambda: [entry.resource for entry in project.audit.entries() if entry.action == "model:withdrawn"] == ['Model::"wdbc@1"'])
        assert server.told().count("is replaced: wdbc@1 stood still") == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_every_process_also_one_that_stands_still(two, number):
    configured(two, "workers = 2\n")
    two.joinpath("casemate.toml").write_text(two.joinpath("casemate.toml").read_text().replace("stuck = 1.0", "stuck = 300.0"))
    caller = Caller(None, new_token(casemate.open(two), "ward")[0])
    with serving(two, program=STUCK) as running:
        caller.running = running
        team = children(running.process.pid)
        asking = threading.Thread(target=tried, args=(caller, "POST", "/v2/models/bad/infer", body(HOLDS)))
        asking.start()
        wait_for(lambda: tried(caller, "POST", "/v2/models/good/infer", body()) == (200, None))
        time.sleep(1.0)
        running.process.send_signal(number)
        assert running.process.wait(25) == 0
        asking.join()
        assert all(is_gone(pid) for pid in team)


def test_workers_end_with_their_supervisor(own):
    configured(own, "workers = 2\n")
    with serving(own) as running:
        team = children(running.process.pid)
        assert len(team) == 2
        running.process.kill()
        wait_for(lambda: all(is_gone(pid) for pid in team), 10)


def test_a_worker_that_was_stopped_or_killed_is_replaced_and_callers_go_on(own):
    configured(own, "stuck = 1.0\n")
    caller = Caller(None, new_token(casemate.open(own), "ward")[0])
    server = serving(own)
    with server as running:
        caller.running = running
        for number in (signal.SIGSTOP, signal.SIGKILL):
            (victim,) = children(running.process.pid)
            os.kill(victim, number)
            assert caller("POST", "/v2/models/wdbc/infer", body())[0] == 200, "whoever comes meanwhile waits for the next worker"
            assert is_gone(victim)
        assert "stood still" in server.told() and "signal 9" in server.told()


def test_the_same_port_is_taken_again_at_once_whatever_the_number_of_workers(own):
    caller = Caller(None, new_token(casemate.open(own), "ward")[0])
    port = 0
    for workers in (1, 2, 1):
        with serving(own, "-s", f"serve.workers={workers}", port=port) as running:
            port, caller.running = running.port, running
            connection = http.client.HTTPSConnection("127.0.0.1", port, context=ssl.create_default_context(cafile=str(running.ca)), timeout=20)
            connection.request("GET", "/v2/health/ready")
            assert connection.getresponse().status == 200  # and it stays open: its end of the port is remembered by the kernel
