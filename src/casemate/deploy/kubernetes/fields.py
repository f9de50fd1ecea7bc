"""Kinds, fields and quantities that Kubernetes knows. Servers drop a field that they do not know in
a custom resource, and stock tools pass kinds that they have no schema for.

With `kubernetes-validate` installed every field of Kubernetes' own kinds is checked, else those of
pods.
"""

import re
from collections.abc import Iterator
from typing import Any

from casemate.config.words import nearest
from casemate.deploy.kubernetes.reading import items, pods, table, text

KINDS = {
    "v1": (
        "ConfigMap Endpoints Event LimitRange Namespace Node PersistentVolume"
        " PersistentVolumeClaim Pod PodTemplate ReplicationController ResourceQuota Secret Service"
        " ServiceAccount"
    ),
    "apps/v1": "ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet",
    "batch/v1": "CronJob Job",
    "autoscaling/v1": "HorizontalPodAutoscaler",
    "autoscaling/v2": "HorizontalPodAutoscaler",
    "policy/v1": "PodDisruptionBudget",
    "networking.k8s.io/v1": "IPAddress Ingress IngressClass NetworkPolicy ServiceCIDR",
    "rbac.authorization.k8s.io/v1": "ClusterRole ClusterRoleBinding Role RoleBinding",
    "storage.k8s.io/v1": "CSIDriver CSINode StorageClass VolumeAttachment VolumeAttributesClass",
    "node.k8s.io/v1": "RuntimeClass",
    "coordination.k8s.io/v1": "Lease",
    "scheduling.k8s.io/v1": "PriorityClass",
    "admissionregistration.k8s.io/v1": (
        "MutatingAdmissionPolicy MutatingAdmissionPolicyBinding MutatingWebhookConfiguration"
        " ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding"
        " ValidatingWebhookConfiguration"
    ),
    "apiextensions.k8s.io/v1": "CustomResourceDefinition",
    "kustomize.config.k8s.io/v1beta1": "Kustomization",
    "kustomize.config.k8s.io/v1alpha1": "Component",
    "external-secrets.io/v1": "ClusterSecretStore ExternalSecret SecretStore",
    "policies.kyverno.io/v1": "ImageValidatingPolicy ValidatingPolicy",
    "serving.kserve.io/v1alpha1": "ClusterServingRuntime ClusterStorageContainer ServingRuntime",
    "serving.kserve.io/v1beta1": "InferenceService",
    "monitoring.coreos.com/v1": "PodMonitor PrometheusRule ServiceMonitor",
}
"""By group and version, from 1.33 to 1.37; behind them those of others that stand beside."""
POD = (
    "activeDeadlineSeconds affinity automountServiceAccountToken containers dnsConfig dnsPolicy"
    " enableServiceLinks ephemeralContainers evictionResponders"
    " hostAliases hostIPC hostNetwork hostPID hostUsers"
    " hostname hostnameOverride imagePullSecrets initContainers nodeName nodeSelector os overhead"
    " preemptionPolicy priority priorityClassName readinessGates resourceClaims resources"
    " restartPolicy runtimeClassName schedulerName schedulingGates schedulingGroup securityContext"
    " serviceAccount serviceAccountName setHostnameAsFQDN shareProcessNamespace subdomain"
    " terminationGracePeriodSeconds tolerations topologySpreadConstraints volumes workloadRef"
)
CONTAINER = (
    "args command env envFrom image imagePullPolicy lifecycle livenessProbe name ports"
    " readinessProbe resizePolicy resources restartPolicy restartPolicyRules securityContext"
    " startupProbe stdin stdinOnce targetContainerName terminationMessagePath"
    " terminationMessagePolicy tty volumeDevices volumeMounts workingDir"
)
INNER = {
    "securityContext": (
        "allowPrivilegeEscalation appArmorProfile capabilities privileged procMount"
        " readOnlyRootFilesystem runAsGroup runAsNonRoot runAsUser seLinuxOptions seccompProfile"
        " windowsOptions"
    ),
    "resources": "claims limits requests",
    "lifecycle": "postStart preStop stopSignal",
} | dict.fromkeys(
    ("livenessProbe", "readinessProbe", "startupProbe"),
    (
        "exec failureThreshold grpc httpGet initialDelaySeconds periodSeconds successThreshold"
        " tcpSocket terminationGracePeriodSeconds timeoutSeconds"
    ),
)
"""Fields within those of a container."""
POD_CONTEXT = (
    "appArmorProfile fsGroup fsGroupChangePolicy runAsGroup runAsNonRoot runAsUser"
    " seLinuxChangePolicy seLinuxOptions seccompProfile supplementalGroups"
    " supplementalGroupsPolicy sysctls windowsOptions"
)
PREDICTOR = (
    f"{POD} annotations autoScaling batcher canaryTrafficPercent containerConcurrency"
    " deploymentStrategy huggingface labels lightgbm logger maxReplicas minReplicas model name onnx"
    " paddle pmml pytorch scaleMetric scaleMetricType scaleTarget sklearn storageContainerName"
    " storageUris tensorflow timeout triton workerSpec xgboost"
)
SERVED = (
    f"{CONTAINER} confidential modelFormat protocolVersion runtime runtimeVersion storage"
    " storageUri"
)
RUNTIME = (
    "affinity annotations builtInAdapter containers disabled grpcDataEndpoint grpcEndpoint hostIPC"
    " httpDataEndpoint imagePullSecrets labels multiModel nodeSelector protocolVersions replicas"
    " resourceClaims schedulerName storageHelper supportedModelFormats tolerations volumes"
    " workerSpec"
)
"""Of KServe 0.21: a model's predictor, its model, and what runs it."""
QUANTITY = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?")
"""https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/"""


