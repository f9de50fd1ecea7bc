"""What a hostile training process can leave: it is read by a process without keys, within limits,
and never by casemate's own.
"""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from sklearn.tree import DecisionTreeRegressor
from tests.attacks.mutants import NUMBERS, estimators, originals

import casemate
from casemate.core import archive
from casemate.core.errors import TrainingError, VerificationError
from casemate.core.sandbox.kernel import available
from casemate.core.sandbox.run import Worker
from casemate.core.types import ColumnSchema, Schema
from casemate.ml import graph as graphs
from casemate.ml import models
from casemate.ml.frame import made_up
from casemate.ml.models import NETWORK, ONNX, SKOPS, OnnxModel, dump_skops
from casemate.operations import runs
from casemate.stages.train import convert as converting
from casemate.stages.train.stage import convert

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not available()["landlock"], reason="this kernel has no Landlock"),
]
MOST_MEMORY = 1 << 30


@pytest.fixture
def read(tmp_path, config):
    """What the real process makes of files, or its typed refusal."""

    def run(files, schema):
        (tmp_path / "keys").mkdir(exist_ok=True)
        with Worker("casemate.stages.train.convert:main", 1) as worker:
            return convert(
                worker,
                files,
                schema,
                config("train.memory_gb=4", "train.timeout=120"),
                tmp_path / "tmp",
                [tmp_path / "keys"],
            )

    return run


def memory(key="VmHWM"):
    line = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key)
    )
    return int(line.split()[1]) * 1024


def test_what_comes_back_is_the_same_model_in_canonical_form(read):
    estimator, schema = next(iter(estimators()))
    outcome, said = read({SKOPS: dump_skops(estimator)}, schema)
    assert set(outcome.files) == {SKOPS, ONNX}
    assert outcome.files[SKOPS] == dump_skops(models.load_skops(outcome.files[SKOPS]).estimator)
    assert outcome.files[ONNX] == graphs.canonical(outcome.files[ONNX])
    assert said.estimator.startswith("Pipeline(")
    assert said.export_problem == ""
    rows = made_up(schema, 50, np.random.default_rng(0))
    labels, probabilities = OnnxModel(outcome.files[ONNX], schema).predict(rows)
    assert np.array_equal(labels, estimator.predict(rows))
    assert np.abs(probabilities - estimator.predict_proba(rows)).max() < 1e-6


def bomb(unpacked, name="schema.json", inner=b" "):
    target = io.BytesIO()
    with (
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made,
        made.open(name, "w", force_zip64=True) as member,
    ):
        for _ in range(unpacked >> 20):
            member.write(inner * (1 << 20))
    return target.getvalue()


def test_a_small_file_that_unpacks_to_gigabytes_is_refused_by_the_reading_process(read):
    content = bomb(archive.ALWAYS_FINE + (1 << 20), "1.npy")
    assert len(content) < 3 << 20
    before = memory()
    with pytest.raises(TrainingError, match="unpacks to more than it may"):
        read({SKOPS: content}, NUMBERS)
    assert memory() - before < 64 << 20


def nested(unpacked):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as made:
        made.writestr("schema.json", "{}")
        made.writestr("1.npz", bomb(unpacked, "data.npy"))
    return target.getvalue()


def deep(levels):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as made:
        made.writestr("schema.json", "[" * levels + "]" * levels)
    return target.getvalue()


def many(count):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as made:
        for number in range(count):
            made.writestr(str(number), "")
    return target.getvalue()


def lzma():
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_LZMA) as made:
        made.writestr("schema.json", "{}")
    return target.getvalue()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: bomb(archive.MAX_SCHEMA + (1 << 20)), "listing unpacks"),
        (lambda: nested(archive.ALWAYS_FINE + (1 << 20)), "unpacks to more"),
        (lambda: deep(archive.MAX_DEPTH + 1), "nests deeper"),
        (lambda: deep(100_000), "skops archive|malformed"),
        (lzma, "unusual way"),
    ],
    ids=["listing", "sparse matrix", "depth", "endless depth", "method"],
)
def test_archives_beyond_the_limits_are_refused_before_they_are_unpacked(make, words):
    before = memory()
    with pytest.raises(VerificationError, match=words):
        models.load_skops(make())
    assert memory() - before < 300 << 20


