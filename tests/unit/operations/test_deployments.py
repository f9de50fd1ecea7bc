"""`casemate deploy apply`, `drift` and `status` as somebody meets them, against an API server."""

import dataclasses
import json

import pytest
import yaml
from tests.unit.deploy.api_server import ApiServer
from tests.unit.deploy.cluster_parts import QUICK, Says, manifests

import casemate
from casemate.deploy import files, targets
from casemate.deploy.cluster.documents import REVISION
from casemate.deploy.interface import Rendering, Target
from casemate.deploy.kubernetes import dangers
from casemate.operations.deployments import clusters

pytestmark = pytest.mark.slow


class Rendered:
    """A target that says what a test wants."""

    def __init__(self):
        self.documents, self.model = manifests(), ""

    def render(self, given):
        text = yaml.safe_dump_all(self.documents).encode()
        return Rendering({"all.yaml": text}, model=self.model)


@pytest.fixture
def rendered(monkeypatch, clinic, tmp_path):
    found = Rendered()
    with casemate.open(clinic) as project:
        found.bundle = project.registry.get("wdbc").release.bundle
    found.model = f"wdbc@1 sha256:{found.bundle}"
    target = Target("for tests", found.render, "all.yaml")
    monkeypatch.setitem(targets.TARGETS, "kubernetes", target)
    monkeypatch.setattr(clusters, "Limits", lambda: QUICK)
    found.folder = tmp_path / "k8s"

    def write():
        made = found.render(None)
        files.write(found.folder, "kubernetes", made.files, model=made.model)

    found.write = write
    write()
    return found


@pytest.fixture
def server(tmp_path):
    with ApiServer(tmp_path / "server") as found:
        yield found


@pytest.fixture
def deploy(cli, clinic, server, rendered):
    def run(verb, *words):
        where = ["--config", clinic, "--kubeconfig", server.kubeconfig]
        to = ["--to", "kubernetes", "--grace-seconds", "0"] if verb == "apply" else []
        return cli("deploy", verb, rendered.folder, *to, *words, *where)

    return run


def test_what_was_rendered_runs_and_the_log_tells_each_step_with_its_digests(
    deploy, server, clinic, rendered
):
    done = deploy("apply", "--format", "json")
    assert done.code == 0, done.err
    value = done.value
    assert (value["how"], value["model"]) == ("released", rendered.model)
    assert server.find("Service", "gateway")["spec"]["selector"][REVISION] == value["revision"]
    with casemate.open(clinic) as project:
        found = [one for one in project.audit.entries()[1] if one.action.startswith("deploy:")]
    steps = [one.action.partition(":")[2] for one in found]
    assert steps == [
        *("apply", "prepared", "begun", "prepared", "placed", "switched", "drained", "released")
    ]
    begun = found[2].detail
    assert begun["bundle"] == value["bundle"]
    assert begun["model"] == rendered.model
    assert set(begun["images"].values()) == set(value["images"].values())
    assert begun["cluster"] == server.url


def test_status_says_what_runs_with_which_digest_and_that_it_is_not_verified(deploy, rendered):
    assert "nothing was released here" in deploy("status").out
    deploy("apply")
    told = deploy("status").out
    assert rendered.model in told
    assert "gateway@sha256:" in told
    assert "NOT VERIFIED before it starts" in told
    pod = rendered.documents[0]["spec"]["template"]["spec"]["containers"][0]
    words = ["python", "-m", "casemate", "verify", "/model", "--require", "approved", "--then"]
    pod["command"] = words
    rendered.write()
    assert "no figures" in deploy("apply").err


def test_drift_names_field_values_and_who_changed_it_and_ends_with_1(deploy, server, rendered):
    assert deploy("apply").code == 0
    same = deploy("drift")
    assert (same.code, same.out) == (0, "clinic: everything is as it was applied\n")
    name = server.names("Deployment")[0]

    def by_hand(one):
        pod = one["spec"]["template"]["spec"]
        pod["containers"][0]["image"] = "evil"
        pod["containers"][0]["env"] = [{"name": "A", "value": "secret"}]

    server.edit("Deployment", name, by_hand)
    server.edit("ConfigMap", "settings", lambda one: one["data"].update(text="2"), "helm")
    key = next(key for key in server.objects if key[1] == "NetworkPolicy")
    left = server.objects.pop(key)
    extra = json.loads(json.dumps(left))
    extra["metadata"]["name"] = "open"
    server.objects[*key[:3], "open"] = extra
    found = deploy("drift", "--format", "json")
    assert found.code == 1
    told = {
        (one["object"].split()[1], one["how"], one["field"]): one
        for one in found.value["differences"]
    }
    image = told[f"clinic/{name}", "changed", "spec.template.spec.containers[name=gateway].image"]
    assert (image["there"], image["who"]) == ("evil", "kubectl-edit")
    assert (
        f"clinic/{name}", "added", "spec.template.spec.containers[name=gateway].env[name=A].value"
    ) in told  # fmt: skip
    assert told["clinic/settings", "changed", "data.text"]["who"] == "helm"
    assert ("clinic/default-deny", "missing", "") in told
    assert ("clinic/open", "extra", "") in told
    assert "secret" not in found.out


