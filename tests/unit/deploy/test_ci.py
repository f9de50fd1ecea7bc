"""Pipelines for build servers: the same each time, and nobody's name becomes a command in them."""

import functools
import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import TOML, often

from casemate.config import Config, parse
from casemate.core.errors import ConfigError
from casemate.deploy import ci, github, gitlab, jenkins
from casemate.deploy.interface import Given
from casemate.deploy.quoting import in_groovy, in_yaml
from casemate.deploy.targets import TARGETS

CI = {"gitlab": gitlab, "jenkins": jenkins, "github": github}
STAGES = ["build", "test", "train", "assess", "deploy", "feedback"]
LINES = '[sinks.lines]\nkind = "file"\nto = "logs/casemate.jsonl"\n'
ALL = (
    '[deploy]\nsecrets = ["CASEMATE_PASSPHRASE"]\nrole = "arn:aws:iam::123456789012:role/ml/casemate"\n'
    'approvers = ["ana", "bo"]\nrunner = ["casemate", "gpu-1"]\nbranch = "release/1.x"\ndrill = true\n'
)


def given_of(text: str = "", root: Path = Path("/r"), folder: Path = Path("/r")) -> Given:
    return Given(parse(TOML + text), root, folder, {})


def text_of(target: str, given: Given) -> str:
    ((_, content),) = CI[target].render(given).files.items()
    return content.decode()


def commands_of(target: str, text: str) -> list[str]:
    if target == "jenkins":
        return jenkins.commands(text)
    read = yaml.safe_load(text)
    if target == "gitlab":
        return [line for name in STAGES for line in read[name]["script"]]
    steps = [step for name in STAGES for step in read["jobs"][name]["steps"]]
    return [step["run"] for step in steps if "run" in step and "casemate-token" not in step["run"]]


@pytest.mark.parametrize("text", ["", ALL])
@pytest.mark.parametrize("target", CI)
def test_each_target_runs_the_same_commands_and_what_is_rendered_is_safe(target, text):
    given = given_of(text)
    first, again = text_of(target, given), text_of(target, given)
    assert first == again
    expected = [line for one in ci.stages(given, CI[target].PIPELINE) for line in one.commands]
    assert commands_of(target, first) == expected
    assert ("casemate drill --if-due" in expected) is ("drill" in text)
    assert CI[target].dangers(first.encode()) == []
    # after verifying, and with keys from the repository, not from beside the model
    deploy = [line for line in expected if "casemate-deploy/signed" in line]
    assert deploy[1] == "casemate verify casemate-deploy/signed --key trusted"
    assert "model promote" in expected[expected.index(deploy[1]) + 1]


def test_only_the_branch_is_trained_a_person_is_asked_and_secrets_are_names():
    given = given_of(ALL)
    pipeline = yaml.safe_load(text_of("gitlab", given))
    assert pipeline["workflow"]["rules"] == [
        {"if": '$CI_PIPELINE_SOURCE == "merge_request_event"', "when": "never"},
        {"if": '$CI_COMMIT_BRANCH == "release/1.x"'},
    ]
    assert pipeline["deploy"]["rules"][-1] == {"when": "manual", "allow_failure": False}
    assert pipeline["default"]["tags"] == ["casemate", "gpu-1"]
    workflow = yaml.safe_load(text_of("github", given))
    assert set(workflow[True]) == {"push", "schedule"}  # YAML 1.1 reads `on` so
    assert workflow[True]["push"] == {"branches": ["release/1.x"]}
    assert workflow["permissions"] == {}
    assert workflow["jobs"]["deploy"]["environment"] == "production"
    assert workflow["jobs"]["train"]["permissions"] == {"contents": "read", "id-token": "write"}
    assert workflow["env"]["CASEMATE_PASSPHRASE"] == "${{ secrets.CASEMATE_PASSPHRASE }}"
    without = yaml.safe_load(text_of("github", given_of()))
    assert all(job["permissions"] == {"contents": "read"} for job in without["jobs"].values())
    text = text_of("jenkins", given)
    assert "submitter 'ana,bo'" in text
    assert "CASEMATE_PASSPHRASE = credentials('CASEMATE_PASSPHRASE')" in text


