"""The gateway's fault table: what stands still, ends, fills up or floods hurts itself only, and
operators are told.
"""

import asyncio
import contextlib
import datetime
import functools
import http.client
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.attacks.test_gateway import Caller, context, new_token
from tests.attacks.test_predictions import configured
from tests.conftest import serving, wait_for
from tests.contract.conftest import openbao  # noqa: F401 - a fixture
from tests.faults.stuck import HOLDS, LOOPS
from tests.faults.test_clocks_and_bits import faked  # noqa: F401 - a fixture

import casemate
from casemate.controls.keys.compromises import COMPROMISES
from casemate.core.errors import CompromisedSigner
from casemate.core.home import keystore_folder
from casemate.operations.fsck import examine
from casemate.operations.keys import rotation
from casemate.serve.connections import Connections
from casemate.serve.parts import assemble
from casemate.serve.watches import look

STUCK = [sys.executable, str(Path(__file__).with_name("stuck.py"))]
GONE = (OSError, http.client.HTTPException)


def body(first=1.0):
    return json.dumps(
        {
            "inputs": [
                {"name": "x", "shape": [1, 30], "datatype": "FP64", "data": [first] + [1.0] * 29}
            ]
        }
    )


def tried(caller, *words):
    """(status, code) of an answer; None where there is none."""
    try:
        status, content, _ = caller(*words)
    except GONE:
        return None
    return status, json.loads(content).get("code")


