"""ONNX graphs that hold what is computed and nothing else.

`canonical` checks a graph against a list of known operators and builds it anew: names of inner
values are numbers, initialisers that nothing uses are gone, and so are metadata, documentation,
functions, producers and everything else that is not computed.
Source: the ONNX intermediate representation, https://onnx.ai/onnx/repo-docs/IR.html.
"""

from collections.abc import Iterator
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from casemate.core.errors import VerificationError

IR = 10
"""Newest version of the intermediate representation that a graph is written with: of ONNX 1.16,
which brought the trees' operator (ai.onnx.ml 5).
"""
MAX_BYTES = 1 << 30
"""Of a graph, which is held in memory several times while it is checked; protobuf itself ends at 2
GiB.
"""
MOST_NODES = 100_000
"""Operators of a graph. A judgement: thousands are many, a forest is one."""
MOST_NESTING = 2
"""Graphs within graphs (`If`, `Loop`). A judgement; each level is walked for what it hides."""
MAX_NAME = 300
"""Characters of an input's or output's name. A judgement; names stand in errors."""
OPSETS = {"": (9, 24), "ai.onnx.ml": (1, 5), "com.microsoft": (1, 1)}
"""Oldest and newest version of each set of operators that may be named."""
_GENERAL = """
Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast Ceil Celu Clip Compress Concat
Constant ConstantOfShape Conv Cos CumSum Div Dropout Elu Equal Erf Exp Expand Flatten Floor Gather
GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual
GroupNormalization HardSigmoid HardSwish Hardmax Identity InstanceNormalization IsInf IsNaN
LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization MatMul Max MaxPool Mean
Min Mish Mod Mul Neg NonZero Not OneHot Or PRelu Pad Pow Reciprocal ReduceL1 ReduceL2 ReduceLogSum
ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape
Round Scan Selu Shape Sigmoid Sign Sin Slice Softmax Softplus Softsign Split Sqrt Squeeze Sub Sum
Tan Tanh ThresholdedRelu Tile TopK Transpose Unsqueeze Where Xor
"""
_LEARNT = """
ArrayFeatureExtractor Binarizer CategoryMapper FeatureVectorizer Imputer LabelEncoder
LinearClassifier LinearRegressor Normalizer OneHotEncoder SVMClassifier SVMRegressor Scaler
TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor
"""
OPERATORS = {
    "": frozenset(_GENERAL.split()),
    "ai.onnx.ml": frozenset(_LEARNT.split()),
    "com.microsoft": frozenset({"CDist"}),
}
"""What a model of a table needs. No chance (`Random*`, `Bernoulli`), no `If` and no `Loop`, which
need not end; `Scan` ends with its rows.
"""
MAPPING = "ZipMap"
_KINDS = {
    AttributeProto.FLOAT,
    AttributeProto.INT,
    AttributeProto.STRING,
    AttributeProto.TENSOR,
    AttributeProto.GRAPH,
    AttributeProto.FLOATS,
    AttributeProto.INTS,
    AttributeProto.STRINGS,
}
_HINT = (
    "export it from scikit-learn with skl2onnx, or from torch with torch.onnx.export, without"
    " functions of its own"
)


def canonical(content: bytes) -> bytes:
    """The same computation as bytes that hold nothing else; VerificationError when it is malformed
    or does what is not on the list.
    """
    return bytes(rebuilt(read(content)).SerializeToString(deterministic=True))


def read(content: bytes) -> Any:
    """The `ModelProto` in `content`; VerificationError when there is none, or it is too large."""
    if len(content) > MAX_BYTES:
        raise VerificationError(
            f"the ONNX graph is larger than {MAX_BYTES} bytes", hint="use a smaller model"
        )
    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, ValueError) as error:
        raise VerificationError("the file is no ONNX graph") from error
    if not model.graph.node:
        raise VerificationError("the ONNX graph is empty")
    return model


