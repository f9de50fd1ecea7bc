"""`casemate deploy jenkins`: a declarative Jenkinsfile for a multibranch pipeline. For Jenkins
2.361 and newer with its usual plug-ins (Pipeline, JUnit, Credentials).
"""

import re

from casemate.deploy import ci
from casemate.deploy.ci import dangers as unsafe
from casemate.deploy.interface import Given, Rendering
from casemate.deploy.quoting import in_groovy
from casemate.deploy.templates import environment

FILE = "Jenkinsfile"
PIPELINE = '"jenkins/$BUILD_NUMBER"'
_COMMENT = re.compile(r"('(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\")|//[^\n]*|/\*(?s:.*?)\*/")
"""A text, which stays, or a comment of Groovy."""
_SH = re.compile(r"\bsh '((?:[^'\\]|\\.)*)'")


def render(given: Given) -> Rendering:
    """The pipeline; ConfigError: it could not run."""
    config = given.config
    text = (
        environment("casemate.deploy.jenkins")
        .get_template("Jenkinsfile.jinja")
        .render(
            project=config.project.name,
            deploy=config.deploy,
            question=f"Deploy the model of {config.project.name} to {ci.environment_of(config)}?",
            stages=ci.stages(given, PIPELINE),
            kept=ci.KEPT,
            # Groovy knows this line break; a text of somebody's may have none
            schedule=in_groovy("TZ=UTC")[:-1] + "\\n" + in_groovy(config.deploy.schedule)[1:],
        )
    )
    return Rendering({FILE: text.encode()}, notes=ci.notes(given))


def commands(text: str) -> list[str]:
    """What its `sh` steps run, in their order."""
    return [re.sub(r"\\(.)", r"\1", one) for one in _SH.findall(text)]


def dangers(content: bytes) -> list[str]:
    """What is unsafe in it, edited perhaps."""
    text = _COMMENT.sub(lambda found: found[1] or "", content.decode(errors="replace"))
    lines = commands(text)
    found = []
    if re.search(r"\bsh\s*\(?\s*(?:script:\s*)?\"", text):
        found.append(
            "a command in double quotes, in which Groovy puts values before a shell sees it"
        )
    if sum(map(bool, map(unsafe.PROMOTE.search, text.splitlines()))) > sum(
        map(bool, map(unsafe.PROMOTE.search, lines))
    ):
        found.append("a model is promoted by a step that is not read here; write it as sh '...'")
    if unsafe.unverified(lines):
        found.append("a model is promoted that `casemate verify --key` did not see")
    if unsafe.promotes(lines) and not re.search(r"\binput\s*\{", text):
        found.append("a model is promoted and nobody is asked (input)")
    return found
