"""Feedback: taken whole or not at all, judged by its source before it teaches, and retraining that
is refused, resumed, budgeted and compared.
"""

import asyncio
import shutil
import subprocess
import time
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from bench.watch import traffic
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import command, often
from tests.unit.operations.people import BEGAN, ask, population

import casemate
from casemate.controls.audit.feedback import Said
from casemate.controls.privacy.budget import Limit, Spending
from casemate.core.errors import (
    AccessDenied,
    ConfigError,
    DataError,
    Error,
    RefusedError,
    RequestError,
)
from casemate.core.types import Schema, SealedDataset
from casemate.operations import retention
from casemate.operations.outcomes import value_of
from casemate.operations.retraining import running
from casemate.operations.watching import answers
from casemate.operations.watching.models import Watched
from casemate.serve.errands import Errands
from casemate.serve.types import FeedbackBody
from casemate.stages.data.lessons import REQUEST, from_bytes
from casemate.stages.data.teach import selection, sources
from casemate.watch.telemetry import DAY

PASSWORD = "four or five words"
OPTIONS = ["gates.roc_auc.min=0.55"]
SOURCES = """
[feedback.sources]
lab = {}
ward = {}
night = {}
idle = { trust = "none" }
"""
FLIP = {"ill": "well", "well": "ill"}


@pytest.fixture(scope="module")
def asked(home, tmp_path_factory, trained):
    """A project whose model answered 700 rows: (folder, request ids, what really was)."""
    root = tmp_path_factory.mktemp("told") / "p"
    shutil.copytree(trained, root)
    says(root, SOURCES)
    frame = population(700, 1)
    return root, ask(root, frame, 0), frame.outcome.to_list()


@pytest.fixture
def place(asked, tmp_path):
    shutil.copytree(asked[0], tmp_path / "p")
    return tmp_path / "p", asked[1], asked[2]


def opened(root, *more):
    return traffic.opened(root, BEGAN + DAY, [*OPTIONS, *more])


def says(root, text, instead=""):
    """Write into the configuration, at its end or instead of something."""
    path = root / "casemate.toml"
    before = path.read_text()
    path.write_text(before.replace(instead, text) if instead else before + text)


def retrains(root, text="", margin=0.06):
    says(root, f"\n[retrain]\nmargin = {margin}\n{text}\n")


def tell(project, ids, truth, *, night=60):
    """Three sources, the last of which turns every label; as many rows as `night` says."""
    said = dict(zip(ids, truth, strict=True))
    for name, part in (("lab", ids[:320]), ("ward", ids[320:640]), ("night", ids[640:])):
        rows = part[:night] if name == "night" else part
        turned = {one: FLIP[said[one]] if name == "night" else said[one] for one in rows}
        project.feedback.add(turned, source=name)


def write(path, *lines):
    path.write_text("\n".join(["request_id,outcome,kind,note", *lines]) + "\n")
    return path


def test_a_file_is_kept_whole_or_every_wrong_line_is_told_and_nothing_is_kept(place, tmp_path):
    root, ids, truth = place
    project = opened(root)
    before = project.log.size()
    wrong = write(
        tmp_path / "f.csv",
        f"{ids[0]},{truth[0]},,",
        "ffffffffffff-1,ill,,",
        f"{ids[1]},green,,",
        f"{ids[2]},,,",
        f"{ids[3]},ill,rumour,",
        f"{ids[4]},ill",
        f"{ids[5]},ill,complaint,late",
    )
    with pytest.raises(DataError) as caught:
        project.feedback.add(wrong, source="lab")
    said = caught.value.message
    assert [f"line {n}:" in said for n in range(2, 9)] == [False] + [True] * 6
    assert "no prediction" in said
    assert "no class" in said
    assert not [e for e in project.log.entries(before) if "feedback:added" in e.action]
    assert list(project.feedback_kept.all()) == []
    note = f"{ids[5]},,complaint,the ward never called back"
    right = write(
        tmp_path / "g.csv", *(f"{i},{t},," for i, t in zip(ids, truth, strict=True)), note
    )
    added = project.feedback.add(right, source="lab")
    assert (added.new, added.same, added.contradictions) == (701, 0, [])
    assert project.feedback.add(right, source="lab").same == 701
    other = project.feedback.add({ids[0]: FLIP[truth[0]]}, source="ward")
    assert other.contradictions == [ids[0]]
    assert [one.value for one in project.feedback.show(ids[0])] == [[truth[0]], [FLIP[truth[0]]]]
    assert "never called" not in str(list(project.log.entries()))
    assert {one.name: one.outcomes for one in project.feedback.sources()} == {
        'lab (User::"root")': 700,
        'ward (User::"root")': 1,
    }
    assert len(project.feedback.list(contradictions=True)) == 1