def test_too_many_members_are_refused(monkeypatch):
    monkeypatch.setattr(archive, "MOST_MEMBERS", 50)
    with pytest.raises(VerificationError, match="51 members"):
        models.load_skops(many(51))


def test_a_file_that_crashes_its_reader_is_a_refusal(read):
    """Python's readers check types, not what C code will index with: the tree's first child lies
    far outside its array.
    """
    tree = DecisionTreeRegressor(max_depth=1).fit(np.arange(4.0)[:, None], np.arange(4.0))
    state = tree.tree_.__getstate__()
    state["nodes"]["left_child"][0] = state["nodes"]["right_child"][0] = 1 << 40
    tree.tree_.__setstate__(state)
    schema = Schema(
        target="y", classes=[], columns=[ColumnSchema(name="a", type="number", min=0.0, max=3.0)]
    )
    with pytest.raises(TrainingError, match="could not be read in the sandbox.*died"):
        read({converting.IMPORTED_SKOPS: dump_skops(tree)}, schema)


ATTACK = """
import pathlib
import onnx
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.compose import make_column_transformer
from sklearn.preprocessing import OneHotEncoder
import casemate.stages.train.fit as fit
from casemate.ml.models import dump_skops
from casemate.stages.train import export

def left(model, outputs):
    (outputs / "model.skops").write_bytes(dump_skops(model))
    graph = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], []))
    entry = graph.metadata_props.add()
    entry.key, entry.value = "rows", "TRAINING-ROWS"
    (outputs / "model.onnx").write_bytes(graph.SerializeToString())

fit._write = left
export.to_onnx = lambda model, schema: ((pathlib.Path("model.onnx").read_bytes()), "")

def build():
    columns = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["c"]), remainder="passthrough")
    return make_pipeline(columns, LogisticRegression())
"""


def test_the_graph_that_is_served_is_never_the_one_that_training_code_left(tiny_project):
    """It answered otherwise for one value and carried training rows, and every gate looked at the
    honest estimator beside it.
    """
    (tiny_project / "train.py").write_text(ATTACK)
    project = casemate.open(tiny_project, ["train.search={}"])
    result = project.run()
    assert result.verdict.outcome == "passed", result.verdict
    model = result.model.verify()
    content = model.files[ONNX]
    assert b"TRAINING-ROWS" not in content
    graph = onnx.load_model_from_string(content)
    assert not graph.metadata_props
    assert not graph.functions
    estimator = models.load_skops(model.files[SKOPS])
    rows = made_up(model.card.inputs, 500, np.random.default_rng(0))
    labels, probabilities = OnnxModel(content, model.card.inputs).predict(rows)
    assert np.array_equal(labels, estimator.predict(rows)[0])
    assert np.abs(probabilities - estimator.predict(rows)[1]).max() < 1e-5


def test_what_was_measured_is_what_is_signed_is_what_the_gateway_loads(finished):
    from casemate.core.digest import sha256
    from casemate.core.types import Assessment, TrainedModel
    from casemate.stages.release import bundle

    project = casemate.open(finished)
    registered = project.models["wdbc"].registered
    run = registered.release.lineage.run
    trained = project.engine.record(run, "train", TrainedModel)
    assessed = project.engine.record(run, "assess", Assessment)
    verified = project.models["wdbc"].verify()
    listed = bundle.resources_of(
        verified.signer.verify_statement(
            bundle.envelope_of(
                project.objects.get(registered.release.bundle), project.keystore.signer.verifier
            )[0],
            bundle.PREDICATE,
        )
    )
    assert set(assessed.measured) == set(trained.files) == {SKOPS, ONNX}
    for name, digest in assessed.measured.items():
        assert digest == trained.files[name] == listed[name] == sha256(verified.files[name])
    assert verified.card.labels == "own"


