"""Reading manifests that somebody may have edited: bounded, without aliases and doubled keys."""

from collections.abc import Iterator
from typing import Any

from casemate.deploy.documents import Unreadable, documents


def manifests(content: bytes) -> list[dict[str, Any]]:
    """Every manifest of a file.

    Raises:
        Unreadable: see `documents`; or a document is no mapping, or there is none.
    """
    found = documents(content)
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
