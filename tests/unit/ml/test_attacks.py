"""Evasion attacks stay inside what an attacker can do, bounds hold against every attack, and tricks
do not pass for robustness.
"""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from casemate.config import AssessTable, FeatureTable, RobustnessTable
from casemate.core.types import ColumnSchema, Schema
from casemate.ml.attacks.certify import certified, smoothed
from casemate.ml.attacks.decision import Decision
from casemate.ml.attacks.gradient import Gradient
from casemate.ml.attacks.search import Search
from casemate.ml.attacks.surface import attack_surface
from casemate.ml.harden import harden
from casemate.ml.models import SkopsModel
from casemate.stages.assess import robustness
from casemate.stages.assess.sample import Sample

pytestmark = pytest.mark.slow

WARDS = ["A", "B", "C"]


@pytest.fixture(scope="module")
def clinic_rows():
    """Two numbers, a whole number, a category; the label follows all of them."""
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "dose": generator.normal(50, 10, 600),
            "age": generator.integers(18, 90, 600).astype(float),
            "visits": generator.integers(0, 10, 600).astype(float),
            "ward": generator.choice(WARDS, 600).astype(object),
        }
    )
    score = (
        (frame["dose"] - 50) / 10
        + (frame["visits"] - 5) / 3
        + (frame["ward"] == "C") * 1.5
        + (frame["age"] - 54) / 40
    )
    codes = (score + 0.3 * generator.standard_normal(600) > 0.5).astype(np.int64).to_numpy()
    columns = [
        ColumnSchema(name="dose", type="number", min=0.0, max=120.0),
        ColumnSchema(name="age", type="number", min=18.0, max=90.0),
        ColumnSchema(name="visits", type="number", min=0.0, max=10.0),
        ColumnSchema(name="ward", type="category", categories=WARDS),
    ]
    return (
        Schema(
            target="y",
            classes=["0", "1"],
            columns=[*columns, ColumnSchema(name="y", type="category", use=False)],
        ),
        frame,
        codes,
    )


def model_of(final, frame, codes):
    numbers = ["dose", "age", "visits"]
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["ward"]),
        (StandardScaler(), numbers),
    )
    return SkopsModel(make_pipeline(columns, final).fit(frame, codes))


ESTIMATORS = [
    LogisticRegression(),
    DecisionTreeClassifier(max_depth=6, random_state=0),
    RandomForestClassifier(20, max_depth=6, random_state=0),
    ExtraTreesClassifier(20, max_depth=6, random_state=0),
    HistGradientBoostingClassifier(max_iter=20, random_state=0),
]


def attacked(target, eps, seed=0):
    best, every = target.start.copy(), np.arange(len(target.codes))
    margins = target.margin(best, every)
    for attack in (Gradient(), Search(), Decision(5)):
        if attack.applies(target):
            attack.improve(target, best, margins, eps, 15, seed)
    return best, margins


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_no_attack_does_what_the_attacker_cannot_do(clinic_rows, estimator):
    schema, frame, codes = clinic_rows
    limits = RobustnessTable(
        features={
            "age": FeatureTable(change="none"),
            "dose": FeatureTable(change="down", budget=7.0),
            "visits": FeatureTable(integer=True, change="up"),
            "ward": FeatureTable(to=["B", "C"]),
        }
    )
    target = attack_surface(
        model_of(estimator, frame, codes),
        schema,
        (frame[:80].reset_index(drop=True), codes[:80]),
        frame,
        limits,
    )
    best, _ = attacked(target, 1.0)
    changed = target.rows(best, np.arange(80))
    before = frame[:80].reset_index(drop=True)
    assert (changed["age"] == before["age"]).all()
    assert (changed["dose"] <= before["dose"] + 1e-9).all() and (
        changed["dose"] >= before["dose"] - 7.0 - 1e-9
    ).all()
    assert (changed["visits"] >= before["visits"]).all() and (
        changed["visits"] == changed["visits"].round()
    ).all()
    assert (changed["visits"] <= 10).all() and (changed["dose"] >= 0).all()
    moved = changed["ward"] != before["ward"]
    assert set(changed["ward"][moved]) <= {"B", "C"}
    assert not changed.equals(before)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("eps", [0.02, 0.1, 0.4])
def test_what_is_certified_withstands_every_attack(clinic_rows, estimator, eps):
    schema, frame, codes = clinic_rows
    target = attack_surface(
        model_of(estimator, frame, codes),
        schema,
        (frame[:60].reset_index(drop=True), codes[:60]),
        frame,
        RobustnessTable(),
    )
    keeps, method = certified(target, eps)
    _, margins = attacked(target, eps)
    assert method
    assert not np.any(keeps & (margins <= 0))
    if eps == 0.02:
        assert keeps.mean() > 0.2


