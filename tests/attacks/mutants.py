"""Model files with damage: flipped bytes, and changes that keep the container sound and what it
says wrong.
"""

import io
import json
import os
import random
import resource
import sys
import traceback
import warnings
import zipfile

import numpy as np
import onnx
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from casemate.core.errors import VerificationError
from casemate.core.types import ColumnSchema, Schema
from casemate.ml.models import NETWORK, ONNX, SKOPS, WEIGHTS, dump_skops
from casemate.stages.train import export
from casemate.stages.train.convert import IMPORTED_ONNX, IMPORTED_SKOPS, converted

SCHEMA = Schema(
    target="y",
    classes=["0", "1"],
    columns=[
        ColumnSchema(name="a", type="number", min=-3.0, max=3.0, nullable=True),
        ColumnSchema(name="b", type="number", min=-3.0, max=3.0),
        ColumnSchema(name="c", type="category", categories=["blue", "red"]),
        ColumnSchema(name="y", type="category", categories=["0", "1"]),
    ],
)
NUMBERS = Schema(
    target="y",
    classes=["0", "1"],
    columns=[column for column in SCHEMA.columns if column.name != "c"],
)
ODD = [
    None,
    True,
    -1,
    0,
    2**31,
    2**63,
    10**30,
    1e308,
    "",
    "x" * 5000,
    [],
    {},
    [[]],
    "os",
    "system",
    "builtins",
    "eval",
    "numpy",
    "ndarray",
    "../../x",
]
KINDS = [
    "function",
    "method",
    "type",
    "partial",
    "Tree",
    "ndarray",
    "json",
    "list",
    "dict",
    "object",
    "ReduceNode",
    "TreeNode",
    "ObjectNode",
    "FunctionNode",
]


def frame(rows=120, seed=0):
    generator = np.random.default_rng(seed)
    numbers = generator.standard_normal((rows, 2))
    categories = np.array(["blue", "red"], dtype=object)[generator.integers(2, size=rows)]
    found = pd.DataFrame({"a": numbers[:, 0], "b": numbers[:, 1], "c": categories})
    return found, (numbers.sum(axis=1) + (categories == "red") > 0).astype(int)


def estimators():
    rows, codes = frame()
    text = OneHotEncoder(handle_unknown="ignore")
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["a", "b"]), (text, ["c"])
    )
    yield make_pipeline(columns, LogisticRegression()).fit(rows, codes), SCHEMA
    for final in (
        RandomForestClassifier(2, max_depth=3),
        HistGradientBoostingClassifier(max_iter=2),
        KNeighborsClassifier(),
    ):
        yield make_pipeline(SimpleImputer(), final).fit(rows[["a", "b"]], codes), NUMBERS


def originals():
    """(files by name, schema) of sound models of every form."""
    found = []
    for estimator, schema in estimators():
        found.append(({SKOPS: dump_skops(estimator)}, schema))
        found.append(({IMPORTED_SKOPS: dump_skops(estimator)}, schema))
        graph, problem = export.to_onnx(estimator, schema)
        assert graph, problem
        found.append(({IMPORTED_ONNX: graph}, schema))
    return found + networks()


def networks():
    try:
        from torch import nn

        from casemate.ml.learn import layers
        from casemate.ml.learn.network import NetworkClassifier
        from casemate.ml.networks import dump_network
    except ImportError:
        return []
    rows, codes = frame()
    described = layers.describe(nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2)))
    network = NetworkClassifier(
        layers=[list(layer) for layer in described],
        numbers={"a": (-3.0, 3.0), "b": (-3.0, 3.0)},
        epochs=1,
    )
    description, weights = dump_network(network.fit(rows[["a", "b"]], codes))
    return [({NETWORK: description, WEIGHTS: weights}, NUMBERS)] * 4


def mutant(files, chance):
    """The files with some damage to one of them."""
    try:
        return damaged(files, chance)
    except RecursionError:  # deeper than JSON can be written
        return {name: flipped(content, chance) for name, content in files.items()}


def damaged(files, chance):
    name = chance.choice(sorted(files))
    content = files[name]
    if chance.random() < 0.3:
        return files | {name: flipped(content, chance)}
    if name in (SKOPS, IMPORTED_SKOPS):
        return files | {name: archive(content, chance)}
    if name in (ONNX, IMPORTED_ONNX):
        return files | {name: graph(content, chance)}
    if name == NETWORK:
        return files | {name: json.dumps(changed(json.loads(content), chance)).encode()}
    size = int.from_bytes(content[:8], "little")
    header = json.dumps(changed(json.loads(content[8 : 8 + size]), chance)).encode()
    return files | {name: len(header).to_bytes(8, "little") + header + content[8 + size :]}


def flipped(content, chance):
    changed_bytes = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 8])):
        at = chance.randrange(len(changed_bytes))
        how = chance.random()
        if how < 0.6:
            changed_bytes[at] ^= 1 << chance.randrange(8)
        elif how < 0.8:
            changed_bytes[at : at + chance.randrange(1, 20)] = b""
        else:
            changed_bytes[at:at] = bytes(
                chance.randrange(256) for _ in range(chance.randrange(1, 20))
            )
        if not changed_bytes:
            return b""
    return bytes(changed_bytes)


