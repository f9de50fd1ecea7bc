"""People whose rows lie beside a sample are people of the data set: the model that went on with
their rows, their copy, their erasure, every key and every look at the files know of them.
"""

import numpy as np
import pandas as pd
import pytest

import casemate
from casemate.controls.keys import tables
from casemate.core.errors import Error
from casemate.core.types import SealedDataset, TrainedModel
from casemate.operations import scaffold
from casemate.operations.fsck import examine
from casemate.operations.keys.search import Search
from casemate.operations.rights.personrows import rows_of

pytestmark = pytest.mark.slow
ROWS, PEOPLE = 4_000, 1_500
CODE = """
from sklearn.naive_bayes import GaussianNB
def build():
    return GaussianNB()
"""


@pytest.fixture(scope="module")
def project(home, tmp_path_factory):
    """A run of people of whom a sample was drawn and the rest gone on with."""
    root = tmp_path_factory.mktemp("people")
    draw = np.random.default_rng(1)
    a, b = draw.standard_normal((2, ROWS)).round(4)
    who = [f"person {one}" for one in draw.integers(0, PEOPLE, ROWS)]
    y = np.where(a + draw.standard_normal(ROWS) > 0, "ill", "well")
    note = draw.choice(["tall", "short"], ROWS)
    frame = pd.DataFrame({"who": who, "a": a, "b": b, "y": y, "note": note})
    frame.to_csv(root / "t.csv", index=False)
    scaffold.create(root, scaffold.from_table(root, root / "t.csv", "y", subject="who"))
    text = (root / "casemate.toml").read_text()
    text = text.replace("[data]", "[data]\nsample = 1000", 1)
    text = text.replace("[train]", '[train]\nrows = "all"', 1)
    lines = [line for line in text.split("\n") if not line.startswith("search")]
    text = "\n".join(lines).replace(
        "[screen]", "[data.columns]\nnote = { use = false }\n\n[screen]"
    )
    (root / "casemate.toml").write_text(text)
    (root / "train.py").write_text(CODE)
    with casemate.open(root) as project:
        project.run()
        yield project


@pytest.fixture
def record(project):
    return project.engine.newest_step("data", SealedDataset)


def only_beside(project, record):
    """Somebody with rows beside the sample alone, and how many."""
    (reference,) = project.datasets
    dataset = project.datasets[reference]
    drawn = set(dataset.to_arrow(["who"])["who"].to_pylist())
    index, root = project.identifiers.rows, project.identifiers.root()
    for number in range(PEOPLE):
        name = f"person {number}"
        held = index.of(root.pseudonym(name))
        if name not in drawn and held:
            return name, held[0].rows, dataset
    raise AssertionError("everybody was drawn")


def test_the_model_says_with_how_many_rows_it_went_on(project, record):
    run = project.run()  # nothing has changed since
    model = project.engine.record(run.id, "train", TrainedModel)
    assert model.went_on.rows == record.rest > 500
    assert f"It learnt from {record.rest} others too." in " ".join(run.summary)
    card = project.objects.get(run.release.files["model-card.md"]).decode()
    assert f"| went on with | {record.rest} rows beside the sample" in card
    lineage = project.registry.list()[0].release.lineage
    assert f"{record.rest} beside the drawn ones are learnt from" in lineage.whole_table


def test_somebody_of_whom_no_row_was_drawn_is_traced_to_the_model_and_gets_their_rows(
    project, record
):
    name, count, dataset = only_beside(project, record)
    found = project.privacy.affected(name)
    assert [(one.version, one.rows) for one in found.versions] == [(record.version, count)]
    assert [one.model for one in found.models] == ["t@1"]
    assert found.unknown == []
    rows, hidden = rows_of(dataset, [project.identifiers.root().pseudonym(name)])
    assert (rows.num_rows, hidden) == (count, set())
    assert None not in rows["a"].to_pylist()
    assert rows["who"].null_count == rows["note"].null_count == count  # not needed, not kept
    assert sum(one.num_rows for one in dataset.batches(["a"], rest=True)) == record.rest


def test_a_search_for_somebody_looks_at_rows_beside_the_sample(project, record):
    (version,) = Search(project, "ill").versions()
    assert version.texts == ["y"]
    (own,) = Search(project, "person 1").versions()
    assert (own.cells, own.texts) == ({}, [])


def test_who_may_not_see_a_row_beside_the_sample_does_not_hear_the_code_that_saw_it(project):
    _, _, dataset = only_beside(project, None)
    drawn = {str(one) for one in dataset.to_arrow(["a"])["a"].to_pylist()}
    (piece, *_) = dataset.batches(["a"], rest=True)
    (closed, *_) = [one for one in map(str, piece["a"].to_pylist()) if one not in drawn]
    policy = project.root / "policies" / "rows.cedar"
    text = (project.root / "casemate.toml").read_text()

    def hears(columns, value):
        policy.write_text(
            '@id("one") forbid (principal, action == Action::"dataset:read-rows", resource)'
            f' when {{ resource.hasTag("a") && resource.getTag("a") == "{value}" }};'
        )
        said = f"{text}\n[access]\nrows = {columns}\n"
        (project.root / "casemate.toml").write_text(said)
        with casemate.open(project.root) as own:
            return own.datasets["t"].hears_code()

    try:
        assert hears('["a"]', "none")
        assert not hears('["a"]', closed)
        assert not hears('["note"]', "none")  # nothing tells those rows apart
    finally:
        policy.unlink()
        (project.root / "casemate.toml").write_text(text)


def test_keys_of_rows_beside_a_sample_are_rotated_and_a_changed_byte_is_seen(project, record):
    folder = project.state / "datasets" / record.name / record.version
    keys, verifier = project.provider, project.signer.verifier
    before = list(tables.scan(folder, keys, verifier, kind=tables.REST))
    project.keys.rotate(["general"], compromised=True)
    after = list(tables.scan(folder, keys, verifier, kind=tables.REST))
    assert [piece.num_rows for piece in before] == [piece.num_rows for piece in after]
    assert before == after
    assert examine(project).damage == []
    path = folder / "rest-00000.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:-100] + bytes([content[-100] ^ 1]) + content[-99:])
    try:
        assert [one.subject for one in examine(project).damage] == [
            f"table {record.name}@{record.version}"
        ]
        with pytest.raises(Error, match="changed or swapped"):
            list(tables.scan(folder, keys, verifier, kind=tables.REST))
    finally:
        path.write_bytes(content)
