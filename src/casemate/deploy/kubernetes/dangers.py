"""What is unsafe in a manifest, as somebody has edited it."""

import itertools
import posixpath
from collections.abc import Iterator
from typing import Any

from casemate.deploy import state as states
from casemate.deploy.documents import Unreadable
from casemate.deploy.gateway.words import KEYS, MODEL, PROJECT
from casemate.deploy.interface import Given
from casemate.deploy.kubernetes import fields, needed, restricted
from casemate.deploy.kubernetes.admission import FOLDERS, STEERING
from casemate.deploy.kubernetes.reading import items, manifests, pods, table, text
from casemate.deploy.kubernetes.words import GATEWAY, INTO, PART, TOML, TRUSTED, VERIFIED

PROGRAM = ("", "bin", "etc", "lib", "lib64", "opt", "sbin", "usr")
"""Folders at the top of an image in which what verifies lies."""
AFTERWARDS = (
    "components",
    "configurations",
    "generators",
    "patches",
    "patchesJson6902",
    "patchesStrategicMerge",
    "replacements",
    "transformers",
)
"""Fields of a kustomization that change manifests after somebody has looked at them."""
REACHING = (
    "ClusterRole",
    "ClusterRoleBinding",
    "ClusterSecretStore",
    "CustomResourceDefinition",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "MutatingWebhookConfiguration",
    "Role",
    "RoleBinding",
    "ValidatingWebhookConfiguration",
)
"""Kinds that give rights, or change what others apply; nothing that is rendered needs one."""
ENFORCED = "pod-security.kubernetes.io/enforce"


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
    return [f"{_named(one)}: {fault}" for one in documents for fault in _faults(one)]


def unfit(given: Given, name: str, content: bytes) -> list[str]:
    """What a cluster of the project's version would not take, and keys that are not its own."""
    if not name.endswith((".yaml", ".yml")):
        return []
    try:
        documents = manifests(content)
    except Unreadable:
        return []  # which `found` says
    return [
        f"{_named(one)}: {fault}"
        for one in documents
        for fault in (
            *fields.by_schema(one, given.config.deploy.kubernetes.version),
            *_strange(one, given),
            *_added(one, given, name),
        )
    ]


def _named(document: dict[str, Any]) -> str:
    return f"{text(document.get('kind'))} {text(table(document.get('metadata')).get('name'))}"


def _strange(document: dict[str, Any], given: Given) -> Iterator[str]:
    """Images and ConfigMaps that are not the project's: what verifies, whose keys are trusted, and
    how it runs.
    """
    images = (given.config.deploy.kubernetes.image, *given.config.deploy.kubernetes.accepted)
    for pod in pods(document):
        for container in items(table(pod.get("spec")).get("containers")):
            if verifies(container) and container.get("image") not in images:
                yield "the image that verifies is not [deploy.kubernetes] image, nor accepted there"
    name = text(table(document.get("metadata")).get("name"))
    if text(document.get("kind")) != "ConfigMap" or name not in (TRUSTED, TOML):
        return
    toml = {"casemate.toml": needed.project_file(given)}
    own = dict(needed.public_keys(given)) if name == TRUSTED else toml
    if document.get("data") != own or document.get("binaryData"):
        yield "it is not what the project has: change it there, and render again"


def _added(document: dict[str, Any], given: Given, name: str) -> Iterator[str]:
    """What is unsafe in the files that a kustomization takes in and that were not rendered."""
    entries = document.get("resources")
    if text(document.get("kind")) != "Kustomization" or not isinstance(entries, list):
        return
    known = {file for last in states.read(given.folder).targets.values() for file in last.files}
    for entry in map(text, entries):
        path = posixpath.normpath(posixpath.join(posixpath.dirname(name), entry))
        if path in known or any(file.startswith(f"{path}/") for file in known):
            continue
        if path.startswith("..") or not (given.folder / path).is_file():
            yield f"resources {entry[:200]}: is no file of this folder, so nobody looks at it"
            continue
        content = (given.folder / path).read_bytes()
        yield from (f"resources {entry}: {fault}" for fault in found(f"{path}.yaml", content))


def _faults(document: dict[str, Any]) -> Iterator[str]:
    yield from fields.faults(document)
    yield from _values(document)
    yield from _weakened(document)
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


