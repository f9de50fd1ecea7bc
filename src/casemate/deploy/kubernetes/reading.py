"""Reading manifests that somebody may have edited: bounded, without aliases and doubled keys."""

from collections.abc import Iterator
from typing import Any

import yaml

MOST = 2 * 1024 * 1024
"""Bytes of a file; a ConfigMap has at most 1 MiB."""


class Unreadable(ValueError):
    """It is no manifest."""


class _Loader(yaml.SafeLoader):
    """Refuses what makes a document mean more than one sees."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise Unreadable("it has an alias, which could be anything; write it out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        names = [key.value for key, _ in node.value]
        doubled = sorted({str(name) for name in names if names.count(name) > 1})
        if doubled:
            raise Unreadable(f"{doubled[0]} stands there twice, and only one of them counts")
        return super().construct_mapping(node, deep)


def documents(content: bytes) -> list[dict[str, Any]]:
    """Every document of a file.

    Raises:
        Unreadable: it is no YAML, has aliases or doubled keys, or a document is no mapping.
    """
    if len(content) > MOST:
        raise Unreadable("it is larger than any manifest")
    try:
        found = list(yaml.load_all(content, Loader=_Loader))
    except Unreadable:
        raise
    except (yaml.YAMLError, RecursionError, ValueError, TypeError):
        raise Unreadable("it is no YAML that Kubernetes could read") from None
    found = [one for one in found if one is not None]
    if not found or not all(isinstance(one, dict) for one in found):
        raise Unreadable("it holds something else than manifests")
    return found


def table(value: Any) -> dict[str, Any]:
    """A mapping; anything else is an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[dict[str, Any]]:
    """The mappings of a list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def text(value: Any) -> str:
    """A text; anything else is none."""
    return value if isinstance(value, str) else ""


POD_PATHS = {
    "Pod": (),
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
"""Where in a kind its pods are said."""


def pods(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The pod, or the template of pods, of a manifest."""
    kind = text(document.get("kind"))
    path = POD_PATHS.get(kind)
    if kind == "InferenceService":
        predictor = table(table(document.get("spec")).get("predictor"))
        yield {"metadata": predictor, "spec": predictor}
    elif kind in ("ServingRuntime", "ClusterServingRuntime"):
        # what a runtime cannot say of its pods, the InferenceService says
        spec = table(document.get("spec"))
        yield {"metadata": spec, "spec": {**spec, "automountServiceAccountToken": False}}
    elif path is not None:
        for name in path:
            document = table(document.get(name))
        yield document
