"""What a cluster refuses in the project's namespaces: a pod that starts a model, or anything beside
one, without verifying it first. Rules in CEL, which Kubernetes and Kyverno read alike.

They name what a pod may run, not what it must not: whatever nobody thought of is refused.
"""

import json
from dataclasses import dataclass

from casemate.config import Config
from casemate.config.kubernetes import SECRETS
from casemate.deploy.gateway.words import KEYS, MODEL, PROJECT, RUN
from casemate.deploy.kubernetes import words as said

MOUNTS = (
    MODEL,
    KEYS,
    RUN,
    PROJECT,
    f"{PROJECT}/casemate.toml",
    "/tmp",  # noqa: S108 - where a pod's own volume is mounted
    SECRETS,
    said.TOKEN,
    said.STORE,
    "/credentials",
    "/backups",
)
"""Nothing else may be mounted: a volume over the packages would be another program."""
STEERING = ("PYTHON", "LD_", "GCONV_", "GLIBC_", "OPENSSL_", "CASEMATE_")
"""What the names of variables must not begin with: they would make another program of this one."""
FOLDERS = ("HOME", "PATH", "XDG_")
"""Those that must not be said where the model is: what is there would run, or be believed. What
fetches a model has no home of its own and is told one.
"""


@dataclass(frozen=True)
class Rule:
    """One reason to refuse a pod."""

    expression: str
    """In CEL; true for a pod that may be."""
    message: str


@dataclass(frozen=True)
class Rules:
    """All of them."""

    variables: dict[str, str]
    """Expressions by name, each may use those before it as `variables.NAME`."""
    rules: tuple[Rule, ...]


def escaped(words: list[str]) -> list[str]:
    """Words as they stand in a manifest, where `$(NAME)` means something."""
    return [word.replace("$", "$$") for word in words]


def literal(value: str | list[str]) -> str:
    """A text, or a list of them, as CEL has it."""
    # CEL's escapes are those of JSON, and more
    return json.dumps(value)


def allowed(config: Config, serving: list[str], others: list[list[str]], alive: list[str]) -> Rules:
    """What pods of the project may be.

    Args:
        config: the project's.
        serving: what the gateway is told behind the verification.
        others: commands that touch no model, such as the watcher's.
        alive: the only command by which a probe may ask.
    """
    table = config.deploy.kubernetes
    images = [str(table.image), *table.accepted]
    starts = [said.placing(config)]
    if table.model.source in ("copy", "s3"):
        starts.append(said.fetching(config))
    variables = {
        "inits": "has(object.spec.initContainers) ? object.spec.initContainers : []",
        "all": "object.spec.containers + variables.inits",
        "volumes": "has(object.spec.volumes) ? object.spec.volumes : []",
        "verifying": literal(said.verifying(config)),
        "serving": literal(serving),
        "others": _lists(others),
        "starts": _lists(starts),
        "images": literal(images),
        "fetchers": literal([table.model.fetcher] if table.model.fetcher else []),
        "mounts": literal(list(MOUNTS)),
        "alive": literal(alive),
        "steering": literal(list(STEERING)),
        "folders": literal(list(FOLDERS)),
    }
    return Rules(variables, (*_of_starts(), *_of_places(), *_of_ways()))


def _lists(lists: list[list[str]]) -> str:
    return "[" + ", ".join(literal(one) for one in lists) + "]"


def _of_starts() -> tuple[Rule, ...]:
    return (
        Rule(
            "object.spec.containers.all(c, has(c.command) && (c.command == variables.verifying"
            " ? has(c.args) && c.args == variables.serving"
            " : (c.command in variables.others && !has(c.args))))",
            "a container begins with another command than the one that verifies the model, and"
            " then becomes the gateway",
        ),
        Rule(
            "variables.inits.all(c, has(c.command) && c.command in variables.starts"
            " && !has(c.args))",
            "an init container runs something that is not rendered by casemate",
        ),
        Rule(
            "!has(object.spec.ephemeralContainers) || size(object.spec.ephemeralContainers) == 0",
            "an ephemeral container could load the model without verifying it",
        ),
        Rule(
            "object.spec.containers.all(c, has(c.image) && c.image in variables.images)"
            " && variables.inits.all(c, has(c.image) && (c.image in variables.images"
            " || c.image in variables.fetchers))",
            "an image is not one of those that are known to verify, by their digests",
        ),
    )


