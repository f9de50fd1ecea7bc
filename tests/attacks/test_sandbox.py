"""Training code that is hostile: everything it tries is refused by the kernel, and what it tried is
recorded.
"""

import ast
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from tests.attacks import hostile

import casemate
from casemate.config import DataTable
from casemate.core import quiet
from casemate.core.errors import SandboxError, StageTimeout, TrainingError
from casemate.core.home import keystore_folder
from casemate.core.sandbox.conversation import Conversation, _hear, converse
from casemate.core.sandbox.failure import JobFailed, JobLimits
from casemate.core.sandbox.kernel import available
from casemate.core.sandbox.run import Worker
from casemate.core.sandbox.server import ForkServer
from casemate.operations.contexts import Silent
from casemate.stages.data import schema as schemas
from casemate.stages.train.stage import SAFE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not available()["landlock"], reason="this kernel has no Landlock"),
]

BUILD = """
from sklearn.linear_model import LogisticRegression
def build():
    return LogisticRegression()
"""


@pytest.fixture
def fit(tmp_path, tiny, config):
    """Run training code on the numbers of the tiny table in the real sandbox."""

    def run(code: str, *overrides: str, secret: Path | None = None, progress=None, server=None):
        import msgspec

        table = tiny.drop_columns("c")
        options = config(*overrides)
        schema, _ = schemas.infer(table, DataTable(source="t", target="y"))
        scratch = Path(tempfile.mkdtemp(dir=tmp_path))
        study = tmp_path / "study"
        study.mkdir(exist_ok=True)
        job = {
            "entry": options.train.entry,
            "schema": msgspec.to_builtins(schema),
            "train": msgspec.to_builtins(options.train),
            "grouped": False,
            "study": str(study),
        }
        with Worker("casemate.stages.train.fit:main", server=server) as worker:
            return worker.run(
                job,
                tables=[table],
                inputs={"train.py": textwrap.dedent(code).encode()},
                scratch=scratch,
                limits=JobLimits(options.train.timeout, int(options.train.memory_gb * 2**30)),
                required=options.sandbox.mode == "require",
                outputs=SAFE,
                hidden=[secret or tmp_path / "keys"],
                writable=[study],
                progress=progress,
            )

    return run


@pytest.fixture
def server():
    server = ForkServer(["casemate.stages.train.fit:main"])
    yield server
    server.close()


def failure(fit, code: str, *overrides: str, **named) -> JobFailed:
    with pytest.raises(JobFailed) as caught:
        fit(code, *overrides, **named)
    return caught.value


def test_honest_code_comes_back_as_data(fit):
    outcome = fit(BUILD)
    assert set(outcome.files) == {"model.skops"}
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
        code = ATTEMPTS.format(
            secret=str(secret),
            home=str(tmp_path),
            project=str(project),
            port=listener.getsockname()[1],
        )
        error = failure(fit, code, "train.memory_gb=8")
        with pytest.raises(TimeoutError):
            listener.accept()
    results = json.loads(error.message.partition("RESULTS")[2])
    environment = results.pop("environment")[1]
    assert {name: answer for name, answer in results.items() if answer[0] != "refused"} == {}
    assert not [
        name for name in environment if "KEY" in name or "TOKEN" in name or "SECRET" in name
    ]
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


def test_what_a_library_opens_while_it_is_imported_is_closed_in_the_job_and_it_has_no_home(
    fit, tmp_path, monkeypatch
):
    kept = tmp_path / "event-store"
    library = (
        f"import os\nos.open({str(kept)!r}, os.O_RDWR |"
        " os.O_CREAT)\nos.makedirs(os.path.expanduser('~/.left-behind'))\n"
    )
    (tmp_path / "sitecustomize.py").write_text(library)
    monkeypatch.setattr(quiet, "environment", lambda: {"PYTHONPATH": str(tmp_path)})
    opened = dict(ast.literal_eval(failure(fit, OPEN).message.partition("RESULTS")[2]))
    assert kept.exists(), "nothing was opened that could have been closed"
    assert not Path("/.left-behind").exists(), "a library finds no home while it is imported"
    beside = [target for number, target in opened.items() if number > 2]
    assert {target.partition(":")[0] for target in beside} == {
        "/memfd",
        "pipe",
    }, "more than the table and the channel"


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
        (
            "def build():\n    return 3\n",
            "returned int, expected an unfitted scikit-learn classifier",
        ),
        ("def build(:\n", "SyntaxError"),
        (
            "from sklearn.svm import LinearSVC\ndef build():\n    return LinearSVC()\n",
            "without predict_proba",
        ),
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
    import os, pathlib
    from sklearn.linear_model import LogisticRegression
    os.symlink({str(secret)!r}, "plain.skops")
    pathlib.Path("model.onnx").write_text("what nobody asked for")
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


