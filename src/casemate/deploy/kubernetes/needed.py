"""What a project must be so that its gateway works from a pod, which has no disk of its own."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints
from urllib.parse import urlsplit

import msgspec

from casemate.config import FILE_NAME, Config
from casemate.config.cluster import NEEDS
from casemate.config.kubernetes import SECRETS
from casemate.core.errors import ConfigError
from casemate.deploy.gateway.words import KEYS
from casemate.deploy.interface import Given
from casemate.deploy.kubernetes.words import TOKEN

MOST = 512 * 1024
"""Bytes of what a ConfigMap may hold here; Kubernetes takes 1 MiB."""
PUBLIC = (".pub", ".vkey", ".pem", ".json")


def require(config: Config) -> None:
    """ConfigError while the project could not be served from a cluster."""
    table = config.deploy.kubernetes
    if table.image is None:
        raise ConfigError(
            "[deploy.kubernetes] image: which gateway is to run is not said",
            hint='image = "REGISTRY/NAME@sha256:…", which `casemate image gateway` wrote',
        )
    missing = [name for name in NEEDS[table.model.source] if getattr(table.model, name) is None]
    if missing:
        raise ConfigError(
            f"[deploy.kubernetes.model] {', '.join(missing)}: needed with source ="
            f' "{table.model.source}"',
            hint="a pod verifies a model before it starts, so it must be told where one is",
        )
    _require_shared(config)
    _require_one_model(config)
    if config.serve.port < 1024 or (config.serve.grpc_port or 1024) < 1024:
        raise ConfigError(
            "[serve] port: a pod without rights listens on 1024 and above",
            hint="port = 8443; the Service may have another one",
        )
    for where, reference in references(config):
        is_idle = where == "[keys] secret" and config.keys.provider != "vault"
        if not is_idle and not where.startswith("[data"):  # no pod reads the source table
            _require_mounted(where, reference)


def _require_shared(config: Config) -> None:
    store = config.store
    if not store.url.startswith("postgresql"):
        raise ConfigError(
            "[store] url: the catalogue is a file of this machine, which pods cannot share",
            hint="casemate store migrate postgresql://USER@HOST:PORT/DATABASE",
        )
    if urlsplit(store.url).password is not None:
        raise ConfigError(
            "[store] url holds a password, and whoever reads the ConfigMap would read it",
            hint=f'take it out, and set password = "file:{SECRETS}/NAME"',
        )
    if not store.objects:
        raise ConfigError(
            "[store] objects: they are files of this machine, which pods cannot share",
            hint="casemate store objects s3://BUCKET/PREFIX",
        )


def _require_one_model(config: Config) -> None:
    """A pod serves what it verified, and the watcher what the catalogue has."""
    if config.serve.release:
        raise ConfigError(
            "[serve] release: a pod is told by its start what it serves, what it verified",
            hint="leave it out; [deploy.kubernetes.model] says where the model comes from",
        )
    names = sorted({one.partition("@")[0] for one in config.serve.models.values()})
    if len(names) > 1:
        raise ConfigError(
            f"[serve.models] {', '.join(names)}: a pod serves one model, the one that it verified",
            hint="name one; aliases of it may be many",
        )


def _require_mounted(where: str, reference: str) -> None:
    kind, _, path = reference.partition(":")
    if kind in ("vault", "aws-sm"):
        return
    folder = TOKEN if where == "[keys] secret" and path.startswith(f"{TOKEN}/") else SECRETS
    if kind != "file" or Path(path).parent != Path(folder) or ".." in path:
        raise ConfigError(
            f"{where} = {kind}:…: a pod reads secrets from files below {SECRETS}",
            hint=f'"file:{SECRETS}/NAME", and NAME in the Secret; variables reach every child',
        )


def references(table: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """Every reference to a secret in the configuration: where it stands, and what it says."""
    hints = get_type_hints(type(table), include_extras=True)
    for field in msgspec.structs.fields(type(table)):
        value = getattr(table, field.name)
        name = f"{where}.{field.name}" if where else field.name
        if isinstance(value, msgspec.Struct):
            yield from references(value, name)
        elif isinstance(value, dict):
            for key, one in value.items():
                if isinstance(one, msgspec.Struct):
                    yield from references(one, f"{name}.{key}")
        elif isinstance(value, str) and _is_reference(hints[field.name]):
            inner, _, last = name.rpartition(".")
            yield f"[{inner}] {last}", value


def _is_reference(hint: Any) -> bool:
    said = (getattr(part, "description", None) or "" for part in getattr(hint, "__metadata__", ()))
    return any("eference to" in one for one in said)


def project_file(given: Given) -> str:
    """casemate.toml as the pods get it: as it is, and it believes the keys that the start does."""
    path = given.root / FILE_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"{path} cannot be read") from None
    if len(text.encode()) > MOST:
        raise ConfigError(f"{path} is larger than a ConfigMap", hint=f"at most {MOST} bytes")
    return _believing(text, path)


def _believing(text: str, path: Path) -> str:
    """With `[serve] trusted` as the mount of the public keys: only the file may say that."""
    import tomlkit

    wanted = tomllib.loads(text)
    wanted.setdefault("serve", {})["trusted"] = [KEYS]
    document: Any = tomlkit.parse(text)
    document.setdefault("serve", tomlkit.table())["trusted"] = [KEYS]
    written = tomlkit.dumps(document)
    try:
        is_same = tomllib.loads(written) == wanted
    except tomllib.TOMLDecodeError:
        is_same = False
    if not is_same:
        raise ConfigError(
            f"{path}: [serve] is written so that nothing can be added to it safely",
            hint=f'add it by hand, in [serve]: trusted = ["{KEYS}"]',
        )
    return written


def public_keys(given: Given) -> dict[str, str]:
    """The public keys that a model must be signed with, by file name."""
    folder = given.root / given.config.deploy.trusted
    found = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.suffix in PUBLIC and path.is_file() and path.stat().st_size <= MOST:
            text = path.read_text(encoding="utf-8", errors="replace")
            if "PRIVATE KEY" in text:
                raise ConfigError(
                    f"{path} is a private key, and would lie in the cluster",
                    hint="put public keys only there",
                )
            found[path.name] = text
    if not any(name.endswith(".pub") for name in found):
        raise ConfigError(
            f"{folder} holds no public keys, so no pod could tell whose model it starts",
            hint=f"put those of {given.root / '.casemate' / 'public'} there",
        )
    return found


def cosign_key(given: Given) -> str:
    """The public key that images are signed with, in PEM."""
    path = given.root / str(given.config.deploy.kubernetes.cosign)
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        raise ConfigError(
            f"{path} cannot be read", hint="the file cosign.pub of `cosign generate-key-pair`"
        ) from None
    if not text.startswith("-----BEGIN PUBLIC KEY-----") or "PRIVATE" in text or len(text) > 4096:
        raise ConfigError(f"{path} is no public key", hint="a PEM file: BEGIN PUBLIC KEY")
    return text