def test_who_may_tell_only_of_their_own_requests_hears_of_others_as_of_none(place):
    root, ids, truth = place
    project = opened(root)
    project.access.add_user("eva", [], PASSWORD)
    (root / "policies").mkdir(exist_ok=True)
    (root / "policies" / "own.cedar").write_text(
        '@id("eva-tells")\npermit (principal == User::"eva", action == Action::"model:feedback",'
        " resource);\n"
    )
    project.access.apply_policies()
    with project.database.transaction() as tx:
        secret = project.point.sessions.begin(tx, "eva", "password").access
    theirs = opened(root).acting(secret)
    with pytest.raises(DataError, match=f"no prediction '{ids[0]}'"):
        theirs.feedback.add({ids[0]: truth[0]})
    with pytest.raises(AccessDenied, match="feedback:read"):
        theirs.feedback.show(ids[0])
    with pytest.raises(ConfigError, match="has no 'nowhere'"):
        project.feedback.add({ids[0]: truth[0]}, source="nowhere")


def test_a_source_that_turns_labels_is_named_and_no_other_and_untrusted_ones_never_teach(place):
    root, ids, truth = place
    project = opened(root)
    tell(project, ids, truth)
    project.feedback.add({ids[0]: FLIP[truth[0]]}, source="idle")
    project.feedback.add({ids[1]: FLIP[truth[1]]}, source="ward", kind="correction")
    found = project.feedback.screen()
    assert [one.name for one in found.sources if one.turned] == ['night (User::"root")']
    verdicts = {one.request: one for one in found.judged}
    assert {verdicts[one].verdict for one in ids[640:]} == {"quarantine"}
    assert "different things" in verdicts[ids[0]].because[0]
    assert verdicts[ids[1]].verdict == "hold"
    assert found.verdicts["teach"] > 600
    (entry,) = [e for e in project.log.entries() if e.action == "feedback:screen"]
    assert entry.detail["named"] == ['night (User::"root")']


def test_a_source_under_a_hold_teaches_nothing_until_a_person_lifts_it(place):
    root, ids, truth = place
    project = opened(root)
    tell(project, ids, truth)
    assert project.holds.place("teaching", "ward", "its clock is wrong")
    verdicts = {one.request: one.verdict for one in project.feedback.screen().judged}
    assert "teach" not in {verdicts[one] for one in ids[320:640]}
    assert "teach" in {verdicts[one] for one in ids[:320]}
    assert {one.name: one.trust for one in project.feedback.sources()}[
        'ward (User::"root")'
    ] == "none"
    project.holds.lift("teaching", "ward", "it was mended")
    verdicts = {one.request: one.verdict for one in project.feedback.screen().judged}
    assert "teach" in {verdicts[one] for one in ids[320:640]}


