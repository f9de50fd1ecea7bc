"""Training code that is hostile: everything it tries is refused by the kernel, and what it tried is recorded."""

import ast
import json
import textwrap
from pathlib import Path

import pyarrow as pa
import pytest

import casemate
from casemate.config import DataTable
from casemate.controls.keys.store import keystore_folder
from casemate.core import quiet
from casemate.core.errors import SandboxError, TrainingError
from casemate.core.sandbox.run import JobFailed, Limits, Worker, available
from casemate.stages.data import schema as schemas

pytestmark = pytest.mark.skipif(not available()["landlock"], reason="this kernel has no Landlock")

BUILD = """
from sklearn.linear_model import LogisticRegression
def build():
    return LogisticRegression()
"""


@pytest.fixture
def fit(tmp_path, tiny, config):
    """Run training code on the numbers of the tiny table in the real sandbox."""

    def run(code: str, *overrides: str, secret: Path | None = None):
        import msgspec

        table = tiny.drop_columns("c")
        options = config(*overrides)
        schema, _ = schemas.infer(table, DataTable(source="t", target="y"))
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        study = tmp_path / "study"
        study.mkdir(exist_ok=True)
        job = {
            "entry": options.train.entry,
            "schema": msgspec.to_builtins(schema),
            "train": msgspec.to_builtins(options.train),
            "grouped": False,
            "study": str(study),
        }
        with Worker("casemate.stages.train.fit:main") as worker:
            return worker.run(
                job,
                tables=[table],
                inputs={"train.py": textwrap.dedent(code).encode()},
                scratch=scratch,
                limits=Limits(options.train.timeout, int(options.train.memory_gb * 2**30)),
                required=options.sandbox.mode == "require",
                outputs=("model.skops", "model.onnx"),
                hidden=[secret or tmp_path / "keys"],
                writable=[study],
            )

    return run


def failure(fit, code: str, *overrides: str, **named) -> JobFailed:
    with pytest.raises(JobFailed) as caught:
        fit(code, *overrides, **named)
    return caught.value


def test_honest_code_comes_back_as_data(fit):
    outcome = fit(BUILD)
    assert set(outcome.files) == {"model.skops", "model.onnx"}
    assert {"landlock", "seccomp", "rlimits"} <= set(outcome.isolation)
    assert outcome.findings == []


def test_parallel_cross_validation_works_inside(fit):
    assert fit(BUILD, "train.jobs=2").result["cv"]


ATTEMPTS = """
    import ctypes, json, os, pathlib, socket, subprocess, sys

    def attempt(work):
        try:
            return ["got", repr(work())[:80]]
        except BaseException as error:
            return ["refused", type(error).__name__]

    def raw_socket():
        libc = ctypes.CDLL(None, use_errno=True)
        number = libc.socket(2, 1, 0)
        if number < 0:
            raise OSError(ctypes.get_errno())
        return number

    def memory_of_parent():
        return open(f"/proc/{{os.getppid()}}/environ", "rb").read()

    def through_child():
        done = subprocess.run(["/bin/cat", {secret!r}], capture_output=True)
        if done.returncode:
            raise PermissionError(done.stderr)
        return done.stdout

    def new_namespace():
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(0x10000000):
            raise OSError(ctypes.get_errno())
        return "unshared"

    results = {{
        "keystore": attempt(lambda: open({secret!r}).read()),
        "home": attempt(lambda: os.listdir({home!r})),
        "project": attempt(lambda: open({project!r}).read()),
        "shadow": attempt(lambda: open("/etc/shadow").read()),
        "root": attempt(lambda: os.listdir("/")),
        "processes": attempt(memory_of_parent),
        "write": attempt(lambda: pathlib.Path("/tmp/casemate-escape").write_text("x")),
        "write-library": attempt(lambda: pathlib.Path(json.__file__).open("a")),
        "write-input": attempt(lambda: pathlib.Path(__file__).write_text("x")),
        "tcp": attempt(lambda: socket.create_connection(("127.0.0.1", {port}), 2)),
        "udp": attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 53))),
        "unix": attempt(lambda: socket.socket(socket.AF_UNIX).connect("/run/docker.sock")),
        "raw-socket": attempt(raw_socket),
        "dns": attempt(lambda: socket.getaddrinfo("example.org", 80)),
        "child": attempt(through_child),
        "namespace": attempt(new_namespace),
        "environment": ["got", sorted(os.environ)],
    }}

    def build():
        raise RuntimeError("RESULTS" + json.dumps(results))
"""


