"""`[trackers.NAME]`: what is refused before anything is asked, and what commands say."""

import json

import pytest

import casemate
from casemate import config as configuration
from casemate.config.trackers import NEEDED
from casemate.core.errors import ConfigError

LEAST = """
[project]
name = "p"
id = "p-1"
[train]
entry = "train.py:build"
[data]
source = "t.csv"
target = "y"
"""
GOOD = {
    "url": "https://tracker.example.org",
    "project": "OPS",
    "user": "desk",
    "token": "env:TOKEN",
    "to": "duty@example.org",
}


def parsed(kind, **values):
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    table = "\n".join(["[trackers.desk]", f'kind = "{kind}"', *lines])
    return configuration.parse(LEAST + table).trackers["desk"]


@pytest.mark.parametrize("kind", NEEDED)
def test_each_kind_says_what_it_cannot_do_without(kind):
    needed = {name: GOOD[name] for name in NEEDED[kind]}
    if kind == "github":
        needed["project"] = "clinic/models"
    assert parsed(kind, **needed).kind == kind
    for missing in needed:
        rest = {name: value for name, value in needed.items() if name != missing}
        with pytest.raises(ConfigError, match=rf"\[trackers.desk\] {missing}: a {kind} needs it"):
            parsed(kind, **rest)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"url": "http://tracker.example.org"}, "must be https"),
        ({"url": "https://desk:pw@tracker.example.org"}, "url"),
        ({"url": "https://tracker.example.org?x=1"}, "url"),
        ({"url": "ftp://127.0.0.1"}, "url"),
        ({"token": "glpat-very-secret"}, "token"),
        ({"token": "prompt"}, "token"),
        ({"project": 'X" OR 1=1'}, "project"),
        ({"project": "../x"}, "project"),
        ({"labels": ["two words"]}, "labels"),
        ({"severities": ["urgent"]}, "severit"),
        ({"projekt": "x"}, "projekt"),
    ],
)
def test_what_would_leak_or_break_a_request_is_refused(change, said):
    with pytest.raises(ConfigError, match=said) as caught:
        parsed("gitlab", **{**GOOD, "to": ""} | change)
    assert "very-secret" not in caught.value.message


def test_projects_have_the_form_of_their_kind():
    with pytest.raises(ConfigError, match="OWNER/NAME"):
        parsed("github", project="models", token="env:T")
    with pytest.raises(ConfigError, match="no project's key"):
        parsed("jira-cloud", **GOOD | {"project": "a/b"})


@pytest.fixture
def with_trackers(own):
    path = own / "casemate.toml"
    path.write_text(
        path.read_text()
        + '\n[trackers.hook]\nkind = "webhook"\nurl = "http://127.0.0.1:9/x"\ntoken = "env:HOOK"\n'
        '[trackers.git]\nkind = "gitlab"\nurl = "http://127.0.0.1:9"\nproject = "a/b"\n'
        'token = "env:GIT"\nseverities = ["high"]\n'
    )
    return own


def test_commands_list_trackers_and_say_that_one_is_away(with_trackers, cli, monkeypatch):
    monkeypatch.setenv("GIT", "a-token")
    listed = cli("tracker", "list", "--config", with_trackers, "--format", "json").value
    assert [(one["name"], one["kind"], one["reads"]) for one in listed] == [
        ("hook", "webhook", False),
        ("git", "gitlab", True),
    ]
    assert "gitlab at 127.0.0.1" in cli("tracker", "list", "--config", with_trackers).out
    assert cli("tracker", "check", "hook", "--config", with_trackers).code == 0
    away = cli("tracker", "check", "git", "--config", with_trackers)
    assert away.code == 5
    assert "a-token" not in away.out + away.err
    assert cli("tracker", "check", "nobody", "--config", with_trackers).code == 2
    entries = casemate.open(with_trackers).log.entries()
    assert [e.outcome for e in entries if e.action == "trackers:check"].count("done") == 1


def test_a_token_that_is_not_there_is_named_by_its_reference(with_trackers, cli, monkeypatch):
    monkeypatch.delenv("GIT", raising=False)
    done = cli("tracker", "check", "git", "--config", with_trackers)
    assert done.code == 2
    assert "env:GIT" in done.err
