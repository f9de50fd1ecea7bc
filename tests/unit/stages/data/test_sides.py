"""Which side of the split a row is on: nothing but the row itself has a say, and nothing but a
person takes it out of the hold-out.
"""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from casemate.core.types import Sides
from casemate.ml.frame import row_hashes
from casemate.stages.data import sides

KEY, NEED = bytes(range(32)), sides.Need(0.25, 5)
NAMES = ["no", "yes"]


def rows_of(count=2000, seed=0, kinds=40):
    """Discrete rows, so that many are equal in every feature, and labels."""
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "a": generator.integers(0, kinds, count).astype(float),
            "b": generator.choice(["x", "y"], count).astype(object),
        }
    )
    return frame, generator.integers(0, 2, count)


def held(frame, codes, subjects=None, key=KEY, need=NEED, pinned=None):
    groups = (
        None
        if subjects is None
        else np.asarray(subjects.combine_chunks().dictionary_encode().indices)
    )
    place = sides.places(key, frame, subjects)
    return sides.divide(sides.units_of(place, codes, groups), NAMES, need, pinned or {})


def test_no_label_moves_a_row():
    frame, codes = rows_of()
    other = np.random.default_rng(1).permutation(codes)
    assert np.array_equal(held(frame, codes)[0], held(frame, other)[0])
    assert np.array_equal(held(frame, codes)[0], held(frame, 1 - codes)[0])


def test_rows_that_are_added_move_none_that_were_there():
    frame, codes = rows_of()
    more, further = rows_of(1500, 7)
    grown = held(pd.concat([frame, more], ignore_index=True), np.concatenate([codes, further]))[0]
    assert np.array_equal(grown[: len(codes)], held(frame, codes)[0])


def test_another_order_of_the_rows_changes_which_rows_are_held_out_only_among_equal_ones():
    frame, codes = rows_of()
    order = np.random.default_rng(2).permutation(len(codes))
    shuffled = frame.iloc[order].reset_index(drop=True)
    before, after = frame[held(frame, codes)[0]], shuffled[held(shuffled, codes[order])[0]]
    assert np.array_equal(before.value_counts().sort_index(), after.value_counts().sort_index())
    unequal = pd.DataFrame({"a": np.arange(2000.0)})
    mask = held(unequal, codes)[0]
    assert np.array_equal(
        mask[order], held(unequal.iloc[order].reset_index(drop=True), codes[order])[0]
    )


def test_a_subject_stays_on_one_side_whatever_its_rows_say():
    frame, codes = rows_of()
    people = pa.chunked_array([[f"p{number // 4}" for number in range(len(codes))]])
    mask = held(frame, codes, people)[0]
    assert (mask.reshape(-1, 4).all(axis=1) == mask.reshape(-1, 4).any(axis=1)).all()
    other, labels = rows_of(seed=9)
    assert np.array_equal(mask, held(other, labels, people)[0])


def test_the_share_is_kept_and_another_key_draws_other_rows():
    frame, codes = rows_of(20_000)
    mine, theirs = held(frame, codes)[0], held(frame, codes, key=bytes(32))[0]
    assert abs(mine.mean() - 0.25) < 0.015
    assert abs((mine & theirs).mean() - 0.25**2) < 0.01  # independent of one another


@pytest.mark.parametrize("rare", [7, 8, 12, 20])
def test_a_small_class_reaches_both_sides_under_every_key_and_the_others_are_not_touched(rare):
    frame = pd.DataFrame({"a": np.arange(400.0)})
    codes = (np.arange(400) < rare).astype(int)
    for number in range(40):
        key = number.to_bytes(32, "big")
        mask, own = held(frame, codes, key=key)
        count = int(mask[codes == 1].sum())
        assert NEED.least(rare) <= count <= rare - NEED.folds
        assert set(own) <= {"yes"}
        assert np.array_equal(
            mask[codes == 0], sides.held(sides.places(key, frame, None), 0.25)[codes == 0]
        )


