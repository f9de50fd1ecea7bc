"""What is unsafe in a request to SageMaker as it lies in the folder, edited perhaps."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from casemate.core.errors import ConfigError
from casemate.deploy.cluster.documents import load
from casemate.deploy.interface import Given

BY_DIGEST = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")
ISOLATED = ("training-job.yaml", "model.yaml")
KEYS = {
    "training-job.yaml": ("OutputDataConfig.KmsKeyId", "ResourceConfig.VolumeKmsKeyId"),
    "endpoint-config.yaml": ("KmsKeyId", "DataCaptureConfig.KmsKeyId"),
}
"""What must be under a key, if it is there at all."""

TEMPLATE = "access.yaml"
"""For CloudFormation, which has tags of its own."""
STARTED = {
    "training-job.yaml": ("AlgorithmSpecification", "Environment"),
    "model.yaml": ("PrimaryContainer", "Containers"),
}
"""What is started, and which model it is told to believe: no lines of one's own."""


def unfit(given: Given, name: str, content: bytes) -> list[str]:
    """What a container would be started with otherwise than the project says."""
    from casemate.deploy.aws import sagemaker

    rendered = sagemaker.render(given).files.get(name) if name in STARTED else None
    if rendered is None:
        return []
    try:
        ((own,), (there,)) = load(rendered, name), load(content, name)
    except (ConfigError, ValueError):
        return []  # which `dangers` says
    return [
        f"{field} is not what the project says: change it there, and render again"
        for field in STARTED[name]
        if own.get(field) != there.get(field)
    ]


def dangers(name: str, content: bytes) -> list[str]:
    """In the file `name`; nothing in files that nobody sends."""
    if not name.endswith(".yaml"):
        return _in_dockerfile(content) if name == "Dockerfile" else []
    if name == TEMPLATE:
        return _in_template(content)
    try:
        (request,) = load(content, name)
    except (ConfigError, ValueError):
        return ["it is no YAML that the AWS command line could read"]
    found = [
        f"the image {image[:100]!r} is not named by its digest"
        for image in _values(request, ("Image", "TrainingImage"))
        if not BY_DIGEST.fullmatch(image)
    ]
    if name in ISOLATED:
        if request.get("EnableNetworkIsolation") is not True:
            found.append("the container would have a way out (EnableNetworkIsolation)")
        if not isinstance(request.get("VpcConfig"), dict):
            found.append("it would not run in your subnets (VpcConfig)")
    found += [f"{place} names no key" for place in KEYS.get(name, ()) if _unkeyed(request, place)]
    if name == "endpoint.yaml":
        found += _unjudged(request)
    if name.endswith("-alarm.yaml") and request.get("TreatMissingData") != "breaching":
        found.append("no figures would count as good ones (TreatMissingData)")
    return found


def _in_template(content: bytes) -> list[str]:
    try:
        found = yaml.compose(content, yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError):
        found = None
    if not isinstance(found, yaml.MappingNode):
        return ["it is no YAML that CloudFormation could read"]
    return []


def _in_dockerfile(content: bytes) -> list[str]:
    lines = [line.split() for line in content.decode("utf-8", "replace").splitlines()]
    last = [words for words in lines if words and words[0].upper() == "ENTRYPOINT"]
    if not last or '"sagemaker"]' not in last[-1]:
        return ["the container begins otherwise: nothing would verify the model (ENTRYPOINT)"]
    return []


def _values(value: Any, names: tuple[str, ...]) -> Iterator[str]:
    if isinstance(value, dict):
        for key, one in value.items():
            if key in names:
                yield str(one)
            yield from _values(one, names)
    elif isinstance(value, list):
        for one in value:
            yield from _values(one, names)


def _unkeyed(request: dict[Any, Any], place: str) -> bool:
    first, _, second = place.partition(".")
    if not second:
        return not request.get(first)
    table = request.get(first)
    return isinstance(table, dict) and not table.get(second)


def _unjudged(request: dict[Any, Any]) -> list[str]:
    config = request.get("DeploymentConfig")
    back = config.get("AutoRollbackConfiguration") if isinstance(config, dict) else None
    if not isinstance(back, dict) or not back.get("Alarms"):
        return ["no alarm takes a bad update back (AutoRollbackConfiguration)"]
    return []
