"""A job asks, and the site's own policy says what it may: nothing in a job makes it more."""

import datetime

import msgspec
import numpy as np
import pytest
from tests.unit.operations import wards

from casemate.config import FederateTable, PrivacyTable
from casemate.controls.federation import cards
from casemate.core.errors import Error
from casemate.core.types import ColumnSchema, Schema
from casemate.ml.federated.bins import Bins
from casemate.ml.federated.encoding import Limits, Scale
from casemate.ml.federated.local import LocalPlan, noisy_sums
from casemate.ml.federated.trees import ABSENT, LEAF, Forest, Growth
from casemate.ml.federated.trees import OPEN as ASKED
from casemate.ml.federated.updates import Layout
from casemate.ml.learn.accountant import Gaussians, replacing, sigma_for
from casemate.operations.federated import judging, questions
from casemate.operations.federated.judging import CodeNotApproved, SitePolicy, judged
from casemate.stages.train.training_code import digest_of

LEADER = wards.Coordinator()
CHARTER = cards.Charter(
    name="wards",
    purpose="research",
    url="https://127.0.0.1:8460",
    coordinator=LEADER.card,
    sites=[wards.Coordinator(f"ward-{place}").card for place in range(3)],
    columns=wards.COLUMNS,
    least=3,
)
QUANTITY = msgspec.structs.replace(
    CHARTER,
    columns=Schema(
        target="y",
        classes=[],
        columns=[*wards.COLUMNS.columns[:3], ColumnSchema(name="y", type="number")],
    ),
)
OPEN = FederateTable(
    coordinators=[LEADER.card.fingerprint],
    code=[digest_of(wards.CODE)],
    models=[
        "LogisticRegression",
        "Ridge",
        "LinearRegression",
        "NetworkClassifier",
        "HistGradientBoostingClassifier",
        "HistGradientBoostingRegressor",
    ],
    masked=False,
)
NETWORK = {
    "estimator": "NetworkClassifier",
    "layout": Layout(names=["0.weight", "0.bias"], shapes=[[2, 5], [2]]),
}
TREES = {
    "estimator": "HistGradientBoostingClassifier",
    "rule": "exact",
    "layout": Layout(names=[], shapes=[]),
    "settings": {"trees": 3, "depth": 2, "rate": 0.1, "l2": 0.0, "bins": 8, "least": 20},
}
MANY = {**TREES, "estimator": "HistGradientBoostingRegressor"}
RIDGE = {"estimator": "Ridge", "rule": "exact", "layout": Layout(names=[], shapes=[])}


def noisy(epsilon=1.0, rounds=5, told=None, **plan):
    """A job with as much noise as its epsilon takes."""
    bare = LocalPlan(**plan)
    sigma = sigma_for(epsilon, 1e-5, noisy_sums(bare, rounds))
    return {
        "epsilon": told or epsilon,
        "rounds": rounds,
        "plan": msgspec.structs.replace(bare, sigma=sigma),
    }


def sums_with_noise(epsilon=1.0, rounds=4, told=None, **plan):
    """The same where each round is one sum and nothing is counted."""
    sigma = sigma_for(epsilon, 1e-5, rounds)
    return {"epsilon": told or epsilon, "rounds": rounds, "plan": LocalPlan(sigma=sigma, **plan)}


def policy(**changes):
    return msgspec.structs.replace(OPEN, **changes)


def taken(agreed=CHARTER, table=OPEN, **changes):
    job = msgspec.structs.replace(wards.job_of(agreed), **changes)
    if "code" in changes and "code_digest" not in changes:
        job = msgspec.structs.replace(job, code_digest=digest_of(job.code))
    return judged(job, agreed, table, PrivacyTable())


