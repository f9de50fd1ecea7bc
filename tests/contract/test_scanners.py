"""Every scanner behind one interface: what it says of clean, faulty, empty and unreadable trees, and
that one which is absent, crashes, hangs, prints garbage or other JSON than it documents has not
looked.
"""

import datetime
import gzip
import json
import lzma
import os
import secrets
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import wait_for
from tests.unit.supply.planted import advisory, signed_snapshot

from casemate.core.files import make_folder
from casemate.core.sandbox.kernel import available
from casemate.core.signatures import Signer
from casemate.supply.scanners.artifacts import Artifacts
from casemate.supply.scanners.bandit import Bandit
from casemate.supply.scanners.dependencies import Dependencies
from casemate.supply.scanners.history import SETTINGS, versions
from casemate.supply.scanners.identity import weaknesses
from casemate.supply.scanners.interface import CouldNotLook, Place, looked
from casemate.supply.scanners.learning import Learning
from casemate.supply.scanners.place import listed
from casemate.supply.scanners.process import run
from casemate.supply.scanners.secrets import DetectSecrets

NOW = datetime.datetime(2026, 11, 20, tzinfo=datetime.UTC)
EVAL = "import sys\nprint(eval(sys.argv[1]))\n"
ROOT_MAY_ALL = pytest.mark.skipif(os.getuid() == 0, reason="root reads every file")


@pytest.fixture
def tree(tmp_path):
    root = make_folder(tmp_path / "tree", 0o755)
    (root / "fine.py").write_text("def add(a, b):\n    return a + b\n")
    return root


@pytest.fixture
def signer():
    return Signer.generate()


@pytest.fixture
def snapshot(tmp_path, signer):
    entries = [advisory("GHSA-1", "leaky", [{"introduced": "0"}, {"fixed": "2.0"}], NOW)]
    return signed_snapshot(tmp_path / "feed", entries, signer)


def place(root, *, tools=None, seconds=120.0, exclude=()):
    work = make_folder(root.parent / f"work-{secrets.token_hex(4)}")
    files, unseen, _ = listed(root, exclude)
    return Place(root, tuple(files), unseen, work, tools, seconds)


def real(name):
    if shutil.which(name, path=str(Path(sys.executable).parent)) is None:
        pytest.skip(f"{name} is not installed beside this Python: make dev")


@pytest.fixture
def scanners(signer, snapshot):
    dependencies = Dependencies(snapshot, signer.verifier, NOW, 7)
    both = [DetectSecrets(history=False), DetectSecrets(history=True)]
    return {one.id: one for one in (Bandit(), Learning(), *both, Artifacts(), dependencies)}


