"""Training code holds rows that whoever wrote it may not read: by no word of its own does a value
reach them.
"""

import contextlib
import re
import textwrap
import traceback

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from tests.conftest import lighten, write_csv

import casemate
from casemate.core.errors import AccessDenied, TrainingError
from casemate.core.sandbox.failure import JobFailed
from casemate.core.store.sqlite import driver
from casemate.core.types import Finding, TrainedModel
from casemate.operations import scaffold
from casemate.stages.train import told
from casemate.stages.train.answer import Said, _checked

SECRET = "48151.62342"
WITHHELD = (
    '@id("sensitive-stays-closed") forbid (principal, action == Action::"dataset:read", resource)'
    ' when { context.column_class == "sensitive" };'
)
SPY = """
import os, socket, sys, warnings
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

def look():
    place, found = sys._getframe(), {}
    while place is not None:
        for name in ("channel", "frame", "job"):
            value = place.f_locals.get(name)
            if value is not None and (name != "frame" or "dose" in getattr(value, "columns", ())):
                found.setdefault(name, value)
        place = place.f_back
    value = repr(float(found["frame"]["dose"][found["frame"]["dose"] > 40000].iloc[0]))
    print(value)
    sys.stderr.write(value + chr(10))
    warnings.warn(value)
    found["channel"].progress(value, 1, 4815162342)
    found["channel"].send(finding={"id": value, "severity": "low", "message": value, "location": value})
    found["channel"].send(finding={"id": "sandbox.file", "severity": "low", "message": value, "location": "/etc/passwd"})
    try:
        socket.getaddrinfo(value + ".example", 80)
    except OSError:
        pass
    with open(os.path.join(found["job"]["study"], "mine"), "w") as file:
        file.write(value)
    return value
"""
FAILING = {
    "text": "raise ValueError('could not convert string to float: ' + look())",
    "name": "value = look(); raise type('E' + value.replace('.', '_'), (Exception,), {})(value)",
    "kind": "error = RuntimeError(look()); error.kind = 'sandbox'; raise error",
    "clock": "error = RuntimeError(look()); error.kind = 'timeout'; raise error",
    "line": (
        "value = look(); exec(compile(chr(10) * 48150 + 'raise ValueError(1)', sys.argv[0] + '/in/'"
        " + value, 'exec'))"
    ),
    "death": "value = look(); os._exit(int(float(value)) % 256)",
    "types": (
        "value = look(); return type('E' + value.replace('.', '_'), (LogisticRegression,), {})()"
    ),
}


class Heard:
    """A reporter that remembers every word."""

    def __init__(self):
        self.words = []

    def begin(self, run):
        self.words.append(run.id)

    def progress(self, text, done, total):
        self.words.append(f"{text} {done} {total}")

    def stage(self, name, record):
        self.words.append(repr(record))


@pytest.fixture(scope="module")
def dosed(home, tmp_path_factory):
    """A project with a sensitive quantity, one value of which is known; and one run that passed."""
    root = tmp_path_factory.mktemp("dosed") / "project"
    root.mkdir()
    generator = np.random.default_rng(0)
    doses, ages = generator.uniform(10, 40000, 300), generator.uniform(0, 1, 300)
    labels = (doses > 20000).astype(int)
    doses[:2] = float(SECRET)
    labels[:2] = 1
    table = pa.table({"dose": doses, "age": ages, "y": labels})
    scaffold.create(root, scaffold.from_table(root, write_csv(root / "t.csv", table), "y"))
    lighten(root)
    text = (root / "casemate.toml").read_text()
    text = text.replace("[data]\n", '[data.columns]\ndose = { class = "sensitive" }\n\n[data]\n', 1)
    text = re.sub(r"(?s)\[gates\].*?\n\n", "[gates]\naccuracy = { min = 0.1 }\n\n", text, count=1)
    text = re.sub(r"(?m)^search = .*$", 'search = { "clf__C" = [0.5, 1] }', text)
    (root / "casemate.toml").write_text(text)
    (root / "policies" / "sensitive.cedar").write_text(WITHHELD)
    return root


def code(root, end):
    (root / "train.py").write_text(
        SPY + "\ndef build():\n" + textwrap.indent(end.replace("; ", "\n"), "    ") + "\n"
    )


