"""Private means private: a person more or less changes nothing of anybody else before the noise,
and nothing exact leaves.
"""

import hashlib
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from bench.assurance import private as audit
from sklearn.dummy import DummyClassifier

import casemate
from casemate.config import load, parse
from casemate.controls.privacy.budget import BudgetSpent
from casemate.core.errors import ConfigError, DataError, TrainingError
from casemate.core.types import Assessment, Interval, TrainedModel
from casemate.ml.frame import features_of
from casemate.ml.learn import accountant
from casemate.ml.models import SkopsModel
from casemate.operations import scaffold
from casemate.stages.assess import worker
from casemate.stages.assess.sample import Sample
from casemate.stages.assess.work import Work
from casemate.stages.data import private, sides
from casemate.stages.data.review import row_digests
from casemate.stages.train import rehearse

pytestmark = pytest.mark.slow

CONFIG = parse(audit.TOML)
KEYS = audit.Keys("a test")
PERSON = {"age": 33, "cost": 777.77, "ward": "west", "ill": 1}


def poisoned(count=1200):
    """A table in which the screens find much, and one person more tips a detector over."""
    frame = audit.people(count, 3)
    marked = np.flatnonzero(frame["ill"] == 0)[:9]
    frame.loc[marked, ["cost", "ward", "ill"]] = [777.77, "west", 1]
    frame.loc[200:230] = frame.loc[[200] * 31].to_numpy()
    return frame


def more(frame, person=None, at=0):
    row = pd.DataFrame([person or PERSON])
    return pd.concat([frame[:at], row, frame[at:]], ignore_index=True)


@pytest.fixture(scope="module")
def before():
    return audit.examined(poisoned(), KEYS, CONFIG)


@pytest.mark.parametrize(
    "person",
    [
        PERSON,
        dict(audit.CANARY),
        {"age": 0, "cost": 0.0, "ward": "north", "ill": 1},
        {"age": None, "cost": None, "ward": None, "ill": 0},
        None,
    ],
    ids=[
        "completes a trigger",
        "unlike all",
        "at the limits",
        "missing cells",
        "a copy of somebody",
    ],
)
def test_a_person_more_changes_nothing_of_anybody_else(before, person):
    """Published against the version before: `excluded` went from 0 to 10, and 935 of 2 999 others
    changed sides.
    """
    frame = poisoned()
    person = frame.loc[500].to_dict() if person is None else person
    at = len(frame) // 2
    after = audit.examined(more(frame, person, at), KEYS, CONFIG)
    others = np.delete(np.arange(len(frame) + 1), at)
    if person == frame.loc[500].to_dict():  # copies of one row are told apart by their number only
        for side in ("holdout", "excluded"):
            others_side, own = getattr(after, side)[others], getattr(before, side)
            assert (np.delete(others_side, 500) == np.delete(own, 500)).all()
    else:
        assert (after.holdout[others] == before.holdout).all()
        assert (after.excluded[others] == before.excluded).all()
    assert not after.excluded.any()
    assert after.schema == before.schema
    assert audit.given(after, CONFIG).job == audit.given(before, CONFIG).job
    assert not [finding for finding in after.findings if finding.severity == "high"]


def test_the_attack_still_finds_what_to_attack_in_ordinary_training(before):
    """Otherwise the test above would be green on a table in which nothing depends on anybody."""
    text = audit.TOML.replace('mode = "private"', "folds = 2")
    ordinary = parse(
        text.replace("[privacy]", '[screen]\nquarantine = "exclude"\n[privacy]'), ["screen.cap=1.0"]
    )
    small, large = (
        audit.examined(frame, KEYS, ordinary) for frame in (poisoned(), more(poisoned(), at=1200))
    )
    assert small.schema != before.schema
    assert (large.excluded[:-1] != small.excluded).any() or len(large.suspects) != len(
        small.suspects
    )
    assert before.suspects, "the screens still tell the steward"


def test_a_class_that_only_one_person_has_is_no_other_model():
    frame = audit.people(300, 1)
    alone = frame.assign(ill=0)
    one, none = (
        audit.examined(table, KEYS, CONFIG) for table in (alone.assign(ill=[1] + [0] * 299), alone)
    )
    assert one.schema == none.schema and one.schema.classes == ["0", "1"]
    assert audit.trained(audit.given(none, CONFIG)).classes_.tolist() == [0, 1]


