"""Durable runs on every store: leases, fencing, idempotency keys, retries, timeouts, reuse,
cancellation.
"""

import multiprocessing
import os
import signal
import time
from functools import partial

import pytest
from tests.conftest import wait_for

from casemate.core import lease as leases
from casemate.core.clock import SystemClock
from casemate.core.engine import Engine
from casemate.core.errors import (
    BackendError,
    BusyError,
    ConfigError,
    Error,
    LeaseLost,
    OutOfMemory,
    RunCancelled,
    StageTimeout,
    TransientError,
    VerificationError,
)
from casemate.core.steps import STAGES, RetryPolicy
from casemate.core.store import open_store
from casemate.core.types import Finding

SAME = dict.fromkeys(STAGES, "same")
OTHER = dict.fromkeys(STAGES, "other")


class Journal:
    def __init__(self):
        self.entries = []

    def append(self, tx, principal, action, resource, outcome, detail):
        self.entries.append((action, outcome))
        return len(self.entries)

    def publish(self):
        pass


def engine_with(store, tmp_path, **policy):
    policy = RetryPolicy(**policy)
    return Engine(store, Journal(), SystemClock(), tmp_path / "runs", retry_policy=policy)


@pytest.fixture
def engine(store, tmp_path):
    return engine_with(store, tmp_path, retries=2, backoff=0.01)


def finding(text: str = "x") -> Finding:
    return Finding(id="a", severity="low", confidence="low", message=text)


def complete(run, text="x"):
    for stage in STAGES:
        run.step(stage, Finding, lambda: finding(text))
    run.finish("passed")


def abandon(run):
    """Leave a run as a killed process would: its lease is never given back."""
    run.lease.stop()


def test_a_finished_step_is_never_done_again(engine):
    calls = []

    def work():
        calls.append(1)
        return finding()

    first = engine.begin(SAME, "me")
    first.step("data", Finding, work)
    again = engine.begin(SAME, "me")
    assert again.resumed
    assert again.id == first.id
    assert again.step("data", Finding, work) == finding()
    assert len(calls) == 1


def test_a_living_owner_keeps_others_out_of_its_run_and_not_out_of_other_runs(engine):
    with engine.begin(SAME, "me") as run:
        with pytest.raises(BusyError, match=run.id):
            engine.begin(SAME, "you")
        with engine.begin(OTHER, "you") as other:
            other.step("data", Finding, finding)
            run.step("data", Finding, finding)
    assert len(engine.runs()) == 2


def test_a_run_whose_process_is_gone_is_abandoned_by_one_with_other_inputs(engine):
    first = engine.begin(SAME, "me")
    first.step("data", Finding, finding)
    second = engine.begin(OTHER, "me")
    second.step("data", Finding, finding)
    assert {row.id: row.state for row in engine.runs()} == {
        first.id: "abandoned",
        second.id: "interrupted",
    }
    assert ("run:abandon", "done") in engine.journal.entries


def test_what_an_owner_writes_after_another_took_over_is_refused(engine):
    late = engine.begin(SAME, "me")
    late.step("data", Finding, finding)
    now = engine.begin(SAME, "me")
    with pytest.raises(LeaseLost):
        late.step("train", Finding, lambda: finding("late"))
    with pytest.raises(LeaseLost):
        late.finish("failed")
    assert now.step("train", Finding, lambda: finding("now")).message == "now"
    evidence = engine.folder / now.id / "2-train" / "train.json"
    assert b"now" in evidence.read_bytes()


def test_a_step_that_met_an_absent_back_end_is_tried_again(engine):
    tries = []

    def work():
        tries.append(1)
        if len(tries) < 3:
            raise TransientError("away")
        return finding()

    with engine.begin(SAME, "me") as run:
        run.step("data", Finding, work)
        assert engine.runs()[0].finished[0].attempts == 3


