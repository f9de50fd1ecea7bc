"""Sources of feedback, judged by what the others tell."""

import numpy as np
import pytest

from casemate.stages.data.teach import sources


def told(*parts):
    """Of parts (source, stratum, rows, of these against the model) what `judge` takes."""
    names, alike, against = [], [], []
    for name, stratum, rows, wrong in parts:
        names += [name] * rows
        alike += [stratum] * rows
        against += [place < wrong for place in range(rows)]
    return np.array(names, dtype=object), np.array(against), np.full(len(names), 0.1), alike


def judged(*parts):
    names, against, doubt, alike = told(*parts)
    return {one.name: one for one in sources.judge(names, against, doubt, np.array(alike))}


@pytest.mark.parametrize("rows", [900, 4_000, 20_000])
def test_a_source_that_tells_most_rows_is_measured_by_the_others_and_not_by_itself(rows):
    seen = judged(("liar", 1, rows, rows // 4), ("honest", 1, 100, 10), ("other", 1, 100, 10))
    assert seen["liar"].by_others == pytest.approx(rows / 10)
    assert [one.name for one in seen.values() if one.turned] == ["liar"]
    assert seen["honest"].by_others > 20, "the liar is one of the others of everybody else"


def test_where_nobody_else_tells_the_others_say_nothing():
    alone = judged(("liar", 1, 500, 400), ("honest", 2, 500, 50))
    assert [one.by_others for one in alone.values()] == [None, None]
    assert not [one for one in alone.values() if one.turned]
    # rows that nobody else has do not water down what is seen of the others
    part = judged(("liar", 1, 200, 80), ("liar", 2, 600, 60), ("honest", 1, 200, 20))
    assert part["liar"].by_others == pytest.approx(20 + 60)
    assert part["liar"].turned
    few = judged(("new", 1, 9, 9), ("new", 2, 500, 200), ("honest", 1, 2_000, 100))
    assert not few["new"].turned, "nine rows beside others are too few"
