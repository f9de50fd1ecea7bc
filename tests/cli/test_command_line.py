"""What holds for every command: options anywhere on the line, faults as JSON, completion by the
shell.
"""

import json
import shutil
import subprocess

import pytest

from casemate.cli import VERBS, main
from casemate.cli.commands import COMMANDS
from casemate.core.errors import Error


def test_the_shared_options_are_read_wherever_they_stand(tiny_project, cli):
    shared = ["--config", str(tiny_project)]
    expected = cli(
        "config", "show", *shared, "--format", "json", "-s", "train.folds=4", "-s", "run.retries=1"
    ).value
    assert (expected["train"]["folds"], expected["run"]["retries"]) == (4, 1)
    for words in (
        [
            *shared,
            "--format",
            "json",
            "-s",
            "train.folds=4",
            "-s",
            "run.retries=1",
            "config",
            "show",
        ],
        ["config", *shared, "-s", "train.folds=4", "--format=json", "show", "-s", "run.retries=1"],
        [
            "-strain.folds=3",
            "--format",
            "json",
            "config",
            "-s",
            "train.folds=4",
            "show",
            "-s",
            "run.retries=1",
            *shared,
        ],
    ):
        assert cli(*words).value == expected, words


def test_the_value_of_a_shared_option_is_no_verb(tmp_path, cli, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = cli("--config", "runs", "status")
    assert (done.code, "no casemate.toml in" in done.err) == (2, True)


@pytest.mark.parametrize(
    "name", [name for name in COMMANDS if name not in ("doctor", "audit witness serve")]
)
def test_every_command_says_its_fault_as_one_line_of_json(name, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        code = main(["--format", "json", *name.split(), "--config", str(tmp_path / "nowhere")])
    except SystemExit as end:
        code = end.code
    captured = capsys.readouterr()
    if code == 0:  # it needs no project
        assert json.loads(captured.out) is not None
        return
    said = json.loads(captured.err)["error"]
    assert (captured.out, said["exit_code"]) == ("", code)
    assert said.keys() == {"code", "message", "hint", "who", "exit_code"}
    assert said["code"].startswith("CM-")
    assert said["message"]


def test_a_fault_in_json_shows_a_terminal_nothing_that_it_obeys(monkeypatch, cli):
    from casemate.cli import status

    def fail(_arguments):
        raise Error("a\x1b[31m\u202eb", hint="\x9bc")

    monkeypatch.setattr(status, "run", fail)
    done = cli("status", "--format", "json")
    assert done.code == 1
    assert all(character.isprintable() for character in done.err.rstrip("\n"))


def test_an_interruption_has_its_code_too(monkeypatch, cli):
    from casemate.cli import status

    def stop(_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(status, "run", stop)
    assert cli("status").code == 130
    assert json.loads(cli("status", "--format", "json").err)["error"]["exit_code"] == 130


BASH = """
source "$1"
shift
COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 ))
function=$(complete -p casemate | sed 's/.*-F \\([^ ]*\\).*/\\1/')
"$function" casemate "${COMP_WORDS[$COMP_CWORD]}" "${COMP_WORDS[$COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def test_bash_completes_verbs_actions_options_and_choices(cli, tmp_path):
    (tmp_path / "script").write_text(cli("completion", "bash").out)

    def offered(*words):
        done = subprocess.run(
            ["bash", "-c", BASH, "bash", tmp_path / "script", "casemate", *words],
            capture_output=True,
            text=True,
            check=True,
        )
        return set(done.stdout.split())

    assert offered("") >= set(VERBS)
    assert offered("keys", "signer", "") == {"list", "rotate", "distrust"}
    assert offered("run", "--f") == {"--format", "--fresh", "--from"}
    assert offered("runs", "--format", "") >= {"text", "json"}


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_every_verb_and_accept_the_script(shell, cli, tmp_path):
    script = cli("completion", shell).out
    assert [verb for verb in VERBS if verb not in script] == []
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "script").write_text(script)
    assert (
        subprocess.run(
            [shell, "-n", tmp_path / "script"], capture_output=True, text=True, check=False
        ).stderr
        == ""
    )
