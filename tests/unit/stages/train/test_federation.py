"""Who has which rows of a simulation, and which designs there are."""

from argparse import _SubParsersAction
from re import findall, sub

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from casemate.cli import build_parser
from casemate.config import PrivacyTable
from casemate.core.errors import ConfigError
from casemate.core.types import ColumnSchema, Schema
from casemate.ml.federated.encoding import Limits
from casemate.ml.federated.local import LocalPlan
from casemate.ml.learn.accountant import Gaussians, epsilon, replacing
from casemate.stages.train import federation
from casemate.stages.train.candidates import Models
from casemate.stages.train.entry import BadEntry
from casemate.stages.train.sharing import Parts, shared_out
from casemate.stages.train.sites import chosen, learner_of, quantities_of

SCHEMA = Schema(
    target="y",
    classes=["n", "p"],
    columns=[
        ColumnSchema(name="a", type="number", min=0.0, max=1.0),
        ColumnSchema(name="y", type="category", use=False),
    ],
)
CHANCE = np.random.default_rng(0)
ROWS = 400
TABLE = pa.table(
    {
        "a": CHANCE.random(ROWS),
        "y": np.where(CHANCE.random(ROWS) < 0.5, "n", "p").tolist(),
        "person": (np.arange(ROWS) // 4).tolist(),
        "ward": [("north", "south", "east", None)[i % 4] for i in range(ROWS)],
    }
)


def designed(**changed):
    given = {
        "sites": 10,
        "rounds": 5,
        "rule": "fedavg",
        "combine": "mean",
        "liars": None,
        "attack": "",
        "share": 1.0,
        "seed": 0,
    }
    of_plan = {"epochs", "batch", "rate", "calibrated", "unit"} & {*changed}
    plan = {name: changed.pop(name) for name in of_plan}
    return federation.designed(LocalPlan(**plan), **(given | changed))


SIMULATED = {"sites", "attack", "share", "drop_out"}
"""What made-up sites alone are told."""
REFUSED = [
    ({"sites": 1}, "--sites: 1"),
    ({"sites": 100_000}, "--sites"),
    ({"sites": "5"}, "a whole number"),
    ({"rounds": 2.5}, "--rounds: 2.5a whole number"),
    ({"rounds": True}, "a whole number"),
    ({"epochs": 1.0}, "a whole number"),
    ({"rate": "0.1"}, "--rate: '0.1'a number"),
    ({"epsilon": "3"}, "a number"),
    ({"rounds": 0}, "--rounds: 0"),
    ({"share": 0.01}, "--share: 0.01"),
    ({"share": float("nan")}, "--share: nan"),
    ({"rate": float("inf")}, "--rate: inf"),
    ({"epochs": 0}, "--epochs: 0"),
    ({"batch": 0}, "--batch: 0"),
    ({"calibrated": -1.0}, "--calibrate: -1"),
    ({"calibrated": 1.0, "rule": "exact"}, "exact sums have none"),
    ({"calibrated": 1.0, "epsilon": 1.0}, "does not cover them"),
    ({"rule": "sgd"}, "--rule sgd: there is none"),
    ({"combine": "mode"}, "--combine mode: there is none"),
    ({"attack": "signflip"}, "how many sites"),
    ({"attack": "signflip:²"}, "how many sites"),
    ({"attack": "signflip:11"}, "--attack: 11"),
    ({"attack": "lie:1"}, "--attack lie: there is none"),
    ({"combine": "krum", "liars": 4}, "krum needs 11 sites"),
    ({"combine": "krum", "liars": 2, "share": 0.5}, "krum needs 7 sites"),
    ({"rule": "scaffold", "combine": "median"}, "control variates too"),
    ({"rule": "exact", "attack": "boost:1"}, "one site that lies"),
    ({"rule": "exact", "share": 0.5}, "one site that lies"),
    ({"mixed": True}, "before a robust way"),
    ({"mixed": True, "combine": "median"}, "before a robust way"),
    ({"bucket": 0}, "--bucket: 0"),
    ({"bucket": 2}, "before a robust way"),
    ({"bucket": 2, "combine": "median", "mixed": True, "liars": 2}, "in the place of --mix"),
    ({"bucket": 3, "combine": "trimmed-mean", "liars": 2}, "trimmed-mean needs 5 sites"),
    ({"remembers": True}, "as many as may lie"),
    ({"remembers": True, "liars": 2, "masked": True}, "masks hide what each does"),
    ({"remembers": True, "liars": 2, "rule": "scaffold"}, "control variates too"),
    ({"remembers": True, "liars": 2, "rule": "exact"}, "one site that lies"),
    ({"epsilon": 0.0}, "--epsilon: 0"),
    ({"epsilon": float("nan")}, "--epsilon: nan"),
    ({"rule": "scaffold", "epsilon": 1.0}, "no noise covers them"),
    ({"groups": 2}, "sums under masks"),
    ({"drop_out": "mask:1"}, "sums under masks"),
    ({"masked": True, "drop_out": "later:1"}, "one of share, mask, agree, reveal"),
    ({"masked": True, "combine": "krum", "liars": 1}, "masks hide them"),
    ({"masked": True, "combine": "krum", "liars": 1, "groups": 3}, "krum needs 5 sites"),
    ({"masked": True, "groups": 4}, "a group would have 2 to 3 sites"),
    ({"masked": True, "sites": 300}, "3 to 256 may be summed"),
    ({"masked": True, "rule": "scaffold"}, "not masked"),
    ({"masked": True, "rule": "exact", "groups": 2}, "one sum of all sites"),
    ({"masked": True, "rule": "exact", "drop_out": "mask:1"}, "the same sites each round"),
]


@pytest.mark.parametrize(("changed", "said"), REFUSED)
def test_designs_that_do_not_fit_together_are_refused_before_a_table_is_read(changed, said):
    with pytest.raises(ConfigError) as caught:
        designed(**changed)
    assert said in str(caught.value) + caught.value.hint


def options_of(verb):
    """Options of `casemate federate VERB`."""
    parser = build_parser("federate")
    for name in ("federate", verb):
        (actions,) = [one for one in parser._actions if isinstance(one, _SubParsersAction)]
        parser = actions.choices[name]
    return {*parser._option_string_actions}


@pytest.mark.parametrize("changed", [one for one, _ in REFUSED if not SIMULATED & {*one}])
def test_what_to_do_instead_are_options_of_sites_and_of_made_up_ones(changed):
    with pytest.raises(ConfigError) as caught:
        designed(**changed)
    hint = sub("without [^;]*", "", caught.value.hint)
    assert {*findall("--[a-z-]+", hint)} <= options_of("lead") & options_of("simulate")
    assert "without --masked" not in caught.value.hint  # sites have masks unless they are told


def test_ways_that_fit_together_are_taken_as_they_are_asked_for():
    design = designed(combine="median", bucket=2, remembers=True, attack="signflip:2")
    assert (design.bucket, design.remembers, design.liars) == (2, True, 2)
    assert designed(remembers=True, liars=1).combine == "mean"


def test_a_robust_way_reckons_with_the_attack_unless_it_is_told_otherwise():
    assert designed(combine="krum", attack="signflip:2").liars == 2
    assert designed(combine="krum", attack="signflip:2", liars=3).liars == 3


@pytest.mark.parametrize("split", ["iid", "dirichlet:0.3"])
def test_rows_of_one_person_lie_at_one_site_or_at_none(split):
    parts = Parts(TABLE, SCHEMA, "person")
    where = shared_out(parts, split, 5, 0, 10)
    for person in range(ROWS // 4):
        assert len(set(where[4 * person : 4 * person + 4])) == 1
    assert 0.15 < np.mean(where < 0) < 0.25
    assert np.bincount(where[where >= 0], minlength=5).min() >= 10


def test_a_split_by_column_takes_missing_values_for_a_value():
    where = shared_out(Parts(TABLE, SCHEMA, None), "by:ward", 4, 0, 10)
    for kind in range(4):
        found = where[kind::4]
        assert len(set(found[found >= 0])) == 1
    assert (where < 0).any()


@pytest.mark.parametrize(
    ("split", "sites", "said"),
    [
        ("by:nothing", 3, "no such column"),
        ("by:", 3, "there is no such split"),
        ("dirichlet:x", 3, "not a number above 0"),
        ("dirichlet:0", 3, "not a number above 0"),
        ("dirichlet:inf", 3, "not a number above 0"),
        ("alike", 3, "there is no such split"),
        ("by:ward", 5, "4 values, too few for 5 sites"),
        ("iid", 40, "no fewer than 10"),
    ],
)
def test_splits_that_there_are_not_and_sites_too_small_to_be_told_of_are_refused(
    split, sites, said
):
    with pytest.raises(ConfigError, match=said):
        shared_out(Parts(TABLE, SCHEMA, None), split, sites, 0, 10)


@pytest.mark.parametrize(
    "options", [{"class_weight": "balanced"}, {"fit_intercept": False}, {"l1_ratio": 0.5}]
)
def test_options_that_sums_over_sites_do_not_have_are_refused_and_not_dropped(options):
    limits = Limits(numbers={"a": (0.0, 1.0)}, categories={})
    model = chosen(Models({"": LogisticRegression(**options)}))
    frame, where = TABLE.select(["a"]).to_pandas(), np.zeros(ROWS, dtype=np.int64)
    with pytest.raises(BadEntry, match="asks for something else"):
        learner_of(model, limits, frame, where, 2)


def test_the_noise_of_a_site_keeps_all_rounds_together_within_epsilon():
    design = designed(epsilon=2.0, rounds=7, epochs=3)
    spent = Gaussians(sigma=design.plan.sigma, steps=7 * 3 + 1)
    assert 1.97 < epsilon([spent], PrivacyTable().delta) <= 2.0


def test_noise_over_whole_sites_is_paid_once_a_round_however_many_passes_it_has():
    design = designed(epsilon=2.0, rounds=7, epochs=3, unit="site")
    assert design.plan.spread == 2 * design.plan.sigma
    # between a site's rows and any others: twice the clip apart
    spent = [Gaussians(sigma=design.plan.spread, steps=7)]
    assert 1.97 < replacing(spent, PrivacyTable().delta) <= 2.0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"unit": "site"}, "says whom noise covers"),
        ({"unit": "site", "epsilon": 1.0, "rule": "exact"}, "exact sums are none"),
        ({"unit": "hospital", "epsilon": 1.0}, "--unit hospital"),
        ({"unit": "site", "epsilon": 1.0, "rule": "scaffold"}, "controls that are not clipped"),
        ({"epsilon": 1.0, "calibrated": 1.0}, "does not cover them"),
        ({"unit": "site", "epsilon": 1.0, "rule": "exact", "calibrated": 1.0}, "exact sums"),
    ],
)
def test_noise_over_whole_sites_fits_differences_of_weights_alone(options, said):
    with pytest.raises(ConfigError, match=said):
        designed(**options)


