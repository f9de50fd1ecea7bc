"""The gateway's image: a base by its digest and packages by their hashes, the same bytes each time; it
begins by verifying.
"""

import base64
import hashlib
import io
import json
import tarfile
import zipfile

import pytest
from tests.unit import images
from tests.unit.images import OTHER, SIGNER

from casemate.core.errors import ConfigError, VerificationError
from casemate.core.oci import tars
from casemate.core.oci.layout import Writer
from casemate.core.oci.types import CONFIG_TYPE, LAYER_TYPE, MANIFEST_TYPE, Manifest, encode
from casemate.deploy.gateway import dockerfile
from casemate.deploy.gateway.layout import build
from casemate.stages.release.admission import PROVENANCE
from casemate.verification import verify_path

pytestmark = pytest.mark.secured

NAMED = "python@sha256:" + "0" * 64


def wheel(folder, name="tool", text=b"print('tool')\n"):
    """A package of one module and one command, as any builder writes them."""
    files = {
        f"{name}/__main__.py": text,
        f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{name}-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{name}-1.0.dist-info/entry_points.txt": f"[console_scripts]\n{name} = {name}.x:y\n",
    }
    files = {
        path: text if isinstance(text, bytes) else text.encode() for path, text in files.items()
    }
    record = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text).digest()).rstrip(b'=').decode()},{len(text)}"
        for path, text in files.items()
    ]
    files[f"{name}-1.0.dist-info/RECORD"] = "\n".join(record).encode()
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return hashlib.sha256((folder / f"{name}-1.0-py3-none-any.whl").read_bytes()).hexdigest()


def base(folder, count=1):
    writer = Writer(folder)
    stream = io.BytesIO()
    tars.pack({"etc/passwd": b"root:x:0:0::/:\n"}, stream)
    layer = writer.add(stream.getvalue(), LAYER_TYPE)
    config = {
        "architecture": "arm64",
        "os": "linux",
        "config": {
            "Env": ["PATH=/usr/bin", "PYTHONPATH=/evil"],
            "Entrypoint": ["/bin/sh"],
            "User": "root",
        },
        "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
        "history": [{"created_by": "somebody"}],
    }
    found = []
    for number in range(count):
        kept = writer.add(encode(config), CONFIG_TYPE)
        manifest = Manifest(
            schemaVersion=2,
            mediaType=MANIFEST_TYPE,
            config=kept,
            layers=[layer],
            annotations={"n": str(number)},
        )
        found.append(writer.manifest(manifest))
    writer.finish(found)
    return folder, [one.digest for one in found]


@pytest.fixture
def given(tmp_path):
    digest = wheel(tmp_path / "wheels")
    (tmp_path / "lock.txt").write_text(f"tool==1.0 --hash=sha256:{digest}\n")
    folder, (under,) = base(tmp_path / "base")
    return {
        "base": folder,
        "wheels": tmp_path / "wheels",
        "locks": [tmp_path / "lock.txt"],
    }, under


def test_two_images_of_the_gateway_are_equal_bit_for_bit(given, tmp_path):
    words, under = given
    one = build(tmp_path / "one", **words, base_digest=under)
    assert (one.base, [part.name for part in one.packages]) == (under, ["tool"])
    two = build(tmp_path / "elsewhere/two", **words)
    assert one.digest == two.digest

    def whole(layout):
        return {
            path.relative_to(layout): path.read_bytes()
            for path in layout.rglob("*")
            if path.is_file()
        }

    assert whole(tmp_path / "one") == whole(tmp_path / "elsewhere/two")
    assert not list(tmp_path.glob(".tmp-*"))
    # what is in it
    manifest = images.manifest(tmp_path / "one")
    assert manifest["annotations"]["org.opencontainers.image.base.digest"] == under
    config = json.loads(images.blob(tmp_path / "one", manifest["config"]).read_bytes())
    assert config["architecture"] == "arm64"
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
    assert len(config["history"]) == 2
    start = config["config"]
    assert start["User"] == "65532:65532"
    assert start["Entrypoint"][:5] == ["/usr/bin/python3", "-m", "casemate", "verify", "/model"]
    assert start["Entrypoint"][-1] == "--then"
    assert {"PATH=/usr/bin", "PYTHONPATH=/opt/casemate/lib", "PYTHONSAFEPATH=1"} <= {*start["Env"]}
    assert "PYTHONNOUSERSITE=1" in start["Env"]
    with tarfile.open(images.blob(tmp_path / "one", manifest["layers"][-1])) as archive:
        members = {member.name: member for member in archive}
    assert members["run/casemate"].uid == 65532
    inside = {name.removeprefix("opt/casemate/lib/") for name in members if members[name].isfile()}
    assert inside == {
        "tool/__main__.py",
        "tool-1.0.dist-info/METADATA",
        "tool-1.0.dist-info/WHEEL",
        "tool-1.0.dist-info/entry_points.txt",
    }
    bill = json.loads(
        images.blob(
            tmp_path / "one", images.manifest(tmp_path / "one", 1)["layers"][0]
        ).read_bytes()
    )
    assert {part["name"] for part in bill["components"]} == {"base", "tool"}


def test_a_package_with_another_hash_or_without_one_is_not_installed(given, tmp_path):
    words, _ = given
    for line in ("tool==1.0 --hash=sha256:" + "0" * 64, "tool==1.0"):
        (tmp_path / "lock.txt").write_text(line + "\n")
        with pytest.raises(ConfigError, match="pip does not install"):
            build(tmp_path / "one", **words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "lock.txt", "wheels"]


