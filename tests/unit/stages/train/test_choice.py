"""Several models by name: one search chooses, and what a mode cannot train well is left out."""

import importlib.resources

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from casemate.config import DataTable, TrainTable
from casemate.core.types import ColumnSchema, Schema
from casemate.ml.learn.binning import allow_empty_columns
from casemate.operations import scaffold
from casemate.stages.train.candidates import Models
from casemate.stages.train.entry import BadEntry, build
from casemate.stages.train.folds import BadSearch, Rows
from casemate.stages.train.search import search

pytestmark = pytest.mark.slow


class Silent:
    """Hears progress."""

    def progress(self, *_):
        """Nothing."""


def models():
    return Models(
        {
            "trees": DecisionTreeClassifier(random_state=0),
            "linear": make_pipeline(StandardScaler(), LogisticRegression()),
        }
    )


def chosen(space, tmp_path, mode="plain"):
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.normal(size=(300, 2)), columns=["a", "b"])
    # a line, which a shallow tree cannot draw
    codes = (frame["a"] + frame["b"] > 0).astype(int).to_numpy()
    options = TrainTable(entry="t.py:b", folds=3, search=space, mode=mode, trials=6)
    params, history, _ = search(
        models().for_mode(mode, space), Rows(frame, codes), options, tmp_path, Silent()
    )
    return params, history


SPACE = {
    "model": ["trees", "linear"],
    "trees__max_depth": [1, 2],
    "linear__logisticregression__C": [0.1, 1.0],
}


def test_every_model_is_tried_with_its_own_parameters_and_the_best_is_chosen(tmp_path):
    params, history = chosen(SPACE, tmp_path)
    assert params["model"] == "linear"
    tried = [candidate.params for candidate in history]
    assert tried == [
        {"model": "trees", "trees__max_depth": 1},
        {"model": "trees", "trees__max_depth": 2},
        {"model": "linear", "linear__logisticregression__C": 0.1},
        {"model": "linear", "linear__logisticregression__C": 1.0},
    ]
    made = models().made(params)
    assert params["linear__logisticregression__C"] == made.steps[-1][1].C


class Counted(DecisionTreeClassifier):
    """Knows how often one was fitted."""

    fits = 0

    def fit(self, *args, **kwargs):
        """As any tree."""
        Counted.fits += 1
        return super().fit(*args, **kwargs)


def test_a_grid_tells_of_each_candidate_before_the_next_one_is_fitted(tmp_path):
    told = []

    class Heard:
        def progress(self, _text, done, _total):
            told.append((done, Counted.fits))

    Counted.fits = 0
    frame = pd.DataFrame({"a": np.arange(60.0)})
    options = TrainTable(entry="t.py:b", folds=3, search={"max_depth": [1, 2, 3]})
    search(Models({"": Counted()}), Rows(frame, np.arange(60) % 2), options, tmp_path, Heard())
    assert told == [(0, 0), (1, 3), (2, 6), (3, 9)]


def test_ranges_are_drawn_for_the_chosen_model_only(tmp_path):
    space = {
        "linear__logisticregression__C": {"low": 0.1, "high": 10.0},
        "model": ["trees", "linear"],
        "trees__max_depth": [1, 2],
    }
    _, history = chosen(space, tmp_path)
    assert len(history) == 6
    for candidate in history:
        assert {name.partition("__")[0] for name in candidate.params} == {
            "model",
            candidate.params["model"],
        }


def test_adversarial_and_private_training_keep_the_linear_one_unless_another_is_asked_for(tmp_path):
    params, history = chosen(SPACE, tmp_path, "adversarial")
    assert params["model"] == "linear"
    assert len(history) == 2
    assert list(models().for_mode("private", {}).by_name) == ["linear"]
    assert list(models().for_mode("adversarial", {"model": ["trees"]}).by_name) == ["trees"]


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"model": ["forest"]}, "names the model 'forest', there are: trees, linear"),
        ({"model": ["trees"], "trees__depth": [1]}, "names 'trees__depth'"),
        ({"max_depth": [1]}, "names 'max_depth'"),
        ({"model": {"low": 0, "high": 1}}, "must be a list of names"),
    ],
)
def test_a_search_that_names_nothing_there_is_says_what_there_is(space, said, tmp_path):
    with pytest.raises(BadSearch, match=said):
        chosen(space, tmp_path)


SCHEMA = Schema(
    target="y",
    classes=["0", "1"],
    columns=[
        ColumnSchema(name="age", type="number"),
        ColumnSchema(name="ward", type="category", categories=["a", "b"]),
        ColumnSchema(name="dose", type="number"),
    ],
)
JOB = {"train": {"mode": "plain"}}


def test_build_gets_the_names_of_the_columns_where_it_asks_for_them(tmp_path):
    text = (
        "from sklearn.dummy import DummyClassifier\nseen = []\ndef build(columns):\n   "
        " seen.append(columns)\n    return DummyClassifier()\n"
    )
    (tmp_path / "entry_of_columns.py").write_text(text)
    assert build(tmp_path, "entry_of_columns.py:build", JOB, SCHEMA).single
    import entry_of_columns

    assert entry_of_columns.seen[0].numbers == ["age", "dose"]
    assert entry_of_columns.seen[0].categories == ["ward"]


@pytest.mark.parametrize(
    "takes", ["rows, labels", "columns, depth, *, seed=0", "*, columns", "*, columns=(), depth"]
)
def test_a_function_that_takes_something_else_is_told_what_it_is_called_with(tmp_path, takes):
    path = tmp_path / "entry_of_others.py"
    path.write_text(f"def build({takes}):\n    raise AssertionError\n")
    with pytest.raises(
        BadEntry, match=r"^build\(.*\) cannot be called: it is given one thing"
    ) as told:
        build(tmp_path, "entry_of_others.py:build", JOB, SCHEMA)
    assert takes.replace("=()", "").replace("=0", "") in str(told.value)
    assert "write `def build(columns):` or `def build():`" in str(told.value)


