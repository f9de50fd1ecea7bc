"""Manifests for a cluster: the same each time, restricted, with references instead of secrets; nobody's
name becomes anything but itself in them.
"""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.unit import clusters
from tests.unit.clusters import ALL, DIGEST, PLACES, every_pod, found, given_of, rendered, toml
from tests.unit.deploy.test_ci import HOSTILE, shape

import casemate
from casemate.cli import main
from casemate.config import parse
from casemate.config.kubernetes import VERSIONS
from casemate.core.errors import ConfigError
from casemate.deploy.interface import Given
from casemate.deploy.kubernetes import dangers, restricted
from casemate.deploy.targets import TARGETS
from casemate.serve.routes import find

BOTH = ("kubernetes", "kserve")


@pytest.mark.parametrize("more", ["", ALL])
@pytest.mark.parametrize("source", PLACES)
@pytest.mark.parametrize("target", BOTH)
def test_what_is_rendered_is_the_same_twice_and_safe(target, source, more, tmp_path):
    given = given_of(tmp_path, toml(source, more))
    first, again = rendered(target, given), rendered(target, given)
    assert first == again
    for name, content in first.items():
        assert TARGETS[target].dangers(name, content) == []
    assert clusters.documents(first)


@pytest.mark.parametrize("target", BOTH)
def test_every_pod_that_has_the_model_begins_by_verifying_it(target, tmp_path):
    files = rendered(target, given_of(tmp_path))
    serving = [
        container
        for pod in every_pod(files)
        for container in pod["spec"]["containers"]
        if any(mount["mountPath"] == "/model" for mount in container["volumeMounts"])
    ]
    assert len(serving) == 1
    assert dangers.verifies(serving[0])
    words = ["-m", "casemate", "serve", "--config", "/project", "--release", "/run/casemate/model"]
    assert serving[0]["args"][1:8] == words
    assert serving[0]["image"] == clusters.GATEWAY


