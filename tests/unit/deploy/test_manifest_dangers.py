"""Manifests as somebody has edited them: each rule of the restricted profile broken once, typos, quantities
that are none, secrets, doubled keys; and what is right stays right.
"""

import copy

import pytest
import yaml
from tests.unit import clusters

from casemate.deploy.documents import MOST, Unreadable, documents
from casemate.deploy.kubernetes import dangers, fields, restricted
from casemate.deploy.kubernetes.words import INTO

HOSTILE_POD = {"windowsOptions": {"hostProcess": True}}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("p")
    return clusters.rendered(
        "kubernetes", clusters.given_of(root, clusters.toml(more=clusters.ALL))
    )


@pytest.fixture
def pod(files):
    return copy.deepcopy(clusters.found(files, "Deployment", "gateway")["spec"]["template"])


POD = [
    ("hostNetwork", True, "hostNetwork"),
    ("hostPID", True, "hostPID"),
    ("hostIPC", True, "hostIPC"),
    ("volumes", [{"name": "a", "hostPath": {"path": "/"}}], "hostPath is not allowed"),
    ("volumes", [{"name": "a", "nfs": {}}], "nfs is not allowed"),
    ("volumes", [{"name": "a", "gitRepo": {}, "emptyDir": {}}], "gitRepo is not allowed"),
    ("automountServiceAccountToken", True, "automountServiceAccountToken"),
]
BOTH = [
    ("runAsUser", 0, "must not be 0"),
    ("runAsNonRoot", False, "runAsNonRoot"),
    ("seccompProfile", {"type": "Unconfined"}, "seccompProfile.type"),
    ("seccompProfile", {}, "seccompProfile.type"),
    ("appArmorProfile", {"type": "Unconfined"}, "appArmorProfile.type"),
    ("seLinuxOptions", {"type": "spc_t"}, "seLinuxOptions"),
    ("seLinuxOptions", {"user": "root"}, "seLinuxOptions"),
    ("windowsOptions", {"hostProcess": True}, "hostProcess"),
]
CONTAINER = [
    *BOTH,
    ("privileged", True, "privileged"),
    ("allowPrivilegeEscalation", True, "allowPrivilegeEscalation"),
    ("allowPrivilegeEscalation", None, "allowPrivilegeEscalation"),
    ("procMount", "Unmasked", "procMount"),
    ("capabilities", {"drop": ["NET_RAW"]}, "must hold ALL"),
    ("capabilities", None, "must hold ALL"),
    ("capabilities", {"drop": "ALL"}, "must hold ALL"),
    ("capabilities", {"drop": ["ALL"], "add": ["SYS_ADMIN"]}, "NET_BIND_SERVICE"),
    ("capabilities", {"drop": ["ALL"], "add": ["NET_BIND_SERVICE", "SYS_TIME"]}, "NET_BIND"),
    ("readOnlyRootFilesystem", False, "readOnlyRootFilesystem"),
]
BESIDE = [
    ("ports", [{"containerPort": 1, "hostPort": 1}], "hostPort"),
    ("livenessProbe", {"httpGet": {"host": "169.254.169.254", "port": 1}}, "host: must not"),
    ("readinessProbe", {"tcpSocket": {"host": "a", "port": 1}}, "host: must not"),
    ("lifecycle", {"preStop": {"httpGet": {"host": "a", "port": 1}}}, "host: must not"),
    ("image", "nginx", "by its digest"),
    ("image", "a/b:1@sha256:00", "by its digest"),
    ("resources", {"limits": {"cpu": "1"}}, "cpu and memory"),
    ("resources", None, "cpu and memory"),
]


def test_what_is_rendered_has_no_fault(pod):
    assert list(restricted.faults(pod)) == []


@pytest.mark.parametrize(("field", "value", "expected"), POD)
def test_a_pod_that_is_not_restricted_is_named(field, value, expected, pod):
    pod["spec"][field] = value
    assert any(expected in fault for fault in restricted.faults(pod))


