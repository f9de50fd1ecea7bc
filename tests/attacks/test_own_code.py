"""Code of the user's that a model carries: it is part of what is signed, it runs in sandboxes only,
and what it tries there comes to nothing and is on record.
"""

import gc
import hashlib
import shutil
import socket
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import write_csv

import casemate
from casemate.core.errors import (
    ConfigError,
    RefusedError,
    TrainingError,
    VerificationError,
)
from casemate.core.sandbox.kernel import available
from casemate.ml import models
from casemate.ml.own.asked import OwnCodeFailed
from casemate.operations import scaffold
from casemate.operations.checkup import import_model
from casemate.serve.confined import ConfinedModel
from casemate.serve.endpoint import example
from casemate.serve.loading import loaded, surroundings
from casemate.stages.release import bundle

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not available()["landlock"], reason="this kernel has no Landlock"),
]

ENTRY = """
from features import Sum
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline


def build(columns):
    return make_pipeline(Sum({arguments}), LogisticRegression())
"""
HONEST = """
import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin


class Sum(BaseEstimator, TransformerMixin):
    def __init__(self, weight=0.3):
        self.weight = weight

    def fit(self, frame, target=None):
        self.middle_ = float(np.nanmean(frame["a"]))
        return self

    def transform(self, frame):
        found = np.nan_to_num(frame["a"].to_numpy(dtype=float), nan=self.middle_)
        return np.column_stack([found, found + self.weight * np.nan_to_num(frame["b"].to_numpy())])
"""
QUICK = [
    "assess.bootstrap=20",
    "assess.attack_rows=10",
    "assess.attack_steps=2",
    "assess.shadows=4",
    "assess.eps=[0.1]",
    "robustness.decision_rows=0",
    "screen.label_noise=false",
    "gates.membership_auc.max=1.0",
]


def project_in(root: Path, table, code: str, *overrides: str, arguments: str = ""):
    """A project whose model has such a class among its steps."""
    root.mkdir()
    path = write_csv(root / "t.csv", table)
    scaffold.create(root, scaffold.from_table(root, path, "y"))
    toml = root / "casemate.toml"
    lines = [line for line in toml.read_text().splitlines() if not line.startswith("search = ")]
    text = "\n".join(lines).replace(
        "[train]\n", '[train]\ntransformers = ["features.py"]\nsearch = { sum__weight = [0.3] }\n'
    )
    head, _, tail = text.partition("[gates]")
    gates = "[gates]\naccuracy = { min = 0.5 }\n\n[serve]" + tail.partition("[serve]")[2]
    toml.write_text(head + gates)
    (root / "features.py").write_text(code)
    (root / "train.py").write_text(ENTRY.format(arguments=arguments))
    return casemate.open(root, [*QUICK, *overrides])


@pytest.fixture(scope="module")
def owned(home, tmp_path_factory):
    """A signed model with a class of its own; tests must not change it."""
    values = np.random.default_rng(3).standard_normal((240, 2))
    import pyarrow as pa

    noisy = values[:, 0] + 0.3 * values[:, 1] + 0.3 * np.random.default_rng(4).standard_normal(240)
    table = pa.table({"a": values[:, 0], "b": values[:, 1], "y": (noisy > 0).astype(int)})
    root = tmp_path_factory.mktemp("owned") / "p"
    result = project_in(root, table, HONEST).run()
    assert result.verdict.outcome == "passed", result.verdict.reasons
    return root, table


@pytest.fixture
def copy(owned, tmp_path):
    root = tmp_path / "p"
    shutil.copytree(owned[0], root)
    return root


def verified(root: Path) -> bundle.VerifiedModel:
    project = casemate.open(root)
    return project.models[project.config.project.name].verify()


def test_whoever_approves_a_model_is_told_of_the_code_that_is_approved_with_it(
    copy, cli, monkeypatch, tmp_path
):
    shutil.copytree(Path("~/.config").expanduser(), tmp_path / "home" / ".config")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    project = casemate.open(copy)
    project.access.add_user("eva", ["approver"], "correct horse battery staple")
    project.logins.login("eva", "correct horse battery staple", None)
    done = cli("model", "approve", project.config.project.name, "--reason", "r", "--config", copy)
    assert done.code == 0, done.err
    digest = hashlib.sha256(HONEST.encode()).hexdigest()
    assert "it computes with code of its own, which is approved with it" in done.out
    assert f"own_code/features.py  {digest}" in done.out


