"""Pipelines for Kubeflow: the commands of every build server, as components; nobody's name becomes
code in them, and what would let an error pass is found.
"""

import ast
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import TOML
from tests.unit.deploy.test_ci import HOSTILE, PLAIN, hostile

from casemate.config import parse
from casemate.core.errors import ConfigError
from casemate.deploy import ci, kubeflow
from casemate.deploy.interface import Given
from casemate.deploy.targets import TARGETS

IMAGE = "registry.example/casemate@sha256:" + "0" * 64
STAGES = ["build", "test", "train", "assess", "gate", "deploy", "feedback"]


def given_of(text="", root=Path("/r"), **options):
    return Given(parse(TOML + text), root, Path("/r"), {"image": IMAGE, **options})


def text_of(given):
    ((name, content),) = kubeflow.render(given).files.items()
    assert name == "pipeline.py"
    return content.decode()


def lines_of(text):
    """What each component gives to a shell."""
    found = {}
    for function in ast.parse(text).body:
        if isinstance(function, ast.FunctionDef) and function.decorator_list:
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "carry_out":
                    found[function.name] = ast.literal_eval(call.args[1])
    return found


def test_each_stage_of_a_build_server_is_a_component_and_evidence_is_kept_before_it_is_judged():
    given = given_of()
    text = text_of(given)
    assert text == text_of(given)
    assert kubeflow.dangers(text.encode()) == []
    lines = lines_of(text)
    assert list(lines) == STAGES
    others = {one.name: one.commands for one in ci.stages(given, '"gitlab/$CI_PIPELINE_ID"')}
    for name, commands in others.items():
        if name != "assess":
            said = [
                line.replace('"gitlab/$CI_PIPELINE_ID"', kubeflow.PIPELINE)
                .replace(ci.KEPT, kubeflow.KEPT)
                .replace(ci.DEPLOYED, kubeflow.KEPT)
                for line in commands
            ]
            assert lines[name] == said
    assert lines["assess"][1] == lines["gate"][1] + ' || test "$?" -eq 1'
    assert "verify" in lines["gate"][2]
    # numbers become doubles on their way: none is a parameter
    assert "int" not in {
        ast.unparse(argument.annotation)
        for function in ast.parse(text).body
        if isinstance(function, ast.FunctionDef)
        for argument in function.args.args
        if argument.annotation
    }


def test_image_claim_memory_and_names_of_secrets_are_what_was_said():
    text = text_of(given_of('[deploy]\nsecrets = ["PW"]\n', claim="ward-7", mount="/data/casemate"))
    scope = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant | ast.Tuple):
            exec(ast.unparse(node), scope)
    told = [scope[name] for name in ("IMAGE", "CLAIM", "MOUNT", "SECRET", "KEYS")]
    assert told == [IMAGE, "ward-7", "/data/casemate", "casemate", ["PW"]]
    assert "'/data/casemate/project'" in text
    assert "approvals" in " ".join(kubeflow.render(given_of()).notes)
    asked = kubeflow.render(given_of("[release]\napprovals = 1\n")).notes
    assert "whoever may start" not in " ".join(asked)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"image": ""}, "digest"),
        ({"image": "casemate:latest"}, "digest"),
        ({"image": IMAGE + "\n"}, "digest"),
        ({"claim": "Ward_7"}, "no name"),
        ({"claim": "a\n"}, "no name"),
        ({"mount": "casemate"}, "absolute"),
        ({"mount": "/a/../b"}, "absolute"),
        ({"mount": "/a\nb"}, "one line"),
        ({"mount": "/{{workflow.name}}"}, "evaluate"),
    ],
)
def test_what_could_not_run_is_refused(options, expected):
    with pytest.raises(ConfigError) as caught:
        text_of(given_of(**options))
    assert expected in caught.value.diagnostics()


@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60
)
@given(
    text=HOSTILE
    | st.sampled_from(["'''", '"""', "\\'", "');import os#", "{{$.x}}", "\\N{DIGIT ONE}"])
)
def test_no_name_becomes_anything_but_itself_in_a_pipeline_of_kubeflow(text):
    root = Path("/r") / (text.replace("/", "").replace("\0", "") or "x")
    options = {"image": IMAGE, "mount": "/m" + text}
    plain = text_of(Given(hostile(PLAIN, "plain"), Path("/r/p"), Path("/r"), {"image": IMAGE}))
    try:
        written = text_of(Given(hostile(PLAIN, text), root, Path("/r"), options))
    except ConfigError:
        return

    def shape(source):
        return [type(node).__name__ for node in ast.walk(ast.parse(source))]

    assert shape(written) == shape(plain)
    assert written.count("{{") == plain.count("{{")
    # a folder of keys called `;`, which casemate.toml would not take
    assert all("did not see" in danger for danger in kubeflow.dangers(written.encode()))


