"""Which columns of a sealed table a principal sees is decided per column class; the other columns'
keys stay wrapped.
"""

import datetime
import json

import pyarrow as pa
import pytest
import sqlalchemy as sa
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

import casemate
from casemate.controls.access.anomalies import COUNTS
from casemate.controls.access.masks import masked
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
    before = project.log.size()
    dataset = project.datasets["wdbc"]
    table = dataset.to_arrow()
    assert dataset.access().withheld == {"patient_id": ("identifiers-stay-closed",)}
    assert "patient_id" not in table.column_names
    assert table.num_columns == len(dataset.record.schema.columns) - 1
    assert sum(batch.num_rows for batch in dataset.batches()) == table.num_rows
    entries = list(project.log.entries(before))
    unwrapped = {entry.resource for entry in entries if entry.action == "key:unwrap"}
    assert 'Key::"footer"' in unwrapped
    assert 'Key::"identifier"' not in unwrapped
    first, _ = [entry for entry in entries if entry.action == "dataset:read"]
    assert (first.outcome, first.detail["withheld"]) == ("allowed", ["patient_id"])


def test_asking_for_a_withheld_column_is_denied_with_the_policy_and_recorded(project, cli):
    with pytest.raises(AccessDenied, match="patient_id.*identifiers-stay-closed"):
        project.datasets["wdbc"].to_arrow(["mean_radius", "patient_id"])
    newest = list(project.log.entries())[-1]
    assert (newest.action, newest.outcome, newest.detail["columns"]) == (
        "dataset:read",
        "denied",
        ["patient_id"],
    )
    assert project.datasets["wdbc"].to_arrow(["mean_radius"]).column_names == ["mean_radius"]


def test_a_reader_of_no_column_at_all_is_denied(project):
    (project.root / "policies" / "columns.cedar").write_text(
        '@id("closed") forbid (principal, action == Action::"dataset:read", resource);'
    )
    with pytest.raises(AccessDenied, match="closed"):
        casemate.open(project.root).datasets["wdbc"].to_arrow()


def with_rows(root, text, columns='["malignant"]'):
    (root / "casemate.toml").write_text(
        (root / "casemate.toml").read_text() + f"\n[access]\nrows = {columns}\n"
    )
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
    told = [entry for entry in project.log.entries() if entry.action == "dataset:read-rows"]
    assert [(entry.outcome, entry.detail["rows"]) for entry in told] == [
        ("denied", 569 - benign)
    ] * 3


def test_nothing_is_shown_where_rows_cannot_be_told_apart(own):
    project = with_rows(
        own,
        '@id("closed") forbid (principal, action == Action::"dataset:read", resource) when {'
        ' context.column_class == "general" };',
    )
    with pytest.raises(AccessDenied, match="by which rows are told apart"):
        project.datasets["wdbc"].to_arrow(["patient_id"])


def test_a_table_without_the_column_that_tells_rows_apart_is_not_read(own):
    project = with_rows(own, BENIGN_ONLY, '["ward"]')
    with pytest.raises(ConfigError, match="has no column 'ward'"):
        project.datasets["wdbc"].to_arrow()


def test_rows_that_are_not_told_apart_are_decided_all_at_once(own):
    project = with_rows(
        own,
        '@id("none") forbid (principal, action == Action::"dataset:read-rows", resource);',
        "[]",
    )
    table = project.datasets["wdbc"].to_arrow()
    assert (table.num_rows, table.schema.metadata[b"casemate:withheld-rows"]) == (0, b"569")


def test_what_a_reader_took_before_stopping_half_way_is_counted(own):
    project = casemate.open(own)
    pieces = project.datasets["wdbc"].batches(["mean_radius"])
    next(pieces)
    pieces.close()
    with project.database.reading() as tx:
        assert tx.execute(sa.select(COUNTS.c.amount).where(COUNTS.c.kind == "rows")).scalar() == 569


def test_the_schema_shows_no_value_of_a_withheld_column(masked_project, cli):
    shown = json.loads(
        cli("data", "show", "wdbc", "--config", masked_project.root, "--format", "json").out
    )
    columns = {column["name"]: column for column in shown["dataset"]["schema"]["columns"]}
    assert columns["mean_radius"]["min"] is not None
    assert columns["patient_id"].get("categories") is None


