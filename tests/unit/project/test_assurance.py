"""The simulations behind docs/explanation/assurance.md, a small part of each: they run, and say
something of every figure.
"""

import math
import runpy
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ASSURANCE = Path(__file__).parents[3] / "bench" / "assurance"
HARNESS = runpy.run_path(str(ASSURANCE / "__main__.py"), run_name="harness")


MINUTES = {"private", "attacks"}
"""Parts of which even a small part takes minutes."""


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(part, marks=[pytest.mark.long] * (part in MINUTES))
        for part in HARNESS["parts"]()
    ],
)
def test_every_figure_that_is_promised_is_simulated(part):
    module = HARNESS["load"](part)
    found = module.run(0.01)
    assert set(module.FIGURES) <= set(found)
    for name in module.FIGURES:
        assert found[name], name
        assert all(math.isfinite(float(point["value"])) for point in found[name]), (
            name,
            found[name],
        )


def test_a_limit_is_kept_by_every_point_and_by_no_number_that_is_none():
    keeps, worst, text = HARNESS["keeps"], HARNESS["worst"], HARNESS["text"]
    assert [
        keeps(0.5, ("<=", 0.5)),
        keeps(0.6, ("<=", 0.5)),
        keeps(0.6, (">=", 0.5)),
        keeps(0.4, (">=", 0.5)),
    ] == [True, False, True, False]
    assert [keeps(value, ("in", 0.9, 1.0)) for value in (0.89, 0.95, 1.01)] == [False, True, False]
    assert not any(keeps(float("nan"), limit) for limit in (("<=", 1), (">=", 0), ("in", 0, 1)))
    points = [{"value": 0.1}, {"value": 0.97}]
    assert (
        worst(points, ("<=", 1)),
        worst(points, (">=", 0)),
        worst(points, ("in", 0.9, 1.0)),
    ) == (0.97, 0.1, 0.1)
    assert [text(("<=", 0.5)), text(("in", 0.9, 1.0))] == ["<= 0.5", "0.9 to 1"]


def test_a_share_of_few_rounds_that_may_keep_or_miss_its_limit_by_luck_is_undecided():
    judged = HARNESS["judged"]
    assert [
        judged({"value": value, "rounds": 15}, ("<=", 0.05)) for value in (0.0, 1 / 15, 0.5)
    ] == ["undecided", "undecided", "missed"]
    assert [judged({"value": 0.0, "rounds": rounds}, ("<=", 0.05)) for rounds in (15, 100)] == [
        "undecided",
        "kept",
    ]
    assert [
        judged({"value": 0.94, "rounds": rounds}, (">=", 0.935)) for rounds in (300, 100_000)
    ] == ["undecided", "kept"]
    assert [
        judged({"value": 0.962, "rounds": rounds}, ("in", 0.935, 0.965))
        for rounds in (300, 100_000)
    ] == ["undecided", "kept"]
    assert [
        judged({"value": 0.92, "rounds": rounds}, (">=", 0.935)) for rounds in (100, 10_000)
    ] == ["undecided", "missed"]
    assert judged({"value": 0.92}, (">=", 0.935)) == "missed", "no share"
    assert judged({"value": float("nan"), "rounds": 9}, (">=", 0.935)) == "missed"
