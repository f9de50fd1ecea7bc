"""Clusters: bring rendered manifests there, tell what was changed by hand, and what runs."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from casemate.core.types import Record
from casemate.deploy.cluster import drift as drifts
from casemate.deploy.cluster.client import Cluster, connected
from casemate.deploy.cluster.figures import Judge, Prometheus
from casemate.deploy.cluster.folder import manifests
from casemate.deploy.cluster.journal import Kept
from casemate.deploy.cluster.plan import Bundle, plan
from casemate.deploy.cluster.release import Release
from casemate.deploy.cluster.types import Applied, Limits
from casemate.operations.acting import Acting, operation, reading
from casemate.operations.deployments.models import (
    require_assembled,
    require_model,
    require_rendered,
    said_model,
)
from casemate.wiring import Wiring

TARGET = "kubernetes"
KEPT = "deployed"
"""Folder of the state with the manifests of what was released from here."""
RECORDED = {
    "begun": "deploy:begun",
    "namespace": "deploy:prepared",
    "prepare": "deploy:prepared",
    "place": "deploy:placed",
    "open": "deploy:opened",
    "judge": "deploy:judged",
    "fill": "deploy:filled",
    "switch": "deploy:switched",
    "drain": "deploy:drained",
    "applied": "deploy:released",
    "released": "deploy:released",
    "rolled-back": "deploy:rolled-back",
}
"""Steps of a release by what the log calls them."""


class Place(Record, frozen=True, kw_only=True):
    """A cluster, and which part of a folder is about it."""

    kubeconfig: str | None = None
    """A file; None: the service account of the pod that this runs in."""
    context: str | None = None
    """Of the file; None: its current one."""
    overlay: str | None = None
    """None: the only one."""
    admission: bool = False
    """With policies of the whole cluster, which need other rights."""


class Figures(Record, frozen=True, kw_only=True):
    """The Prometheus that scrapes both versions."""

    url: str
    ca: str | None = None
    """PEM file of its authority."""
    token: str | None = None
    """Reference to a bearer token, such as `env:NAME` or `file:PATH`."""


@operation("deploy:apply")
def apply(
    project: Wiring,
    folder: str | Path,
    place: Place,
    *,
    model: str | None = None,
    figures: Figures | None = None,
    limits: Limits | None = None,
    take_over: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Applied:
    """Release what was rendered: beside the version that serves, judged as a canary is, then in its
    place; or everything stays as it was.

    Args:
        project: whose.
        folder: into which `casemate deploy kubernetes` has rendered.
        place: where.
        model: `NAME@VERSION`, where the files do not tell which model they are about.
        figures: of both versions; needed from the second version on.
        limits: how long it may take.
        take_over: fields that somebody else manages in the cluster too.
        progress: hears what is waited for.

    Raises:
        AccessDenied: policy. RefusedError: the model may not be started, the files are not what the
            project renders, others manage a field, or the new version is worse or was not measured.
            ConfigError: files, kubeconfig or cluster do not fit. BackendError: the cluster is away;
            the same command goes on or takes it back.
    """
    acting = apply.ask(project, to=TARGET, folder=str(folder))
    folder = Path(folder)
    edited = require_rendered(project, folder, TARGET)
    said = require_model(project, folder, TARGET, model)
    documents = manifests(folder, place.overlay, admission=place.admission)
    require_assembled(project, folder, TARGET, documents)
    bundle = plan(documents, project=project.config.project.id, model=said)

    def permitted() -> None:
        """A hold, or a withdrawal, while it was judged."""
        require_model(project, folder, TARGET, model)

    judge = None
    if figures is not None:
        source = _source(project, figures)
        judge = Judge(source, project.config.serve.canary, said.partition("@")[0])
    with _cluster(project, place) as cluster:
        return Release(
            cluster,
            bundle,
            Kept(project.state / KEPT),
            judge=judge,
            limits=limits or Limits(),
            who=acting.uid,
            told=_recorder(acting, cluster, bundle, edited),
            permitted=permitted,
            progress=progress,
            take_over=take_over,
        ).run()


@reading("deploy:read")
def drift(
    project: Wiring, folder: str | Path, place: Place, *, model: str | None = None
) -> drifts.Drift:
    """What in the cluster is otherwise than it was applied, and who changed it.

    Args:
        project: whose.
        folder: into which it was rendered.
        place: where.
        model: as `apply` was given it.

    Raises:
        AccessDenied: policy. ConfigError: nothing was released there. BackendError: it is away.
    """
    bundle = _bundle(project, Path(folder), place, said_model(project, Path(folder), TARGET, model))
    with _cluster(project, place) as cluster:
        return drifts.drift(cluster, bundle, Kept(project.state / KEPT))


@reading("deploy:read")
def running(project: Wiring, folder: str | Path, place: Place) -> drifts.Running:
    """What runs where a folder's files go: which revision, which digests, verified how.

    Raises:
        AccessDenied: policy. ConfigError, BackendError: as `drift`.
    """
    bundle = _bundle(project, Path(folder), place, "")
    with _cluster(project, place) as cluster:
        return drifts.running(cluster, bundle, Kept(project.state / KEPT))


def _bundle(project: Wiring, folder: Path, place: Place, model: str) -> Bundle:
    documents = manifests(folder, place.overlay, admission=place.admission)
    return plan(documents, project=project.config.project.id, model=model)


def _source(project: Wiring, figures: Figures) -> Prometheus:
    token = "" if figures.token is None else project.read_secret(figures.token)
    return Prometheus(figures.url, None if figures.ca is None else Path(figures.ca), token)


@contextlib.contextmanager
def _cluster(project: Wiring, place: Place) -> Iterator[Cluster]:
    kubeconfig = None if place.kubeconfig is None else Path(place.kubeconfig)
    with connected(kubeconfig, place.context, project.state) as cluster:
        yield cluster


def _recorder(
    acting: Acting, cluster: Cluster, bundle: Bundle, edited: list[str]
) -> Callable[..., None]:
    """Each step that is done, in the log."""
    where = {"cluster": cluster.host, "namespace": bundle.namespace}
    about = f'Project::"{bundle.project}"'

    def told(step: str, **detail: Any) -> None:
        outcome = "failed" if step == "rolled-back" else "done"
        more = {"edited": edited} if edited and step == "begun" else {}
        acting.record(RECORDED[step], about, outcome, step=step, **where, **more, **detail)

    return told
