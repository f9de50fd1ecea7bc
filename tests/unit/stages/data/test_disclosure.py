"""What may be told of a group or a column: enough rows, nothing to be reckoned from the rest,
extremes rounded outward.
"""

import itertools
from collections import defaultdict

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casemate.config import AssessTable, ColumnTable, DataTable
from casemate.controls.privacy.disclosure import (
    FEWEST,
    OTHERS,
    grouped,
    limits,
    merged,
    told_counts,
)
from casemate.core.types import ColumnSchema, Schema, SealedDataset
from casemate.stages.assess import fairness, quality, regression
from casemate.stages.assess.sample import Sample
from casemate.stages.data import declared
from casemate.stages.data import schema as schemas
from casemate.stages.data.checks.profile import profile
from casemate.stages.data.report import draw

GROUPS = st.lists(st.integers(1, 60), min_size=1, max_size=12)


@given(sizes=GROUPS, least=st.integers(1, 30))
def test_no_group_that_is_told_and_no_rest_of_it_is_too_small(sizes, least):
    values = np.repeat([f"g{n}" for n in range(len(sizes))], sizes)
    labels = grouped(values, least)
    told, counts = np.unique(labels, return_counts=True)
    total = sum(sizes)
    for name, count in zip(told, counts, strict=True):
        assert count >= min(least, total)
        if name != OTHERS:  # real groups are told whole
            assert set(values[labels == name]) == {name}
    hidden = total - sum(
        int(count) for name, count in zip(told, counts, strict=True) if name != OTHERS
    )
    # the total less what is told is not a few people
    assert hidden == 0 or hidden >= min(least, total)


@given(counts=st.lists(st.integers(0, 40), min_size=1, max_size=12), least=st.integers(1, 30))
def test_bins_are_put_together_until_each_is_large_enough(counts, least):
    parts = merged(np.array(counts), least)
    assert all(sum(counts[place] for place in part) >= least for part in parts)
    assert [place for part in parts for place in part] == (
        list(range(len(counts))) if sum(counts) >= least else []
    )


FLOATS = st.floats(-1e9, 1e9, allow_nan=False, width=32)


@given(low=FLOATS, span=st.floats(0, 1e9, width=32))
def test_extremes_of_sensitive_columns_are_rounded_outward_and_not_far(low, span):
    high = low + span
    outer = limits("sensitive", low, high)
    slack = 0.21 * (high - low if high > low else max(abs(high), abs(low))) + 1e-6 * max(
        abs(high), abs(low)
    )
    assert low - slack <= outer[0] <= low <= high <= outer[1] <= high + slack
    assert limits("general", low, high) == (low, high)


def test_one_person_more_at_the_edge_changes_nothing_that_is_told():
    assert limits("sensitive", 18.0, 97.0) == limits("sensitive", 14.2, 93.5) == (10.0, 100.0)


def table_of(rows=200):
    generator = np.random.default_rng(1)
    return pa.table(
        {"age": generator.uniform(18, 97, rows), "y": [str(n % 2) for n in range(rows)]}
    )


@pytest.mark.parametrize("later", [False, True])
def test_nothing_that_is_pinned_recorded_or_reported_holds_a_sensitive_columns_extremes(later):
    table = table_of()
    said = DataTable(
        source="t.csv", target="y", columns={"age": ColumnTable(column_class="sensitive")}
    )
    schema, _ = schemas.infer(table, DataTable(source="t.csv", target="y") if later else said)
    if later:
        schema, _ = declared.apply(schema, table, said)
    schemas.check(table, schema, said)
    record = SealedDataset(
        name="d", version="v", source_digest="", rows=200, schema=schema, quarantined={}, quarantine="", excluded=0, split="", holdout=50,
        statistics={}, findings=[], figures={},
    )  # fmt: skip
    pictures = draw(record, msgspec.json.encode(profile(table, schema)), b"[]")
    text = (
        schemas.dump(schema)
        + record.to_json().decode()
        + "".join(content.decode() for content in pictures.values())
    )
    values = table["age"].to_pylist()
    for extreme in (min(values), max(values)):
        assert not any(f"{extreme:.{digits}f}"[:5] in text for digits in (2, 3, 4))
    assert (schema.column("age").min, schema.column("age").max) == (10.0, 100.0)


SCHEMA = Schema(
    target="y",
    classes=["no", "yes"],
    columns=[
        ColumnSchema(name="site", type="category", categories=["a", "b", "c"]),
        ColumnSchema(name="age", type="number"),
        ColumnSchema(name="y", type="category"),
    ],
)


class Known:
    """A model that says what it is told."""

    def __init__(self, labels):
        self.labels = labels

    def predict(self, frame):
        return self.labels, np.column_stack([0.9 - 0.8 * self.labels, 0.1 + 0.8 * self.labels])


def holdout(sizes, seed=0):
    sites = np.repeat(["a", "b", "c"], sizes)
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {"site": sites.astype(object), "age": generator.uniform(18, 97, len(sites))}
    )
    return Sample(frame, generator.integers(0, 2, len(sites)))