def test_a_project_below_the_repository_is_named_in_every_command():
    given = given_of(root=Path("/r/ml models/it's"), folder=Path("/r"))
    for target in CI:
        lines = [
            line for line in commands_of(target, text_of(target, given)) if "verify" not in line
        ]
        named = [shlex.split(line)[2] for line in lines if line.startswith("casemate")]
        assert set(named) == {"ml models/it's"}
    with pytest.raises(ConfigError, match="does not lie in"):
        text_of("gitlab", given_of(root=Path("/elsewhere"), folder=Path("/r")))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[deploy]\nsecrets = ["hunter2"]\n', "secrets"),
        ('[deploy]\nsecrets = ["LD_PRELOAD"]\n', "steers the job"),
        (
            '[deploy]\nsecrets = ["AWS_SECRET_ACCESS_KEY"]\nrole = "arn:aws:iam::123456789012:role/a"\n',
            "give one of them",
        ),
        ('[deploy]\nbranch = "main\\n"\n', "branch"),
        ('[deploy]\ntrusted = "../keys"\n', "trusted"),
        ('[deploy]\nenvironment = "a b"\n', "environment"),
        ('[deploy]\nschedule = "@daily"\n', "schedule"),
        ("[deploy]\nrunner = []\n", "runner"),
        ('[keys]\npassphrase = "prompt"\n', "nobody is at the keyboard"),
        ('[keys]\npassphrase = "env:PW"\n', "does not name it"),
    ],
)
def test_what_could_not_run_or_would_leak_is_refused(text, expected):
    with pytest.raises(ConfigError, match=expected) as caught:
        text_of("gitlab", given_of(text))
    assert "hunter2" not in str(caught.value.diagnostics())


WORDS = [
    "no",
    "1e3",
    "0o7",
    "12:30",
    "~",
    "=",
    "null",
    "0x1F",
    "2026-01-01",
    "#x",
    "%",
    "'",
    '"',
    "\\",
    "\\u000a",
    "\\u0027",
    "$(id)",
    "`id`",
    "${HOME}",
    ";id",
    "//",
    "*/",
    "--help",
    "-rf",
    "]]>",
    "&amp;",
    "{{1}}",
    "{%raw%}",
    "x",
]
BREAKS = [
    "a: b",
    "- a",
    "${{ secrets.X }}",
    "' || true'",
    "')\nevil(",
    "\n",
    "\r",
    "\x85",
    "\u2028",
    "\U000e0001",
    "é",
    "😀",
]
HOSTILE = st.lists(st.sampled_from(WORDS + BREAKS), min_size=1, max_size=3).map("".join)


def hostile(config: Config, text: str) -> Config:
    """The configuration with a name that its file would not take, everywhere."""
    change = msgspec.structs.replace
    deploy = change(
        config.deploy, branch=text, runner=[text], environment=text, trusted=text, approvers=[text]
    )
    sinks = {name: change(table, to=text, stream=text) for name, table in config.sinks.items()}
    project = change(config.project, name=text, purpose=text)
    return change(config, deploy=deploy, project=project, sinks=sinks, slo={text: config.slo["a"]})


PLAIN = parse(TOML + LINES + '[slo.a]\nkind = "availability"\n')


def shape(value):
    """What a document is, without its texts: how many commands and keys, where."""
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(key): shape(one) for key, one in value.items()}
    if isinstance(value, list):
        return [shape(one) for one in value]
    return type(value).__name__


def bare(text):
    """A Jenkinsfile without what stands in quotes, and without comments."""
    return [re.sub(r"'(?:[^'\\]|\\.)*'", "''", one).split("//")[0] for one in text.splitlines()]