@pytest.mark.parametrize(
    ("table", "changes", "said"),
    [
        (OPEN, {"charter": "0" * 64}, "another charter"),
        (OPEN, {"version": 2}, "version 2"),
        (OPEN, {"id": "../../etc"}, "no id"),
        (OPEN, {"limits": Limits(numbers={"a": (-9.0, 9.0)}, categories={})}, "other columns"),
        (OPEN, {"rule": "fedmagic"}, "nobody knows"),
        (OPEN, {"combine": "whatever"}, "nobody knows"),
        (OPEN, {"groups": 0}, "nobody knows"),
        (OPEN, {"estimator": "RandomForestClassifier"}, "trains a RandomForestClassifier"),
        (policy(models=["Ridge"]), {}, "and this site trains Ridge"),
        (OPEN, RIDGE, "a quantity is learnt by one sum"),
        (OPEN, {**NETWORK, "rule": "exact"}, "no sums that say all"),
        (FederateTable(code=OPEN.code, masked=False), TREES, "and this site trains LogisticReg"),
        (OPEN, {**TREES, "rule": "fedavg"}, "grown by sums"),
        (OPEN, {**TREES, "layout": Layout(names=["w"], shapes=[[1]])}, "grown by sums"),
        (OPEN, MANY, "grown by sums"),
        (OPEN, {**TREES, "settings": {"C": 1.0}}, "trees are none"),
        (OPEN, {**TREES, "settings": TREES["settings"] | {"depth": 40}}, "depth of boosted"),
        (OPEN, {**TREES, "settings": TREES["settings"] | {"rate": float("nan")}}, "rate of boos"),
        (OPEN, {**TREES, "settings": TREES["settings"] | {"least": 9}}, "fewer than 10"),
        (OPEN, {**TREES, **noisy(epochs=2)}, "each tree is one sum"),
        (OPEN, {**TREES, **sums_with_noise(8.0, 4, 1.0)}, "says that it costs epsilon 1, and its"),
        (policy(epsilon_round=0.1), {**TREES, **sums_with_noise()}, "a round of the job costs"),
        (OPEN, {"layout": Layout(names=["coef"], shapes=[[9, 1]])}, "other weights"),
        (OPEN, {"settings": {"C": float("nan")}}, "a C of nan"),
        (OPEN, {"settings": {"C": 0.0}}, "a C of 0"),
        (OPEN, {"rounds": 1_001}, "rounds is 1001"),
        (OPEN, {"plan": LocalPlan(epochs=10**9)}, "epochs is 1e"),
        (OPEN, {"plan": LocalPlan(rate=float("nan"))}, "rate is nan"),
        (OPEN, {"plan": LocalPlan(sigma=-1.0)}, "sigma is -1"),
        (OPEN, {"plan": LocalPlan(calibrated=float("nan"))}, "calibrated is nan"),
        (OPEN, {"plan": LocalPlan(controlled=True)}, "not that of its rule"),
        (OPEN, {"rule": "scaffold"}, "not that of its rule"),
        (
            OPEN,
            {"rule": "scaffold", "plan": LocalPlan(controlled=True), "masked": True},
            "which no mask covers",
        ),
        (policy(masked=True), {}, "without masks"),
        (policy(noise=True), {}, "without noise"),
        (OPEN, {**noisy(), "rule": "exact"}, "what no noise covers"),
        (OPEN, noisy(calibrated=1.0), "shares of classes that it cannot cover"),
        (OPEN, {"plan": LocalPlan(unit="site")}, "has no noise"),
        (policy(noise_unit="site"), noisy(), "wants it to cover all its rows"),
        (OPEN, {**TREES, **sums_with_noise(unit="site")}, "trees are sums over subjects"),
        (OPEN, {**noisy(unit="site"), "rule": "exact"}, "what no noise covers"),
        (OPEN, noisy(8.0, told=1.0, unit="site"), "costs epsilon 1, and its noise costs 7"),
        (policy(epsilon_round=0.1), noisy(unit="site"), "a round of the job costs epsilon"),
        (OPEN, {**noisy(), "delta": 1e-3}, "delta is at most"),
        (OPEN, noisy(epsilon=8.0, told=1.0), "says that it costs epsilon 1, and its noise costs"),
        (OPEN, {"plan": LocalPlan(sigma=2.0)}, "says that it costs epsilon 0"),
        (policy(epsilon_round=0.1), noisy(), "a round of the job costs epsilon"),
        (OPEN, {"code": {}, "code_digest": digest_of({})}, "entry is not among its code"),
        (OPEN, {"code_digest": "0" * 64}, "not what the job says"),
        (policy(code=[]), {}, "may not run here"),
    ],
)  # fmt: skip
def test_a_job_that_asks_for_what_the_site_does_not_give_is_refused(table, changes, said):
    with pytest.raises(SitePolicy, match=said):
        taken(table=table, **changes)


def test_noise_over_the_whole_site_costs_one_sum_a_round_and_nothing_is_counted():
    wanted = noisy(unit="site", rounds=4, epochs=9, calibrated=1.0)
    found = taken(table=policy(noise=True, noise_unit="site"), **wanted)
    assert not found.counts
    assert found.events(counts=found.counts) == [Gaussians(sigma=found.cost.sigma, steps=1)]
    spent = [Gaussians(sigma=found.job.plan.spread, steps=4)]
    assert replacing(spent, found.job.delta) <= 1.0


def test_noise_over_the_whole_site_is_enough_for_one_that_asks_for_less():
    assert taken(table=policy(noise=True), **noisy(unit="site")).cost is not None