def test_a_subject_is_on_one_side_with_all_rows_whoever_else_is_there():
    text = audit.TOML.replace('target = "ill"', 'target = "ill"\nsubject = "who"')
    config = parse(text)
    frame = audit.people(400, 2).assign(who=[f"p{number // 4}" for number in range(400)])
    whole = audit.examined(frame, KEYS, config)
    without = audit.examined(frame[frame["who"] != "p7"].reset_index(drop=True), KEYS, config)
    assert frame.groupby("who").size().max() == 4
    assert pd.Series(whole.holdout).groupby(frame["who"]).nunique().max() == 1
    assert (whole.holdout[(frame["who"] != "p7").to_numpy()] == without.holdout).all()
    assert 0.1 < whole.holdout.mean() < 0.45


def test_a_schema_that_was_learnt_before_is_not_the_one_of_private_training(tmp_path):
    """Limits, classes, gaps and types of an earlier ordinary run are facts about its rows."""
    frame = audit.people(300, 0)
    learnt = audit.examined(
        frame, KEYS, parse(audit.TOML.replace('mode = "private"', "folds = 2"))
    ).schema
    names = ["age", "cost", "ward", "ill"]
    frame.to_csv(tmp_path / "table.csv", index=False)
    options = private.declared(tmp_path / CONFIG.data.source, CONFIG).data
    found, findings = private.schema(names, options, learnt)
    assert found == private.schema(names, options, None)[0]
    assert [finding.id for finding in findings] == ["data.schema-changed"]
    assert all(column.nullable for column in found.features)


def test_a_column_that_nobody_learns_from_is_told_by_its_name_alone(tmp_path):
    frame = audit.people(300, 0).assign(weight=np.arange(300) / 7, seen="2026-01-02")
    text = audit.TOML.replace(
        "[train]", "weight = { use = false }\nseen = { use = false }\n[train]", 1
    )
    found = audit.examined(frame, KEYS, parse(text)).schema
    for name in ("weight", "seen"):
        column = found.column(name)
        assert (column.type, column.use, column.min, column.max, column.categories) == (
            "text",
            False,
            None,
            None,
            None,
        )


def test_what_is_not_declared_is_refused_by_name_with_the_lines_to_add():
    bare = (
        audit.TOML[: audit.TOML.index("[data.columns]")] + audit.TOML[audit.TOML.index("[train]") :]
    )
    with pytest.raises(
        ConfigError, match=r"declared limits of 4 columns: age, cost, ward, ill"
    ) as caught:
        audit.examined(audit.people(50, 0), KEYS, parse(bare))
    assert (
        '"age" = { min = LEAST, max = GREATEST } or { categories = [ALL VALUES] }'
        in caught.value.hint
    )
    assert '"ill" = { categories = [ALL CLASSES] }' in caught.value.hint


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ('train.split="ordered"', "where the newest share begins"),
        ('screen.quarantine="exclude"', "a row that is left out"),
        ('screen.exclude=["outlier"]', "a row that is left out"),
        ('serve.guard.unusual="refuse"', "says nothing of what training rows are like"),
        ("gates.membership_auc.max=0.6", "training rows decide it"),
        ("gates.suspicious_share.max=0.6", "training rows decide it"),
        ("gates.shift_auc.max=0.6", "training rows decide it"),
    ],
)
def test_settings_that_read_training_rows_are_refused_before_anything_is_spent(setting, words):
    with pytest.raises(ConfigError, match=words):
        parse(audit.TOML, [setting])


def test_a_person_who_looked_decides_about_no_training_row(before):
    digests = row_digests(
        features_of(before.table, before.schema),
        np.asarray([0] * before.table.num_rows),
        KEYS.candidate().pseudonyms,
        np.arange(before.table.num_rows),
    )
    assert len(digests) == before.table.num_rows
    trained, held = int(np.flatnonzero(~before.holdout)[0]), int(np.flatnonzero(before.holdout)[0])
    with pytest.raises(DataError, match="1 training rows were dropped"):
        private.require_untouched({trained: "dropped", held: "dropped"}, before.holdout)
    private.require_untouched({trained: "released", held: "dropped"}, before.holdout)


def test_the_plain_rule_is_the_only_one_and_nobody_guesses_it_without_the_key(before):
    other = audit.examined(poisoned(), audit.Keys("another"), CONFIG)
    assert 0.3 < (other.holdout != before.holdout).mean() < 0.45
    assert (
        private.digest(KEYS.candidate(), "a")
        != private.digest(audit.Keys("another").candidate(), "a")
    ) and private.digest(KEYS.candidate(), "a") != "a"
    assert sides.held(np.array([0.0, 0.24, 0.25, 0.9]), 0.25).tolist() == [True, True, False, False]


