"""Manifests as they stand in files: read strictly, told apart, put in order."""

import json
from collections.abc import Iterator
from typing import Any

from casemate.core.digest import sha256
from casemate.core.errors import ConfigError
from casemate.core.types import Record
from casemate.deploy.documents import Unreadable, documents

Document = dict[str, Any]
MOST_DOCUMENTS = 500
DEEPEST = 60
"""Levels of a document."""
PROJECT = "casemate.dev/project"
REVISION = "casemate.dev/revision"
"""Labels that an applied object carries: whose it is, and which version of a workload."""
STAGES: tuple[tuple[str, ...], ...] = (
    ("Namespace", "CustomResourceDefinition"),
    (
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "ImageValidatingPolicy",
        "ValidatingPolicy",
        "ResourceQuota",
        "LimitRange",
        "PriorityClass",
    ),
    (
        "ServiceAccount",
        "ClusterRole",
        "Role",
        "ClusterRoleBinding",
        "RoleBinding",
        "SecretStore",
        "ExternalSecret",
        "ConfigMap",
        "PersistentVolumeClaim",
    ),
    ("NetworkPolicy", "Service", "Ingress", "Gateway", "HTTPRoute", "PodDisruptionBudget"),
)
"""Kinds in the order in which they are applied; what is not here is a workload, and comes last."""


class Key(Record, frozen=True, kw_only=True):
    """Which object of a cluster a document is about."""

    api: str
    """Such as `apps/v1`."""
    kind: str
    namespace: str = ""
    """Empty: the cluster's, or wherever the client is."""
    name: str

    def __str__(self) -> str:
        where = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind} {where}{self.name}"


def load(text: bytes, where: str) -> list[Document]:
    """The documents of a YAML or JSON file.

    Args:
        text: its content.
        where: what errors call it.

    Raises:
        ConfigError: it cannot be read, or not in one way only.
    """
    try:
        found = documents(text)
    except Unreadable as error:
        raise ConfigError(f"{where} cannot be read: {error}") from None
    for one in found:
        if not isinstance(one, dict):
            raise ConfigError(f"{where} holds something that is no object")
        _require_json(one, where)
    if len(found) > MOST_DOCUMENTS:
        raise ConfigError(f"{where} holds more than {MOST_DOCUMENTS} objects")
    return found


def _require_json(value: Any, where: str, level: int = 0) -> None:
    if level > DEEPEST:
        raise ConfigError(f"{where} is too deep")
    if isinstance(value, dict):
        for one in value.values():
            _require_json(one, where, level + 1)
    elif isinstance(value, list):
        for one in value:
            _require_json(one, where, level + 1)
    elif not (value is None or isinstance(value, str | bool | int)) and not (
        isinstance(value, float) and value - value == 0
    ):
        raise ConfigError(
            f"{where} holds {str(value)[:40]!r}, which is no value of JSON", hint="put it in quotes"
        )


def key_of(document: Document, where: str = "a manifest") -> Key:
    """Which object it is about; ConfigError: it does not say."""
    metadata = document.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    texts = {
        "api": document.get("apiVersion"),
        "kind": document.get("kind"),
        "name": metadata.get("name"),
        "namespace": metadata.get("namespace", ""),
    }
    for name, text in texts.items():
        if not isinstance(text, str) or (not text and name != "namespace"):
            raise ConfigError(
                f"{where} has an object without a {name}",
                hint="apiVersion, kind and metadata.name, each a text in quotes",
            )
    return Key(**texts)


def stage_of(document: Document) -> int:
    """Its place in the order: namespaces, policies, configuration, network, workloads."""
    kind = document.get("kind")
    return next((at for at, kinds in enumerate(STAGES) if kind in kinds), len(STAGES))


def in_order(documents: list[Document]) -> list[Document]:
    """Documents as they are to be applied."""
    places = {kind: at for kinds in STAGES for at, kind in enumerate(kinds)}
    return sorted(documents, key=lambda one: (stage_of(one), places.get(one["kind"], 0)))


def digest_of(value: Any) -> str:
    """SHA-256 of what documents say, however they are written."""
    return sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def pods_of(document: Document) -> Iterator[Document]:
    """The specifications of pods in a document."""
    spec = document.get("spec")
    places = (
        ("spec",) if document.get("kind") == "Pod" else (),
        ("spec", "template", "spec"),
        ("spec", "jobTemplate", "spec", "template", "spec"),
    )
    if not isinstance(spec, dict):
        return
    for place in places:
        value: Any = document if place else None
        for name in place:
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, dict):
            yield value


def images_of(documents: list[Document]) -> dict[str, str]:
    """Every image that pods of the documents are started from, by `KIND NAME/CONTAINER`."""
    found = {}
    for document in documents:
        key = key_of(document)
        for pod in pods_of(document):
            for kind in ("initContainers", "containers", "ephemeralContainers"):
                for container in pod.get(kind) or []:
                    if isinstance(container, dict) and isinstance(container.get("image"), str):
                        found[f"{key}/{container.get('name')}"] = container["image"]
            for volume in pod.get("volumes") or []:
                image = volume.get("image") if isinstance(volume, dict) else None
                if isinstance(image, dict) and isinstance(image.get("reference"), str):
                    found[f"{key}/{volume.get('name')}"] = image["reference"]
    return found
