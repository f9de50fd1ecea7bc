"""A skops file as a file: what it lists, and the same bytes for equal estimators. Nothing here
constructs what is in it.
"""

import io
import json
import re
import zipfile
from typing import Any

import numpy as np
from numpy.lib import format as npy

from casemate.core import archive


def canonical(content: bytes) -> bytes:
    """A skops file with ids renumbered, no times, compressed, without what its listing does not
    name and what lies between the fields of records; nothing is constructed.
    """
    renumbered: dict[str, str] = {}
    listed = {"schema.json"}

    def number(value: Any) -> str:
        return renumbered.setdefault(str(value), str(len(renumbered) + 1))

    def walk(node: Any) -> Any:
        if isinstance(node, list):
            return [walk(item) for item in node]
        if not isinstance(node, dict):
            return node
        changed = {name: walk(value) for name, value in node.items()}
        if isinstance(node.get("__id__"), int):
            changed["__id__"] = int(number(node["__id__"]))
        if isinstance(node.get("file"), str) and "__loader__" in node:
            listed.add(node["file"])
            stem, dot, ending = node["file"].partition(".")
            changed["file"] = number(stem) + dot + ending
        return changed

    source = zipfile.ZipFile(io.BytesIO(content))
    schema = walk(json.loads(source.read("schema.json")))
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in source.namelist():
            stem, dot, ending = name.partition(".")
            if name not in listed:
                continue
            if name == "schema.json":
                archive.writestr(
                    zipfile.ZipInfo("schema.json"), json.dumps(schema), zipfile.ZIP_DEFLATED
                )
            else:
                archive.writestr(
                    zipfile.ZipInfo(number(stem) + dot + ending),
                    _without_gaps(source.read(name)),
                    zipfile.ZIP_DEFLATED,
                )
    return target.getvalue()


def _without_gaps(content: bytes) -> bytes:
    """An array of records, such as the nodes of a tree, with zeros between its fields, where
    whatever the memory held before would be written; everything else as it is.
    """
    stream = io.BytesIO(content)
    if not content.startswith(npy.MAGIC_PREFIX) or npy.read_magic(stream) != (1, 0):
        return content
    _, _, kind = npy.read_array_header_1_0(stream)
    if kind.names is None or kind.hasobject:
        return content
    stream.seek(0)
    table = npy.read_array(stream, allow_pickle=False)
    made = np.zeros(table.shape, dtype=kind)
    for name in kind.names:
        made[name] = table[name]
    target = io.BytesIO()
    npy.write_array(target, made, version=(1, 0), allow_pickle=False)
    return target.getvalue()


def classes_in(content: bytes) -> set[str]:
    """Names of the classes that a skops file lists, without modules; nothing is constructed."""
    archive.check(content)
    listing = zipfile.ZipFile(io.BytesIO(content)).read("schema.json")
    return set(re.findall(r'"__class__": *"(\w+)"', listing.decode()))