FAULTS = {
    "bandit": ("code.eval", lambda root: (root / "bad.py").write_text(EVAL)),
    "casemate-code": ("code.eval", lambda root: (root / "bad.py").write_text(EVAL)),
    "detect-secrets": (
        "secrets.exposed",
        lambda root: (root / "bad.py").write_text(f'key = "AKIA{"Q7" * 8}"\n'),
    ),
    "casemate-artifacts": (
        "artifact.code",
        lambda root: (root / "bad.pkl").write_bytes(b"\x80\x04cposix\nsystem\nX\x02\0\0\0id\x85R."),
    ),
    "casemate-advisories": (
        "dependency.vulnerable",
        lambda root: (root / "requirements.txt").write_text("leaky==1.9\n"),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_and_a_tree_without_it_is_clean(name, tree, scanners):
    real({"bandit": "bandit", "detect-secrets": "detect-secrets"}.get(name, "python"))
    clean = looked(scanners[name], place(tree))
    assert (clean.answer, clean.unseen) == ("clean", {})
    rule, plant = FAULTS[name]
    plant(tree)
    found = looked(scanners[name], place(tree))
    assert (found.answer, [hit.rule for hit in found.hits]) == ("found", [rule])


def fake(folder, name, script):
    path = make_folder(folder) / name
    path.write_text(f"#!{sys.executable}\nimport sys, time, os, json\n{script}\n")
    path.chmod(0o755)
    return folder


EMPTY = {
    "bandit": '{"errors": [], "metrics": {}, "results": []}',
    "detect-secrets": '{"version": "1", "results": {}, "plugins_used": []}',
}
MISDEEDS = {
    "is absent": (None, "there is no"),
    "crashes": ("os.kill(os.getpid(), 11)", "was ended by signal 11"),
    "ends with an unknown code": ("print('{}'); sys.exit(7)", "exit code 7"),
    "hangs": ("time.sleep(600)", "did not end within"),
    "prints nothing": ("", "printed something else"),
    "prints garbage": ("print('Traceback: no')", "printed something else"),
    "prints other JSON": ("print(json.dumps([1, 2]))", "printed something else"),
    "prints JSON of another shape": ("print('{\"results\": 3}')", "printed something else"),
    "prints deep JSON": ("print('[' * 100000)", "printed something else"),
    "prints its first half": ('print(\'{"errors": [], "resu\')', "printed something else"),
    "says that there is nothing": (None, None),
}


@pytest.mark.parametrize("misdeed", MISDEEDS)
@pytest.mark.parametrize("name", ["bandit", "detect-secrets"])
def test_a_scanner_that_misbehaves_has_not_looked(name, misdeed, tree, tmp_path, scanners):
    script, words = MISDEEDS[misdeed]
    tools = make_folder(tmp_path / "tools")
    if words is None:
        script = f"print({EMPTY[name]!r})"
        words = "that was made for it"
    if script is not None:
        fake(tools, name, script)
    seconds = 1.0 if misdeed == "hangs" else 60.0
    found = looked(scanners[name], place(tree, tools=tools, seconds=seconds))
    assert found.answer == "could-not-look"
    assert words in " ".join(found.unseen.values())


def test_bandit_that_contradicts_its_exit_code_has_not_looked(tree, tmp_path):
    result = {"filename": "./fine.py", "issue_severity": "LOW", "issue_text": "x"}
    result |= {"line_number": 1, "test_id": "B101"}
    report = {"errors": [], "metrics": {"./fine.py": {"loc": 1}}, "results": [result]}
    tools = fake(tmp_path / "tools", "bandit", f"print({json.dumps(report)!r})")
    assert "exit code 0 and 1 findings" in looked(Bandit(), place(tree, tools=tools)).unseen[""]


def test_a_file_that_bandit_passes_over_is_named(tree, tmp_path):
    script = """
probe = next(one for one in sys.argv if one.endswith("probe.py"))
result = {"filename": probe, "issue_severity": "LOW", "issue_text": "x"}
result |= {"line_number": 1, "test_id": "B102"}
print(json.dumps({"errors": [], "metrics": {probe: {"loc": 1}}, "results": [result]}))
sys.exit(1)
"""
    found = looked(Bandit(), place(tree, tools=fake(tmp_path / "tools", "bandit", script)))
    assert found.hits == []
    assert found.unseen == {"fine.py": "bandit says nothing of this file"}


def test_a_file_that_bandit_cannot_parse_is_named(tree):
    real("bandit")
    (tree / "odd.py").write_text("def f(:\n")
    found = looked(Bandit(), place(tree))
    assert found.answer == "could-not-look" and list(found.unseen) == ["odd.py"]


def test_no_password_is_quoted_in_what_is_said_of_it(tree):
    real("bandit")
    (tree / "a.py").write_text(
        'password = "hunter2: \'x\'"\ndef f(password="hunter2"):\n    f(password="hunter2")\n'
    )
    found = looked(Bandit(), place(tree))
    assert [hit.message for hit in found.hits] == ["Possible hardcoded password"] * 3
    assert "hunter2" not in str(weaknesses([found]))


def test_comments_and_files_of_the_tree_switch_nothing_off(tree):
    real("bandit")
    (tree / "bad.py").write_text(EVAL.replace("))", "))  # nosec"))
    (tree / ".bandit").write_text("[bandit]\nskips = B307\nexclude = .\n")
    (tree / "pyproject.toml").write_text('[tool.bandit]\nskips = ["B307"]\n')
    assert [hit.rule for hit in looked(Bandit(), place(tree)).hits] == ["code.eval"]


def test_files_that_detect_secrets_would_pass_over_by_name_are_looked_at(tree):
    real("detect-secrets")
    line = f'key = "AKIA{"Q7" * 8}"  # pragma: allowlist secret\n'
    for name in ("poetry.lock", "swagger.py", "picture.png", "a.txt"):
        (tree / name).write_text(line)
    (tree / "wide.txt").write_bytes(line.encode("utf-16"))
    found = looked(DetectSecrets(history=False), place(tree))
    assert {hit.path for hit in found.hits} == {
        "poetry.lock",
        "swagger.py",
        "picture.png",
        "a.txt",
        "wide.txt",
    }
    assert found.answer == "found"


SECRET, OTHER = f"AKIA{'Q7' * 8}", f"AKIA{'Q8' * 8}"


@pytest.mark.parametrize(
    "ending", ["ini", "cfg", "conf", "env", "toml", "yaml", "yml", "json", "py"]
)
def test_one_secret_hides_no_other(ending, tree):
    real("detect-secrets")
    inside = f'a: "{SECRET}"' if ending in ("yaml", "yml") else f"[a]\nkey = {SECRET}"
    (tree / f"x.{ending}").write_text(f"{inside}\n# b {OTHER}\n")
    found = looked(DetectSecrets(history=False), place(tree))
    lines = 1 if ending in ("yaml", "yml") else 2
    assert sorted(hit.line for hit in found.hits) == [lines, lines + 1]
    assert (found.count, found.unseen) == (2, {})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("marked.txt", b"\xff\xfe" + f"key = {SECRET}\n".encode()),
        ("marked.txt", b"\xff\xfe" + f"key = {SECRET}\n".encode("utf-16-le")),
        ("unmarked.ini", f"key = {SECRET}\n".encode("utf-16-le")),
        ("nul.toml", f"# \0\nkey = '{SECRET}'\n".encode()),
        (".env", f"# \0\nkey={SECRET}\n".encode()),
        ("deploy/.env", f"# \0\nkey={SECRET}\n".encode()),
        ("a.ipynb", json.dumps({"nbformat": 4, "cells": [], "metadata": {"a": [SECRET]}}).encode()),
        (
            "b.ipynb",
            json.dumps(
                {"cells": [{"outputs": [{"traceback": [SECRET], "data": {"image/png": OTHER}}]}]}
            ).encode(),
        ),
    ],
)
def test_a_text_is_looked_at_in_whatever_bytes_it_comes(name, content, tree):
    real("detect-secrets")
    make_folder((tree / name).parent)
    (tree / name).write_bytes(content)
    found = looked(DetectSecrets(history=False), place(tree))
    assert [(hit.path, hit.message) for hit in found.hits] == [(name, "AWS Access Key")]