def test_the_network_is_closed_but_for_those_who_are_named(tmp_path):
    policies = {
        one["metadata"]["name"]: one["spec"]
        for one in clusters.documents(rendered("kubernetes", given_of(tmp_path, toml(more=ALL))))
        if one["kind"] == "NetworkPolicy"
    }
    assert policies["nobody"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert [rule["from"] for rule in policies["callers"]["ingress"]] == [
        [
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ward"}},
                "podSelector": {"matchLabels": {"app": "a1"}},
            }
        ],
        [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
    ]
    assert policies["callers"]["ingress"][0]["ports"] == [{"protocol": "TCP", "port": 8443}]
    assert policies["peers"]["egress"][1] == {
        "to": [{"ipBlock": {"cidr": "10.0.7.1/32"}}],
        "ports": [{"protocol": "TCP", "port": 5432}],
    }
    assert len(policies["peers"]["egress"]) == 2
    alone = rendered("kubernetes", given_of(tmp_path))
    assert found(alone, "NetworkPolicy", "callers")["spec"]["ingress"] == []


def test_selectors_find_their_pods_and_probes_ask_routes_that_there_are(tmp_path):
    files = rendered("kubernetes", given_of(tmp_path))
    labels = found(files, "Deployment", "gateway")["spec"]["template"]["metadata"]["labels"]
    for kind, selector in (
        ("Service", found(files, "Service")["spec"]["selector"]),
        ("PodDisruptionBudget", found(files, "PodDisruptionBudget")["spec"]["selector"]),
        ("NetworkPolicy", found(files, "NetworkPolicy", "callers")["spec"]["podSelector"]),
        ("peers", found(files, "NetworkPolicy", "peers")["spec"]["podSelector"]),
    ):
        wanted = selector.get("matchLabels", selector)
        assert wanted.items() <= labels.items(), kind
    (container,) = found(files, "Deployment", "gateway")["spec"]["template"]["spec"]["containers"]
    serve = Path(casemate.__file__).parent / "serve"
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["scheme"] == "HTTPS"
        route = find(container[probe]["httpGet"]["path"])
        assert route is not None
        assert route.route.name == ("live" if probe == "livenessProbe" else "ready")
    metric = found(files, "HorizontalPodAutoscaler")["spec"]["metrics"][0]["pods"]["metric"]["name"]
    assert metric in (serve / "metrics.py").read_text()


def test_a_gateway_that_wants_certificates_is_asked_whether_it_listens(tmp_path):
    serve = '[serve]\nclient_certificates = "require"\n'
    files = rendered("kubernetes", given_of(tmp_path, toml(serve=serve)))
    (container,) = found(files, "Deployment", "gateway")["spec"]["template"]["spec"]["containers"]
    assert container["livenessProbe"]["tcpSocket"] == {"port": "api"}
    with pytest.raises(ConfigError, match="KServe calls without a certificate"):
        rendered("kserve", given_of(tmp_path, toml(serve=serve)))


def test_pods_are_others_when_the_project_or_its_keys_are(tmp_path):
    def mark(text):
        files = rendered("kubernetes", given_of(tmp_path, text))
        return found(files, "Deployment", "gateway")["spec"]["template"]["metadata"]["annotations"]

    first = mark(toml())
    assert mark(toml()) == first
    assert mark(toml() + "replicas = 3\n") != first
    (tmp_path / "trusted" / "more.pub").write_text("x")
    assert mark(toml()) != first


HAND = '[serve]\ntrusted = ["/keys"]\n'


def test_the_project_and_public_keys_are_in_the_files_as_they_are(tmp_path):
    text = toml(serve=HAND) + "# a # comment: with 'quotes', \"more\", ü and a tab\there\n\n\n"
    given = given_of(tmp_path, text)
    files = rendered("kubernetes", given)
    assert found(files, "ConfigMap", "casemate-project")["data"] == {"casemate.toml": text}
    kept = found(files, "ConfigMap", "casemate-trusted")["data"]
    assert kept == {path.name: path.read_text() for path in (tmp_path / "trusted").iterdir()}


@pytest.mark.parametrize(
    "serve",
    [
        "",
        "[serve]\nport = 8444 # ours\n",
        '[serve]\ntrusted = ["trusted", "more"]\n',
        "[serve.limits]\nrows = 5\n",
        "[serve.limits]\nrows = 5\n[serve]\nport = 8444\n",
        "[serve.limits]\nrows = 5\n[audit]\n[serve.guard]\n[serve]\nport = 8444\n",
    ],
)
def test_pods_believe_the_keys_that_they_verify_with_and_no_option_says_so(serve, tmp_path):
    text = toml(serve=f"# whose\n{serve}")
    files = rendered("kubernetes", given_of(tmp_path, text))
    said = found(files, "ConfigMap", "casemate-project")["data"]["casemate.toml"]
    expected = tomllib.loads(text)
    expected.setdefault("serve", {})["trusted"] = ["/keys"]
    assert tomllib.loads(said) == expected
    assert parse(said).serve.trusted == ["/keys"]
    assert [line for line in text.splitlines() if "#" in line] == [
        line for line in said.splitlines() if "#" in line
    ]


@pytest.mark.parametrize("serve", ["serve = {port = 8444}\n", "serve.port = 8444\n"])
def test_a_table_in_one_line_is_added_to_as_well(serve, tmp_path):
    files = rendered("kubernetes", given_of(tmp_path, serve + toml()))
    said = found(files, "ConfigMap", "casemate-project")["data"]["casemate.toml"]
    assert parse(said).serve.trusted == ["/keys"]
    assert parse(said).serve.port == 8444


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (toml(serve='[serve]\nrelease = "m"\ntrusted = ["k"]\n'), "told by its start what it serves"),
        (toml(serve='[serve.models]\na = "tiny"\nb = "other@3"\n'), "other, tiny: a pod serves one"),
        (toml().replace(f'image = "{clusters.GATEWAY}"\n', ""), "which gateway is to run"),
        (toml().replace(PLACES["image"], ""), r"model\] image: needed"),
        (toml(store=""), "a file of this machine"),
        (toml(store='[store]\nurl = "postgresql://a@b/c"\n'), "objects: they are files"),
        (toml(store='[store]\nurl = "postgresql://a:pw@b/c"\nobjects = "s3://b"\n'), "password"),
        (toml(serve="[serve]\nport = 443\n"), "1024"),
        (toml(store=clusters.STORE + 'password = "env:PG"\n'), "reads secrets from files below"),
        (toml(store=clusters.STORE + 'password = "file:pw"\n'), "reads secrets from files below"),
        (toml(serve='[keys]\npassphrase = "prompt"\n'), "reads secrets from files below"),
        (toml(store=clusters.STORE + 'password = "file:/secrets/../x"\n'), "reads secrets"),
        (toml(more='version = "1.20"\n'), "1.33, 1.34, 1.35, 1.36, 1.37"),
        (toml(more='version = "1.34"\n'), 'set source = "copy"'),
        (toml(more="replicas = 9\n"), "more than most"),
        (toml(more='backups = "b"\n'), "needs claim"),
        (toml(more='keys = "casemate-secrets"\n'), "are two Secrets"),
        (toml(more='memory = "banana"\n'), "memory"),
        (toml(more='memory = "512m"\n'), "no number of bytes"),
        (toml(more='cpu = "4"\n'), "more than cpu_limit"),
        (toml(more='namespaces = {a = "x", b = "x"}\n'), "each overlay needs its own"),
        (toml(more='namespaces = {a = "X_y"}\n'), "namespaces"),
        (toml(more='[deploy.kubernetes.peers.a]\ncidr = "10.0.0.1/8"\nports = [1]\n'), "no network"),
        (toml(more='[deploy.kubernetes.peers.a]\ncidr = "10.0.0.0/8"\n'), "give ports"),
        (toml(more="[deploy.kubernetes.callers.a]\n"), "give cidr or namespace"),
        (toml("claim").replace('claim = "models"', 'claim = "models"\naddress = "s3://abc"'), "says nothing"),
        (toml(more='cosign = "cosign.pub"\n'), "asks no registry"),
        (toml().replace(f"@sha256:{DIGEST}", ":latest"), "image"),
        (toml(more='admission = ["opa"]\n'), "admission"),
    ],
)  # fmt: skip
def test_what_could_not_work_or_would_leak_is_refused(text, expected, tmp_path):
    with pytest.raises(ConfigError, match=expected) as caught:
        rendered("kubernetes", given_of(tmp_path, text))
    assert "pw@" not in str(caught.value.diagnostics())