@pytest.mark.parametrize("shared", ["/usr", "/dev/shm"])
def test_a_project_that_training_code_could_read_is_refused(fit, shared):
    with pytest.raises(SandboxError, match=f"lies inside {shared}"):
        fit(BUILD, secret=Path(shared) / "app")


def test_a_key_store_among_the_readable_folders_is_refused(fit):
    with pytest.raises(SandboxError, match="may read"):
        fit(BUILD, secret=Path(sys.prefix) / "keys")


def test_a_violation_that_the_code_hides_refuses_the_model(tiny_project):
    secret = keystore_folder(casemate.open(tiny_project).config.project.id) / "keystore.json"
    code = (tiny_project / "train.py").read_text()
    (tiny_project / "train.py").write_text(
        code + f"\ntry:\n    open({str(secret)!r})\nexcept OSError:\n    pass\n"
    )
    result = casemate.open(tiny_project).run()
    assert result.verdict.outcome == "refused"
    assert any("sandbox.file" in reason for reason in result.verdict.reasons)
    assert result.release.bundle is None


def test_a_class_of_the_training_code_cannot_be_stored(tiny_project):
    (tiny_project / "train.py").write_text(
        "from sklearn.linear_model import LogisticRegression\nfrom sklearn.pipeline import"
        " Pipeline\nfrom sklearn.compose import make_column_transformer\nclass"
        " Mine(LogisticRegression):\n    pass\ndef build():\n    return Pipeline([('p',"
        " make_column_transformer(('passthrough', ['a', 'b']))), ('clf', Mine())])\n"
    )
    with pytest.raises(TrainingError, match="no model file may hold"):
        casemate.open(tiny_project).run()


def test_rows_reach_the_sandbox_in_memory_only(tmp_path):
    from casemate.core.sandbox.server import _memory_file

    descriptor = _memory_file(pa.table({"a": [1.0]}))
    assert "memfd" in os.readlink(f"/proc/self/fd/{descriptor}")
    os.close(descriptor)


SITUATIONS = {
    "root, nothing": "root",
    "user, nothing": "root",
    "user, processes": "root",
    "root, namespaces": "calls",
    "user, namespaces": "calls",
    "user, mounts": "calls",
}
"""Who runs casemate and what the machine does not give, and what protects metadata there: a root
folder, or refused calls.
"""


@pytest.mark.parametrize("situation", SITUATIONS)
def test_no_action_changes_anything_outside_whatever_the_machine_gives(
    situation, tmp_path, pytestconfig
):
    if not available()["root"] or (situation.startswith("root") and os.getuid() != 0):
        pytest.skip("this machine is itself one of the other situations")
    words = [
        "-m",
        "tests.attacks.situations",
        situation,
        "-m",
        "tests.attacks.hostile",
        str(tmp_path / "ground"),
    ]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=pytestconfig.rootpath,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert "DONE" in told["error"], told["error"]
    assert told["changed"] == []
    answers = {(step[0], *step[1:2]): answer for step, answer in told["answers"]}
    assert len(answers) > 130
    got = {name for name, answer in answers.items() if answer[0] == "got"} - {("setsid",)}
    pretended = {step for step in got if len(step) > 1 and step[0] in PRETENDED} | (
        {("device",)} & got
    )
    if situation == "user, namespaces":
        # who has no capability cannot shrink it, and needs not: no program gives him one
        # (no_new_privs)
        got -= {("bounding set",)}
    assert got <= (pretended if SITUATIONS[situation] == "calls" else set())
    secret = next(path for name, *path in answers if name == "chmod")
    assert answers["chmod", *secret][0] == (
        "got" if SITUATIONS[situation] == "calls" else "refused"
    )
    assert any(
        "change the mode of" in message and "keystore.json" in message
        for message in told["findings"]
    )
    assert any("link" in message and "keystore.json" in message for message in told["findings"])


