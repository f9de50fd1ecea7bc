"""Which columns of a sealed table a principal sees is decided per column class; the other columns' keys stay wrapped."""

import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import casemate
from casemate.controls.access.rows import RowFilter
from casemate.controls.keys.identifiers import PSEUDONYM
from casemate.core.errors import AccessDenied, ConfigError

NOBODY_SEES_IDENTIFIERS = """@id("identifiers-stay-closed")
forbid (principal, action == Action::"dataset:read", resource) when { context.column_class == "identifier" };
"""


@pytest.fixture
def project(own):
    (own / "policies" / "columns.cedar").write_text(NOBODY_SEES_IDENTIFIERS)
    return casemate.open(own)


def test_a_reader_gets_the_columns_that_policy_permits_and_no_other_key_is_unwrapped(project):
    before = project.audit.size()
    dataset = project.datasets["wdbc"]
    table = dataset.to_arrow()
    assert dataset.access().withheld == {"patient_id": ("identifiers-stay-closed",)}
    assert "patient_id" not in table.column_names
    assert table.num_columns == len(dataset.record.schema.columns) - 1
    assert sum(batch.num_rows for batch in dataset.batches()) == table.num_rows
    entries = list(project.audit.entries(before))
    unwrapped = {entry.resource for entry in entries if entry.action == "key:unwrap"}
    assert 'Key::"footer"' in unwrapped
    assert 'Key::"identifier"' not in unwrapped
    (first, _) = [entry for entry in entries if entry.action == "dataset:read"]
    assert (first.outcome, first.detail["withheld"]) == ("allowed", ["patient_id"])


def test_asking_for_a_withheld_column_is_denied_with_the_policy_and_recorded(project, cli):
    with pytest.raises(AccessDenied, match="patient_id.*identifiers-stay-closed"):
        project.datasets["wdbc"].to_arrow(["mean_radius", "patient_id"])
    newest = list(project.audit.entries())[-1]
    assert (newest.action, newest.outcome, newest.detail["columns"]) == ("dataset:read", "denied", ["patient_id"])
    assert project.datasets["wdbc"].to_arrow(["mean_radius"]).column_names == ["mean_radius"]


def test_a_reader_of_no_column_at_all_is_denied(project):
    (project.root / "policies" / "columns.cedar").write_text('@id("closed") forbid (principal, action == Action::"dataset:read", resource);')
    with pytest.raises(AccessDenied, match="closed"):
        casemate.open(project.root).datasets["wdbc"].to_arrow()


def with_rows(root, text, columns='["malignant"]'):
    (root / "casemate.toml").write_text((root / "casemate.toml").read_text() + f"\n[access]\nrows = {columns}\n")
    (root / "policies" / "rows.cedar").write_text(text)
    return casemate.open(root)


BENIGN_ONLY = """@id("benign-only")
forbid (principal, action == Action::"dataset:read-rows", resource) unless { resource.hasTag("malignant") && resource.getTag("malignant") == "0" };
"""


def test_rows_that_policy_closes_are_left_out_and_counted(own):
    everything = casemate.open(own).datasets["wdbc"].to_arrow()
    benign = sum(value == "0" for value in everything["malignant"].to_pylist())
    project = with_rows(own, BENIGN_ONLY)
    dataset = project.datasets["wdbc"]
    table = dataset.to_arrow()
    assert set(table["malignant"].to_pylist()) == {"0"}
    assert table.num_rows == benign
    assert table.column_names == everything.column_names
    assert table.schema.metadata[b"casemate:withheld-rows"] == str(569 - benign).encode()
    assert sum(batch.num_rows for batch in dataset.batches(["mean_radius"])) == benign
    assert dataset.to_arrow(["mean_radius"]).column_names == ["mean_radius"]
    told = [entry for entry in project.audit.entries() if entry.action == "dataset:read-rows"]
    assert [(entry.outcome, entry.detail["rows"]) for entry in told] == [("denied", 569 - benign)] * 3


def test_nothing_is_shown_where_rows_cannot_be_told_apart(own):
    project = with_rows(
        own, '@id("closed") forbid (principal, action == Action::"dataset:read", resource) when { context.column_class == "general" };'
    )
    with pytest.raises(AccessDenied, match="by which rows are told apart"):
        project.datasets["wdbc"].to_arrow(["patient_id"])


def test_identifiers_do_not_tell_rows_apart(own):
    project = with_rows(own, BENIGN_ONLY, '["patient_id"]')
    with pytest.raises(ConfigError, match="is of class identifier"):
        project.datasets["wdbc"].to_arrow()


@given(
    st.lists(st.tuples(st.sampled_from(["A", "B", "", None]), st.sampled_from([1.0, 2.5, None]), st.booleans()), max_size=60),
    st.sets(st.tuples(st.sampled_from(["A", "B", "", None]), st.sampled_from(["1", "2.5", None]))),
)
def test_a_row_is_kept_exactly_if_its_combination_is_open(rows, open_):
    table = pa.table(
        {"ward": pa.array([r[0] for r in rows], pa.string()), "n": pa.array([r[1] for r in rows], pa.float64()), "x": [r[2] for r in rows]}
    )
    asked = []

    def allowed(tags):
        asked.append(tags)
        return (dict(tags).get("ward"), dict(tags).get("n")) in open_

    rows_filter = RowFilter(["ward", "n"], allowed)
    text = {1.0: "1", 2.5: "2.5", None: None}
    expected = [row for row in rows if (row[0], text[row[1]]) in open_]
    assert list(zip(*rows_filter.keep(table).to_pydict().values(), strict=True)) == expected
    assert rows_filter.withheld == len(rows) - len(expected)
    assert len(asked) == len(set(asked))


def test_a_filter_by_a_column_of_many_values_is_refused():
    with pytest.raises(ConfigError, match="more than 10000 combinations"):
        RowFilter(["x"], lambda _: True).keep(pa.table({"x": list(range(10_001))}))


def test_an_unknown_column_is_named(own):
    with pytest.raises(ConfigError, match="no column 'nope'"):
        casemate.open(own).datasets["wdbc"].to_arrow(["nope"])


def test_without_such_a_policy_everything_is_there_and_the_pseudonym_only_when_asked_for(own):
    dataset = casemate.open(own).datasets["wdbc"]
    assert dataset.access().withheld == {}
    assert PSEUDONYM not in dataset.to_arrow().column_names
    assert dataset.to_arrow([PSEUDONYM]).column_names == [PSEUDONYM]


def test_show_and_diff_say_what_is_withheld(project, cli):
    answer = cli("data", "show", "wdbc", "--config", str(project.root))
    assert "identifiers-stay-closed" in answer.out
    version = project.datasets["wdbc"].reference
    answer = cli("data", "diff", version, version, "--config", str(project.root))
    assert "policy withholds them: patient_id" in answer.out
    assert json.loads(cli("data", "diff", version, version, "--format", "json", "--config", str(project.root)).out)["withheld"] == ["patient_id"]
