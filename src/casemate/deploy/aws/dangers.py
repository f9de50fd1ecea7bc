"""What is unsafe in a request to SageMaker as it lies in the folder, edited perhaps."""

from collections.abc import Iterator
from typing import Any

from casemate.deploy.documents import Unreadable, documents
from casemate.deploy.images import is_pinned
from casemate.deploy.interface import Given

ISOLATED = ("training-job.yaml", "model.yaml")
KEYS = {
    "training-job.yaml": ("OutputDataConfig.KmsKeyId", "ResourceConfig.VolumeKmsKeyId"),
    "endpoint-config.yaml": ("KmsKeyId", "DataCaptureConfig.KmsKeyId"),
}
"""What must be under a key, if it is there at all."""
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
        own, there = _request(rendered), _request(content)
    except Unreadable:
        return []  # which `dangers` says
    return [
        f"{field} is not what the project says: change it there, and render again"
        for field in STARTED[name]
        if own.get(field) != there.get(field)
    ]


def _request(content: bytes) -> dict[Any, Any]:
    requests = documents(content)
    if len(requests) != 1 or not isinstance(requests[0], dict):
        raise Unreadable("it holds something else than one request")
    return requests[0]


def dangers(name: str, content: bytes) -> list[str]:
    """In the file `name`; nothing in files that nobody sends."""
    if not name.endswith(".yaml"):
        return _in_dockerfile(content) if name == "Dockerfile" else []
    try:
        request = _request(content)
    except Unreadable as error:
        return [str(error)]
    found = [
        f"the image {image[:100]!r} is not named by its digest"
        for image in _values(request, ("Image", "TrainingImage"))
        if not is_pinned(image)
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
