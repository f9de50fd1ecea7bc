"""What others say of rendered manifests: kubectl's kustomize builds them, Kubernetes' schemas and KServe's
definitions take them, checkov finds nothing, and admission's rules are evaluated by two implementations of CEL.
"""

import copy
import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from tests.unit import clusters
from tests.unit.clusters import ALL, PLACES

from casemate.config.kubernetes import VERSIONS
from casemate.deploy.kubernetes import fields

pytestmark = pytest.mark.slow
LOCKS = Path(__file__).with_name("kubernetes")


def installed(folder: Path, lock: str) -> Path:
    """The programs of an environment of their own; the test is skipped, visibly, without a network."""
    place = folder / lock
    words = [[sys.executable, "-m", "uv", "venv", "--quiet", place]]
    pip = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--require-hashes"]
    words.append([*pip, "--python", place / "bin/python", "-r", LOCKS / f"{lock}.txt"])
    for one in words:
        done = subprocess.run(one, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"{lock} cannot be installed here: {done.stderr[-300:]}")
    return place / "bin"


@pytest.fixture(scope="session")
def tools(tmp_path_factory) -> Path:
    """kubectl, kubernetes-validate and two implementations of CEL."""
    return installed(tmp_path_factory.mktemp("kubernetes"), "tools")


@pytest.fixture(scope="session")
def checkov(tmp_path_factory) -> Path:
    """checkov, whose dependencies go with nobody else's."""
    return installed(tmp_path_factory.mktemp("checkov"), "checkov") / "checkov"


def written(root: Path, target: str, text: str) -> tuple[Path, dict[str, bytes]]:
    files = clusters.rendered(target, clusters.given_of(root, text))
    for name, content in files.items():
        (root / "k8s" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "k8s" / name).write_bytes(content)
    return root / "k8s", files


