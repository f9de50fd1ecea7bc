"""What is unsafe in a manifest, as somebody has edited it."""

from collections.abc import Iterator
from typing import Any

from casemate.deploy.documents import Unreadable
from casemate.deploy.gateway.words import MODEL
from casemate.deploy.kubernetes import fields, restricted
from casemate.deploy.kubernetes.reading import items, manifests, pods, table, text
from casemate.deploy.kubernetes.words import GATEWAY, PART

NEEDED = ("--key", "--into")


def found(name: str, content: bytes) -> list[str]:
    """Why a file must not be applied to any cluster.

    Args:
        name: its path in the folder.
        content: as it lies there.
    """
    if not name.endswith((".yaml", ".yml")):
        return []
    try:
        documents = manifests(content)
    except Unreadable as error:
        return [str(error)]
    return [
        f"{text(one.get('kind'))} {text(table(one.get('metadata')).get('name'))}: {fault}"
        for one in documents
        for fault in _faults(one)
    ]


def unfit(name: str, content: bytes, version: str) -> list[str]:
    """What a cluster of the project's version would not take."""
    if not name.endswith((".yaml", ".yml")):
        return []
    try:
        documents = manifests(content)
    except Unreadable:
        return []  # which `found` says
    return [
        f"{text(one.get('kind'))} {text(table(one.get('metadata')).get('name'))}: {fault}"
        for one in documents
        for fault in fields.by_schema(one, version)
    ]


def _faults(document: dict[str, Any]) -> Iterator[str]:
    yield from fields.faults(document)
    yield from _values(document)
    for pod in pods(document):
        yield from restricted.faults(pod)
        yield from _unverified(pod)


def _values(document: dict[str, Any]) -> Iterator[str]:
    """Secrets where references belong."""
    kind = text(document.get("kind"))
    if kind == "Secret" and (document.get("data") or document.get("stringData")):
        yield "its values stand in a file; let External Secrets or kubectl make it"
    if kind == "Kustomization" and document.get("secretGenerator"):
        yield "secretGenerator: its values stand in files; let External Secrets or kubectl make it"


def _unverified(pod: dict[str, Any]) -> Iterator[str]:
    """Containers that have the model, and could start it unverified."""
    spec = table(pod.get("spec"))
    images = {text(one.get("name")) for one in items(spec.get("volumes")) if "image" in one}
    serves = table(table(pod.get("metadata")).get("labels")).get(PART) == GATEWAY
    for container in items(spec.get("containers")):
        mounts = items(container.get("volumeMounts"))
        has_model = any(
            one.get("mountPath") == MODEL or text(one.get("name")) in images for one in mounts
        )
        if (serves or has_model) and not verifies(container):
            yield (
                f"containers {text(container.get('name'))}: begins without `casemate verify"
                " --require approved --into … --then`"
            )


def verifies(container: dict[str, Any]) -> bool:
    """Whether a container becomes something else only behind a verification."""
    words = container.get("command")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return False
    verifying = words[: words.index("--then")] if "--then" in words else []
    required = [
        verifying[at + 1 : at + 2] for at, word in enumerate(verifying) if word == "--require"
    ]
    return (
        verifying[1:4] == ["-m", "casemate", "verify"]
        and ["approved"] in required
        and all(word in verifying for word in NEEDED)
    )