@pytest.mark.parametrize(
    ("old", "new", "danger"),
    [
        (IMAGE, "registry.example/casemate:1", "by a tag"),
        ("base_image=IMAGE", "base_image='python:3.11'", "by a tag"),
        ("packages_to_install=[]", "packages_to_install=['x']", "fetched"),
        ("install_kfp_package=False", "install_kfp_package=True", "fetched"),
        ("set_caching_options(False)", "set_caching_options(True)", "cache"),
        ("    task.set_caching_options(False)\n", "", "cache"),
        ("if process.wait() != 0:", "if process.wait() > 1:", "not heard"),
        ("            raise RuntimeError(", "            print(", "not heard"),
        (
            "    carry_out(\n        run,\n        [\n            'casemate check'",
            "    import contextlib\n    with contextlib.suppress(RuntimeError): carry_out(\n        run,\n        [\n            'casemate check'",
            "swallowed",
        ),
        ("'casemate check'", "'casemate check || true'", "not heard"),
        ("'casemate check'", "'casemate check; true'", "not heard"),
        ("'casemate check'", "'casemate check | tee log'", "not heard"),
        ("'casemate check'", "'casemate check &'", "not heard"),
        ("'casemate check'", "'! casemate check'", "not heard"),
        ('-eq 1"', '-le 9"', "not heard"),
        (
            "            'casemate verify \"$CASEMATE_KEPT\"/signed --key trusted',\n",
            "",
            "did not see",
        ),
        ("signed --key trusted'", "signed'", "did not see"),
        ("signed --key trusted'", "signed --key trusted || true'", "did not see"),
        (
            "    placed(deploy(run=run))",
            "    with dsl.If(run == 'x'): placed(deploy(run=run))",
            "compares texts",
        ),
        (
            "last = placed(step(run=run), last)",
            "last = placed(step(run=run), last).ignore_upstream_failure()",
            "goes on",
        ),
        (
            "def deploy(run",
            "def other(run: str):\n    import os\n    os.system('casemate model promote x')\n\n\ndef deploy(run",
            "not read",
        ),
        (
            "    carry_out(\n        run,\n        [\n            'casemate check',\n        ],\n    )",
            "    try:\n        carry_out(run, ['casemate check'])\n    except RuntimeError:\n        pass",
            "swallowed",
        ),
        (
            "        [\n            'casemate check',\n        ],",
            "        LINES,",
            "not read here",
        ),
        ("def deploy(run", "def deploy(", "no Python"),
    ],
)
def test_what_lets_an_error_pass_or_fetches_code_is_unsafe(old, new, danger):
    text = text_of(given_of())
    if old == '-eq 1"':
        old, new = (
            '--key "kubeflow/$CASEMATE_RUN" || test "$?" -eq 1',
            '--key "kubeflow/$CASEMATE_RUN" || test "$?" -le 9',
        )
    edited = text.replace(old, new, 1)
    assert edited != text, old
    assert danger in "; ".join(kubeflow.dangers(edited.encode()))


def test_a_gate_does_not_take_a_refusal_for_a_result():
    text = text_of(given_of())
    before, after = text.split("def gate(")
    edited = (
        before
        + "def gate("
        + after.replace("CASEMATE_RUN\"'", 'CASEMATE_RUN" || test "$?" -eq 1\'', 1)
    )
    assert edited != text
    assert "gate: the exit code" in "; ".join(kubeflow.dangers(edited.encode()))


@pytest.mark.parametrize("content", [b"\xff", b"\0", b"(" * 5000, b"x" * 300_000, b"def f(:"])
def test_what_is_no_python_is_said_to_be_none(content):
    assert kubeflow.dangers(content)


def test_what_somebody_adds_is_no_danger_by_itself():
    text = text_of(given_of())
    edited = text.replace(
        "'casemate check'", "'casemate check 2>&1', 'date', 'echo a > b'"
    ).replace("set_cpu_limit('2')", "set_cpu_limit('8')")
    assert kubeflow.dangers(edited.encode()) == []
    assert TARGETS["kubeflow"].dangers("pipeline.py", edited.encode()) == []
