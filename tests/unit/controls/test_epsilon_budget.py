"""What differential privacy pays: a ledger that nobody can overspend, and noisy statistics."""

import multiprocessing
import os
import signal
import sys
import threading
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
import sqlalchemy as sa
from tests.unit.conftest import make_log, refused

from casemate.controls.privacy import budget, statistics
from casemate.controls.privacy.budget import BudgetSpent, Ledger, Limit, Spending, total
from casemate.core.clock import SystemClock
from casemate.core.errors import ConfigError
from casemate.core.store import open_store
from casemate.ml.learn import accountant
from casemate.ml.learn.accountant import Gaussians
from casemate.stages.train.promise import spent


@pytest.fixture
def ledger(tmp_path):
    store = open_store("", tmp_path / "catalog.db", None, lambda _: "")
    store.upgrade()
    yield Ledger(store, SystemClock())
    store.close()


@pytest.mark.parametrize(
    "events",
    [
        [{"sigma": 0.0, "steps": 1}],
        [{"sigma": -1.0, "steps": 1}],
        [{"sigma": 1e-300, "steps": 1}],
        [{"sigma": 1.0, "steps": -5}],
        [{"sigma": 1.0, "steps": 10**18}],
        [{"sigma": 1.0, "steps": 5, "rate": -1.0}],
        [{"sigma": 1.0, "steps": 5, "rate": 2.0}],
        [{"sigma": 1e6, "steps": 1}] * 1000,
    ],
)
def test_noise_that_cannot_be_is_nonsense_and_nothing_to_reckon_with(events, config):
    with pytest.raises(msgspec.ValidationError):
        spent(SimpleNamespace(config=config()), {"events": events})


def spending(name, epsilon=1.0, delta=1e-5, dataset="d", purpose="care", events=()):
    return Spending(
        name,
        dataset,
        "v",
        purpose,
        epsilon,
        delta,
        list(events),
        "run",
        'User::"eva"',
        "training",
        "",
    )


LIMIT = Limit(3.0, 1e-4)


def pay(ledger, *args, limit=LIMIT, **more):
    with ledger.store.transaction() as tx:
        return ledger.spend(tx, spending(*args, **more), limit)


def test_a_budget_is_spent_to_its_end_and_no_further(ledger):
    assert [pay(ledger, str(number)) for number in range(3)] == [True, True, True]
    with pytest.raises(
        BudgetSpent, match=r"has spent epsilon 3.000 of 3 .*training wants 1"
    ) as caught:
        pay(ledger, "4")
    assert "privacy officer" in caught.value.hint
    assert len(ledger.of("d")) == 3
    assert pay(ledger, "5", purpose="research") and pay(ledger, "6", dataset="e")


def test_paying_again_for_the_same_work_costs_nothing(ledger):
    assert pay(ledger, "run/train", 2.0)
    assert not pay(ledger, "run/train", 2.0)
    assert total(ledger.of(), 1e-4) == 2.0


def test_deltas_have_a_budget_too(ledger):
    pay(ledger, "1", 0.1, 9e-5)
    with pytest.raises(BudgetSpent, match="delta"):
        pay(ledger, "2", 0.1, 2e-5)


def test_known_mechanisms_compose_to_less_than_their_sum(ledger):
    sigma = accountant.sigma_for(1.0, 1e-5, 60)
    events = [Gaussians(sigma=sigma, steps=60)]
    for number in range(4):
        pay(ledger, str(number), limit=Limit(100.0, 1e-3))
        with ledger.store.transaction() as tx:
            ledger.settle(tx, str(number), 1.0, events)
    spent = ledger.of("d")
    assert total(spent, 1e-4) < 2.5 < sum(one.epsilon for one in spent)
    assert total(spent, 1e-4) == pytest.approx(accountant.epsilon(events * 4, 1e-4))


