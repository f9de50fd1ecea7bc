"""Tables that nobody would choose: each works, or says clearly what cannot be judged."""

import numpy as np
import pandas as pd
import pytest
from tests.cli.test_trust_cli import project_of

from casemate import config as configuration
from casemate.core.errors import DataError
from casemate.core.types import Schema
from casemate.operations import runs
from casemate.pipeline import data_tools
from casemate.stages.data.stage import examine

pytestmark = pytest.mark.slow


def base(count, seed=0):
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {"a": generator.standard_normal(count), "b": generator.standard_normal(count)}
    )
    frame["ill"] = (frame["a"] + 0.3 * generator.standard_normal(count) > 0).astype(int)
    return frame


def looked_at(tmp_path, frame, *overrides):
    project = project_of(tmp_path / "study", frame)
    project.config = configuration.load(project.root / "casemate.toml", list(overrides))
    return examine(data_tools(runs.run_context(project)))


def messages(found):
    return " ".join(finding.message for finding in found.findings)


def test_a_thousand_features(tmp_path):
    frame = base(400)
    wide = pd.DataFrame(
        np.random.default_rng(1).standard_normal((400, 1000)),
        columns=[f"n{i}" for i in range(1000)],
    )
    found = looked_at(
        tmp_path, pd.concat([frame, wide], axis=1), "screen.spectral=true", "screen.influence=true"
    )
    assert len(found.schema.features) == 1002
    assert len(found.suspects) <= 0.05 * 400
    assert not [finding for finding in found.findings if finding.severity == "high"]


def test_empty_constant_and_text_columns(tmp_path):
    frame = base(300)
    frame["nothing"], frame["same"] = np.nan, 7
    frame["note"] = [f"patient {i} said {i * 7919 % 1000}" for i in range(300)]
    found = looked_at(tmp_path, frame)
    features = {column.name for column in found.schema.features}
    assert features.isdisjoint({"nothing", "same", "note"})
    assert {"note_word00", "note_word15"} <= features


def test_fifty_classes_are_judged_and_a_hundred_and_one_are_refused(tmp_path):
    frame = base(2000)
    frame["ill"] = pd.qcut(frame["a"], 50, labels=[f"c{i:02d}" for i in range(50)]).astype(str)
    found = looked_at(tmp_path / "fifty", frame, "screen.label_noise=false")
    assert isinstance(found.schema, Schema) and len(found.schema.classes) == 50
    with pytest.raises(DataError, match="101 different values"):
        frame["ill"] = [f"c{i % 101}" for i in range(2000)]
        looked_at(tmp_path / "many", frame)


def test_a_class_with_three_rows_and_a_target_with_one_class_are_refused_by_name(tmp_path):
    frame = base(200)
    frame["ill"] = 0
    frame.loc[:2, "ill"] = 1
    with pytest.raises(DataError, match="rarest class has 3 rows"):
        looked_at(tmp_path / "rare", frame)
    frame.loc[3:6, "ill"] = 2
    with pytest.raises(DataError, match="rarest class has 3 rows") as caught:
        looked_at(tmp_path / "counts", frame)
    assert "casemate init --task regression" in caught.value.hint
    with pytest.raises(DataError, match="one class only"):
        looked_at(tmp_path / "one", base(50).assign(ill=1))


def test_only_categories_go_through_though_most_rows_repeat(tmp_path):
    generator = np.random.default_rng(0)
    frame = pd.DataFrame({f"c{i}": generator.choice(list("ABC"), 600) for i in range(5)})
    frame["ill"] = ((frame["c0"] == "A") | (generator.random(600) < 0.1)).astype(int)
    found = looked_at(tmp_path, frame, "screen.spectral=true", "screen.influence=true")
    assert len(found.schema.categories) == 5
    assert found.figures["equal_rows"] > 300  # of 5 x 3 categories: people who answer alike
    assert "duplicate" not in {suspect.reason for suspect in found.suspects}


def test_a_slice_with_one_class_is_shown_and_not_judged_alone(tmp_path):
    frame = base(500)
    frame["ward"] = np.where(
        frame["ill"] == 1, "ICU", np.random.default_rng(0).choice(["A", "B"], 500)
    )
    project = project_of(tmp_path / "study", frame)
    result = project.run()
    assert {part["value"] for part in result.assessment.slices} == {"A", "B", "ICU"}
    assert (
        "leakage" in messages(project.datasets["study"].record)
        or result.assessment.metrics["accuracy"].value > 0.9
    )