def test_what_was_trained_is_signed_and_says_that_it_carries_code(owned):
    root, _ = owned
    found = verified(root)
    assert found.files["own_code/features.py"] == HONEST.encode()
    assert list(found.card.code) == ["own_code/features.py"]
    assert models.ONNX not in found.files
    assert found.card.serve_format == "skops"
    assert b"Code of its own" in found.files["model-card.md"]
    assert b"casemate:own-code" in found.files["mlbom.cdx.json"]
    assert models.untrusted_types(found.files[models.SKOPS]) == ["features.Sum"]


def test_every_attack_measured_it_and_its_answers_are_those_of_the_class(owned):
    root, _ = owned
    project = casemate.open(root)
    (run,) = project.engine.runs()
    from casemate.core.types import Assessment, TrainedModel

    found = project.engine.record(run.id, "assess", Assessment)
    assert {"roc_auc", "accuracy"} <= set(found.metrics)
    assert {"lira_auc", "membership_tpr_at_1_fpr"} <= set(found.figures)
    assert found.metrics["accuracy"].value > 0.75
    assert "own_code/features.py" in found.measured
    trained = project.engine.record(run.id, "train", TrainedModel)
    assert trained.estimator == "Pipeline(Sum, LogisticRegression)"
    assert any(finding.id == "model.own-code" for finding in trained.findings)


def test_casemates_own_process_never_imports_it(owned):
    root, _ = owned
    project = casemate.open(root)
    endpoint = loaded(project, f"{project.config.project.name}@1")
    rows = example(endpoint.schema, 5, np.random.default_rng(1))
    labels, probabilities = endpoint.predict(rows)
    assert labels.tolist() == probabilities.argmax(axis=1).tolist()
    assert endpoint.slow
    assert endpoint.steady
    assert endpoint.tried == ""
    verified(root)
    assert "features" not in sys.modules
    assert not any(type(found).__name__ == "Sum" for found in gc.get_objects())
    with pytest.raises(VerificationError, match=r"features\.Sum"):
        models.load_skops(verified(root).files[models.SKOPS])
    endpoint.close()


def test_a_sandbox_that_ended_is_started_again_for_the_next_question(owned):
    root, _ = owned
    project = casemate.open(root)
    model = ConfinedModel(verified(root), surroundings(project))
    frame = casemate_frame(verified(root))
    before = model.predict(frame)[1]
    model._session.close()
    with pytest.raises(OwnCodeFailed, match="ended"):
        for _ in range(100):
            model.predict(frame)
    assert (model.predict(frame)[1] == before).all()
    model.close()


def casemate_frame(found: bundle.VerifiedModel):
    import pandas as pd

    rows = example(found.card.inputs, 4, np.random.default_rng(2))
    return pd.DataFrame(rows, columns=[column.name for column in found.card.inputs.features])