@pytest.mark.parametrize(("field", "value", "expected"), BOTH)
def test_a_context_of_a_pod_that_is_not_restricted_is_named(field, value, expected, pod):
    pod["spec"]["securityContext"][field] = value
    assert any(expected in fault for fault in restricted.faults(pod))


@pytest.mark.parametrize("kind", ["containers", "initContainers", "ephemeralContainers"])
@pytest.mark.parametrize(("field", "value", "expected"), CONTAINER)
def test_a_container_of_any_kind_that_is_not_restricted_is_named(kind, field, value, expected, pod):
    more = copy.deepcopy(pod["spec"]["containers"][0])
    more["securityContext"][field] = value
    pod["spec"].setdefault(kind, []).append(more)
    found = list(restricted.faults(pod))
    assert len(found) == 1
    assert expected in found[0]
    assert found[0].startswith(kind)


@pytest.mark.parametrize(("field", "value", "expected"), BESIDE)
def test_what_a_container_says_beside_is_named(field, value, expected, pod):
    pod["spec"]["containers"][0][field] = value
    assert any(expected in fault for fault in restricted.faults(pod))


def test_what_only_a_pod_or_only_its_containers_say_is_enough_and_neither_is_not(pod):
    spec = pod["spec"]
    for context in [one["securityContext"] for one in spec["containers"] + spec["initContainers"]]:
        del context["runAsNonRoot"], context["seccompProfile"]
    assert list(restricted.faults(pod)) == []
    del spec["securityContext"]["runAsNonRoot"], spec["securityContext"]["seccompProfile"]
    found = " ".join(restricted.faults(pod))
    assert found.count("runAsNonRoot: must be true") == 2
    assert found.count("seccompProfile: must be set") == 2


def test_sysctls_and_apparmor_by_annotation_are_looked_at(pod):
    pod["spec"]["securityContext"]["sysctls"] = [
        {"name": "net.ipv4.tcp_syncookies", "value": "1"},
        {"name": "kernel.msgmax", "value": "1"},
    ]
    name = "container.apparmor.security.beta.kubernetes.io/gateway"
    pod["metadata"]["annotations"][name] = "unconfined"
    found = list(restricted.faults(pod))
    assert [fault.partition(":")[0] for fault in found] == ["sysctls", name]
    pod["metadata"]["annotations"][name] = "localhost/mine"
    assert len(list(restricted.faults(pod))) == 1


