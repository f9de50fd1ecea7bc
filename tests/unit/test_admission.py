"""Whatever starts a model has verified it, or it does not start: every manipulation of a folder, of
an image layout and of a mounted image ends the start, and what is written is what was verified.
"""

import base64
import datetime
import gzip
import json
import os
import shutil
import subprocess
import sys
import tracemalloc

import msgspec
import pytest
from tests.unit import images
from tests.unit.images import OTHER, SIGNER, Signed

from casemate.controls.keys import signers
from casemate.controls.keys.signers import SignerRecord
from casemate.core.digest import sha256
from casemate.core.errors import ConfigError, RefusedError, VerificationError
from casemate.core.oci.layout import Reader
from casemate.stages.release import bundle, carried
from casemate.stages.release.admission import (
    AHEAD,
    WITHDRAWN,
    WITHDRAWN_TYPE,
    Gone,
    Rules,
    Withdrawals,
    require_fresh,
)
from casemate.verification import admit, verify_path

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
KINDS = ("folder", "model", "volume", "mount")
APPROVED = Rules(approvals=1)


@pytest.fixture
def keys(tmp_path):
    return [images.published(tmp_path / "keys")]


def given(kind, path, signed):
    """A model in one of the ways in which somebody gets it."""
    if kind == "folder":
        signed.folder(path)
    elif kind == "mount":
        signed.layout(path.with_name("layout"), "volume")
        images.unpacked(path.with_name("layout"), path)
    else:
        signed.layout(path, kind)
    return path


