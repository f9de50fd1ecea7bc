"""`casemate deploy kserve`: a ServingRuntime and an InferenceService for the gateway.

KServe's own loaders bring a model's bytes and ask nobody whose they are. So nothing is downloaded
by KServe: the model comes by a volume, and the container verifies it before it serves.
"""

from casemate.core.errors import ConfigError
from casemate.deploy.interface import Given, Rendering
from casemate.deploy.kubernetes import admission, admitting, model_of, needed, notes
from casemate.deploy.kubernetes import words as said
from casemate.deploy.kubernetes.values import config_maps, filler, fingerprint, values

FILES = ("project", "runtime", "inference", "network", "namespace")


def render(given: Given) -> Rendering:
    """The manifests.

    Raises:
        ConfigError: they could not work, or would hold what must not be in a cluster.
    """
    config = given.config
    table = config.deploy.kserve
    needed.require(config)
    if config.serve.client_certificates == "require":
        raise ConfigError(
            '[serve] client_certificates = "require": KServe calls without a certificate',
            hint="casemate deploy kubernetes, which needs nobody in between",
        )
    if table.protocol == "grpc-v2" and config.serve.grpc_port is None:
        raise ConfigError(
            '[deploy.kserve] protocol = "grpc-v2" needs [serve] grpc_port', hint="grpc_port = 8444"
        )
    toml, public = needed.project_file(given), needed.public_keys(given)
    # what stands in front does TLS: KServe's routes speak plain HTTP to a container
    serving = admission.escaped([*said.serving(config), "-s", 'serve.tls="proxy"'])
    bound = f"{said.slug(config)}-kserve"
    text = filler(values(given, fingerprint(toml, public), serving) | {"bound": bound})
    external = ["secrets"] if config.deploy.kubernetes.external is not None else []
    namespace = table.namespace or bound
    files = {
        f"{name}.yaml": text(name, protocol=table.protocol, namespace=namespace)
        for name in (*FILES, *external)
        if name != "project"
    }
    files["project.yaml"] = config_maps(toml, public, said.slug(config))
    files["kustomization.yaml"] = text(
        "kustomization",
        about="kubectl apply -k ., for KServe 0.16 and newer",
        namespace=namespace,
        resources=[f"{name}.yaml" for name in (*FILES, *external)],
    )
    return Rendering(
        files | admitting(given, text),
        model=model_of(given),
        notes=(*notes(given), "KServe's routes speak plain HTTP: let a mesh do TLS between pods"),
    )