def test_noise_on_a_network_is_taken_and_costs_what_it_costs_on_a_linear_model():
    network, linear = taken(**noisy(), **NETWORK), taken(**noisy())
    assert network.network
    assert network.events(counts=True) == linear.events(counts=True)
    assert network.epsilon(counts=True) == linear.epsilon(counts=True) > 0
    assert network.sizes == {"train": 12}
    with pytest.raises(SitePolicy, match="a round of the job costs epsilon"):
        taken(table=policy(epsilon_round=0.1), **noisy(), **NETWORK)


@pytest.mark.parametrize(
    "name",
    ["/etc/cron.d/x", "../train.py", "a/../../b.py", "a//b.py", "./a.py", "", "a\\b", "a\n.py"],
)
def test_no_file_of_a_job_lies_outside_of_a_project(name):
    code = {**wards.CODE, name: b""}
    with pytest.raises(SitePolicy, match="which lies in no project"):
        taken(table=policy(code=[digest_of(code)]), code=code)


def test_code_that_nobody_looked_at_is_named_by_the_digest_to_approve():
    code = {**wards.CODE, "evil.py": b"import os"}
    with pytest.raises(CodeNotApproved, match=digest_of(code)):
        taken(code=code)


def test_code_with_the_digest_of_other_code_is_not_taken_for_it():
    code = {**wards.CODE, "evil.py": b"import os"}
    with pytest.raises(SitePolicy, match="not what the job says"):
        taken(code=code, code_digest=digest_of(wards.CODE))


@pytest.mark.parametrize(
    ("charter", "changes", "asks"),
    [
        (CHARTER, {}, {"moments": 6, "train": 6}),
        (CHARTER, {"rule": "exact"}, {"moments": 6, "sums": 29}),
        (CHARTER, NETWORK, {"train": 12}),
        (QUANTITY, RIDGE, {"moments": 6, "gram": 42}),
        (CHARTER, noisy(), {"train": 6}),
        (CHARTER, {**TREES, **sums_with_noise()}, {"leaves": 0}),
        (CHARTER, TREES, {"counts": 1 + 2 + 2 * 4097, "splits": 0}),
        (QUANTITY, MANY, {"counts": 1 + 2 + 2 * 4097, "splits": 0}),
    ],
)
def test_a_job_may_ask_what_its_model_needs_and_nothing_else(charter, changes, asks):
    found = taken(charter, **changes)
    assert found.sizes == asks
    for what in ("moments", "train", "sums", "gram", "counts"):
        question = wards.question_of(found.job, what=what, size=asks.get(what, 6))
        question = msgspec.structs.replace(
            question, weights=b"" if what in ("moments", "gram", "counts") else question.weights
        )
        if what in asks:
            assert questions.require_question(question, found) == asks[what]
        else:
            with pytest.raises(SitePolicy, match=f"asks for {what}"):
                questions.require_question(question, found)


@pytest.mark.parametrize(
    "changes",
    [
        {"job": "f" * 32},
        {"round": 0},
        {"round": 7},
        {"size": 7},
        {"most": 0.0},
        {"most": float("inf")},
        {"full": -1.0},
        {"weights": b""},
        {"weights": bytes(47)},
        {"what": "counts", "weights": b""},
        {"what": "splits"},
        {"cuts": [[3], []]},
        {"weights": np.full(6, np.nan).tobytes()},
        {"control": bytes(48)},
        {"scale": Scale(means=[0.0], deviations=[1.0])},
        {"scale": Scale(means=[0.0, 0.0], deviations=[0.0, 1.0])},
        {"scale": Scale(means=[0.0, float("nan")], deviations=[1.0, 1.0])},
    ],
)
def test_a_question_whose_numbers_do_not_fit_its_job_is_refused(changes):
    found = taken()
    questions.require_question(wards.question_of(found.job), found)
    with pytest.raises(SitePolicy):
        questions.require_question(
            msgspec.structs.replace(wards.question_of(found.job), **changes), found
        )


def about_trees(job, cuts=((100, 200), (7,)), **nodes):
    """A question about the root of the first tree, unless its nodes are changed."""
    growth = Growth.of(job.settings)
    bins = Bins(limits=job.limits, cuts=[*map(list, cuts)])
    stage = np.zeros((1, growth.slots, 4))
    stage[..., 0], stage[:, 0, 0] = ABSENT, ASKED
    for at, kind in nodes.items():
        stage[0, int(at[1:]), 0] = kind
    forest = Forest(growth, bins, 0.0, 1.0, np.zeros(1), [stage])
    return wards.question_of(
        job, 2, what="splits", size=forest.asked, weights=forest.flat().tobytes(), cuts=bins.cuts
    )


