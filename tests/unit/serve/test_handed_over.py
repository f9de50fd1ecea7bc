"""A gateway without the project that made its model: the folder that was handed over is judged each
time that it is read, and what does not hold is served by nobody.
"""

import contextlib
import datetime
import json
import shutil
import ssl
import urllib.request
from types import SimpleNamespace

import msgspec
import pytest
from tests.conftest import TOML, serving
from tests.unit import images
from tests.unit.images import OTHER, SIGNER, Signed

import casemate
from casemate import config as configuration
from casemate.cli import main
from casemate.core.clock import SystemClock
from casemate.core.digest import sha256
from casemate.core.errors import (
    BackendError,
    CompromisedSigner,
    ConfigError,
    RefusedError,
    VerificationError,
    WrongSigner,
)
from casemate.core.home import keystore_folder
from casemate.core.signatures import FormerSigner, Keyring
from casemate.operations import founding
from casemate.operations.feedback.adding import schema_of
from casemate.operations.serving import in_service, live
from casemate.operations.toml import edited
from casemate.respond.requests.states import Asked, Decided
from casemate.respond.requests.tables import put
from casemate.serve.loading import fault_of
from casemate.stages.release import bundle
from casemate.stages.release.admission import (
    WITHDRAWN,
    WITHDRAWN_TYPE,
    Gone,
    Rules,
    Withdrawals,
)
from casemate.stages.release.handed import Handed, Place
from casemate.stages.release.rollout import Rollouts

SERVED = '[serve]\nrelease = "model"\ntrusted = ["keys"]\n'


@pytest.fixture
def keys(tmp_path):
    return images.published(tmp_path / "keys")


def handed(folder, keys, **rules):
    place = Place(folder, [keys], Rules(stage="production", **rules))
    return Handed(None, None, SIGNER.verifier, lambda _: None, SystemClock(), place)


@pytest.mark.parametrize("form", ["folder", "model", "volume"])
def test_the_one_model_of_a_folder_is_found_by_name_and_by_version(tmp_path, keys, form):
    signed, path = Signed(), tmp_path / "given"
    signed.folder(path) if form == "folder" else signed.layout(path, form)
    registry = handed(path, keys)
    (listed,) = registry.list()
    assert [registry.get(one).reference for one in ("wdbc", "wdbc@3")] == ["wdbc@3"] * 2
    assert listed.release.bundle == sha256(signed.bundle)
    assert registry.verify("wdbc@3").files == signed.files
    assert registry.card(listed.release).purpose == "care"
    for other in ("wdbc@2", "vdbc"):
        with pytest.raises(ConfigError, match=f"holds wdbc@3, not {other}"):
            registry.get(other)


def test_a_byte_that_flips_while_it_is_served_is_seen_at_the_next_look(tmp_path, keys):
    path = Signed().folder(tmp_path / "given")
    registry = handed(path, keys)
    for file in sorted((path / "model").iterdir()):
        registry.verify("wdbc@3")
        images.flip(file)
        for look in (registry.list, lambda: registry.verify("wdbc@3")):
            with pytest.raises(VerificationError, match="changed after signing"):
                look()
        images.flip(file)


def test_a_stranger_a_stage_approvals_and_keys_that_came_along_are_refused(tmp_path, keys):
    path = Signed(approvers=['User::"ana"']).folder(tmp_path / "given")
    assert handed(path, keys, approvals=1).get("wdbc")
    with pytest.raises(RefusedError, match="1 of 2 approvals"):
        handed(path, keys, approvals=2).get("wdbc")
    with pytest.raises(WrongSigner):
        handed(path, images.published(tmp_path / "foreign", OTHER)).get("wdbc")
    with pytest.raises(ConfigError, match="came with the model"):
        handed(path, path / "signer.pub").get("wdbc")
    other = Signed(stage="trial").folder(tmp_path / "trial")
    with pytest.raises(RefusedError, match="signed for the stage 'trial'"):
        handed(other, keys).get("wdbc")
    now = datetime.datetime.now(datetime.UTC).isoformat()
    ended = Signed(waived={"roc_auc": now}).folder(tmp_path / "ended")
    with pytest.raises(RefusedError, match="waiver that has ended"):
        handed(ended, keys).get("wdbc")


