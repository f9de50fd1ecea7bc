"""`casemate deploy kubeflow`: pipelines for Kubeflow, each stage a component; for kfp 2.17.

Kubeflow asks nobody within a pipeline, so what is deployed is a pipeline of its own that a person
starts. A component fails by an error: conditions of kfp compare texts, which kfp's local runner
evaluates as Python (GHSA-rhjm-6347-5x33).
"""

import dataclasses
import math
import re

from casemate.core.errors import ConfigError
from casemate.deploy import ci
from casemate.deploy.images import is_pinned
from casemate.deploy.interface import Given, Rendering
from casemate.deploy.kubeflow.dangers import dangers
from casemate.deploy.quoting import one_line
from casemate.deploy.templates import environment

__all__ = ["CLAIM", "FILE", "MOUNT", "PIPELINE", "dangers", "render", "steps"]

FILE = "pipeline.py"
PIPELINE = '"kubeflow/$CASEMATE_RUN"'
KEPT = '"$CASEMATE_KEPT"'
CLAIM, MOUNT = "casemate", "/casemate"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""RFC 1123, section 2.1, in lower case."""
MORE_GB = 2
"""Memory beside what training may take."""


def render(given: Given) -> Rendering:
    """The pipelines; ConfigError: they could not run."""
    config, options = given.config, given.options
    image = options.get("image", "")
    if not is_pinned(image):
        raise ConfigError(
            "steps of Kubeflow run in an image, which must be named by its digest",
            hint="--image NAME@sha256:..., with casemate[pipeline], kfp and sh",
        )
    mount = options.get("mount", MOUNT)
    if not mount.startswith("/") or mount.endswith("/") or ".." in mount.split("/"):
        raise ConfigError(f"--mount {mount!r} is no absolute path", hint=f"such as {MOUNT}")
    claim = options.get("claim", CLAIM)
    if not _NAME.fullmatch(claim):
        raise ConfigError(f"--claim {claim!r} is no name in Kubernetes", hint=f"such as {CLAIM}")
    jinja = environment("casemate.deploy.kubeflow")
    jinja.filters["python"] = _literal
    text = jinja.get_template("pipeline.py.jinja").render(
        project=config.project.name,
        description=f"casemate project {config.project.name}",
        image=image,
        claim=claim,
        mount=mount,
        secrets=config.deploy.secrets,
        cpu="2",
        memory=f"{math.ceil(config.train.memory_gb) + MORE_GB}G",
        steps=steps(given),
    )
    notes = list(ci.notes(given))
    if config.release.approvals == 0:
        notes.append(
            "whoever may start the pipeline casemate-deploy lets models out: [release] approvals"
            " asks for people whom casemate knows"
        )
    return Rendering({FILE: text.encode()}, notes=tuple(notes))


def steps(given: Given) -> list[ci.Stage]:
    """Every component in its order: evidence is kept by one and judged by the next, for Kubeflow
    keeps nothing of a step that failed.
    """
    found = []
    for stage in ci.stages(given, PIPELINE, kept=KEPT, deployed=KEPT):
        if stage.name != "assess":
            found.append(stage)
            continue
        first, export, _ = stage.commands
        kept = [first, f'{export} || test "$?" -eq 1', f"test -d {KEPT}"]
        text = "keeps the evidence, whatever the verdict is"
        found.append(dataclasses.replace(stage, text=text, commands=kept))
        found.append(
            ci.Stage("gate", "fails with the reasons if no model was signed", stage.commands)
        )
    return found


def _literal(value: str | list[str]) -> str:
    """A text, or several, as Python has it; ConfigError where Kubeflow or Argo would put a value in
    the place of a part.
    """
    for text in [value] if isinstance(value, str) else value:
        one_line(text)
        if "{{" in text:
            raise ConfigError(
                f"{text!r} cannot stand in a pipeline: Kubeflow would evaluate it",
                hint="a text without {{",
            )
    return repr(value)