def parts(kind, path):
    """Every file of a gift that the start depends on."""
    if kind in ("folder", "mount"):
        return [*(path / "model").iterdir(), path / "model.sig"]
    return sorted((path / images.BLOBS).iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_model_is_placed_read_only_as_it_was_signed(kind, tmp_path, keys):
    signed = Signed(approvers=["User::ana"])
    gift = given(kind, tmp_path / "gift", signed)
    said = admit(gift, keys, into=tmp_path / "now", rules=APPROVED)
    assert said.summary.startswith("wdbc@3 for production, 4 files")
    placed = {path.name: path.read_bytes() for path in (tmp_path / "now/model").iterdir()}
    assert placed == signed.files
    for place, _, names in os.walk(tmp_path / "now"):
        assert not os.stat(place).st_mode & 0o222
        assert not any(os.stat(os.path.join(place, name)).st_mode & 0o222 for name in names)
    assert verify_path(tmp_path / "now", keys).kind == "model"
    images.lighter(tmp_path / "now")


@pytest.mark.parametrize("kind", KINDS)
def test_one_flipped_byte_anywhere_ends_the_start(kind, tmp_path, keys):
    gift = given(kind, tmp_path / "gift", Signed(approvers=["User::ana"]))
    count = 0
    for path in parts(kind, gift):
        sound = path.read_bytes()
        for place in {0, len(sound) // 3, len(sound) // 2, len(sound) - 1}:
            images.flip(path, place)
            with pytest.raises(VerificationError):
                admit(gift, keys, into=tmp_path / "now", rules=APPROVED)
            path.write_bytes(sound)
            count += 1
    assert count >= 19
    assert not (tmp_path / "now").exists()
    admit(gift, keys, rules=APPROVED)


@pytest.mark.parametrize("kind", KINDS)
def test_a_foreign_signer_a_missing_bundle_and_an_extra_file_end_the_start(kind, tmp_path, keys):
    foreign = given(kind, tmp_path / "a/gift", Signed(OTHER))
    with pytest.raises(VerificationError, match="signer|key"):
        admit(foreign, keys)
    bare = Signed()
    del bare.beside["model.sig"]
    if kind == "folder":  # of an image: `test_a_layer_without_the_bundle_is_an_unsigned_model`
        with pytest.raises(VerificationError, match="unsigned"):
            admit(given(kind, tmp_path / "b/gift", bare), keys)
    more = Signed()
    more.model.files["more.onnx"] = b"x"
    more.files["more.onnx"] = b"x"
    with pytest.raises(VerificationError, match=r"extra files: more\.onnx"):
        admit(given(kind, tmp_path / "c/gift", more), keys)


def test_an_image_whose_digests_were_made_to_hold_again_is_refused_by_its_signature(tmp_path, keys):
    """The manipulator has everything but the keys."""
    layout = given("model", tmp_path / "gift", Signed())

    def change(manifest):
        weights = manifest["layers"][0]
        content = images.blob(layout, weights).read_bytes()
        assert content.count(bytes(range(256))) == 8
        other = content.replace(bytes(range(256)), bytes(255) + b"x", 1)
        manifest["layers"][0] = images.replaced(layout, weights, other)

    images.rewritten(layout, change)
    with pytest.raises(VerificationError, match=r"model\.onnx was changed after signing"):
        admit(layout, keys)


def test_a_layer_without_the_bundle_is_an_unsigned_model(tmp_path, keys):
    layout = given("model", tmp_path / "gift", Signed())
    images.rewritten(layout, lambda manifest: manifest["layers"].pop())
    with pytest.raises(VerificationError, match="unsigned"):
        admit(layout, keys)


def test_two_images_are_one_too_many_until_one_is_named(tmp_path, keys):
    layout = given("model", tmp_path / "gift", Signed())
    other = tmp_path / "other"
    second = Signed(name="other").layout(other)
    for path in (other / images.BLOBS).iterdir():
        shutil.copy(path, layout / images.BLOBS / path.name)
    listed = images.index(layout)
    listed["manifests"] += images.index(other)["manifests"]
    (layout / "index.json").write_text(json.dumps(listed))
    with pytest.raises(VerificationError, match="holds 2 images"):
        admit(layout, keys)
    assert admit(layout, keys, digest=second.digest).summary.startswith("other@3")
    with pytest.raises(VerificationError, match="does not hold"):
        admit(layout, keys, digest="sha256:" + "0" * 64)


def test_two_layers_with_one_file_are_refused(tmp_path, keys):
    layout = given("model", tmp_path / "gift", Signed())
    images.rewritten(layout, lambda manifest: manifest["layers"].append(manifest["layers"][0]))
    with pytest.raises(VerificationError, match="two layers of the image hold"):
        admit(layout, keys)


@pytest.mark.parametrize("form", ["model", "volume"])
def test_provenance_is_the_owners_about_this_image_or_it_is_none(form, tmp_path, keys):
    rules = Rules(provenance=True)
    layout = given(form, tmp_path / "a/gift", Signed())
    assert admit(layout, keys, rules=rules).kind == "model"
    listed = images.index(layout)
    (layout / "index.json").write_text(json.dumps({**listed, "manifests": listed["manifests"][:1]}))
    with pytest.raises(RefusedError, match="says where this image comes from"):
        admit(layout, keys, rules=rules)
    assert admit(layout, keys).kind == "model"
    # a statement of the owner about another image, attached to this one
    other = tmp_path / "b/gift"
    Signed(name="other").layout(other, form)
    stolen = images.blob(other, images.manifest(other, 1)["layers"][0]).read_bytes()
    victim = given(form, tmp_path / "c/gift", Signed())

    def attach(manifest):
        manifest["layers"] = [images.replaced(victim, manifest["layers"][0], stolen)]

    images.rewritten(victim, attach, entry=1)
    with pytest.raises(VerificationError, match="provenance of another one"):
        admit(victim, keys)


def attached(layout, content):
    """`content` in the place of the layout's provenance; every digest holds."""

    def change(manifest):
        manifest["layers"] = [images.replaced(layout, manifest["layers"][0], content)]

    images.rewritten(layout, change, entry=1)


@pytest.mark.parametrize("kind", ["foreign", "one signature", "no envelope", "no JSON", "changed"])
def test_what_strangers_say_of_an_image_counts_for_nothing(kind, tmp_path, keys):
    """A scanner may attach what it found; a changed statement of the owner is no stranger's."""
    layout = given("model", tmp_path / "gift", Signed())
    mine = images.blob(layout, images.manifest(layout, 1)["layers"][0]).read_bytes()
    envelope = json.loads(mine)
    Signed(OTHER).layout(tmp_path / "theirs")
    theirs = images.manifest(tmp_path / "theirs", 1)["layers"][0]
    contents = {
        "foreign": images.blob(tmp_path / "theirs", theirs).read_bytes(),
        "one signature": json.dumps(
            {**envelope, "signatures": envelope["signatures"][:1]}
        ).encode(),
        "no envelope": b'{"signatures": [7, {"keyid": []}]}',
        "no JSON": b"\x00",
        "changed": mine.replace(b'"payload":"e', b'"payload":"f'),
    }
    attached(layout, contents[kind])
    if kind == "changed":
        with pytest.raises(VerificationError):
            admit(layout, keys)
        return
    assert admit(layout, keys).kind == "model"
    with pytest.raises(RefusedError, match="says where this image comes from"):
        admit(layout, keys, rules=Rules(provenance=True))


@pytest.mark.parametrize("kind", KINDS)
def test_a_waiver_that_has_ended_ends_the_start(kind, tmp_path, keys):
    east = datetime.timezone(DAY / 2)
    for number, (until, holds) in enumerate(
        (
            ((NOW + DAY).isoformat(), True),
            ((NOW - DAY).isoformat(), False),
            ((NOW - DAY / 24).astimezone(east).isoformat(), False),
            ("some day", False),
            ("2999-01-01T00:00:00", False),  # of no time zone
        )
    ):
        signed = Signed(waived={"roc_auc": until})
        gift = given(kind, tmp_path / str(number) / "gift", signed)
        if holds:
            admit(gift, keys)
        else:
            with pytest.raises(RefusedError, match="roc_auc by a waiver that has ended"):
                admit(gift, keys)


@pytest.mark.parametrize("kind", KINDS)
def test_approvals_count_by_person_for_the_models_stage_and_for_this_model(kind, tmp_path, keys):
    one = Signed(approvers=["User::ana", "User::ana"])
    gift = given(kind, tmp_path / "a/gift", one)
    admit(gift, keys, rules=APPROVED)
    with pytest.raises(RefusedError, match="1 of 2 approvals for production"):
        admit(gift, keys, rules=Rules(approvals=2))
    with pytest.raises(RefusedError, match="0 of 1"):
        admit(given(kind, tmp_path / "b/gift", Signed()), keys, rules=APPROVED)
    staged = Signed()
    staged.beside[carried.APPROVALS] = staged.approval("User::ana", stage="trial")
    with pytest.raises(RefusedError, match="0 of 1"):
        admit(given(kind, tmp_path / "c/gift", staged), keys, rules=APPROVED)
    copied = Signed()
    copied.beside[carried.APPROVALS] = copied.approval("User::ana", about="0" * 64)
    with pytest.raises(VerificationError, match="approval of another one"):
        admit(given(kind, tmp_path / "d/gift", copied), keys, rules=APPROVED)
    forged = Signed()
    forged.beside[carried.APPROVALS] = Signed(OTHER).approval("User::ana")
    with pytest.raises(VerificationError):
        admit(given(kind, tmp_path / "e/gift", forged), keys, rules=APPROVED)


def test_an_approval_of_nobody_is_none(tmp_path, keys):
    gift = given("folder", tmp_path / "gift", Signed(approvers=[None, ""]))
    with pytest.raises(RefusedError, match="0 of 1 approvals"):
        admit(gift, keys, rules=APPROVED)


def test_a_model_for_another_stage_is_not_started(tmp_path, keys):
    gift = given("folder", tmp_path / "gift", Signed(stage="trial"))
    admit(gift, keys, rules=Rules(stage="trial"))
    with pytest.raises(RefusedError, match="'trial', not 'production'"):
        admit(gift, keys, rules=Rules(stage="production"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_distrusted_signer_ends_the_start(kind, tmp_path):
    """The owner has a new signer, and says that the former one's keys were stolen."""

    def record(number, signer, **said):
        ecdsa, mldsa = (pem.decode() for pem in signer.verifier.pems)
        return SignerRecord(number=number, ecdsa=ecdsa, mldsa65=mldsa, since="", **said)

    gift = given(kind, tmp_path / "gift", Signed(SIGNER))
    folder = images.published(tmp_path / "keys", OTHER)
    with pytest.raises(VerificationError):
        admit(gift, [folder])
    for stolen in (None, (NOW - DAY).isoformat()):
        records = [
            record(1, SIGNER, retired=NOW.isoformat(), compromised=stolen),
            record(2, OTHER),
        ]
        (folder / signers.FILE).write_bytes(signers.publish("p-1", records, OTHER))
        if stolen is None:
            admit(gift, [folder])
        else:
            with pytest.raises(VerificationError, match="compromised"):
                admit(gift, [folder])


def listed(*gone, signer=SIGNER, time=None):
    said = Withdrawals(
        project="p-1", time=NOW.isoformat() if time is None else time, models=list(gone)
    )
    return msgspec.json.encode(signer.sign(said.to_json(), WITHDRAWN_TYPE))


@pytest.mark.parametrize("kind", KINDS)
def test_a_withdrawn_model_is_not_started_where_that_is_known(kind, tmp_path, keys):
    signed = Signed()
    gift = given(kind, tmp_path / "gift", signed)
    mine = Gone(model="wdbc@3", bundle=sha256(signed.bundle), reason="sad")
    other = Gone(model="wdbc@3", bundle="0" * 64, reason="another model of this name")
    path = keys[0] / WITHDRAWN
    path.write_bytes(listed(other))
    admit(gift, keys)
    path.write_bytes(listed(other, mine))
    with pytest.raises(RefusedError, match="withdrawn by its owner: sad"):
        admit(gift, keys)
    with pytest.raises(RefusedError):
        verify_path(gift, keys)
    path.write_bytes(listed(signer=OTHER))  # an empty list, by somebody who is no signer
    with pytest.raises(VerificationError):
        admit(gift, keys)
    path.write_bytes(msgspec.json.encode(SIGNER.sign(b'{"models": 1}', WITHDRAWN_TYPE)))
    with pytest.raises(VerificationError, match="malformed"):
        admit(gift, keys)


def test_a_withdrawn_model_whose_signature_is_only_spelled_otherwise_stays_withdrawn(
    tmp_path, keys
):
    signed = Signed()
    gone = Gone(
        model="wdbc@3",
        bundle=sha256(signed.bundle),
        signed=bundle.payload_digest(signed.bundle),
        reason="sad",
    )
    (keys[0] / WITHDRAWN).write_bytes(listed(gone))
    signed.beside["model.sig"] = json.dumps(json.loads(signed.bundle), indent=1).encode()
    assert sha256(signed.beside["model.sig"]) != gone.bundle
    gift = signed.folder(tmp_path / "gift")
    for check in (admit, verify_path):
        with pytest.raises(RefusedError, match="withdrawn by its owner: sad"):
            check(gift, keys)


def test_of_several_lists_of_withdrawn_models_each_counts_wherever_it_lies(
    tmp_path, keys, monkeypatch
):
    signed = Signed()
    gift = signed.folder(tmp_path / "gift")
    mine = Gone(model="wdbc@3", bundle=sha256(signed.bundle), reason="sad")
    newest, older = tmp_path / "newest" / WITHDRAWN, tmp_path / "older" / WITHDRAWN
    for path, models in ((newest, [mine]), (older, [])):
        path.parent.mkdir()
        path.write_bytes(listed(*models))
    for lists in ([newest, older], [older, newest]):
        with pytest.raises(RefusedError, match="withdrawn"):
            admit(gift, [*keys, *lists])
    own = images.published(tmp_path / "home/p-1/public")
    monkeypatch.setattr("casemate.stages.release.trust.CONFIG_HOME", tmp_path / "home")
    admit(gift)
    (own / WITHDRAWN).write_bytes(newest.read_bytes())
    with pytest.raises(RefusedError, match="withdrawn"):
        admit(gift)


@pytest.mark.parametrize("kind", ["folder", "volume"])
def test_a_list_that_is_too_old_missing_or_of_no_time_starts_nothing_if_that_is_wished(
    kind, tmp_path, keys, cli
):
    gift = given(kind, tmp_path / "gift", Signed())
    rules = Rules(withdrawn_within=7 * DAY)
    with pytest.raises(RefusedError, match="is not here, and must not be older than 7 days"):
        admit(gift, keys, rules=rules)
    words = ("verify", gift, "--key", keys[0], "--withdrawn-within")
    assert cli(*words, "7d").code == 1
    path, older = keys[0] / WITHDRAWN, tmp_path / "older" / WITHDRAWN
    older.parent.mkdir()
    older.write_bytes(listed(time=(NOW - 30 * DAY).isoformat()))
    path.write_bytes(listed(time=(NOW - 8 * DAY).isoformat()))
    admit(gift, keys)
    with pytest.raises(RefusedError, match="is of 20"):
        admit(gift, keys, rules=rules)
    assert (cli(*words, "7d").code, cli(*words, "9d").code) == (1, 0)
    assert cli(*words, "soon").code == 2
    path.write_bytes(listed(time=(NOW - 6 * DAY).isoformat()))
    for lists in ([*keys, older], [older, *keys]):  # the newest tells the age
        admit(gift, lists, rules=rules)
    for time in ("", "yesterday", "2999-01-01T00:00:00"):
        path.write_bytes(listed(time=time))
        with pytest.raises(VerificationError, match="of no time"):
            admit(gift, keys, rules=rules)
    path.write_bytes(listed(signer=OTHER))
    with pytest.raises(VerificationError):
        admit(gift, keys, rules=rules)


def test_a_list_of_a_time_that_is_yet_to_come_is_not_young(tmp_path, keys, cli):
    gift = Signed().folder(tmp_path / "gift")
    rules = Rules(withdrawn_within=7 * DAY)
    path, other = keys[0] / WITHDRAWN, tmp_path / "other" / WITHDRAWN
    path.write_bytes(listed(time=(NOW + 30 * DAY).isoformat()))
    with pytest.raises(RefusedError, match="which is yet to come, and must not be older"):
        admit(gift, keys, rules=rules)
    assert cli("verify", gift, "--key", keys[0], "--withdrawn-within", "7d").code == 1
    admit(gift, keys)
    other.parent.mkdir()
    for days, starts in ((8, False), (6, True)):  # one that tells an age decides
        other.write_bytes(listed(time=(NOW - days * DAY).isoformat()))
        for lists in ([*keys, other], [other, *keys]):
            if starts:
                admit(gift, lists, rules=rules)
            else:
                with pytest.raises(RefusedError, match="yet to come"):
                    admit(gift, lists, rules=rules)


@pytest.mark.parametrize(("ahead", "starts"), [(-AHEAD, True), (AHEAD, True), (2 * AHEAD, False)])
def test_clocks_may_differ_by_minutes(ahead, starts):
    verifier = SIGNER.verifier
    told = [listed(time=(NOW + ahead).isoformat())]
    if starts:
        require_fresh(7 * DAY, told, verifier, NOW)
    else:
        with pytest.raises(RefusedError, match="yet to come"):
            require_fresh(7 * DAY, told, verifier, NOW)


def packed(layout):
    """The same image with layers that are packed, as registries and skopeo make them."""

    def change(said):
        for place, layer in enumerate(said["layers"]):
            content = gzip.compress(images.blob(layout, layer).read_bytes())
            kind = {"mediaType": layer["mediaType"] + "+gzip"}
            said["layers"][place] = images.replaced(layout, layer, content) | kind

    images.rewritten(layout, change)
    return layout


def test_packed_layers_grow_a_hundredfold_at_most_before_anybodys_signature_is_known(
    tmp_path, keys, monkeypatch
):
    large = Signed(files={"model.onnx": bytes(8 << 20)})
    large.layout(tmp_path / "layout", "volume")
    gift = packed(tmp_path / "layout")
    admit(gift, keys)  # below what is always fine
    monkeypatch.setattr(carried, "ALWAYS_FINE", 1 << 20)
    tracemalloc.start()
    try:
        with pytest.raises(VerificationError, match="more than"):
            admit(gift, keys)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    Signed().layout(tmp_path / "small", "volume")
    admit(packed(tmp_path / "small"), keys)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_is_larger_than_was_expected_is_not_started(kind, tmp_path, keys, cli):
    large = Signed(files={"model.onnx": bytes(2 << 20)})
    gift = given(kind, tmp_path / "gift", large)
    words = ("verify", gift, "--key", keys[0], "--max-mb")
    assert [cli(*words, most).code for most in (1, 3, 0, 9999)] == [4, 0, 2, 2]


def test_two_histories_of_signers_are_one_too_many(tmp_path, keys):
    gift = Signed().folder(tmp_path / "gift")
    (keys[0] / signers.FILE).write_bytes(b"one")
    other = tmp_path / "other" / signers.FILE
    other.parent.mkdir()
    other.write_bytes(b"another")
    with pytest.raises(ConfigError, match="two"):
        admit(gift, [*keys, other])


@pytest.mark.parametrize("kind", ["folder", "mount"])
def test_links_devices_and_large_files_in_a_folder_end_the_start(kind, tmp_path, keys):
    gift = given(kind, tmp_path / "gift", Signed())
    target = gift / "model/model.onnx"
    sound = target.read_bytes()
    (tmp_path / "elsewhere").write_bytes(sound)
    target.unlink()
    target.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(VerificationError, match="symbolic link"):
        admit(gift, keys)
    target.unlink()
    os.mkfifo(target)
    with pytest.raises(VerificationError, match="no file"):
        admit(gift, keys)
    target.unlink()
    target.write_bytes(sound)
    with pytest.raises(VerificationError, match="bytes that are allowed"):
        carried.read(gift, limit=1000)
    signature = gift / "model.sig"
    shutil.copy(signature, tmp_path / "sig")
    signature.unlink()
    signature.symlink_to(tmp_path / "sig")
    with pytest.raises(VerificationError, match="symbolic link"):
        admit(gift, keys)


def test_an_image_larger_than_it_may_be_is_not_read(tmp_path):
    layout = given("model", tmp_path / "gift", Signed())
    with pytest.raises(VerificationError, match="are allowed"):
        carried.read(layout, limit=3000)


@pytest.mark.parametrize("name", ["../../etc/x", "a/b", "-rf", "\x1b[2Jx", "ü" * 300, ""])
def test_a_hostile_name_names_no_file_and_reaches_no_terminal(name, tmp_path, keys):
    signed = Signed(name=name)
    made = signed.layout(tmp_path / "gift")
    assert made.tag.isascii()
    assert "/" not in made.tag
    admit(tmp_path / "gift", keys, into=tmp_path / "now")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gift", "keys", "now"]
    images.lighter(tmp_path / "now")


def test_a_later_start_replaces_what_an_earlier_one_placed_and_nothing_else(tmp_path, keys):
    first, second = Signed(), Signed(name="second")
    for signed, name in ((first, "a"), (second, "b")):
        gift = given("folder", tmp_path / name, signed)
        admit(gift, keys, into=tmp_path / "now")
        placed = json.loads((tmp_path / "now/model/model.json").read_bytes())
        assert placed["name"] == signed.model.card.name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "keys", "now"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "now")
    shutil.copytree(tmp_path / "a", tmp_path / "repository")
    (tmp_path / "repository/thesis.tex").write_text("x")
    for taken in ("mine", "link", "repository"):
        with pytest.raises(ConfigError, match="something else"):
            admit(tmp_path / "a", keys, into=tmp_path / taken)
    images.lighter(tmp_path / "now")


@pytest.mark.parametrize("into", ["gift", "gift/model/sub", "gift/../gift/new", "link/new", "."])
def test_a_model_is_not_placed_within_itself(into, tmp_path, keys, monkeypatch):
    gift = given("folder", tmp_path / "gift", Signed())
    (tmp_path / "link").symlink_to(gift)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="within one another"):
        admit("gift", keys, into=into)
    assert verify_path(gift, keys).kind == "model"


def test_what_is_exchanged_after_the_check_is_not_what_is_placed(tmp_path, keys, monkeypatch):
    """The bytes are read once: a folder that changes meanwhile changes nothing."""
    from casemate.stages.release import admission

    gift = given("folder", tmp_path / "gift", Signed())
    require = admission.require

    def exchanged(*words):
        require(*words)
        (gift / "model/model.onnx").write_bytes(b"evil")

    monkeypatch.setattr(admission, "require", exchanged)
    admit(gift, keys, into=tmp_path / "now")
    assert (tmp_path / "now/model/model.onnx").read_bytes() == bytes(range(256)) * 8
    images.lighter(tmp_path / "now")


def test_keys_that_came_with_the_model_are_not_taken(tmp_path):
    gift = given("folder", tmp_path / "gift", Signed())
    with pytest.raises(ConfigError, match="came with the model"):
        admit(gift, [gift])


def start(*words):
    return subprocess.run(
        [sys.executable, "-m", "casemate", "verify", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_runs_behind_a_sound_model_and_only_there(tmp_path, keys):
    gift = given("volume", tmp_path / "gift", Signed(approvers=["User::ana"]))
    script = "import os, sys; print(os.environ['CASEMATE_MODEL'], sys.argv[1:]); sys.exit(7)"
    words = ["--key", keys[0], "--require", "approved", "--into", tmp_path / "now", "--then"]
    then = [sys.executable, "-c", script, "--config", "x", "--key", "--", "--format", "json", "-s"]
    done = start(gift, *words, *then)
    assert done.returncode == 7, done.stderr
    assert done.stdout.splitlines()[-1] == (
        f"{tmp_path}/now/model ['--config', 'x', '--key', '--', '--format', 'json', '-s']"
    )
    images.flip(next((gift / images.BLOBS).iterdir()))
    done = start(gift, *words, sys.executable, "-c", "print('started')")
    assert done.returncode == 4
    assert "started" not in done.stdout
    images.lighter(tmp_path / "now")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--then"], "no command"),
        (["--into", "now", "--then", "no-such-program"], "no command 'no-such-program'"),
        (["--then", "true"], "--then needs --into"),
        (["--stage", "x", "--checkpoint", "c"], "for an audit log"),
        (["--require", "approved", "--approvals", "0"], "--approvals counts people"),
        (["--stage", ""], "not ''"),
        (["--digest", "sha256:0"], "has no digest of its own"),
    ],
)
def test_a_start_that_was_not_said_right_is_no_start(words, said, tmp_path, keys, cli):
    gift = given("folder", tmp_path / "gift", Signed())
    answer = cli("verify", gift, "--key", keys[0], *words)
    assert answer.code == (1 if words == ["--stage", ""] else 2)
    assert said in answer.err


def test_what_is_no_model_is_not_started(tmp_path, keys, cli):
    (tmp_path / "x").mkdir()
    answer = cli("verify", tmp_path / "x", "--key", keys[0], "--require", "approved")
    assert (answer.code, "there is no model" in answer.err) == (2, True)


def test_an_attestation_is_dsse_around_an_in_toto_statement_about_the_manifest(tmp_path):
    layout = tmp_path / "gift"
    made = Signed().layout(layout)
    about = images.manifest(layout, 1)
    assert about["artifactType"] == "application/vnd.in-toto+json"
    assert about["subject"]["digest"] == made.digest
    envelope = json.loads(images.blob(layout, about["layers"][0]).read_bytes())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert statement["subject"] == [
        {"name": "wdbc@3", "digest": {"sha256": made.digest.removeprefix("sha256:")}}
    ]
    assert set(statement["predicate"]) == {"buildDefinition", "runDetails"}


@pytest.mark.parametrize("what", ["manifests", "layers"])
def test_one_blob_that_is_named_a_thousand_times_is_not_read_so_often(what, tmp_path, keys):
    layout = given("model", tmp_path / "gift", Signed())
    (about,) = images.manifest(layout, 1)["layers"]
    large = images.replaced(layout, about, b" " * 2**20)
    if what == "layers":
        images.rewritten(layout, lambda said: said.update(layers=[large] * 1000), 1)
    else:
        listed = images.index(layout)
        padded = json.dumps(images.manifest(layout)).encode() + b" " * 2**20
        for number in range(40):
            entry = images.replaced(layout, listed["manifests"][1], padded + b" " * number)
            listed["manifests"].append(entry)
        (layout / "index.json").write_text(json.dumps(listed))
    with pytest.raises(VerificationError, match="more than"):
        admit(layout, keys)


def test_an_image_with_two_names_is_one_image(tmp_path, keys):
    layout = given("model", tmp_path / "gift", Signed())
    listed = images.index(layout)
    listed["manifests"].append({**listed["manifests"][0], "annotations": {}})
    (layout / "index.json").write_text(json.dumps(listed))
    assert admit(layout, keys, rules=Rules(provenance=True)).kind == "model"
    assert len(Reader(layout).manifests()) == len(listed["manifests"]) - 1
