"""Which model rendered files are about, and whether it may be started."""

import json
import re
from pathlib import Path

from casemate.core.errors import ConfigError, RefusedError
from casemate.core.types import Release
from casemate.deploy import state as states
from casemate.deploy.checking import judge
from casemate.deploy.cluster.documents import Document, key_of
from casemate.deploy.interface import Given
from casemate.deploy.targets import TARGETS
from casemate.operations.images import require_startable
from casemate.wiring import Wiring

NAMED = re.compile(r"(?P<name>[^@\s]+@\d+) sha256:(?P<digest>[0-9a-f]{64})")
PACKAGED = "model:packaged"


def require_rendered(project: Wiring, folder: Path, target: str) -> list[str]:
    """The files of a folder in which somebody has written.

    Raises:
        ConfigError: nothing was rendered into it for that target. RefusedError: the project would
            be rendered otherwise now, or it must not be used as it is.
    """
    _last(folder, target)
    judged = [one for one in judge(project.config, project.root, folder) if one.target == target]
    unsound = [f"{one.file} is {one.how}" for one in judged if not one.sound and not one.dangers]
    dangers = [f"{one.file}: {danger}" for one in judged for danger in one.dangers]
    if unsound or dangers:
        raise RefusedError(
            f"{folder} is not what this project renders: " + "; ".join([*unsound, *dangers][:5]),
            hint=f"casemate deploy check {folder}, then casemate deploy {target} {folder}",
        )
    return [one.file for one in judged if one.how == "edited"]


def require_assembled(
    project: Wiring, folder: Path, target: str, documents: list[Document]
) -> None:
    """RefusedError: what kustomize puts together from a folder, with files and changes that were
    not rendered, must not be used.
    """
    given = Given(project.config, project.root, folder, _last(folder, target).options)
    judges, dangers = TARGETS[target], []
    for one in documents:
        content = json.dumps(one).encode()  # which YAML is, too
        found = judges.dangers("assembled.yaml", content)
        found += judges.unfit(given, "assembled.yaml", content)
        dangers += [f"{key_of(one)}: {danger.partition(': ')[2]}" for danger in found]
    if dangers:
        raise RefusedError(
            f"{folder} becomes what must not be applied: " + "; ".join(dangers[:5]),
            hint=f"take that out of its files; casemate deploy check {folder}",
        )


def require_model(project: Wiring, folder: Path, target: str, given: str | None) -> str:
    """The model of the files as `NAME@VERSION sha256:...`, which may be started.

    Args:
        project: whose model.
        folder: of the files.
        target: for which they were rendered.
        given: `NAME@VERSION`, where the files do not tell.

    Raises:
        ConfigError: they do not tell, or another one was given. RefusedError: it is not approved,
            held or withdrawn. VerificationError: it does not hold.
    """
    chosen = _chosen(project, folder, target, given)
    project.registry.verify(_reference(chosen))
    require_startable(project, chosen)
    return f"{_reference(chosen)} sha256:{chosen.bundle}"


def said_model(project: Wiring, folder: Path, target: str, given: str | None) -> str:
    """The same, whether it may be started or not; ConfigError: the files do not tell."""
    chosen = _chosen(project, folder, target, given)
    return f"{_reference(chosen)} sha256:{chosen.bundle}"


def _last(folder: Path, target: str) -> states.Last:
    found = states.read(folder).targets.get(target)
    if found is None:
        raise ConfigError(
            f"{folder} was not rendered for {target}", hint=f"casemate deploy {target} {folder}"
        )
    return found


def _chosen(project: Wiring, folder: Path, target: str, given: str | None) -> Release:
    said = _last(folder, target).model
    release = _said(project, said) if said else None
    named = None if given is None else project.registry.get(given).release
    if release is not None and named is not None and _reference(release) != _reference(named):
        raise ConfigError(
            f"{folder} is about {_reference(release)}, not {_reference(named)}",
            hint=f"render it for {_reference(named)}",
        )
    chosen = release or named
    if chosen is None:
        raise ConfigError(
            f"{folder} does not say which model its pods verify", hint="--model NAME@VERSION"
        )
    return chosen


def _reference(release: Release) -> str:
    return f"{release.model}@{release.model_version}"


def _said(project: Wiring, said: str) -> Release:
    """The release that `NAME@VERSION sha256:BUNDLE` or `IMAGE sha256:DIGEST` names."""
    found = NAMED.fullmatch(said)
    if found is not None:
        release = project.registry.get(found["name"]).release
        if release.bundle != found["digest"]:
            raise RefusedError(
                f"the files name another signature of {found['name']} than the registry has",
                hint="render them again",
            )
        return release
    return project.registry.get(_packaged(project, said.rpartition(" ")[2])).release


def _packaged(project: Wiring, digest: str) -> str:
    """The model that was written as the image with this digest, by the log."""
    for entry in project.log.plain_entries():
        if entry.action == PACKAGED and entry.detail.get("image") == digest:
            name = entry.resource.partition('"')[2].rstrip('"')
            return f"{name}@{entry.detail['version']}"
    raise RefusedError(
        f"no model of this project was written as the image {digest}",
        hint="casemate image model NAME@VERSION FOLDER, push it, and name its digest",
    )