def faults(document: dict[str, Any]) -> Iterator[str]:
    """What a cluster of any version would refuse, or drop without a word."""
    kind, group = text(document.get("kind")), text(document.get("apiVersion"))
    if kind not in KINDS.get(group, "").split():
        yield f"{group or 'no apiVersion'} {kind or 'no kind'}: no kind that is known"
        return
    spec = table(document.get("spec"))
    if kind == "InferenceService":
        yield from _unknown(spec, "canary explainer predictor transformer", "spec")
        predictor = table(spec.get("predictor"))
        yield from _of_pod(predictor, PREDICTOR)
        yield from _unknown(table(predictor.get("model")), SERVED, "predictor.model")
    elif kind in ("ServingRuntime", "ClusterServingRuntime"):
        yield from _of_pod(spec, RUNTIME)
    else:
        for pod in pods(document):
            yield from _of_pod(table(pod.get("spec")), POD)
    yield from _quantities(document, ())
    yield from _texts(document)


def _of_pod(spec: dict[str, Any], fields: str) -> Iterator[str]:
    yield from _unknown(spec, fields, "spec")
    yield from _unknown(table(spec.get("securityContext")), POD_CONTEXT, "securityContext")
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        for container in items(spec.get(kind)):
            where = f"{kind} {text(container.get('name'))}"
            yield from _unknown(container, CONTAINER, where)
            for name, known in INNER.items():
                yield from _unknown(table(container.get(name)), known, f"{where}.{name}")


def _unknown(found: dict[str, Any], fields: str, where: str) -> Iterator[str]:
    known = fields.split()
    for name in found:
        if name not in known:
            yield f"{where}: no field {str(name)[:80]!r}{nearest(str(name), known)}"


def _quantities(value: Any, path: tuple[str, ...]) -> Iterator[str]:
    """Every quantity of resources, sizes and averages is one."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _quantities(one, (*path[-3:], str(name)))
    elif isinstance(value, list):
        for one in value:
            yield from _quantities(one, path)
    elif path[-2:-1] in (("limits",), ("requests",)) or path[-1:] in (
        ("sizeLimit",),
        ("averageValue",),
    ):
        is_number = isinstance(value, int) and not isinstance(value, bool)
        if not is_number and not QUANTITY.fullmatch(text(value)):
            yield f"{'.'.join(path[-2:])}: {str(value)[:80]!r} is no quantity, such as 500m or 1Gi"


def _texts(document: dict[str, Any]) -> Iterator[str]:
    """What must be a text, and YAML read as something else."""
    parts = [table(document.get("metadata"))]
    parts += [table(pod.get("metadata")) for pod in pods(document)]
    for part in parts:
        for field in ("labels", "annotations"):
            for name, value in table(part.get(field)).items():
                if not isinstance(value, str) or not isinstance(name, str):
                    yield f"{field}.{name}: YAML reads {value!r} as no text; put it into quotes"
    for pod in pods(document):
        for container in items(table(pod.get("spec")).get("containers")):
            for one in items(container.get("env")):
                if "value" in one and not isinstance(one["value"], str):
                    yield (
                        f"env {text(one.get('name'))}: YAML reads {one['value']!r} as no text; put"
                        " it into quotes"
                    )
            for field in ("command", "args"):
                words = container.get(field, [])
                if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
                    yield f"{field}: a word of it is no text; put it into quotes"


def by_schema(document: dict[str, Any], version: str) -> list[str]:
    """What Kubernetes' own schema does not take, in a version of it.

    Args:
        document: a manifest.
        version: such as `1.36`.

    Returns:
        sentences; none where the schemas are not installed, or none is for the kind.
    """
    try:
        import kubernetes_validate as schemas
    except ModuleNotFoundError:
        return []
    try:
        schemas.validate(document, version, strict=True)
    except schemas.ValidationError as error:
        where = ".".join(str(step) for step in error.path)
        return [f"{where or 'at the top'}: {error.message[:200]} (Kubernetes {version})"]
    except schemas.SchemaNotFoundError:
        return []
    return []
