"""Who is asked, and as whom; and every way in which a cluster does not answer as it should."""

import json
import sys
import tempfile
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.deploy.api_server import ApiServer
from tests.unit.deploy.cluster_parts import manifests

from casemate.core.errors import BackendError, ConfigError, RefusedError, TransientError
from casemate.deploy.cluster import fields, transport
from casemate.deploy.cluster.client import connected
from casemate.deploy.cluster.documents import Key, load
from casemate.deploy.cluster.folder import manifests as read
from casemate.deploy.cluster.plan import plan

NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}
KEY = Key(api="v1", kind="Namespace", name="a")


@pytest.fixture
def server(tmp_path):
    with ApiServer(tmp_path / "server") as found:
        yield found


@pytest.fixture
def ask(server, tmp_path):
    """Read a namespace as a kubeconfig says."""

    def run(config=None, context=None):
        path = server.kubeconfig
        if config is not None:
            path = server.folder / "other"
            path.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
        with connected(path, context, tmp_path / "scratch") as cluster:
            return cluster.get(KEY)

    return run


def always(status, body=b"{}", **headers):
    def fault(method, path):
        return status, {name.replace("_", "-"): value for name, value in headers.items()}, body

    return fault


@pytest.mark.parametrize(
    ("fault", "kind", "told"),
    [
        (always(401), BackendError, "does not know who asks"),
        (always(403, b'{"message": "no namespaces for you"}'), BackendError, "no namespaces for"),
        (always(500), TransientError, r"\(500\)"),
        (always(200, b"<html>log in</html>"), BackendError, "not as an API server does"),
        (always(200, b"[1]"), BackendError, "not as an API server does"),
        (always(200, b"[" * 100_000), BackendError, "not as an API server does"),
        (always(200, b'{"groups": 3}'), BackendError, "does not say which Kubernetes|another way"),
        (always(200, b'{"gitVersion": "v1.36.0"}'), BackendError, "in another way"),
        (always(302, Location="https://127.0.0.1:1/"), BackendError, "a redirect"),
        (always(200, b'{"gitVersion": "v1.25.9"}'), BackendError, "another way|1.30 and later"),
    ],
)  # fmt: skip
def test_what_is_no_usable_answer_is_an_error_that_says_so(server, ask, fault, kind, told):
    server.fault = fault
    with pytest.raises(kind, match=told) as caught:
        ask()
    assert server.token not in caught.value.diagnostics()


def test_an_older_kubernetes_is_refused_by_its_name(tmp_path):
    with (
        ApiServer(tmp_path / "s", "1.29") as server,
        pytest.raises(ConfigError, match=r"v1\.29\.2, and casemate applies to 1\.30"),
        connected(server.kubeconfig, None, tmp_path),
    ):
        pass


def test_a_busy_server_is_asked_again_after_the_time_that_it_says_and_not_for_ever(server, ask):
    waits, seen = [], []

    def busy(method, path):
        seen.append(path)
        return (429, {"Retry-After": "7"}, b"{}") if len(seen) < 3 else None

    server.fault = busy
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transport.Bounded.__init__, "__defaults__", (waits.append,))
        assert ask() is None
        assert waits == [7.0, 7.0]
        server.fault = always(429, Retry_After="100000")
        with pytest.raises(TransientError, match="429"):
            ask()
    assert waits[2:] == [transport.LONGEST_WAIT] * (transport.TRIES - 1)


def test_an_answer_without_end_is_cut_off(server, ask, monkeypatch):
    monkeypatch.setattr(transport, "MOST", 100_000)
    server.fault = always(200, json.dumps({"x": "y" * 200_000}).encode())
    with pytest.raises(BackendError, match="more than 0 MiB"):
        ask()


def test_a_server_that_takes_its_time_is_not_waited_for(server, ask, monkeypatch):
    monkeypatch.setattr(transport, "SECONDS", 0.2)
    server.fault = lambda *_: time.sleep(0.6)
    with pytest.raises(TransientError, match="was not reached"):
        ask()


