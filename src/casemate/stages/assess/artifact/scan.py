"""What a model file is (by its content, never by its name), what it would execute, and whether that
is allowed.

A part that cannot be read completely refuses the whole file. The answer to an unknown format is no.
"""

import gzip
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any

from casemate.core.archive import MAX_UNPACKED
from casemate.core.errors import VerificationError
from casemate.core.types import Record
from casemate.ml import graph as graphs
from casemate.ml.models import untrusted_types
from casemate.stages.assess.artifact.allowed import allowed_globals
from casemate.stages.assess.artifact.pickled import Unreadable, all_names

MAX_HEADER = 100 * 2**20
"""Bytes of a safetensors header, about what the format's own reader takes (100 MB)."""
MOST_ENTRIES = 100_000
"""Files of an archive. Chosen: far more than an honest model has."""
KERAS_UNSAFE = ("Lambda", "TFOpLambda", "SlicingOpLambda", "PyFunc")


class Scan(Record, frozen=True, kw_only=True):
    """What a scan says."""

    format: str
    """`pickle`, `joblib`, `torch`, `keras`, `hdf5`, `onnx`, `safetensors`, `skops` or `unknown`."""
    names: list[str]
    """What the file would import, where it is a pickle of any kind."""
    problems: list[str]
    """Why it is refused; empty when it is not."""
    convertible: bool
    """Whether `casemate model import` can make a safe model file of it."""
    harmful: bool = False
    """Whether it is refused for what it would do or hides, and not because no model can be made of
    it here.
    """
    estimator: str = ""
    """The repr of what was converted, cut at 500 characters."""


def scan(content: bytes, trusted: Sequence[str] = ()) -> Scan:
    """Look at a file's bytes; `trusted`: names of code that was allowed with it."""
    try:
        return _scan(content, trusted)
    except (
        Unreadable,
        VerificationError,
        zipfile.BadZipFile,
        OSError,
        EOFError,
        struct.error,
        ValueError,
        RecursionError,
        zlib.error,
    ) as error:
        return Scan(
            format="unknown",
            names=[],
            problems=[f"it cannot be read completely: {error}"[:300]],
            convertible=False,
            harmful=True,
        )


def _scan(content: bytes, trusted: Sequence[str]) -> Scan:
    if not content:
        return _refused("unknown", ["the file is empty"])
    if content[:2] == b"\x1f\x8b" or content[:1] == b"\x78":
        return _pickle("joblib", _unpacked(content))
    if content[:4] == b"PK\x03\x04":
        return _zip(content, trusted)
    if content[:8] == b"\x89HDF\r\n\x1a\n":
        return _hdf5(content)
    if content[:1] == b"\x80" and content[1:2] <= b"\x05":
        return _pickle("pickle", content)
    if _is_safetensors(content):
        return _safetensors(content)
    return _onnx(content)


def _refused(
    kind: str, problems: list[str], names: list[str] | None = None, *, wanting: str = ""
) -> Scan:
    """Refused for its problems, or, where it has none, for what is `wanting`."""
    return Scan(
        format=kind,
        names=names or [],
        problems=problems or [wanting],
        convertible=False,
        harmful=bool(problems),
    )


def _unpacked(content: bytes) -> bytes:
    if content[:2] == b"\x1f\x8b":
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            found = file.read(MAX_UNPACKED + 1)
    else:
        worker = zlib.decompressobj()
        found = worker.decompress(content, MAX_UNPACKED + 1)
        if not worker.eof or worker.unused_data:
            raise Unreadable("the compressed data does not end where the file does")
    if len(found) > MAX_UNPACKED:
        raise Unreadable("it unpacks to more than it may")
    return found


def _pickle(kind: str, content: bytes) -> Scan:
    names = sorted(all_names(content))
    if "joblib.numpy_pickle.NumpyArrayWrapper" in names:
        kind = "joblib"
    foreign = [name for name in names if name not in allowed_globals()]
    if foreign:
        return _refused(
            kind,
            [f"it would import {name}, which is not on the list" for name in foreign[:10]],
            names,
        )
    return Scan(format=kind, names=names, problems=[], convertible=True)


