"""The requests of a folder that `casemate deploy sagemaker` wrote."""

from pathlib import Path
from typing import Any

from casemate.core.errors import ConfigError, RefusedError
from casemate.core.types import Record
from casemate.deploy.cluster.documents import digest_of, load
from casemate.deploy.images import HINT, is_pinned

Request = dict[str, Any]
GROUP, PACKAGE = "model-package-group.yaml", "model-package.yaml"
MODEL, CONFIGURATION, ENDPOINT = "model.yaml", "endpoint-config.yaml", "endpoint.yaml"
ALARMS = "*-alarm.yaml"


class Requests(Record, frozen=True, kw_only=True):
    """All of one release."""

    model_reference: str
    """`NAME@VERSION sha256:BUNDLE`."""
    group: dict[str, Any]
    package: dict[str, Any]
    model: dict[str, Any]
    configuration: dict[str, Any]
    endpoint: dict[str, Any]
    alarms: list[dict[str, Any]]

    @property
    def digest(self) -> str:
        """SHA-256 of what they say."""
        return digest_of(
            [self.group, self.package, self.model, self.configuration, self.endpoint, self.alarms]
        )

    @property
    def images(self) -> dict[str, str]:
        """Which image the containers are started from."""
        return {str(self.model["ModelName"]): str(self.model["PrimaryContainer"]["Image"])}

    @property
    def name(self) -> str:
        """Of the endpoint."""
        return str(self.endpoint["EndpointName"])

    @property
    def wanted(self) -> str:
        """Name of the configuration that it shall have."""
        return str(self.configuration["EndpointConfigName"])


def read(folder: Path, model: str) -> Requests:
    """The requests of a folder.

    Args:
        folder: what was rendered.
        model: which it is about.

    Raises:
        ConfigError: some are missing or do not belong together. RefusedError: an image is not named
            by its digest, no alarm judges the update, or the model is not approved.
    """
    alarms = [_one(path) for path in sorted(folder.glob(ALARMS))]
    absent = [name for name in (MODEL, CONFIGURATION, ENDPOINT) if not (folder / name).is_file()]
    if absent:
        raise RefusedError(
            f"{folder} has no {', '.join(absent)}: the model is not approved, or none was named",
            hint="casemate model approve, export, and render with --model",
        )
    found = Requests(
        model_reference=model,
        group=_one(folder / GROUP),
        package=_one(folder / PACKAGE),
        model=_one(folder / MODEL),
        configuration=_one(folder / CONFIGURATION),
        endpoint=_one(folder / ENDPOINT),
        alarms=alarms,
    )
    _require_whole(found, folder)
    return found


def _one(path: Path) -> Request:
    if not path.is_file():
        raise ConfigError(f"there is no {path}", hint="casemate deploy sagemaker FOLDER")
    documents = load(path.read_bytes(), str(path))
    if len(documents) != 1:
        raise ConfigError(f"{path} is no single request")
    return documents[0]


def _require_whole(found: Requests, folder: Path) -> None:
    try:
        container, variants = (
            found.model["PrimaryContainer"],
            found.configuration["ProductionVariants"],
        )
        names = {one["ModelName"] for one in variants}
        named = {one["AlarmName"] for one in found.alarms}
        rollback = found.endpoint["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]
        judged = {one["AlarmName"] for one in rollback}
        is_whole = (
            names == {found.model["ModelName"]}
            and found.endpoint["EndpointConfigName"] == found.configuration["EndpointConfigName"]
        )
        image, status = str(container["Image"]), found.package["ModelApprovalStatus"]
    except (KeyError, TypeError):
        raise ConfigError(
            f"{folder}: a request lacks what casemate renders", hint="casemate deploy check FOLDER"
        ) from None
    if not is_whole:
        raise ConfigError(
            f"{folder}: model, configuration and endpoint do not name each other",
            hint="render again, and apply them as they are",
        )
    if not is_pinned(image):
        raise RefusedError(f"{image} is not one image for ever", hint=HINT)
    if not judged or not judged <= named:
        raise RefusedError(
            f"{folder}: no alarm of the folder judges the update", hint="render again"
        )
    if status != "Approved":
        raise RefusedError(f"{found.model_reference} is {status}", hint="casemate model approve")
