"""What of an object is said by whom, and what differs from what was said.

Fields that nobody manages are the server's defaults. `managedFields` names the others, as paths
(https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management).
"""

import json
from collections.abc import Iterator
from typing import Any

from casemate.deploy.cluster.documents import Document

Path = tuple[str, ...]
ABSENT = object()
KEYS = ("name", "containerPort", "port", "mountPath", "devicePath", "key", "ip", "type", "uid")
"""What items of a list are told apart by, where their list is a map (`x-kubernetes-list-map-keys`
of the OpenAPI schemas); the first that all of them have once.
"""
CONTROLLERS = (
    "kube-controller-manager",
    "kube-scheduler",
    "kube-apiserver",
    "kubelet",
    "cluster-autoscaler",
    "horizontal-pod-autoscaler",
    "cloud-controller-manager",
)
"""Who belongs to every cluster: what they write is no hand-made change."""
SIZE = ("cpu", "memory", "storage", "ephemeral-storage", "hugepages-2Mi", "hugepages-1Gi")


def differing(said: Any, there: Any, path: Path = ()) -> Iterator[tuple[Path, Any, Any]]:
    """Every field of `said` that is otherwise in the cluster: (path, said, there or `ABSENT`)."""
    if isinstance(said, dict):
        if not isinstance(there, dict):
            if said or there is not None:
                yield path, said, there
            return
        for name, value in said.items():
            found = there.get(name, ABSENT)
            if found is ABSENT and value in (None, [], {}, ""):
                continue  # the server leaves out what is empty
            yield from differing(value, found, (*path, name))
    elif isinstance(said, list):
        yield from _differing_items(said, there, path)
    elif not _same(said, there, path):
        yield path, said, there


def _differing_items(said: list[Any], there: Any, path: Path) -> Iterator[tuple[Path, Any, Any]]:
    by = _by(said)
    if not isinstance(there, list):
        yield path, said, there
    elif by is None or not all(isinstance(one, dict) for one in there):
        items = said if len(said) == len(there) else []
        if len(said) != len(there):
            yield path, said, there
        for at, item in enumerate(items):
            yield from differing(item, there[at], (*path, str(at)))
    else:
        found = {str(one.get(by)): one for one in there}
        for item in said:
            name = str(item[by])
            yield from differing(item, found.get(name, ABSENT), (*path, f"{by}={name}"))


def _by(items: list[Any]) -> str | None:
    if not items or not all(isinstance(item, dict) for item in items):
        return None
    for name in KEYS:
        values = [str(item[name]) for item in items if name in item]
        if len(values) == len(items) == len(set(values)):
            return name
    return None


def _same(said: Any, there: Any, path: Path) -> bool:
    if said == there and isinstance(said, bool) == isinstance(there, bool):
        return True
    if path and path[-1] in SIZE and there is not ABSENT:
        return _same_quantity(said, there)
    return False


def _same_quantity(said: Any, there: Any) -> bool:
    """Whether two sizes are the same, such as `1000m` and `1`."""
    from kubernetes.utils.quantity import parse_quantity

    try:
        return bool(parse_quantity(said) == parse_quantity(there))
    except (ValueError, TypeError):
        return False


def managers(document: Document) -> dict[str, set[Path]]:
    """Who manages which fields of an object, without its status."""
    found: dict[str, set[Path]] = {}
    metadata = document.get("metadata")
    entries = metadata.get("managedFields") if isinstance(metadata, dict) else None
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict) or entry.get("subresource") == "status":
            continue
        name = str(entry.get("manager", "somebody"))
        found.setdefault(name, set()).update(_leaves(entry.get("fieldsV1"), ()))
    return found


def _leaves(fields: Any, path: Path, level: int = 0) -> Iterator[Path]:
    inner = [
        (name, value)
        for name, value in (fields.items() if isinstance(fields, dict) else ())
        if name != "."
    ]
    if not inner or level > 60:
        if path:
            yield path
        return
    for name, value in inner:
        yield from _leaves(value, (*path, _step(name)), level + 1)


def _step(name: str) -> str:
    kind, _, rest = name.partition(":")
    if kind != "k":
        return rest
    try:
        keys = json.loads(rest)
    except ValueError:
        return rest
    pairs = keys if isinstance(keys, dict) else {}
    by = next((one for one in KEYS if one in pairs), None)
    return f"{by}={pairs[by]}" if by else rest


def added(said: Document, there: Document, mine: str) -> Iterator[tuple[Path, str]]:
    """Fields that others have added beside what was said: (path, who)."""
    for manager, paths in managers(there).items():
        if manager == mine or manager in CONTROLLERS:
            continue
        for path in sorted(paths):
            if path[:1] == ("status",) or path[:2] == ("metadata", "managedFields"):
                continue
            if not _is_said(said, path):
                yield path, manager


def _is_said(said: Any, path: Path) -> bool:
    """Whether the path, or what is above it as a whole, stands in what was said."""
    value = said
    for step in path:
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list):
            by, _, name = step.partition("=")
            item = next(
                (one for one in value if isinstance(one, dict) and str(one.get(by)) == name), None
            )
            if item is None:
                return not any(isinstance(one, dict) for one in value)
            value = item
        else:
            return False
    return True


def who(there: Document, path: Path, mine: str) -> str:
    """Who manages a field, as far as the cluster tells; empty: nobody."""
    found = [
        manager
        for manager, paths in managers(there).items()
        if any(one[: len(path)] == path or path[: len(one)] == one for one in paths)
    ]
    others = sorted(set(found) - {mine})
    return ", ".join(others or found)


def text(path: Path) -> str:
    """A path as people write it: `spec.containers[name=gateway].image`."""
    parts = ""
    for step in path:
        is_item = step.isdigit() or (step.partition("=")[0] in KEYS and "=" in step)
        if is_item or "." in step or "/" in step:
            parts += f"[{step}]"
        else:
            parts += f".{step}" if parts else step
    return parts