def test_without_public_keys_or_with_a_private_one_nothing_is_rendered(tmp_path):
    given = given_of(tmp_path)
    (tmp_path / "trusted" / "x.pem").write_text("-----BEGIN PRIVATE KEY-----\n")
    with pytest.raises(ConfigError, match="is a private key"):
        rendered("kubernetes", given)
    for path in (tmp_path / "trusted").iterdir():
        path.unlink()
    with pytest.raises(ConfigError, match="holds no public keys"):
        rendered("kubernetes", given)


OPTIONS = st.fixed_dictionaries(
    {
        "source": st.sampled_from(sorted(PLACES)),
        "version": st.sampled_from(VERSIONS),
        "users": st.booleans(),
        "replicas": st.integers(1, 6),
        "approvals": st.integers(1, 9),
        "cpu": st.sampled_from(["1m", "500m", "2"]),
        "memory": st.sampled_from(["64Mi", "1Gi", "2G", "900M"]),
        "pull": st.none() | st.sampled_from(["no", "1e3", "a"]),
        "claim": st.none() | st.sampled_from(["true", "007"]),
        "backups": st.booleans(),
        "admission": st.lists(st.sampled_from(["kubernetes", "kyverno"]), unique=True),
        "port": st.sampled_from([1024, 8443, 65535]),
        "grpc": st.none() | st.just(8444),
        "tls": st.sampled_from(["own", "proxy"]),
        "password": st.booleans(),
        "namespace": st.sampled_from(["a", "1", "null", "on", "2026-01-01", "x" * 63]),
        "cidr": st.sampled_from(["0.0.0.0/0", "2001:db8::/32", None]),
    }
)