def test_a_retraining_is_a_version_with_a_part_of_its_own_and_beats_or_leaves_the_incumbent(place):
    root, ids, truth = place
    assert opened(root).retrain.run().text == "nothing is due"
    retrains(root, 'labels = 100\npromote = "live"')
    project = opened(root)
    tell(project, ids, truth)
    plan = project.retrain.plan()
    assert (plan.due, plan.blocked, plan.incumbent) == (True, [], "t@1")
    done = project.retrain.run().retraining
    assert (done.state, done.model) == ("released", "t@2"), done
    record = project.engine.newest_step("data", SealedDataset)
    folder = project.state / "datasets" / record.name / record.version
    assert sorted(path.name for path in folder.glob("*.parquet")) == [
        "part-00000.parquet",
        "part-00001.parquet",
    ]
    assert record.taught.rows == done.rows
    lessons = from_bytes(done.lessons, project.objects.get(record.taught.object)).table
    taught = {one.partition("/")[0] for one in lessons[REQUEST].to_pylist()}
    assert taught <= set(ids[:640])
    assert len((root / "t.csv").read_text().splitlines()) == 1501
    assert project.retrain.plan().new < 700 - len(taught)
    assert project.examine().damage == []
    (live,) = [one for one in project.rollouts.all() if one.part == "live"]
    assert live.version == 2


def test_a_worse_model_is_refused_with_figures_and_after_two_a_person_must_say_go_on(place):
    root, ids, _ = place
    says(root, 'lab = { trust = "full" }', "lab = {}")
    retrains(root, "share = 0.9", margin=0.0)
    project = opened(root, "screen.label_noise=false")
    project.feedback.add(dict.fromkeys(ids, "ill"), source="lab")
    for _ in range(2):
        done = project.retrain.run(demand="try").retraining
        assert done.state == "refused"
        assert "accuracy differs from t@1 by -" in done.text
        assert "t@1 stays" in done.text
        assert done.lessons == "", "callers' rows are let go where no signed model has them"
    assert project.registry.get("t").reference == "t@1"
    with pytest.raises(RefusedError, match="2 were refused in a row"):
        project.retrain.run(demand="try")
    project.retrain.go_on("the source was set right")
    assert project.retrain.plan().blocked == []
    says(root, "share = 0.9\nmost_runs = 2", "share = 0.9")
    with pytest.raises(RefusedError, match="most_runs allows 2"):
        opened(root).retrain.run(demand="try")
    with pytest.raises(ConfigError, match="in casemate.toml only"):
        opened(root, "retrain.most_runs=9")


def test_a_retraining_that_was_killed_goes_on_with_the_same_rows(place):
    root, ids, truth = place
    retrains(root)
    project = opened(root)
    tell(project, ids, truth)
    words = [word for option in OPTIONS for word in ("-s", option)]
    killed = subprocess.Popen(
        command("retrain", "run", "--demand", "try", "--config", root, *words),
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    end = time.monotonic() + 120
    while not any(one.run or one.state == "running" for one in project.retrainings.all()):
        assert time.monotonic() < end
        time.sleep(0.05)
    killed.kill()
    killed.wait()
    (begun,) = project.retrainings.all()
    plan = opened(root).retrain.plan()
    assert plan.open == begun.id
    project.feedback.add({ids[700 - 1]: truth[700 - 1]}, source="ward")
    project = casemate.open(root, OPTIONS)
    done = project.retrain.run().retraining
    assert (done.id, done.lessons, done.state) == (begun.id, begun.lessons, "passed")
    assert len(project.retrainings.all()) == 1


def test_what_waits_for_somebody_else_is_released_once_they_have_said_so(place):
    root, ids, truth = place
    retrains(root, 'promote = "canary"\n[release]\napprovals = 1\nseparate = []')
    project = opened(root)
    tell(project, ids, truth)
    done = project.retrain.run(demand="try").retraining
    assert done.state == "waiting"
    assert "1" in done.text
    assert project.retrain.run().text == "nothing is due"
    project.models.approve(done.model, "looked at")
    done = opened(root).retrain.run().retraining
    assert done.state == "released"
    assert [one.part for one in project.rollouts.all()] == ["canary"]


@pytest.mark.slow
def test_honest_sources_are_not_named_whatever_the_model_is_worth():
    for seed in range(200):
        drawn = np.random.default_rng(seed)
        count = int(drawn.integers(60, 1500))
        surety = drawn.uniform(0.5, 1.0, count)
        true = surety ** drawn.uniform(1.0, 3.0)  # a model that is too sure of itself
        against = drawn.random(count) > true
        names = drawn.choice([f"s{n}" for n in range(6)], count, p=[0.5, 0.2, 0.1, 0.1, 0.05, 0.05])
        answers = drawn.integers(0, 2, count)
        seen = sources.judge(names, against, 1 - surety, sources.strata(answers, surety))
        assert not [one for one in seen if one.turned], seed


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=60),
    st.dictionaries(st.integers(0, 8), st.integers(1, 99)),
)
@settings(max_examples=often(100), deadline=None)
def test_weights_have_a_mean_of_one_and_stand_for_the_answers(known, answered):
    from collections import Counter

    found, _ = selection.weights(np.array(known), Counter(answered))
    assert found.mean() == pytest.approx(1.0)
    assert (found > 0).all()
    assert len({(k, round(w, 9)) for k, w in zip(known, found, strict=True)}) == len(set(known))