def children(pid, name="casemate-worker"):
    """Processes of this name that `pid` has started and that are not dead yet."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            before, _, after = stat.read_text().rpartition(")")
            fields = after.split()
            if int(fields[1]) == pid and fields[0] != "Z" and before.endswith(f"({name}"):
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


@pytest.mark.parametrize("first", [LOOPS, pytest.param(HOLDS, marks=pytest.mark.long)])
def test_a_model_that_stands_still_hurts_itself_only_and_is_withdrawn_when_it_does_so_again(
    two, first
):
    project = casemate.open(two)
    caller, monitor = (
        Caller(None, new_token(project, name, role)[0])
        for name, role in (("ward", "client"), ("prometheus", "monitor"))
    )
    gateway = serving(two, program=STUCK)
    with gateway as running:
        caller.running = monitor.running = running
        with Calls(caller, "/v2/models/good/infer") as calls:
            team = children(running.process.pid)
            assert tried(caller, "POST", "/v2/models/bad/infer", body(first)) in (
                None,
                (503, "CM-STUCK"),
            )
            wait_for(lambda: children(running.process.pid) not in (team, []), 20)
            wait_for(
                lambda: tried(caller, "POST", "/v2/models/bad/infer", body()) == (200, None), 20
            )
            # While the new worker starts, whoever finds no room hears so and comes again.
            wait_for(
                lambda: (
                    tried(caller, "POST", "/v2/models/bad/infer", body(first))
                    in (None, (503, "CM-STUCK"))
                ),
                20,
            )
            wait_for(
                lambda: (
                    tried(caller, "POST", "/v2/models/bad/infer", body()) == (503, "CM-WITHDRAWN")
                ),
                20,
            )
            count = len(calls.seen)
            wait_for(lambda: calls.seen[count:] and calls.seen[-1] == (200, None), 20)
            assert tried(caller, "POST", "/v2/models/bad/infer", body(first)) == (
                503,
                "CM-WITHDRAWN",
            )
        assert set(calls.seen) <= {
            (200, None),
            None,
            (503, "CM-OVERLOAD"),
        }, "who shared the worker may have to come again, and is told so"
        assert [caller("GET", f"/v2/models/{name}/ready")[0] for name in ("bad", "good")] == [
            503,
            200,
        ]
        assert caller("GET", "/v2/health/ready")[0] == 200
        page = monitor("GET", "/metrics")[1].decode()
        assert 'casemate_withdrawn{model="wdbc",reason="stuck",version="1"} 1.0' in page
        assert 'casemate_workers_replaced{reason="stuck"} 2.0' in page
        wait_for(
            lambda: (
                [
                    entry.resource
                    for entry in project.log.entries()
                    if entry.action == "model:withdrawn"
                ]
                == ['Model::"wdbc@1"']
            )
        )
        assert gateway.told().count("is replaced: wdbc@1 stood still") == 2


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)]
)
def test_a_signal_ends_every_process_also_one_that_stands_still(two, number):
    configured(two, "workers = 2\n")
    two.joinpath("casemate.toml").write_text(
        two.joinpath("casemate.toml").read_text().replace("stuck = 1.0", "stuck = 300.0")
    )
    caller = Caller(None, new_token(casemate.open(two), "ward")[0])
    with serving(two, program=STUCK) as running:
        caller.running = running
        team = children(running.process.pid)
        asking = threading.Thread(
            target=tried, args=(caller, "POST", "/v2/models/bad/infer", body(HOLDS))
        )
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
        wait_for(lambda: children(running.process.pid, "casemate-spare"))
        team = [*children(running.process.pid), *children(running.process.pid, "casemate-spare")]
        assert len(team) == 3
        running.process.kill()
        wait_for(lambda: all(is_gone(pid) for pid in team), 10)


def test_a_worker_that_was_stopped_or_killed_is_replaced_and_callers_go_on(own):
    configured(own, "stuck = 1.0\n")
    caller = Caller(None, new_token(casemate.open(own), "ward")[0])
    gateway = serving(own)
    with gateway as running:
        caller.running = running
        for number in (signal.SIGSTOP, signal.SIGKILL):
            (victim,) = children(running.process.pid)
            os.kill(victim, number)
            wait_for(functools.partial(is_gone, victim))
            wait_for(lambda: tried(caller, "POST", "/v2/models/wdbc/infer", body()) == (200, None))
            assert victim not in children(running.process.pid)
        assert "stood still" in gateway.told() and "signal 9" in gateway.told()


def test_while_the_only_worker_stands_still_the_gateway_lives_and_is_not_ready(own):
    configured(own, "stuck = 300.0\n")
    stranger = Caller(None)
    with serving(own) as running:
        stranger.running = running
        wait_for(lambda: children(running.process.pid, "casemate-spare"))
        (worker,) = children(running.process.pid)
        os.kill(worker, signal.SIGSTOP)
        try:
            assert stranger("GET", "/v2/health/live")[:2] == (200, b'{"live":true}')
            for path in ("/v2/health/ready", "/ping"):
                status, content, headers = stranger("GET", path)
                assert (status, content, headers["retry-after"]) == (503, b'{"ready":false}', "1")
            status, content, headers = stranger("POST", "/v2/models/wdbc/infer", body())
            assert (status, json.loads(content)["code"], headers["retry-after"]) == (
                503,
                "CM-OVERLOAD",
                "1",
            )
            assert headers["x-request-id"]
        finally:
            os.kill(worker, signal.SIGCONT)
        wait_for(lambda: stranger("GET", "/v2/health/ready")[:2] == (200, b'{"ready":true}'))
        assert children(running.process.pid) == [worker]


@pytest.mark.long
def test_the_same_port_is_taken_again_at_once_whatever_the_number_of_workers(own):
    caller = Caller(None, new_token(casemate.open(own), "ward")[0])
    port = 0
    for workers in (1, 2, 1):
        with serving(own, "-s", f"serve.workers={workers}", port=port) as running:
            port, caller.running = running.port, running
            connection = http.client.HTTPSConnection(
                "127.0.0.1", port, context=context(running.ca), timeout=20
            )
            connection.request("GET", "/v2/health/ready")
            # and it stays open: its end of the port is remembered by the kernel
            assert connection.getresponse().status == 200


def fill(folder):
    """Leave no byte free; returns what takes them."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return filler


