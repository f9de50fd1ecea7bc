"""What can be rendered. A target is one entry of `TARGETS`: CONTRIBUTING.md says how to add one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from casemate.config import Config

WORK = "/var/spool/rsyslog/casemate"
"""Where a Debian's rsyslog may write."""


@dataclass(frozen=True)
class Given:
    """All that a rendering may depend on: the same gives the same bytes."""

    config: Config
    root: Path
    """The project's folder."""
    folder: Path
    """Where the files will lie."""
    options: Mapping[str, str]
    """Of the command, by their names; those without a default may be missing."""


@dataclass(frozen=True)
class Rendering:
    """What a target makes of it."""

    files: dict[str, bytes]
    """Content by path within the folder."""
    model: str = ""
    """`NAME@VERSION sha256:...`, if the files are about one model and no other."""
    notes: tuple[str, ...] = ()
    """What whoever renders should know."""


@dataclass(frozen=True)
class Option:
    """An option of the command."""

    name: str
    """Without its dashes."""
    help: str
    metavar: str
    default: str | None = None


@dataclass(frozen=True)
class Target:
    """Somebody else's system."""

    help: str
    """What its files are, in half a line."""
    render: Callable[[Given], Rendering]
    """Pure; raises a ConfigError rather than rendering what could not be used safely."""
    next: str
    """The file that says what to do next."""
    options: tuple[Option, ...] = ()
    dangers: Callable[[str, bytes], list[str]] = lambda _name, _content: []
    """What is unsafe in a file as it lies in the folder, edited perhaps; its path and content."""


def _prometheus(given: Given) -> Rendering:
    from casemate.controls.keys.store import keystore_folder
    from casemate.core.errors import ConfigError
    from casemate.deploy import prometheus

    config = given.config
    authority = keystore_folder(config.project.id) / "public" / "ca.pem"
    if not authority.is_file():
        raise ConfigError(
            f"there is no {authority}", hint="render where the project's key store is"
        )
    where = given.options.get("address") or f"{config.serve.host}:{config.serve.port}"
    files = prometheus.render(config, authority.read_bytes(), where)
    if config.slo:
        return Rendering(files)
    return Rendering(
        files, notes=("no [slo] in casemate.toml: only alerts about the service itself",)
    )


def _elasticsearch(given: Given) -> Rendering:
    from casemate.deploy import elasticsearch

    return Rendering(elasticsearch.render(given.config))


def _rsyslog(given: Given) -> Rendering:
    from casemate.deploy import rsyslog

    options = given.options
    return Rendering(
        rsyslog.render(given.config, given.root, options.get("url"), options.get("work", WORK))
    )


def _gitlab(given: Given) -> Rendering:
    from casemate.deploy import gitlab

    return gitlab.render(given)


def _jenkins(given: Given) -> Rendering:
    from casemate.deploy import jenkins

    return jenkins.render(given)


def _github(given: Given) -> Rendering:
    from casemate.deploy import github

    return github.render(given)


def _gitlab_dangers(_name: str, content: bytes) -> list[str]:
    from casemate.deploy import gitlab

    return gitlab.dangers(content)


def _jenkins_dangers(_name: str, content: bytes) -> list[str]:
    from casemate.deploy import jenkins

    return jenkins.dangers(content)


def _github_dangers(_name: str, content: bytes) -> list[str]:
    from casemate.deploy import github

    return github.dangers(content)


TARGETS = {
    "prometheus": Target(
        "scraping, alert rules with their tests, Alertmanager, a Grafana dashboard",
        _prometheus,
        "README.md",
        (Option("address", "of the gateway (default: [serve] host and port)", "HOST:PORT"),),
    ),
    "elasticsearch": Target(
        "the index template of log lines, and a key that may only add some",
        _elasticsearch,
        "README.md",
    ),
    "rsyslog": Target(
        "an rsyslog that takes the lines of a file to Elasticsearch",
        _rsyslog,
        "README.md",
        (
            Option("url", "of Elasticsearch (default: that of the first such sink)", "URL"),
            Option("work", f"that rsyslog may write to (default: {WORK})", "FOLDER", WORK),
        ),
    ),
    "gitlab": Target(
        "a pipeline for GitLab CI, with approval before a model is let out",
        _gitlab,
        ".gitlab-ci.yml",
        dangers=_gitlab_dangers,
    ),
    "jenkins": Target(
        "a declarative Jenkinsfile that does the same",
        _jenkins,
        "Jenkinsfile",
        dangers=_jenkins_dangers,
    ),
    "github": Target(
        "a workflow for GitHub Actions that does the same",
        _github,
        ".github/workflows/casemate.yml",
        dangers=_github_dangers,
    ),
}
"""By the word on the command line."""