@pytest.mark.parametrize(
    "situation", ["root, nothing", "user, processes", "user, namespaces", "user, mounts"]
)
def test_what_libraries_do_works_whatever_the_machine_gives(situation, tmp_path, pytestconfig):
    if not available()["root"] or (situation.startswith("root") and os.getuid() != 0):
        pytest.skip("this machine is itself one of the other situations")
    words = [
        "-m",
        "tests.attacks.situations",
        situation,
        "-m",
        "tests.attacks.honest",
        str(tmp_path / "ground"),
    ]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=pytestconfig.rootpath,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert "error" not in told, told
    assert told["files"] == [["model.skops"], ["model.onnx", "model.skops"]]
    assert told["findings"] == []
    isolation = set(told["isolation"])
    assert {"landlock", "seccomp", "capabilities"} <= isolation
    assert ("root" in isolation) == (SITUATIONS[situation] == "root")
    assert ("metadata" in isolation) == (SITUATIONS[situation] == "calls")


PRETENDED = (
    "chmod",
    "setuid",
    "fchmod",
    "chmod by descriptor",
    "chmod through a link",
    "utime",
    "by a program",
    "by another python",
)
"""Where metadata cannot be mounted read-only, setting modes and times says that it was done, and
does nothing.
"""


def test_random_schedules_leave_key_store_and_project_as_they_were(tmp_path, scale):
    count = scale(25, 1000)
    ground = hostile.Ground(tmp_path / "ground")
    paths = ground.paths()
    before = ground.state()
    left = dict(hostile.named(hostile.schedules(count, seed=18, paths=len(paths)), paths))
    answers = refused = 0
    while left:
        error, told = ground.run(list(left.items())[:100], seconds=150)
        begun = ground.begun()
        # else the code does not run at all, and nothing is shown
        assert begun & set(left), error.message
        left = {number: steps for number, steps in left.items() if number not in begun}
        answers, refused = (
            answers + len(told),
            refused + sum(answer[0] == "refused" for _, answer in told),
        )
        after = ground.state()
        assert {
            path: (before.get(path), after.get(path))
            for path in {*before, *after}
            if before.get(path) != after.get(path)
        } == {}
    assert refused > answers / 2 > 0


WHOLE = {
    "memory_gb = 3": (
        """
        import os, time
        for _ in range(4):
            if os.fork() == 0:
                held = bytearray(b"x") * (1 << 30)
                time.sleep(60)
        time.sleep(60)
    """
    ),
    "/dev/shm counts as memory": (
        """
        import os, time
        block = bytes(1 << 20)
        held = bytearray(b"x") * (1 << 29)
        with open("/dev/shm/mine", "wb") as file:
            for _ in range(2900):
                file.write(block)
        time.sleep(60)
    """
    ),
    "processes and threads": (
        """
        import os, time
        for _ in range(400):
            if os.fork() == 0:
                time.sleep(60)
        time.sleep(60)
    """
    ),
    "10000 files": (
        """
        import time
        for number in range(20000):
            open(f"f{number}", "w").close()
        time.sleep(60)
    """
    ),
    "could not be looked at": (
        """
        import os, shutil, time
        if os.fork() == 0:
            shutil.copy("/bin/sleep", "hidden")
            os.chmod("hidden", 0o111)
            os.execv("hidden", ["hidden", "60"])
        time.sleep(60)
    """
    ),
}


@pytest.mark.parametrize("limit", WHOLE)
def test_limits_hold_for_all_processes_of_a_job_together(fit, limit):
    error = failure(
        fit,
        WHOLE[limit] + "\n        def build():\n            pass\n",
        "train.memory_gb=3",
        "train.timeout=50",
    )
    assert error.kind == "limit", error.message
    assert limit in error.message + error.hint


def test_memory_that_processes_share_counts_once(fit):
    code = """
    import mmap, os, time
    held = bytearray(b"x") * (1 << 29)
    shared = mmap.mmap(-1, 1 << 28)
    for _ in range(256):
        shared.write(b"x" * (1 << 20))
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            time.sleep(1.5)
            os._exit(sum(shared[::4096]) * 0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    from sklearn.linear_model import LogisticRegression
    def build():
        return LogisticRegression()
    """
    assert "model.skops" in fit(code, "train.memory_gb=3").files


def test_what_code_prints_without_end_is_kept_to_its_end_only(fit):
    code = """
    import os, sys
    for _ in range(3000):
        os.write(2, b"x" * 100000)
    sys.stderr.write("\\n\\x1b[2Jthe last words\\n")
    sys.stderr.flush()
    os._exit(3)
    """
    error = failure(fit, code)
    assert error.kind == "killed"
    assert error.message.endswith("the last words")
    assert len(error.message) < 3000


