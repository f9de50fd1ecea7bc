"""Whether what `[deploy.kubernetes]` says of a cluster goes together."""

import ipaddress

from casemate.config.cluster import NEEDS, PeerTable
from casemate.config.kubernetes import IMAGE_VOLUMES, VERSIONS, KubernetesTable

TAKES = {"copy": ("credentials",), "s3": ("credentials",)}
"""What each source of a model may be told beside."""
UNITS = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
"""What a suffix of a quantity multiplies by."""


def impossible_kubernetes(table: KubernetesTable) -> list[str]:
    """What of `[deploy.kubernetes]` does not go together."""
    problems = []
    if table.version not in VERSIONS:
        problems.append(f"version: {table.version!r} is not known, but {', '.join(VERSIONS)}")
    if table.replicas > table.most:
        problems.append(f"replicas: {table.replicas} are more than most = {table.most}")
    if table.backups is not None and table.claim is None:
        problems.append("backups: needs claim, where evidence and sealed tables lie")
    if table.cosign is not None and "kyverno" not in table.admission:
        problems.append('cosign: needs admission = ["kyverno"], Kubernetes itself asks no registry')
    if len({table.secrets, table.keys}) == 1:
        problems.append("secrets, keys: are two Secrets")
    if len({*table.namespaces.values()}) != len(table.namespaces):
        problems.append("namespaces: each overlay needs its own")
    problems += [f"model: {problem}" for problem in _impossible_model(table)]
    problems += _impossible_sizes(table)
    for kind, peers in (("callers", table.callers), ("peers", table.peers)):
        problems += [
            f"{kind}.{name}: {problem}"
            for name, peer in peers.items()
            for problem in _impossible_peer(kind, peer)
        ]
    return [f"[deploy.kubernetes] {problem}" for problem in problems]


def _impossible_model(table: KubernetesTable) -> list[str]:
    """A source without its place is found when files are rendered: a default must be possible."""
    model = table.model
    fields = ("image", "fetcher", "address", "credentials", "claim")
    said = [name for name in fields if getattr(model, name) is not None]
    taken = (*NEEDS[model.source], *TAKES.get(model.source, ()))
    problems = [
        f'{name} says nothing with source = "{model.source}"' for name in said if name not in taken
    ]
    if (
        model.source == "image"
        and said
        and table.version in VERSIONS[: VERSIONS.index(IMAGE_VOLUMES)]
    ):
        problems.append(
            f'source = "image" needs Kubernetes {IMAGE_VOLUMES}, version is {table.version}: set'
            ' source = "copy"'
        )
    return problems


def amount(quantity: str) -> float:
    """The number behind a quantity such as `500m` or `1Gi`."""
    digits = quantity.rstrip("mkKMGi")
    return int(digits) * UNITS[quantity[len(digits) :]]


def _impossible_sizes(table: KubernetesTable) -> list[str]:
    problems = []
    if amount(table.cpu) > amount(table.cpu_limit):
        problems.append(f"cpu: {table.cpu} is more than cpu_limit = {table.cpu_limit}")
    problems += [
        f"{name}: {value} is no number of bytes that could do"
        for name, value in (("memory", table.memory), ("scratch", table.scratch))
        if amount(value) < 2**26
    ]
    return problems


def _impossible_peer(kind: str, peer: PeerTable) -> list[str]:
    problems = []
    if (peer.cidr is None) == (peer.namespace is None):
        problems.append("give cidr or namespace")
    if peer.pods and peer.namespace is None:
        problems.append("pods are those of a namespace")
    if peer.cidr is not None and not _is_network(peer.cidr):
        problems.append(f"{peer.cidr} is no network")
    if kind == "peers" and not peer.ports:
        problems.append("give ports")
    if kind == "callers" and peer.ports:
        problems.append("ports: callers reach the gateway's alone")
    return problems


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True
