"""A project that can be served from a cluster, and what is rendered of it."""

from pathlib import Path
from typing import Any

import yaml
from tests.conftest import TOML
from tests.unit import images

from casemate.config import parse
from casemate.deploy.interface import Given
from casemate.deploy.kubernetes.reading import pods
from casemate.deploy.targets import TARGETS

DIGEST = "0123456789abcdef" * 4
GATEWAY = f"registry.example.org/ml/gateway@sha256:{DIGEST}"
FETCHER = f"registry.example.org/tools@sha256:{DIGEST}"
MODEL = f"registry.example.org/ml/wdbc@sha256:{DIGEST}"
STORE = '[store]\nurl = "postgresql://cm@db:5432/cm"\nobjects = "s3://bucket/cm"\n'
PLACES = {
    "image": f'source = "image"\nimage = "{MODEL}"\n',
    "copy": f'source = "copy"\nimage = "{MODEL}"\nfetcher = "{FETCHER}"\ncredentials = "registry"\n',
    "s3": f'source = "s3"\naddress = "s3://models/wdbc/3"\nfetcher = "{FETCHER}"\ncredentials = "aws"\n',
    "claim": 'source = "claim"\nclaim = "models"\n',
}
ALL = (
    'version = "1.37"\npull = "registry"\nclaim = "project"\nbackups = "backups"\napprovals = 2\n'
    'admission = ["kubernetes", "kyverno"]\ncosign = "cosign.pub"\n'
    '[deploy.kubernetes.callers.ward]\nnamespace = "ward"\npods = {"app" = "a1"}\n'
    '[deploy.kubernetes.callers.lan]\ncidr = "10.0.0.0/8"\n'
    '[deploy.kubernetes.peers.database]\ncidr = "10.0.7.1/32"\nports = [5432]\n'
    '[deploy.kubernetes.external]\nstore = "vault"\nsecrets = "cm/secrets"\nkeys = "cm/keys"\n'
)
"""Every option of the cluster that adds something."""


def toml(source: str = "image", more: str = "", serve: str = "", store: str = STORE) -> str:
    """A configuration: `more` is of `[deploy.kubernetes]`, or tables below it."""
    return (
        f"{TOML}{serve}{store}[deploy.kubernetes.model]\n{PLACES[source]}"
        f'[deploy.kubernetes]\nimage = "{GATEWAY}"\n{more}'
    )


def given_of(root: Path, text: str | None = None) -> Given:
    """What is rendered from a project in `root` with that configuration."""
    text = toml() if text is None else text
    root.mkdir(parents=True, exist_ok=True)
    (root / "casemate.toml").write_text(text)
    images.published(root / "trusted")
    key = "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n"
    (root / "cosign.pub").write_text(key)
    return Given(parse(text), root, root / "k8s", {})


def rendered(target: str, given: Given) -> dict[str, bytes]:
    """Files by name."""
    return TARGETS[target].render(given).files


def documents(files: dict[str, bytes]) -> list[dict[str, Any]]:
    """Every manifest in them."""
    return [
        one
        for name, content in files.items()
        if name.endswith(".yaml")
        for one in yaml.safe_load_all(content)
        if one
    ]


def found(files: dict[str, bytes], kind: str, name: str = "") -> dict[str, Any]:
    """The one manifest of a kind, and of a name."""
    (one,) = [
        document
        for document in documents(files)
        if document["kind"] == kind and name in ("", document["metadata"]["name"])
    ]
    return one


def every_pod(files: dict[str, bytes]) -> list[dict[str, Any]]:
    """The template of each pod; what KServe makes of a runtime and a service as one."""
    parts = [pod for document in documents(files) for pod in pods(document)]
    runtime = [one for one in documents(files) if one["kind"] == "ServingRuntime"]
    if not runtime:
        return parts
    predictor = found(files, "InferenceService")["spec"]["predictor"]
    spec = {**predictor, **runtime[0]["spec"]}
    return [{"metadata": {"labels": predictor["labels"]}, "spec": spec}]
