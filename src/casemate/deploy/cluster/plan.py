"""What a folder of manifests becomes in the cluster: whatever serves gets a name and a label of its
version, so that it can stand beside the former one.
"""

import copy
from typing import Any

import msgspec

from casemate.core.errors import ConfigError, RefusedError
from casemate.core.types import Record
from casemate.deploy.cluster.documents import (
    PROJECT,
    REVISION,
    Document,
    digest_of,
    images_of,
    in_order,
    key_of,
)
from casemate.deploy.images import HINT, is_pinned

REVISION_SIGNS = 10


class Bundle(Record, frozen=True, kw_only=True):
    """One release, as it is applied."""

    project: str
    """Id of the project whose it is."""
    model: str
    """`NAME@VERSION sha256:...`, or empty where the files are about no single model."""
    namespace: str
    """Of what serves."""
    revision: str
    served: list[str]
    """Deployments that serve, by their names in the files."""
    documents: list[dict[str, Any]]
    """In the order in which they are applied, those that serve under the name of their revision."""

    @property
    def digest(self) -> str:
        """SHA-256 of all that it says."""
        return digest_of(msgspec.to_builtins(self))

    @property
    def images(self) -> dict[str, str]:
        """Which image each container is started from."""
        return images_of(self.documents)

    def workloads(self) -> list[Document]:
        """The Deployments that serve."""
        return [one for one in self.documents if _revision(one) is not None]

    def scaled(self) -> dict[str, Document]:
        """What scales those that serve: name of the Deployment -> HorizontalPodAutoscaler."""
        names = {key_of(one).name for one in self.workloads()}
        found = {}
        for one in self.documents:
            target = one.get("spec", {}).get("scaleTargetRef", {})
            if one["kind"] == "HorizontalPodAutoscaler" and target.get("name") in names:
                found[target["name"]] = one
        return found

    def routes(self) -> list[Document]:
        """Services that lead to what serves."""
        return [
            one
            for one in self.documents
            if one["kind"] == "Service" and REVISION in (one["spec"].get("selector") or {})
        ]


def plan(documents: list[Document], *, project: str, model: str) -> Bundle:
    """Make a release of manifests.

    Args:
        documents: all of them.
        project: id of the project.
        model: that they serve, as the state of the folder names it.

    Raises:
        ConfigError: nothing in them serves, or an object is there twice. RefusedError: an image is
            not named by its digest, or a secret stands in them.
    """
    _require_told_apart(documents)
    _require_safe(documents)
    served = [one for one in documents if _is_served(one, documents)]
    if not served:
        raise ConfigError(
            "no Deployment is led to by a Service: nothing here serves",
            hint="casemate deploy kubernetes FOLDER",
        )
    namespaces = {key_of(one).namespace for one in served}
    if len(namespaces) > 1 or "" in namespaces:
        raise ConfigError(
            "what serves must stand in one namespace, by name", hint="metadata.namespace"
        )
    identity = [model, sorted(digest_of(_without_count(one)) for one in served)]
    identity += [sorted(digest_of(one) for one in documents if one["kind"] == "ConfigMap")]
    revision = digest_of(identity)[:REVISION_SIGNS]
    coloured = [_coloured(one, served, revision) for one in documents]
    return Bundle(
        project=project,
        model=model,
        namespace=namespaces.pop(),
        revision=revision,
        served=sorted(key_of(one).name for one in served),
        documents=in_order([_owned(one, project) for one in coloured]),
    )


def _require_told_apart(documents: list[Document]) -> None:
    seen = set()
    for one in documents:
        key = key_of(one)
        same = (key.kind, key.api.rpartition("/")[0], key.namespace, key.name)
        if same in seen:
            raise ConfigError(f"{key} is there twice", hint="one of both must go")
        seen.add(same)


def _require_safe(documents: list[Document]) -> None:
    for one in documents:
        if one["kind"] == "Secret":
            raise RefusedError(
                f"{key_of(one)}: secrets do not stand in files",
                hint="refer to one: ExternalSecret, or a Secret that somebody makes in the cluster",
            )
        if one["kind"] == "List":
            raise ConfigError("a List holds objects within", hint="one document for each object")
    for place, image in images_of(documents).items():
        if not is_pinned(image):
            raise RefusedError(
                f"{place} is started from {image}, which is not one image for ever",
                hint=HINT,
            )


def _is_served(one: Document, documents: list[Document]) -> bool:
    if one["kind"] != "Deployment":
        return False
    return any(_leads(service, one) for service in documents)


def _leads(service: Document, deployment: Document) -> bool:
    """Whether a Service leads to the pods of a Deployment."""
    selector = service.get("spec", {}).get("selector")
    if service["kind"] != "Service" or not selector:
        return False
    labels = _labels(deployment.get("spec", {}).get("template", {}))
    here = key_of(service).namespace == key_of(deployment).namespace
    return here and bool(selector.items() <= labels.items())


def _labels(one: Document) -> dict[str, Any]:
    labels = one.get("metadata", {}).get("labels")
    return labels if isinstance(labels, dict) else {}


def _revision(one: Document) -> str | None:
    is_served = one["kind"] == "Deployment"
    return _labels(one).get(REVISION) if is_served else None


def _without_count(one: Document) -> Document:
    spec = {name: value for name, value in one["spec"].items() if name != "replicas"}
    return one | {"spec": spec}


def _coloured(one: Document, served: list[Document], revision: str) -> Document:
    one = copy.deepcopy(one)
    names = {key_of(each).name for each in served}
    if one["kind"] == "Deployment" and key_of(one).name in names:
        one["metadata"]["name"] = named(key_of(one).name, revision)
        _label(one, REVISION, revision)
        _label(one["spec"]["template"], REVISION, revision)
        one["spec"]["selector"].setdefault("matchLabels", {})[REVISION] = revision
    elif any(_leads(one, each) for each in served):
        one["spec"]["selector"][REVISION] = revision
    elif one["kind"] == "HorizontalPodAutoscaler":
        target = one["spec"]["scaleTargetRef"]
        if target.get("kind") == "Deployment" and target.get("name") in names:
            target["name"] = named(target["name"], revision)
    return one


def named(base: str, revision: str) -> str:
    """What a Deployment of a revision is called."""
    return f"{base}-{revision}"


def _owned(one: Document, project: str) -> Document:
    _label(one, PROJECT, project)
    return one


def _label(one: Document, name: str, value: str) -> None:
    metadata = one.setdefault("metadata", {})
    metadata["labels"] = dict(metadata.get("labels") or {}) | {name: value}


def with_count(one: Document, count: int) -> Document:
    """A Deployment with so many pods."""
    return one | {"spec": one["spec"] | {"replicas": count}}


def towards(service: Document, revision: str | None) -> Document:
    """A Service that leads to one revision, or to all of them."""
    selector = {k: v for k, v in service["spec"]["selector"].items() if k != REVISION}
    if revision is not None:
        selector[REVISION] = revision
    return service | {"spec": service["spec"] | {"selector": selector}}