def test_nothing_outside_its_inputs_can_be_reached(fit, tmp_path):
    import socket

    secret = tmp_path / "keys" / "keystore.json"
    secret.parent.mkdir()
    secret.write_text("the secret")
    project = tmp_path / "casemate.toml"
    project.write_text("the project")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        code = ATTEMPTS.format(secret=str(secret), home=str(tmp_path), project=str(project), port=listener.getsockname()[1])
        error = failure(fit, code, "train.memory_gb=8")
        with pytest.raises(TimeoutError):
            listener.accept()
    results = json.loads(error.message.partition("RESULTS")[2])
    environment = results.pop("environment")[1]
    assert {name: answer for name, answer in results.items() if answer[0] != "refused"} == {}
    assert not [name for name in environment if "KEY" in name or "TOKEN" in name or "SECRET" in name]
    assert not Path("/tmp/casemate-escape").exists()
    messages = [finding.message for finding in error.findings if finding.severity == "high"]
    assert any(str(secret) in message for message in messages)
    assert any("network socket" in message for message in messages)


OPEN = """
    import os

    def opened():
        names = {}
        for name in os.listdir("/proc/self/fd"):
            try:
                names[int(name)] = os.readlink("/proc/self/fd/" + name)
            except OSError:
                pass  # the folder's own, closed by now
        return names

    def build():
        raise RuntimeError("RESULTS" + repr(sorted(opened().items())))
"""


def test_what_a_library_opens_while_it_is_imported_is_closed_in_the_job_and_it_has_no_home(fit, tmp_path, monkeypatch):
    kept = tmp_path / "event-store"
    library = f"import os\nos.open({str(kept)!r}, os.O_RDWR | os.O_CREAT)\nos.makedirs(os.path.expanduser('~/.left-behind'))\n"
    (tmp_path / "sitecustomize.py").write_text(library)
    monkeypatch.setattr(quiet, "environment", lambda: {"PYTHONPATH": str(tmp_path)})
    opened = dict(ast.literal_eval(failure(fit, OPEN).message.partition("RESULTS")[2]))
    assert kept.exists(), "nothing was opened that could have been closed"
    assert not Path("/.left-behind").exists(), "a library finds no home while it is imported"
    beside = [target for number, target in opened.items() if number > 2]
    assert {target.partition(":")[0] for target in beside} == {"/memfd", "pipe"}, "more than the table and the channel"


def test_shared_memory_of_others_is_neither_seen_nor_left_behind(fit):
    if not available()["namespaces"]:
        pytest.skip("this kernel gives no mount namespace")
    other = Path("/dev/shm/casemate-other")
    other.write_text("somebody else's")
    code = """
    import os, pathlib
    def build():
        pathlib.Path("/dev/shm/casemate-left").write_text("x")
        raise RuntimeError(f"SEEN{sorted(os.listdir('/dev/shm'))}")
    """
    try:
        assert "SEEN['casemate-left']" in failure(fit, code).message
        assert not Path("/dev/shm/casemate-left").exists()
    finally:
        other.unlink()


def test_code_that_hangs_is_stopped_at_its_timeout(fit):
    error = failure(fit, "import time\ndef build():\n    time.sleep(600)\n", "train.timeout=6")
    assert error.kind == "timeout"
    assert "6 s" in error.message


def test_children_that_left_the_process_group_die_too(fit, tmp_path):
    mark = tmp_path / "study" / "alive"
    code = f"""
    import os, time
    def build():
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                while True:
                    open({str(mark)!r}, "w").write(str(time.time()))
                    time.sleep(0.05)
            os._exit(0)
        time.sleep(1)
        raise RuntimeError("gone")
    """
    if not available()["namespaces"]:
        pytest.skip("this kernel gives no PID namespace")
    failure(fit, code)
    import time

    time.sleep(0.3)
    before = mark.read_text()
    time.sleep(0.3)
    assert mark.read_text() == before


def test_code_that_eats_memory_is_stopped_at_its_limit(fit):
    error = failure(fit, "def build():\n    return bytearray(20 << 30)\n", "train.memory_gb=4")
    assert "memory" in error.message


