"""`casemate deploy kubernetes`: manifests for a cluster, as a kustomize base with an overlay per
namespace.

A gateway's pod has no disk: it shares the catalogue (PostgreSQL), sealed objects (S3) and key store
(a Secret) with all others, and begins by verifying the model that it was given.
"""

from collections.abc import Callable

from casemate.config.kubernetes import SECRETS
from casemate.deploy.gateway.words import USER
from casemate.deploy.interface import Given, Rendering
from casemate.deploy.kubernetes import admission, needed
from casemate.deploy.kubernetes import words as said
from casemate.deploy.kubernetes.values import config_maps, filler, fingerprint, values

BASE = ("project", "gateway", "network", "scaling", "watcher", "upgrade")


def render(given: Given) -> Rendering:
    """The manifests.

    Raises:
        ConfigError: they could not work, or would hold what must not be in a cluster.
    """
    config = given.config
    needed.require(config)
    toml, public = needed.project_file(given), needed.public_keys(given)
    table = config.deploy.kubernetes
    filled = values(given, fingerprint(toml, public), admission.escaped(said.serving(config)))
    text = filler(filled)
    base = [*BASE]
    if table.external is not None:
        base.append("secrets")
    if table.backups is not None:
        base.append("backup")
    files = {f"base/{name}.yaml": text(name) for name in base if name != "project"}
    files["base/project.yaml"] = config_maps(toml, public, said.slug(config))
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
    files |= admitting(given, text)
    return Rendering(files, model=model_of(given), notes=notes(given))


def admitting(given: Given, text: Callable[..., bytes]) -> dict[str, bytes]:
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


def model_of(given: Given) -> str:
    """Which model the files are about."""
    model = given.config.deploy.kubernetes.model
    if model.image is None:
        return ""
    name, _, digest = model.image.partition("@")
    return f"{name} {digest}"


def notes(given: Given) -> tuple[str, ...]:
    """What whoever renders must still do."""
    config = given.config
    table = config.deploy.kubernetes
    user = f"uid-{USER}"
    found = [f"let the pods' user in: casemate access user add {user} --role operator"]
    if table.external is None:
        found.append(
            f"make the Secrets {table.keys} (keystore.json) and, for references below {SECRETS},"
            f" {table.secrets}"
        )
    if not table.callers:
        found.append("nobody may call the gateway: [deploy.kubernetes.callers] names who may")
    if not table.peers:
        found.append("no pod reaches database and S3: [deploy.kubernetes.peers] names them")
    return tuple(found)