def test_nobody_at_the_address_is_told_with_the_address(server, ask):
    config = server.config(cluster={"server": "https://127.0.0.1:1"})
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:1 was not reached"):
        ask(config)


def test_a_certificate_that_has_ended_or_is_somebody_elses_gets_no_token(tmp_path):
    with ApiServer(tmp_path / "s", days=-1) as server:
        with (
            pytest.raises(BackendError, match=r"is not believed: .*certificate has expired"),
            connected(server.kubeconfig, None, tmp_path / "x"),
        ):
            pass
        assert server.requests == []
    with ApiServer(tmp_path / "a") as server, ApiServer(tmp_path / "b") as other:
        path = server.folder / "mixed"
        path.write_text(yaml.safe_dump(server.config(cluster={"server": other.url})))
        with (
            pytest.raises(BackendError, match="is not believed"),
            connected(path, None, tmp_path / "x"),
        ):
            pass
        assert other.requests == []


@pytest.mark.parametrize(
    ("user", "cluster", "told"),
    [
        ({"exec": {"command": "touch", "args": ["/tmp/x"]}}, {}, "logs in by exec.*take a program"),
        ({"auth-provider": {"name": "gcp"}}, {}, "logs in by auth-provider"),
        ({"username": "u", "password": "p"}, {}, "take a password"),
        (None, {"insecure-skip-tls-verify": True}, "send the token to anybody"),
        (None, {"server": "http://127.0.0.1:1"}, "cannot prove who it is"),
        (None, {"certificate-authority": "absent.pem"}, "cannot be used"),
        (None, {"certificate-authority-data": "%%%"}, "is not believed"),
    ],
)
def test_a_kubeconfig_that_would_run_something_or_believe_anybody_is_refused(
    server, ask, user, cluster, told
):
    with pytest.raises((ConfigError, BackendError), match=told):
        ask(server.config(user=user, cluster=cluster))
    assert server.requests == []


def test_a_token_in_a_file_beside_the_kubeconfig_is_sent_without_the_end_of_its_line(server, ask):
    file = server.folder / "token"
    file.write_text("a-token\n")
    assert ask(server.config(user={"tokenFile": "token"})) == ask()
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be used"):
        ask(server.config(user={"tokenFile": "token"}))
    file.unlink()
    with pytest.raises(ConfigError, match="token cannot be read: No such file"):
        ask(server.config(user={"tokenFile": "token"}))


def test_a_context_that_is_not_there_is_answered_with_those_that_are(server, ask):
    with pytest.raises(ConfigError, match="no context 'prod'") as caught:
        ask(context="prod")
    assert "test" in caught.value.hint
    one = server.config()
    one["contexts"][0]["context"]["user"] = "somebody"
    with pytest.raises(ConfigError, match="names user 'somebody', which is not there"):
        ask(one)
    for text in ("", "[]", "a: &b [*b]", "x" * 2_000_000, "\0", "a: 1\na: 2\n"):
        with pytest.raises(ConfigError):
            ask(text)


def test_without_a_kubeconfig_only_a_pod_can_ask(monkeypatch, tmp_path):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", "/anything")
    with (
        pytest.raises(ConfigError, match="this pod's service account cannot be used"),
        connected(None, None, tmp_path),
    ):
        pass


def test_nothing_that_the_client_writes_stays_or_lies_where_others_could_have_put_it(
    server, ask, tmp_path, monkeypatch
):
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    assert ask() is None
    assert list(scratch.iterdir()) == []
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_kind_that_the_cluster_does_not_know_and_a_typo_are_told(server, tmp_path):
    with connected(server.kubeconfig, None, tmp_path) as cluster:
        strange = {"apiVersion": "policies.kyverno.io/v1", "kind": "ValidatingPolicy"}
        with pytest.raises(ConfigError, match=r"v1\.34\.2\) has no ValidatingPolicy of policies"):
            cluster.apply(strange | {"metadata": {"name": "x"}})
        with pytest.raises(ConfigError, match=r"\(422\).*labells"):
            cluster.apply(NAMESPACE | {"metadata": {"name": "a", "labells": {}}})
        with pytest.raises(ConfigError, match="names no namespace"):
            cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}})
        assert server.objects == {}