@pytest.mark.parametrize("audit", ["durable", "batched"])
def test_a_full_disk_makes_the_gateway_not_ready_and_space_makes_it_ready_again(
    clinic, small_disk, audit
):
    root = small_disk / "p"
    shutil.copytree(clinic, root)
    configured(root, f'audit = "{audit}"\n')
    project = casemate.open(root)
    caller, stranger = Caller(None, new_token(project, "ward")[0]), Caller(None)
    monitor = Caller(None, new_token(project, "prometheus", "monitor")[0])
    gateway = serving(root)
    with gateway as running:
        caller.running = stranger.running = monitor.running = running
        assert stranger("GET", "/v2/health/ready")[:2] == (200, b'{"ready":true}')
        given = [
            caller("POST", "/v2/models/wdbc/infer", body())[2]["x-request-id"] for _ in range(3)
        ]
        assert monitor("GET", "/metrics")[0] == 200
        filler = fill(small_disk)
        # nobody has asked for an answer yet
        wait_for(lambda: stranger("GET", "/v2/health/ready")[0] == 503, 5)
        wait_for(lambda: caller("POST", "/v2/models/wdbc/infer", body())[0] == 503, 20)
        for path in ("/v2/health/ready", "/ping"):
            status, content, headers = stranger("GET", path)
            assert (status, content, headers["retry-after"]) == (503, b'{"ready":false}', "1")
        assert stranger("GET", "/v2/health/live")[0] == 200
        shown = {
            'casemate_fault{reason="disk"} 1.0',
            'casemate_fault{reason="log"} 1.0',
            "casemate_ready 0.0",
        }
        wait_for(lambda: shown <= set(monitor("GET", "/metrics")[1].decode().splitlines()), 10)
        filler.unlink()
        wait_for(lambda: stranger("GET", "/v2/health/ready")[0] == 200, 20)
        status, content, headers = caller("POST", "/v2/models/wdbc/infer", body())
        assert status == 200
        given.append(headers["x-request-id"])
        told = gateway.told()
    assert told.count("not ready: log") == told.count("log is well again") == 1
    assert "gateway:recovered" in [entry.action for entry in project.log.entries()]
    assert set(given) <= {one.id for one in project.decisions.newest(10**6)}


def silent(port, count, source):
    """So many connections from an address that say nothing."""
    found = []
    for _ in range(count):
        made = socket.socket()
        made.bind((source, 0))
        made.settimeout(5)
        made.connect(("127.0.0.1", port))
        found.append(made)
    return found


def ended(connections):
    """How many of these the other side has closed."""
    poll = select.poll()
    for one in connections:
        poll.register(one, select.POLLIN)
    return len(poll.poll(0))


@pytest.fixture(params=["file", pytest.param("vault", marks=pytest.mark.long)])
def losing(request, own, cli, monkeypatch):
    """(take a project's key provider away, bring it back)."""
    if request.param == "file":
        path = keystore_folder(casemate.open(own).config.project.id) / "keystore.json"
        yield lambda: path.rename(f"{path}.away"), lambda: Path(f"{path}.away").rename(path)
        return
    bao = request.getfixturevalue("openbao")
    monkeypatch.setenv("TEST_VAULT_TOKEN", bao.token)
    words = ("vault", "--address", bao.address, "--secret", "env:TEST_VAULT_TOKEN")
    assert cli("keys", "migrate", *words, "--config", own).code == 0
    yield bao.seal, bao.unseal
    bao.unseal()


def test_a_lost_key_provider_stops_no_answer_and_no_record_but_a_worker_that_starts(own, losing):
    """What a running worker needs of it lies in its memory, and it says that it is ready because it
    is.
    """
    lose, regain = losing
    configured(own, "verify_minutes = 0.005\n")
    project = casemate.open(own)
    caller = Caller(None, new_token(project, "ward")[0])
    known = {one.id for one in project.decisions.newest(10**6)}

    def refused():
        return [
            e
            for e in project.log.entries(size)
            if (e.action, e.outcome) == ("key:unwrap", "denied")
        ]

    gateway = serving(own)
    with gateway as running:
        caller.running = running
        size = project.log.size()
        lose()
        # models are verified again all the time, and each time their keys are asked for
        wait_for(lambda: len(refused()) > 2)
        answers = [caller("POST", "/v2/models/wdbc/infer", body()) for _ in range(5)]
        assert [status for status, _, _ in answers] == [200] * 5
        assert {headers["x-request-id"] for _, _, headers in answers} <= {
            one.id for one in project.decisions.newest(10**6)
        } - known
        assert caller("GET", "/v2/health/ready")[:2] == (200, b'{"ready":true}')
        assert gateway.told().count("verification: ") == 1, "operators are told, once"
        (victim,) = children(running.process.pid)
        os.kill(victim, signal.SIGKILL)
        # who takes its place tries again and again
        wait_for(lambda: gateway.told().count("error[CM-") > 1)
        assert (
            caller("GET", "/v2/health/ready")[0]
            == caller("POST", "/v2/models/wdbc/infer", body())[0]
            == 503
        )
        assert caller("GET", "/v2/health/live")[0] == 200
        regain()
        wait_for(lambda: tried(caller, "POST", "/v2/models/wdbc/infer", body()) == (200, None))
        wait_for(lambda: tried(caller, "GET", "/v2/health/ready") == (200, None))