def test_a_pinned_threshold_keeps_the_rows_of_a_class_where_they_were():
    """A class too small at first keeps its threshold when it grows: choosing it again would move
    rows that a model saw.
    """
    frame = pd.DataFrame({"a": np.arange(3000.0)})
    codes = (np.arange(3000) % 375 == 0).astype(int)
    moved = 0
    for number in range(60):
        key = number.to_bytes(32, "big")
        before, own = held(frame[:2600], codes[:2600], key=key)
        if not own:
            continue
        moved += 1
        after, again = held(frame, codes, key=key, pinned=own)
        assert np.array_equal(after[:2600], before)
        assert again == own
    assert moved > 3


def test_a_subject_with_several_classes_counts_for_the_rarest_of_them():
    people = np.repeat(np.arange(60), 2)
    codes = np.zeros(120, dtype=int)
    codes[1:21:2] = 1  # ten people have both classes
    units = sides.units_of(
        sides.places(
            KEY, pd.DataFrame({"a": people.astype(float)}), pa.chunked_array([people.astype(str)])
        ),
        codes,
        people,
    )
    assert units.stratum.tolist() == [1] * 10 + [0] * 50
    for number in range(30):
        place = sides.places(
            number.to_bytes(32, "big"),
            pd.DataFrame({"a": people.astype(float)}),
            pa.chunked_array([people.astype(str)]),
        )
        mask, _ = sides.divide(sides.units_of(place, codes, people), NAMES, NEED, {})
        assert 2 <= len(np.unique(people[mask & (codes == 1)])) <= 5


def test_with_labels_in_the_identity_a_removed_row_moves_no_other():
    """What private training builds on: its neighbours differ in one row, and in nothing else."""
    frame, codes = rows_of(400, kinds=3)
    whole = pd.DataFrame(
        {
            "a": frame["a"],
            "b": frame["b"],
            "y": codes,
            "held": sides.held(sides.places(KEY, frame, None, codes), 0.25),
        }
    )
    for row in range(0, 400, 37):
        rest = frame.drop(index=row).reset_index(drop=True)
        labels = np.delete(codes, row)
        place = sides.places(KEY, rest, None, labels)
        less = rest.assign(y=labels, held=sides.held(place, 0.25)).value_counts()
        difference = whole.value_counts().sub(less, fill_value=0)
        assert difference.abs().sum() == 1


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (Sides(rule="hash", share=0.25, by=["a"], key="k"), True),
        (Sides(rule="hash", share=0.3, by=["a"], key="k"), True),
        (Sides(rule="hash", share=0.2, by=["a"], key="k"), False),
        (Sides(rule="hash", share=0.25, by=["a"], key="other"), False),
        (Sides(rule="hash", share=0.25, by=["a", "b"], key="k"), False),
        (Sides(rule="hash", share=0.25, by=["a"], key="k", thresholds={"yes": 0.1}), False),
        (Sides(rule="ordered", share=0.25, by=["a"], key="k"), False),
        (None, False),
    ],
)
def test_a_hold_out_lies_within_an_older_one_only_under_the_same_rule(before, expected):
    assert sides.nested(Sides(rule="hash", share=0.25, by=["a"], key="k"), before) is expected


def test_identities_match_rows_of_two_versions_copy_by_copy():
    frame, _ = rows_of(300, kinds=4)
    found = sides.identities(frame, None)
    assert len(np.unique(found)) == 300
    assert np.array_equal(found[:200], sides.identities(frame[:200], None))


def test_rows_without_a_target_are_hashed_as_those_of_one_class():
    frame, codes = rows_of(200)
    alike = row_hashes(frame, np.zeros(len(frame), dtype=np.int64))
    assert (row_hashes(frame) == alike).all(), "where sealed rows lie hangs on it"
    assert (row_hashes(frame, codes)[codes > 0] != row_hashes(frame)[codes > 0]).all()
