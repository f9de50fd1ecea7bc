"""Fixtures of operations."""

import pyarrow as pa
import pytest
from tests.conftest import lighten, write_csv
from tests.unit.operations.people import ROWS, population

import casemate
from casemate.operations import scaffold


@pytest.fixture(scope="session")
def trained(home, tmp_path_factory):
    """A project whose model is signed, and that nobody has asked yet."""
    root = tmp_path_factory.mktemp("watched") / "p"
    root.mkdir()
    table = pa.Table.from_pandas(population(ROWS, 0), preserve_index=False)
    scaffold.create(root, scaffold.from_table(root, write_csv(root / "t.csv", table), "outcome"))
    lighten(root)
    result = casemate.open(root, ["gates.roc_auc.min=0.55"]).run()
    assert result.verdict.outcome == "passed", result.verdict
    return root
