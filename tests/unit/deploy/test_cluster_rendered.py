"""What `casemate deploy kubernetes` renders is what a cluster takes, one version beside the other."""

import pytest
from tests.unit.clusters import ALL, given_of, rendered, toml
from tests.unit.deploy.api_server import ApiServer
from tests.unit.deploy.cluster_parts import Says, release

from casemate.deploy import files
from casemate.deploy.cluster.client import connected
from casemate.deploy.cluster.documents import REVISION
from casemate.deploy.cluster.drift import drift, running
from casemate.deploy.cluster.folder import manifests
from casemate.deploy.cluster.journal import Kept
from casemate.deploy.cluster.plan import plan

pytestmark = pytest.mark.slow
OVERLAY = "production"


def folder(tmp_path, more=""):
    given = given_of(tmp_path / "project", toml(more=more))
    files.write(tmp_path / "k8s", "kubernetes", rendered("kubernetes", given))
    return tmp_path / "k8s"


@pytest.mark.parametrize("admission", [False, True])
def test_a_rendered_project_is_released_updated_and_without_drift(tmp_path, admission):
    with ApiServer(tmp_path / "server", "1.36") as server:
        first = manifests(folder(tmp_path), OVERLAY, admission=admission)
        done = release(server, tmp_path, first)
        assert done.namespace == "tiny"
        assert server.names("Job")
        assert len(server.names("NetworkPolicy")) == 3
        assert bool(server.names("ValidatingAdmissionPolicy")) == admission
        more = 'most = 7\n[deploy.kubernetes.callers.lan]\ncidr = "10.0.0.0/8"\n'
        second = manifests(folder(tmp_path, more), OVERLAY, admission=admission)
        again = release(server, tmp_path, second, judge=Says())
        assert again.how == "released"
        assert again.revision != done.revision
        selector = server.find("Service", "gateway")["spec"]["selector"]
        assert selector[REVISION] == again.revision
        assert server.find("Deployment", f"gateway-{done.revision}")["spec"]["replicas"] == 0
        bundle = plan(second, project="p1", model="wdbc@1 sha256:00")
        with connected(server.kubeconfig, None, tmp_path) as cluster:
            assert drift(cluster, bundle, Kept(tmp_path / "kept")).differences == []
            found = running(cluster, bundle, Kept(tmp_path / "kept"))
        serving = next(one for one in found.pods if one.serves)
        assert "gateway: verify /model --key /keys --require approved" in serving.verified[0]


def test_every_option_that_this_server_knows_is_taken(tmp_path):
    with ApiServer(tmp_path / "server", "1.37") as server:
        unknown = ("ExternalSecret", "SecretStore")
        found = [
            one
            for one in manifests(folder(tmp_path, ALL), OVERLAY, admission=False)
            if one["kind"] not in unknown
        ]
        assert release(server, tmp_path, found).how == "released"
        assert server.names("CronJob") == ["backup"]