def test_what_was_tried_is_told_also_when_the_time_runs_out(fit, tmp_path):
    secret = tmp_path / "keys" / "keystore.json"
    secret.parent.mkdir()
    secret.write_text("the secret")
    code = f"""
    import os, time
    for work in (open, lambda path: os.chmod(path, 0o777), lambda path: os.link(path, "mine"), lambda path: open(path + ".not-there")):
        try:
            work({str(secret)!r})
        except OSError:
            pass
    time.sleep(600)
    """
    error = failure(fit, code, "train.timeout=20")
    assert error.kind == "timeout"
    assert [finding.id for finding in error.findings] == [
        "sandbox.file",
        "sandbox.metadata",
        "sandbox.metadata",
    ]
    assert all(
        finding.severity == "high" and str(secret) in finding.message for finding in error.findings
    )


def test_a_run_whose_code_is_killed_has_what_it_tried_on_record(tiny_project, cli):
    secret = keystore_folder(casemate.open(tiny_project).config.project.id) / "keystore.json"
    (tiny_project / "train.py").write_text(
        f"import os\ntry:\n    os.chmod({str(secret)!r}, 0o777)\nexcept OSError:\n   "
        " pass\nos._exit(1)\n"
    )
    with pytest.raises(
        TrainingError, match="refused by the sandbox: the code tried to change the mode"
    ) as caught:
        casemate.open(tiny_project).run()
    assert [finding.id for finding in caught.value.findings] == ["sandbox.metadata"]
    assert secret.stat().st_mode & 0o777 == 0o600
    told = cli("audit", "show", "--config", tiny_project, "--format", "json")
    assert "sandbox.metadata (high): the code tried to change a file or its metadata" in told.out


ENCODED = """
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
def build():
    return make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression())
"""
ENDS = {
    "answered nonsense": 'fit._plain = lambda value: "nonsense"',
    "the model file was refused": (
        'fit._write = lambda _, outputs: (outputs / "model.skops").write_bytes(b"PK damaged")'
    ),
}


def test_what_was_tried_is_on_record_also_where_nothing_is_made_of_what_the_code_left(tiny_project):
    secret = keystore_folder(casemate.open(tiny_project).config.project.id) / "keystore.json"
    attempt = (
        f"import os\nfrom casemate.stages.train import fit\ntry:\n    os.chmod({str(secret)!r},"
        " 0o777)\nexcept OSError:\n    pass\n"
    )
    for plain, end in ENDS.items():
        (tiny_project / "train.py").write_text(attempt + end + ENCODED)
        with pytest.raises(TrainingError) as caught:
            casemate.open(tiny_project, ["train.search={}"]).run()
        assert plain in caught.value.plain
        assert [finding.id for finding in caught.value.findings] == ["sandbox.metadata"]


class Impatient(Silent):
    """Lets the stage's time be over as soon as the code says something."""

    def begin(self, run):
        self.run = run

    def progress(self, text, done, total):
        if text == "tried":
            self.run.lease.limit("train", 0.0)


def test_what_was_tried_is_on_record_also_when_the_time_of_the_stage_is_up(tiny_project, cli):
    secret = keystore_folder(casemate.open(tiny_project).config.project.id) / "keystore.json"
    say = (
        "import sys, time\nplace = sys._getframe()\nwhile 'channel' not in place.f_locals:\n   "
        " place = place.f_back\n"
    )
    attempt = (
        f"try:\n    open({str(secret)!r})\nexcept OSError:\n   "
        " pass\ntime.sleep(1)\nplace.f_locals['channel'].progress('tried')\ntime.sleep(600)\n"
    )
    (tiny_project / "train.py").write_text(say + attempt)
    with pytest.raises(StageTimeout):
        casemate.open(tiny_project).run(reporter=Impatient())
    told = cli("audit", "show", "--config", tiny_project, "--format", "json").out
    assert "sandbox.file (high): the code tried to open a file" in told
    assert str(secret) not in told


