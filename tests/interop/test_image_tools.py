"""Debian's skopeo, umoci and buildah judge the layouts that we write."""

import json
import shutil
import subprocess

import pytest
from tests.unit import images
from tests.unit.images import Signed

from casemate.verification import admit


def tool(name, *words):
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed (Debian: apt-get install {name})")
    done = subprocess.run(
        [path, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def keys(tmp_path):
    return [images.published(tmp_path / "keys")]


@pytest.mark.parametrize("form", ["model", "volume"])
def test_skopeo_copies_an_image_whole_and_what_comes_out_is_verified(form, tmp_path, keys):
    made = Signed().layout(tmp_path / "gift", form)
    words = ("--preserve-digests",)  # else skopeo packs plain layers, and the digest is another
    tool("skopeo", "copy", *words, f"oci:{tmp_path}/gift:{made.tag}", f"oci:{tmp_path}/copy:x")
    admit(tmp_path / "copy", keys, digest=made.digest)
    raw = tool("skopeo", "inspect", "--raw", f"oci:{tmp_path}/copy:x")
    assert json.loads(raw) == images.manifest(tmp_path / "gift")


def test_umoci_unpacks_the_volume_form_and_the_folder_is_verified(tmp_path, keys):
    made = Signed(approvers=["User::ana"]).layout(tmp_path / "gift", "volume")
    words = ("--rootless", "--image", f"{tmp_path}/gift:{made.tag}", tmp_path / "bundle")
    tool("umoci", "unpack", *words)
    admit(tmp_path / "bundle/rootfs", keys, into=tmp_path / "now")
    assert tool("umoci", "ls", "--layout", tmp_path / "gift").split() == [made.tag]
    images.lighter(tmp_path / "now")


def test_an_image_that_umoci_made_of_an_exported_folder_is_verified(tmp_path, keys):
    """Packed by another tool, with gzip."""
    Signed().folder(tmp_path / "out")
    layout = tmp_path / "theirs"
    tool("umoci", "init", "--layout", layout)
    tool("umoci", "new", "--image", f"{layout}:x")
    tool("umoci", "insert", "--rootless", "--image", f"{layout}:x", tmp_path / "out", "/")
    assert images.manifest(layout)["layers"][0]["mediaType"].endswith("tar+gzip")
    assert admit(layout, keys).summary.startswith("wdbc@3")


def test_buildah_takes_the_volume_form_as_a_base(tmp_path):
    made = Signed().layout(tmp_path / "gift", "volume")
    (tmp_path / "Dockerfile").write_text(f"FROM oci:{tmp_path}/gift:{made.tag}\nUSER 65532\n")
    apart = ("--root", tmp_path / "root", "--runroot", tmp_path / "run", "--storage-driver", "vfs")
    words = ("bud", "--isolation", "chroot", "--quiet", "--layers=false")
    tool("buildah", *apart, *words, "--tag", f"oci:{tmp_path}/built:x", tmp_path)
    assert len(images.manifest(tmp_path / "built")["layers"]) >= 3