def _weakened(document: dict[str, Any]) -> Iterator[str]:
    """What takes protection away from everything beside it."""
    kind = text(document.get("kind"))
    if kind in REACHING:
        yield "it gives rights, or changes what others apply; whoever owns the cluster applies it"
    if kind == "Kustomization":
        yield from (
            f"{field}: changes manifests after they were looked at; write it into them"
            for field in AFTERWARDS
            if document.get(field)
        )
    labels = table(table(document.get("metadata")).get("labels"))
    if kind == "Namespace" and labels.get(ENFORCED) != "restricted":
        yield f"its label {ENFORCED} must be restricted"
    if kind == "Namespace" and not labels.get(VERIFIED):
        yield f"without its label {VERIFIED} no rule of admission looks at its pods"
    spec = table(document.get("spec"))
    if kind == "ValidatingAdmissionPolicy" and spec.get("failurePolicy", "Fail") != "Fail":
        yield "failurePolicy: must be Fail"
    actions = spec.get("validationActions")
    if kind == "ValidatingAdmissionPolicyBinding" and actions != ["Deny"]:
        yield "validationActions: must be Deny"


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
        if not (serves or has_model):
            continue
        where = f"containers {text(container.get('name'))}"
        if not verifies(container):
            yield (
                f"{where}: begins without `casemate verify --key {KEYS} --require approved --into"
                f" {INTO} --then`, or becomes something else than a gateway of what was verified:"
                f" `casemate serve --config {PROJECT} --release {INTO}`"
            )
        if not _has_map(spec, mounts, KEYS, TRUSTED):
            yield f"{where}: its public keys are not those of the ConfigMap {TRUSTED}"
        if not _has_map(spec, mounts, f"{PROJECT}/casemate.toml", TOML):
            yield f"{where}: its casemate.toml is not that of the ConfigMap {TOML}"
        yield from (f"{where}: {fault}" for fault in _steered(container, mounts))


def _has_map(spec: dict[str, Any], mounts: list[dict[str, Any]], path: str, name: str) -> bool:
    """Whether what a container has at a path is the project's ConfigMap of that name."""
    names = {text(one.get("name")) for one in mounts if one.get("mountPath") == path}
    sources = [one for one in items(spec.get("volumes")) if text(one.get("name")) in names]
    return [table(one.get("configMap")).get("name") for one in sources] == [name]


def _steered(container: dict[str, Any], mounts: list[dict[str, Any]]) -> Iterator[str]:
    """What makes another program of the one that verifies."""
    for one in items(container.get("env")):
        if text(one.get("name")).startswith((*STEERING, *FOLDERS)):
            yield f"env {text(one.get('name'))}: makes another program of the one that verifies"
    for field in ("envFrom", "workingDir"):
        if container.get(field):
            yield f"{field}: could make another program of the one that verifies"
    for one in mounts:
        path = text(one.get("mountPath"))
        if path.strip("/").split("/")[0] in PROGRAM:
            yield f"volumeMounts {path}: lies over the program that verifies"


def verifies(container: dict[str, Any]) -> bool:
    """Whether a container becomes a gateway of what it verified, and only behind that."""
    words, args = _words(container.get("command")), _words(container.get("args", []))
    if "--then" not in words:
        return False
    verifying, becoming = words[: words.index("--then")], words[words.index("--then") + 1 :] + args
    return (
        verifying[1:4] == ["-m", "casemate", "verify"]
        and "approved" in _said(verifying, "--require")
        and _said(verifying, "--key") == [KEYS]
        and _said(verifying, "--into") == [INTO]
        and becoming[1:4] == ["-m", "casemate", "serve"]
        and _said(becoming, "--config") == [PROJECT]
        and _said(becoming, "--release") == [INTO]
    )


def _said(words: list[str], option: str) -> list[str]:
    """What a command says of an option, also as `--option=VALUE` and under a shorter name."""
    found = []
    for word, after in itertools.pairwise([*words, ""]):
        name, is_one, value = word.partition("=")
        if len(name) > 2 and option.startswith(name):
            found.append(value if is_one else after)
    return found


def _words(value: Any) -> list[str]:
    """A command; anything else is none."""
    is_one = isinstance(value, list) and all(isinstance(word, str) for word in value)
    return value if is_one else []
