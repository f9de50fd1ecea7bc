"""Which columns of a sealed table a principal sees is decided per column class; the other columns' keys stay wrapped."""

import json

import pytest

import casemate
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