def test_a_step_that_never_succeeds_gives_up_and_stays_resumable(engine):
    def away():
        raise TransientError("away")

    with pytest.raises(TransientError), engine.begin(SAME, "me") as run:
        run.step("data", Finding, finding)
        run.step("train", Finding, away)
    assert engine.runs()[0].state == "interrupted"
    assert engine.begin(SAME, "me").resumed


def test_a_fault_that_is_not_transient_is_not_tried_again(engine):
    tries = []

    def broken():
        tries.append(1)
        raise BackendError("the disk is broken")

    with pytest.raises(BackendError), engine.begin(SAME, "me") as run:
        run.step("data", Finding, broken)
    assert len(tries) == 1


def _own(number, frame):
    """A program that hears Ctrl-C in its own way, and goes on."""


@pytest.mark.parametrize(
    "before",
    [signal.default_int_handler, signal.SIG_IGN, _own],
    ids=["in front", "in the background of a script", "in a program with a handler of its own"],
)
def test_a_stage_past_its_timeout_ends_the_run(store, tmp_path, before, request):
    request.addfinalizer(partial(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT)))
    signal.signal(signal.SIGINT, before)
    slept = []
    engine = engine_with(store, tmp_path, timeouts={"train": 0.2})
    with pytest.raises(StageTimeout), engine.begin(SAME, "me") as run:
        run.step("data", Finding, finding)
        if before is not signal.default_int_handler:
            # what the script's Ctrl-C sends to all: still ignored, or heard by the program
            os.kill(os.getpid(), signal.SIGINT)
        run.step("train", Finding, lambda: time.sleep(30) or slept.append(1) or finding())
    assert not slept
    assert engine.runs()[0].state == "failed"
    assert "CM-TIMEOUT" in engine.runs()[0].error
    assert signal.getsignal(signal.SIGINT) is before


def test_a_stage_past_its_memory_ends_the_run(store, tmp_path):
    slept = []
    engine = engine_with(store, tmp_path, memory=1)
    with (
        pytest.raises(OutOfMemory, match="the train stage used more"),
        engine.begin(SAME, "me") as run,
    ):
        run.step("data", Finding, finding)
        run.step("train", Finding, lambda: time.sleep(30) or slept.append(1) or finding())
    assert not slept
    assert engine.runs()[0].state == "failed"
    assert "CM-MEMORY" in engine.runs()[0].error


def test_cancelling_stops_a_working_process_and_the_run_is_over(engine, monkeypatch):
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(leases, "TICK_SECONDS", 0.05)
    with pytest.raises(RunCancelled), engine.begin(SAME, "me") as run:
        run.step("data", Finding, finding)
        engine.cancel(run.id, "you")
        run.step("train", Finding, lambda: time.sleep(30) or finding())
    assert engine.runs()[0].state == "cancelled"
    assert ("run:cancel", "done") in engine.journal.entries
    with pytest.raises(ConfigError, match="over: cancelled"):
        engine.cancel(run.id, "you")
    with pytest.raises(ConfigError, match="no run called"):
        engine.cancel("nothing", "you")


def test_ctrl_c_leaves_a_run_that_goes_on_at_once(engine):
    with pytest.raises(KeyboardInterrupt), engine.begin(SAME, "me") as run:
        run.step("data", Finding, finding)
        raise KeyboardInterrupt
    assert engine.runs()[0].state == "interrupted"
    with engine.begin(SAME, "me") as again:
        assert (again.id, again.resumed) == (run.id, True)


def test_a_heartbeat_that_meets_the_end_of_its_run_is_no_loss(engine, monkeypatch):
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.0)
    monkeypatch.setattr(leases, "TICK_SECONDS", 0.001)
    for _ in range(10):
        with engine.begin(SAME, "me", "data") as run:
            complete(run)
            time.sleep(0.02)
    assert {row.state for row in engine.runs()} == {"passed"}


def test_a_run_that_finishes_no_step_leaves_nothing(engine, tmp_path):
    with pytest.raises(Error), engine.begin(SAME, "me") as run:
        run.step("data", Finding, lambda: (_ for _ in ()).throw(Error("x")))
    assert engine.runs() == []
    assert not (tmp_path / "runs").exists()


