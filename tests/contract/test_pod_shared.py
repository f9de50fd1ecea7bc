"""A rendered pod with nothing on its disk but casemate.toml: catalogue in PostgreSQL, objects in S3."""

import pytest
from tests.unit import images
from tests.unit.deploy.test_pod_answers import answer_of, pod_of, second

import casemate
from casemate.cli import main

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("s3_server", ["seaweedfs"], indirect=True)
def test_a_pod_without_a_disk_answers_with_what_it_verified_and_records_where_all_pods_do(
    own, cli, empty_database, s3_place, tmp_path, monkeypatch
):
    at = ("--config", str(own))
    monkeypatch.setenv("S3_ACCESS", s3_place.access_key)
    monkeypatch.setenv("S3_SECRET", s3_place.secret_key)
    keys = ("--access-key", "env:S3_ACCESS", "--secret-key", "env:S3_SECRET")
    words = ("--endpoint", s3_place.endpoint, "--region", "us-east-1", *keys)
    assert cli("store", "migrate", empty_database, *at).code == 0
    assert cli("store", "objects", s3_place.url, *words, *at).code == 0
    with casemate.open(own) as project:
        project.models.promote("wdbc@1")
        files = project.registry.verify("wdbc@1").files
    pod = pod_of(tmp_path, own, "kubernetes")
    assert [path.name for path in pod.here("/project").iterdir()] == ["casemate.toml"]
    second(own, files).folder(pod.here("/model"))
    token = tmp_path / "token"
    say = ("access", "token", "create", "w", "--model", "wdbc", "--days", "1")
    assert main([*say, "--out", str(token), *at]) == 0
    assert answer_of(pod, own, token)["model_version"] == "2"
    with casemate.open(own) as project:
        assert [one.model for one in project.decisions.newest(5)] == ["wdbc@2"]
        assert [one.reference for one in project.rollouts.all()] == ["wdbc@1"]
    images.lighter(pod.here("/run/casemate/model"))