def git(root, *words):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *words], cwd=root, check=True, capture_output=True)


def test_a_secret_that_was_removed_is_found_in_history_as_the_same_finding(tree):
    real("detect-secrets")
    git(tree, "init", "-q")
    (tree / "bad.py").write_text(f'key = "AKIA{"Q7" * 8}"\n')
    now = looked(DetectSecrets(history=False), place(tree))
    git(tree, "add", "-A")
    git(tree, "commit", "-qm", "x")
    (tree / "bad.py").unlink()
    git(tree, "commit", "-qam", "y")
    assert looked(DetectSecrets(history=False), place(tree)).answer == "clean"
    then = looked(DetectSecrets(history=True), place(tree))
    assert (then.answer, then.unseen) == ("found", {})
    assert [one.fingerprint for one in weaknesses([now])] == [
        one.fingerprint for one in weaknesses([then])
    ]


def test_a_shallow_repository_has_not_been_looked_at(tree, tmp_path):
    git(tree, "init", "-q")
    for name in ("a", "b"):
        (tree / name).write_text(name)
        git(tree, "add", "-A")
        git(tree, "commit", "-qm", name)
    part = tmp_path / "part"
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{tree}", str(part))
    found = looked(DetectSecrets(history=True), place(part))
    assert "a part of its history only" in found.unseen[""]


def test_git_that_is_absent_is_told_apart_from_the_programs_of_scanners(
    tree, tmp_path, monkeypatch
):
    git(tree, "init", "-q")
    monkeypatch.setenv("PATH", str(tmp_path))
    found = looked(DetectSecrets(history=True), place(tree, tools=tmp_path / "tools"))
    assert found.unseen == {"": "there is no git (install it)"}