def test_what_its_owner_takes_back_while_it_is_served_is_refused_at_the_next_look(tmp_path, keys):
    signed = Signed()
    registry = handed(signed.folder(tmp_path / "given"), keys)
    registry.verify("wdbc@3")
    gone = Gone(model="wdbc@3", bundle=sha256(signed.bundle), reason="odd")
    listed = Withdrawals(project="p-1", time="2026-11-29T00:00:00+00:00", models=[gone])
    envelope = SIGNER.sign(listed.to_json(), WITHDRAWN_TYPE)
    (keys / WITHDRAWN).write_text(json.dumps(envelope))
    with pytest.raises(RefusedError, match="withdrawn by its owner: odd"):
        registry.verify("wdbc@3")


def test_a_compromise_that_the_gateways_own_project_declares_counts_before_the_keys_say_so(
    tmp_path, keys
):
    path, moment = Signed().folder(tmp_path / "given"), datetime.datetime.now(datetime.UTC)
    place = Place(path, [keys], Rules(stage="production"))
    for declared, believed in ((SIGNER, False), (OTHER, True)):
        own = Keyring(FormerSigner(declared.verifier, moment, lambda _: None), [])
        registry = Handed(None, None, own, lambda _: None, SystemClock(), place)
        with contextlib.nullcontext() if believed else pytest.raises(CompromisedSigner):
            registry.verify("wdbc@3")


def test_another_version_in_the_same_place_is_found_by_name(tmp_path, keys):
    path = Signed().folder(tmp_path / "given")
    registry = handed(path, keys)
    registry.verify("wdbc@3")
    shutil.rmtree(path)
    Signed(model_version=4).folder(path)
    with pytest.raises(ConfigError, match="holds wdbc@4, not wdbc@3"):
        registry.verify("wdbc@3")
    assert registry.get("wdbc").reference == "wdbc@4"