def test_identifiers_do_not_tell_rows_apart(own):
    project = with_rows(own, BENIGN_ONLY, '["patient_id"]')
    with pytest.raises(ConfigError, match="is of class identifier"):
        project.datasets["wdbc"].to_arrow()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["A", "B", "", None]), st.sampled_from([1.0, 2.5, None]), st.booleans()
        ),
        max_size=60,
    ),
    st.sets(st.tuples(st.sampled_from(["A", "B", "", None]), st.sampled_from(["1", "2.5", None]))),
)
def test_a_row_is_kept_exactly_if_its_combination_is_open(rows, open_):
    table = pa.table(
        {
            "ward": pa.array([r[0] for r in rows], pa.string()),
            "n": pa.array([r[1] for r in rows], pa.float64()),
            "x": [r[2] for r in rows],
        }
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
    assert json.loads(
        cli("data", "diff", version, version, "--format", "json", "--config", str(project.root)).out
    )["withheld"] == ["patient_id"]


MASKED = """@id("identifiers-under-a-mask")
forbid (principal, action == Action::"dataset:read", resource) when { context.column_class == "identifier" && context.purpose != "treatment" };
@id("sensitive-closed")
forbid (principal, action == Action::"dataset:read", resource) when { context.column_class == "sensitive" };
"""


@pytest.fixture
def masked_project(own):
    document = tomlkit.parse((own / "casemate.toml").read_text())
    document["data"]["columns"]["patient_id"]["mask"] = "first-2"
    (own / "casemate.toml").write_text(tomlkit.dumps(document))
    (own / "policies" / "masks.cedar").write_text(MASKED)
    return casemate.open(own)


def test_a_masked_column_shows_what_its_mask_leaves(masked_project):
    dataset = masked_project.datasets["wdbc"]
    plain = dataset.for_purpose("treatment").to_arrow(["patient_id"])
    assert (dataset.access().withheld, dataset.access().masked) == (
        {PSEUDONYM: ("sensitive-closed",)},
        {"patient_id": "first-2"},
    )
    shown = dataset.to_arrow(["patient_id", "mean_radius"])
    assert shown.schema.metadata[b"casemate:masked-columns"] == b"patient_id"
    assert shown["patient_id"].to_pylist() == [
        value[:2] for value in plain["patient_id"].to_pylist()
    ]
    pieces = [
        value
        for batch in dataset.batches(["patient_id"])
        for value in batch["patient_id"].to_pylist()
    ]
    assert pieces == shown["patient_id"].to_pylist()
    read = [
        entry.detail for entry in masked_project.log.entries() if entry.action == "dataset:read"
    ]
    assert [detail.get("masked") for detail in read] == [None, ["patient_id"], ["patient_id"]]
    assert read[0]["purpose"] == "treatment"


def test_who_may_not_even_see_it_masked_sees_nothing_of_it(masked_project, cli):
    (masked_project.root / "policies" / "none.cedar").write_text(
        '@id("no-masks") forbid (principal, action == Action::"dataset:read-masked", resource);'
    )
    here = casemate.open(masked_project.root)
    assert here.datasets["wdbc"].access().withheld["patient_id"] == ("identifiers-under-a-mask",)
    with pytest.raises(AccessDenied, match="patient_id"):
        here.datasets["wdbc"].to_arrow(["patient_id"])


def test_show_names_masks_and_purposes(masked_project, cli):
    shown = cli("data", "show", "wdbc", "--config", masked_project.root).out
    assert "first-2" in shown
    treatment = cli(
        "data", "show", "wdbc", "--purpose", "treatment", "--config", masked_project.root
    ).out
    assert "first-2" not in treatment


def test_masks_leave_what_they_say_and_missing_cells_missing():
    def under(mask, values, kind):
        return masked(pa.chunked_array([pa.array(values, kind)]), mask, "x").to_pylist()

    when = datetime.datetime(1983, 5, 6, 7, 8)  # noqa: DTZ001 - tables hold times without a zone
    assert under("redact", ["a", None], pa.string()) == [None, None]
    assert under("first-3", ["81234", "8", "", None, "äöüß"], pa.string()) == [
        "812",
        "8",
        "",
        None,
        "äöü",
    ]
    assert under("year", [when, None], pa.timestamp("us")) == [1983, None]
    assert under("round-10", [19.9, -0.5, None, 20.0], pa.float64()) == [10.0, -10.0, None, 20.0]
    assert under("round-5", [7, None], pa.int64()) == [5.0, None]
    for mask, values, kind in (
        ("year", ["1983"], pa.string()),
        ("round-10", ["1"], pa.string()),
        ("first-2", [12.5], pa.float64()),
    ):
        with pytest.raises(ConfigError, match="does not fit"):
            under(mask, values, kind)


# what is next to 0 becomes 0
@given(
    st.lists(st.floats(-1e9, 1e9, allow_subnormal=False) | st.none(), max_size=30),
    st.integers(1, 10**6),
)
def test_rounding_hides_all_but_the_step(values, step):
    shown = masked(
        pa.chunked_array([pa.array(values, pa.float64())]), f"round-{step}", "x"
    ).to_pylist()
    for value, left in zip(values, shown, strict=True):
        assert (left is None) == (value is None)
        assert left is None or (
            left % step == 0 and left <= value < left + step + 1e-6 * abs(value)
        )


def test_reading_counts_towards_what_is_usual(own):
    text = (own / "casemate.toml").read_text()
    (own / "casemate.toml").write_text(text + "\n[access]\nbulk_rows = 1000\n")
    project = casemate.open(own)
    for _ in range(2):
        project.datasets["wdbc"].to_arrow(["mean_radius"])
    (found,) = project.point.anomalies.list()
    assert (found.kind, found.message) == ("bulk-reading", "1138 rows in a day")
    with pytest.raises(AccessDenied, match="risk-asks-for-a-second-factor"):
        project.datasets["wdbc"].to_arrow(["mean_radius"])