def test_a_folder_that_git_does_not_keep_has_no_history(tree):
    found = looked(DetectSecrets(history=True), place(tree))
    assert found.answer == "clean" and "no git repository" in found.notes[0]


def test_programs_of_a_repository_are_not_run_to_look_at_it(tree, tmp_path):
    git(tree, "init", "-q")
    (tree / "a").write_text("a")
    git(tree, "add", "-A")
    git(tree, "commit", "-qm", "a")
    mark = tmp_path / "mark"
    git(tree, "config", "core.fsmonitor", f"touch {mark}")
    git(tree, "config", "core.sshCommand", f"touch {mark}")
    from casemate.supply.scanners.texts import Texts

    at = place(tree)
    assert versions(at, Texts(at.folder("copies"))) == 2
    assert not mark.exists()


def contents(root):
    """What every version of every text in a repository says."""
    from casemate.supply.scanners.texts import Texts

    at = place(root)
    found = Texts(at.folder("copies"))
    versions(at, found)
    return {(found.folder / name).read_text() for name in found.names}


def committed(root, name, text):
    (root / name).write_text(text)
    git(root, "add", "-A")
    git(root, "commit", "-qm", name)


def test_a_missing_object_is_not_fetched_by_a_program_that_the_repository_names(tree, tmp_path):
    git(tree, "init", "-q")
    committed(tree, "a", "a")
    blob = subprocess.check_output(["git", "rev-parse", "HEAD:a"], cwd=tree, text=True).strip()
    (tree / ".git/objects" / blob[:2] / blob[2:]).unlink()
    for name, value in {
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.promisor": "true",
        "remote.origin.url": "ext::sh -c echo% it% ran% >&2",
        "protocol.ext.allow": "always",
        "remote.origin.partialCloneFilter": "blob:none",
    }.items():
        git(tree, "config", name, value)
    asked = tmp_path / "asked"
    asked.write_text(f"{blob}\n")
    try:
        said = run(place(tree), "git", [*SETTINGS, "cat-file", "--batch-check"], stdin=asked).said()
    except CouldNotLook as error:  # git was ended by writing to its transport, which was quicker
        said = error.message
    assert "transport 'ext' not allowed" in said
    assert "it ran" not in said
    assert looked(DetectSecrets(history=True), place(tree)).answer == "could-not-look"


def test_what_a_merge_came_to_without_is_looked_at(tree):
    git(tree, "init", "-q", "-b", "main")
    committed(tree, "a", "a")
    git(tree, "checkout", "-qb", "side")
    committed(tree, "b", "left out by the merge")
    git(tree, "checkout", "-q", "main")
    committed(tree, "c", "c")
    git(tree, "merge", "-q", "-s", "ours", "-m", "m", "side")
    git(tree, "branch", "-qD", "side")
    shutil.rmtree(tree / ".git/logs")
    assert "left out by the merge" in contents(tree)


def test_what_is_staged_and_no_longer_there_is_looked_at(tree):
    git(tree, "init", "-q")
    committed(tree, "a", "a")
    (tree / "b").write_text("staged")
    git(tree, "add", "-A")
    (tree / "b").unlink()
    assert "staged" in contents(tree)


def test_what_a_tag_names_without_a_path_is_looked_at(tree, tmp_path):
    git(tree, "init", "-q")
    committed(tree, "a", "a")
    (tmp_path / "lone").write_text("tagged")
    git(tree, "hash-object", "-w", str(tmp_path / "lone"))
    blob = subprocess.check_output(["git", "hash-object", str(tmp_path / "lone")], text=True)
    git(tree, "tag", "lone", blob.strip())
    assert "tagged" in contents(tree)


def test_neither_replacements_nor_grafts_hide_a_version(tree):
    git(tree, "init", "-q")
    committed(tree, "a", "first")
    committed(tree, "a", "second")
    git(tree, "replace", "HEAD^:a", "HEAD:a")
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=tree)
    (tree / ".git/info").mkdir(exist_ok=True)
    (tree / ".git/info/grafts").write_bytes(head)
    shutil.rmtree(tree / ".git/logs")
    assert {"first", "second"} <= contents(tree)