@pytest.fixture
def place(tmp_path, monkeypatch, keys):
    """A folder with a configuration, keys and a model, and no state; a HOME of its own."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "casemate.toml").write_text(TOML.replace('"tiny"', '"wdbc"') + SERVED)
    Signed().folder(tmp_path / "model")
    return tmp_path


def test_a_gateway_makes_its_keys_catalogue_and_owner_once(place):
    (place / "policies").mkdir()
    (place / "policies/own.cedar").write_text(
        'forbid(principal, action == Action::"model:infer", resource == Model::"x");\n'
    )
    assert founding.begin(place) is True
    before = keystore_folder("tiny-1").stat().st_mtime_ns
    assert founding.begin(place) is False
    assert keystore_folder("tiny-1").stat().st_mtime_ns == before
    with casemate.open(place) as project:
        assert project.models["wdbc"].reference == "wdbc@3"
        assert "own.cedar" in project.point.applied.newest().texts
        assert project.audit.verify() is not None


def test_what_serves_a_model_of_others_trains_and_gives_away_none(place):
    founding.begin(place)
    with casemate.open(place) as project:
        with pytest.raises(ConfigError, match="that others made"):
            project.run()
        for refused in (project.models.export, project.images.write):
            with pytest.raises(ConfigError, match="that others made"):
                refused("wdbc", place / "out")
        with pytest.raises(ConfigError, match="that others made"):
            project.models.promote("wdbc@3")
        assert not (place / "out").exists()


def test_what_the_catalogue_promotes_moves_no_model_that_was_handed_over(place):
    founding.begin(place)
    with casemate.open(place) as project:
        now = project.clock.now()
        with project.database.transaction() as tx:
            Rollouts(project.database).promote(tx, "wdbc", 7, "live", 1.0, [], "User::ana", now)
        assert project.rollouts.all() == []
        assert live(project, "wdbc") == "wdbc@3"
        assert in_service(project) == {"wdbc@3"}
        with pytest.raises(ConfigError, match="nothing of 'wdbc' is released"):
            project.models.rollback("wdbc")


def test_a_model_that_its_project_withdraws_for_somebody_is_not_answered_any_more(place):
    founding.begin(place)
    with casemate.open(place) as project:
        served = SimpleNamespace(
            reference="wdbc@3", fingerprint=project.registry.verify("wdbc@3").fingerprint
        )
        assert fault_of(project, served) == ""
        withdrawn = Asked(
            id=1,
            subject="0" * 64,
            kind="erasure",
            law="gdpr",
            received="2026-11-29",
            state="granted",
            models={"wdbc@3": Decided(how="withdraw")},
        )
        with project.database.transaction() as tx:
            put(tx, withdrawn, is_new=True)
        assert "wdbc@3 is withdrawn" in fault_of(project, served)


def test_feedback_about_the_answer_of_another_version_is_understood(clinic, tmp_path):
    keys = tmp_path / "keys"
    shutil.copytree(clinic / ".casemate/public", keys)
    with casemate.open(clinic) as project:
        files = project.registry.verify("wdbc@1").files
        card = msgspec.json.decode(files[bundle.CARD], type=bundle.Card)
        newer = msgspec.structs.replace(card, model_version=2).to_json()
        Signed(project.signer, ["User::ana"], files | {bundle.CARD: newer}).folder(tmp_path / "m")
    with edited(clinic) as document:
        document["serve"] |= {"trusted": [str(keys)], "release": str(tmp_path / "m")}
    with casemate.open(clinic) as project:
        assert project.registry.get("wdbc").reference == "wdbc@2"
        assert schema_of(project, "wdbc@1") == schema_of(project, "wdbc@2") == card.inputs
        assert schema_of(project, "wdbc@3") is None


@pytest.mark.parametrize("there", ["a file", "keys", "vault"])
def test_nothing_begins_where_something_else_is(place, there):
    if there == "a file":
        (place / ".casemate").mkdir()
        (place / ".casemate/x").write_text("x")
    elif there == "keys":
        keystore_folder("tiny-1").mkdir(parents=True)
        (keystore_folder("tiny-1") / "x").write_text("x")
    vault = ['keys.provider="vault"'] if there == "vault" else []
    with pytest.raises(ConfigError):
        founding.begin(place, vault)
    assert not (place / ".casemate/catalog.db").exists()
    assert keystore_folder("tiny-1").exists() == (there == "keys")


@pytest.mark.parametrize("there", [False, True])
def test_a_fault_while_it_begins_leaves_nothing(place, monkeypatch, there):
    """Also of a folder that is mounted, which stays."""

    def fails(_project):
        raise BackendError("away")

    (place / ".casemate").mkdir() if there else None
    monkeypatch.setattr(founding, "put_in_force", fails)
    with pytest.raises(BackendError):
        founding.begin(place)
    assert (place / ".casemate").exists() == there
    assert [*place.glob(".casemate/*")] == []
    assert not keystore_folder("tiny-1").exists()


def test_who_starts_a_gateway_does_not_say_whom_it_believes():
    with pytest.raises(ConfigError, match="trusted"):
        configuration.parse(TOML, ['serve.release="m"'])
    with pytest.raises(ConfigError, match="only"):
        configuration.parse(TOML + SERVED, ['serve.trusted=["elsewhere"]'])


def asked(running, token, rows):
    """What the gateway answers, whole."""
    request = urllib.request.Request(
        f"{running.url}/v2/models/wdbc/infer",
        json.dumps(
            {"inputs": [{"name": "x", "shape": [len(rows), 30], "datatype": "FP64", "data": rows}]}
        ).encode(),
        {"Authorization": f"Bearer {token.read_text().strip()}"},
    )
    context = ssl.create_default_context(cafile=str(running.ca))
    with urllib.request.urlopen(request, context=context, timeout=30) as answer:
        return json.load(answer)


@pytest.mark.slow
def test_a_gateway_of_a_folder_answers_as_the_projects_own_and_a_flipped_byte_is_never_served(
    finished, tmp_path, cli, monkeypatch
):
    project, given, place = tmp_path / "clinic", tmp_path / "given", tmp_path / "gateway"
    shutil.copytree(finished, project)
    assert cli("model", "export", "wdbc", given, "--config", project).code == 0
    shutil.copytree(project / ".casemate/public", tmp_path / "keys")
    place.mkdir()
    text = (project / "casemate.toml").read_text()
    own = casemate.open(project).config.project.id
    text = text.replace(own, f"{own}-gateway").replace(
        "[serve]\n", '[serve]\ntrusted = ["../keys"]\n'
    )
    (place / "casemate.toml").write_text(text)
    rows = [[float(row + column) for column in range(30)] for row in range(40)]
    answers = []
    for root, words in ((project, ()), (place, ("--release", str(given)))):
        with serving(root, *words) as running:
            token = tmp_path / f"{root.name}.token"
            at = ("--config", str(root))
            say = ("access", "token", "create", "w", "--model", "wdbc", "--days", "1")
            assert main([*say, "--out", str(token), *at]) == 0
            answers.append(asked(running, token, rows)["outputs"])
    assert answers[0] == answers[1]
    (record,) = casemate.open(place).decisions.newest(5)
    assert record.model == "wdbc@1"
    for file in sorted((given / "model").rglob("*")):
        images.flip(file)
        refused = cli("serve", "--release", given, "--port", "0", "--config", place)
        assert (refused.code, "changed after signing" in refused.err) == (4, True), file
        assert "serving" not in refused.out
        images.flip(file)