def test_long_lists_are_read_page_by_page(server, tmp_path, monkeypatch):
    monkeypatch.setattr("casemate.deploy.cluster.client.PAGE", 2)
    with connected(server.kubeconfig, None, tmp_path) as cluster:
        for name in "abcde":
            cluster.apply({**NAMESPACE, "metadata": {"name": name, "labels": {"x": "y"}}})
        found = cluster.list("v1", "Namespace", "x=y")
    assert [one["metadata"]["name"] for one in found] == list("abcde")
    assert found[0]["kind"] == "Namespace"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\na: 2", "the key 'a' is given twice"),
        ("1: 2", "a key is no text"),
        ("a: 2026-01-01", "which is no value of JSON"),
        ("a: .nan", "which is no value of JSON"),
        ("a: !!python/object:os.system {}", "cannot be read"),
        ("- 1", "no object"),
        ("a: " + "[" * 90 + "]" * 90, "too deep|cannot be read"),
        ("a: [1", r"\(line 1\)"),
    ],
)
def test_a_manifest_that_can_be_read_in_two_ways_is_not_read(text, told):
    with pytest.raises(ConfigError, match=told):
        load(text.encode(), "f")


def changed(**more):
    found = manifests()
    found[0]["spec"]["template"]["spec"]["containers"][0] |= more
    return found


@pytest.mark.parametrize(
    ("documents", "kind", "told"),
    [
        (changed(image="gateway:latest"), RefusedError, "not one image for ever"),
        (changed(image="gateway@sha256:" + "0" * 63), RefusedError, "not one image for ever"),
        (manifests()[1:], ConfigError, "nothing here serves"),
        ([*manifests(), manifests()[0]], ConfigError, "is there twice"),
        (
            [*manifests(), {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}],
            RefusedError, "secrets do not stand in files",
        ),
        ([{"kind": "Namespace"}], ConfigError, "without a api|without a name"),
    ],
)  # fmt: skip
def test_manifests_that_must_not_be_applied_are_refused(documents, kind, told):
    with pytest.raises(kind, match=told):
        plan(documents, project="p", model="m")


def test_a_folder_is_put_together_by_kustomize_and_nothing_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))  # of the locks, nobody else's
    base, over = tmp_path / "base", tmp_path / "overlays" / "production"
    base.mkdir()
    over.mkdir(parents=True)
    (base / "all.yaml").write_text(yaml.safe_dump_all(manifests()[:2]))
    (base / "kustomization.yaml").write_text("resources: [all.yaml]\n")
    (over / "kustomization.yaml").write_text("namespace: prod\nresources: [../../base]\n")
    found = read(tmp_path, None, admission=False)
    assert {one["metadata"]["namespace"] for one in found} == {"prod"}
    with pytest.raises(ConfigError, match="no overlay 'staging'"):
        read(tmp_path, "staging", admission=False)
    for text, told in (
        ("resources: ['https://example.com/x']", "nothing is fetched|not in"),
        ("resources: ['github.com/org/repo?ref=v1']", "not in"),
        ("resources: [/etc/passwd]", "not in"),
        ("resources: [absent.yaml]", "not in"),
        ("helmCharts: []", "Helm"),
    ):
        (base / "kustomization.yaml").write_text(text)
        with pytest.raises(ConfigError, match=told):
            read(tmp_path, None, admission=False)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "a", "b"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "x", "y"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(VALUES)
def test_an_object_is_never_otherwise_than_itself(value):
    assert list(fields.differing(value, value)) == []


@given(st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3), VALUES)
def test_what_a_server_adds_is_no_difference(said, more):
    assert list(fields.differing(said, said | {"added": more})) == []


def test_sizes_are_the_same_however_they_are_written_and_a_port_is_no_size():
    said = {"limits": {"cpu": "1000m", "memory": "1Gi"}, "port": "1000m"}
    there = {"limits": {"cpu": "1", "memory": "1024Mi"}, "port": "1"}
    assert [path for path, *_ in fields.differing(said, there)] == [("port",)]
