"""The profile `restricted` of the Pod Security Standards as of Kubernetes 1.37, and what is asked
beyond it.

https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from collections.abc import Iterator
from typing import Any

from casemate.deploy.images import is_pinned
from casemate.deploy.kubernetes.reading import items, table, text

Tree = dict[str, Any]
VOLUMES = (
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
)
SELINUX = ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
SYSCTLS = (
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
)
PROFILES = ("RuntimeDefault", "Localhost")
APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
KINDS = ("containers", "initContainers", "ephemeralContainers")


def faults(template: Tree) -> Iterator[str]:
    """What of a pod, or of a pod's template, the profile does not allow.

    Args:
        template: with `metadata` and `spec`.

    Yields:
        sentences that name the field.
    """
    spec = table(template.get("spec"))
    yield from _of_pod(spec)
    for name, value in table(table(template.get("metadata")).get("annotations")).items():
        allowed = value == "runtime/default" or text(value).startswith("localhost/")
        if text(name).startswith(APPARMOR) and not allowed:
            yield f"{name}: AppArmor is switched off"
    pod = table(spec.get("securityContext"))
    for kind in KINDS:
        for container in items(spec.get(kind)):
            where = f"{kind} {text(container.get('name'))}"
            for fault in (*_of_container(container, pod), *_beyond(container, kind)):
                yield f"{where}: {fault}"


def _of_pod(spec: Tree) -> Iterator[str]:
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name) not in (None, False):
            yield f"{name}: must not be shared with the node"
    for volume in items(spec.get("volumes")):
        for kind in volume:
            if kind != "name" and kind not in VOLUMES:
                yield f"volumes {text(volume.get('name'))}: {kind} is not allowed"
    pod = table(spec.get("securityContext"))
    yield from _of_both(pod)
    for one in items(pod.get("sysctls")):
        if one.get("name") not in SYSCTLS:
            yield f"sysctls: {text(one.get('name'))} is not safe"
    if spec.get("automountServiceAccountToken") is not False:
        yield "automountServiceAccountToken: must be false, no pod here talks to Kubernetes"


def _of_both(context: Tree) -> Iterator[str]:
    """What pods and containers may both say."""
    if table(context.get("windowsOptions")).get("hostProcess") not in (None, False):
        yield "windowsOptions.hostProcess: must not be set"
    if context.get("runAsUser") == 0:
        yield "runAsUser: must not be 0"
    if context.get("runAsNonRoot") not in (None, True):
        yield "runAsNonRoot: must be true"
    seccomp = context.get("seccompProfile")
    if seccomp is not None and table(seccomp).get("type") not in PROFILES:
        yield "seccompProfile.type: must be RuntimeDefault or Localhost"
    armor = context.get("appArmorProfile")
    if armor is not None and table(armor).get("type") not in PROFILES:
        yield "appArmorProfile.type: must be RuntimeDefault or Localhost"
    linux = table(context.get("seLinuxOptions"))
    if linux.get("type", "") not in SELINUX or linux.get("user") or linux.get("role"):
        yield "seLinuxOptions: another type, user or role is not allowed"


def _of_container(container: Tree, pod: Tree) -> Iterator[str]:
    context = table(container.get("securityContext"))
    yield from _of_both(context)
    if context.get("privileged") not in (None, False):
        yield "privileged: must be false"
    if context.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation: must be false"
    if context.get("procMount") not in (None, "Default"):
        yield "procMount: must be Default"
    if True not in (context.get("runAsNonRoot"), pod.get("runAsNonRoot")):
        yield "runAsNonRoot: must be true"
    if "seccompProfile" not in context and "seccompProfile" not in pod:
        yield "seccompProfile: must be set"
    yield from _of_rights(table(context.get("capabilities")))
    for port in items(container.get("ports")):
        if port.get("hostPort") not in (None, 0):
            yield "hostPort: must not be set"
    for name, hook in _hooks(container):
        for kind in ("httpGet", "tcpSocket"):
            if table(hook.get(kind)).get("host") not in (None, ""):
                yield f"{name}.{kind}.host: must not be set"


def _of_rights(capabilities: Tree) -> Iterator[str]:
    dropped, added = capabilities.get("drop"), capabilities.get("add")
    if not isinstance(dropped, list) or "ALL" not in dropped:
        yield "capabilities.drop: must hold ALL"
    if added is not None and (
        not isinstance(added, list) or set(map(text, added)) - {"NET_BIND_SERVICE"}
    ):
        yield "capabilities.add: only NET_BIND_SERVICE is allowed"


def _hooks(container: Tree) -> Iterator[tuple[str, Tree]]:
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        yield name, table(container.get(name))
    for name, hook in table(container.get("lifecycle")).items():
        yield f"lifecycle.{name}", table(hook)


def _beyond(container: Tree, kind: str) -> Iterator[str]:
    """What the profile does not ask, and everything rendered here has."""
    context = table(container.get("securityContext"))
    if context.get("readOnlyRootFilesystem") is not True:
        yield "readOnlyRootFilesystem: must be true"
    if not is_pinned(container.get("image")):
        yield "image: must be named by its digest, a tag may be moved"
    limits = table(table(container.get("resources")).get("limits"))
    if kind != "ephemeralContainers" and not {"cpu", "memory"} <= set(limits):
        yield "resources.limits: must name cpu and memory"
