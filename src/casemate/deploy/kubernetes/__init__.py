"""`casemate deploy kubernetes`: manifests for a cluster, as a kustomize base with an overlay per
namespace.

A gateway's pod has no disk: it shares the catalogue (PostgreSQL), sealed objects (S3) and key store
(a Secret) with all others, and begins by verifying the model that it was given.
"""

import hashlib
from collections.abc import Callable, Mapping

import yaml

from casemate.config import Config
from casemate.config.kubernetes import SECRETS
from casemate.deploy.gateway.words import KEYS, MODEL, PROJECT, RUN, USER
from casemate.deploy.interface import Given, Rendering
from casemate.deploy.kubernetes import admission, needed
from casemate.deploy.kubernetes import words as said
from casemate.deploy.quoting import in_yaml
from casemate.deploy.templates import environment

BASE = ("project", "gateway", "network", "scaling", "watcher", "upgrade")
LEVELS = ".casemate/telemetry"
FRESH = (
    "import os, sys, time;"
    " newest = max(one.stat().st_mtime for one in os.scandir(sys.argv[1]));"
    " sys.exit(time.time() - newest > float(sys.argv[2]))"
)
"""A watcher is alive while what it knows is young."""


def render(given: Given) -> Rendering:
    """The manifests.

    Raises:
        ConfigError: they could not work, or would hold what must not be in a cluster.
    """
    config = given.config
    needed.require(config)
    toml, public = needed.project_file(given), needed.public_keys(given)
    table = config.deploy.kubernetes
    values = _values(given, _fingerprint(toml, public))
    base = [*BASE]
    if table.external is not None:
        base.append("secrets")
    if table.backups is not None:
        base.append("backup")
    templates = environment("casemate.deploy.kubernetes")

    def text(template: str, **more: object) -> bytes:
        return templates.get_template(f"{template}.yaml.jinja").render(values | more).encode()

    files = {f"base/{name}.yaml": text(name) for name in base if name != "project"}
    files["base/project.yaml"] = _config_maps(toml, public, str(values["slug"]))
    about = "What every namespace of the project has; rendered by `casemate deploy kubernetes`."
    files["base/kustomization.yaml"] = text(
        "kustomization", about=about, namespace=None, resources=[f"{name}.yaml" for name in base]
    )
    for overlay, namespace in said.namespaces(config).items():
        about = f"kubectl apply -k overlays/{overlay}"
        files[f"overlays/{overlay}/kustomization.yaml"] = text(
            "kustomization",
            about=about,
            namespace=namespace,
            resources=["../../base", "namespace.yaml"],
        )
        files[f"overlays/{overlay}/namespace.yaml"] = text("namespace", namespace=namespace)
    files |= _admission(given, text)
    return Rendering(files, model=_model(given), notes=_notes(given))


def _admission(given: Given, text: Callable[..., bytes]) -> dict[str, bytes]:
    """What a cluster's owner applies once: it is for no namespace, and needs other rights."""
    table, files = given.config.deploy.kubernetes, {}
    if "kubernetes" in table.admission:
        files["admission/admission.yaml"] = text("admission")
    if "kyverno" in table.admission:
        key = None if table.cosign is None else needed.cosign_key(given)
        signed = sorted(
            {f"{one.partition('@')[0]}*" for one in (str(table.image), *table.accepted)}
        )
        files["admission/kyverno.yaml"] = text("kyverno", cosign=key, signed=signed)
    if files:
        files["admission/kustomization.yaml"] = text(
            "kustomization",
            about="kubectl apply -k admission, by whoever looks after the cluster",
            namespace=None,
            resources=[path.rpartition("/")[2] for path in sorted(files)],
        )
    return files


def _values(given: Given, fingerprint: str) -> dict[str, object]:
    """What the templates are filled with."""
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
        return _flow(
            {
                "app.kubernetes.io/name": "casemate",
                "app.kubernetes.io/instance": slug,
                said.PART: part,
                "app.kubernetes.io/managed-by": "casemate",
            }
        )

    def selector(part: str) -> str:
        return _flow(
            {
                "app.kubernetes.io/name": "casemate",
                "app.kubernetes.io/instance": slug,
                said.PART: part,
            }
        )

    def probe(path: str) -> str:
        # kubelet has no certificate of the project's authority: it can only see that one listens
        if required:
            return "tcpSocket: {port: api}"
        return f"httpGet: {{path: {path}, port: api, scheme: {scheme}}}"

    return {
        "k": table,
        "name": config.project.name,
        "slug": slug,
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
        "serving": admission.serving(config),
        "placing": said.placing(config),
        "fetching": said.fetching(config),
        "watching": others[said.WATCHER],
        "upgrading": others[said.UPGRADE],
        "backing": others[said.BACKUP],
        "alive": alive,
        "rules": admission.allowed(config, [*others.values()], alive),
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


def _flow(pairs: Mapping[str, str]) -> str:
    """A mapping on one line."""
    return "{" + ", ".join(f"{key}: {in_yaml(value)}" for key, value in pairs.items()) + "}"


def _fingerprint(toml: str, public: Mapping[str, str]) -> str:
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


def _config_maps(toml: str, public: Mapping[str, str], slug: str) -> bytes:
    """casemate.toml and the public keys, as they are in the project."""
    head = "# casemate.toml, and the public keys that a model must be signed with.\n"
    documents = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": name,
                "labels": {
                    "app.kubernetes.io/name": "casemate",
                    "app.kubernetes.io/instance": slug,
                },
            },
            "data": {file: _Block(text) for file, text in data.items()},
        }
        for name, data in ((said.TOML, {"casemate.toml": toml}), (said.TRUSTED, public))
    ]
    return (head + yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False)).encode()


def _model(given: Given) -> str:
    """Which model the files are about."""
    model = given.config.deploy.kubernetes.model
    if model.image is None:
        return ""
    name, _, digest = model.image.partition("@")
    return f"{name} {digest}"


def _notes(given: Given) -> tuple[str, ...]:
    """What whoever renders must still do."""
    config = given.config
    table = config.deploy.kubernetes
    user = f"uid-{USER}"
    notes = [f"let the pods' user in: casemate access user add {user} --role operator"]
    if table.external is None:
        notes.append(
            f"make the Secrets {table.keys} (keystore.json) and, for references below {SECRETS},"
            f" {table.secrets}"
        )
    if not table.callers:
        notes.append("nobody may call the gateway: [deploy.kubernetes.callers] names who may")
    if not table.peers:
        notes.append("no pod reaches database and S3: [deploy.kubernetes.peers] names them")
    return tuple(notes)
