"""SageMaker: bring rendered requests there, and tell what is otherwise."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from casemate.core.errors import ConfigError
from casemate.deploy.cluster.types import Limits
from casemate.deploy.endpoint import release
from casemate.deploy.endpoint.requests import Requests, read
from casemate.deploy.endpoint.service import Service
from casemate.operations.acting import Acting, operation, reading
from casemate.operations.deployments.models import require_model, require_rendered, said_model
from casemate.wiring import Wiring

TARGET = "sagemaker"
RELEASED, REGISTERED = "deploy:released", "deploy:registered"
RECORDED = {
    "begun": "deploy:begun",
    "prepare": "deploy:prepared",
    "register": REGISTERED,
    "place": "deploy:placed",
    "judge": "deploy:judged",
    "released": RELEASED,
    "rolled-back": "deploy:rolled-back",
}
"""Steps of a release by what the log calls them."""


@operation("deploy:apply")
def apply_endpoint(
    project: Wiring,
    folder: str | Path,
    *,
    model: str | None = None,
    limits: Limits | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> release.Served:
    """Release what `casemate deploy sagemaker` rendered: registered as its approvals say, on a new
    fleet that alarms judge; or the former one serves on.

    Args:
        project: whose.
        folder: into which it was rendered.
        model: `NAME@VERSION`; must be the one that the files are about.
        limits: how long it may take: `ready` for an update, `judge` for its alarms.
        progress: hears what is waited for.

    Raises:
        AccessDenied: policy. RefusedError: the model may not be started, the files are not what the
            project renders, something is otherwise there, or the new version is worse or was not
            measured. ConfigError: credentials or requests do not fit. BackendError: AWS is away;
            the same command goes on.
    """
    acting = apply_endpoint.ask(project, to=TARGET, folder=str(folder))
    folder = Path(folder)
    edited = require_rendered(project, folder, TARGET)
    requests = read(folder, require_model(project, folder, TARGET, model))
    service = _service(project)
    released, registered = _known(project, service, requests)
    return release.Update(
        service,
        requests,
        released=released,
        registered=registered,
        limits=limits or release.LIMITS,
        told=_recorder(acting, service, requests, edited),
        progress=progress,
    ).run()


@reading("deploy:read")
def drift_endpoint(
    project: Wiring, folder: str | Path, *, model: str | None = None
) -> list[release.Otherwise]:
    """What in the account is otherwise than a folder says; what AWS adds is no difference.

    Raises:
        AccessDenied: policy. ConfigError, BackendError: as `apply_endpoint`.
    """
    folder = Path(folder)
    requests = read(folder, said_model(project, folder, TARGET, model))
    return release.drift(_service(project), requests)


def _service(project: Wiring) -> Service:
    table = project.config.deploy.aws
    if table is None:
        raise ConfigError("casemate.toml has no [deploy.aws]", hint="account, region, ...")
    return Service(table.region, table.account)


def _known(project: Wiring, service: Service, requests: Requests) -> tuple[str, bool]:
    """(configuration of the endpoint that was released last, whether the model is registered), by
    the log: the deployer may not list, and needs no tags.
    """
    released, registered = "", False
    for entry in project.log.plain_entries():
        detail = entry.detail
        if detail.get("account") != service.where:
            continue
        if entry.action == RELEASED and detail.get("endpoint") == requests.name:
            released = str(detail.get("configuration", ""))
        if entry.action == REGISTERED and detail.get("model") == requests.model_reference:
            registered = True
    return released, registered


def _recorder(
    acting: Acting, service: Service, requests: Requests, edited: list[str]
) -> Callable[..., None]:
    """Each step that is done, in the log."""
    where = {"account": service.where, "endpoint": requests.name}
    about = f'Project::"{acting.project.config.project.id}"'

    def told(step: str, **detail: Any) -> None:
        outcome = "failed" if step == "rolled-back" else "done"
        more: dict[str, Any] = {"model": requests.model_reference}
        if edited and step == "begun":
            more["edited"] = edited
        acting.record(RECORDED[step], about, outcome, step=step, **where, **more, **detail)

    return told