def configuration(said):
    lines = [f"{name} = {str(said[name]).lower()}" for name in ("users", "replicas", "approvals")]
    lines += [
        f'{name} = "{said[name]}"' for name in ("cpu", "memory", "pull", "claim") if said[name]
    ]
    lines.append(f"admission = {said['admission']}")
    lines.append(f'namespaces = {{ one = "{said["namespace"]}" }}')
    if said["source"] != "image" or said["version"] >= "1.35":
        lines.append(f'version = "{said["version"]}"')
    if said["claim"] and said["backups"]:
        lines.append('backups = "backups"')
    if said["cidr"]:
        lines.append(f'[deploy.kubernetes.peers.x]\ncidr = "{said["cidr"]}"\nports = [1, 65535]')
    else:
        lines.append('[deploy.kubernetes.callers.x]\nnamespace = "no"\npods = {"y" = "1"}')
    serve = f'[serve]\nport = {said["port"]}\ntls = "{said["tls"]}"\n'
    serve += "" if said["grpc"] is None else f"grpc_port = {said['grpc']}\n"
    store = clusters.STORE + ('password = "file:/secrets/pg"\n' if said["password"] else "")
    return toml(said["source"], "\n".join(lines) + "\n", serve, store)


@pytest.mark.slow
@pytest.mark.parametrize("target", BOTH)
@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25
)
@given(said=OPTIONS)
def test_whatever_is_chosen_every_pod_is_restricted(target, said, tmp_path):
    files = rendered(target, given_of(tmp_path, configuration(said)))
    checked = [fault for pod in every_pod(files) for fault in restricted.faults(pod)]
    assert checked == []
    for name, content in files.items():
        assert TARGETS[target].dangers(name, content) == []
    assert f"namespace: {said['namespace']}" not in str(files)


def said_of(model):
    """Fields of a model's source that have a value, but for the source."""
    fields = ("image", "fetcher", "address", "credentials", "claim")
    return [name for name in fields if getattr(model, name) is not None]


def hostile(config, text):
    """The configuration with a name that its file would not take, everywhere."""
    change = msgspec.structs.replace
    table = config.deploy.kubernetes
    peer = msgspec.structs.replace(table.peers["database"], cidr=text)
    other = change(peer, cidr=None, namespace=text, pods={text: text})
    table = change(
        table, image=f"{text}@sha256:{DIGEST}", python=text, secrets=text, keys=text, pull=text,
        claim=text, backups=text, backup_schedule=text, version=text, namespaces={"o": text},
        model=change(table.model, **dict.fromkeys(said_of(table.model), text)), peers={text: peer},
        callers={text: other}, cpu=text, memory=text, cpu_limit=text, scratch=text,
        external=change(table.external, store=text, secrets=text, keys=text, refresh=text),
    )  # fmt: skip
    serve = change(config.serve, stage=text, names=[text])
    project = change(config.project, id=text)
    return change(
        config, project=project, serve=serve, deploy=change(config.deploy, kubernetes=table)
    )


@pytest.mark.slow
@pytest.mark.parametrize("target", BOTH)
@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40
)
@given(text=HOSTILE, source=st.sampled_from(sorted(PLACES)))
@example(text="no", source="image")
@example(text="1e3", source="claim")
@example(text="x #y", source="s3")
def test_no_name_becomes_anything_but_itself_in_a_manifest(target, text, source, tmp_path):
    given = given_of(tmp_path, toml(source, ALL))
    config = given.config

    def files(name):
        said = Given(hostile(config, name), given.root, given.folder, {})
        return rendered(target, said)

    try:
        written = files(text)
    except ConfigError:
        return
    plain = files("plain")
    assert set(written) == set(plain)
    for name, content in written.items():
        one, other = list(yaml.safe_load_all(content)), list(yaml.safe_load_all(plain[name]))
        assert unnamed(shape(one), text) == unnamed(shape(other), "plain"), name


