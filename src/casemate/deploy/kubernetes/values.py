"""What the templates are filled with, for a cluster and for KServe alike."""

import hashlib
from collections.abc import Callable, Mapping

import yaml

from casemate.config import Config
from casemate.config.kubernetes import SECRETS
from casemate.deploy.gateway.words import KEYS, MODEL, PROJECT, RUN, USER
from casemate.deploy.interface import Given
from casemate.deploy.kubernetes import admission, needed
from casemate.deploy.kubernetes import words as said
from casemate.deploy.quoting import in_yaml
from casemate.deploy.templates import environment

LEVELS = ".casemate/telemetry"
FRESH = (
    "import os, sys, time;"
    " newest = max(one.stat().st_mtime for one in os.scandir(sys.argv[1]));"
    " sys.exit(time.time() - newest > float(sys.argv[2]))"
)
"""A watcher is alive while what it knows is young."""


def values(given: Given, fingerprint: str, serving: list[str]) -> dict[str, object]:
    """Everything that a template asks for.

    Args:
        given: what the rendering depends on.
        fingerprint: of configuration and keys.
        serving: the gateway's words, as they stand in a manifest.
    """
    config = given.config
    table, slug = config.deploy.kubernetes, said.slug(config)
    others, alive = (
        commands(config),
        [table.python, "-I", "-c", FRESH, f"{PROJECT}/{LEVELS}", "3600"],
    )
    mounted = [one for _, one in needed.references(config)]
    scheme = "HTTP" if config.serve.tls == "proxy" else "HTTPS"
    required = config.serve.client_certificates == "require"

    def labels(part: str) -> str:
        return _flow({**_owned(slug), said.PART: part, "app.kubernetes.io/managed-by": "casemate"})

    def selector(part: str) -> str:
        return _flow({**_owned(slug), said.PART: part})

    def probe(path: str) -> str:
        # kubelet has no certificate of the project's authority: it can only see that one listens
        if required:
            return "tcpSocket: {port: api}"
        return f"httpGet: {{path: {path}, port: api, scheme: {scheme}}}"

    return {
        "k": table,
        "name": config.project.name,
        "slug": slug,
        "bound": slug,
        "labels": labels,
        "selector": selector,
        "probe": probe,
        "fingerprint": fingerprint,
        "user": USER,
        "port": config.serve.port,
        "grpc_port": config.serve.grpc_port,
        "plain": config.serve.tls == "proxy",
        "verified": said.VERIFIED,
        "model": MODEL,
        "keys": KEYS,
        "project": PROJECT,
        "run": RUN,
        "keystore": said.STORE,
        "secrets": SECRETS,
        "token": said.TOKEN,
        "toml": said.TOML,
        "trusted": said.TRUSTED,
        "has_secrets": any(one.startswith(f"file:{SECRETS}/") for one in mounted),
        "has_token": any(one.startswith(f"file:{said.TOKEN}/") for one in mounted),
        "fetches": table.model.source in ("copy", "s3"),
        "verifying": said.verifying(config),
        "serving": serving,
        "placing": said.placing(config),
        "fetching": said.fetching(config),
        "watching": others[said.WATCHER],
        "upgrading": others[said.UPGRADE],
        "backing": others[said.BACKUP],
        "alive": alive,
        "rules": admission.allowed(config, serving, [*others.values()], alive),
        "upgrade": f"upgrade-{str(table.image).rpartition(':')[2][:12]}",
    }


def commands(config: Config) -> dict[str, list[str]]:
    """What runs beside the gateway, and touches no model."""
    start = said.casemate(config)
    return {
        said.WATCHER: [*start, "watch", "--config", PROJECT],
        said.UPGRADE: [*start, "store", "upgrade", "--config", PROJECT],
        said.BACKUP: [*start, "backup", "create", "/backups/$(POD).backup", "--config", PROJECT],
    }


def _owned(slug: str) -> dict[str, str]:
    """Labels of everything of one project."""
    return {"app.kubernetes.io/name": "casemate", "app.kubernetes.io/instance": slug}


def _flow(pairs: Mapping[str, str]) -> str:
    """A mapping on one line."""
    return "{" + ", ".join(f"{key}: {in_yaml(value)}" for key, value in pairs.items()) + "}"


def fingerprint(toml: str, public: Mapping[str, str]) -> str:
    """SHA-256 of what pods are configured with: it changes whenever they must be others."""
    whole = hashlib.sha256(toml.encode())
    for name, content in public.items():
        whole.update(f"\0{name}\0{content}".encode())
    return whole.hexdigest()


class _Block(str):
    """A text of several lines, which YAML shows as they are."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Knows such texts."""


_Dumper.add_representer(
    _Block, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")
)


def config_maps(toml: str, public: Mapping[str, str], slug: str) -> bytes:
    """casemate.toml and the public keys, as they are in the project."""
    head = "# casemate.toml, and the public keys that a model must be signed with.\n"
    documents = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "labels": _owned(slug)},
            "data": {file: _Block(text) for file, text in data.items()},
        }
        for name, data in ((said.TOML, {"casemate.toml": toml}), (said.TRUSTED, public))
    ]
    return (head + yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False)).encode()


def filler(filled: dict[str, object]) -> Callable[..., bytes]:
    """What makes a file of a template's name, and of values beside `filled`."""
    templates = environment("casemate.deploy.kubernetes")

    def text(template: str, **more: object) -> bytes:
        return templates.get_template(f"{template}.yaml.jinja").render(filled | more).encode()

    return text