def test_a_folder_that_was_rendered_anew_and_not_applied_is_no_state_of_the_cluster(
    deploy, rendered
):
    deploy("apply")
    rendered.documents = manifests(text="other")
    rendered.write()
    found = deploy("drift")
    assert found.code == 1
    assert "is not what was released" in found.out


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda f: (f / "all.yaml").unlink(), "all.yaml is missing"),
        (lambda f: f.joinpath(".casemate-deploy.json").unlink(), "was not rendered for kubernetes"),
    ],
)
def test_a_folder_that_is_not_what_the_project_renders_is_refused(
    deploy, server, rendered, change, told
):
    change(rendered.folder)
    assert told in deploy("apply").err
    assert server.requests == []


def test_what_was_added_to_the_folder_is_looked_at_before_it_is_applied(
    deploy, server, rendered, monkeypatch
):
    def reaching(name, content):
        return [one for one in dangers.found(name, content) if "gives rights" in one]

    target = dataclasses.replace(targets.TARGETS["kubernetes"], dangers=reaching)
    monkeypatch.setitem(targets.TARGETS, "kubernetes", target)
    (rendered.folder / "more.yaml").write_text(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: a}\n"
    )
    refused = deploy("apply")
    assert "ClusterRoleBinding a: it gives rights" in refused.err
    assert refused.code == 1
    assert server.requests == []
    (rendered.folder / "more.yaml").unlink()
    assert deploy("apply").code == 0


def test_the_folder_of_another_project_is_stale_here(deploy, server, rendered):
    rendered.documents = manifests(text="another's")
    assert "all.yaml is stale" in deploy("apply").err
    assert server.requests == []


def test_a_model_that_is_held_or_lacks_approvals_or_is_another_is_refused_before_anything_is_sent(
    deploy, server, clinic, cli, rendered
):
    cli("hold", "place", "releases", "wdbc", "--reason", "r", "--config", clinic)
    assert "keeps releases of wdbc" in deploy("apply").err
    cli("hold", "lift", "releases", "wdbc", "--reason", "r", "--config", clinic)
    toml = clinic / "casemate.toml"
    whole = toml.read_text()
    toml.write_text(whole + "\n[release]\napprovals = 1\n")
    lacking = deploy("apply")
    assert (lacking.code, "approv" in lacking.err) == (1, True)
    toml.write_text(whole)
    rendered.model = f"wdbc@1 sha256:{'0' * 64}"
    rendered.write()
    assert "another signature" in deploy("apply").err
    rendered.model = "registry/model sha256:" + "0" * 64
    rendered.write()
    assert "no model of this project was written as the image" in deploy("apply").err
    rendered.model = ""
    rendered.write()
    assert "--model NAME@VERSION" in deploy("apply").err
    assert server.requests == []


def test_the_image_of_a_model_is_known_from_the_log(deploy, clinic, rendered, tmp_path):
    with casemate.open(clinic) as project:
        made = project.images.write("wdbc", tmp_path / "image")
    rendered.model = f"registry.example/wdbc {made.digest}"
    rendered.write()
    assert f"model: wdbc@1 sha256:{rendered.bundle}" in deploy("apply").out


def test_the_second_version_is_judged_and_taken_back_without_enough_answers(
    deploy, server, rendered, monkeypatch
):
    deploy("apply")
    before = server.state()
    rendered.documents = manifests(version=2)
    rendered.write()
    monkeypatch.setattr(clusters, "Judge", lambda *_: Says("worse", "it says class 1 too often"))
    found = deploy("apply", "--metrics", "http://127.0.0.1:1")
    assert found.code == 1
    assert "is not released: it says class 1 too often" in found.err
    assert server.state() == before
    monkeypatch.undo()


def test_a_hold_that_is_placed_while_the_new_version_is_judged_takes_it_back(
    deploy, server, rendered, monkeypatch, clinic
):
    deploy("apply")
    before = server.state()
    rendered.documents = manifests(version=2)
    rendered.write()

    class Meanwhile(Says):
        def look(self, *asked):
            with casemate.open(clinic) as project:
                project.holds.place("releases", "wdbc", "a leak")
            return super().look(*asked)

    monkeypatch.setattr(clusters, "Judge", lambda *_: Meanwhile())
    found = deploy("apply", "--metrics", "http://127.0.0.1:1")
    assert "keeps releases of wdbc" in found.err
    assert server.state() == before
    monkeypatch.undo()


def test_prometheus_that_is_away_is_inconclusive(deploy, server, rendered):
    deploy("apply")
    before = server.state()
    rendered.documents = manifests(version=2)
    rendered.write()
    found = deploy("apply", "--metrics", "http://127.0.0.1:1", "--judge-seconds", "0")
    assert "is not released: inconclusive: Prometheus: 127.0.0.1:1 was not reached" in found.err
    assert server.state() == before
