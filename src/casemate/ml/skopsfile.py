"""A skops file as a file: what it lists, and the same bytes for equal estimators. Nothing here
constructs what is in it.
"""

import io
import json
import re
import zipfile
from typing import Any

from casemate.core import archive


def canonical(content: bytes) -> bytes:
    """A skops file with ids renumbered, no times, compressed, and without what its listing does not
    name; nothing is constructed.
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
                    source.read(name),
                    zipfile.ZIP_DEFLATED,
                )
    return target.getvalue()


def classes_in(content: bytes) -> set[str]:
    """Names of the classes that a skops file lists, without modules; nothing is constructed."""
    archive.check(content)
    listing = zipfile.ZipFile(io.BytesIO(content)).read("schema.json")
    return set(re.findall(r'"__class__": *"(\w+)"', listing.decode()))
