"""Manifests and a way to release them, for tests of the cluster."""

import contextlib
import json

from casemate.deploy.cluster.client import connected
from casemate.deploy.cluster.figures import Judgement
from casemate.deploy.cluster.journal import Kept
from casemate.deploy.cluster.plan import plan
from casemate.deploy.cluster.release import Release
from casemate.deploy.cluster.types import Limits

QUICK = Limits(ready=5.0, judge=5.0, grace=0.0, poll=0.01, patience=0.2)
IMAGE = "registry.example/gateway@sha256:" + "a" * 64
APP = {"app.kubernetes.io/name": "gateway"}


def meta(name, **more):
    return {"name": name, "namespace": "clinic"} | more


def manifests(*, version=1, replicas=2, text="one", scaled=False):
    """What a project is rendered to, in short."""
    container = {
        "name": "gateway", "image": IMAGE, "args": ["serve", f"wdbc@{version}"],
        "ports": [{"containerPort": 8443}], "resources": {"limits": {"cpu": "1000m"}},
    }  # fmt: skip
    spec = {
        "selector": {"matchLabels": APP},
        "template": {"metadata": {"labels": APP}, "spec": {"containers": [container]}},
    }
    found = [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta("gateway"),
         "spec": spec if scaled else spec | {"replicas": replicas}},
        {"apiVersion": "v1", "kind": "Service", "metadata": meta("gateway"),
         "spec": {"selector": APP, "ports": [{"port": 443, "targetPort": 8443}]}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("settings"),
         "data": {"text": text}},
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
         "metadata": meta("default-deny"), "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "clinic"}},
    ]  # fmt: skip
    if scaled:
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "gateway"}
        found.append({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": meta("gateway"),
            "spec": {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 6},
        })  # fmt: skip
    return json.loads(json.dumps(found))


class Says:
    """A judge who always says the same."""

    def __init__(self, outcome="passed", reason=""):
        self.found, self.asked = Judgement(outcome=outcome, reason=reason), []

    def look(self, *asked):
        self.asked.append(asked)
        return self.found


@contextlib.contextmanager
def releasing(server, folder, documents, *, judge=None, limits=QUICK, told=None, **more):
    """A release that is ready to run."""
    bundle = plan(documents, project="p1", model="wdbc@1 sha256:00")
    with connected(server.kubeconfig, None, folder) as cluster:
        yield Release(
            cluster, bundle, Kept(folder / "kept"), judge=judge, limits=limits, who="ana",
            told=told or (lambda *_, **__: None), **more,
        )  # fmt: skip


def release(server, folder, documents, **more):
    """Release manifests; what became of it."""
    with releasing(server, folder, documents, **more) as one:
        return one.run()