def rebuilt(model: Any) -> Any:
    """A new `ModelProto` with what `model` computes; VerificationError as for `canonical`."""
    versions = _versions(model)
    for number, (node, nesting) in enumerate(nodes(model.graph)):
        if number >= MOST_NODES or nesting > MOST_NESTING:
            raise VerificationError(
                f"the ONNX graph has more than {MOST_NODES} operators, or nests them",
                hint="use a smaller model",
            )
        _check(node, versions)
    try:
        graph = _Names(model.graph).graph(model.graph)
        used = {node.domain for node, _ in nodes(graph)} | {""}
        sets = [
            helper.make_opsetid(domain, versions[domain])
            for domain in OPSETS
            if domain in used and domain in versions
        ]
        made = helper.make_model(
            graph,
            opset_imports=sets,
            ir_version=min(max(model.ir_version, 4), IR),
            producer_name="",
        )
        onnx.checker.check_model(made)
    except onnx.checker.ValidationError as error:
        raise VerificationError(
            f"the ONNX graph is invalid: {str(error).splitlines()[0][:200]}", hint=_HINT
        ) from error
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        RuntimeError,
        ArithmeticError,
    ) as error:
        raise VerificationError(
            f"the ONNX graph is malformed: {type(error).__name__}: {str(error)[:150]}"
        ) from error
    return made


def nodes(graph: Any, nesting: int = 0) -> Iterator[tuple[Any, int]]:
    """Every operator with how deep it is nested."""
    for node in graph.node:
        yield node, nesting
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH and nesting <= MOST_NESTING:
                yield from nodes(attribute.g, nesting + 1)


def without_mapping(model: Any) -> list[list[Any]]:
    """Take off the operators that turn probabilities into dictionaries, in place; the lists of
    classes that they name.
    """
    named: list[list[Any]] = []
    kept = []
    for node in model.graph.node:
        if node.op_type != MAPPING:
            kept.append(node)
            continue
        named += [
            list(item.ints or item.strings)
            for item in node.attribute
            if item.name.startswith("classlabels")
        ]
        for port in model.graph.output:
            if port.name == node.output[0]:
                port.CopyFrom(
                    helper.make_tensor_value_info(node.input[0], TensorProto.FLOAT, [None, None])
                )
    copies = [
        helper.make_node(node.op_type, node.input, node.output, domain=node.domain) for node in kept
    ]
    for copy, node in zip(copies, kept, strict=True):
        copy.attribute.extend(node.attribute)
    del model.graph.node[:]
    model.graph.node.extend(copies)
    return named


def _versions(model: Any) -> dict[str, int]:
    if model.functions:
        raise VerificationError(
            f"the ONNX graph has functions of its own in {model.functions[0].domain[:60]!r}",
            hint=_HINT,
        )
    found: dict[str, int] = {}
    for entry in model.opset_import:
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        if domain not in OPSETS:
            raise VerificationError(
                f"the ONNX graph needs operators of {domain[:60]!r}, which is foreign code",
                hint=_HINT,
            )
        least, most = OPSETS[domain]
        if not least <= entry.version <= most or found.get(domain, entry.version) != entry.version:
            raise VerificationError(
                f"the ONNX graph needs version {entry.version} of the operators"
                f" {domain or 'ai.onnx'}",
                hint=f"export it for versions {least} to {most}",
            )
        found[domain] = entry.version
    return found


def _check(node: Any, versions: dict[str, int]) -> None:
    domain = "" if node.domain == "ai.onnx" else node.domain
    if node.op_type not in OPERATORS.get(domain, ()) or domain not in versions:
        text = (
            f"the ONNX graph uses the operator {node.op_type[:60]!r} of"
            f" {domain[:60] or 'ai.onnx'!r}, which is not on the list"
        )
        raise VerificationError(text, hint=_HINT)
    for attribute in node.attribute:
        if attribute.type not in _KINDS or attribute.ref_attr_name:
            raise VerificationError(
                f"the operator {node.op_type} has an attribute of an unusual kind", hint=_HINT
            )
        if (attribute.type == AttributeProto.GRAPH) != (
            node.op_type == "Scan" and attribute.name == "body"
        ):
            raise VerificationError(f"the operator {node.op_type} holds a graph", hint=_HINT)
    if domain == "com.microsoft" and {attribute.name for attribute in node.attribute} - {"metric"}:
        raise VerificationError(f"the operator {node.op_type} has an unknown attribute", hint=_HINT)