def about_leaves(job, cuts=((100, 200), (7,)), **nodes):
    """A question about the leaves of a tree of one split, unless its nodes are changed."""
    found = about_trees(job, cuts, **{"n0": 0.0, "n1": LEAF, "n2": LEAF, **nodes})
    return msgspec.structs.replace(found, what="leaves", size=4)


def test_of_trees_with_noise_two_numbers_a_leaf_are_given_and_nothing_is_counted():
    found = taken(**TREES, **sums_with_noise(rounds=4))
    assert questions.require_question(about_leaves(found.job), found) == 4
    alone = msgspec.structs.replace(about_leaves(found.job, n0=LEAF, n1=ABSENT, n2=ABSENT), size=2)
    assert questions.require_question(alone, found) == 2
    assert found.numbers == 4
    assert not found.counts
    assert [one.steps for one in found.events(counts=found.counts)] == [1]
    assert found.boosted.apart == 0
    assert taken(**noisy()).counts
    with pytest.raises(SitePolicy, match="asks for splits"):
        questions.require_question(about_trees(found.job), found)
    with pytest.raises(SitePolicy, match="asks for leaves"):
        questions.require_question(about_leaves(found.job), taken(**TREES))


def test_of_trees_with_noise_no_range_is_so_small_that_fitting_it_would_tell_of_one_site():
    found = taken(**TREES, **sums_with_noise(), masked=True)
    question = msgspec.structs.replace(about_leaves(found.job), most=2.0**30)
    questions.require_question(question, found)
    with pytest.raises(SitePolicy, match="do not fit"):
        questions.require_question(msgspec.structs.replace(question, most=2.0**30 - 1), found)


@pytest.mark.parametrize(
    ("changes", "nodes", "said"),
    [
        ({"size": 3}, {}, "do not fit"),
        ({"weights": b""}, {}, "another size"),
        ({"weights": np.array([0.0, 1.0, 0.0]).tobytes()}, {}, "no leaves"),
        ({"weights": bytes(13)}, {}, "whole number"),
        ({"cuts": [[*range(8)], []]}, {}, "bins that are none"),
        ({}, {"n1": ASKED}, "no leaves"),
        ({}, {"n0": 7.0}, "nodes that none have"),
        ({"round": 5}, {}, "one of the job's 4"),
        ({"full": 100.0}, {}, "covered by noise"),
    ],
)
def test_a_question_about_leaves_that_there_are_not_is_refused(changes, nodes, said):
    found = taken(**TREES, **sums_with_noise(rounds=4))
    question = msgspec.structs.replace(about_leaves(found.job, **nodes), **changes)
    with pytest.raises(SitePolicy, match=said):
        questions.require_question(question, found)


def test_each_tree_is_reckoned_with_and_none_costs_more_than_a_site_gives_for_one():
    one = {**TREES, **sums_with_noise(rounds=1)}
    assert taken(**one)
    with pytest.raises(SitePolicy, match="epsilon 1, and its noise costs 2"):
        taken(**{**one, "rounds": 4})
    found = taken(**TREES, **sums_with_noise(rounds=4))
    each, two = found.epsilon(counts=False), found.epsilon(counts=True)
    assert two > each * 1.2
    assert taken(table=policy(epsilon_round=each * 1.1), **TREES, **sums_with_noise(rounds=4))
    with pytest.raises(SitePolicy, match="a round of the job costs epsilon"):
        taken(table=policy(epsilon_round=each * 0.9), **TREES, **sums_with_noise(rounds=4))


def test_the_dearest_round_of_a_job_counts_the_rows_too_and_is_held_against_what_one_may_cost():
    found = taken(**noisy())
    each, dearest = found.epsilon(counts=False), found.epsilon(counts=True)
    assert dearest > each * 1.05
    assert taken(table=policy(epsilon_round=dearest * 1.01), **noisy())
    with pytest.raises(SitePolicy, match="a round of the job costs epsilon"):
        taken(table=policy(epsilon_round=(each + dearest) / 2), **noisy())


def test_noise_covers_no_quantity_whose_size_nobody_declared():
    with pytest.raises(SitePolicy, match="what no noise covers"):
        taken(QUANTITY, **MANY, **sums_with_noise())