def test_of_two_that_want_the_last_of_it_one_wins(ledger):
    won, lost, barrier = [], [], threading.Barrier(8)

    def want(number):
        barrier.wait()
        try:
            pay(ledger, f"race-{number}", 3.0)
            won.append(number)
        except BudgetSpent:
            lost.append(number)

    threads = [threading.Thread(target=want, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 7)


def _pay_and_die(path):
    store = open_store("", path, None, lambda _: "")
    ledger = Ledger(store, SystemClock())
    pay(ledger, "killed", 3.0)
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_process_paid_stays_paid(ledger, tmp_path):
    process = multiprocessing.get_context("spawn").Process(
        target=_pay_and_die, args=(tmp_path / "catalog.db",)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert [one.id for one in ledger.of()] == ["killed"]
    with pytest.raises(BudgetSpent):
        pay(ledger, "other")
    assert not pay(ledger, "killed", 3.0)


def test_a_spending_cannot_be_rewritten_to_less(ledger):
    pay(ledger, "1", 1.0)
    with ledger.store.transaction() as tx:
        ledger.settle(tx, "1", 2.0, [Gaussians(sigma=100.0, steps=1)])
    assert ledger.of()[0].events == []
    with ledger.store.reading() as tx:
        assert tx.execute(sa.text("select count(*) from spending")).scalar() == 1


# Noisy statistics


def test_noisy_statistics_are_near_the_truth_and_never_it():
    import pyarrow as pa

    values = pa.chunked_array([np.random.default_rng(0).uniform(0, 100, 20_000)])
    found = statistics.noisy(values, "age", (0.0, 100.0), 1.0)
    assert found.mean == pytest.approx(50, abs=1)
    assert all(abs(count - 2000) < 250 for count in found.counts)
    assert (
        sum(found.counts) != 20_000
        or found.counts != statistics.noisy(values, "age", (0.0, 100.0), 1.0).counts
    )
    kinds = statistics.noisy(
        pa.chunked_array([["a"] * 500 + ["b"] * 300 + ["zzz"] * 10]), "ward", ["a", "b"], 1.0
    )
    assert kinds.labels == ["a", "b", "(other)"]
    assert [
        abs(count - true) < 20 for count, true in zip(kinds.counts, (500, 300, 10), strict=True)
    ] == [True] * 3
    with pytest.raises(ConfigError, match="nothing is declared"):
        statistics.noisy(values, "age", None, 1.0)


def test_a_subject_counts_once():
    import pyarrow as pa

    owners = np.r_[np.zeros(5000), np.arange(1, 101)]
    found = statistics.noisy(
        pa.chunked_array([["a"] * 5000 + ["b"] * 100]), "ward", ["a", "b"], 5.0, owners
    )
    assert abs(found.counts[0] - 1) < 10


def test_a_payment_is_recorded_with_it_and_a_refusal_by_itself(tmp_path, log_keys):
    log = make_log(tmp_path, log_keys)
    engine, ledger = SimpleNamespace(store=log.store, journal=log), Ledger(log.store, log.clock)
    for name in ("1", "1", "2"):
        budget.spend(engine, ledger, spending(name), Limit(2.0, 1e-4))
    with refused(BudgetSpent.code, "has spent epsilon 2.000 of 2"):
        budget.spend(engine, ledger, spending("3"), Limit(2.0, 1e-4), 'Model::"m"')
    found = [(entry.action, entry.resource, entry.outcome) for entry in log.entries()]
    paid = ("budget:spent", 'Dataset::"d"', "done")
    assert found == [paid, paid, ("budget:spent", 'Model::"m"', "denied")]
    assert [one.id for one in ledger.of("d", "care")] == ["1", "2"]
    assert ledger.of("d", "research") == []


def test_nothing_was_spent_by_nobody_and_unknown_noise_is_added():
    assert total([], 1e-5) == 0.0
    assert total([spending("1", 1.0), spending("2", 0.5)], 1e-5) == 1.5
    sigma = accountant.sigma_for(1.0, 1e-5, 60)
    known = [spending(str(n), 1.0, events=[Gaussians(sigma=sigma, steps=60)]) for n in range(4)]
    both = total([*known, spending("5", 0.5)], 1e-4)
    assert both == pytest.approx(total(known, 1e-4) + 0.5)


def test_without_the_library_of_noise_no_figure_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "opendp.prelude", None)
    with refused("CM-BACKEND", "OpenDP is not installed"):
        statistics.noisy_counts([1, 2], 1.0)
