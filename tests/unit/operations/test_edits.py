"""Every option of `[data]` and `[data.columns]` that is edited after the first run changes what is
sealed, or is refused by name.
"""

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from tests.conftest import write_csv

import casemate
from casemate import config as configuration
from casemate.config import ColumnTable, DataTable
from casemate.core.digest import sha256_record
from casemate.core.errors import Error
from casemate.operations import runs, scaffold
from casemate.pipeline import data_tools
from casemate.stages.data import schema, stage
from casemate.stages.data.checks.interface import Answer
from casemate.stages.data.stage import examine

QUICK = [
    f"screen.{name}=false"
    for name in (
        "label_noise",
        "neighbours",
        "floods",
        "triggers",
        "spectral",
        "influence",
        "outliers",
    )
]
COLUMNS = {
    "class": ('{ class = "sensitive" }', "a"),
    "type": ('{ type = "category" }', "a"),
    "coerce": ("{ coerce = true }", "a"),
    "use": ("{ use = false }", "a"),
    "min": ("{ min = -1000 }", "a"),
    "max": ("{ max = 1000 }", "a"),
    "categories": ('{ categories = ["u", "v", "w"] }', "s"),
    "nullable": ("{ nullable = true }", "a"),
    "decimal": ('{ decimal = "." }', "a"),
    "censored": ("{ censored = true }", "a"),
    "format": ('{ type = "time", format = "%Y-%d-%m", coerce = true }', "d"),
    "parts": ('{ type = "time", parts = ["year"] }', "d"),
    "since": ('{ type = "time", parts = ["days"], since = "2030-01-01" }', "d"),
    "missing": ('{ missing = ["v"] }', "s"),
    "unit": ('{ unit = "kg" }', "a"),
    "protected": ("{ protected = true }", "s"),
    "mask": ('{ mask = "redact" }', "s"),
    "monotone": ('{ monotone = "increasing" }', "a"),
}
ELSEWHERE = {
    "coerce", "decimal", "unit", "protected", "mask", "monotone", "ordinal", "name", "rules",
    "time", "trim", "missing_target", "max_bytes", "sample", "reference", "schema", "encoding", "quote",
    "escape", "bad_rows", "date_format", "table", "query", "password",
}  # fmt: skip
"""What reaches figures, findings or readers, or says nothing new of these very cells."""
DATA = {
    "source": '"other.csv"',
    "target": '"s"',
    "task": '"regression"',
    "subject": '"s"',
    "weight": '"a"',
    "ordinal": '["0", "1"]',
    "name": '"other"',
    "positive": '"0"',
    "header": '["a", "s", "d", "z"]',
    "delimiter": '";"',
    "decimal": '","',
    "encoding": '"latin-1"',
    "quote": '"~"',
    "escape": '"^"',
    "skip_lines": "1",
    "bad_rows": '"quarantine"',
    "date_format": '"%d.%m.%Y"',
    "table": '"t"',
    "query": '"SELECT 1"',
    "password": '"env:NOBODY"',
    "null_values": '["", "v"]',
    "missing_target": '"drop"',
    "trim": "false",
    "schema": '"other.toml"',
    "max_bytes": "10",
    "sample": "1000",
    "columns": None,
    "rules": '[{ name = "r", check = "a < 1" }]',
    "time": '"d"',
    "provenance": '"s"',
    "reference": '"0123456789abcdef"',
}


