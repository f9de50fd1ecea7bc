"""What casemate.toml says of a column after the first run is applied, whatever was pinned before;
see `stages.data.schema.apply`.
"""

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import write_csv

from casemate.config import ColumnTable, DataTable
from casemate.core.errors import DataError
from casemate.operations import scaffold
from casemate.stages.data import declared, schema, source

CSV = {
    "id": ["007", "8", "9"],
    "age": [30.0, 40.0, 50.0],
    "site": ["a", "b", "a"],
    "y": ["0", "1", "0"],
}


@pytest.fixture
def pin(tmp_path):
    """Pin a schema under one `[data]`, then read the table and apply another."""
    write_csv(tmp_path / "t.csv", pa.table(CSV))

    def run(before: dict, after: dict):
        first, second = (
            DataTable(**{"source": "t.csv", "target": "y", **said}) for said in (before, after)
        )
        pinned, _ = schema.infer(source.read(tmp_path / "t.csv", first)[0], first)
        # as it comes back from schema.toml
        pinned = msgspec.convert(msgspec.to_builtins(pinned), schema.Schema)
        table, _ = source.read(tmp_path / "t.csv", second, declared.identifiers(pinned, second))
        applied, findings = declared.apply(pinned, table, second)
        schema.check(table, applied, second)
        again, quiet = declared.apply(applied, table, second)
        assert (again, quiet) == (applied, [])  # once applied nothing changes any more
        return applied, findings

    return run


@pytest.mark.parametrize(
    ("column", "said", "expected"),
    [
        (
            "age",
            ColumnTable(column_class="sensitive"),
            {"column_class": "sensitive", "use": True, "min": 30.0},
        ),
        (
            "age",
            ColumnTable(column_class="identifier"),
            {"column_class": "identifier", "use": False, "type": "text", "min": None, "max": None},
        ),
        (
            "site",
            ColumnTable(column_class="identifier"),
            {"column_class": "identifier", "use": False, "type": "text", "categories": None},
        ),
        ("age", ColumnTable(use=False), {"use": False}),
        ("age", ColumnTable(min=0, max=120), {"min": 0, "max": 120}),
        ("age", ColumnTable(type="category"), {"type": "category", "min": None, "max": None}),
        ("age", ColumnTable(type="text"), {"type": "text", "use": False}),
        ("site", ColumnTable(categories=["c", "b", "a"]), {"categories": ["a", "b", "c"]}),
    ],
)
def test_everything_said_of_a_column_later_is_applied_and_told(pin, column, said, expected):
    applied, findings = pin({}, {"columns": {column: said}})
    assert {name: getattr(applied.column(column), name) for name in expected} == expected
    assert [(finding.id, finding.location) for finding in findings] == [
        ("data.schema-changed", column)
    ]
    by_pattern, _ = pin({}, {"columns": {column[:2] + "*": said}})
    assert by_pattern == applied


@pytest.mark.parametrize("before", [{}, {"columns": {"id": ColumnTable(column_class="sensitive")}}])
def test_a_subject_that_is_named_later_is_an_identifier_and_no_feature(pin, before):
    applied, _ = pin(before, {"subject": "id"})
    column = applied.column("id")
    assert (column.column_class, column.type, column.use, column.min, column.categories) == (
        "identifier",
        "text",
        False,
        None,
        None,
    )


def test_what_casemate_toml_does_not_mention_stays_as_pinned(pin):
    said = {
        "age": ColumnTable(column_class="sensitive", use=False, min=1, max=99),
        "id": ColumnTable(column_class="identifier"),
    }
    applied, findings = pin({"columns": said, "subject": "id"}, {})
    assert findings == []
    age = applied.column("age")
    assert (age.column_class, age.use, age.min, age.max) == ("sensitive", False, 1, 99)
    assert applied.column("id").column_class == "identifier"


def test_a_class_is_lowered_only_where_it_says_so(pin):
    applied, findings = pin(
        {"subject": "id"}, {"columns": {"id": ColumnTable(column_class="general", type="category")}}
    )
    assert (applied.column("id").column_class, applied.column("id").categories) == (
        "general",
        ["007", "8", "9"],
    )
    assert findings


def test_the_positive_class_and_the_provenance_are_applied_too(pin):
    applied, findings = pin({}, {"positive": "0", "provenance": "site"})
    assert applied.classes == ["1", "0"]
    assert not applied.column("site").use
    (finding,) = findings
    assert "'site', 'y'" in finding.message, "edits are told together"
    with pytest.raises(DataError, match="positive"):
        pin({}, {"positive": "maybe"})


SAID = st.builds(
    ColumnTable,
    column_class=st.sampled_from([None, "general", "sensitive", "identifier"]),
    type=st.sampled_from([None, "number", "category", "text"]),
    use=st.sampled_from([None, True, False]),
)


@settings(deadline=None)
@given(before=SAID, after=SAID)
def test_what_is_applied_is_what_a_new_schema_would_say_where_it_says_anything(
    tmp_path_factory, before, after
):
    folder = tmp_path_factory.mktemp("pinned")
    write_csv(folder / "t.csv", pa.table(CSV))
    first, second = (
        DataTable(source="t.csv", target="y", columns={"age": said}) for said in (before, after)
    )
    pinned, _ = schema.infer(source.read(folder / "t.csv", first)[0], first)
    table, _ = source.read(folder / "t.csv", second, declared.identifiers(pinned, second))
    try:
        applied, _ = declared.apply(pinned, table, second)
        schema.check(table, applied, second)
    # such as: it was pinned as text, and nothing says what the digits are
    except DataError as error:
        assert after.type is None and "age" in error.message
        return
    fresh, _ = schema.infer(table, second)
    ours, theirs = applied.column("age"), fresh.column("age")
    if after.column_class is not None:
        assert ours.column_class == theirs.column_class
    if after.type is not None and ours.column_class != "identifier":
        assert ours.type == theirs.type
    if after.use is not None and after.type is not None:
        assert ours.use == (theirs.use and ours.column_class != "identifier")


@pytest.mark.parametrize("first", [1582218195625938100, 1])
def test_init_recognises_ids_by_their_digits_not_by_what_a_float_leaves_of_them(tmp_path, first):
    rows = pa.table(
        {
            "patient_id": [first + n for n in range(60)],
            "a": [float(n % 7) for n in range(60)],
            "y": [n % 2 for n in range(60)],
        }
    )
    plan = scaffold.from_table(tmp_path, write_csv(tmp_path / "t.csv", rows), "y")
    assert plan.data.columns["patient_id"].column_class == "identifier"
    column = next(column for column in plan.inferred if column.name == "patient_id")
    assert (column.type, column.use, column.min, column.categories) == ("text", False, None, None)