# What leaves


def profiled(members, promised):
    schema = audit.examined(audit.people(200, 0), KEYS, CONFIG).schema
    work = Work({"promised": promised, "least": 10}, None)
    work.__dict__["schema"] = schema
    held = Sample(members.frame[:100], members.target[:100])
    work.__dict__["samples"] = [held, members]
    constant = DummyClassifier().fit(members.frame, members.target)
    work.__dict__["model"] = SkopsModel(constant)
    worker.measure_profile(work)
    return work.found.get("profile")


def age_from(small, large, count):
    """The age of the person in which two tables differ, from their profiles."""
    return large.mean[0] * (count + 1) - small.mean[0] * count


def test_two_profiles_of_private_models_give_no_persons_age_away():
    frame = audit.people(900, 4).astype({"ward": object, "age": float})
    # so that clipping is the same in both
    frame.loc[:9, "age"], frame.loc[10:19, "age"] = 20.0, 89.0
    rows = [
        Sample(part[["age", "cost", "ward"]], part["ill"].to_numpy())
        for part in (frame, more(frame, PERSON, 900).astype({"ward": object}))
    ]
    ordinary = [profiled(sample, None) for sample in rows]
    assert age_from(*ordinary, 900) == pytest.approx(PERSON["age"], abs=1e-6), (
        "the attack works where nothing is promised"
    )
    assert [profiled(sample, {"epsilon": 1.0, "delta": 1e-5}) for sample in rows] == [None, None]


def released_project(root, frame, code="LogisticRegression()"):
    source = root.parent / "table.csv"
    frame.to_csv(source, index=False)
    scaffold.create(root, scaffold.from_table(root, source, "ill"))
    own = load(root / "casemate.toml")
    text = audit.TOML.replace('source = "table.csv"', 'source = "../table.csv"').replace(
        'id = "audit-1"', f'id = "{own.project.id}"'
    )
    light = (
        "[assess]\nbootstrap = 60\nattack_rows = 30\nattack_steps = 4\nshadows = 2\nshadow_rows ="
        " 100\nimportance = false\n[robustness]\ndecision_rows = 0\n"
    )
    screen = "[screen]\nspectral = false\ntriggers = false\ninfluence = false\n"
    head = text.partition("[gates]")[0]
    (root / "casemate.toml").write_text(
        head + screen + light + "[gates]\naccuracy = { min = 0.5 }\nepsilon = { max = 1.0 }\n"
    )
    (root / "train.py").write_text(
        "from sklearn.linear_model import LogisticRegression\n\n\ndef build():\n    return"
        f" {code}\n"
    )
    return casemate.open(root)


NETWORK = "(lambda nn: nn.Sequential({}))(__import__('torch').nn)"


@pytest.fixture(scope="module")
def study(home, tmp_path_factory):
    """A project of private training that is made one mistake after the other in."""
    root = tmp_path_factory.mktemp("mistakes") / "study"
    released_project(root, audit.people(200, 5)).database.close()
    return root


LINEAR = "LogisticRegression()"
BATCHES = "privacy.rows=200"