@dataclass(frozen=True)
class Plain:
    """A pipeline in which no name is hostile."""

    text: str
    shape: object
    commands: list[str]


@functools.cache
def plain_of(target):
    text = text_of(target, Given(hostile(PLAIN, "plain"), Path("/r/p"), Path("/r"), {}))
    read = None if target == "jenkins" else shape(yaml.safe_load(text))
    return Plain(text, read, commands_of(target, text))


@pytest.mark.parametrize("target", CI)
@settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=often(60),
)
@given(text=HOSTILE)
def test_no_name_becomes_anything_but_itself_in_a_pipeline(target, text):
    root = Path("/r") / (text.replace("/", "").replace("\0", "") or "x")
    plain = plain_of(target)
    try:
        written = text_of(target, Given(hostile(PLAIN, text), root, Path("/r"), {}))
    except ConfigError:
        return
    if target == "jenkins":
        assert bare(written) == bare(plain.text)
    else:
        assert shape(yaml.safe_load(written)) == plain.shape
        assert written.count("${{") == plain.text.count("${{")
    for line, other in zip(commands_of(target, written), plain.commands, strict=True):
        # the same words for a shell, and the name is one of them
        words, others = shlex.split(line), shlex.split(other)
        assert len(words) == len(others)
        changed = [one for one, before in zip(words, others, strict=True) if one != before]
        assert set(changed) <= {text, root.name}


@given(text=HOSTILE)
@settings(deadline=None, max_examples=often(60))
def test_no_name_becomes_anything_but_itself_in_other_files(text):
    config = hostile(PLAIN, text)
    for target in ("prometheus", "elasticsearch", "rsyslog"):
        try:
            from casemate.deploy import elasticsearch, prometheus, rsyslog

            files = {
                "prometheus": lambda: prometheus.render(config, b"", text),
                "elasticsearch": lambda: elasticsearch.render(config),
                "rsyslog": lambda: rsyslog.render(config, Path("/r"), None, "/w"),
            }[target]()
        except (ConfigError, ValueError):
            continue
        for name, content in files.items():
            if name.endswith(".json"):
                json.loads(content)
            if name.endswith(".yml"):
                read = yaml.safe_load(content)
                assert isinstance(read, dict)
                if name == "prometheus.yml":
                    assert read["scrape_configs"][0]["static_configs"] == [{"targets": [text]}]


@given(st.text())
def test_every_text_survives_yaml_and_stays_one_line(text):
    written = in_yaml(text)
    assert yaml.safe_load(written) == text
    assert len(written.splitlines()) == 1
    assert yaml.safe_load(f"a: {written} # b\nc: [{written}, 1]") == {"a": text, "c": [text, 1]}


@given(st.text())
def test_a_text_in_groovy_has_no_end_but_its_own(text):
    try:
        written = in_groovy(text)
    except ConfigError:
        return
    assert re.fullmatch(r"'(?:[^'\\]|\\.)*'", written)
    assert jenkins.commands(f"sh {written}") == [text]


