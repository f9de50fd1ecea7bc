"""What a coordinator's options and code make no job of."""

from types import SimpleNamespace

import pytest
from tests.conftest import TOML
from tests.unit.operations import owners

from casemate import config
from casemate.controls.federation.cards import limits_of
from casemate.core.errors import ConfigError
from casemate.ml.federated.local import LocalPlan
from casemate.ml.federated.simulation import Design
from casemate.ml.federated.updates import Layout
from casemate.operations.federated.jobs import job_of
from casemate.stages.train.described import Described
from casemate.stages.train.global_model import Entry

PROJECT = SimpleNamespace(config=config.parse(TOML))


@pytest.mark.parametrize(
    ("estimator", "rule", "epsilon", "said"),
    [
        ("Ridge", "fedavg", None, "sites learn a quantity by sums, and not by --rule fedavg"),
        (
            "HistGradientBoostingClassifier",
            "fedprox",
            None,
            "sites grow boosted trees by sums, and not by --rule fedprox",
        ),
        ("NetworkClassifier", "exact", None, "a network has no sums that say all"),
        ("LogisticRegression", "exact", 1.0, "sums of a LogisticRegression are not clipped"),
    ],
)
def test_a_rule_that_is_none_of_the_model_makes_no_job(estimator, rule, epsilon, said):
    columns = owners.columns(2, None if estimator == "Ridge" else owners.CLASSES)
    charter = owners.charter(2, schema=columns)
    entry = Entry("train.py:build", {}, columns, limits_of(columns), 0)
    described = Described(estimator=estimator, layout=Layout(names=[], shapes=[]), settings={})
    design = Design(rounds=3, rule=rule, combine="mean", plan=LocalPlan())
    with pytest.raises(ConfigError, match=said):
        job_of(PROJECT, charter, design, epsilon, entry, described)
