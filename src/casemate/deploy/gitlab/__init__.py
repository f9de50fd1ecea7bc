"""`casemate deploy gitlab`: a pipeline for GitLab CI. For GitLab 16 and newer."""

from typing import Any

from casemate.core.errors import ConfigError
from casemate.deploy import ci
from casemate.deploy.ci import dangers as unsafe
from casemate.deploy.images import is_pinned
from casemate.deploy.interface import Given, Rendering
from casemate.deploy.templates import environment

FILE = ".gitlab-ci.yml"
PIPELINE = '"gitlab/$CI_PIPELINE_ID"'
TOKEN = '"$CI_PROJECT_DIR.tmp/casemate-token"'
GIVING = [
    'mkdir -p "$CI_PROJECT_DIR.tmp"',
    f'(umask 077 && printf %s "$CASEMATE_TOKEN" > {TOKEN})',
    f"export AWS_WEB_IDENTITY_TOKEN_FILE={TOKEN}",
]
"""What puts the job's own token where AWS's libraries look for it."""


def render(given: Given) -> Rendering:
    """The pipeline; ConfigError: it could not run."""
    config = given.config
    text = (
        environment("casemate.deploy.gitlab")
        .get_template("gitlab-ci.yml.jinja")
        .render(
            project=config.project.name,
            # not by a variable: whoever starts a pipeline may give variables
            branch=f"$CI_COMMIT_BRANCH == {_compared(config.deploy.branch)}",
            deploy=config.deploy,
            environment=ci.environment_of(config),
            days=f"{config.retention.keep_days} days",
            stages=ci.stages(given, PIPELINE),
            kept=ci.KEPT,
            giving=GIVING,
        )
    )
    return Rendering({FILE: text.encode()}, notes=ci.notes(given))


def _compared(text: str) -> str:
    """A text as GitLab's rules have it; ConfigError if it could leave its quotes."""
    if any(sign in text for sign in '"\\$'):
        raise ConfigError(f"{text!r} cannot be compared with by GitLab")
    return f'"{text}"'


def dangers(content: bytes) -> list[str]:
    """What is unsafe in it, edited perhaps."""
    jobs = unsafe.loaded(content)
    if jobs is None:
        return ["it is no YAML that GitLab could read"]
    found = [
        f"{where}: an image by a tag, which may be moved; name it by @sha256:..."
        for where, job in [("at the top", jobs), *jobs.items()]
        if isinstance(job, dict) and (image := _image(job)) and not is_pinned(image)
    ]
    for where, job in jobs.items():
        said = job if isinstance(job, dict) else {}
        lines = unsafe.texts(said.get("before_script")) + unsafe.texts(said.get("script"))
        after = unsafe.texts(said.get("after_script"))  # GitLab runs it whether or not they failed
        if unsafe.unverified(lines) or unsafe.unverified(after):
            found.append(f"{where}: a model is promoted that `casemate verify --key` did not see")
        if unsafe.promotes(lines + after) and not _waits(job):
            found.append(f"{where}: a model is promoted and nobody is asked (when: manual)")
    return found


def _image(job: dict[Any, Any]) -> str:
    image = job.get("image", "")
    return unsafe.word(image.get("name") if isinstance(image, dict) else image)


def _waits(job: dict[Any, Any]) -> bool:
    """Whether every way in which the job begins is a person's."""
    rules = job.get("rules")
    if not isinstance(rules, list) or not rules:
        return job.get("when") == "manual"
    ways = [rule.get("when", job.get("when")) for rule in rules if isinstance(rule, dict)]
    return len(ways) == len(rules) and set(ways) <= {"manual", "never"}