def test_a_kernel_that_cannot_confine_makes_and_serves_no_such_model_whatever_the_mode(copy):
    root = copy
    script = f"""
        from casemate.core.sandbox import confine
        import casemate
        from casemate.core.errors import SandboxError
        from casemate.operations.contexts import Silent
        from casemate.serve.loading import loaded
        class Hears(Silent):
            def progress(self, text, done, total):
                print("heard", text)
        project = casemate.open({str(root)!r}, ["sandbox.mode=prefer"])
        name = project.config.project.name
        while confine.landlock([], ["/"]):  # until the kernel takes no further one
            pass
        again = casemate.open({str(root)!r}, {QUICK!r} + ["sandbox.mode=prefer", "train.folds=3"])
        for work in (lambda: loaded(project, f"{{name}}@1"), lambda: again.run(reporter=Hears())):
            try:
                work()
            except SandboxError as error:
                print("refused", error.code)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    said = done.stdout.splitlines()
    assert said.count("refused CM-SANDBOX") == 2, done.stderr[-2000:]
    assert "heard refitting on all training rows" not in said


@pytest.mark.parametrize("change", ["changed", "removed", "added", "not on the card"])
def test_a_byte_of_the_code_that_is_not_the_signed_one_is_refused(owned, tmp_path, change):
    root, _ = owned
    project = casemate.open(root)
    folder = tmp_path / "out"
    project.models[project.config.project.name].export(folder)
    keys = [folder / "signer.pub", folder / "signer-mldsa65.pub"]
    told = casemate.verify(folder, keys)
    assert "with code of its own: own_code/features.py" in told.summary
    code = folder / "model" / "own_code"
    if change == "changed":
        (code / "features.py").write_text(HONEST.replace("0.3", "0.4"))
    elif change == "removed":
        (code / "features.py").unlink()
    elif change == "added":
        (code / "more.py").write_text("x = 1\n")
    else:
        files = bundle.read_folder(folder / "model") | {"own_code/more.py": b"x = 1\n"}
        (code / "more.py").write_text("x = 1\n")
        (folder / "model.sig").write_bytes(bundle.sign(files, project.signer))
    with pytest.raises(VerificationError):
        casemate.verify(folder, keys)


def test_a_file_that_changes_while_the_run_works_is_not_what_is_signed(owned, tmp_path):
    _, table = owned
    project = project_in(tmp_path / "p", table, HONEST)
    from casemate.operations.contexts import Silent

    class Changing(Silent):
        def stage(self, name, record):
            if name == "train":
                (tmp_path / "p" / "features.py").write_text("raise SystemExit\n")

    result = project.run(reporter=Changing())
    assert result.verdict.outcome == "passed"
    assert result.model.verify().files["own_code/features.py"] == HONEST.encode()
    (tmp_path / "p" / "features.py").write_text(HONEST + "# another comment\n")
    again = casemate.open(tmp_path / "p", QUICK).run()
    assert again.id != result.id
    assert again.model.verify().files["own_code/features.py"].endswith(b"# another comment\n")


def test_an_exported_folder_with_code_is_taken_in_only_by_who_says_so(owned, copy, tmp_path):
    project = casemate.open(copy, QUICK)
    folder = tmp_path / "theirs"
    project.models[project.config.project.name].export(folder)
    with pytest.raises(RefusedError, match="carries code of its own"):
        import_model(project, folder)
    with pytest.raises(RefusedError, match=r"features\.Sum"):
        import_model(project, folder / "model" / "model.skops")
    found = import_model(project, folder, own_code=True)
    assert found.problem == ""
    assert [path.read_text() for path in found.code] == [HONEST]
    wrong = folder / "model" / "own_code" / "features.py"
    wrong.write_text(HONEST + "import socket\n")
    with pytest.raises(RefusedError, match="imports 'socket'"):
        import_model(project, folder, "other", own_code=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="is a folder"):
        import_model(project, tmp_path / "empty", own_code=True)
    listed = [str(path.relative_to(copy)) for path in found.code]
    taken = casemate.open(
        copy,
        [*QUICK, f"train.model={found.file.relative_to(copy)}", f"train.transformers={listed}",
         "train.search={}"],
    ).run()  # fmt: skip
    assert taken.verdict.outcome == "passed", taken.verdict.reasons
    assert taken.model.verify().card.code == verified(copy).card.code


def test_processes_of_a_parallel_search_import_it_too(owned, tmp_path):
    project = project_in(
        tmp_path / "p", owned[1], HONEST, "train.jobs=2", "train.search.sum__weight=[0.3,0.5]"
    )
    assert project.run().verdict.outcome == "passed"


HOSTILE = """
import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

TRAINED = []


def attempts():
    os, socket, ctypes = __import__("os"), __import__("socket"), __import__("ctypes")
    pandas, gc = __import__("pandas"), __import__("gc")

    def connect():
        socket.create_connection(("127.0.0.1", {port}), 1)

    def raw():
        assert ctypes.CDLL(None).socket(2, 1, 0) >= 0

    def read():
        assert open({secret!r}).read()

    def write():
        open({target!r}, "w").write("got out")

    def above():
        assert open(f"/proc/{{os.getppid()}}/mem", "rb")

    def environment():
        assert open(f"/proc/{{os.getppid()}}/environ", "rb").read()

    def rows():  # a table that somebody else in this process holds
        held = [one for one in gc.get_objects() if isinstance(one, pandas.DataFrame)]
        assert any("y" in one or len(one) > 150 for one in held)

    def descriptors():  # anything but pipes: a table in memory, a file, a socket
        assert any(another(number) for number in range(3, 256))

    def another(number):
        try:
            return os.fstat(number).st_mode & 0o170000 != 0o010000
        except OSError:
            return False

    def program():
        assert os.system("cat {secret} > {target}") == 0

    return [connect, raw, read, write, above, environment, rows, descriptors, program]