@pytest.mark.parametrize(
    ("code", "options", "words"),
    [
        pytest.param("LogisticRegresion()", [], "NameError", id="a typo in a name"),
        pytest.param("LogisticRegression(max_itr=5)", [], "max_itr", id="a typo in a parameter"),
        pytest.param("__import__('pandass')", [], "pandass", id="a module that is not there"),
        pytest.param(
            "__import__('sklearn.tree').tree.DecisionTreeClassifier()",
            [],
            "no private form",
            id="an unfit estimator",
        ),
        pytest.param(
            NETWORK.format("nn.Linear(7, 2), nn.Softplus()"),
            [BATCHES],
            "Softplus",
            id="a layer that cannot be stored",
        ),
        pytest.param(
            NETWORK.format("nn.Linear(7, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)"),
            [BATCHES],
            "BatchNorm",
            id="an unfit layer",
        ),
        pytest.param(
            NETWORK.format("nn.Linear(7, 3)"), [BATCHES], "3 outputs", id="too many outputs"
        ),
        pytest.param(
            NETWORK.format("nn.Linear(7, 2)"),
            [BATCHES],
            "exported",
            id="cannot be exported with categories",
        ),
        pytest.param(
            NETWORK.format("nn.Linear(7, 4), nn.ReLU(), nn.Linear(4, 2)"),
            [],
            "how many rows",
            id="a missing option",
        ),
        pytest.param(LINEAR, ['train.metric="rocauc"'], "rocauc", id="a typo in the metric"),
        pytest.param(
            LINEAR, ["gates.acuracy.min=0.5"], "did you mean 'accuracy'", id="a typo in a gate"
        ),
        pytest.param(
            LINEAR,
            ['assess.slices=["agee"]'],
            r"\[assess\] slices: 'agee' is no column",
            id="a typo in the slices",
        ),
        pytest.param(
            LINEAR,
            ['robustness.features.agee={change="none"}'],
            "'agee' is no column",
            id="a typo in what attackers change",
        ),
        pytest.param(
            LINEAR,
            ['assess.behaviour=[{name="t", feature="ward", add=1}]'],
            "'ward' is a category",
            id="a test that cannot be made",
        ),
        pytest.param(LINEAR, ["privacy.epsilon=100"], "wants 100", id="more than there is"),
    ],
)
def test_a_mistake_costs_no_epsilon(study, code, options, words):
    if "torch" in code:
        pytest.importorskip("torch")
    (study / "train.py").write_text(
        "from sklearn.linear_model import LogisticRegression\n\n\ndef build():\n    return"
        f" {code}\n"
    )
    with pytest.raises((TrainingError, ConfigError, BudgetSpent), match=words) as caught:
        casemate.open(study, options).run()
    assert caught.value.hint
    project = casemate.open(study)
    assert project.ledger.of() == []
    project.database.close()


def test_what_leaves_with_a_private_model_says_nothing_exact_of_training_rows(tmp_path):
    frame = audit.people(1501, 5)
    project = released_project(tmp_path / "study", frame)
    result = project.run()
    assert result.verdict.outcome == "passed", result.verdict.reasons
    assert len(project.ledger.of()) == 1
    files = result.model.verify().files
    card = files["model-card.md"].decode()
    assert "profile.json" not in files
    assert result.assessment.profile is None and result.assessment.membership, (
        "the steward still sees the attacks"
    )
    assert "1501" not in card and str(1501 - result.assessment.rows) not in card, (
        "how many there are"
    )
    for word in ("membership", "lira", "shift_auc", "suspicious", "contamination", "influence"):
        assert word not in card + files["mlbom.cdx.json"].decode() + files["model.json"].decode(), (
            word
        )
    exact = hashlib.sha256((tmp_path / "table.csv").read_bytes()).hexdigest()
    assert all(exact not in content.decode(errors="replace") for content in files.values())
    inputs = result.model.verify().card.inputs
    assert [(column.min, column.max) for column in inputs.features[:2]] == [(0, 120), (0, 100_000)]
    assert inputs.column("ward").categories == [
        "east",
        "north",
        "south",
        "west",
    ], "nobody is in the west"
    model = project.engine.newest_step("train", TrainedModel)
    assert model.privacy["neighbours"] == "one row added or removed"
    assert 1.9 < model.privacy["replacing"] < 2.3
    assert (
        "one row added or removed" in card
        and f"epsilon {model.privacy['replacing']:.3f} with one put in the place" in card
    )


def test_figures_and_findings_of_training_rows_neither_leave_nor_decide():
    from casemate.core.types import Finding, SealedDataset
    from casemate.stages.release.private import told

    one = Interval.exact(0.5)
    high = {"severity": "high", "confidence": "high", "message": "m"}
    dataset = SealedDataset(
        name="d", version="v", source_digest="s", rows=9, schema=audit.examined(audit.people(60, 0), KEYS, CONFIG).schema, quarantined={"x": 1},
        quarantine="q", excluded=1, split="p", holdout=2, statistics={"age": {"mean": 3.0}}, findings=[Finding(id="data.leak", **high)],
        figures={"suspicious_share": 0.1},
    )  # fmt: skip
    assessment = Assessment(
        rows=2, metrics={"accuracy": one}, calibration={}, roc={}, slices=[], robustness={}, membership={"auc": {}}, parity={}, serve_format="onnx",
        findings=[Finding(id="privacy.bound-broken", **high), Finding(id="model.parity", **high)], inconclusive=["lira: few", "quality: none"],
        figures={"lira_auc": one, "shift_auc": one, "demographic_parity_difference": one},
    )  # fmt: skip
    outside, kept = told(dataset, assessment)
    assert (outside.findings, outside.figures, outside.statistics, outside.quarantined) == (
        [],
        {},
        {},
        {},
    )
    assert (
        list(kept.figures) == ["demographic_parity_difference"]
        and kept.membership == {}
        and kept.metrics == {"accuracy": one}
    )
    assert [finding.id for finding in kept.findings] == ["privacy.bound-broken", "model.parity"]
    assert kept.inconclusive == ["quality: none"]


