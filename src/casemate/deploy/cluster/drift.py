"""What in a cluster is otherwise than it was applied, and who changed it."""

import json
from typing import Any, Literal

from casemate.core.errors import ConfigError
from casemate.core.types import Record
from casemate.deploy.cluster import fields
from casemate.deploy.cluster.back import Objects, owner_of, readiness
from casemate.deploy.cluster.client import MANAGER, Cluster
from casemate.deploy.cluster.documents import PROJECT, Document, key_of, pods_of
from casemate.deploy.cluster.journal import NAME, Entry, Journal, Keeper, Kept
from casemate.deploy.cluster.plan import Bundle

How = Literal["changed", "added", "missing", "extra"]
SHOWN = 80
"""Signs of a value that are shown."""
LOOKED = (
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("v1", "ServiceAccount"),
    ("apps/v1", "Deployment"),
    ("batch/v1", "CronJob"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("policy/v1", "PodDisruptionBudget"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
)
"""Kinds of which objects are looked for that are not in the files, beside those that are."""


class Difference(Record, frozen=True, kw_only=True):
    """One thing that is otherwise."""

    object: str
    how: How
    """`changed`: a field has another value; `added`: one that was not applied; `missing`: the whole
    object; `extra`: an object of the project that was not applied.
    """
    field: str = ""
    applied: str = ""
    there: str = ""
    who: str = ""
    """Field manager, as far as the cluster tells."""


class Drift(Record, frozen=True, kw_only=True):
    """What was found."""

    namespace: str
    revision: str
    """That was released; empty: nothing was."""
    current: bool
    """Whether the folder says what was released."""
    differences: list[Difference]

    @property
    def none(self) -> bool:
        """Whether the cluster is as the folder says."""
        return self.current and not self.differences


class Pods(Record, frozen=True, kw_only=True):
    """One Deployment that serves."""

    name: str
    revision: str
    serves: bool
    """Whether Services lead to it."""
    state: str
    """Empty: all its pods answer."""
    images: dict[str, str]
    verified: list[str]
    """How its containers verify a model before they start."""


class Running(Record, frozen=True, kw_only=True):
    """What runs in a namespace."""

    cluster: str
    version: str
    """Of Kubernetes."""
    namespace: str
    released: Entry | None
    step: str
    """Of a release that is under way; `idle`: none is."""
    reason: str
    """Why the last one was taken back; empty: it was not."""
    pods: list[Pods]


def drift(cluster: Cluster, bundle: Bundle, kept: Kept) -> Drift:
    """Compare the cluster with what was released, or with the folder where that is not kept here.

    Args:
        cluster: where.
        bundle: of the folder.
        kept: what was released from here.

    Raises:
        ConfigError: nothing was released there.
    """
    journal = Keeper(cluster, bundle.namespace, bundle.project).read()
    released = journal.released
    if released is None:
        raise ConfigError(
            f"nothing was released in {bundle.namespace}", hint="casemate deploy apply FOLDER"
        )
    base = kept.get(released.bundle) or bundle
    found: list[Difference] = []
    for one in base.documents:
        found += _compared(one, cluster.get(key_of(one)), base)
    found += _extra(cluster, base, journal)
    return Drift(
        namespace=bundle.namespace,
        revision=released.revision,
        current=released.bundle == bundle.digest,
        differences=found,
    )


def _compared(one: Document, there: Document | None, base: Bundle) -> list[Difference]:
    key = key_of(one)
    if there is None:
        is_cleared = one["kind"] == "Job" and "ttlSecondsAfterFinished" in one["spec"]
        return [] if is_cleared else [Difference(object=str(key), how="missing")]
    if key.name in base.scaled() and "replicas" in one["spec"]:
        one = one | {"spec": {k: v for k, v in one["spec"].items() if k != "replicas"}}
    changed = [
        Difference(
            object=str(key),
            how="changed",
            field=fields.text(path),
            applied=_shown(said),
            there="(nothing)" if value is fields.ABSENT else _shown(value),
            who=fields.who(there, path, MANAGER),
        )
        for path, said, value in fields.differing(one, there)
    ]
    names = {one.field for one in changed}
    added = [
        Difference(object=str(key), how="added", field=fields.text(path), who=who)
        for path, who in fields.added(one, there, MANAGER)
        if not any(fields.text(path).startswith(name) for name in names)
    ]
    return [*changed, *added]


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _extra(cluster: Cluster, base: Bundle, journal: Journal) -> list[Difference]:
    known = {str(key_of(one)) for one in base.documents}
    kinds = {(one["apiVersion"], one["kind"]) for one in base.documents} | set(LOOKED)
    pending = journal.pending.revision if journal.pending else ""
    found = []
    for api, kind in sorted(kinds):
        space = base.namespace if cluster.namespaced(api, kind) else None
        for there in cluster.list(api, kind, f"{PROJECT}={base.project}", space):
            key = key_of(there)
            is_former = kind == "Deployment" and not there["spec"].get("replicas", 1)
            is_ours = key.name == NAME or is_former or (pending and key.name.endswith(pending))
            if str(key) not in known and not is_ours:
                who = ", ".join(sorted(set(fields.managers(there)) - {MANAGER}))
                found.append(Difference(object=str(key), how="extra", who=who))
    return found


def running(cluster: Cluster, bundle: Bundle, kept: Kept) -> Running:
    """What runs in the folder's namespace, and how it came to run."""
    journal = Keeper(cluster, bundle.namespace, bundle.project).read()
    objects = Objects(cluster, kept, bundle.project, bundle.namespace)
    serving = journal.released.revision if journal.released else ""
    pods = []
    for name, revision in sorted(objects.revisions().items()):
        there = cluster.get(objects.deployment(name))
        if there is None or owner_of(there) != bundle.project:
            continue
        pods.append(
            Pods(
                name=name,
                revision=revision,
                serves=revision == serving,
                state=readiness(there)[0],
                images={
                    str(one.get("name")): str(one.get("image"))
                    for pod in pods_of(there)
                    for one in [*(pod.get("initContainers") or []), *pod["containers"]]
                },
                verified=_verified(there),
            )
        )
    return Running(
        cluster=cluster.host,
        version=cluster.version,
        namespace=bundle.namespace,
        released=journal.released,
        step=journal.step,
        reason=journal.reason,
        pods=pods,
    )


def _verified(there: Document) -> list[str]:
    """The part of each start command that must hold before anything starts."""
    found = []
    for pod in pods_of(there):
        for one in pod["containers"]:
            words = [*(one.get("command") or []), *(one.get("args") or [])]
            if "verify" in words and "--then" in words[words.index("verify") :]:
                start = words.index("verify")
                held = " ".join(words[start : words.index("--then", start)])
                found.append(f"{one.get('name')}: {held}")
    return found