def test_a_base_that_is_another_one_than_was_named_is_not_built_on(given, tmp_path):
    words, _ = given
    with pytest.raises(VerificationError, match="0 are meant"):
        build(tmp_path / "one", **words, base_digest="sha256:" + "0" * 64)
    with pytest.raises(ConfigError, match="there is no image layout at"):
        build(tmp_path / "one", **{**words, "base": tmp_path / "absent"})
    two, digests = base(tmp_path / "two", count=2)
    with pytest.raises(VerificationError, match="holds 2 images"):
        build(tmp_path / "one", **{**words, "base": two})
    layer = next(path for path in (two / images.BLOBS).iterdir() if path.stat().st_size == 10240)
    images.flip(layer)
    with pytest.raises(VerificationError, match="another content"):
        build(tmp_path / "one", **{**words, "base": two}, base_digest=digests[1])
    assert not (tmp_path / "one").exists()


def test_a_dockerfile_says_what_the_layout_does(tmp_path):
    (tmp_path / "a b.txt").write_text("tool==1.0\n")
    files = dockerfile(NAMED, NAMED, [tmp_path / "a b.txt"], "/usr/bin/python3")
    text = files["Dockerfile"].decode()
    assert text.count(f"FROM {NAMED}") == 2
    assert "USER 65532:65532" in text
    line = next(line for line in text.splitlines() if line.startswith("ENTRYPOINT"))
    assert json.loads(line.removeprefix("ENTRYPOINT "))[-1] == "--then"
    line = next(line for line in text.splitlines() if line.startswith("RUN"))
    assert "/locks/a b.txt" in json.loads(line.removeprefix("RUN "))
    assert files["locks/a b.txt"] == b"tool==1.0\n"


@pytest.mark.parametrize(
    "image",
    ["python:3.11", "python", NAMED[:-1], "x\nRUN evil@sha256:" + "0" * 64, NAMED + "\n", ""],
)
def test_an_image_without_a_digest_is_not_built_on(image, tmp_path):
    for words in ((image, NAMED), (NAMED, image)):
        with pytest.raises(ConfigError):
            dockerfile(*words, [], "python3")


def signed(digest, predicate, signer=SIGNER):
    return signer.sign_statement({"casemate-gateway": digest}, PROVENANCE, predicate)


def test_where_the_image_comes_from_is_signed_and_the_image_stays_the_same(given, tmp_path):
    words, under = given
    plain = build(tmp_path / "plain", **words)
    made = build(tmp_path / "signed", **words, attest=signed)
    assert made.digest == plain.digest
    keys = [images.published(tmp_path / "keys")]
    found = verify_path(tmp_path / "signed", keys)
    assert (found.kind, found.summary) == ("gateway image", f"{made.digest} on {under}")
    entry = images.manifest(tmp_path / "signed", 2)
    assert entry["subject"]["digest"] == made.digest
    envelope = json.loads(images.blob(tmp_path / "signed", entry["layers"][0]).read_bytes())
    said = json.loads(base64.b64decode(envelope["payload"]))["predicate"]["buildDefinition"]
    digests = {
        one.get("name", one.get("uri")): one["digest"]["sha256"]
        for one in said["resolvedDependencies"]
    }
    assert digests == {
        "base": under.removeprefix("sha256:"),
        "lock.txt": hashlib.sha256((tmp_path / "lock.txt").read_bytes()).hexdigest(),
        "pkg:pypi/tool@1.0": made.packages[0].sha256,
    }


def test_an_image_that_nobody_trusted_signed_or_that_was_changed_does_not_verify(given, tmp_path):
    words, _ = given
    keys = [images.published(tmp_path / "keys")]
    build(tmp_path / "plain", **words)
    with pytest.raises(VerificationError, match="nobody who is trusted here signed"):
        verify_path(tmp_path / "plain", keys)
    build(tmp_path / "strange", **words, attest=lambda *said: signed(*said, signer=OTHER))
    with pytest.raises(VerificationError, match="nobody who is trusted here signed"):
        verify_path(tmp_path / "strange", keys)
    build(tmp_path / "other", **words, attest=lambda _, said: signed("0" * 64, said))
    with pytest.raises(VerificationError, match="provenance of another one"):
        verify_path(tmp_path / "other", keys)
    model = {"buildDefinition": {"buildType": "https://casemate.dev/model-image/v1"}}
    for number, said in enumerate((model, {}, {"buildDefinition": []})):
        odd = tmp_path / f"odd{number}"
        build(odd, **words, attest=lambda digest, _, said=said: signed(digest, said))
        with pytest.raises(VerificationError, match="nobody"):
            verify_path(odd, keys)
    sound = tmp_path / "sound"
    build(sound, **words, attest=signed)
    for path in sorted((sound / images.BLOBS).iterdir()):
        for place in (0, path.stat().st_size // 2, -1):
            images.flip(path, place)
            with pytest.raises(VerificationError):
                verify_path(sound, keys)
            images.flip(path, place)
    verify_path(sound, keys)


def test_an_image_whose_signing_is_not_allowed_is_not_written(given, tmp_path):
    words, _ = given

    def denied(*_):
        raise ConfigError("denied")

    with pytest.raises(ConfigError, match="denied"):
        build(tmp_path / "one", **words, attest=denied)
    assert not (tmp_path / "one").exists()