class Sum(BaseEstimator, TransformerMixin):
    def __init__(self, weight=0.3):
        self.weight = weight

    def fit(self, frame, target=None):
        TRAINED.append(1)
        self.middle_ = float(np.nanmean(frame["a"]))
        return self

    def transform(self, frame):
        got = 0
        if not TRAINED:  # read from its file, not trained here: somebody asks it
            for attempt in attempts():
                try:
                    attempt()
                    got = 1
                except BaseException:
                    pass
        found = np.nan_to_num(frame["a"].to_numpy(dtype=float), nan=self.middle_)
        kept = found + self.weight * np.nan_to_num(frame["b"].to_numpy())
        return np.column_stack([found, kept]) * (1 - 2 * got)  # the wrong way round, if it worked
"""


@pytest.fixture
def outside(tmp_path, home):
    """A secret, a place to write to, and somebody who would hear a connection."""
    secret = tmp_path / "keystore.json"
    secret.write_text("a secret")
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        stop = threading.Event()

        def listen():
            while not stop.is_set():
                try:
                    heard.append(server.accept())
                except OSError:
                    continue

        thread = threading.Thread(target=listen)
        thread.start()
        yield server.getsockname()[1], secret, tmp_path / "got-out", heard
        stop.set()
        thread.join()


def test_code_that_attacks_whoever_asks_it_gets_nothing_and_is_refused(owned, tmp_path, outside):
    port, secret, target, heard = outside
    code = HOSTILE.format(port=port, secret=str(secret), target=str(target))
    project = project_in(tmp_path / "p", owned[1], code)
    result = project.run()
    assert result.verdict.outcome == "refused"
    assert heard == []
    assert not target.exists()
    found = {finding.id for finding in result.assessment.findings if finding.severity == "high"}
    assert {"sandbox.network", "sandbox.file"} <= found
    assert not any(str(secret) in finding.message for finding in result.assessment.findings)
    assert result.assessment.metrics["accuracy"].value > 0.75  # or one of the attempts worked


def test_a_gateways_model_that_attacks_is_not_asked_again(owned, copy, tmp_path, outside):
    port, secret, target, heard = outside
    code = HOSTILE.format(port=port, secret=str(secret), target=str(target))
    project = casemate.open(copy)
    sound = verified(copy)
    files = sound.files | {"own_code/features.py": code.encode()}
    theirs = bundle.VerifiedModel(files, sound.card, sound.signer, sound.digest, bundle._PROOF)
    model, frame = ConfinedModel(theirs, surroundings(project)), casemate_frame(sound)
    honest = ConfinedModel(sound, surroundings(project))
    first = model.predict(frame)[1]
    assert first == pytest.approx(honest.predict(frame)[1])  # or one of the attempts worked
    with pytest.raises(OwnCodeFailed, match="what a model may not"):
        for _ in range(100):
            model.predict(frame)
    assert "what a model may not" in model.tried
    assert heard == []
    assert not target.exists()
    model.close()
    honest.close()


def test_code_that_tries_while_it_trains_is_a_finding_as_that_of_train_py(owned, tmp_path, outside):
    _, secret, _, _ = outside
    code = HONEST.replace(
        "        self.middle_",
        f"        try:\n            open({str(secret)!r})\n        except OSError:\n"
        "            pass\n        self.middle_",
    )
    result = project_in(tmp_path / "p", owned[1], code).run()
    assert result.verdict.outcome == "refused"


def test_state_that_no_file_holds_is_refused_before_the_search(owned, tmp_path):
    code = HONEST.replace(
        "return self\n", "self.rule_ = lambda value: value\n        return self\n", 1
    )
    with pytest.raises(TrainingError) as caught:
        project_in(tmp_path / "p", owned[1], code).run()
    caught.value.opened()
    assert "keep numbers, texts, lists, dictionaries and arrays in self" in str(caught.value)