def test_models_that_were_signed_before_are_read_as_they_were_measured(finished):
    """Their cards say nothing of labels: these were the likeliest classes, and stay so."""
    import json

    import msgspec

    from casemate.stages.release.bundle import CARD, Card

    told = json.loads(casemate.open(finished).models["wdbc"].verify().files[CARD])
    del told["labels"], told["order"]
    card = msgspec.json.decode(json.dumps(told), type=Card)
    assert (card.labels, card.order) == ("likeliest", [])


def test_a_graph_that_was_put_in_place_after_the_measurement_is_not_signed(clinic, tmp_path):
    from msgspec import structs

    from casemate.core.types import Assessment, SealedDataset, TrainedModel
    from casemate.stages.release import stage as release

    project = casemate.open(clinic)
    run = project.models["wdbc"].registered.release.lineage.run
    dataset, trained, assessed = (
        project.engine.record(run, name, kind)
        for name, kind in (("data", SealedDataset), ("train", TrainedModel), ("assess", Assessment))
    )
    tools = release.ReleaseTools(
        project.config, project.objects, project.keystore.signer, lambda *_: None
    )
    swapped = structs.replace(
        trained, files=trained.files | {ONNX: project.objects.put(b"another graph")}
    )
    with pytest.raises(
        VerificationError,
        match=r"other model files were measured than are to be signed: model\.onnx",
    ):
        release.decide(tools, run, 9, dataset, swapped, assessed, [])
    extra = structs.replace(trained, files=trained.files | {NETWORK: trained.files[SKOPS]})
    with pytest.raises(VerificationError, match=r"network\.json"):
        release.decide(tools, run, 9, dataset, extra, assessed, [])


THRESHOLD = """
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

def build():
    columns = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["c"]), remainder="passthrough")
    return make_pipeline(columns, FixedThresholdClassifier(LogisticRegression(), threshold=0.1))
"""


def test_a_threshold_is_measured_signed_and_served(tiny_project):
    from casemate.core.types import Assessment, SealedDataset
    from casemate.ml.frame import features_of, target_of
    from casemate.serve.endpoint import Endpoint
    from casemate.supply.rows import SealedRows

    (tiny_project / "train.py").write_text(THRESHOLD)
    project = casemate.open(tiny_project, ["train.search={}"])
    result = project.run()
    assert result.verdict.outcome == "passed", result.verdict
    verified = result.model.verify()
    assert (verified.card.serve_format, verified.card.labels) == ("onnx", "own")
    estimator = models.load_skops(verified.files[SKOPS]).estimator
    dataset = project.engine.record(result.id, "data", SealedDataset)
    holdout = SealedRows(runs.run_context(project), dataset).holdout
    frame, codes = features_of(holdout, dataset.schema), target_of(holdout, dataset.schema)
    own = estimator.predict(frame)
    assert (own != estimator.predict_proba(frame).argmax(axis=1)).any()
    assessed = project.engine.record(result.id, "assess", Assessment)
    assert assessed.metrics["accuracy"].value == pytest.approx((own == codes).mean())
    served, _ = Endpoint.load(verified, project.config.serve).predict(
        {name: frame[name].to_numpy() for name in frame}
    )
    assert np.array_equal(served, own)


def looping():
    """A graph that answers at once for every value but one, on which it turns for ever."""
    float_, bool_, int_ = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT64
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["on"]),
            helper.make_node("Identity", ["was"], ["is"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", int_, []),
            helper.make_tensor_value_info("go", bool_, []),
            helper.make_tensor_value_info("was", float_, None),
        ],
        [
            helper.make_tensor_value_info("on", bool_, []),
            helper.make_tensor_value_info("is", float_, None),
        ],
    )
    node = helper.make_node("Loop", ["", "go", "x"], ["y"], body=body)
    return [
        helper.make_node("Constant", [], ["go"], value=helper.make_tensor("v", bool_, [], [True])),
        node,
    ]