def test_answers_of_a_kind_of_which_nothing_is_known_are_told():
    from collections import Counter

    known = np.array([0] * 50 + [1] * 10)
    weights, findings = selection.weights(known, Counter({0: 50, 1: 100, 2: 100}))
    assert weights[-1] / weights[0] == pytest.approx(10.0)
    assert "100 of 250" in findings[0].message


def test_the_gate_of_a_retraining_is_never_looser_than_the_projects(config):
    own = config('gates.accuracy={min=0.5,no_worse_than="previous",margin=0.001}')
    gate = running.compared(own).gates["accuracy"]
    assert (gate.min, gate.no_worse_than, gate.margin) == (0.5, "previous", 0.001)
    gate = running.compared(config()).gates["accuracy"]
    assert (gate.min, gate.no_worse_than, gate.margin) == (0.5, "previous", 0.02)


def test_a_retraining_is_due_by_what_the_watcher_saw(place):
    root, _, _ = place
    retrains(root, 'figure = "roc_auc"\nbelow = 0.99\ndays = 300')
    project = opened(root)
    assert project.retrain.plan().because == []
    traffic.opened(root, BEGAN + 1.1 * DAY).watch.once()
    (reason,) = project.retrain.plan().because
    assert reason.startswith("roc_auc as estimated is 0.")
    later = traffic.opened(root, BEGAN + 400 * DAY)
    assert "days ago, [retrain] days is 300" in later.retrain.plan().because[-1]


def over_http(project, body):
    """What the gateway answers to feedback of the caller who asked: (status, text)."""

    async def receive():
        return {"type": "http.request", "body": msgspec.json.encode(body), "more_body": False}

    caller = SimpleNamespace(principal=SimpleNamespace(uid='Service::"app"'))
    errands = Errands(project.decisions, None, project, 1_000_000)
    try:
        reply = asyncio.run(errands.feedback({"headers": []}, receive, caller, "t"))
    except RequestError as error:
        return 400, error.message
    return reply.status, reply.body.decode()


def test_what_the_model_could_not_have_said_is_refused_over_http(place):
    root, ids, _ = place
    project = opened(root)
    for outcome in ("banana", 0, 1.5, ["banana"], [["ill", "well"]]):
        status, text = over_http(project, {"id": ids[0], "outcome": outcome})
        assert (status, text) == (400, "the outcome is no class of the model"), outcome
    assert list(project.feedback_kept.all()) == []
    assert over_http(project, {"id": ids[0], "outcome": "ill"})[0] == 200
    assert [one.value for one in project.feedback_kept.all()] == [["ill"]]