def test_shares_of_classes_are_covered_by_noise_over_the_whole_site():
    design = designed(epsilon=1.0, calibrated=1.0, unit="site")
    assert design.plan.calibrated == 1.0


def test_with_noise_numbers_are_scaled_by_declared_limits_and_not_by_the_rows():
    limits = Limits(numbers={"a": (0.0, 4.0)}, categories={})
    frame, where = TABLE.select(["a"]).to_pandas(), np.zeros(ROWS, dtype=np.int64)
    _, rows = learner_of(LogisticRegression(), limits, frame, where, 2, noisy=True)
    assert np.allclose(rows[:, 0], frame["a"] / 2 - 1)
    _, rows = learner_of(LogisticRegression(), limits, frame, where, 2)
    assert abs(rows.mean()) < 1e-9


@pytest.mark.parametrize("options", [{"fit_intercept": False}, {"positive": True}])
def test_quantities_by_sums_refuse_options_that_sums_do_not_have(options):
    limits = Limits(numbers={"a": (0.0, 1.0)}, categories={})
    frame, where = TABLE.select(["a"]).to_pandas(), np.arange(ROWS) % 3 - 1
    design = designed(sites=2, rule="exact")
    given = (limits, frame, frame["a"].to_numpy() * 2, where, design)
    with pytest.raises(BadEntry, match="asks for something else"):
        quantities_of(Ridge(**options), *given)
    assert quantities_of(Ridge(alpha=0.0), *given).rounds[0].score == pytest.approx(1.0)