def test_one_tree_and_a_linear_model_are_certified_exactly(clinic_rows):
    """For these the bound is the truth, so a strong attack and the bound meet."""
    schema, frame, codes = clinic_rows
    for estimator in ESTIMATORS[:2]:
        target = attack_surface(
            model_of(estimator, frame, codes),
            schema,
            (frame[:60].reset_index(drop=True), codes[:60]),
            frame,
            RobustnessTable(),
        )
        keeps, _ = certified(target, 0.2)
        _, margins = attacked(target, 0.2)
        assert np.mean(keeps) == pytest.approx(np.mean(margins > 0), abs=0.05)


def test_a_model_that_nothing_is_known_of_gets_no_certificate(clinic_rows):
    schema, frame, codes = clinic_rows
    from sklearn.svm import SVC

    target = attack_surface(
        model_of(SVC(probability=False), frame, codes),
        schema,
        (frame[:5], codes[:5]),
        frame,
        RobustnessTable(),
    )
    assert certified(target, 0.1) is None


@pytest.fixture(scope="module")
def tumours():
    content = load_breast_cancer(as_frame=True)
    frame, codes = content.data, content.target.to_numpy().astype(np.int64)
    columns = [
        ColumnSchema(name=name, type="number", min=float(v.min()), max=float(v.max()))
        for name, v in frame.items()
    ]
    schema = Schema(
        target="y",
        classes=["0", "1"],
        columns=[*columns, ColumnSchema(name="y", type="category", use=False)],
    )
    order = np.random.default_rng(0).permutation(len(codes))
    train, test = order[:400], order[400:]
    return (
        schema,
        Sample(frame.iloc[train].reset_index(drop=True), codes[train]),
        Sample(frame.iloc[test].reset_index(drop=True), codes[test]),
    )


def measured(model, tumours, **options):
    schema, members, holdout = tumours
    table = AssessTable(eps=[0.2], attack_rows=60, attack_steps=15)
    return robustness.measure(
        model, schema, holdout, members, table, RobustnessTable(**options), [], 0, lambda *_: None
    )


def test_rounding_the_inputs_hides_gradients_and_is_not_called_robust(tumours):
    """Gradient masking: coarse bins leave no slope for small steps, yet the model falls like the
    smooth one.
    """
    _, members, _ = tumours
    smooth = SkopsModel(
        make_pipeline(StandardScaler(), LogisticRegression()).fit(members.frame, members.target)
    )
    coarse = make_pipeline(
        KBinsDiscretizer(
            12, encode="ordinal", strategy="quantile", quantile_method="averaged_inverted_cdf"
        ),
        LogisticRegression(max_iter=2000),
    )
    masked = SkopsModel(coarse.fit(members.frame, members.target))
    open_, hidden = (measured(model, tumours)["curve"][0] for model in (smooth, masked))
    assert hidden["robust_accuracy"] <= open_["robust_accuracy"] + 0.15
    assert hidden["robust_accuracy"] < hidden["noise_accuracy"] - 0.1


class Distilled(SkopsModel):
    """A model that shows probabilities of 0 and 1 only, as defensive distillation does, and no
    other score.
    """

    def predict(self, frame):
        labels, probabilities = super().predict(frame)
        return labels, np.round(probabilities)

    def scores(self, frame):
        return self.predict(frame)[1]


def test_saturated_scores_are_broken_by_the_attack_that_sees_labels_only(tumours):
    _, members, _ = tumours
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(
        members.frame, members.target
    )
    found = measured(Distilled(estimator), tumours, decision_rows=60)
    plain = measured(SkopsModel(estimator), tumours)
    assert "hop-skip-jump" in found["attacks"]
    assert found["curve"][0]["robust_accuracy"] <= plain["curve"][0]["robust_accuracy"] + 0.2


def test_attacks_are_stronger_than_noise_of_the_same_size(tumours):
    _, members, _ = tumours
    found = measured(
        SkopsModel(
            make_pipeline(StandardScaler(), LogisticRegression()).fit(members.frame, members.target)
        ),
        tumours,
    )
    assert found["curve"][0]["robust_accuracy"] < found["curve"][0]["noise_accuracy"]