def test_silent_connections_of_one_address_shut_nobody_out(own):
    configured(own, "keep_alive = 60\n")
    caller = Caller(None, new_token(casemate.open(own), "ward")[0])
    with serving(own) as running, contextlib.ExitStack() as kept:
        caller.running = running
        old = http.client.HTTPSConnection(
            "127.0.0.1", running.port, context=context(running.ca), timeout=30
        )
        kept.callback(old.close)
        old.request(
            "POST", "/v2/models/wdbc/infer", body(), {"Authorization": f"Bearer {caller.token}"}
        )
        assert old.getresponse().read()
        same = old.sock
        flood = [kept.enter_context(one) for one in silent(running.port, 2001, "127.0.0.9")]
        for source in ("127.0.0.2", "127.0.0.9"):
            fresh = http.client.HTTPSConnection(
                "127.0.0.1",
                running.port,
                context=context(running.ca),
                timeout=30,
                source_address=(source, 0),
            )
            fresh.request(
                "POST", "/v2/models/wdbc/infer", body(), {"Authorization": f"Bearer {caller.token}"}
            )
            assert fresh.getresponse().status == 200
            fresh.close()
        assert ended(flood) >= 2001 - 200 - 1
        wait_for(lambda: ended(flood) == 2001, 30)  # the rest by the deadline of a handshake
        old.request(
            "POST", "/v2/models/wdbc/infer", body(), {"Authorization": f"Bearer {caller.token}"}
        )
        assert (old.getresponse().status, old.sock is same) == (
            200,
            True,
        ), "an idle caller was not disturbed"


def test_strangers_of_many_addresses_give_way_to_whoever_comes(own):
    configured(own, "strangers = 20\nstrangers_per_address = 10\n")
    caller = Caller(None, new_token(casemate.open(own), "ward")[0])
    with serving(own) as running, contextlib.ExitStack() as kept:
        caller.running = running
        first = [kept.enter_context(one) for one in silent(running.port, 3, "127.0.0.3")]
        flood = [
            kept.enter_context(one)
            for source in ("127.0.0.9", "127.0.0.10")
            for one in silent(running.port, 9, source)
        ]
        wait_for(lambda: caller("POST", "/v2/models/wdbc/infer", body())[0] == 200)
        assert ended(first) == 0, "who has most gives way"
        assert ended(flood) >= 1


def test_callers_beyond_the_room_for_them_are_told_so_in_json(own):
    configured(own, "max_connections = 2\n")
    token = new_token(casemate.open(own), "ward")[0]
    with serving(own) as running, contextlib.ExitStack() as kept:
        answers = []
        for _ in range(3):
            connection = http.client.HTTPSConnection(
                "127.0.0.1", running.port, context=context(running.ca), timeout=30
            )
            kept.callback(connection.close)
            connection.request("GET", "/v2", headers={"Authorization": f"Bearer {token}"})
            reply = connection.getresponse()
            answers.append((reply.status, json.loads(reply.read()), reply.headers))
        assert [status for status, _, _ in answers] == [200, 200, 503]
        _, said, headers = answers[-1]
        assert (said["code"], headers["retry-after"], headers["connection"]) == (
            "CM-OVERLOAD",
            "1",
            "close",
        )
        assert headers["x-request-id"] and headers["content-type"] == "application/json"