class _Names:
    """Builds graphs anew, with numbers in place of the names of inner values."""

    def __init__(self, graph: Any) -> None:
        self._new: dict[str, str] = {}
        for port in [*graph.input, *graph.output]:
            if len(port.name) > MAX_NAME:
                raise VerificationError(
                    "the ONNX graph has an input or output with a name that is too long"
                )
            self._new[port.name] = port.name
        self._kept = set(self._new)

    def __call__(self, name: str) -> str:
        if not name:
            return ""
        if name not in self._new:
            number = len(self._new)
            while f"v{number}" in self._kept:
                number += 1
            self._kept.add(f"v{number}")
            self._new[name] = f"v{number}"
        return self._new[name]

    def graph(self, graph: Any, name: str = "casemate") -> Any:
        """`graph` without what no output needs."""
        needed, order = _needed(graph)
        weights = {item.name: item for item in graph.initializer}
        if graph.sparse_initializer:
            raise VerificationError("the ONNX graph has sparse weights", hint=_HINT)
        # old files name weights among the inputs
        inputs = [port for port in graph.input if port.name not in weights]
        made = helper.make_graph(
            [self._node(node) for node in order],
            name,
            [self._port(port) for port in inputs],
            [self._port(port) for port in graph.output],
            [
                self._tensor(item, self(item.name))
                for item in weights.values()
                if item.name in needed
            ],
        )
        del made.value_info[:]
        return made

    def _node(self, node: Any) -> Any:
        made = helper.make_node(
            node.op_type, [self(name) for name in node.input], [self(name) for name in node.output]
        )
        made.domain = "" if node.domain == "ai.onnx" else node.domain
        for attribute in sorted(node.attribute, key=lambda item: item.name):
            copied = made.attribute.add()
            copied.name, copied.type = attribute.name, attribute.type
            if attribute.type == AttributeProto.TENSOR:
                copied.t.CopyFrom(self._tensor(attribute.t, ""))
            elif attribute.type == AttributeProto.GRAPH:
                copied.g.CopyFrom(self.graph(attribute.g, name="body"))
            else:
                field = {1: "f", 2: "i", 3: "s", 6: "floats", 7: "ints", 8: "strings"}[
                    attribute.type
                ]
                value = getattr(attribute, field)
                if field in ("f", "i", "s"):
                    setattr(copied, field, value)
                else:
                    getattr(copied, field).extend(value)
        return made

    def _port(self, port: Any) -> Any:
        if not port.type.HasField("tensor_type"):
            raise VerificationError(
                f"the ONNX graph takes or gives something that is no tensor: {port.name[:60]!r}",
                hint=_HINT,
            )
        kind = port.type.tensor_type
        if not kind.HasField("shape"):
            return helper.make_tensor_value_info(self(port.name), kind.elem_type, None)
        return helper.make_tensor_value_info(
            self(port.name),
            kind.elem_type,
            [part.dim_value if part.HasField("dim_value") else None for part in kind.shape.dim],
        )

    @staticmethod
    def _tensor(tensor: Any, name: str) -> Any:
        """The same numbers and nothing beside them; what lies in other files is refused."""
        if (
            tensor.data_location == TensorProto.EXTERNAL
            or tensor.external_data
            or tensor.HasField("segment")
        ):
            raise VerificationError(
                "the ONNX graph has tensors that lie in other files", hint="export it as one file"
            )
        if tensor.data_type == TensorProto.STRING:
            return helper.make_tensor(
                name, TensorProto.STRING, list(tensor.dims), list(tensor.string_data)
            )
        return numpy_helper.from_array(numpy_helper.to_array(tensor), name)


def _needed(graph: Any) -> tuple[set[str], list[Any]]:
    """(names that an output depends on, the operators that make them in their order); names inside
    inner graphs count too.
    """
    needed = {port.name for port in graph.output}
    order = []
    for node in reversed(graph.node):
        if not needed.intersection(name for name in node.output if name):
            continue
        order.append(node)
        needed.update(node.input)
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                needed |= {name for inner, _ in nodes(attribute.g) for name in inner.input} | {
                    port.name for port in attribute.g.output
                }
    return needed, order[::-1]