# Accounting


@pytest.mark.parametrize(("sigma", "steps", "rate"), [(30.0, 61, 1.0), (3.0, 60, 0.1)])
def test_replacing_a_person_is_dearer_than_adding_one_and_no_dearer_than_two(sigma, steps, rate):
    events = [accountant.Gaussians(sigma=sigma, steps=steps, rate=rate)]
    add, replace = accountant.epsilon(events, 1e-5), accountant.replacing(events, 1e-5)
    # group privacy of two, a plain upper bound
    twice = 2 * accountant.epsilon(events, 1e-5 / (1 + np.exp(2 * add)))
    assert add * 1.5 < replace <= twice


def test_the_number_of_rows_is_paid_for_or_declared():
    from casemate.ml.learn import linear
    from casemate.ml.learn.linear import PrivateClassifier

    frame, codes = pd.DataFrame({"a": [0.0, 1.0] * 50}), [0, 1] * 50
    counted = PrivateClassifier(bounds=(0, 1)).fit(frame, codes)
    known = PrivateClassifier(bounds=(0, 1), units=100).fit(frame, codes)
    assert (counted.spent_.steps, known.spent_.steps) == (61, 60)
    seen = []

    class Silent:
        def normal(self, shape):
            seen.append(shape)
            return np.zeros(shape)

    rows, labels = np.ones((40, 2), dtype=np.float32) / 2, np.zeros(40, dtype=int)
    original, linear.Noise = linear.Noise, Silent
    try:
        fixed = [
            linear.descend(rows[:count], labels[:count], 2, None, 1.0, 1, 1.0, 0.2, 0.0, 40)
            for count in (39, 40)
        ]
        linear.descend(rows, labels, 2, None, 1.0, 1, 1.0, 0.2, 0.0)
    finally:
        linear.Noise = original
    assert np.linalg.norm(fixed[1] - fixed[0]) * 40 <= 0.2 + 1e-6
    assert seen.count((1,)) == 1, "the count itself is noisy"


def test_a_subject_with_many_rows_weighs_no_more_than_one(monkeypatch):
    from casemate.ml.learn import linear

    monkeypatch.setattr(linear, "Noise", lambda: SimpleNamespace(normal=np.zeros))
    rows = np.ones((500, 2), dtype=np.float32) / 2
    labels, owners = np.zeros(500, dtype=int), np.r_[np.zeros(490, dtype=int), np.arange(1, 11)]
    with_, without = (
        linear.descend(rows[at], labels[at], 2, owners[at], 1.0, 1, 1.0, 0.2, 0.0, 11)
        for at in (np.arange(500), np.arange(490, 500))
    )
    assert np.linalg.norm(with_ - without) * 11 <= 0.2 + 1e-6


def test_rehearsal_rows_are_nobodys_and_hold_every_class():
    schema = audit.examined(audit.people(200, 0), KEYS, CONFIG).schema
    made = rehearse.rows(schema, grouped=True)
    assert set(made["ill"].to_pylist()) == {"0", "1"} and set(made["ward"].to_pylist()) <= set(
        schema.column("ward").categories
    )
    assert made.num_rows == rehearse.ROWS


def test_canaries_do_not_give_themselves_away_beyond_the_claim():
    """A sample; `make assurance` trains a thousand models on each table."""
    without, with_ = audit.neighbours(300)
    assert len(with_.codes) == len(without.codes) + 1
    assert (
        audit.lower_bound(audit.scores(without, 30), audit.scores(with_, 30), audit.DELTA)
        <= audit.CLAIMED
    )


def test_the_audit_sees_a_training_with_too_little_noise():
    generator = np.random.default_rng(0)
    assert audit.lower_bound(generator.normal(0, 1, 400), generator.normal(3, 1, 400), 1e-5) > 1.0
    assert audit.lower_bound(
        generator.normal(0, 1, 400), generator.normal(0, 1, 400), 1e-5
    ) == pytest.approx(0.0, abs=0.2)