@pytest.mark.parametrize(
    ("name", "old", "new", "danger"),
    [
        ("base/gateway.yaml", "kind: Deployment", "kind: Deploymen", "no kind that is known"),
        ("base/scaling.yaml", "policy/v1", "policy/v1beta1", "no kind that is known"),
        ("base/gateway.yaml", "readinessProbe:", "readynessProbe:", "mean 'readinessProbe'"),
        ("base/gateway.yaml", "readOnlyRootFilesystem", "readOnlyRootFileSystem", "did you mean"),
        ("base/gateway.yaml", "automountServiceAccountToken", "automountToken", "no field"),
        ("base/gateway.yaml", 'memory: "1Gi"', "memory: banana", "'banana' is no quantity"),
        ("base/gateway.yaml", 'memory: "1Gi"', "memory: 1 Gi", "is no quantity"),
        ("base/gateway.yaml", 'memory: "1Gi"', "memory: true", "is no quantity"),
        ("base/gateway.yaml", 'sizeLimit: "2Gi"', "sizeLimit: 2GB", "is no quantity"),
        ("base/scaling.yaml", 'averageValue: "8"', "averageValue: much", "is no quantity"),
        ("base/gateway.yaml", 'instance: "tiny"', "instance: no", "put it into quotes"),
        ("base/gateway.yaml", '        - "--then"', "        - 12:30", "put it into quotes"),
        ("base/gateway.yaml", '        - "--then"\n', "", "begins without"),
        ("base/gateway.yaml", '        - "approved"\n', '        - "provenance"\n', "begins without"),
        ("base/gateway.yaml", '        - "verify"\n', '        - "serve"\n', "begins without"),
        ("base/gateway.yaml", "command:\n        - ", "args:\n        - ", "is given twice"),
        ("base/gateway.yaml", "      hostUsers: false", "      hostUsers: false\n      hostUsers: true", "twice"),
        ("base/gateway.yaml", "    spec:\n", "    spec: &a\n", ""),
        ("base/gateway.yaml", "apiVersion: v1\nkind: ServiceAccount", "apiVersion: v1\nkind: Secret\nstringData: {a: b}", "values stand in a file"),
        ("base/kustomization.yaml", "resources:", "secretGenerator: [{name: a, literals: [a=b]}]\nresources:", "secretGenerator"),
        ("base/gateway.yaml", '        - "/keys"\n', '        - "/project"\n', "begins without"),
        ("base/gateway.yaml", '        - "/keys"\n', '        - "/keys"\n        - "--key"\n        - "/tmp"\n', "begins without"),
        ("base/gateway.yaml", '        - "serve"\n', '        - "tool"\n', "something else than"),
        ("base/gateway.yaml", '        - "--release"\n        - "/run/casemate/model"\n', "", "something else than a gateway of what was verified"),
        ("base/gateway.yaml", '        - "--release"\n        - "/run/casemate/model"\n', '        - "--release"\n        - "/model"\n', "something else than"),
        ("base/gateway.yaml", '        - "--release"\n', '        - "--release=/tmp"\n        - "--release"\n', "something else than"),
        ("base/gateway.yaml", '        - "--config"\n        - "/project"\n', '        - "--config"\n        - "/tmp"\n', "something else than"),
        ("base/gateway.yaml", "name: casemate-project", "name: mine", "its casemate.toml is not that of the ConfigMap"),
        ("base/gateway.yaml", "name: casemate-trusted", "name: mine", "not those of the ConfigMap"),
        ("base/gateway.yaml", "        ports:", "        env: [{name: PYTHONPATH, value: /project}]\n        ports:", "env PYTHONPATH"),
        ("base/gateway.yaml", "        ports:", "        env: [{name: HOME, value: /project}]\n        ports:", "env HOME"),
        ("base/gateway.yaml", "        ports:", "        workingDir: /project\n        ports:", "workingDir"),
        ("base/gateway.yaml", "        - {name: tmp, mountPath: /tmp}", "        - {name: tmp, mountPath: /opt/casemate/lib}", "lies over the program"),
        ("base/gateway.yaml", "apiVersion: v1\nkind: ServiceAccount", "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding", "gives rights"),
        ("base/kustomization.yaml", "resources:", "patches: [{patch: a}]\nresources:", "after they were looked at"),
        ("base/kustomization.yaml", "resources:", "components: [a]\nresources:", "after they were looked at"),
        ("overlays/production/namespace.yaml", "enforce: restricted", "enforce: privileged", "must be restricted"),
        ("overlays/production/namespace.yaml", "casemate.dev/verified-start", "casemate.dev/other", "no rule of admission"),
        ("admission/admission.yaml", "failurePolicy: Fail", "failurePolicy: Ignore", "must be Fail"),
        ("admission/admission.yaml", "[Deny]", "[Audit]", "must be Deny"),
        ("base/gateway.yaml", "kind: Deployment", "kind: [", "no YAML"),
        ("base/gateway.yaml", "metadata:", "metadata: &a {a: *a}\nx:", "alias"),
    ],
)  # fmt: skip
def test_an_edited_manifest_that_must_not_be_applied_is_named(name, old, new, danger, files):
    text = files[name].decode()
    assert old in text
    found = dangers.found(name, text.replace(old, new).encode())
    assert any(danger in one for one in found) if danger else found == []


