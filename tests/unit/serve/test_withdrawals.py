"""What withdraws a model is told once for each kind, holds or not; callers go to what answers."""

import asyncio
from types import SimpleNamespace

import pytest

from casemate.config import ServeTable
from casemate.core.errors import ConfigError
from casemate.core.types import ColumnSchema, Schema
from casemate.respond.holds import Hold
from casemate.serve import model_set
from casemate.serve.endpoint import Endpoint
from casemate.serve.health import Health
from casemate.serve.heartbeat import Heartbeat, Notice
from casemate.serve.metrics import Metrics
from casemate.serve.model_set import ModelSet
from casemate.serve.refusals import Withdrawn, require_fit
from casemate.serve.versions import Version

SCHEMA = Schema(target="y", classes=["no", "yes"], columns=[ColumnSchema(name="a", type="number")])
LISTENER = SimpleNamespace(answered=None, failed=None)
HOLD = Hold(what="answers", of="m@1", since="s", principal="p", reason="kept back")


def endpoint(version=1):
    card = SimpleNamespace(name="m", model_version=version, inputs=SCHEMA, reading=None, waived={})
    return Endpoint(card, None, "f", "d", None, ServeTable())


class Away:
    """Holds that cannot be read at first."""

    def __init__(self):
        self.turns, self.away = 0, False

    def all(self):
        self.turns += 1
        if self.away:
            raise OSError("away")
        return [HOLD]


@pytest.fixture
def told():
    return []


@pytest.fixture
def served(told):
    """A set with a live version and a canary."""
    project = SimpleNamespace(
        config=SimpleNamespace(
            serve=ServeTable(),
            project=SimpleNamespace(name="m"),
            data=SimpleNamespace(subject=None),
        ),
        holds_kept=Away(),
    )
    metrics = Metrics()
    board = SimpleNamespace(heard=lambda: (1, Notice(stuck={"m@1": 3}, withdrawn=["m@1"])))
    made = ModelSet(project, metrics, None, lambda *one: told.append(one), Health(metrics), board)
    for part, number in (("live", 1), ("canary", 2)):
        version = Version(endpoint(number), part, 1.0, LISTENER, Heartbeat.alone())
        setattr(made.served["m"], part, version)
    return made


@pytest.mark.parametrize("version", ["x", "²", "1.0", "-1"])
def test_a_version_that_is_no_number_is_a_mistake_in_the_configuration(served, version):
    served.project.config.serve = ServeTable(models={"one": f"m@{version}"})
    metrics = Metrics()
    with pytest.raises(ConfigError, match="is no NAME or NAME@VERSION"):
        ModelSet(served.project, metrics, None, None, Health(metrics))


def text_of(one):
    with pytest.raises(Withdrawn) as refused:
        require_fit(one)
    return refused.value.message


def test_a_hold_hides_no_signature_that_turned_bad(served, told):
    live = served.served["m"].live
    live.endpoint.hold([HOLD])
    assert "lifts the hold" in text_of(live.endpoint)
    for _ in range(2):
        served._judged({live: "it does not verify"})
    assert "does not verify" in text_of(live.endpoint)
    live.endpoint.hold([])
    served._judged({live: "it does not verify"})
    asyncio.run(served._tell())
    assert told == [("m@1", "model:withdrawn", "it does not verify")]


def test_a_hold_hides_no_model_that_stands_still_and_each_kind_is_told(served, told):
    live = served.served["m"].live
    live.endpoint.hold([HOLD])
    served._judged({live: "it does not verify"})
    stuck = served.listen()
    assert stuck == [live]
    asyncio.run(served._withdrawn(stuck))
    asyncio.run(served._tell())
    assert [text for _, _, text in told] == ["it does not verify", "it stood still 3 times"]
    assert served.listen() == []


def test_callers_of_a_canary_that_is_withdrawn_have_the_live_version(served):
    one = served.served["m"]
    one.share, one.principals = 1.0, frozenset({"eva"})
    assert [one.choose(uid) for uid in ("eva", "ann")] == [one.canary] * 2
    one.canary.endpoint.judge("held", "kept back")
    assert [one.choose(uid) for uid in ("eva", "ann")] == [one.live] * 2
    one.canary.endpoint.judge("held", "")
    assert [one.choose(uid) for uid in ("eva", "ann")] == [one.canary] * 2


@pytest.mark.parametrize("away", [False, True])
def test_holds_and_releases_are_followed_each_without_the_other(served, monkeypatch, away):
    monkeypatch.setattr(model_set, "LOOK_SECONDS", 0)
    served.project.holds_kept.away = away
    turns = []

    async def watched():
        enough = asyncio.Event()

        async def failing(_):
            turns.append(1)
            if len(turns) == 3:
                enough.set()
            raise OSError("away")

        served._withdrawn = failing
        watching = asyncio.create_task(served.watch())
        await enough.wait()
        watching.cancel()

    asyncio.run(asyncio.wait_for(watched(), 20))
    assert served.project.holds_kept.turns >= 3
    assert served._metrics.gauges["casemate_fault", "releases"] == 1
    assert served._metrics.gauges.get(("casemate_fault", "holds"), 0) == away
    # there is no catalogue in which it could be seen who is restricted
    assert served._metrics.gauges["casemate_fault", "restrictions"] == 1
    assert (served.served["m"].live.endpoint.withdrawn == "kept back") is not away