def test_a_fault_inside_the_transaction_keeps_the_step_undone(engine):
    def fail(_tx, _record):
        raise RuntimeError("disk")

    with pytest.raises(RuntimeError), engine.begin(SAME, "me") as run:
        run.step("data", Finding, finding, commit=fail)
    assert engine.runs() == []


def test_changed_evidence_of_a_finished_step_stops_the_resumption(engine):
    run = engine.begin(SAME, "me")
    run.step("data", Finding, finding)
    (run.folder / "1-data" / "data.json").write_text("{}")
    with pytest.raises(VerificationError, match="changed or removed"):
        engine.begin(SAME, "me").step("data", Finding, finding)


def test_when_nothing_changed_the_earlier_run_stands(engine):
    run = engine.begin(SAME, "me")
    complete(run)
    again = engine.begin(SAME, "me")
    assert (again.id, again.ended) == (run.id, "unchanged")
    fresh = engine.begin(SAME, "me", "data")
    assert fresh.id != run.id
    assert not fresh.kept


def test_stages_before_the_first_changed_one_are_reused_with_their_origin(engine):
    run = engine.begin(SAME, "me")
    complete(run, "kept")
    changed = engine.begin({**SAME, "assess": "new"}, "me")
    assert set(changed.kept) == {"data", "train"}
    assert changed.step("data", Finding, lambda: finding("new")).message == "kept"
    changed.step("train", Finding, finding)
    assert changed.step("assess", Finding, lambda: finding("new")).message == "new"
    assert [step.origin for step in engine.runs()[0].finished] == [run.id, run.id, None]


def test_a_later_start_does_its_stage_again_and_keeps_the_earlier_ones(engine):
    complete(engine.begin(SAME, "me"), "kept")
    again = engine.begin(SAME, "me", "train")
    assert again.step("data", Finding, lambda: finding("new")).message == "kept"
    assert again.step("train", Finding, lambda: finding("new")).message == "new"
    abandon(again)
    resumed = engine.begin(SAME, "me")
    assert (resumed.id, resumed.resumed) == (again.id, True)


def test_a_later_start_refuses_stages_that_other_inputs_decided(engine):
    complete(engine.begin(SAME, "me"))
    with pytest.raises(ConfigError, match="what decides the data stage has changed"):
        engine.begin(OTHER, "me", "train")


def test_a_later_start_without_a_finished_run_is_refused(engine):
    with pytest.raises(ConfigError, match="no finished run"):
        engine.begin(SAME, "me", "train")


def test_an_idempotency_key_means_one_run(engine):
    with engine.begin(SAME, "me", key="night-1") as run:
        with pytest.raises(BusyError):
            engine.begin(SAME, "me", key="night-1")
        complete(run)
    again = engine.begin(SAME, "me", key="night-1")
    assert (again.id, again.ended) == (run.id, "passed")
    with pytest.raises(ConfigError, match="with other inputs"):
        engine.begin(OTHER, "me", key="night-1")


def _start_many(url, path, folder, times, done):
    engine = Engine(open_store(url, path), Journal(), SystemClock(), folder)
    for _ in range(times):
        try:
            with engine.begin(SAME, "me", key="one") as run:
                if not run.ended:
                    complete(run)
                    done.put(run.id)
        except BusyError:
            pass
    engine.store.close()


