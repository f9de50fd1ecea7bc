"""`casemate image` and `casemate verify … --then` on a project that ran."""

import json
import shutil

import pytest
from tests.unit.deploy.test_gateway_image import base, wheel

import casemate

pytestmark = pytest.mark.slow


def test_a_projects_model_becomes_the_same_image_twice_until_it_is_withdrawn(clinic, cli, tmp_path):
    at = ("--config", clinic, "--format", "json")
    keys = tmp_path / "keys"
    shutil.copytree(clinic / ".casemate/public", keys)
    made = [cli("image", "model", "wdbc", tmp_path / name, *at).value for name in ("a", "b")]
    assert made[0]["digest"] == made[1]["digest"]
    words = ("--key", keys, "--require", "provenance", "--digest", made[0]["digest"])
    for name in ("a", "b"):
        assert cli("verify", tmp_path / name, *words).code == 0
    assert cli("image", "model", "wdbc", tmp_path / "a", *at).code == 2  # it is there already
    entries = casemate.open(clinic).audit.entries()
    assert made[0]["digest"] in json.dumps([str(entry) for entry in entries])
    # its owner takes it back
    assert cli("image", "withdrawn", keys / "withdrawn.json", *at).value["models"] == []
    assert cli("verify", tmp_path / "a", *words).code == 0
    assert cli("hold", "place", "releases", "wdbc@1", "--reason", "odd", *at).code == 0
    refused = cli("image", "model", "wdbc", tmp_path / "c", *at)
    assert (refused.code, "a hold" in refused.err) == (1, True)
    (gone,) = cli("image", "withdrawn", keys / "withdrawn.json", *at).value["models"]
    assert gone["model"] == "wdbc@1"
    assert gone["signed"] not in ("", gone["bundle"])
    answer = cli("verify", tmp_path / "b", *words)
    assert answer.code == 1
    assert "withdrawn by its owner: a hold" in answer.err


def test_a_signature_over_an_image_is_on_record_like_any_other(clinic, tmp_path):
    project = casemate.open(clinic)
    before = project.log.size()
    project.images.write("wdbc", tmp_path / "a", form="volume")
    actions = [entry.action for entry in project.audit.entries()[1] if entry.index >= before]
    assert {"model:export", "model:packaged"} <= {*actions}
    assert any("sign" in action for action in actions), actions


def test_the_project_signs_the_gateways_image_and_that_is_on_record(clinic, cli, tmp_path):
    digest = wheel(tmp_path / "wheels")
    (tmp_path / "lock.txt").write_text(f"tool==1.0 --hash=sha256:{digest}\n")
    base(tmp_path / "base")
    words = ("--base", tmp_path / "base", "--wheels", tmp_path / "wheels", "--sign")
    words += ("--lock", tmp_path / "lock.txt", "--config", clinic)
    made = cli("image", "gateway", tmp_path / "gateway", *words, "--format", "json").value
    answer = cli("verify", tmp_path / "gateway", "--key", clinic / ".casemate/public")
    assert (answer.code, made["digest"] in answer.out) == (0, True)
    recorded = [
        one for one in casemate.open(clinic).audit.entries()[1] if one.action == "image:attested"
    ]
    assert made["digest"] in str(recorded[-1])


@pytest.mark.parametrize("epoch", ["x", "-1", "1" * 12, "١"])
def test_a_time_that_is_none_makes_no_image(clinic, cli, tmp_path, monkeypatch, epoch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    answer = cli("image", "model", "wdbc", tmp_path / "a", "--config", clinic)
    assert (answer.code, "SOURCE_DATE_EPOCH" in answer.err) == (2, True)
    assert not (tmp_path / "a").exists()


def test_approvals_travel_with_the_model(clinic, cli, tmp_path):
    """As an export and as an image."""
    project = casemate.open(clinic)
    release = project.registry.get("wdbc").release
    who = 'User::"ana"'
    time, statement = project.approvals.sign(project.signer, release, "production", who, "fine")
    with project.database.transaction() as tx:
        project.approvals.add(tx, release, "production", who, time, statement)
    project.models.export("wdbc", tmp_path / "out")
    project.images.write("wdbc", tmp_path / "image")
    keys = clinic / ".casemate/public"
    for path in ("out", "image"):
        for count, code in ((1, 0), (2, 1)):
            words = ("--key", keys, "--require", "approved", "--approvals", count)
            assert cli("verify", tmp_path / path, *words).code == code