def archive(content, chance):
    """A sound zip with one member or the listing changed."""
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        members = {name: source.read(name) for name in source.namelist()}
    name = "schema.json" if chance.random() < 0.6 else chance.choice(sorted(members))
    if name == "schema.json":
        listing = json.loads(members[name])
        for _ in range(chance.choice([1, 1, 2])):
            listing = changed(listing, chance)
        members[name] = json.dumps(listing).encode()
    elif members[name][:6] == b"\x93NUMPY" and chance.random() < 0.4:
        members[name] = members[name].replace(
            b"'shape': (", b"'shape': (" + str(10 ** chance.randrange(1, 12)).encode() + b", ", 1
        )
    else:
        members[name] = flipped(members[name], chance)
    if chance.random() < 0.1:
        del members[chance.choice(sorted(members))]
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as made:
        for name, member in members.items():
            made.writestr(name, member)
    return target.getvalue()


def changed(tree, chance):
    """JSON with one place changed."""
    places = []

    def walk(node):
        items = (
            node.items()
            if isinstance(node, dict)
            else enumerate(node)
            if isinstance(node, list)
            else ()
        )
        for key, value in items:
            places.append((node, key))
            walk(value)

    walk(tree)
    if not places:
        return tree
    node, key = chance.choice(places)
    how = chance.random()
    if how < 0.15:
        del node[key]
    elif how < 0.3:
        node[key] = json.loads(json.dumps(chance.choice(places)[0]))
    elif how < 0.4 and isinstance(node[key], int | float):
        node[key] = node[key] * chance.choice([-1, 2, 1000, 10**9])
    elif how < 0.5:
        value = "x"
        for _ in range(chance.choice([3, 150, 900])):
            value = [value]
        node[key] = value
    elif how < 0.7:
        node[key] = chance.choice(KINDS)
    else:
        node[key] = chance.choice(ODD)
    return tree


def graph(content, chance):
    """A sound protobuf with something in the graph changed."""
    model = onnx.load_model_from_string(content)
    for _ in range(chance.choice([1, 1, 3])):
        node = chance.choice(model.graph.node)
        how = chance.randrange(9)
        if how == 0:
            node.op_type = chance.choice(
                [
                    "Loop",
                    "If",
                    "Add",
                    "Reshape",
                    "Expand",
                    "Tile",
                    "RandomNormal",
                    "Gather",
                    "Scan",
                    "Conv",
                    "ZipMap",
                ]
            )
        elif how == 1 and node.input:
            node.input[chance.randrange(len(node.input))] = chance.choice(
                [*node.output, "x", "nothing", ""]
            )
        elif how == 2 and node.attribute:
            attribute = chance.choice(node.attribute)
            if attribute.ints:
                attribute.ints[chance.randrange(len(attribute.ints))] = chance.choice(
                    [-1, 0, 7, 2**31, 2**62]
                )
            elif attribute.floats:
                del attribute.floats[: chance.randrange(len(attribute.floats) + 1)]
            else:
                attribute.i = chance.choice([-5, 99, 2**40])
        elif how == 3 and model.graph.initializer:
            tensor = chance.choice(model.graph.initializer)
            tensor.dims.append(chance.choice([0, 2, -1, 2**40]))
        elif how == 4:
            node.domain = chance.choice(["", "ai.onnx.ml", "com.microsoft", "evil"])
        elif how == 5:
            model.opset_import[0].version = chance.choice([1, 5, 13, 24, 99])
        elif how == 6:
            entry = model.metadata_props.add()
            entry.key, entry.value = "rows", "1,2,3" * 100
        elif how == 7:
            model.graph.node.extend([node] * chance.choice([1, 500]))
        else:
            port = chance.choice([*model.graph.input, *model.graph.output])
            port.type.tensor_type.elem_type = chance.choice([0, 1, 7, 8, 11, 99])
    return model.SerializeToString()


def mutants(seed, count):
    """(files, schema) of `count` damaged models; the same for the same seed."""
    known = originals()
    chance = random.Random(seed)
    for _ in range(count):
        files, schema = chance.choice(known)
        yield mutant(files, chance), schema


def main(seed, count):
    """Read damaged files one after the other, and say of each what became of it."""
    resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
    for files, schema in mutants(seed, count):
        try:
            converted(files, schema, [], 60.0)
            word = "read"
        except VerificationError:
            word = "refused"
        except BaseException as error:
            word = type(error).__name__
            if os.environ.get("SHOW"):
                traceback.print_exc()
        print(word, flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    # its greatest memory, told from here: whoever starts a program by exec hands its own greatest
    # on to it
    reader = os.fork()
    if reader == 0:
        main(*map(int, sys.argv[1:]))
        sys.stdout.flush()
        os._exit(0)
    _, how, usage = os.wait4(reader, 0)
    print(how, usage.ru_maxrss * 1024)
