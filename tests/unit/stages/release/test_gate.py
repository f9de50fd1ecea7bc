import pytest

from casemate.core.types import Assessment, Finding, Interval, Schema, SealedDataset, TrainedModel
from casemate.stages.release.gate import judge

FINDING = Finding(
    id="sandbox.network", severity="high", confidence="high", message="opened a socket"
)


def records(findings=(), **changed):
    dataset = SealedDataset(
        name="d", version="v", source_digest="", rows=1, schema=Schema(target="y", classes=["0", "1"], columns=[]), quarantined={},
        quarantine="", excluded=0, split="", holdout=1, statistics={}, findings=[], figures={},
    )  # fmt: skip
    model = TrainedModel(
        estimator="",
        files={},
        params={},
        cv=[],
        metric="",
        code_digest="",
        findings=list(findings),
        isolation=[],
    )
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
        (
            "accuracy={ min = 0 }",
            {"metrics": {"accuracy": Interval(value=float("nan"), low=0, high=1)}},
        ),
        ("robust_accuracy={ min = 0.1, eps = 0.2 }", {}),
        (
            "robust_accuracy={ min = 0.1, eps = 0.1 }",
            {
                "robustness": {
                    "curve": [{"eps": 0.1, "robust_accuracy": 1.0}],
                    "inconclusive": "changed nothing",
                }
            },
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


def accuracy(low, value, high):
    return {"metrics": {"accuracy": Interval(value=value, low=low, high=high)}, "rows": 400}


@pytest.mark.parametrize(
    ("gate", "figure", "outcome"),
    [
        ("accuracy={ min = 0.8 }", (0.8, 0.85, 0.9), "passed"),
        ("accuracy={ min = 0.8 }", (0.75, 0.85, 0.9), "inconclusive"),
        ("accuracy={ min = 0.8 }", (0.7, 0.75, 0.8), "inconclusive"),
        ("accuracy={ min = 0.8 }", (0.7, 0.75, 0.79), "refused"),
        ("accuracy={ max = 0.8 }", (0.7, 0.75, 0.8), "passed"),
        ("accuracy={ max = 0.8 }", (0.7, 0.75, 0.85), "inconclusive"),
        ("accuracy={ max = 0.8 }", (0.81, 0.85, 0.9), "refused"),
        ("accuracy={ min = 0.74, max = 0.76 }", (0.7, 0.75, 0.79), "inconclusive"),
        ("accuracy={ min = 0.6, max = 0.65 }", (0.7, 0.75, 0.79), "refused"),
    ],
)
def test_a_gate_is_refused_only_where_no_end_of_the_interval_keeps_it(
    config, gate, figure, outcome
):
    assert verdict(config, gate, **accuracy(*figure)).outcome == outcome


def test_a_gate_that_the_hold_out_cannot_decide_says_how_many_rows_would(config):
    """Half-width .1 at 400 rows, distance .05: four times the rows."""
    answer = verdict(config, "accuracy={ min = 0.8 }", **accuracy(0.75, 0.85, 0.9))
    assert (
        "400 hold-out rows cannot tell" in answer.reasons[0]
        and "about 1 600 would" in answer.reasons[0]
    )
    on_it = verdict(config, "accuracy={ min = 0.8 }", **accuracy(0.75, 0.8, 0.85))
    assert on_it.outcome == "inconclusive" and "more rows would hardly tell" in on_it.reasons[0]


def test_attacked_rows_are_counted_where_a_figure_stands_on_them(config):
    curve = [
        {
            "eps": 0.1,
            "robust_accuracy": 0.7,
            "robust_accuracy_interval": {"value": 0.7, "low": 0.6, "high": 0.8},
        }
    ]
    answer = verdict(
        config,
        "robust_accuracy={ min = 0.65, eps = 0.1 }",
        robustness={"curve": curve, "rows": 100},
    )
    assert answer.outcome == "inconclusive"
    assert (
        "100 attacked hold-out rows cannot tell" in answer.reasons[0]
        and "about 400 would" in answer.reasons[0]
    )


def compared(low, value, high, name="accuracy", rows=500, **changed):
    return {
        "compared": {name: Interval(value=value, low=low, high=high)},
        "previous": "m@1",
        "compared_rows": rows,
        **changed,
    }


@pytest.mark.parametrize(
    ("difference", "outcome"),
    [
        ((-0.01, 0.0, 0.01), "passed"),
        ((-0.03, 0.0, 0.03), "inconclusive"),
        ((-0.05, -0.02, 0.01), "inconclusive"),
        ((-0.05, -0.03, -0.02), "refused"),
        ((0.01, 0.02, 0.03), "passed"),
    ],
)
def test_a_model_is_refused_by_the_one_before_only_where_it_is_surely_worse(
    config, difference, outcome
):
    gate = 'accuracy={ no_worse_than = "previous", margin = 0.01 }'
    assert verdict(config, gate, **compared(*difference)).outcome == outcome
    low, value, high = difference
    metrics = {name: Interval(value=0.9, low=0.8, high=1.0) for name in ("accuracy", "log_loss")}
    mirrored = compared(-high, -value, -low, "log_loss", metrics=metrics)
    assert (
        verdict(
            config, 'log_loss={ no_worse_than = "previous", margin = 0.01 }', **mirrored
        ).outcome
        == outcome
    )


def test_a_comparison_says_what_difference_the_hold_out_can_decide_and_what_the_margin_needs(
    config,
):
    """Standard error .0153 at 500 rows: 80 % power at .043, and for a margin of .01 18.4 times the
    rows.
    """
    answer = verdict(
        config,
        'accuracy={ no_worse_than = "previous", margin = 0.01 }',
        **compared(-0.03, 0.0, 0.03),
    )
    assert "500 rows tell differences from 0.0429 on" in answer.reasons[0]
    assert "this margin needs about 9 200" in answer.reasons[0]


def test_what_could_not_be_compared_does_not_pass(config):
    gone = {
        "previous": "m@1",
        "inconclusive": [
            "comparison: SeenBefore: 3 of 500 hold-out rows are new to m@1; 47 more are needed"
        ],
    }
    answer = verdict(config, 'accuracy={ no_worse_than = "previous" }', **gone)
    assert answer.outcome == "inconclusive"
    assert "47 more are needed" in answer.reasons[0]
