"""`casemate deploy github`: a workflow for GitHub Actions, on a machine of your own."""

from typing import Any

from casemate.core.errors import ConfigError
from casemate.deploy import ci
from casemate.deploy.ci import dangers as unsafe
from casemate.deploy.interface import Given, Rendering
from casemate.deploy.templates import environment

FILE = ".github/workflows/casemate.yml"
PIPELINE = '"github/$GITHUB_RUN_ID"'
CHECKOUT = "actions/checkout@08c6903cd8c0fde910a37f88322edcfb5dd907a8"
CHECKOUT_VERSION = "v5.0.0"
UPLOAD = "actions/upload-artifact@ea165f8d65b6e75b540449e92b4886f43607fa02"
UPLOAD_VERSION = "v4.6.2"
"""By commit, since a tag may be moved."""
TOKEN = '"$RUNNER_TEMP/casemate-token"'
GIVING = [
    "umask 077",
    (
        'printf "header = \\"Authorization: bearer %s\\"\\n" "$ACTIONS_ID_TOKEN_REQUEST_TOKEN" |'
        ' curl -fsS -K - "$ACTIONS_ID_TOKEN_REQUEST_URL&audience=sts.amazonaws.com" |'
        f' python3 -c \'import json,sys; print(json.load(sys.stdin)["value"], end="")\' > {TOKEN}'
    ),
    f'printf "AWS_WEB_IDENTITY_TOKEN_FILE=%s\\n" {TOKEN} >> "$GITHUB_ENV"',
]
"""What puts the job's own token where AWS's libraries look for it; never on a command line."""
UNTRUSTED = ("pull_request", "pull_request_target", "workflow_run", "issue_comment")


def render(given: Given) -> Rendering:
    """The workflow; ConfigError: it could not run."""
    config = given.config
    jinja = environment("casemate.deploy.github")
    jinja.filters["literal"] = _literal
    text = jinja.get_template("workflow.yml.jinja").render(
        project=config.project.name,
        deploy=config.deploy,
        environment=ci.environment_of(config),
        days=min(config.retention.keep_days, 90),
        stages=ci.stages(given, PIPELINE),
        kept=ci.KEPT,
        checkout=f"{CHECKOUT} # {CHECKOUT_VERSION}",
        upload=f"{UPLOAD} # {UPLOAD_VERSION}",
        giving=GIVING,
    )
    return Rendering({FILE: text.encode()}, notes=ci.notes(given))


def _literal(text: str) -> str:
    """A text that GitHub does not take for an expression; ConfigError otherwise."""
    if "${{" in text:
        raise ConfigError(f"{text!r} cannot stand in a workflow: GitHub would evaluate it")
    return text


def dangers(content: bytes) -> list[str]:
    """What is unsafe in it, edited perhaps."""
    workflow = unsafe.loaded(content)
    jobs = None if workflow is None else workflow.get("jobs")
    if workflow is None or not isinstance(jobs, dict):
        return ["it is no YAML that GitHub could read"]
    # YAML 1.1 reads the word `on` as true
    events = workflow.get("on", workflow.get(True))
    found = [
        f"it runs for {one}, with code that others propose, on a machine that holds keys"
        for one in UNTRUSTED
        if one == events or (isinstance(events, list | dict) and one in events)
    ]
    for where, job in [("at the top", workflow), *jobs.items()]:
        if isinstance(job, dict):
            found += [f"{where}: {problem}" for problem in _problems(job)]
    if "permissions" not in workflow:
        found.append("no permissions at the top: jobs would get those of the repository")
    return found


_ALWAYS = (True, "success()", "always()")


def _heard(step: dict[Any, Any]) -> list[str]:
    """The lines of a step; one that may fail or be left out verifies nothing."""
    lines = unsafe.texts(step.get("run"))
    if step.get("continue-on-error", False) is False and step.get("if", True) in _ALWAYS:
        return lines
    return [line for line in lines if not unsafe.VERIFY.search(line)]


def _problems(job: dict[Any, Any]) -> list[str]:
    listed = job.get("steps")
    steps = [step for step in listed if isinstance(step, dict)] if isinstance(listed, list) else []
    lines = [line for step in steps for line in unsafe.texts(step.get("run"))]
    heard = [line for step in steps for line in _heard(step)]
    used = [unsafe.word(one["uses"]) for one in (job, *steps) if "uses" in one]
    found = [
        f"{one} is not named by the 40 digits of a commit; a tag may be moved"
        for one in used
        if not unsafe.PINNED.fullmatch(one) and not one.startswith("./")
    ]
    if job.get("permissions") == "write-all":
        found.append("permissions: write-all")
    found += [
        "a command with ${{ }} in it, which GitHub puts in before a shell sees it"
        for line in lines
        if "${{" in line
    ][:1]
    if unsafe.unverified(heard):
        found.append("a model is promoted that `casemate verify --key` did not see")
    if unsafe.promotes(lines) and not job.get("environment"):
        found.append("a model is promoted and nobody is asked (environment)")
    return found