@pytest.mark.parametrize(
    ("changes", "what", "most"),
    [({}, "train", 2.0**14), ({"rule": "exact"}, "sums", 2.0**30)],
)
def test_under_masks_no_range_is_so_small_that_fitting_it_would_tell_of_one_site(
    changes, what, most
):
    found = taken(**changes, masked=True)
    size = found.sizes[what] + (what == "train")
    question = wards.question_of(found.job, what=what, size=size, most=most, full=0.0)
    questions.require_question(question, found)
    with pytest.raises(SitePolicy, match="do not fit"):
        questions.require_question(msgspec.structs.replace(question, most=most - 1), found)


def test_under_masks_sums_of_trees_have_room_for_all_rows_of_a_site():
    found = taken(**TREES, masked=True)
    question = msgspec.structs.replace(about_trees(found.job), most=101.0)
    questions.require_question(question, found)
    assert questions.least_range(question, found, 100) == 101.0
    assert questions.least_range(question, taken(**TREES), 100) == 0.0


def test_a_question_about_trees_is_as_large_as_the_nodes_that_it_asks_about():
    found = taken(**TREES)
    question = about_trees(found.job)
    # two numbers of three and two bins, a category of three values, and a bin each for the rest
    assert questions.require_question(question, found) == 3 * (4 + 3 + 4)
    two = about_trees(found.job, n0=0.0, n1=ASKED, n2=ASKED)
    assert questions.require_question(two, found) == 2 * 3 * (4 + 3 + 4)
    masked = taken(**TREES, masked=True)
    assert masked.boosted.apart == 0
    assert found.boosted.apart == PrivacyTable().min_group


@pytest.mark.parametrize(
    ("changes", "nodes", "said"),
    [
        ({"size": 3}, {}, "do not fit"),
        ({"weights": b""}, {}, "another size"),
        ({"weights": bytes(8 * 33)}, {}, "another size"),
        ({"weights": bytes(13)}, {}, "whole number"),
        ({"scale": Scale(means=[0.0], deviations=[1.0])}, {}, "do not fit"),
        ({"control": bytes(8)}, {}, "do not fit"),
        ({"cuts": [[5, 5], []]}, {}, "bins that are none"),
        ({"cuts": [[5]]}, {}, "bins that are none"),
        ({"cuts": [[*range(8)], []]}, {}, "bins that are none"),  # the job has 8 at most
        ({}, {"n0": -1.0}, "no node"),
        ({}, {"n0": 0.0}, "nodes that none have"),
        ({}, {"n0": 7.0, "n1": -1.0, "n2": -1.0}, "nodes that none have"),
        ({"round": 7}, {}, "one of the job's 6"),
    ],
)
def test_a_question_about_trees_that_cannot_be_grown_is_refused(changes, nodes, said):
    found = taken(**TREES)
    question = msgspec.structs.replace(about_trees(found.job, **nodes), **changes)
    with pytest.raises(SitePolicy, match=said):
        questions.require_question(question, found)


def test_rounds_with_noise_are_no_more_than_were_reckoned_with():
    found = taken(**noisy(rounds=5))
    questions.require_question(wards.question_of(found.job, 5), found)
    with pytest.raises(SitePolicy, match="one of the job's 5"):
        questions.require_question(wards.question_of(found.job, 6), found)


def test_what_a_row_count_would_weigh_is_not_asked_where_noise_covers_it():
    found = taken(**noisy(), masked=True)
    with pytest.raises(SitePolicy, match="covered by noise"):
        questions.require_question(wards.question_of(found.job, full=100.0), found)


def test_what_all_rounds_cost_is_what_the_job_says():
    found = taken(**noisy(epsilon=1.0, rounds=5))
    assert found.epsilon(counts=True) > found.epsilon(counts=False) > 0
    assert found.delta == pytest.approx(1e-5 / 5)
    assert [one.steps for one in found.events(counts=True)] == [2]


def at(text):
    return datetime.datetime.fromisoformat(f"2026-11-30T{text}+00:00")


@pytest.mark.parametrize(("moment", "open_"), [("21:59", False), ("22:00", True), ("05:59", True)])
def test_a_site_answers_within_its_hours_alone(moment, open_):
    table = policy(hours="22:00-06:00")
    if open_:
        judging.require_moment(table, at(moment), 0)
    else:
        with pytest.raises(SitePolicy, match="22:00-06:00"):
            judging.require_moment(table, at(moment), 0)


def test_a_site_answers_so_many_rounds_a_day():
    table = policy(rounds_a_day=3)
    judging.require_moment(table, at("12:00"), 2)
    with pytest.raises(SitePolicy, match="answered 3 rounds"):
        judging.require_moment(table, at("12:00"), 3)


def test_a_policy_that_says_nothing_lets_no_job_in():
    with pytest.raises(Error):
        taken(table=FederateTable())
    assert FederateTable().coordinators == FederateTable().code == []
    assert FederateTable().masked
