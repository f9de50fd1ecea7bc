"""A model as an image: the same bytes each time, media types that other tools know, a bill that names
every file.
"""

import base64
import hashlib
import json
import tarfile

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from tests.unit import images
from tests.unit.images import Signed


def content(layout):
    """Every blob by its digest, and the index; what is signed anew counts by what it says."""
    found = {path.name: path.read_bytes() for path in (layout / images.BLOBS).iterdir()}
    (attestation,) = images.manifest(layout, 1)["layers"]
    envelope = json.loads(found.pop(images.blob(layout, attestation).name))
    said = images.index(layout)["manifests"][1]
    found.pop(images.blob(layout, said).name)
    return found, base64.b64decode(envelope["payload"])


@pytest.mark.parametrize("form", ["model", "volume"])
def test_two_images_of_one_model_are_equal_bit_for_bit_but_for_the_signatures(form, tmp_path):
    signed = Signed(approvers=["User::ana"])
    one = signed.layout(tmp_path / "one", form)
    signed.files = dict(reversed(signed.files.items()))
    signed.beside = dict(reversed(signed.beside.items()))
    two = signed.layout(tmp_path / "two", form)
    assert (one.digest, one.size, one.tag) == (two.digest, two.size, "wdbc-3")
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert signed.layout(tmp_path / "three", form, moment=1).digest != one.digest


def test_times_are_the_epoch_or_what_was_asked_for_and_nobody_owns_a_file(tmp_path):
    for moment, said in ((0, "1970-01-01T00:00:00+00:00"), (10**9, "2001-09-09T01:46:40+00:00")):
        layout = tmp_path / str(moment)
        Signed().layout(layout, "volume", moment)
        manifest = images.manifest(layout)
        assert manifest["annotations"]["org.opencontainers.image.created"] == said
        for layer in manifest["layers"]:
            with tarfile.open(images.blob(layout, layer)) as archive:
                members = archive.getmembers()
            assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members} == {
                (moment, 0, 0, "", "")
            }
            assert [m.name for m in members] == sorted(m.name for m in members)


def test_the_model_form_is_a_modelpack_and_the_volume_form_a_plain_image(tmp_path):
    signed = Signed()
    for form in ("model", "volume"):
        signed.layout(tmp_path / form, form)
    pack, plain = images.manifest(tmp_path / "model"), images.manifest(tmp_path / "volume")
    assert pack["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert pack["config"]["mediaType"] == "application/vnd.cncf.model.config.v1+json"
    kinds = [layer["mediaType"] for layer in pack["layers"]]
    assert kinds == [
        f"application/vnd.cncf.model.{kind}.v1.tar" for kind in ("weight", "doc", "doc")
    ]
    config = json.loads(images.blob(tmp_path / "model", pack["config"]).read_bytes())
    assert config["modelfs"]["diffIds"] == [layer["digest"] for layer in pack["layers"]]
    assert plain["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
    assert "artifactType" not in plain
    assert [layer["digest"] for layer in plain["layers"]] == config["modelfs"]["diffIds"]


def test_the_bill_names_every_file_of_the_image_and_is_cyclonedx(tmp_path):
    signed = Signed(approvers=["User::ana"])
    made = signed.layout(tmp_path / "x")
    about = images.manifest(tmp_path / "x", 2)
    assert about["artifactType"] == "application/vnd.cyclonedx+json"
    text = images.blob(tmp_path / "x", about["layers"][0]).read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    assert bill["metadata"]["component"]["hashes"][0]["content"] == made.digest[7:]
    named = {part["name"]: part["hashes"][0]["content"] for part in bill["components"]}
    mounted = images.unpacked(tmp_path / "x", tmp_path / "mount")
    found = {
        path.relative_to(mounted).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in mounted.rglob("*")
        if path.is_file()
    }
    assert {name: named[name] for name in named if name != "wdbc"} == found