def rows() -> pa.Table:
    draw = np.random.default_rng(0)
    days = [f"2020-{n % 12 + 1:02d}-{n % 28 + 1:02d}" for n in range(300)]
    return pa.table(
        {
            "a": draw.normal(size=300).round(3),
            "s": draw.choice(["u", "v", "w"], 300),
            "d": days,
            "y": draw.integers(0, 2, 300),
        }
    )


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A project whose schema is pinned, its casemate.toml, and what a run would seal."""
    root = tmp_path_factory.mktemp("edits") / "p"
    root.mkdir()
    plan = scaffold.from_table(root, write_csv(root / "t.csv", rows()), "y")
    plan.data = msgspec.structs.replace(plan.data, columns={}, time=None)
    scaffold.create(root, plan)
    write_csv(root / "other.csv", rows().slice(0, 280))
    text = (root / "casemate.toml").read_text()
    return root, text, sealed(root, text)


def sealed(root, text):
    """What a run would seal, as digests of everything that an option can reach; or the error."""
    (root / "casemate.toml").write_text(text)
    project = casemate.open(root, QUICK)
    try:
        with pytest.MonkeyPatch.context() as patch:
            # fits models to every feature, and its findings are in no cell
            patch.setattr(stage, "look_for_leaks", lambda tools, checked, rows: (Answer(), rows))
            found = examine(data_tools(runs.run_context(project)))
    finally:
        project.database.close()
    if not (root / "schema.toml").exists():
        (root / "schema.toml").write_text(schema.dump(found.schema))
    cells = found.table.to_pandas().to_csv()
    return {
        "schema": sha256_record(found.schema),
        "read": sha256_record(project.config.data),
        "cells": cells,
    }


def test_the_lists_name_every_option():
    columns = {field.encode_name for field in msgspec.structs.fields(ColumnTable)}
    assert (columns, {field.encode_name for field in msgspec.structs.fields(DataTable)}) == (
        set(COLUMNS),
        set(DATA),
    )


@pytest.mark.parametrize(
    "option", [*(f"columns.{name}" for name in COLUMNS), *(name for name in DATA if DATA[name])]
)
def test_an_edit_changes_what_is_sealed_or_is_refused_by_name(first, option):
    root, text, before = first
    if option.startswith("columns."):
        said, column = COLUMNS[option.partition(".")[2]]
        edited = text.replace(
            "\n[screen]\n", f"\n[data.columns]\n{column} = {said}\n\n[screen]\n", 1
        )
    else:
        name, value = option, DATA[option]
        lines = [line for line in text.splitlines() if not line.startswith(f"{name} =")]
        place = lines.index("[data]") + 1
        edited = "\n".join([*lines[:place], f"{name} = {value}", *lines[place:]])
    try:
        after = sealed(root, edited)
    except Error as error:
        assert any(
            word in error.message for word in (option.rpartition(".")[2], "column", "target")
        )
        return
    assert after != before
    assert option.rpartition(".")[2] in ELSEWHERE or (after["schema"], after["cells"]) != (
        before["schema"],
        before["cells"],
    )


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("s = { min = 3 }", "min of 's', which is category"),
        ('a = { categories = ["1"] }', "categories of 'a', which is number"),
        ('d = { type = "text", use = true }', "use = true of 'd', which is text"),
        ('"s*" = { unit = "kg" }', "unit of 's', which is category"),
        ("y = { use = true }", "use = true of 'y', which is a target"),
    ],
)
def test_what_would_be_said_in_vain_is_refused_with_its_line(first, line, what):
    root, text, _ = first
    edited = text.replace("\n[screen]\n", f"\n[data.columns]\n{line}\n\n[screen]\n", 1)
    number = edited.splitlines().index(line) + 1
    with pytest.raises(Error, match="says") as caught:
        sealed(root, edited)
    assert caught.value.exit_code == 2
    assert (
        caught.value.message.startswith(f"casemate.toml:{number}: ")
        and what in caught.value.message
    )


def test_what_an_entry_says_against_itself_is_refused_when_the_file_is_read(first):
    _, text, _ = first
    for said in (
        '{ type = "category", min = 1 }',
        '{ parts = ["days"], type = "time" }',
        '{ class = "identifier", use = true }',
        '{ type = "text", coerce = true }',
    ):
        with pytest.raises(Error, match=r"\[data.columns\] a: "):
            configuration.parse(
                text.replace("\n[screen]\n", f"\n[data.columns]\na = {said}\n\n[screen]\n", 1)
            )