def test_many_starts_from_many_processes_with_one_key_are_one_run(
    store, store_url, tmp_path, scale
):
    context = multiprocessing.get_context("spawn")
    done = context.Queue()
    workers = [
        context.Process(
            target=_start_many, args=(*store_url, tmp_path / "runs", scale(15, 1000), done)
        )
        for _ in range(8)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(600)
        assert worker.exitcode == 0
    assert done.get(timeout=5)
    assert done.empty()
    engine = Engine(store, Journal(), SystemClock(), tmp_path / "runs")
    assert [run.state for run in engine.runs()] == ["passed"]


def _sleep_in_a_step(url, path, folder, answers, number):
    engine = Engine(open_store(url, path), Journal(), SystemClock(), folder)
    inputs = dict.fromkeys(STAGES, f"inputs {number}")
    try:
        with engine.begin(inputs, "me") as run:
            run.step("data", Finding, finding)

            def work():
                (folder / f"ready-{number}").touch()
                wait_for((folder / f"go-{number}").exists)
                return finding("late")

            run.step("train", Finding, work)
        answers.put("written")
    except LeaseLost:
        answers.put("refused")
    except KeyboardInterrupt:
        answers.put("interrupted")


def test_a_worker_stopped_past_its_lease_and_continued_writes_nothing(
    store, store_url, tmp_path, scale, monkeypatch
):
    monkeypatch.setattr(leases, "PATIENCE", 3)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    folder = tmp_path / "runs"
    folder.mkdir()
    store.close()
    engine = Engine(store, Journal(), SystemClock(), folder)
    times = scale(3, 100)
    for number in range(times):
        worker = context.Process(
            target=_sleep_in_a_step, args=(*store_url, folder, answers, number)
        )
        worker.start()
        wait_for((folder / f"ready-{number}").exists)
        os.kill(worker.pid, signal.SIGSTOP)
        wait_for(lambda: engine.runs()[0].state == "stopped")
        monkeypatch.setattr(leases.time, "sleep", lambda _s, real=time.sleep: real(0.05))
        with engine.begin(dict.fromkeys(STAGES, f"inputs {number}"), "you") as run:
            monkeypatch.undo()
            monkeypatch.setattr(leases, "PATIENCE", 3)
            assert run.resumed
            run.step("train", Finding, lambda: finding("now"))
            (folder / f"go-{number}").touch()
            os.kill(worker.pid, signal.SIGCONT)
            assert answers.get(timeout=30) == "refused"
            worker.join(30)
        assert engine.record(run.id, "train", Finding).message == "now"


def test_a_dead_worker_is_noticed_at_once_on_its_own_machine(store, store_url, tmp_path):
    context = multiprocessing.get_context("fork")
    folder = tmp_path / "runs"
    folder.mkdir()
    store.close()
    engine = Engine(store, Journal(), SystemClock(), folder)
    worker = context.Process(target=_sleep_in_a_step, args=(*store_url, folder, context.Queue(), 1))
    worker.start()
    wait_for((folder / "ready-1").exists)
    worker.kill()
    worker.join()
    began = time.monotonic()
    assert engine.begin(dict.fromkeys(STAGES, "inputs 1"), "you").resumed
    assert time.monotonic() - began < leases.PATIENCE


def test_a_dead_worker_on_another_machine_is_noticed_by_its_silent_heart(engine, monkeypatch):
    run = engine.begin(SAME, "me")
    elsewhere = leases.Place(host="other", boot="b", namespace="n", pid=1, born="1")
    with engine.store.transaction() as tx:
        tx.execute(leases.RUNS.update().values(place=elsewhere.to_json().decode()))
    waited = []
    monkeypatch.setattr(leases.time, "sleep", waited.append)
    assert engine.begin(SAME, "you").id == run.id
    assert sum(waited) <= 20
    assert len(waited) == leases.PATIENCE


def test_a_living_worker_on_another_machine_keeps_its_run(engine, monkeypatch):
    run = engine.begin(SAME, "me")
    elsewhere = leases.Place(host="other", boot="b", namespace="n", pid=1, born="1")
    with engine.store.transaction() as tx:
        tx.execute(leases.RUNS.update().values(place=elsewhere.to_json().decode()))

    def beat(_seconds):
        with engine.store.transaction() as tx:
            tx.execute(
                leases.RUNS.update()
                .where(leases.RUNS.c.id == run.id)
                .values(beat=leases.RUNS.c.beat + 1)
            )

    monkeypatch.setattr(leases.time, "sleep", beat)
    with pytest.raises(BusyError, match="on other"):
        engine.begin(SAME, "you")
