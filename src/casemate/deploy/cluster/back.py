"""Taking back what a release had begun, and removing what is released no more."""

from casemate.deploy.cluster.client import Cluster
from casemate.deploy.cluster.documents import PROJECT, REVISION, Document, Key, key_of
from casemate.deploy.cluster.journal import Entry, Journal, Kept
from casemate.deploy.cluster.plan import Bundle

KEEP = ("Namespace", "CustomResourceDefinition", "PersistentVolumeClaim")
"""Kinds that are not removed again: they hold what is others', or data."""


class Objects:
    """What a project has in a namespace of a cluster."""

    def __init__(self, cluster: Cluster, kept: Kept, project: str, namespace: str) -> None:
        self.cluster, self.kept = cluster, kept
        self.project, self.namespace = project, namespace

    def deployment(self, name: str) -> Key:
        """A Deployment of the namespace."""
        return Key(api="apps/v1", kind="Deployment", namespace=self.namespace, name=name)

    def revisions(self) -> dict[str, str]:
        """Every Deployment that serves, or did: name -> revision."""
        labels = f"{PROJECT}={self.project}"
        found = self.cluster.list("apps/v1", "Deployment", labels, self.namespace)
        labelled = {one["metadata"]["name"]: one["metadata"]["labels"] for one in found}
        return {name: labels[REVISION] for name, labels in labelled.items() if REVISION in labels}

    def remove(self, key: Key) -> None:
        """Remove an object if it is this project's."""
        if owner_of(self.cluster.get(key)) == self.project:
            self.cluster.delete(key)

    def undo(self, journal: Journal, bundle: Bundle) -> None:
        """Bring back what was released, and remove what the pending release had made.

        Args:
            journal: with both.
            bundle: whose Services lead to what serves, where the former manifests are not kept.
        """
        if journal.released is not None:
            self._restore(journal.released, bundle)
        for key in reversed(journal.created):
            if key.kind not in KEEP:
                self.remove(key)
        pending = journal.pending
        for name, revision in self.revisions().items():
            if pending is not None and revision == pending.revision:
                self.remove(self.deployment(name))

    def _restore(self, former: Entry, bundle: Bundle) -> None:
        """Lead to the former version, and apply what stood around it."""
        before = self.kept.get(former.bundle)
        if before is None:
            # released from another machine: the way there is all that is known of it
            for key in map(key_of, bundle.routes()):
                if owner_of(self.cluster.get(key)) == self.project:
                    self.cluster.merge(key, {"spec": {"selector": {REVISION: former.revision}}})
            return
        first, serving = before.routes(), before.workloads()
        rest = [one for one in before.documents if one not in [*first, *serving]]
        for one in [*first, *rest]:
            self.cluster.apply(one)

    def prune(self, former: Entry | None, bundle: Bundle) -> None:
        """Remove what neither the release nor the former one has."""
        stay = {bundle.revision, *({former.revision} if former else ())}
        for name, revision in self.revisions().items():
            if revision not in stay and len(stay) > 1:  # else the former one stays to go back to
                self.remove(self.deployment(name))
        before = self.kept.get(former.bundle) if former else None
        if before is None:
            return
        keys, serving = {str(key) for key in map(key_of, bundle.documents)}, before.workloads()
        for one in reversed(before.documents):
            key = key_of(one)
            if str(key) not in keys and one not in serving and key.kind not in KEEP:
                self.remove(key)


def owner_of(there: Document | None) -> str:
    """Id of the project whose an object is; empty: nobody's."""
    labels = (there or {}).get("metadata", {}).get("labels")
    return str(labels.get(PROJECT, "")) if isinstance(labels, dict) else ""


def readiness(there: Document) -> tuple[str, bool]:
    """(what is missing, whether it is hopeless); ("", False) when every pod answers."""
    status, wanted = there.get("status") or {}, there["spec"].get("replicas", 1)
    for condition in status.get("conditions") or []:
        if condition.get("reason") == "ProgressDeadlineExceeded" or (
            condition.get("type") == "ReplicaFailure" and condition.get("status") == "True"
        ):
            return str(condition.get("message") or condition.get("reason"))[:200], True
    if status.get("observedGeneration", 0) < there["metadata"].get("generation", 0):
        return "the cluster has not looked at it yet", False
    ready = min(status.get("availableReplicas") or 0, status.get("updatedReplicas") or 0)
    return ("" if ready >= wanted else f"{ready} of {wanted} pods are available"), False


def job_state(there: Document | None) -> str:
    """`complete`, `failed`, or empty while a Job runs."""
    for condition in ((there or {}).get("status") or {}).get("conditions") or []:
        if condition.get("status") == "True" and condition.get("type") in ("Complete", "Failed"):
            return str(condition["type"]).lower()
    return ""