def test_a_declared_compromise_is_in_force_in_a_running_gateway_until_the_model_is_made_anew(own):
    project = casemate.open(own)
    caller = Caller(None, new_token(project, "ward")[0])
    began = datetime.datetime.fromisoformat(next(project.log.entries()).time)
    with serving(own) as running:
        caller.running = running
        assert caller("POST", "/v2/models/wdbc/infer", body())[0] == 200
        rotation.new_signer(project, compromised=began)
        wait_for(
            lambda: tried(caller, "POST", "/v2/models/wdbc/infer", body()) == (503, "CM-WITHDRAWN"),
            10,
        )
        assert (caller("GET", "/v2/health/ready")[0], caller("GET", "/v2/health/live")[0]) == (
            503,
            200,
        )
        assert casemate.open(own).run().model.reference == "wdbc@2"
        wait_for(lambda: tried(caller, "POST", "/v2/models/wdbc/infer", body()) == (200, None), 20)
        assert (
            json.loads(caller("POST", "/v2/models/wdbc/infer", body())[1])["model_version"] == "2"
        )
    assert examine(casemate.open(own)).damage


@pytest.mark.long
def test_a_compromise_that_is_declared_elsewhere_counts_on_a_host_whose_key_store_knows_nothing_of_it(
    own, tmp_path, monkeypatch
):
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(tmp_path / "home", elsewhere)
    here = casemate.open(own)
    caller = Caller(None, new_token(here, "ward")[0])
    began = datetime.datetime.fromisoformat(next(here.log.entries()).time)
    with serving(own) as running:
        caller.running = running
        assert caller("POST", "/v2/models/wdbc/infer", body())[0] == 200
        monkeypatch.setenv("HOME", str(elsewhere))
        rotation.new_signer(casemate.open(own), compromised=began)
        wait_for(
            lambda: tried(caller, "POST", "/v2/models/wdbc/infer", body()) == (503, "CM-WITHDRAWN"),
            10,
        )
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(CompromisedSigner):
        casemate.open(own).models["wdbc"].verify()


def test_fsck_names_a_compromise_that_the_log_does_not_explain_and_tells_other_hosts_of_one_that_they_do_not_know(
    own,
):
    project = casemate.open(own)
    rotation.new_signer(project)
    since = datetime.datetime.now(datetime.UTC)
    project.keys.distrust(1, since)
    about = [found for found in examine(project).damage if "compromise of" in found.subject]
    assert about == []
    with project.database.transaction() as tx:
        tx.exec_driver_sql("UPDATE signer_compromise SET since = '2020-01-01T00:00:00+00:00'")
    (found,) = [
        found for found in examine(project).damage if found.subject == "table signer_compromise"
    ]
    assert "the audit log does not explain it" in found.state
    with project.database.transaction() as tx:
        tx.exec_driver_sql(f"UPDATE signer_compromise SET since = '{since.isoformat()}'")
    with project.database.transaction() as tx:
        tx.execute(COMPROMISES.delete())
    (found,) = [
        found for found in examine(project, repair=True).damage if "compromise of" in found.subject
    ]
    assert found.repaired
    assert list(project.compromises.all().values()) == [since]


def in_a_thread(reading):
    """Reads of the catalogue, none of them where requests wait."""

    def read():
        assert threading.current_thread() is not threading.main_thread(), "in the event loop"
        return reading()

    return read