def built(tools: Path, folder: Path) -> bytes:
    done = subprocess.run(
        [tools / "kubectl", "kustomize", folder], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.encode()


def whole(tools: Path, folder: Path, target: str) -> bytes:
    """Everything that one namespace gets."""
    return built(tools, folder / "overlays/production" if target == "kubernetes" else folder)


@pytest.mark.parametrize("version", VERSIONS)
def test_kustomize_builds_what_kubernetes_schemas_take(version, tools, tmp_path):
    more = ALL.replace("1.37", version)
    folder, _ = written(tmp_path, "kubernetes", clusters.toml("copy", more))
    for overlay in ("overlays/staging", "overlays/production", "admission"):
        content = built(tools, folder / overlay)
        documents = list(yaml.safe_load_all(content))
        (tmp_path / "all.yaml").write_bytes(content)
        words = ["kubernetes-validate", "-k", version, "--strict", "all.yaml"]
        done = subprocess.run(
            [tools / words[0], *words[1:]],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        said = done.stdout + done.stderr
        strangers = [one for one in documents if "." in one["apiVersion"].partition("/")[0]]
        others = [
            one for one in strangers if not one["apiVersion"].split("/")[0].endswith("k8s.io")
        ]
        # it passes kinds that it does not know: each of ours must have been looked at
        assert said.count("passed for resource") == len(documents) - len(others)
        namespaces = {
            one["metadata"].get("namespace") for one in documents if overlay != "admission"
        }
        assert namespaces <= {None, "tiny-staging" if "staging" in overlay else "tiny"}


def test_own_tables_of_kinds_and_fields_are_those_of_the_schemas(tools):
    names = {
        "podspec": fields.POD,
        "container": fields.CONTAINER,
        "ephemeralcontainer": fields.CONTAINER,
        "podsecuritycontext": fields.POD_CONTEXT,
        **{name.lower(): fields.INNER[name] for name in ("securityContext", "lifecycle")},
        "probe": fields.INNER["livenessProbe"],
        "resourcerequirements": fields.INNER["resources"],
    }
    place = next((tools.parent / "lib").glob("*/site-packages/kubernetes_validate"))
    for version in VERSIONS:
        folder = place / f"kubernetes-json-schema/v{version}.0-local-strict"
        for name, known in names.items():
            there = json.loads((folder / f"{name}-v1.json").read_text())["properties"]
            assert set(there) <= set(known.split()), (version, name)
    for group, kinds in fields.KINDS.items():
        if not group.partition("/")[0].endswith(("k8s.io", "apps", "batch", "policy", "v1")):
            continue
        if "kustomize" in group:
            continue
        for kind in kinds.split():
            name = "-".join([kind.lower(), *_suffix(group)])
            assert (folder / f"{name}.json").is_file(), name


def _suffix(group: str) -> list[str]:
    name, slash, version = group.rpartition("/")
    return [name.partition(".")[0], version] if slash else [version]


@pytest.mark.parametrize(
    ("target", "source", "more"),
    [
        ("kubernetes", "image", ALL),
        ("kserve", "image", ALL),
        pytest.param("kubernetes", "image", "", marks=pytest.mark.long),
        pytest.param("kubernetes", "copy", ALL, marks=pytest.mark.long),
        pytest.param("kubernetes", "s3", ALL, marks=pytest.mark.long),
        pytest.param("kubernetes", "claim", "", marks=pytest.mark.long),
    ],
)
def test_checkov_finds_nothing(target, source, more, tools, checkov, tmp_path):
    folder, _ = written(tmp_path, target, clusters.toml(source, more))
    content = whole(tools, folder, target)
    if target == "kserve":
        content = as_deployment(content)
    (tmp_path / "all.yaml").write_bytes(content)
    words = ["-f", "all.yaml", "--framework", "kubernetes", "--skip-download", "-o", "json"]
    done = subprocess.run(
        [checkov, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    report = json.loads(done.stdout)
    failed = [(one["check_id"], one["resource"]) for one in report["results"]["failed_checks"]]
    assert failed == []
    assert done.returncode == 0
    # it exits with 0 on files that do not parse: what was looked at must be there
    summary = report["summary"]
    assert summary["parsing_errors"] == 0
    assert summary["resource_count"] >= len(list(yaml.safe_load_all(content)))
    looked = {one["check_id"] for one in report["results"]["passed_checks"]}
    assert {"CKV_K8S_22", "CKV_K8S_43", "CKV_K8S_40", "CKV_K8S_31", "CKV2_K8S_6"} <= looked


def as_deployment(content: bytes) -> bytes:
    """What KServe makes of a runtime and a service: checkov knows neither."""
    documents = list(yaml.safe_load_all(content))
    runtime = next(one for one in documents if one["kind"] == "ServingRuntime")["spec"]
    service = next(one for one in documents if one["kind"] == "InferenceService")
    predictor = service["spec"]["predictor"]
    labels = predictor["labels"]
    kept = {
        name: value
        for name, value in {**predictor, **runtime}.items()
        if name in fields.POD.split()
    }
    made = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "predictor", "namespace": service["metadata"]["namespace"]},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": kept},
        },
    }
    rest = [one for one in documents if "kserve" not in one["apiVersion"]]
    return yaml.safe_dump_all([*rest, made]).encode()


@pytest.mark.parametrize("protocol", [pytest.param("v2", marks=pytest.mark.long), "grpc-v2"])
def test_kserves_own_definitions_take_what_is_rendered_and_no_field_is_dropped(
    protocol, case, tmp_path
):
    text = clusters.toml(more=ALL, serve="[serve]\ngrpc_port = 8444\n")
    text += f'[deploy.kserve]\nprotocol = "{protocol}"\n'
    _, files = written(tmp_path, "kserve", text)
    for kind, name in (
        ("ServingRuntime", "kserve_servingruntimes.crd.yaml"),
        ("InferenceService", "kserve_inferenceservices.crd.yaml"),
    ):
        definition = yaml.safe_load(case(f"schemas/{name}").read_text())
        schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        document = clusters.found(files, kind)
        assert document["apiVersion"].endswith(definition["spec"]["versions"][0]["name"])
        jsonschema.validate(document, schema)
        # a cluster drops what a definition does not name, without a word
        assert list(dropped(document, schema)) == []
        known = schema["properties"]["spec"]["properties"]
        if kind == "InferenceService":
            known = known["predictor"]["properties"]
            assert set(known) == set(fields.PREDICTOR.split()) & set(known)
            assert set(known["model"]["properties"]) <= set(fields.SERVED.split())
        else:
            assert set(known) == set(fields.RUNTIME.split())


def dropped(value, schema, path=""):
    """Fields of a document that its definition prunes."""
    if schema.get("x-kubernetes-preserve-unknown-fields") or not isinstance(schema, dict):
        return
    if isinstance(value, dict) and path != ".metadata":
        inner = schema.get("properties", {})
        for name, one in value.items():
            if name in inner:
                yield from dropped(one, inner[name], f"{path}.{name}")
            elif "additionalProperties" not in schema:
                yield f"{path}.{name}"
    elif isinstance(value, list):
        for one in value:
            yield from dropped(one, schema.get("items", {}), f"{path}[]")


def refusals(tools: Path, spec: dict, pods: list[dict]) -> list[list[str]]:
    """Messages of the rules that refuse each pod; both implementations must agree."""
    done = subprocess.run(
        [tools / "python", LOCKS / "judge.py"],
        input=json.dumps({"spec": spec, "pods": pods}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    one, other = json.loads(done.stdout)
    assert one == other
    return one


def serving(pod):
    return next(one for one in pod["spec"]["containers"] if "args" in one)


def without_verifying(pod):
    container = serving(pod)
    container["command"] = container.pop("args")


def mounted(pod, name, path, **source):
    pod["spec"]["volumes"].append({"name": name, **source})
    pod["spec"]["initContainers"][-1]["volumeMounts"].append({"name": name, "mountPath": path})


def setting(where, **fields):
    def change(pod):
        container = serving(pod) if where == "main" else pod["spec"][where][0]
        container.update(fields)

    return change


def running(**source):
    def change(pod):
        volumes = pod["spec"]["volumes"]
        volumes[:] = [one for one in volumes if one["name"] != "run"] + [{"name": "run", **source}]

    return change


def unkeyed(pod):
    (volume,) = [one for one in pod["spec"]["volumes"] if one["name"] == "trusted"]
    volume["configMap"]["name"] = "mine"


def picked(pod):
    (volume,) = [one for one in pod["spec"]["volumes"] if one["name"] == "trusted"]
    volume["configMap"]["items"] = [{"key": "signer.pub", "path": "signer.pub"}]


def writable(pod):
    (mount,) = [one for one in serving(pod)["volumeMounts"] if one["mountPath"] == "/model"]
    del mount["readOnly"]


def sidecar(pod):
    pod["spec"]["containers"].append({**serving(pod), "name": "b", "command": ["sh"], "args": []})


def released(*words):
    def change(pod):
        said = serving(pod)["args"]
        at = said.index("--release")
        said[at : at + 2] = words

    return change


def configured(pod):
    (volume,) = [one for one in pod["spec"]["volumes"] if one["name"] == "toml"]
    volume["configMap"]["name"] = "mine"


def elsewhere(pod):
    (volume,) = [one for one in pod["spec"]["volumes"] if one["name"] == "toml"]
    volume["configMap"]["items"] = [{"key": "other.toml", "path": "casemate.toml"}]


def unconfigured(pod):
    mounts = serving(pod)["volumeMounts"]
    mounts[:] = [one for one in mounts if one["name"] != "toml"]


def weaker(pod):
    words = serving(pod)["command"]
    words[words.index("approved")] = "provenance"


def aside(pod):
    mount = {"name": "model", "mountPath": "/model"}
    pod["spec"]["initContainers"][-1]["volumeMounts"].append(mount)


OTHER = clusters.GATEWAY.replace("gateway", "other")
BROKEN = {
    "begins with another command": [
        without_verifying,
        setting("main", args=["/usr/bin/python3", "-c", "evil"]),
        setting("main", command=["sh", "-c", "exec python3 -m casemate verify"]),
        weaker,
        sidecar,
        released(),
        released("--release", "/model"),
        released("--release", "/run/casemate/model", "--release", "/tmp/model"),
        lambda pod: serving(pod).pop("command"),
    ],
    "init container runs": [
        setting("initContainers", command=["sh"]),
        setting("initContainers", args=["x"]),
        lambda pod: pod["spec"]["initContainers"].append({"name": "x", "image": clusters.GATEWAY}),
    ],
    "ephemeral container": [
        lambda pod: pod["spec"].update(ephemeralContainers=[{"name": "debug", "image": "busybox"}])
    ],
    "an image is not one": [
        setting("main", image=OTHER),
        setting("main", image="registry.example.org/ml/gateway:1"),
        setting("initContainers", image=OTHER),
    ],
    "not mounted read-only": [
        writable,
        lambda pod: serving(pod)["volumeMounts"].pop(0),
    ],
    "public keys are not": [unkeyed, picked, lambda pod: serving(pod)["volumeMounts"].pop(1)],
    "says whose models are believed": [configured, elsewhere, unconfigured],
    "image volume is mounted": [
        aside,
        lambda pod: mounted(pod, "w", "/tmp", image={"reference": clusters.MODEL}),
    ],
    "mounted over what verifies": [
        lambda pod: mounted(pod, "w", "/opt/casemate/lib", emptyDir={}),
        lambda pod: mounted(pod, "w", "/keys/", emptyDir={}),
        setting("main", volumeDevices=[{"name": "a", "devicePath": "/dev/x"}]),
    ],
    "something outside of the pod can change it": [
        running(persistentVolumeClaim={"claimName": "shared"}),
        running(configMap={"name": "site-packages"}),
    ],
    "a variable or a working directory": [
        setting("main", env=[{"name": "HOME", "value": "/tmp"}]),
        setting("main", env=[{"name": "XDG_CONFIG_HOME", "value": "/tmp"}]),
        setting("main", env=[{"name": "PYTHONPATH", "value": "/tmp"}]),
        setting("main", env=[{"name": "LD_PRELOAD", "value": "/tmp/x.so"}]),
        setting("initContainers", envFrom=[{"configMapRef": {"name": "a"}}]),
        setting("main", workingDir="/tmp"),
    ],
    "a hook runs": [
        setting("main", lifecycle={"postStart": {"exec": {"command": ["sh"]}}}),
        setting("main", lifecycle={"preStop": {"exec": {"command": ["sh"]}}}),
    ],
    "a probe runs": [
        setting("main", livenessProbe={"exec": {"command": ["sh"]}}),
        setting("main", startupProbe={"exec": {}}),
    ],
    "one another's processes": [lambda pod: pod["spec"].update(shareProcessNamespace=True)],
}


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("kubernetes", "ValidatingAdmissionPolicy"),
        ("kserve", "ValidatingPolicy"),
        pytest.param("kubernetes", "ValidatingPolicy", marks=pytest.mark.long),
        pytest.param("kserve", "ValidatingAdmissionPolicy", marks=pytest.mark.long),
    ],
)
def test_admission_takes_every_rendered_pod_and_refuses_it_once_a_rule_is_broken(
    target, kind, tools, tmp_path
):
    _, files = written(tmp_path, target, clusters.toml(more=ALL))
    spec = clusters.found(files, kind)["spec"]
    sound = clusters.every_pod(files)
    assert len(sound) == (4 if target == "kubernetes" else 1)
    assert refusals(tools, spec, sound) == [[]] * len(sound)
    gateway = next(pod for pod in sound if any("args" in one for one in pod["spec"]["containers"]))
    expected, broken = [], []
    for message, changes in BROKEN.items():
        for change in changes:
            pod = copy.deepcopy(gateway)
            change(pod)
            expected.append(message)
            broken.append(pod)
    found = refusals(tools, spec, broken)
    for message, said in zip(expected, found, strict=True):
        assert any(message in one for one in said), message
    reached = {message for said in found for message in said}
    assert reached == {rule["message"] for rule in spec["validations"]}


@pytest.mark.parametrize("source", PLACES)
def test_admission_takes_every_source_of_a_model(source, tools, tmp_path):
    _, files = written(tmp_path, "kubernetes", clusters.toml(source, ALL))
    spec = clusters.found(files, "ValidatingAdmissionPolicy")["spec"]
    sound = clusters.every_pod(files)
    assert refusals(tools, spec, sound) == [[]] * len(sound)


def test_what_stands_in_the_image_policy_is_the_owners_key(tmp_path):
    _, files = written(tmp_path, "kubernetes", clusters.toml(more=ALL))
    spec = clusters.found(files, "ImageValidatingPolicy")["spec"]
    key = spec["attestors"][0]["cosign"]["key"]["data"]
    assert key == (tmp_path / "cosign.pub").read_text()
    assert spec["matchImageReferences"] == [{"glob": "registry.example.org/ml/gateway*"}]
