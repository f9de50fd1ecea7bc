import pytest

from casemate.core.types import Assessment, Finding, Interval, Schema, SealedDataset, TrainedModel
from casemate.stages.release.gate import judge

FINDING = Finding(id="sandbox.network", severity="high", confidence="high", message="opened a socket")


def records(findings=(), **changed):
    dataset = SealedDataset(
        name="d", version="v", source_digest="", rows=1, schema=Schema(target="y", classes=["0", "1"], columns=[]), quarantined={},
        quarantine="", excluded=0, split="", holdout=1, statistics={}, findings=[], figures={},
    )  # fmt: skip
    model = TrainedModel(estimator="", files={}, params={}, cv=[], metric="", code_digest="", findings=list(findings), isolation=[])
    values = dict(
        rows=1, metrics={"accuracy": Interval(value=0.9, low=0.8, high=1.0)}, calibration={}, roc={}, slices=[],
        robustness={"curve": [{"eps": 0.1, "robust_accuracy": 0.7}]}, membership={"auc": {"value": 0.55}}, parity={},
        serve_format="onnx", findings=[], inconclusive=[],
    )  # fmt: skip
    return dataset, model, Assessment(**{**values, **changed})


def verdict(config, gates: str, **changed):
    overrides = ["gates.accuracy={ min = 0.1 }"] if not gates else [f"gates.{gates}"]
    return judge(config(*overrides), *records(**changed))


def test_gates_within_their_limits_pass(config):
    assert verdict(config, "robust_accuracy={ min = 0.7, eps = 0.1 }").outcome == "passed"


def test_a_figure_outside_its_limit_is_refused_with_both_numbers(config):
    answer = verdict(config, "membership_auc={ max = 0.5 }")
    assert answer.outcome == "refused"
    assert answer.reasons == ["membership_auc is 0.5500, required <= 0.5"]


@pytest.mark.parametrize(
    ("gate", "changed"),
    [
        ("log_loss={ max = 1 }", {}),
        ("accuracy={ min = 0 }", {"metrics": {"accuracy": Interval(value=float("nan"), low=0, high=1)}}),
        ("robust_accuracy={ min = 0.1, eps = 0.2 }", {}),
        (
            "robust_accuracy={ min = 0.1, eps = 0.1 }",
            {"robustness": {"curve": [{"eps": 0.1, "robust_accuracy": 1.0}], "inconclusive": "changed nothing"}},
        ),
        ("membership_auc={ max = 1 }", {"membership": {}, "inconclusive": ["membership: crashed"]}),
    ],
)
def test_what_was_not_measured_is_inconclusive_and_does_not_pass(config, gate, changed):
    answer = verdict(config, gate, **changed)
    assert answer.outcome == "inconclusive"
    assert "inconclusive" in answer.reasons[0]


def test_a_finding_of_high_severity_refuses_whatever_the_figures(config):
    answer = verdict(config, "", findings=[FINDING])
    assert answer.outcome == "refused"
    assert "opened a socket" in answer.reasons[0]


def test_without_gates_nothing_passes(config):
    from tests.conftest import TOML

    from casemate import config as configuration

    empty = configuration.parse(TOML.partition("[gates]")[0])
    assert judge(empty, *records()).outcome == "inconclusive"
