"""Code of the user's that a model may carry: what such a file may be, and what a model file may hold
of it.
"""

import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from casemate.core.errors import ConfigError, VerificationError
from casemate.ml.models import dump_skops, load_skops, untrusted_types
from casemate.ml.own import code
from casemate.ml.skopsfile import canonical, classes_in
from casemate.stages.train import look, stage, told
from casemate.stages.train.training_code import code_digest, code_of, own_code

HEAD = """
import re

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin


class LogRatio(BaseEstimator, TransformerMixin):
    def fit(self, frame, target=None):
        {state}
        return self

    def transform(self, frame):
        return np.log(np.abs(np.asarray(frame, dtype=float)) + 1.0) {use}


def doubled(frame):
    return 2 * np.asarray(frame)
"""


def source(state: str = "self.floor_ = 1.0", use: str = "* self.floor_") -> bytes:
    return HEAD.format(state=state, use=use).encode()


@pytest.fixture
def module(monkeypatch):
    """Import code as a confined process does, and forget it afterwards."""

    def load(content: bytes, name: str = "features"):
        monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
        monkeypatch.delitem(sys.modules, name, raising=False)
        code.install({f"own_code/{name}.py": content})
        return __import__(name)

    before = set(sys.modules)
    yield load
    for name in set(sys.modules) - before:
        if name in ("features", "others"):
            del sys.modules[name]


