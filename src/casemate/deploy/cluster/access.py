"""Who is asked, and as whom: a kubeconfig that is named, or the service account of the pod that
this runs in.

Nothing of the environment chooses a cluster, no program is run to get a token, and a server that
cannot prove who it is gets none.
"""

from pathlib import Path
from typing import Any

from casemate.core.errors import BackendError, ConfigError
from casemate.deploy.cluster.documents import load
from casemate.deploy.cluster.transport import Bounded

MOST = 1024 * 1024
"""Bytes of a kubeconfig, or of the token that it names."""
FILES = {"cluster": ("certificate-authority",), "user": ("client-certificate", "client-key")}
TOKEN_FILE = "tokenFile"
RUN = {
    "exec": "a program",
    "auth-provider": "a provider's own code",
    "username": "a password",
    "password": "a password",
}
"""Ways to log in that are refused, and what they would take."""
INSECURE = "insecure-skip-tls-verify"


def client(kubeconfig: Path | None, context: str | None, scratch: Path) -> Any:
    """The official client (`kubernetes.client.ApiClient`), bounded.

    Args:
        kubeconfig: a file; None: the service account of the pod that this runs in.
        context: of the file; None: its current one.
        scratch: a private folder for keys that the client wants as files.

    Raises:
        BackendError: `casemate[kubernetes]` is not installed. ConfigError: no such file or context,
            or it asks for what is refused.
    """
    try:
        from kubernetes import client as kube
        from kubernetes import config as kubeconfigs
    except ModuleNotFoundError:
        raise BackendError(
            "the Kubernetes client is not installed", hint='pip install "casemate[kubernetes]"'
        ) from None
    settings = kube.Configuration()
    try:
        if kubeconfig is None:
            kubeconfigs.load_incluster_config(client_configuration=settings)
        else:
            chosen = _chosen(kubeconfig, context)
            kubeconfigs.load_kube_config_from_dict(
                chosen,
                client_configuration=settings,
                persist_config=False,
                temp_file_path=str(scratch),
            )
    except (kubeconfigs.ConfigException, OSError, ValueError, TypeError) as error:
        where = kubeconfig or "this pod's service account"
        hint = (
            "--kubeconfig FILE; without it casemate must run in a pod with a service account"
            if kubeconfig is None
            else "the file that `kubectl --kubeconfig FILE get ns` works with"
        )
        text = str(error)[:200] if kubeconfig is None else type(error).__name__
        raise ConfigError(f"{where} cannot be used: {text}", hint=hint) from None
    if not settings.host.startswith("https://") or not settings.verify_ssl:
        raise ConfigError(
            f"{settings.host} is not asked: it cannot prove who it is", hint="an https:// server"
        )
    made = kube.ApiClient(configuration=settings)
    made.rest_client.pool_manager = Bounded(made.rest_client.pool_manager)
    return made


def _chosen(path: Path, context: str | None) -> dict[str, Any]:
    """The one context of a kubeconfig with its cluster and its user, and nothing else."""
    documents = load(_read(path, "a kubeconfig", "--kubeconfig FILE"), str(path))
    whole = documents[0] if len(documents) == 1 else {}
    name = context or whole.get("current-context")
    known = sorted(_named(whole, "contexts"))
    if not isinstance(name, str) or name not in known:
        raise ConfigError(
            f"{path} has no context {name!r}" if name else f"{path} has no current context",
            hint="--context NAME: " + (", ".join(known) or "the file has none"),
        )
    one = _named(whole, "contexts")[name].get("context")
    one = one if isinstance(one, dict) else {}
    chosen: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "contexts": [{"name": name, "context": one}],
    }
    for kind in ("cluster", "user"):
        found = _named(whole, f"{kind}s").get(str(one.get(kind)), {}).get(kind)
        if not isinstance(found, dict):
            raise ConfigError(
                f"{path}: context {name} names {kind} {one.get(kind)!r}, which is not there",
                hint="the file that kubectl works with",
            )
        _require_plain(path, kind, found)
        for key in FILES[kind]:
            if isinstance(found.get(key), str) and found[key]:
                found[key] = str(path.absolute().parent / found[key])
        if isinstance(found.get(TOKEN_FILE), str) and not found.get("token"):
            token = path.absolute().parent / found.pop(TOKEN_FILE)
            # a file ends with its line, and the client would send that too
            found["token"] = _read(token, "a token", f"{TOKEN_FILE} in {path}").decode().strip()
        chosen[f"{kind}s"] = [{"name": one[kind], kind: found}]
    return chosen


def _read(path: Path, what: str, hint: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MOST + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", hint=hint) from None
    if len(content) > MOST:
        raise ConfigError(f"{path} is too large for {what}", hint=hint)
    return content


def _require_plain(path: Path, kind: str, found: dict[str, Any]) -> None:
    if found.get(INSECURE):
        raise ConfigError(
            f"{path}: {INSECURE} would send the token to anybody, and is refused",
            hint="give the cluster its certificate-authority",
        )
    if kind == "cluster" and not str(found.get("server", "")).startswith("https://"):
        raise ConfigError(
            f"{path}: the server {found.get('server')!r} is not asked: it cannot prove who it is",
            hint="an https:// server",
        )
    for key, what in RUN.items():
        if kind == "user" and found.get(key):
            raise ConfigError(
                f"{path}: the user logs in by {key}, for which casemate would take {what}",
                hint=(
                    "get a token first (such as `kubectl create token NAME`), and name it as"
                    " tokenFile in a kubeconfig of its own"
                ),
            )


def _named(whole: dict[str, Any], what: str) -> dict[str, dict[str, Any]]:
    entries = whole.get(what)
    return {
        one["name"]: one
        for one in (entries if isinstance(entries, list) else [])
        if isinstance(one, dict) and isinstance(one.get("name"), str)
    }