def test_no_text_of_the_code_reaches_a_terminal_as_it_is(fit, tmp_path):
    told = []
    code = """
    import casemate.core.sandbox.child as child, gc
    evil = "\\x1b]52;c;cm0=\\x07\\x1b[2J\\u202eevil\\x9b1m\\n"
    channel = next(o for o in gc.get_objects() if type(o).__name__ == "Channel")
    channel.progress(evil, 1, 2)
    channel.send(finding={"id": evil, "severity": "low", "message": evil, "location": evil})
    channel.send(result={"cv": [{evil: evil}], "estimator": evil})
    import time
    time.sleep(60)
    """
    outcome = fit(code, progress=lambda text, *_: told.append(text))
    finding = outcome.findings[0]
    shown = [
        *told,
        finding.id,
        finding.message,
        finding.location,
        json.dumps(outcome.result, ensure_ascii=False),
    ]
    assert all("evil" in text and text.replace("\n", "").isprintable() for text in shown), shown


NONSENSE = [
    b'{"error": 5}',
    b'{"error": [[1]]}',
    b'{"result": [1]}',
    b'{"result": 1}',
    b'{"finding": 5}',
    (
        b'{"finding": {"id": "sandbox.file", "severity": "high", "message": "m", "location":'
        b' "a\\u0000b"}}'
    ),
    b'{"progress": {"text": 1, "done": [], "total": 1}}',
    b'{"progress": 1}',
    b"[" * 100_000,
    b"5",
]


@pytest.mark.parametrize("line", NONSENSE, ids=lambda line: line[:30].decode())
def test_nonsense_on_the_channel_is_not_heard(line):
    heard = Conversation(read=[], write=[], isolation=["landlock"])
    _hear(heard, line, lambda *_: None)
    assert (heard.result, heard.error, heard.findings) == (None, None, [])


def test_a_path_that_nobody_can_open_is_not_walked_along():
    """Each of its links would be looked at here, in the one process that keeps the time."""
    heard = Conversation(read=[], write=[], isolation=["landlock"])
    finding = {
        "id": "sandbox.file",
        "severity": "high",
        "message": "m",
        "location": "/proc/self/cwd/.." + "/." * 3000 + "/",
    }
    _hear(heard, json.dumps({"finding": finding}).encode(), None)
    assert heard.findings == []


def test_rows_that_were_handed_over_cannot_be_changed_or_grown(fit):
    from casemate.core.sandbox.server import _memory_file

    descriptor = _memory_file(pa.table({"a": [1.0]}))
    for work in (
        lambda: os.write(descriptor, b"x"),
        lambda: os.ftruncate(descriptor, 1 << 30),
        lambda: os.ftruncate(descriptor, 0),
    ):
        with pytest.raises(PermissionError):
            work()
    os.close(descriptor)


def test_a_job_finds_nothing_that_the_one_before_left_in_its_server(fit, server):
    spoil = """
    import sys
    import casemate.stages.train.fit as fitting
    if hasattr(fitting, "left"):
        raise ValueError("somebody was here")
    fitting.left = sys.modules["left"] = 1
    """
    for _ in range(2):
        assert fit(spoil + textwrap.indent(BUILD, "    "), server=server).result
    assert (
        "somebody was here"
        in failure(fit, spoil * 2 + textwrap.indent(BUILD, "    "), server=server).message
    )


def test_jobs_of_one_server_end_as_they_ended_whatever_the_one_before_did(fit, server):
    assert failure(fit, "import os; os._exit(3)", server=server).message.startswith(
        "the code's process died (exit 3)"
    )
    assert (
        failure(fit, "import time; time.sleep(60)", "train.timeout=1", server=server).kind
        == "timeout"
    )
    assert fit(BUILD, server=server).result


def test_code_that_closes_its_output_and_stays_is_out_of_time():
    """Where no process above it keeps the output open, as the sandbox's own do on Linux."""
    code = "import os, time; os.close(1); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.server = SimpleNamespace(ended=process.poll)
        heard = Conversation([], [])
        converse(process, b"{}", 1.5, None, heard)
        process.kill()
    assert heard.stopped == "timeout"


def test_a_question_that_was_interrupted_gives_no_answer_to_the_next_one(server):
    class Interrupted(BaseException):
        pass

    def interrupt(*_):
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    pipes = [os.pipe() for _ in range(3)]
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)  # while the server imports
        with pytest.raises(Interrupted):
            server.start("casemate.stages.train.fit:main", [pipes[0][0], pipes[1][1], pipes[2][1]])
    finally:
        signal.signal(signal.SIGALRM, before)
        for descriptor in (end for pipe in pipes for end in pipe):
            os.close(descriptor)
    assert server.ended() == -signal.SIGKILL