@pytest.mark.parametrize(
    ("words", "verifies"),
    [
        (["verify", "/m", "--key", "/keys", "--require", "approved", "--into", INTO, "--then"], True),
        (["verify", "/m", "--key", "/keys", "--require", "approved", "--into", INTO, "--then", "python3"], True),
        (["verify", "/m", "--key", "/keys", "--require", "approved", "--into", "/tmp/m", "--then"], False),
        (["verify", "/m", "--key", "/keys", "--key=/tmp", "--require", "approved", "--into", INTO, "--then"], False),
        (["verify", "/m", "--key", "/keys", "--ke", "/tmp", "--require", "approved", "--into", INTO, "--then"], False),
        (["verify", "/m", "--key", "/keys", "--into", "i", "--then", "x", "--require", "approved"], False),
        (["verify", "/m", "--require", "approved", "--into", "i", "--then"], False),
        (["verify", "/m", "--key", "/keys", "--require", "approved", "--then"], False),
        (["verify", "/m", "--key", "/keys", "--require", "approved", "--into", "i"], False),
        (["serve", "--key", "/keys", "--require", "approved", "--into", "i", "--then"], False),
        (["verify", "--key", "/keys", "--require", 1, "--into", "i", "--then"], False),
    ],
)  # fmt: skip
def test_only_what_is_asked_before_the_server_is_a_verification(words, verifies):
    start = ["-m", "casemate", *words]
    serve = ["-m", "casemate", "serve", "--config", "/project", "--release", INTO]
    args = serve if words[-1] == "python3" else ["python3", *serve]
    container = {"command": ["python3", *start], "args": args}
    assert dangers.verifies(container) is verifies
    assert not dangers.verifies(container | {"args": ["python3", "-c", "evil"]})


def test_a_container_that_mounts_an_image_unverified_is_named_wherever_it_stands(files):
    document = clusters.found(files, "Deployment", "watcher")
    spec = document["spec"]["template"]["spec"]
    spec["volumes"].append({"name": "m", "image": {"reference": clusters.MODEL}})
    spec["containers"][0]["volumeMounts"].append({"name": "m", "mountPath": "/x"})
    found = dangers.found("base/watcher.yaml", yaml.safe_dump(document).encode())
    assert [one for one in found if "begins without" in one]


BOMB = b"a0: &a0 [x, x]\n" + b"".join(
    b"a%d: &a%d [*a%d, *a%d]\n" % (n, n, n - 1, n - 1) for n in range(1, 40)
)


@pytest.mark.parametrize(
    "content",
    [BOMB, b"[" * 100_000, b"\xff\xfe", b"", b"- a", b"5", b"a: 1\n" * 500_000, b"? {a: b}\n: c",
     b"!!python/object:os.system x", b"kind: Pod\napiVersion: v1\nspec: 5", b"kind: {a: 1}"],
)  # fmt: skip
def test_what_is_no_manifest_is_said_to_be_none_at_once(content):
    assert dangers.found("a.yaml", content)


@pytest.mark.parametrize(
    "spec",
    [5, [], {"containers": 5}, {"containers": [5]}, {"containers": [{"securityContext": 5}]},
     {"volumes": {"a": 1}}, {"containers": [{"command": [1], "env": [1], "resources": []}]}],
)  # fmt: skip
def test_a_manifest_of_another_shape_is_judged(spec):
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": 7}, "spec": spec}
    list(restricted.faults(document))
    list(fields.faults(document))
    assert dangers.found("a.yaml", yaml.safe_dump(document).encode())


@pytest.mark.parametrize("text", ["1", "500m", "1.5Gi", "1e3", "-1", ".5", "+2Ki", "0.1E-2"])
def test_what_kubernetes_takes_as_a_quantity_is_one(text):
    assert fields.QUANTITY.fullmatch(text)


def test_only_manifests_are_read():
    assert dangers.found("README.md", b"\xff") == []
    with pytest.raises(Unreadable, match="larger"):
        documents(b" " * (MOST + 1))