def test_code_that_ends_its_process_leaves_no_model(fit):
    assert failure(fit, "import os\ndef build():\n    os._exit(0)\n").kind == "killed"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("def build():\n    raise ValueError('oh no')\n", "ValueError: oh no"),
        ("def other():\n    pass\n", "no function 'build'"),
        ("def build():\n    return 3\n", "returned int, expected an unfitted scikit-learn classifier"),
        ("def build(:\n", "SyntaxError"),
        ("from sklearn.svm import LinearSVC\ndef build():\n    return LinearSVC()\n", "without predict_proba"),
        ("import not_there\n", "ModuleNotFoundError"),
    ],
)
def test_code_that_is_wrong_is_explained(fit, code, expected):
    error = failure(fit, code)
    assert expected in error.message
    assert error.hint


def test_a_forged_answer_of_the_code_is_not_believed(fit):
    code = """
    import os
    def build():
        for number in range(3, 60):
            try:
                os.write(number, b'{"isolation": ["everything"]}\\n{"result": {"files": ["../../x"], "estimator": 1}}\\n')
            except OSError:
                pass
        os._exit(0)
    """
    try:
        outcome = fit(code)
    except JobFailed:
        return
    assert "everything" not in outcome.isolation
    assert outcome.files == {}


def test_links_and_foreign_files_in_the_output_are_not_taken(fit, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    code = f"""
    import os
    from sklearn.linear_model import LogisticRegression
    import casemate.stages.train.export as export
    def instead(model, schema):
        os.symlink({str(secret)!r}, "model.onnx")
        return b"", ""
    export.to_onnx = instead
    def build():
        return LogisticRegression()
    """
    assert set(fit(code).files) == {"model.skops"}


def test_forged_findings_do_not_reach_the_record(fit):
    code = """
    import casemate.core.sandbox.child as child, gc
    from sklearn.linear_model import LogisticRegression
    def build():
        channel = next(o for o in gc.get_objects() if type(o).__name__ == "Channel")
        channel.send(finding={"id": {"a": 1}, "severity": "banana", "message": "x"})
        channel.send(finding={"id": "mine", "severity": "low", "message": "y"})
        return LogisticRegression()
    """
    assert [finding.id for finding in fit(code).findings] == ["mine"]


def test_a_project_that_training_code_could_read_is_refused(fit):
    with pytest.raises(SandboxError, match="/usr"):
        fit(BUILD, secret=Path("/usr/src/app"))


def test_a_key_store_among_the_readable_folders_is_refused(fit):
    import sys

    with pytest.raises(SandboxError, match="may read"):
        fit(BUILD, secret=Path(sys.prefix) / "keys")


def test_a_violation_that_the_code_hides_refuses_the_model(tiny_project):
    secret = keystore_folder(casemate.open(tiny_project).config.project.id) / "keystore.json"
    code = (tiny_project / "train.py").read_text()
    (tiny_project / "train.py").write_text(code + f"\ntry:\n    open({str(secret)!r})\nexcept OSError:\n    pass\n")
    result = casemate.open(tiny_project).run()
    assert result.verdict.outcome == "refused"
    assert any("sandbox.file" in reason for reason in result.verdict.reasons)
    assert result.release.bundle is None


def test_a_class_of_the_training_code_cannot_be_stored(tiny_project):
    (tiny_project / "train.py").write_text(
        "from sklearn.linear_model import LogisticRegression\n"
        "from sklearn.pipeline import Pipeline\n"
        "from sklearn.compose import make_column_transformer\n"
        "class Mine(LogisticRegression):\n    pass\n"
        "def build():\n"
        "    return Pipeline([('p', make_column_transformer(('passthrough', ['a', 'b']))), ('clf', Mine())])\n"
    )
    with pytest.raises(TrainingError, match="cannot be stored safely"):
        casemate.open(tiny_project).run()


def test_rows_reach_the_sandbox_in_memory_only(tmp_path):
    import os

    from casemate.core.sandbox.run import _memory_file

    descriptor = _memory_file(pa.table({"a": [1.0]}))
    assert "memfd" in os.readlink(f"/proc/self/fd/{descriptor}")
    os.close(descriptor)