def told_of(sizes, least=FEWEST):
    sample = holdout(sizes)
    labels = np.random.default_rng(3).integers(0, 2, len(sample.target))
    _, groups, _ = fairness.measure((labels, None), sample, SCHEMA, ["site", "age"], least)
    found = quality.measure(
        Known(labels), SCHEMA, sample, AssessTable(slices=["site", "age"], bootstrap=20), 0, least
    )
    return groups, found


@settings(max_examples=20, deadline=None)
@given(rare=st.integers(1, 9))
def test_groups_of_one_person_are_in_no_figure_and_cannot_be_reckoned_from_the_others(rare):
    groups, found = told_of([120, 60, rare])
    for parts in (groups, found["slices"]):
        sizes = {part["value"]: part["rows"] for part in parts if part["column"] == "site"}
        assert sizes == {"a": 120, OTHERS: 60 + rare}
    assert all(rows >= FEWEST for rows in found["calibration"]["rows"])
    small, _ = told_of([120, 60, 10])
    assert {part["value"] for part in small if part["column"] == "site"} == {"a", "b", "c"}


def test_rates_of_few_positives_are_not_told_of_a_group():
    sample = holdout([120, 60, 20])
    sample.target[180:] = 0
    sample.target[180] = 1
    _, groups, _ = fairness.measure((sample.target, None), sample, SCHEMA, ["site"])
    rare = next(group for group in groups if group["value"] == "c")
    assert (
        rare["rows"] == 20
        and rare["true_positive_rate"] is None
        and rare["false_positive_rate"] is None
    )


def test_slices_of_numbers_name_quartiles_and_no_extreme():
    groups, found = told_of([120, 60, 20])
    names = [part["value"] for part in [*groups, *found["slices"]] if part["column"] == "age"]
    assert len(names) == 8
    assert all(name.startswith(("up to", "above")) or " to " in name for name in names)


def test_a_gate_may_judge_what_is_not_told():
    sample = holdout([120, 60, 5])
    labels = sample.target.copy()
    # all wrong in the group that is told together with the five
    labels[120:180] = 1 - labels[120:180]
    found = quality.measure(
        Known(labels), SCHEMA, sample, AssessTable(slices=["site"], bootstrap=20), 0
    )
    assert found["metrics"]["worst_slice_accuracy"]["value"] == 0.0
    assert min(part["accuracy"] for part in found["slices"]) > 0.0


def test_quantities_of_small_slices_are_not_told_either():
    schema = msgspec.structs.replace(SCHEMA, classes=[])
    sample = holdout([120, 60, 15])
    target = np.random.default_rng(0).standard_normal((195, 1))
    found = regression.measure(
        schema,
        Sample(sample.frame, target),
        target * 0.9,
        AssessTable(slices=["site"], bootstrap=20),
        0,
    )
    assert {part["value"]: part["rows"] for part in found["slices"]} == {"a": 120, OTHERS: 75}


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 30)), st.integers(2, 12))
def test_no_small_count_is_told_nor_can_be_reckoned_from_the_others(counts, least):
    told = told_counts(counts, least)
    assert told.keys() == counts.keys()
    assert all(count == counts[name] or count == -1 for name, count in told.items())
    assert not any(0 < count < least for count in told.values())
    hidden = [name for name, count in told.items() if count == -1]
    assert len(hidden) != 1 or not any(count >= least for count in counts.values())


def test_what_is_not_told_of_counts_cannot_be_reckoned_by_whoever_knows_total_and_rule():
    for least in (2, 3, 4):
        possible = defaultdict(list)
        for rows in itertools.product(range(15), repeat=4):
            if sum(rows) < 15:  # all there are of so many rows
                told = told_counts(dict(zip("abcd", rows, strict=True)), least)
                possible[tuple(told.values()), sum(rows)].append(rows)
        for (told, total), vectors in possible.items():
            # of one row each the total alone says it
            if -1 in told and (max(told) >= 0 or total > len(told)):
                hidden = [place for place, count in enumerate(told) if count == -1]
                values = [{one[place] for one in vectors} for place in hidden]
                assert all(len(found) > 1 for found in values), (told, total, vectors)


def test_rare_classes_are_not_given_away_by_the_total():
    told = {"a": -1, "b": -1, "c": -1, "d": 90}
    assert told_counts({"a": 1, "b": 1, "c": 40, "d": 90}, 10) == told
    single = dict.fromkeys("abcdefghij", 1)
    assert told_counts(single | {"k": 50, "l": 60}, 10) == dict.fromkeys("abcdefghijk", -1) | {
        "l": 60
    }
    assert told_counts({"a": 1, "b": 1, "c": 0}, 10) == dict.fromkeys("abc", -1)


def test_beside_one_small_count_the_next_smallest_one_is_not_told():
    assert told_counts({"a": 90, "b": 3, "c": 40, "d": 0}, 10) == {
        "a": 90,
        "b": -1,
        "c": -1,
        "d": 0,
    }
    assert told_counts({"a": 90, "b": 40}, 10) == {"a": 90, "b": 40}