@pytest.mark.parametrize("takes", ["", "columns", "columns=None, depth=3", "*names", "*, depth=3"])
def test_a_function_that_takes_the_columns_or_nothing_is_called(tmp_path, takes):
    path = tmp_path / "entry_that_takes.py"
    path.write_text(
        f"from sklearn.dummy import DummyClassifier\ndef build({takes}):\n"
        "    return DummyClassifier()\n"
    )
    assert build(tmp_path, "entry_that_takes.py:build", JOB, SCHEMA).single


def test_names_that_could_be_mistaken_for_parameters_are_refused(tmp_path):
    (tmp_path / "entry_of_names.py").write_text("def build():\n    return {'a__b': None}\n")
    with pytest.raises(BadEntry, match="must be names"):
        build(tmp_path, "entry_of_names.py:build", JOB, SCHEMA)


@pytest.mark.parametrize(
    ("template", "classes"),
    [("train_table", ["0", "1"]), ("train_quantity", []), ("train_quantities", [])],
)
def test_templates_learn_tables_of_every_shape(template, classes, tmp_path):
    """Numbers only, categories only, a column without any value, many categories."""
    allow_empty_columns()
    text = (importlib.resources.files("casemate.templates") / f"{template}.txt").read_bytes()
    generator = np.random.default_rng(0)
    frame = pd.DataFrame({"age": generator.normal(size=400), "empty": np.full(400, np.nan)})
    frame["ward"] = pd.Series(generator.choice(["a", "b"], 400), dtype=object)
    frame["code"] = pd.Series([f"c{number % 300}" for number in range(400)], dtype=object)
    signal = frame["age"] + (frame["ward"] == "a") + generator.normal(size=400)
    target = (
        np.column_stack([signal, -signal])
        if template == "train_quantities"
        else signal
        if not classes
        else (signal > 0).astype(int)
    )
    kinds = {"age": "number", "empty": "number", "ward": "category", "code": "category"}
    for names in (["age"], ["ward"], ["age", "empty"], ["age", "empty", "ward", "code"]):
        schema = Schema(
            target="y",
            classes=classes,
            columns=[ColumnSchema(name=name, type=kinds[name]) for name in names],
        )
        (tmp_path / f"{template}.py").write_bytes(text)
        for model in build(tmp_path, f"{template}.py:build", JOB, schema).by_name.values():
            asked = model.fit(frame[names], target).predict(
                frame[names].assign(
                    **{name: "unseen" for name in names if kinds[name] == "category"}
                )
            )
            assert np.isfinite(asked).all()


def project(rows, task, tmp_path):
    plan = scaffold.Plan("t", "p", DataTable(source="t.csv", target="y"), task, "", rows=rows)
    return scaffold.text._search(plan)


def test_trees_are_as_large_as_the_table_can_feed(tmp_path):
    assert '"trees__clf__max_leaf_nodes" = [3],' in project(500, "train_table.txt", tmp_path)
    assert '"trees__clf__max_leaf_nodes" = [5, 15]' in project(15_000, "train_table.txt", tmp_path)
    assert "folds = 3" in project(45_000, "train_table.txt", tmp_path)
    assert '"clf__C"' in project(569, "train_clinical.txt", tmp_path)


def test_the_template_is_no_worse_than_plain_boosted_trees(tmp_path):
    """A table with categories and gaps, where a line is not enough; and one where it is."""
    text = (importlib.resources.files("casemate.templates") / "train_table.txt").read_bytes()
    (tmp_path / "template_of_tables.py").write_bytes(text)
    generator = np.random.default_rng(1)
    count = 3000
    frame = pd.DataFrame(generator.normal(size=(count, 3)), columns=list("abc"))
    place = generator.integers(12, size=count)
    frame["k"] = pd.Series(
        np.array([f"k{number}" for number in range(12)], dtype=object)[place], dtype=object
    )
    signal = (
        frame["a"] * frame["b"]
        + generator.normal(size=12)[place]
        + 0.5 * generator.logistic(size=count)
    )
    codes = (signal > 0).astype(int).to_numpy()
    frame.loc[generator.random(count) < 0.1, "c"] = np.nan
    schema = Schema(
        target="y",
        classes=["0", "1"],
        columns=[ColumnSchema(name=n, type="category" if n == "k" else "number") for n in frame],
    )
    by_name = build(tmp_path, "template_of_tables.py:build", JOB, schema)
    space = {
        "model": ["trees", "linear"],
        "trees__clf__max_leaf_nodes": [3, 5],
        "linear__clf__C": [0.1, 1.0],
    }
    half = count // 2
    params, _, _ = search(
        by_name,
        Rows(frame[:half], codes[:half]),
        TrainTable(entry="t.py:b", search=space),
        tmp_path,
        Silent(),
    )
    ours = by_name.made(params).fit(frame[:half], codes[:half]).predict_proba(frame[half:])[:, 1]
    coded = frame.assign(k=place)
    plain = (
        HistGradientBoostingClassifier(categorical_features=[3], random_state=0)
        .fit(coded[:half], codes[:half])
        .predict_proba(coded[half:])[:, 1]
    )
    assert params["model"] == "trees"
    assert roc_auc_score(codes[half:], ours) >= roc_auc_score(codes[half:], plain) - 0.005