def unnamed(value, name):
    """A shape in which keys that are the name itself are all alike."""
    if isinstance(value, dict):
        return {("NAME" if key == name else key): unnamed(one, name) for key, one in value.items()}
    return [unnamed(one, name) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", ["no", "1e3", "Ä", "a" * 50, "...", "a_b.C"])
def test_a_project_whose_name_kubernetes_does_not_take_is_told_or_written_otherwise(name, tmp_path):
    given = given_of(tmp_path)
    project = msgspec.structs.replace(given.config.project, name=name)
    given = Given(msgspec.structs.replace(given.config, project=project), tmp_path, tmp_path, {})
    if name in ("Ä", "a" * 50, "..."):
        with pytest.raises(ConfigError, match="cannot be a name in Kubernetes"):
            rendered("kubernetes", given)
        return
    names = {
        one["metadata"]["name"]
        for one in clusters.documents(rendered("kubernetes", given))
        if one["kind"] == "Namespace"
    }
    assert all(isinstance(one, str) and re.fullmatch("[a-z0-9-]+", one) for one in names)


def test_edits_stay_conflicts_are_named_and_check_judges_what_lies_there(tmp_path, capsys):
    root, folder = tmp_path / "p", tmp_path / "p" / "k8s"
    given_of(root)
    words = ["--config", str(root)]
    assert main(["deploy", "kubernetes", str(folder), *words]) == 0
    gateway = folder / "base/gateway.yaml"
    gateway.write_text(gateway.read_text().replace("maxSurge: 1,", "maxSurge: 2,"))
    (root / "casemate.toml").write_text(toml(more='cpu = "600m"\n'))
    assert main(["deploy", "check", str(folder), *words]) == 1
    assert main(["deploy", "kubernetes", str(folder), *words]) == 0
    assert "maxSurge: 2," in gateway.read_text()
    assert '"600m"' in gateway.read_text()
    assert main(["deploy", "check", str(folder), *words]) == 0
    assert main(["deploy", "status", str(folder)]) == 0
    said = capsys.readouterr().out
    assert f"sha256:{DIGEST}" in said
    gateway.write_text(gateway.read_text().replace("readOnlyRootFilesystem: true", "", 1))
    assert main(["deploy", "check", str(folder), *words]) == 1
    assert "readOnlyRootFilesystem: must be true" in capsys.readouterr().out


ROLE = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: more}
"""


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("more.yaml", "resources more.yaml: ClusterRoleBinding more: it gives rights"),
        ("https://example.org/more.yaml", "is no file of this folder"),
        ("../../../more.yaml", "is no file of this folder"),
    ],
)
def test_files_that_somebody_adds_are_looked_at_too(tmp_path, capsys, file, said):
    root, folder = tmp_path / "p", tmp_path / "p" / "k8s"
    given_of(root)
    words = ["--config", str(root)]
    assert main(["deploy", "kubernetes", str(folder), *words]) == 0
    kustomization = folder / "base/kustomization.yaml"
    kustomization.write_text(kustomization.read_text() + f"- {file}\n")
    for place in (folder / "base", tmp_path):
        (place / "more.yaml").write_text(ROLE)
    assert main(["deploy", "check", str(folder), *words]) == 1
    assert said in capsys.readouterr().out
    (folder / "base/more.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")
    assert main(["deploy", "check", str(folder), *words]) == (0 if file == "more.yaml" else 1)


def test_other_keys_than_the_projects_are_no_line_of_ones_own(tmp_path, capsys):
    root, folder = tmp_path / "p", tmp_path / "p" / "k8s"
    given_of(root)
    words = ["--config", str(root)]
    assert main(["deploy", "kubernetes", str(folder), *words]) == 0
    path = folder / "base/project.yaml"
    documents = list(yaml.safe_load_all(path.read_text()))
    documents[1]["data"]["mine.pub"] = "somebody else's"
    path.write_text(yaml.safe_dump_all(documents))
    assert main(["deploy", "check", str(folder), *words]) == 1
    assert "ConfigMap casemate-trusted: it is not what the project has" in capsys.readouterr().out


def test_another_image_that_says_it_verifies_is_no_line_of_ones_own(tmp_path, capsys):
    root, folder = tmp_path / "p", tmp_path / "p" / "k8s"
    given_of(root)
    words = ["--config", str(root)]
    assert main(["deploy", "kubernetes", str(folder), *words]) == 0
    path = folder / "base/gateway.yaml"
    path.write_text(path.read_text().replace(clusters.GATEWAY, f"evil.example@sha256:{DIGEST}"))
    assert main(["deploy", "check", str(folder), *words]) == 1
    assert "the image that verifies is not [deploy.kubernetes] image" in capsys.readouterr().out


def test_defaults_are_possible():
    assert parse(clusters.TOML).deploy.kubernetes.image is None