@pytest.fixture
def project(tmp_path, config):
    """A folder with train.py, and its configuration with these transformers."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "train.py").write_text("def build():\n    ...\n")

    def made(*names: str, **files: bytes):
        for name, content in files.items():
            path = root / (name.replace("__", "/") + ".py")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        listed = ", ".join(f'"{name}"' for name in names)
        return root, config(f"train.transformers=[{listed}]")

    return made


def refusal(files: dict[str, bytes], entry: str = "train.py") -> str:
    with pytest.raises(ConfigError) as caught:
        code.check(files, entry)
    return f"{caught.value.message} | {caught.value.hint}"


def test_a_file_that_computes_is_accepted_and_its_names_are_listed_exactly():
    files = {"own_code/features.py": source()}
    code.check(files, "train.py")
    assert code.names_in(files) == ["features.LogRatio", "features.doubled"]


def test_files_may_import_each_other_and_nothing_else_of_the_project():
    files = {"own_code/features.py": b"from others import x\n", "own_code/others.py": b"x = 1\n"}
    code.check(files)
    assert "imports 'helpers'" in refusal({"features.py": b"import helpers\n"})
    assert "in no package" in refusal({"features.py": b"from . import x\n"})


@pytest.mark.parametrize(
    "line",
    ["import socket", "import os.path", "from subprocess import run", "import ctypes, math",
     "def f():\n    import pickle", "import urllib.request", "import joblib", "import requests"],
)  # fmt: skip
def test_what_a_sandbox_has_not_is_no_import_of_such_a_file(line):
    said = refusal({"lib/features.py": line.encode()})
    assert "lib/features.py line" in said
    assert "imports" in said
    assert "read files in train.py" in said


@pytest.mark.parametrize("name", ["numpy", "sklearn", "json", "casemate", "pandas", "msgspec"])
def test_a_name_that_is_installed_is_refused_by_that_name(name):
    assert f"the name of {name!r}, which is installed here" in refusal({f"{name}.py": b"x = 1\n"})


def test_a_file_where_the_command_was_started_hides_nothing(tmp_path, monkeypatch):
    (tmp_path / "features.py").write_text("x = 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    code.check({"features.py": b"x = 1\n"})


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a/features.py": b"", "b/features.py": b""}, "both called 'features'"),
        ({"features.txt": b""}, "no .py file"),
        ({"my-features.py": b""}, "no name of a module"),
        ({"class.py": b""}, "no name of a module"),
        ({"train.py": b""}, "the name of the entry"),
        ({"features.py": b"def f(:\n"}, "features.py line 1"),
        ({"features.py": b"x = '\xff'\n"}, "not UTF-8: byte 5"),
        ({"features.py": b"x = 1\0\n"}, "no plain text"),
        ({"features.py": b"\xef\xbb\xbfx = 1\n"}, "no plain text"),
        ({"features.py": b"#" * (code.MAX_FILE + 1)}, "larger than 256 KiB"),
        ({"features.py": b"(" * 100_000}, "features.py"),
        ({f"f{n}.py": b"" for n in range(code.MOST_FILES + 1)}, "20 at most"),
    ],
)
def test_what_is_no_plain_small_python_file_is_refused_by_what_is_wrong(files, said):
    assert said in refusal(files)


def test_files_outside_links_and_missing_ones_are_refused(project, tmp_path):
    (tmp_path / "outside.py").write_bytes(source())
    root, _ = project(features=source())
    (root / "link.py").symlink_to(root / "features.py")
    (root / "folder").symlink_to(tmp_path)
    for name, said in {
        "../outside.py": "outside the project",
        str(tmp_path / "outside.py"): "outside the project",
        "folder/outside.py": "outside the project",
        "link.py": "symbolic link",
        "absent.py": "no such file",
    }.items():
        with pytest.raises(ConfigError, match=said):
            own_code(*project(name))


def test_the_code_is_an_input_of_the_run_by_its_bytes(project):
    root, options = project("lib/features.py", lib__features=source())
    before = code_digest(root, options)
    assert code_of(root, options)["own_code/features.py"] == source()
    (root / "lib" / "features.py").write_bytes(source() + b"# changed\n")
    assert code_digest(root, options) != before


def test_a_folder_of_the_users_is_not_taken_for_declared_code(project):
    root, options = project(own_code__helpers=b"x = 1\n")
    import msgspec

    train = msgspec.structs.replace(options.train, files=["own_code/*.py"])
    with pytest.raises(ConfigError, match="rename the folder|kept for"):
        code_of(root, msgspec.structs.replace(options, train=train))


def rows() -> tuple[pd.DataFrame, np.ndarray]:
    values = np.random.default_rng(0).standard_normal((80, 2))
    return pd.DataFrame(values, columns=["a", "b"]), (values.sum(axis=1) > 0).astype(int)


def problem(made, names, step="LogRatio") -> str:
    estimator = make_pipeline(getattr(made, step)(), LogisticRegression())
    return look.problem(estimator, *rows(), own=names)


NAMES = ["features.LogRatio", "features.doubled"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("state", "use"),
    [
        ("self.floor_ = 1.0", "* self.floor_"),
        ("pass", ""),
        ("self.map_ = {'a': [1, (2.0, 'x')], 'b': np.arange(3)}", "* self.map_['b'][1]"),
    ],
)
def test_a_class_whose_state_is_data_or_none_is_storable(module, state, use):
    assert problem(module(source(state, use)), NAMES) == ""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("state", "use", "said"),
    [
        ("self.f_ = lambda value: value", "", "no model file may hold"),
        ("self.f_ = re.compile('x')", "", "no model file may hold"),
        ("self.f_ = open('/dev/null')", "", "stored safely"),
        ("self.__class__ = type('Other', (LogRatio,), {})", "", "no model file may hold"),
    ],
)
def test_state_that_is_not_data_is_refused_before_the_search_with_a_way_out(
    module, state, use, said
):
    found = problem(module(source(state, use)), NAMES)
    assert said in found
    assert "keep numbers, texts, lists, dictionaries and arrays in self" in found


@pytest.mark.filterwarnings("ignore")
def test_state_that_is_not_written_is_noticed(module):
    forgets = source("self.floor_ = 1.0").replace(
        b"    def transform", b"    def __getstate__(self):\n        return {}\n\n    def transform"
    )
    assert "it does not answer" in problem(module(forgets), NAMES)


def test_a_class_of_no_listed_file_is_refused_and_told_of_the_list(module):
    found = problem(module(source()), [])
    assert "LogRatio is a class of features" in found
    assert "[train] transformers" in found


def test_a_class_that_is_called_like_one_of_scikit_learns_is_refused(module):
    made = module(source().replace(b"LogRatio", b"StandardScaler"))
    assert "call it otherwise" in problem(made, ["features.StandardScaler"], "StandardScaler")


def test_a_model_file_holds_names_of_the_code_exactly_and_never_by_prefix(module):
    made = module(source() + b"\n\nclass LogRatioToo(LogRatio):\n    pass\n")
    frame, target = rows()
    steps = made.LogRatioToo(), FunctionTransformer(made.doubled), LogisticRegression()
    content = dump_skops(make_pipeline(*steps).fit(frame, target))
    assert untrusted_types(content) == ["features.LogRatioToo", "features.doubled"]
    assert untrusted_types(content, NAMES) == ["features.LogRatioToo"]
    with pytest.raises(VerificationError, match=r"features\.LogRatioToo"):
        load_skops(content, trusted=NAMES)
    model = load_skops(content, trusted=[*NAMES, "features.LogRatioToo"])
    assert model.predict(frame)[1].shape == (80, 2)


def test_a_file_is_put_into_canonical_form_without_running_anything_of_it(module):
    made = module(source())
    frame, target = rows()
    content = dump_skops(make_pipeline(made.LogRatio(), LogisticRegression()).fit(frame, target))
    del sys.modules["features"]
    assert canonical(content) == content
    assert {"LogRatio", "LogisticRegression"} <= classes_in(content)
    assert "features" not in sys.modules


def test_what_a_file_does_not_list_is_left_out_of_it(module):
    import io
    import zipfile

    content = dump_skops(LogisticRegression().fit(*rows()))
    padded = io.BytesIO(content)
    with zipfile.ZipFile(padded, "a") as archive:
        archive.writestr("1.npy", b"rows of somebody")
        archive.writestr("hidden.txt", b"rows of somebody")
    assert canonical(padded.getvalue()) == content


def test_records_name_the_classes_of_the_code_and_say_when_none_is_used():
    files = {"own_code/features.py": source()}
    (carried,) = told.of_own_code(files, files)
    assert carried.id == "model.own-code"
    assert "features.py (LogRatio, doubled)" in carried.message
    (unused,) = told.of_own_code(files, {})
    assert unused.id == "train.own-code-unused"
    assert told.of_own_code({}, {}) == []
    repr_ = "Pipeline(steps=[('r', LogRatio()), ('x', Secret()), ('c', LogisticRegression())])"
    assert told.outline(repr_, ["LogRatio"]) == "Pipeline(LogRatio, LogisticRegression)"
    assert stage.SAFE  # the training process leaves no code
