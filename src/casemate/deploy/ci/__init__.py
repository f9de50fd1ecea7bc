"""What a build server does, whichever it is: the same commands in the same stages.

Exit codes are those of `casemate run`: 0 is a signed model; 1 is a result too, a model that gates
refused or could not judge, so its evidence is kept and the job that says so fails; anything else is
a crash, and ends the job at once.
"""

import os
import shlex
from dataclasses import dataclass

from casemate.config import Config
from casemate.core.errors import ConfigError
from casemate.deploy.interface import Given
from casemate.deploy.quoting import one_line

KEPT = "casemate-ci"
"""Folder in which a pipeline keeps what its run came to."""
DEPLOYED = "casemate-deploy"


@dataclass(frozen=True)
class Stage:
    """One job."""

    name: str
    text: str
    """What it does, for a comment."""
    commands: list[str]
    """Lines for any POSIX shell, which stops at the first that fails."""


def stages(
    given: Given, pipeline: str, *, kept: str = KEPT, deployed: str = DEPLOYED
) -> list[Stage]:
    """Every job in its order.

    Args:
        given: project, folder, configuration.
        pipeline: a shell expression that names the pipeline; all its jobs have the same.
        kept: one for the folder in which what its run came to is kept.
        deployed: one for the folder from which a model is deployed.

    Raises:
        ConfigError: the pipeline could not run as it would be rendered.
    """
    table = given.config.deploy
    casemate = f"casemate{_project(given)}"
    trusted = _shell(table.trusted)
    _require_unattended(given.config)
    return [
        Stage(
            "build",
            "what the machine can enforce, and whether these files still fit the project",
            [f"{casemate} doctor", f"{casemate} config check", f"{casemate} deploy check ."],
        ),
        Stage(
            "test",
            "what casemate thinks of the table",
            [f"{casemate} check", *([f"{casemate} drill --if-due"] if table.drill else [])],
        ),
        Stage(
            "train",
            "exit code 1 is a verdict, which the next job tells; others are crashes",
            [f'{casemate} run --key {pipeline} || test "$?" -eq 1'],
        ),
        Stage(
            "assess",
            "fails with exit code 1 if no model was signed, after its evidence is kept",
            [
                f"rm -rf {kept}",
                f"{casemate} runs export {kept} --key {pipeline}",
                f"casemate verify {kept}/evidence --key {trusted}",
            ],
        ),
        Stage(
            "deploy",
            "waits for a person; only what verifies with the keys in the repository is let out",
            [
                f"rm -rf {deployed}",
                f"{casemate} runs export {deployed} --key {pipeline}",
                f'{casemate} model export "$(cat {deployed}/model)" {deployed}/signed',
                f"casemate verify {deployed}/signed --key {trusted}",
                (f'{casemate} model promote "$(cat {deployed}/model)" --reason {pipeline}'),
            ],
        ),
        Stage(
            "feedback",
            "what people said of answers; exit code 1 names a source that turns labels",
            [
                f"{casemate} retrain plan",
                f'{casemate} feedback screen || test "$?" -eq 1',
            ],
        ),
    ]


def _project(given: Given) -> str:
    """` --config PATH`, from the repository's root to the project; empty if they are the same."""
    way = os.path.relpath(given.root.resolve(), given.folder.resolve())
    if way == ".":
        return ""
    if way.split(os.sep)[0] == os.pardir:
        raise ConfigError(
            f"{given.root} does not lie in {given.folder}",
            hint="render into the root of the repository that holds the project",
        )
    return f" --config {_shell(way)}"


def _shell(text: str) -> str:
    one_line(text)
    # build servers put values in place of these before a shell sees them
    if "${{" in text or "$" in text or text.startswith("-"):
        raise ConfigError(
            f"{text!r} cannot be named in a pipeline", hint="a folder without $, and no leading -"
        )
    return shlex.quote(text)


def _require_unattended(config: Config) -> None:
    """A secret that somebody types, or that the build server was not told to hand over, would stop
    every job.
    """
    reference = config.keys.passphrase or ""
    if reference == "prompt":
        raise ConfigError(
            "[keys] passphrase = 'prompt': nobody is at the keyboard of a build server",
            hint='passphrase = "env:NAME", and NAME in [deploy] secrets',
        )
    kind, _, name = reference.partition(":")
    if kind == "env" and name not in config.deploy.secrets:
        raise ConfigError(
            f"[keys] passphrase is env:{name}, and [deploy] secrets does not name it",
            hint=f'[deploy] secrets = ["{name}"], and let the build server keep its value',
        )


def environment_of(config: Config) -> str:
    """Name of the build server's environment, which protects what is deployed."""
    return config.deploy.environment or config.release.stage


def notes(given: Given) -> tuple[str, ...]:
    """What whoever renders must still do."""
    trusted = given.folder / given.config.deploy.trusted
    if trusted.is_dir() and any(trusted.iterdir()):
        return ()
    public = given.root / ".casemate" / "public"
    return (f"put public keys that you trust into {trusted}, such as those of {public}",)