CALLS_OUT = """
import socket
try:
    socket.create_connection(("127.0.0.1", {port}), 5)
    print("reached")
except OSError as error:
    print("cut off")
try:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", {port}))
    print("sent")
except OSError as error:
    print("not sent")
try:
    open({outside!r}, "w")
    print("written")
except OSError:
    print("not written")
print(sorted(os.environ))
"""


def test_a_scanner_reaches_no_network_writes_nowhere_else_and_gets_no_secret(
    tree, tmp_path, monkeypatch
):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with socket.create_server(("127.0.0.1", 0)) as server:
        script = CALLS_OUT.format(port=server.getsockname()[1], outside=str(tmp_path / "out"))
        tools = fake(tmp_path / "tools", "spy", script)
        said = run(place(tree, tools=tools), "spy", []).output.decode()
    sent = "not sent" if available()["namespaces"] else "sent"  # Landlock alone knows TCP alone
    assert said.splitlines()[:3] == ["cut off", sent, "not written"]
    assert "AWS" not in said and "DO_NOT_TRACK" in said


def test_children_of_a_scanner_that_hangs_end_with_it(tree, tmp_path):
    script = "import subprocess\nprint(subprocess.Popen(['sleep', '600']).pid, flush=True)"
    tools = fake(tmp_path / "tools", "bandit", f"{script}\ntime.sleep(600)")
    at = place(tree, tools=tools, seconds=4.0)
    assert looked(Bandit(), at).answer == "could-not-look"
    (said,) = at.work.rglob("stdout")
    command = Path("/proc", str(int(said.read_text())), "cmdline")
    wait_for(lambda: not _content(command), 30)  # of a process that ended nothing is read there


