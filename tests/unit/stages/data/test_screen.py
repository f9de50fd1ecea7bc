import numpy as np
import pandas as pd
import pytest

from casemate.config import ScreenTable
from casemate.core.types import ColumnSchema, Schema
from casemate.stages.data.screen.duplicates import Duplicates
from casemate.stages.data.screen.interface import ScreenedRows
from casemate.stages.data.screen.label_noise import LabelNoise
from casemate.stages.data.screen.outliers import Outliers


def rows_of(frame: pd.DataFrame, codes, groups=None) -> ScreenedRows:
    columns = [
        ColumnSchema(name=name, type="number" if frame[name].dtype == float else "category")
        for name in frame
    ]
    schema = Schema(
        target="y",
        classes=["0", "1"],
        columns=[*columns, ColumnSchema(name="y", type="category", use=False)],
    )
    return ScreenedRows(frame, np.asarray(codes), groups, schema, 0)


@pytest.fixture
def separable():
    generator = np.random.default_rng(1)
    frame = pd.DataFrame(generator.standard_normal((2000, 5)), columns=list("abcde"))
    return frame, (frame["a"] + frame["b"] > 0).astype(int).to_numpy()


def test_flipped_labels_are_found(separable):
    frame, codes = separable
    flipped = np.random.default_rng(2).choice(len(codes), 100, replace=False)
    noisy = codes.copy()
    noisy[flipped] ^= 1
    found = LabelNoise()(rows_of(frame, noisy), ScreenTable())
    hits = set(flipped) & {suspect.row for suspect in found.rows}
    assert len(hits) >= 70
    assert len(found.rows) <= 200


def test_a_weak_model_flags_nothing_and_says_inconclusive(separable):
    frame, _ = separable
    noise = np.random.default_rng(3).integers(0, 2, len(frame))
    found = LabelNoise()(rows_of(frame, noise), ScreenTable())
    assert found.rows == []
    assert "inconclusive" in found.findings[0].message


def test_a_class_smaller_than_the_folds_is_inconclusive(separable):
    frame, _ = separable
    codes = np.zeros(len(frame), dtype=int)
    codes[0] = 1
    assert "inconclusive" in LabelNoise()(rows_of(frame, codes), ScreenTable()).findings[0].message


def test_too_few_subjects_in_a_class_are_inconclusive(separable):
    frame, codes = separable
    groups = np.where(codes == 1, 0, np.arange(len(codes)))
    assert (
        "subjects" in LabelNoise()(rows_of(frame, codes, groups), ScreenTable()).findings[0].message
    )


def test_a_far_cell_is_an_outlier_named_by_column(separable):
    frame, codes = separable
    frame = frame.copy()
    frame.loc[7, "c"] = 1000.0
    found = Outliers()(rows_of(frame, codes), ScreenTable())
    assert [suspect.row for suspect in found.rows] == [7]
    assert found.rows[0].detail.startswith("c lies")


def test_constant_and_missing_columns_have_no_outliers():
    frame = pd.DataFrame({"a": [0.0] * 9 + [5.0], "b": [np.nan] * 10})
    assert Outliers()(rows_of(frame, [0, 1] * 5), ScreenTable()).rows == []


def test_only_the_repeated_rows_are_duplicates():
    frame = pd.DataFrame(
        {"a": [1.0, 2.0, 1.0, 1.0], "b": pd.Series(["x", "y", "x", "x"], dtype=object)}
    )
    found = Duplicates()(rows_of(frame, [0, 1, 0, 1]), ScreenTable())
    assert [(suspect.row, suspect.detail) for suspect in found.rows] == [(2, "equals row 0")]
