"""What a signed baseline says about answers: estimates from sketches without a row."""

import numpy as np
import pandas as pd
import pytest

from casemate.core.types import Baseline, Bin, ColumnSketch
from casemate.watch.baselines import SCORE, judge

pytestmark = pytest.mark.slow


def baseline(*bins: Bin, scores: tuple[Bin, ...] = (), positive: str = "") -> Baseline:
    rows = sum(one.rows for one in (*bins, *scores))
    answers = ColumnSketch(name="(answers)", rows=rows, missing=0, bins=list(bins))
    return Baseline(rows=rows, features=[], answers=answers, scores=list(scores), positive=positive)


def test_a_quantity_that_is_exact_in_part_of_its_range_has_the_error_of_all_of_it():
    exact = Bin(low=0.0, high=1.0, rows=200)
    rough = Bin(low=1.0, high=2.0, rows=200, error=0.8, square=1.0)
    made = judge(baseline(exact, rough))
    assert made.reference["mae"] == pytest.approx(0.4, abs=0.01)
    assert judge(baseline(exact)) is None, "an earlier version kept no errors"


def test_accuracy_of_more_than_two_classes_is_how_often_the_said_class_was_right():
    low = Bin(low=0.4, high=0.6, rows=300, positive=150)
    high = Bin(low=0.9, high=1.0, rows=700, positive=665)
    made = judge(baseline(scores=(low, high)))
    assert made.reference["accuracy"] == pytest.approx(0.815)
    rows = pd.DataFrame({SCORE: np.full(400, 0.5)})
    (figure,) = made.chunk(made.usable(rows)).figures
    assert figure.name == "accuracy"
    assert figure.estimated.low < 0.5 < figure.estimated.high