def _content(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


@ROOT_MAY_ALL
def test_a_file_that_may_not_be_read_is_named(tree):
    (tree / "closed.py").write_text(EVAL)
    (tree / "closed.py").chmod(0)
    assert place(tree).unseen == {"closed.py": "this user may not read it"}


def test_links_are_not_followed_out_of_the_tree(tree, tmp_path):
    (tmp_path / "outside.py").write_text(EVAL)
    (tree / "link.py").symlink_to(tmp_path / "outside.py")
    (tree / "folder").symlink_to(tmp_path)
    (tree / "dead.py").symlink_to(tmp_path / "nowhere")
    (tree / "own.py").symlink_to(tree / "fine.py")
    (tree / "loop").symlink_to(tree)
    make_folder(tmp_path / "env")
    (tmp_path / "env/pyvenv.cfg").touch()
    (tree / ".venv").symlink_to(tmp_path / "env")
    assert listed(tree)[2] == [".venv: a virtual environment"]
    at = place(tree)
    assert at.files == ("fine.py",)
    assert set(at.unseen) == {"link.py", "folder", "dead.py"}


def test_too_many_files_are_said_to_be_too_many(tree):
    for number in range(30):
        (tree / f"{number}.txt").touch()
    files, unseen, _ = listed(tree, most=10)
    assert len(files) == 10 and "more than 10 files" in unseen["."]


def test_what_is_left_out_is_said(tree):
    (tree / "data").mkdir()
    (tree / "data" / "x.py").write_text(EVAL)
    (tree / "venv").mkdir()
    (tree / "venv" / "pyvenv.cfg").touch()
    (tree / "venv" / "lib").mkdir()
    (tree / "venv" / "lib" / "y.py").write_text(EVAL)
    (tree / "node_modules").mkdir()
    (tree / ".git").mkdir()
    files, unseen, left = listed(tree, ["data"])
    assert (files, unseen) == (["fine.py", "venv/pyvenv.cfg"], {})
    assert left == [
        "data: [scan] exclude",
        "node_modules: by its name",
        "venv/lib: of a virtual environment",
    ]


def test_a_cache_of_python_is_no_news_until_something_else_lies_there(tree):
    make_folder(tree / "__pycache__")
    (tree / "__pycache__/fine.cpython-311.pyc").touch()
    assert listed(tree)[2] == []
    (tree / "__pycache__/more.py").touch()
    assert listed(tree)[2] == ["__pycache__: by its name"]


def test_a_folder_is_no_virtual_environment_because_it_says_so(tree):
    make_folder(tree / "pkg")
    (tree / "pkg/pyvenv.cfg").touch()
    (tree / "pkg/code.py").write_text(EVAL)
    assert "pkg/code.py" in place(tree).files


def test_a_link_gives_code_no_name_under_which_nobody_looks(tree):
    (tree / "table.txt").write_text(EVAL)
    (tree / "code.py").symlink_to("table.txt")
    make_folder(tree / "node_modules/pkg")
    (tree / "node_modules/pkg/more.py").write_text(EVAL)
    (tree / "more.py").symlink_to("node_modules/pkg/more.py")
    (tree / "pkg").symlink_to("node_modules/pkg")
    (tree / "requirements.txt").symlink_to("table.txt")
    at = place(tree)
    assert {"code.py", "more.py", "requirements.txt"} <= set(at.files)
    assert at.unseen == {"pkg": "it is a link to what is not looked at"}
    assert {hit.path for hit in looked(Learning(), at).hits} == {"code.py", "more.py"}


def notebook(*cells, **more):
    rows = [{"cell_type": "code", "source": cell} for cell in cells]
    return json.dumps({"nbformat": 4, "cells": rows, **more})


def test_a_notebook_is_looked_at_by_its_cells(tree):
    real("bandit")
    text = notebook("%matplotlib inline\nx = 1\n", ["import sys\n", "eval(sys.argv[1])\n"], "!ls")
    (tree / "book.ipynb").write_text(text)
    found = weaknesses([looked(one, place(tree)) for one in (Bandit(), Learning())])
    told = {(one.rule, one.cell, one.line, tuple(one.scanners)) for one in found}
    assert told == {
        ("code.eval", 2, 2, ("bandit", "casemate-code")),
        ("code.notebook-shell", 3, 1, ("casemate-code",)),
    }


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        notebook("x = 1", nbformat=3),
        notebook("x", metadata={"kernelspec": {"language": "R"}}),
        "[" * 100_000,
    ],
)
def test_a_notebook_that_cannot_be_read_is_named(text, tree):
    (tree / "book.ipynb").write_text(text)
    found = looked(Learning(), place(tree))
    assert (found.answer, list(found.unseen)) == ("could-not-look", ["book.ipynb"])


@pytest.mark.parametrize(
    "cells",
    [
        ["import sys\n%time eval(sys.argv[1])"],
        ["import sys\nif True:\n    %timeit eval(sys.argv[1])"],
        ['%matplotlib inline\nimport sys\nx = f"""\n% {eval(sys.argv[1])}\n"""\n!ls'],
        ["import sys\n1 \x0c% eval(sys.argv[1])"],
        ["import sys\n(1\n% eval(sys.argv[1]))"],
        ["%%capture\n!ls\nimport sys\neval(sys.argv[1])"],
        [
            "# coding: utf-7\na = b = ACIAIgAi = 1",
            "b +ACIAIgAi- 1",
            "import sys; eval(sys.argv[1])",
        ],
    ],
)
def test_no_code_hides_in_what_only_looks_like_a_line_of_ipython(cells, tree):
    real("bandit")
    (tree / "book.ipynb").write_text(notebook(*cells))
    for one in (Bandit(), Learning()):
        found = looked(one, place(tree))
        rules = {hit.rule for hit in found.hits}
        assert "code.eval" in rules or found.answer == "could-not-look"


def prints(root):
    answers = [looked(one, place(root)) for one in (Bandit(), Learning())]
    assert all(not one.unseen for one in answers)
    return {one.fingerprint: one.scanners for one in weaknesses(answers)}


def test_another_argument_on_another_line_is_another_finding(tree):
    real("bandit")
    (tree / "a.py").write_text("x = 1\nprint(eval(\n    'x',\n))\n")
    before = prints(tree)
    (tree / "a.py").write_text("x = 1\n\n\nif x:\n    print(eval(\n  'x',\n  ))\n")
    assert prints(tree) == before, "white space and lines above it change nothing"
    assert list(before.values()) == [["bandit", "casemate-code"]]
    (tree / "a.py").write_text("x = 1\nprint(eval(\n    input(),\n))\n")
    assert before.keys().isdisjoint(prints(tree))