def test_smoothing_certifies_less_at_larger_radii_and_nothing_beyond_what_the_noise_can_show(
    tumours,
):
    schema, members, holdout = tumours
    model = SkopsModel(
        make_pipeline(StandardScaler(), LogisticRegression()).fit(members.frame, members.target)
    )
    target = attack_surface(
        model, schema, (holdout.frame[:20], holdout.target[:20]), members.frame, RobustnessTable()
    )
    near, far, beyond = smoothed(target, 0.25, [0.05, 0.3, 5.0], 20, 300, 0)
    assert 1 >= near >= far >= beyond == 0.0
    assert near > 0.5


def test_a_range_unit_needs_pinned_ranges(tumours):
    schema, members, holdout = tumours
    open_ended = Schema(
        target="y",
        classes=["0", "1"],
        columns=[ColumnSchema(name=c.name, type=c.type, use=c.use) for c in schema.columns],
    )
    model = SkopsModel(LogisticRegression(max_iter=20, tol=1.0).fit(members.frame, members.target))
    found = robustness.measure(
        model,
        open_ended,
        holdout,
        members,
        AssessTable(),
        RobustnessTable(unit="range"),
        [],
        0,
        lambda *_: None,
    )
    assert "pinned range" in found["inconclusive"]


def test_a_number_that_is_encoded_as_a_category_is_not_certified(clinic_rows):
    """Between the ends of its ball lie values with codes of their own, which no corner shows."""
    schema, frame, codes = clinic_rows
    numbers = ["dose", "age"]
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["ward", "visits"]),
        (StandardScaler(), numbers),
    )
    model = SkopsModel(make_pipeline(columns, LogisticRegression()).fit(frame, codes))
    rows = (frame[:10].reset_index(drop=True), codes[:10])
    assert certified(attack_surface(model, schema, rows, frame, RobustnessTable()), 0.1) is None
    still = RobustnessTable(features={"visits": FeatureTable(change="none")})
    assert certified(attack_surface(model, schema, rows, frame, still), 0.1) is not None


def test_one_against_one_coefficients_are_not_taken_for_scores(clinic_rows):
    from sklearn.svm import NuSVC

    schema, frame, codes = clinic_rows
    three = codes + (frame["ward"] == "A").to_numpy().astype(int)
    model = model_of(NuSVC(kernel="linear", nu=0.1), frame, three)
    assert (
        certified(
            attack_surface(model, schema, (frame[:5], three[:5]), frame, RobustnessTable()), 0.1
        )
        is None
    )


def test_certified_accuracy_is_never_above_what_the_attacks_leave(clinic_rows):
    schema, frame, codes = clinic_rows
    model = SkopsModel(
        make_pipeline(
            make_column_transformer((StandardScaler(), ["dose", "age"])), LogisticRegression()
        ).fit(frame, codes)
    )
    order = np.argsort(-np.abs(model.predict(frame)[1][:, 1] - 0.5))  # the surest rows first
    sides = Sample(frame.iloc[order].reset_index(drop=True), codes[order]), Sample(frame, codes)
    options = AssessTable(eps=[0.05, 0.1, 0.2], attack_rows=600, attack_steps=10)
    curve = robustness.measure(
        model, schema, *sides, options, RobustnessTable(decision_rows=0), [], 0, lambda *_: None
    )["curve"]
    assert all(point["certified_accuracy"] <= point["robust_accuracy"] for point in curve)
    assert curve[0]["certified_accuracy"] > 0.5


def test_hardening_stops_where_it_would_cost_robustness():
    """A forest that is trained on rows from beyond its own border withstands less, not more."""
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.normal(size=(1500, 5)), columns=list("abcde"))
    codes = (
        (generator.random(1500) < 1 / (1 + np.exp(1.5 - frame.sum(axis=1)))).astype(int).to_numpy()
    )
    columns = [ColumnSchema(name=name, type="number", min=-6.0, max=6.0) for name in frame]
    schema = Schema(
        target="y",
        classes=["0", "1"],
        columns=[*columns, ColumnSchema(name="y", type="category", use=False)],
    )
    forest = RandomForestClassifier(20, min_samples_leaf=5, random_state=0)
    known, later = (frame[:1000], codes[:1000]), (frame[1000:].reset_index(drop=True), codes[1000:])

    def withstood(model):
        keeps, _ = certified(
            attack_surface(SkopsModel(model), schema, later, known[0], RobustnessTable()), 0.2
        )
        return keeps.mean()

    plain = withstood(clone(forest).fit(*known))
    hardened = withstood(
        harden(forest, known, schema, RobustnessTable(), (0.2, 10, 3), 0, lambda *_: None)
    )
    assert hardened >= plain - 0.03