@pytest.mark.parametrize(
    ("target", "old", "new", "danger"),
    [
        ("gitlab", "- when: manual", "- when: on_success", "nobody is asked"),
        (
            "gitlab",
            '    - "casemate verify casemate-deploy/signed --key trusted"\n',
            "",
            "did not see",
        ),
        ("gitlab", " --key trusted", "", "did not see"),
        ("gitlab", "default:", "image: python:3.11\ndefault:", "by a tag"),
        ("gitlab", "stages:", "stages: [", "no YAML"),
        ("github", "@08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0", "@v5", "40 digits"),
        ("github", "  push:", "  pull_request_target:\n  push:", "others propose"),
        ("github", "permissions: {}", "", "no permissions"),
        ("github", "permissions: {}", "permissions: write-all", "write-all"),
        ("github", '    environment: "production"\n', "", "nobody is asked"),
        (
            "github",
            '"casemate check"',
            "echo ${{ github.event.head_commit.message }}",
            "before a shell",
        ),
        ("github", " --key trusted", "", "did not see"),
        ("jenkins", "sh 'casemate check'", 'sh "casemate check"', "double quotes"),
        (
            "jenkins",
            "        sh 'casemate verify casemate-deploy/signed --key trusted'\n",
            "",
            "did not",
        ),
        ("jenkins", "input {", "inputs {", "nobody is asked"),
        ("jenkins", "      input {", "      // input {", "nobody is asked"),
        (
            "jenkins",
            "sh 'casemate verify casemate-deploy/signed",
            "// sh 'casemate verify casemate-deploy/signed",
            "did not see",
        ),
        ("jenkins", "sh 'casemate model promote", "sh script: 'casemate model promote", "not read"),
        ("jenkins", "signed --key trusted'", "signed --key trusted || true'", "did not see"),
        (
            "gitlab",
            '- "casemate verify casemate-d',
            '- "# casemate verify casemate-d',
            "did not see",
        ),
        ("gitlab", 'signed --key trusted"', 'signed --key trusted || :"', "did not see"),
        ("gitlab", 'signed --key trusted"', 'signed --key trusted; true"', "did not see"),
        ("gitlab", 'signed --key trusted"', 'signed --key trusted && date"', "did not see"),
        (
            "gitlab",
            '    - "casemate model promote',
            '  after_script:\n    - "casemate model promote',
            "did not see",
        ),
        (
            "github",
            'run: "casemate verify casemate-d',
            'run: "# casemate verify casemate-d',
            "did not see",
        ),
        ("github", 'signed --key trusted"', 'signed --key trusted &"', "did not see"),
        (
            "github",
            'signed --key trusted"',
            'signed --key trusted"\n        continue-on-error: true',
            "did not see",
        ),
        (
            "github",
            'signed --key trusted"',
            "signed --key trusted\"\n        if: github.actor != 'eva'",
            "did not see",
        ),
    ],
)
def test_an_edited_pipeline_that_is_unsafe_is_named(target, old, new, danger):
    text = text_of(target, given_of())
    assert old in text
    found = TARGETS[target].dangers(CI[target].FILE, text.replace(old, new).encode())
    assert found
    assert any(danger in one for one in found), found


@pytest.mark.parametrize(
    "content", [b"[\n" * 5_000, b"\xff", b"- a", b"a: *b", b"", b"a: 1\n" * 300_000]
)
def test_what_is_no_pipeline_is_said_to_be_none(content):
    for target in ("gitlab", "github"):
        assert "no YAML" in TARGETS[target].dangers(CI[target].FILE, content)[0]


@pytest.mark.parametrize(
    "new", ["signed --key trusted 2>&1", "signed --key trusted # once more", "signed --key a/b;"]
)
def test_a_verification_that_ends_the_job_is_taken_however_it_is_written(new):
    for target in ("gitlab", "github", "jenkins"):
        text = text_of(target, given_of()).replace("signed --key trusted", new)
        assert TARGETS[target].dangers(CI[target].FILE, text.encode()) == []


BOMB = b"a0: &a0 [x, x]\n" + b"".join(
    b"a%d: &a%d [*a%d, *a%d]\n" % (n, n, n - 1, n - 1) for n in range(1, 40)
)


@pytest.mark.parametrize(
    "content",
    [
        BOMB + b"jobs: {a: {uses: *a39}}",
        BOMB + b"image: *a39\nj: {image: {name: *a39}}",
        b"jobs: {a: {steps: 5}}",
        b"jobs: {a: {steps: {run: 1}, uses: [1]}}",
        b"j: {script: 5, rules: [5], image: 7}",
    ],
)
def test_a_pipeline_of_other_shapes_is_judged_at_once(content):
    for target in ("gitlab", "github"):
        TARGETS[target].dangers(CI[target].FILE, content)