def _zip(content: bytes, trusted: Sequence[str]) -> Scan:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        if len(entries) > MOST_ENTRIES or sum(entry.file_size for entry in entries) > MAX_UNPACKED:
            raise Unreadable("it unpacks to more than it may")
        names = [entry.filename for entry in entries]
        if len(set(names)) != len(names):
            raise Unreadable("two entries have the same name")
        if any(entry.flag_bits & 1 for entry in entries):
            raise Unreadable("it is encrypted")
        if "schema.json" in names:
            unknown = untrusted_types(content, trusted)
            problems = [
                f"it holds the type {name}, which is not on the list" for name in unknown[:10]
            ]
            return Scan(
                format="skops",
                names=[],
                problems=problems,
                convertible=not problems,
                harmful=bool(problems),
            )
        if "config.json" in names:
            return _keras(archive)
        return _torch(archive, names)


def _keras(archive: zipfile.ZipFile) -> Scan:
    text = archive.read("config.json").decode()
    found = [word for word in KERAS_UNSAFE if f'"{word}"' in text]
    modules = {str(value) for value in _values(json.loads(text), "module") if value is not None}
    foreign = sorted(
        module
        for module in modules
        if module.split(".")[0] not in ("keras", "builtins") or module == "builtins"
    )
    problems = [f"it has a {word} layer, which holds code" for word in found] + [
        f"it names the module {module}" for module in foreign[:10]
    ]
    wanting = "Keras models are looked at, not converted: export it to ONNX"
    return _refused("keras", problems, wanting=wanting)


def _values(node: Any, key: str) -> list[Any]:
    if isinstance(node, dict):
        own = [node[key]] if key in node else []
        return own + [value for part in node.values() for value in _values(part, key)]
    return (
        [value for part in node for value in _values(part, key)] if isinstance(node, list) else []
    )


def _torch(archive: zipfile.ZipFile, names: list[str]) -> Scan:
    pickles = [name for name in names if name.endswith(".pkl")]
    if not pickles:
        return _refused("unknown", ["it is an archive of an unknown kind"])
    found: set[str] = set()
    for name in pickles:
        found |= all_names(archive.read(name))
    fine = (
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter",
        "collections.OrderedDict",
    )
    foreign = [
        name
        for name in sorted(found)
        if name not in fine and not (name.startswith("torch.") and name.endswith("Storage"))
    ]
    problems = [f"it would import {name}, which is not on the list" for name in foreign[:10]]
    if any("/code/" in name for name in names):
        problems.append("it is TorchScript, which holds code")
    wanting = (
        "weights without layers: save the layers as a torch.nn.Sequential in train.py, or export to"
        " ONNX"
    )
    return _refused("torch", problems, sorted(found), wanting=wanting)


def _hdf5(content: bytes) -> Scan:
    if b"Lambda" in content or b"\x80\x04\x95" in content:
        return _refused("hdf5", ["it holds a Lambda layer or pickled code"])
    return _refused("hdf5", [], wanting="HDF5 models are not converted: export it to ONNX")


def _is_safetensors(content: bytes) -> bool:
    if len(content) < 10:
        return False
    size = struct.unpack("<Q", content[:8])[0]
    return size <= min(MAX_HEADER, len(content) - 8) and content[8:9] == b"{"


def _safetensors(content: bytes) -> Scan:
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    if max(ends, default=0) != len(content) - 8 - size:
        raise Unreadable("the tensors do not end where the file does")
    wanting = (
        "weights without layers: a model needs both; return a torch.nn.Sequential from train.py"
    )
    return _refused("safetensors", [], wanting=wanting)


def _onnx(content: bytes) -> Scan:
    try:
        model = graphs.read(content)
    except VerificationError as error:
        raise Unreadable("it has no format that is known") from error
    problems = []
    try:
        graphs.without_mapping(model)
        graphs.rebuilt(model)
    except VerificationError as error:
        problems.append(error.message)
    return Scan(
        format="onnx",
        names=[],
        problems=problems,
        convertible=not problems,
        harmful=bool(problems),
    )