def test_while_the_catalogue_is_away_probes_and_metrics_answer_and_operators_are_told(
    clinic, capsys, monkeypatch
):
    project = casemate.open(clinic)
    monitor, other = (new_token(project, name, "monitor")[0] for name in ("prometheus", "newcomer"))
    parts = assemble(project)
    parts.gateway.admission.lifetime = 0.0  # nothing is remembered but what is meant for this

    async def ask(path, token=None):
        headers = [] if token is None else [(b"authorization", f"Bearer {token}".encode())]
        reply = await parts.gateway.handle(
            {"method": "GET", "path": path, "headers": headers, "client": ("127.0.0.1", 1)}, None
        )
        return reply.status, reply.body.decode()

    async def becomes(status):
        for _ in range(500):
            if (await ask("/v2/health/ready"))[0] == status:
                return
            await asyncio.sleep(0.02)
        raise AssertionError(await ask("/v2/health/ready"))

    async def through_it():
        looking = look(project, parts, Connections(project.config.serve, parts.metrics))
        watches = [
            asyncio.create_task(watch) for watch in (parts.gateway.admission.watch(), looking)
        ]
        assert (await ask("/metrics", monitor))[0] == 200
        (clinic / ".casemate").rename(clinic / "away")
        project.database.close()
        await becomes(503)
        # a server that says nothing would keep the event loop waiting
        monkeypatch.setattr(project.database, "reading", in_a_thread(project.database.reading))
        assert await ask("/v2/health/live") == (200, '{"live":true}')
        assert (await ask("/ping"))[0] == 503
        status, page = await ask("/metrics", monitor)
        assert status == 200 and 'casemate_fault{reason="catalogue"} 1.0' in page
        assert [
            (await ask(*words))[0]
            for words in (("/metrics", other), ("/v2", monitor), ("/metrics", None))
        ] == [503, 503, 401]
        monkeypatch.undo()
        shutil.rmtree(clinic / ".casemate", ignore_errors=True)
        (clinic / "away").rename(clinic / ".casemate")
        project.database.close()
        await becomes(200)
        for watch in watches:
            watch.cancel()

    try:
        asyncio.run(through_it())
    finally:
        parts.close()
    told = capsys.readouterr().err
    assert told.count("not ready: catalogue") == told.count("catalogue is well again") == 1


def test_on_a_slow_disk_answers_wait_and_none_is_lost(clinic, tmp_path):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler for the slow disk: install gcc")
    library, mark = tmp_path / "slow.so", tmp_path / "slow"
    source = Path(__file__).with_name("slow.c")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"],
        check=True,
        capture_output=True,
    )
    project = casemate.open(clinic)
    caller = Caller(None, new_token(project, "ward")[0])
    with serving(clinic, LD_PRELOAD=str(library), SLOW_DISK=str(mark)) as running:
        caller.running = running
        assert caller("POST", "/v2/models/wdbc/infer", body())[0] == 200
        team = children(running.process.pid)
        mark.touch()
        answers = [caller("POST", "/v2/models/wdbc/infer", body()) for _ in range(2)]
        assert caller("GET", "/v2/health/live")[0] == 200
        mark.unlink()
        wait_for(lambda: caller("GET", "/v2/health/ready")[0] == 200)
        assert children(running.process.pid) == team, "no new worker cures a slow disk"
    assert [status for status, _, _ in answers] == [200, 200]
    assert {headers["x-request-id"] for _, _, headers in answers} <= {
        one.id for one in project.decisions.newest(10**6)
    }


def test_a_clock_that_leaps_by_days_under_load_replaces_no_worker_and_ends_no_call(clinic, faked):  # noqa: F811
    project = casemate.open(clinic)
    with project.database.transaction() as tx:
        token, _ = project.point.tokens.create(
            tx, "ward", ["client"], ["*"], datetime.timedelta(days=90)
        )
    caller = Caller(None, token)
    environment = faked("+0")
    clock = Path(environment["FAKETIME_TIMESTAMP_FILE"])
    with serving(clinic, **environment) as running:
        caller.running = running
        wait_for(lambda: children(running.process.pid, "casemate-spare"))
        team = children(running.process.pid)
        with Calls(caller, "/v2/models/wdbc/infer") as calls:
            for setting in ("+3d", "-3d", "+0"):
                clock.write_text(setting)
                enough = len(calls.seen) + 10
                wait_for(lambda enough=enough: len(calls.seen) > enough)
        assert set(calls.seen) == {(200, None)}
        assert children(running.process.pid) == team
    assert project.log.check().checkpoint.size == project.log.size()