def test_numbers_from_json_are_the_classes_that_they_name():
    schema = Schema(target="y", classes=["0", "1"], columns=[])
    body = msgspec.json.decode(b'{"id": "a", "outcome": [0, 1, "1"]}', type=FeedbackBody)
    assert [value_of(one, schema) for one in body.outcome] == ["0", "1", "1"]
    assert value_of(0.0, schema) == "0"  # as an earlier version decoded it
    for wrong in (2, -1, 0.5, float("inf"), [0], None):
        with pytest.raises(ValueError, match="outcome is"):
            value_of(wrong, schema)
    quantity = Schema(target="y", classes=[], columns=[])
    for wrong in ("n/a", [1.0, 2.0], [], float("nan"), 10**400, {}):
        with pytest.raises(ValueError, match="outcome is"):
            value_of(wrong, quantity)


def test_labels_are_told_by_name_or_as_the_gateway_answers_them():
    labels = [["0", "1"], ["no", "yes"]]
    schema = Schema(target="fire", classes=[], columns=[], further=["flood"], labels=labels)
    assert value_of(["flood", "fire"], schema) == ["fire", "flood"]
    assert value_of(["0", "yes"], schema) == value_of([0, "yes"], schema) == ["flood"]
    assert value_of([], schema) == value_of(["0", "no"], schema) == []
    for wrong in (["0"], ["yes", "1"], "storm", [["fire"]]):
        with pytest.raises(ValueError, match="no label"):
            value_of(wrong, schema)


def test_an_outcome_that_no_model_could_have_said_teaches_nothing_and_stops_nobody(place):
    root, ids, truth = place
    project = opened(root)
    project.feedback.add(dict(zip(ids[:50], truth[:50], strict=True)), source="lab")
    for request, value in ((ids[60], ["banana"]), (ids[61], [0.0]), (ids[62], [["ill"]])):
        found = project.decisions.find(request)[0]  # told before the gateway asked for the class
        project.feedback_kept.tell("p", Said(request, "outcome", value), found)
    screened = project.feedback.screen()
    said = {one.request: one for one in screened.judged}
    for request in ids[60:63]:
        assert said[request].because == ["its outcome is none of the model's"]
    assert not {one.name for one in screened.sources} & {"p"}
    assert len(said) == 53


def test_the_watcher_counts_outcomes_that_are_whole_numbers():
    schema = Schema(target="y", classes=["0", "1"], columns=[])
    sums = answers._Sums(Watched("t@1", schema, None, None, {}))
    said = answers.Answer(
        "a", 0.0, "p", "t@1", "live", 4,
        np.array([0, 1, 1, 0], "<u2").tobytes(),
        np.array([[0.9, 0.1], [0.2, 0.8], [0.2, 0.8], [0.9, 0.1]], "<f4").tobytes(), {}, 1,
    )  # fmt: skip
    sums.learn(said, [0, 1.0, "0", "0"], 1.0)
    assert (sums.outcomes, sums.hits) == (4, 3)
    assert int(sums.positive.sum()) == 1


def test_a_source_that_repeats_itself_is_no_more_than_one_statement_a_row(place):
    root, ids, truth = place
    project = opened(root)
    project.feedback.add({ids[0]: truth[0]}, source="lab")
    project.feedback.add({ids[0]: truth[0]}, source="lab", kind="correction")
    project.feedback.add({ids[0]: FLIP[truth[0]]}, source="lab")
    project.feedback.add({ids[0]: truth[0]}, source="ward")
    seen = {one.name.split()[0]: one.rows for one in project.feedback.screen().sources}
    assert seen == {"lab": 1, "ward": 1}


