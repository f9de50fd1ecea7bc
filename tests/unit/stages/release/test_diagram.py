"""The estimator's diagram: what it is made of, by names from fixed lists, drawn on the card and
written in its text.
"""

import msgspec
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from casemate.core.page import Section, page
from casemate.core.types import Part
from casemate.stages.release import card
from casemate.stages.train import diagram, told


def linear(**options):
    columns = make_column_transformer(
        (StandardScaler(), ["age of Ann"]), (OneHotEncoder(), ["ward"]), ("passthrough", ["x"])
    )
    return Pipeline([("columns", columns), ("clf", LogisticRegression(**options))])


def shown(estimator, **params):
    heard = msgspec.json.decode(msgspec.json.encode(diagram.found(estimator)), type=diagram.Found)
    return diagram.told(heard, told.known(), params)


def test_a_pipeline_is_a_chain_and_a_column_transformer_has_its_parts_side_by_side():
    found = shown(linear())
    assert found.lines() == [
        "Pipeline",
        "  ColumnTransformer",
        "    StandardScaler",
        "    OneHotEncoder",
        "    passthrough",
        "  LogisticRegression",
    ]
    assert (found.beside, found.parts[0].beside) == (False, True)
    assert "Ann" not in str(found), "columns are none of its parts"


def test_what_is_inside_of_another_is_shown_there():
    voters = VotingClassifier(
        [("one", linear()), ("two", make_pipeline(HistGradientBoostingClassifier()))]
    )
    found = shown(CalibratedClassifierCV(voters))
    assert [line.count("  ") for line in found.lines()] == [0, 1, 2, 3, 4, 4, 4, 3, 2, 3]
    assert found.parts[0].beside


def test_of_parameters_only_what_the_search_chose_is_told_where_it_belongs():
    found = shown(linear(C=0.1, max_iter=777), clf__C=0.1)
    assert found.lines()[-1] == "  LogisticRegression(C=0.1)" and "777" not in str(found)
    assert shown(linear(C=0.1), model="linear", linear__clf__C=0.1).lines() == found.lines()
    assert shown(linear(), model="linear", trees__clf__max_leaf_nodes=5).params == {}


def test_names_that_the_code_chose_are_not_told():
    patient = type("PatientAnnHasFlu", (BaseEstimator,), {})
    found = shown(Pipeline([("Ann has flu", patient()), ("clf", LogisticRegression())]))
    assert found.lines() == ["Pipeline", "  an estimator", "  LogisticRegression"]


def test_a_diagram_is_bounded_in_depth_and_number():
    deep = LogisticRegression()
    for _ in range(40):
        deep = Pipeline([("in", deep)])
    assert len(shown(deep).lines()) == diagram.MOST_DEPTH + 1
    wide = VotingClassifier([(str(n), LogisticRegression()) for n in range(500)])
    assert len(shown(wide).lines()) == diagram.MOST_PARTS


def test_the_card_draws_boxes_and_its_text_has_the_same_as_a_list():
    made = Part(
        name="Pipeline",
        parts=[
            Part(name="Both", beside=True, parts=[Part(name="A<b>"), Part(name="B")]),
            Part(name="C", params={"x": 1}),
        ],
    )
    text, html = card.write("m", [Section("Model", diagram=made)])
    assert "- Pipeline\n  - Both\n    - A&lt;b>\n    - B\n  - C(x=1)\n" in text.decode()
    assert (
        b"<li><span>C(x=1)</span>" in html
        and b'<ul class="beside">' in html
        and b"A&lt;b&gt;" in html
        and b"<script" not in html
    )
    assert html.count(b"<li>") == 5 and b"<li>" not in page("m", "", [Section("Model")])
