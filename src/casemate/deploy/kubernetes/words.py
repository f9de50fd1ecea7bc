"""What a pod is called, where in it what lies, and how it begins: rendered files, admission and
checks say the same.
"""

import json

from casemate.config import Config
from casemate.core.errors import ConfigError
from casemate.deploy.gateway.words import COMMAND, KEYS, MODEL, PROJECT, RUN

GATEWAY, WATCHER, UPGRADE, BACKUP = "gateway", "watcher", "upgrade", "backup"
PART = "app.kubernetes.io/component"
VERIFIED = "casemate.dev/verified-start"
"""Label of namespaces in which admission is `required`."""
TRUSTED, TOML = "casemate-trusted", "casemate-project"
"""ConfigMaps: public keys, and casemate.toml."""
INTO = f"{RUN}/model"
"""Where the bytes that were verified lie, in the pod's own memory."""
STORE, TOKEN = "/keystore", "/token"
"""Where the key store's Secret and a token for Vault are mounted."""
COPY = (
    "import os, pathlib, shutil, sys; os.umask(0o077); to = pathlib.Path(sys.argv[2]);"
    " to.mkdir(parents=True, exist_ok=True);"
    " shutil.copyfile(sys.argv[1] + '/keystore.json', to / 'keystore.json')"
)
"""The key store must be its user's alone; what Kubernetes mounts is always its group's too."""


def slug(config: Config) -> str:
    """The project's name as Kubernetes takes it; ConfigError where nothing would be left of it."""
    name = config.project.name.lower().replace("_", "-").replace(".", "-").strip("-")
    if (
        not name
        or len(name) > 40
        or not all(sign.isascii() and (sign.isalnum() or sign == "-") for sign in name)
    ):
        raise ConfigError(
            f"{config.project.name!r} cannot be a name in Kubernetes",
            hint="a [project] name of at most 40 letters, digits and hyphens",
        )
    return name


def namespaces(config: Config) -> dict[str, str]:
    """Namespace by overlay."""
    name = slug(config)
    default = {"staging": f"{name}-staging", "production": name}
    return config.deploy.kubernetes.namespaces or default


def casemate(config: Config) -> list[str]:
    """The program, as every container begins."""
    return [config.deploy.kubernetes.python, *COMMAND]


def verifying(config: Config) -> list[str]:
    """What stands before a server: it begins only if the model holds."""
    table = config.deploy.kubernetes
    words = [*casemate(config), "verify", MODEL, "--key", KEYS, "--require", "approved"]
    if table.approvals > 1:
        words += ["--approvals", str(table.approvals)]
    if table.model.source == "copy" and table.model.image is not None:
        words += ["--digest", table.model.image.partition("@")[2]]
    return [*words, "--stage", config.serve.stage, "--into", INTO, "--then"]


def serving(config: Config) -> list[str]:
    """The gateway, behind `--then`: of what was verified, and of nothing else."""
    names = [GATEWAY, "localhost", "127.0.0.1"]
    for namespace in namespaces(config).values():
        names += [f"{GATEWAY}.{namespace}", f"{GATEWAY}.{namespace}.svc"]
        names.append(f"{GATEWAY}.{namespace}.svc.cluster.local")
    names += [name for name in config.serve.names if name not in names]
    listed = json.dumps(names, ensure_ascii=False)  # which TOML reads as well
    words = [*casemate(config), "serve", "--config", PROJECT, "--release", INTO]
    return [*words, "-s", 'serve.host="0.0.0.0"', "-s", f"serve.names={listed}"]


def placing(config: Config) -> list[str]:
    """What puts the key store where only its user reads it."""
    home = f"{RUN}/.config/casemate/{config.project.id}"
    return [config.deploy.kubernetes.python, "-I", "-c", COPY, STORE, home]


def fetching(config: Config) -> list[str]:
    """What an init container runs in the image that the user named for it."""
    model = config.deploy.kubernetes.model
    if model.source == "copy":
        words = ["skopeo", "copy", "--preserve-digests"]
        words += ["--authfile", "/credentials/auth.json"] if model.credentials else []
        return [*words, f"docker://{model.image}", f"oci:{MODEL}:model"]
    return ["aws", "s3", "cp", "--recursive", "--only-show-errors", str(model.address), MODEL]
