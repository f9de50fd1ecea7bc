"""A model's label is its own answer: for every classifier of scikit-learn, in ties, with
thresholds, with classes of other names.
"""

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    GradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import all_estimators

from casemate.ml import answers
from casemate.ml.models import SkopsModel, dump_skops, load_skops

pytestmark = pytest.mark.slow

NAMES = list("abcd")


def sample(classes, seed=0):
    rows, codes = make_classification(
        160,
        4,
        n_informative=3,
        n_redundant=0,
        n_classes=classes,
        n_clusters_per_class=1,
        flip_y=0.2,
        random_state=seed,
    )
    # rounded rows: neighbours and leaves tie
    return pd.DataFrame(np.abs(np.round(rows)), columns=NAMES), codes


def single(kind):
    """The estimator with its defaults, or around a small tree."""
    inner = DecisionTreeClassifier(max_depth=2, random_state=0)
    for given in ((), (inner,), ([("a", LogisticRegression()), ("b", inner)],)):
        try:
            made = kind(*given)
            made.fit(*sample(2))
        except (TypeError, ValueError, AttributeError, IndexError):
            continue
        return made
    return None


COMPOSED = [
    FixedThresholdClassifier(LogisticRegression(), threshold=0.2),
    FixedThresholdClassifier(LogisticRegression(), threshold=0.8, pos_label=0),
    FixedThresholdClassifier(
        LogisticRegression(), threshold=0.7, response_method="decision_function"
    ),
    make_pipeline(
        StandardScaler(),
        TunedThresholdClassifierCV(LogisticRegression(), scoring="recall", random_state=0),
    ),
    VotingClassifier(
        [("a", LogisticRegression()), ("b", DecisionTreeClassifier(max_depth=1))], voting="soft"
    ),
    StackingClassifier(
        [("a", LogisticRegression())], final_estimator=DecisionTreeClassifier(max_depth=2)
    ),
    StackingClassifier(
        [("a", LogisticRegression())],
        final_estimator=FixedThresholdClassifier(LogisticRegression(), threshold=0.3),
    ),
    GridSearchCV(
        FixedThresholdClassifier(LogisticRegression(), threshold=0.3),
        {"threshold": [0.3, 0.35]},
        scoring="recall",
    ),
    CalibratedClassifierCV(SVC(), ensemble=False),
    OneVsRestClassifier(LogisticRegression()),
    SelfTrainingClassifier(LogisticRegression()),
]


@pytest.mark.filterwarnings("ignore")
def test_the_label_is_the_estimators_own_for_every_classifier_of_scikit_learn():
    probed, _ = sample(2)
    seen = set()
    for name, kind in all_estimators(type_filter="classifier"):
        model = single(kind) if hasattr(kind, "predict_proba") else None
        if (
            model is None
            or not hasattr(model, "predict_proba")
            or model.predict(probed[:2]).ndim > 1
        ):
            continue
        seen.add(name)
        given = model.predict(probed)
        if np.array_equal(given, model.predict(probed)):  # DummyClassifier may draw
            assert np.array_equal(SkopsModel(model).predict(probed)[0], given), name
    assert seen >= answers.LARGEST | answers.RISING, (
        "a name in the lists is no classifier, or was not tried"
    )


@pytest.mark.parametrize("estimator", COMPOSED, ids=lambda one: type(one).__name__)
@pytest.mark.filterwarnings("ignore")
def test_thresholds_votes_and_stacks_answer_for_themselves(estimator):
    model, probed = SkopsModel(estimator.fit(*sample(2))), sample(2, 3)[0]
    labels, probabilities = model.predict(probed)
    assert np.array_equal(labels, estimator.predict(probed))
    assert np.array_equal(probabilities, estimator.predict_proba(probed))
    assert np.array_equal(model.scores(probed).argmax(axis=1), labels), (
        "an attack would look at another class"
    )


def test_a_threshold_survives_storage():
    estimator = FixedThresholdClassifier(LogisticRegression(), threshold=0.2).fit(*sample(2))
    stored, probed = load_skops(dump_skops(estimator)), sample(2, 3)[0]
    labels, probabilities = stored.predict(probed)
    assert np.array_equal(labels, estimator.predict(probed))
    assert not np.array_equal(labels, probabilities.argmax(axis=1))
    assert np.array_equal(
        load_skops(dump_skops(estimator), own=False).predict(probed)[0],
        probabilities.argmax(axis=1),
    ), "models of casemate 0.1"


def test_the_scores_of_a_threshold_rise_towards_it():
    """Exchanged scores would send an attack the wrong way: the margin must fall as a row nears the
    threshold.
    """
    frame, codes = sample(2)
    estimator = FixedThresholdClassifier(LogisticRegression(), threshold=0.2).fit(frame, codes)
    scores = SkopsModel(estimator).scores(frame)
    order = np.argsort(estimator.predict_proba(frame)[:, 1])
    margin = (scores[:, 1] - scores[:, 0])[order]
    assert (np.diff(margin) >= -1e-12).all()


def test_a_tie_is_answered_as_the_estimator_answers_it():
    frame, codes = pd.DataFrame({"a": [0.0, 0.0, 1.0, 1.0]}), np.array([0, 1, 0, 1])
    boosted = GradientBoostingClassifier(n_estimators=1, init="zero").fit(frame, codes)
    labels, probabilities = SkopsModel(boosted).predict(frame)
    assert np.array_equal(probabilities, np.full((4, 2), 0.5))
    assert np.array_equal(labels, boosted.predict(frame))
    assert labels.tolist() == [1] * 4, (
        "gradient boosting takes the second class in a tie, where the largest probability is the"
        " first"
    )


@pytest.mark.parametrize("names", [["no", "yes"], ["yes", "no"], [1, 2], [-1, 1]], ids=str)
def test_classes_of_other_names_are_answered_in_the_tables_order(names):
    frame, codes = sample(2)
    estimator = RandomForestClassifier(10, random_state=0).fit(frame, np.array(names)[codes])
    order = [names.index(value) for value in estimator.classes_]
    labels, probabilities = SkopsModel(estimator, order).predict(frame)
    assert (labels == codes).mean() > 0.8
    assert np.array_equal(np.array(names)[labels], estimator.predict(frame))
    assert np.array_equal(
        probabilities[np.arange(len(codes)), labels], estimator.predict_proba(frame).max(axis=1)
    )