def everything(root, heard, cli):
    """All that lies in the clear, and all that the one without the right is told."""
    project = casemate.open(root)
    yield from (
        str(path.name) + path.read_text("latin-1")
        for path in (root / ".casemate").rglob("*")
        if path.is_file()
    )
    with contextlib.closing(driver.connect(project.catalog)) as database:
        names = [
            name
            for (name,) in database.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table'"
            ).fetchall()
        ]
        for name in names:
            yield from map(repr, database.execute(f'SELECT * FROM "{name}"').fetchall())
    yield from (repr(entry) for entry in project.log.entries())
    yield from heard.words
    runs = project.engine.runs()
    for words in (
        ["runs"],
        ["status"],
        *(
            ["runs", "show", run.id, "--format", style]
            for run in runs
            for style in ("text", "json")
        ),
    ):
        answer = cli(*words, "--config", root)
        yield answer.out + answer.err


def holds(text):
    return any(
        form in text for form in (SECRET, SECRET.replace(".", "_"), "4815162342", "line 4815")
    )


IN_FULL = {"kind", "clock", "line", "death"}
"""Ways that are tried in `make long` only."""


@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=[pytest.mark.long] * (way in IN_FULL)) for way in FAILING]
)
def test_no_word_of_code_that_fails_reaches_whoever_may_not_read_what_it_saw(dosed, way, cli):
    code(dosed, FAILING[way])
    heard = Heard()
    with pytest.raises(TrainingError) as caught:
        casemate.open(dosed).run(reporter=heard)
    shown = "".join(traceback.format_exception(caught.value)) + caught.value.diagnostics()
    assert not [text for text in [shown, *everything(dosed, heard, cli)] if holds(text)]
    assert not list((dosed / ".casemate" / "studies").iterdir())
    if way == "text":
        assert "ValueError, train.py line" in caught.value.message
    newest = casemate.open(dosed).engine.runs()[0]
    with pytest.raises(AccessDenied):
        casemate.open(dosed).runs.words(newest.id)


def test_no_word_of_code_that_succeeds_reaches_them_either(dosed, cli):
    code(
        dosed,
        "value = look(); return Pipeline([('s' + value.replace('.', '_'), StandardScaler()),"
        " ('clf', LogisticRegression(tol=float(value)))])",
    )
    heard = Heard()
    result = casemate.open(dosed).run(reporter=heard)
    cards = [
        content.decode("latin-1")
        for name, content in release_files(dosed, result).items()
        if not name.endswith((".skops", ".onnx"))
    ]
    assert not [text for text in [*cards, *everything(dosed, heard, cli)] if holds(text)]
    model = casemate.open(dosed).engine.record(result.id, "train", TrainedModel)
    assert model.estimator == "Pipeline(StandardScaler, LogisticRegression)"
    assert {finding.id for finding in model.findings} >= {
        "sandbox.network",
        "sandbox.file",
        "sandbox.other",
    }


NAMES = """
value = look()
from casemate.stages.train import fit
def left(model, outputs, write=fit._write):
    model.feature_names_in_ = [value, 'age']
    write(model, outputs)
fit._write = left
return LogisticRegression()
"""


def test_no_word_of_an_estimator_that_fails_when_it_is_measured_reaches_them(dosed, cli):
    """Its own texts stand in what scikit-learn raises: here the names of the features that it
    wants.
    """
    (dosed / "train.py").write_text(SPY + "\ndef build():\n" + textwrap.indent(NAMES, "    "))
    heard = Heard()
    result = casemate.open(dosed, ["train.search={}"]).run(reporter=heard)
    assert any("no answer" in finding.message for finding in result.assessment.findings), (
        result.assessment
    )
    assert not [text for text in everything(dosed, heard, cli) if holds(text)]


def release_files(root, result):
    project = casemate.open(root)
    return {name: project.objects.get(digest) for name, digest in result.release.files.items()}


def test_whoever_may_read_the_columns_hears_it_all(dosed, cli, tmp_path):
    (dosed / "policies" / "sensitive.cedar").unlink()
    try:
        code(dosed, FAILING["text"])
        project, heard = casemate.open(dosed), Heard()
        with pytest.raises(
            TrainingError, match="could not convert string to float: " + SECRET
        ) as caught:
            project.run(reporter=heard)
        assert "Traceback" in caught.value.hint
        assert any(SECRET in words for words in heard.words)
        newest = project.engine.runs()[0]
        assert SECRET not in newest.error  # the catalogue keeps it sealed all the same
        answer = cli("runs", "show", newest.id, "--config", dosed)
        assert "could not convert string to float: " + SECRET in answer.out
        assert SECRET not in cli("runs", "--config", dosed).out
    finally:
        (dosed / "policies" / "sensitive.cedar").write_text(WITHHELD)