def _of_places() -> tuple[Rule, ...]:
    return (
        Rule(
            "object.spec.containers.all(c, !has(c.command) || c.command != variables.verifying"
            f" || (has(c.volumeMounts) && c.volumeMounts.exists(m, m.mountPath == {literal(MODEL)}"
            " && has(m.readOnly) && m.readOnly)))",
            "the model is not mounted read-only where it is verified",
        ),
        Rule(
            _has_map(KEYS, said.TRUSTED),
            f"the public keys are not those of the ConfigMap {said.TRUSTED}",
        ),
        Rule(
            _has_map(f"{PROJECT}/casemate.toml", said.TOML),
            "casemate.toml, which says whose models are believed, is not that of the ConfigMap"
            f" {said.TOML}",
        ),
        Rule(
            "variables.all.all(c, !has(c.volumeMounts) || c.volumeMounts.all(m, variables.volumes"
            ".all(v, v.name != m.name || !has(v.image) || (has(c.command)"
            f" && c.command == variables.verifying && m.mountPath == {literal(MODEL)}))))",
            "an image volume is mounted by a container that does not verify it",
        ),
        Rule(
            "variables.all.all(c, !has(c.volumeDevices) && (!has(c.volumeMounts)"
            " || c.volumeMounts.all(m, m.mountPath in variables.mounts && !has(m.subPathExpr)"
            f" && (!has(m.subPath) || m.mountPath == {literal(f'{PROJECT}/casemate.toml')}))))",
            "something is mounted over what verifies",
        ),
        Rule(
            "variables.all.all(c, !has(c.volumeMounts) || c.volumeMounts.all(m,"
            f" m.mountPath != {literal(RUN)}"
            " || variables.volumes.exists(v, v.name == m.name && has(v.emptyDir))))",
            "what was verified would lie where something outside of the pod can change it",
        ),
    )


def _has_map(path: str, name: str) -> str:
    """True where what verifies has the whole ConfigMap of that name at a path."""
    return (
        "object.spec.containers.all(c, !has(c.command) || c.command != variables.verifying"
        f" || (has(c.volumeMounts) && c.volumeMounts.exists(m, m.mountPath == {literal(path)}"
        " && variables.volumes.exists(v, v.name == m.name && has(v.configMap)"
        f" && has(v.configMap.name) && v.configMap.name == {literal(name)}"
        " && !has(v.configMap.items)))))"
    )


def _of_ways() -> tuple[Rule, ...]:
    probes = " && ".join(
        f"(!has(c.{probe}) || !has(c.{probe}.exec) || (has(c.{probe}.exec.command)"
        f" && c.{probe}.exec.command == variables.alive))"
        for probe in ("livenessProbe", "readinessProbe", "startupProbe")
    )
    return (
        Rule(
            "variables.all.all(c, !has(c.envFrom) && !has(c.workingDir) && (!has(c.env)"
            " || c.env.all(e, variables.steering.all(s, !e.name.startsWith(s)))))"
            " && object.spec.containers.all(c, !has(c.env)"
            " || c.env.all(e, variables.folders.all(s, !e.name.startsWith(s))))",
            "a variable or a working directory could make another program of the one that verifies",
        ),
        Rule(
            "variables.all.all(c, !has(c.lifecycle) || (!has(c.lifecycle.postStart)"
            " && (!has(c.lifecycle.preStop) || !has(c.lifecycle.preStop.exec))))",
            "a hook runs a command beside the one that verifies",
        ),
        Rule(
            f"variables.all.all(c, {probes})",
            "a probe runs a command beside the one that verifies",
        ),
        Rule(
            "!has(object.spec.shareProcessNamespace) || !object.spec.shareProcessNamespace",
            "containers that see one another's processes could change the one that verifies",
        ),
    )
