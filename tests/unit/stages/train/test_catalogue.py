"""Every estimator and transformer of scikit-learn is tried: it goes through in the form that the
catalogue says, or is refused before the search.
"""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import all_estimators
from sklearn.utils._test_common.instance_generator import _construct_instances

from casemate.core.types import ColumnSchema, Schema
from casemate.ml.models import OnnxModel, dump_skops, load_skops
from casemate.stages.train import catalogue, export, look
from casemate.stages.train.stored import stored

pytestmark = pytest.mark.slow

ROWS = 120
WORDS = np.array(["fever", "cough", "pain", "rash", "cold"], dtype=object)
OPTIONS = {
    "OrdinalEncoder": {"handle_unknown": "use_encoded_value", "unknown_value": -1},
    "QuantileTransformer": {"n_quantiles": 10},
    "RadiusNeighborsClassifier": {"radius": 50.0},
    "SGDClassifier": {"loss": "log_loss"},
    "SVC": {"probability": True},
}
"""Where the defaults are no model of this table."""
CLASSES = Schema(
    target="y",
    classes=["0", "1"],
    columns=[ColumnSchema(name=name, type="number") for name in "abcd"]
    + [ColumnSchema(name="t", type="category", categories=[])],
)


def rows(seed):
    """Positive numbers, short texts, a class and quantities that depend on the numbers."""
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(np.round(generator.exponential(2, (ROWS, 4)), 2), columns=list("abcd"))
    words = [" ".join(WORDS[generator.integers(5, size=3)]) for _ in range(ROWS)]
    codes = (
        (frame["a"] + frame["b"] > frame["c"] + frame["d"] + generator.normal(size=ROWS))
        .astype(int)
        .to_numpy()
    )
    return (
        frame.assign(t=pd.Series(words, dtype=object)),
        codes,
        (frame["a"] + 2 * frame["b"] + 0.1 + generator.exponential(size=ROWS)).to_numpy(),
    )


def made(name, kind):  # noqa: PLR0911 - one for every need
    """(estimator to train, columns that it gets, what it predicts)."""
    frame, codes, amount = rows(0)
    numbers, both = frame[list("abcd")], np.column_stack([amount, -amount])
    if name == "FrozenEstimator":
        return kind(LogisticRegression().fit(numbers, codes)), numbers, codes
    one = kind(**OPTIONS[name]) if name in OPTIONS else next(iter(_construct_instances(kind)))
    if name == "CategoricalNB":
        return one, (numbers > 1).astype(float), codes
    if name == "VotingClassifier":
        one.set_params(voting="soft", flatten_transform=False)
    if name in ("CountVectorizer", "TfidfVectorizer"):
        return (
            make_pipeline(make_column_transformer((one, "t")), LogisticRegression()),
            frame,
            codes,
        )
    if name == "HashingVectorizer":
        return (
            make_pipeline(
                make_column_transformer((kind(n_features=16), "t")), LogisticRegression()
            ),
            frame,
            codes,
        )
    if name == "IsotonicRegression":
        return one, numbers[["a"]], amount
    if name == "MissingIndicator":
        return (
            make_pipeline(
                make_column_transformer((kind(features="all"), ["a"]), remainder="passthrough"),
                LogisticRegression(),
            ),
            numbers,
            codes,
        )
    if name == "TfidfTransformer":
        return make_pipeline(one, LogisticRegression()), numbers, codes
    if name in ("KNeighborsTransformer", "RadiusNeighborsTransformer"):
        return make_pipeline(one, KNeighborsClassifier(3)), numbers, codes
    if name == "MultiOutputRegressor" or name.startswith("MultiTask"):
        return one, numbers, both
    if name in (
        "GridSearchCV",
        "RandomizedSearchCV",
        "HalvingGridSearchCV",
        "HalvingRandomSearchCV",
    ):
        return one, numbers, amount
    if is_classifier(one):
        return one, numbers, codes
    if is_regressor(one):
        return one, numbers, amount
    return make_pipeline(one, LogisticRegression(max_iter=300)), numbers, codes


def form(name, kind):
    """What becomes of it: "onnx", "scikit-learn", or why it is refused."""
    estimator, frame, target = made(name, kind)
    said = look.problem(estimator, frame, target)
    if said:
        return said
    fitted = stored(clone(estimator).fit(frame, target), frame)
    model = load_skops(dump_skops(fitted))
    regression = not hasattr(model.estimator, "classes_")
    columns = [column for column in CLASSES.columns if column.name in frame]
    targets = ["q", "r"] if np.ndim(target) == 2 else []
    schema = Schema(
        target="y",
        classes=[] if regression else ["0", "1"],
        columns=columns,
        further=targets[1:] if regression else [],
    )
    graph, _ = export.to_onnx(model.estimator, schema)
    asked = (
        rows(1)[0][frame.columns]
        if name != "CategoricalNB"
        else (rows(1)[0][frame.columns] > 1).astype(float)
    )
    labels, numbers = model.predict(asked)
    if not graph:
        return "scikit-learn"
    try:
        other_labels, other = OnnxModel(graph, schema).predict(asked)
    except Exception:
        return "scikit-learn"
    same = (
        numbers.shape == other.shape
        and np.abs(numbers - other).max() <= 1e-4
        and (regression or np.array_equal(labels, np.ravel(other_labels)))
    )
    return "onnx" if same else "scikit-learn"


EVERY = dict(all_estimators())


def test_the_catalogue_knows_every_estimator_once():
    lists = [catalogue.FORMS, catalogue.INSTEAD, catalogue.ALONE, catalogue.NO_PART]
    assert sorted(name for names in lists for name in names) == sorted(EVERY)
    assert catalogue.USUAL - {"NetworkClassifier"} <= set(catalogue.FORMS)
    assert all(len(text) > 20 for names in lists[1:] for text in names.values())


@pytest.mark.filterwarnings("ignore")
def test_every_estimator_goes_through_in_the_form_that_the_catalogue_says(scale):
    wrong = {}
    names = sorted(catalogue.FORMS)
    for name in names[:: scale(4, 1)]:
        found = form(name, EVERY[name])
        if found != catalogue.FORMS[name]:
            wrong[name] = found
    assert not wrong


def test_what_is_refused_is_refused_with_a_way_out():
    frame, codes, _ = rows(0)
    said = look.problem(
        make_pipeline(EVERY["Birch"](), LogisticRegression()), frame[list("abcd")], codes
    )
    assert said.startswith("Birch cannot be stored safely")
    assert "KMeans" in said


def test_what_has_no_probabilities_may_stand_inside_of_what_has():
    frame, codes, _ = rows(0)
    numbers = frame[list("abcd")]
    for name in ("LinearSVC", "Perceptron"):
        assert (
            look.problem(EVERY["CalibratedClassifierCV"](EVERY[name](), cv=3), numbers, codes) == ""
        )


def test_functions_and_classes_of_the_code_are_refused_by_name():
    frame, codes, _ = rows(0)
    numbers = frame[list("abcd")]

    class Mine(LogisticRegression):
        """A class of train.py."""

    assert (
        look.problem(
            make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()), numbers, codes
        )
        == ""
    )
    assert "Mine is a class of" in look.problem(
        make_pipeline(StandardScaler(), Mine()), numbers, codes
    )
    said = look.problem(
        make_pipeline(FunctionTransformer(lambda x: x), LogisticRegression()), numbers, codes
    )
    assert "no model file may hold" in said
    assert "numpy.log1p" in said