CODE = {"train.py": b"a\nb\nc\n", "more/util.py": b"x\n"}


@pytest.mark.parametrize(
    ("kind", "trace", "expected"),
    [
        (
            "ValueError",
            'File "/tmp/x/in/train.py", line 3, in build',
            "t.py:b: ValueError, train.py line 3",
        ),
        (
            "ValueError",
            'File "/tmp/in/more/util.py", line 1, in f',
            "t.py:b: ValueError, more/util.py line 1",
        ),
        ("ValueError", 'File "/tmp/in/train.py", line 9, in f', "t.py:b: ValueError"),
        (
            "ValueError",
            'File "/tmp/in/train.py", line 99999999999999999999, in f',
            "t.py:b: ValueError",
        ),
        (
            "ValueError",
            'File "/tmp/in/train.py", line 00000000348151623, in f',
            "t.py:b: ValueError",
        ),
        (
            "ValueError",
            'File "/tmp/in/train.py", line 000000003' + "4815162342" * 500,
            "t.py:b: ValueError",
        ),
        ("ValueError", 'File "/tmp/in/secret.py", line 1, in f', "t.py:b: ValueError"),
        ("Secret", "", "t.py:b: an exception of its own"),
        ("print", "", "t.py:b: an exception of its own"),
        ("killed", "secret", "t.py:b: an exception of its own"),
        ("NotFittedError", "", "t.py:b: NotFittedError"),
    ],
)
def test_of_a_failure_the_type_and_the_place_are_told_if_they_are_what_they_can_be(
    kind, trace, expected
):
    heard = [Finding(id="secret", severity="low", confidence="high", message="secret")]
    assert (
        told.failure(JobFailed(kind, "secret", hint=trace, findings=heard), CODE, "t.py:b")
        == expected
    )


def test_what_was_seen_from_outside_is_told_as_it_was_seen():
    died = JobFailed(
        "killed", "secret", hint="secret", findings=[], plain="the code's process died"
    )
    assert told.failure(died, CODE, "t.py:b") == "t.py:b: the code's process died"


def test_parameters_are_told_that_casemate_toml_lists_and_no_others():
    options = casemate.config.TrainTable(
        entry="t.py:b",
        search={"a": [1, "x", True, 0.5, [1, 2]], "b": {"low": 0.001, "high": 10.0, "log": True}},
    )
    for value in (1, 1.0, "x", True, 0.5, [1, 2]):
        assert told.parameters({"a": value}, options) == {"a": value}
    assert told.parameters({"b": 0.123456789012}, options) == {"b": 0.123457}
    for params in (
        {"a": 2},
        {"a": "secret"},
        {"b": 11.0},
        {"b": "x"},
        {"b": True},
        {"c": 1},
        {"a": {"x": 1}},
    ):
        assert told.parameters(params, options) is None


def test_figures_are_as_many_as_were_asked_for_and_told_to_six_digits():
    options = casemate.config.TrainTable(entry="t.py:b", search={"a": [1, 2]}, folds=2, nested=2)
    said = {"estimator": "", "metric": "roc_auc", "params": {"a": 1}, "nested": [1 / 3, 1.0]}
    one = {"params": {"a": 1}, "scores": [0.123456789, 1.0], "mean": 0.123456789, "std": 2 / 3}
    checked = _checked(msgspec.convert({**said, "cv": [one, one]}, Said), options)
    assert checked.nested == [0.333333, 1.0]
    assert checked.cv[0].scores == [0.123457, 1.0]
    assert (checked.cv[0].mean, checked.cv[0].std) == (0.123457, 0.666667)
    for more in (
        {"cv": [one] * 3},
        {"cv": [{**one, "scores": [0.5] * 3}]},
        {"cv": [one], "nested": [0.5] * 3},
    ):
        with pytest.raises(msgspec.ValidationError):
            _checked(msgspec.convert({**said, **more}, Said), options)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Pipeline(steps=[('s', StandardScaler()), ('Secret(', LogisticRegression(C=0.1))])",
            "Pipeline(StandardScaler, LogisticRegression)",
        ),
        ("Secret()", "an estimator"),
        ("an imported ONNX graph", "an imported ONNX graph"),
        ("NetworkClassifier(epochs=3)", "NetworkClassifier"),
    ],
)
def test_of_an_estimator_the_known_names_are_told(text, expected):
    assert told.outline(text) == expected
