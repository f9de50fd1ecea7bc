"""`casemate logs rules`: check, list and try rules, without a project."""

import json

import msgspec
import pytest
from tests.unit.watch.rule_lines import correlation, denied, line, rule

from casemate.cli import main

GOOD = rule("{event.reason: denied}", title="Denied", more="name: denied\n")
BAD = rule("{event.acton: x}", title="Misspelt")
SEVERAL = correlation("event_count", ["denied"], "{gte: 3}", group="user.name", title="Thrice")


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "rules"
    made.mkdir()
    (made / "good.yml").write_text(f"{GOOD}---\n{SEVERAL}")
    return made


@pytest.fixture
def lines(tmp_path):
    file = tmp_path / "lines.jsonl"
    some = [line(0), *(denied(one) for one in range(1, 4))]
    file.write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in some))
    return file


def called(capsys, *words) -> tuple[int, str, str]:
    code = main(["logs", "rules", *map(str, words)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_rules_that_run_are_counted(capsys, folder):
    code, out, _ = called(capsys, "check", folder)
    assert (code, out.splitlines()[-1].endswith("rules run, 0 faults")) == (0, True)


def test_a_rule_that_cannot_run_fails_the_check_by_name(capsys, folder):
    (folder / "bad.yml").write_text(BAD)
    code, out, _ = called(capsys, "check", folder)
    assert code == 1
    assert "bad.yml: Misspelt: lines have no field 'event.acton'" in out
    code, out, _ = called(capsys, "check", folder, "--format", "json")
    assert (code, [one["file"] for one in json.loads(out)["faults"]]) == (1, ["bad.yml"])


def test_the_projects_own_rules_are_found_beside_its_configuration(capsys, folder, tmp_path):
    _, out, _ = called(capsys, "list", "--config", tmp_path)
    assert "Thrice" in out
    assert "Somebody took emergency rights" in out
    _, out, _ = called(capsys, "list", "--config", folder)
    assert "Thrice" not in out


@pytest.mark.parametrize("name", ["Thrice", "file"])
def test_a_rule_is_tried_on_lines(capsys, folder, lines, name):
    rule_ = folder / "good.yml" if name == "file" else name
    code, out, _ = called(capsys, "test", rule_, "--lines", lines, "--config", folder.parent)
    assert code == 1
    assert 'medium Thrice (user.name User::"ana"): 3, from' in out
    lines.write_text(msgspec.json.encode(line(0)).decode())
    code, out, _ = called(capsys, "test", rule_, "--lines", lines, "--config", folder.parent)
    assert (code, out) == (0, "no line matched\n")


def test_a_rule_that_only_counts_says_so(capsys, folder, lines):
    code, out, _ = called(capsys, "test", "Denied", "--lines", lines, "--config", folder.parent)
    assert code == 0
    assert "it only counts for correlations" in out


def test_a_rule_that_is_not_there_or_does_not_run_is_no_verdict(capsys, folder, lines):
    (folder / "bad.yml").write_text(BAD)
    for name, said in (("Nothing", "no rule is called"), ("Misspelt", "it does not run")):
        code, _, err = called(capsys, "test", name, "--lines", lines, "--config", folder.parent)
        assert (code, said in err) == (2, True)
    code, _, err = called(capsys, "test", folder / "bad.yml", "--lines", lines)
    assert (code, "it does not run" in err) == (2, True)
    code, _, err = called(capsys, "check", folder / "none")
    assert (code, "there are no rules at" in err) == (2, True)


@pytest.mark.parametrize(
    "wrong",
    [
        "no json",
        '{"message": "no time"}',
        msgspec.json.encode(line(0, time="today")).decode(),
        "[" * 70_000,
    ],
)
def test_a_line_that_is_none_is_refused_with_its_number(capsys, folder, lines, wrong):
    with lines.open("a") as file:
        file.write(wrong)
    code, _, err = called(capsys, "test", folder / "good.yml", "--lines", lines)
    assert code == 1
    assert "line 5 of" in err


def test_without_the_extra_it_is_said_what_to_install(capsys, folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "re2", None)
    code, _, err = called(capsys, "check", folder)
    assert (code, "pip install 'casemate[sigma]'" in err) == (5, True)