def test_what_a_function_holds_does_not_change_what_is_found_in_its_head(tree):
    real("bandit")
    (tree / "a.py").write_text("def f(a=eval('1')):\n    return 1\n")
    before = prints(tree)
    (tree / "a.py").write_text("def f(a=eval('1')):\n    b = 2\n    return b\n")
    assert prints(tree) == before


def test_compiled_code_is_not_looked_at_and_named_but_for_caches(tree):
    make_folder(tree / "__pycache__")
    for name in ("a.so", "b.pyc", "__pycache__/fine.pyc"):
        (tree / name).write_bytes(b"\0")
    assert set(looked(Learning(), place(tree)).unseen) == {"a.so", "b.pyc"}


def test_cells_do_not_continue_in_other_cells(tree):
    (tree / "book.ipynb").write_text(notebook('x = """', "import os; eval(x)", '"""'))
    assert looked(Learning(), place(tree)).unseen == {
        "book.ipynb": "it cannot be read: a cell of it is no Python"
    }


@pytest.mark.parametrize(
    ("cell", "count"),
    [
        ("%matplotlib inline\n%time x = 1\n?print\n%config A.b = 'c'", 0),
        ("%matplotlib {open('x')}", 1),
        ("%px open('x')", 1),
        ("%timeit -n 1 open('x')", 1),
        ("%%timeit open('x')\n1", 1),
        ("%%time\n1\n%matplotlib inline", 0),
        ("%%bash\nls", 1),
        ("!ls\n!ls", 2),
        ('x = """\n!ls\n"""\n%who', 0),
    ],
)
def test_lines_that_ipython_runs_in_its_own_way_are_told(cell, count, tree):
    (tree / "book.ipynb").write_text(notebook(cell))
    found = looked(Learning(), place(tree))
    assert found.unseen == {}
    assert [hit.rule for hit in found.hits] == ["code.notebook-shell"] * count


def test_a_huge_notebook_is_named_and_not_read(tree):
    with (tree / "book.ipynb").open("wb") as file:
        file.truncate(2**30)
    found = looked(Learning(), place(tree))
    assert "larger than" in found.unseen["book.ipynb"]


@pytest.mark.parametrize("name", ["notes.txt", "table.csv", "a.json", "README.md", "code.py"])
def test_a_pickle_is_one_whatever_its_name(name, tree):
    (tree / name).write_bytes(b"\x80\x04cposix\nsystem\nX\x02\0\0\0id\x85R.")
    found = looked(Artifacts(), place(tree))
    assert [(hit.rule, hit.path) for hit in found.hits] == [("artifact.code", name)]


@pytest.mark.parametrize("name", ["model.pkl.gz", "model.joblib.z", "model.pkl.xz"])
def test_a_packed_model_is_looked_at_or_named(name, tree):
    packed = gzip.compress if name.endswith("gz") else lzma.compress
    (tree / name).write_bytes(packed(b"\x80\x04cposix\nsystem\nX\x02\0\0\0id\x85R."))
    found = looked(Artifacts(), place(tree))
    assert {*found.unseen, *(hit.path for hit in found.hits)} == {name}


def test_a_reader_of_artifacts_that_ends_leaves_what_it_did_not_say_unseen(tree, monkeypatch):
    for name in ("a.pkl", "b.pkl"):
        (tree / name).write_bytes(b"\x80\x04N.")
    from casemate.supply.scanners import artifacts

    first = '{"path": "a.pkl", "format": "pickle", "known": true}'
    tools = fake(tree.parent / "tools", "python", f"print({first!r}); os.abort()")
    monkeypatch.setattr(artifacts.artifactfile, "python", lambda _: tools / "python")
    found = looked(Artifacts(), place(tree))
    assert found.answer == "could-not-look"


def test_modes_of_a_working_folder_let_nobody_else_in(tree):
    assert stat.S_IMODE(place(tree).work.stat().st_mode) == 0o700