@pytest.mark.long
def test_what_waits_is_not_released_over_what_came_after_it(place):
    root, ids, truth = place
    retrains(root, 'promote = "canary"\n[release]\napprovals = 1\nseparate = []')
    project = opened(root)
    tell(project, ids, truth)
    done = project.retrain.run(demand="try").retraining
    assert done.state == "waiting"
    project.models.approve(done.model, "looked at")
    project.models.promote(done.model, "canary")
    project.models.rollback("t")
    taken = project.retrain.run().retraining
    assert taken.state == "passed"
    assert "t@2 was promoted before and is not served any more" in taken.text
    with project.database.transaction() as tx:
        waits = project.retrainings.end(tx, taken, "waiting")
        now = project.clock.now()
        project.rollouts.promote(tx, "t", 3, "live", 1.0, [], "somebody", now)
    replaced = project.retrain.run().retraining
    assert (replaced.id, replaced.state) == (waits.id, "passed")
    assert "it was compared with t@1, and t@3 is in its place now" in replaced.text
    assert [one.version for one in project.rollouts.all()] == [3]


@pytest.mark.long
def test_rows_that_a_retraining_left_out_do_not_make_the_next_one_due(place):
    root, ids, truth = place
    retrains(root, "labels = 100\nshare = 0.05", margin=0.5)
    project = opened(root)
    said = dict(zip(ids, truth, strict=True))
    for name, part in (("lab", ids[:320]), ("ward", ids[320:640])):
        project.feedback.add({one: said[one] for one in part}, source=name)
    done = project.retrain.run().retraining
    assert done.state == "passed"
    assert done.rows < 100
    plan = project.retrain.plan()
    assert plan.teach > 500
    assert (plan.new, plan.due) == (0, False)
    later = traffic.opened(root, BEGAN + 1.5 * DAY, OPTIONS)
    later.feedback.add({one: said[one] for one in ids[640:]}, source="night")
    assert later.retrain.plan().new == 60


@pytest.mark.long
def test_a_retraining_that_fails_has_spent_what_it_spent_and_keeps_no_rows(place):
    root, ids, truth = place
    retrains(root, "hours = 0.000001")
    (root / "train.py").write_text("def build(*args, **kwargs):\n    raise ValueError('no')\n")
    project = opened(root)
    tell(project, ids, truth)
    with pytest.raises(Error, match="no"):
        project.retrain.run(demand="try")
    (failed,) = project.retrain.list()
    assert (failed.state, failed.lessons, failed.epsilon) == ("failed", "", 0.0)
    (run, *_) = project.runs.list()
    assert failed.run == run.id
    assert failed.seconds >= sum(run.steps.values()) > 0
    (began,) = [one for one in project.log.entries() if one.action == "retrain:began"]
    with project.database.reading() as tx:
        text = "\n".join(retention._texts(tx, {run.id}))
    assert run.id not in text, "the run may go when its time is over"
    assert began.detail["lessons"] not in text
    with project.database.transaction() as tx:
        paid = Spending(
            f"{run.id}/train", "t", "1", "", 0.5, 1e-6, [], run.id, "root", "private training", ""
        )
        project.ledger.spend(tx, paid, Limit(9.0, 1e-3))
    assert running.spent(project, failed.id, 0.0)["epsilon"] == 0.5
    with pytest.raises(RefusedError, match="hours allows"):
        project.retrain.run(demand="try")


def test_weights_stand_for_all_answers_by_the_rows_that_teach_alone(place):
    root, ids, truth = place
    project = opened(root)
    said = dict(zip(ids, truth, strict=True))
    project.feedback.add({one: said[one] for one in ids if said[one] == "ill"}, source="idle")
    for name, part in (("lab", ids[:100]), ("ward", ids[100:200])):
        told = {one: said[one] for one in part if said[one] == "well"}
        project.feedback.add(told | {part[-1]: said[part[-1]]}, source=name)
    found = project.feedback.screen()
    teach = [one.weight for one in found.judged if one.verdict == "teach"]
    assert len(teach) > 30
    assert np.mean(teach) == pytest.approx(project.config.retrain.weight)
    assert {one.weight for one in found.judged if one.verdict != "teach"} == {0.0}