def plain_graph(nodes, **more):
    ports = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2]),
    ]
    content = helper.make_graph(nodes, "g", ports[:1], ports[1:], more.pop("weights", []))
    return helper.make_model(
        content, opset_imports=[helper.make_opsetid("", 18)], ir_version=8, **more
    )


@pytest.mark.parametrize(
    "nodes",
    [
        looping(),
        [helper.make_node("RandomNormalLike", ["x"], ["y"])],
        [helper.make_node("If", ["x"], ["y"])],
    ],
    ids=["loop", "chance", "if"],
)
def test_a_graph_that_may_not_end_or_throws_dice_is_refused(nodes):
    with pytest.raises(VerificationError, match="not on the list"):
        graphs.canonical(plain_graph(nodes).SerializeToString())


def test_a_canonical_graph_holds_nothing_but_what_is_computed():
    secret = "age 61, ill"
    weights = [
        helper.make_tensor("unused " + secret, TensorProto.FLOAT, [1], [1.0]),
        helper.make_tensor("w " + secret, TensorProto.FLOAT, [1], [1.0]),
    ]
    nodes = [
        helper.make_node(
            "Add", ["x", "w " + secret], ["sum " + secret], name=secret, doc_string=secret
        ),
        helper.make_node("Mul", ["x", "x"], ["nobody " + secret]),
        helper.make_node("Identity", ["sum " + secret], ["y"]),
    ]
    model = plain_graph(nodes, weights=weights, producer_name=secret, doc_string=secret)
    model.graph.doc_string = model.graph.name = secret
    model.graph.input[0].doc_string = secret
    model.graph.value_info.append(
        helper.make_tensor_value_info("sum " + secret, TensorProto.FLOAT, None)
    )
    for entry in (
        model.metadata_props.add(),
        model.graph.metadata_props.add(),
        model.graph.node[0].metadata_props.add(),
    ):
        entry.key = entry.value = secret
    # a field that nobody knows
    model.ParseFromString(
        model.SerializeToString() + b"\xfa\x3f" + bytes([len(secret)]) + secret.encode()
    )
    assert model.SerializeToString().count(secret.encode()) > 10
    content = graphs.canonical(model.SerializeToString())
    assert secret.encode() not in content
    assert graphs.canonical(content) == content
    assert [node.op_type for node in onnx.load_model_from_string(content).graph.node] == [
        "Add",
        "Identity",
    ]
    assert np.array_equal(
        models.onnx_session(content).run(None, {"x": np.ones((1, 2), np.float32)})[0], [[2.0, 2.0]]
    )


def batch(seed, count, root):
    """Damaged files through the reading code in a process of its own: (what became of each, how it
    ended, greatest resident memory).
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.attacks.mutants", str(seed), str(count)],
        cwd=root,
        stdout=subprocess.PIPE,
    )
    *words, ended = process.communicate()[0].decode().splitlines()
    how, peak = map(int, ended.split())
    return words, how, peak


def test_damaged_model_files_are_read_or_refused(scale, pytestconfig):
    """No exception beside the typed refusal, and at most 1 GiB; a native crash may happen, in a
    process that has nothing to lose.
    """
    total, seed, most, crashes, odd = scale(400, 20_000), 0, 0, 0, {}
    assert len(originals()) >= 12
    seen = 0
    while seen < total:
        words, how, peak = batch(seed, min(500, total - seen), pytestconfig.rootpath)
        crashes += how != 0
        seen, seed, most = seen + max(len(words), 1), seed + 1, max(most, peak)
        for word in words:
            odd[word] = odd.get(word, 0) + 1
    print({"files": seen, "crashes": crashes, "MiB": most >> 20, **odd})
    assert set(odd) <= {"read", "refused"}, odd
    assert min(odd.values()) > total // 20, "the damage is too mild or too coarse to try anything"
    assert crashes <= 2 + total // 1000
    assert most <= MOST_MEMORY
