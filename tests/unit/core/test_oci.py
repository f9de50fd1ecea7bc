"""Image layouts: layers are the same bytes each time, and what a stranger wrote gives regular files
of bounded size or nothing.
"""

import gzip
import io
import json
import os
import re
import tarfile
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import often
from tests.unit import images

from casemate.core.errors import VerificationError
from casemate.core.oci import tars
from casemate.core.oci.layout import Reader, Writer
from casemate.core.oci.types import MANIFEST_TYPE, Descriptor, Manifest, described, tag

LIMIT = 1 << 20


def packed(files, **more):
    stream = io.BytesIO()
    tars.pack(files, stream, **more)
    return stream.getvalue()


def archive(*members, form=tarfile.PAX_FORMAT):
    """A hand-made tar: (name, content or a changed TarInfo)."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as made:
        for member, content in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def kind(name, type_, **more):
    info = tarfile.TarInfo(name)
    info.type = type_
    for field, value in more.items():
        setattr(info, field, value)
    return info


NAMES = st.lists(
    st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=1, max_size=40),
    min_size=1,
    max_size=4,
).map("/".join)


@settings(max_examples=often(30), deadline=None)
@given(st.dictionaries(NAMES, st.binary(max_size=2000), max_size=5), st.integers(0, 2**32))
def test_a_layer_gives_what_was_put_into_it_and_is_the_same_bytes_in_any_order(files, moment):
    folders = {
        "/".join(name.split("/")[:n]) for name in files for n in range(1, name.count("/") + 1)
    }
    files = {name: content for name, content in files.items() if name not in folders}
    content = packed(files, moment=moment)
    assert tars.unpack(io.BytesIO(content), LIMIT) == files
    assert packed(dict(reversed(files.items())), moment=moment) == content
    with tarfile.open(fileobj=io.BytesIO(content)) as made:
        assert {member.mtime for member in made} <= {moment}


def test_a_file_of_the_disk_and_its_bytes_are_packed_alike(tmp_path):
    (tmp_path / "x").write_bytes(b"abc" * 5000)
    os.utime(tmp_path / "x", (5, 5))
    assert packed({"a/x": tmp_path / "x"}) == packed({"a/x": b"abc" * 5000})


def test_an_empty_folder_belongs_to_whom_it_was_given(tmp_path):
    with tarfile.open(fileobj=io.BytesIO(packed({}, owned={"run/me": 65532}))) as made:
        assert [(m.name, m.uid, m.isdir()) for m in made] == [
            ("run", 0, True),
            ("run/me", 65532, True),
        ]


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (kind("x", tarfile.SYMTYPE, linkname="/etc/passwd"), "no regular file"),
        (kind("x", tarfile.LNKTYPE, linkname="model.sig"), "no regular file"),
        (kind("x", tarfile.CHRTYPE, devmajor=1, devminor=3), "no regular file"),
        (kind("x", tarfile.BLKTYPE, devmajor=8), "no regular file"),
        (kind("x", tarfile.FIFOTYPE), "no regular file"),
        ("../x", "leads elsewhere"),
        ("model/../../x", "leads elsewhere"),
        ("/etc/x", "leads elsewhere"),
        ("model//x", "leads elsewhere"),
        ("./model/./x", "leads elsewhere"),
        ("model\\x", "leads elsewhere"),
        ("C:x", "leads elsewhere"),
        ("model/\x1b[2J", "leads elsewhere"),
        ("model/.wh.x", "leads elsewhere"),
        ("x" * 1001, "leads elsewhere"),
    ],
)
def test_a_layer_with_a_link_a_device_or_a_way_out_is_refused(member, said):
    with pytest.raises(VerificationError, match=said):
        tars.unpack(io.BytesIO(archive(("a", b"1"), (member, b""))), LIMIT)


def test_a_file_that_is_there_twice_is_refused():
    with pytest.raises(VerificationError, match="twice"):
        tars.unpack(io.BytesIO(archive(("a", b"1"), ("./a", b"2"))), LIMIT)


@pytest.mark.parametrize("size", [-512, 2**62, LIMIT + 1])
def test_a_size_that_lies_ends_in_a_refusal(size):
    header = tarfile.TarInfo("a")
    header.size = size
    content = header.tobuf(tarfile.GNU_FORMAT) + bytes(1024)
    with pytest.raises(VerificationError):
        tars.unpack(io.BytesIO(content), LIMIT)


def test_a_layer_without_its_end_is_read_and_one_that_ends_within_a_file_is_not():
    """As umoci 0.4.7 writes them: no padding of the last file, nothing behind it."""
    whole = packed({"a": b"1" * 700, "b": b"2" * 700})
    end = whole.rindex(b"2") + 1
    assert tars.unpack(io.BytesIO(whole[:end]), LIMIT) == {"a": b"1" * 700, "b": b"2" * 700}
    with pytest.raises(VerificationError, match="ends within 'b'"):
        tars.unpack(io.BytesIO(whole[: end - 1]), LIMIT)


@pytest.mark.parametrize("content", [b"", b"x" * 511, b"x" * 512, packed({"a": b"1" * 9000})[:700]])
def test_what_is_no_archive_gives_no_files(content):
    try:
        assert tars.unpack(io.BytesIO(content), LIMIT) == {}
    except VerificationError:
        pass


def test_a_packed_layer_that_grows_beyond_its_limit_stops_before_it_is_held():
    bomb = gzip.compress(archive(("a", bytes(16 << 20))))
    assert len(bomb) < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(VerificationError, match="more than"):
            tars.unpack(tars.gunzip(io.BytesIO(bomb), LIMIT), LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_a_header_as_large_as_the_limit_is_refused_too():
    info = tarfile.TarInfo("a")
    info.pax_headers = {"comment": "x" * (4 << 20)}
    bomb = gzip.compress(archive((info, b"")))
    with pytest.raises(VerificationError):
        tars.unpack(tars.gunzip(io.BytesIO(bomb), LIMIT), LIMIT)


def test_too_many_files_too_many_bytes_and_a_broken_packing_are_refused(monkeypatch):
    with pytest.raises(VerificationError, match="unpacks to more than 999 bytes"):
        tars.unpack(io.BytesIO(packed({"a": bytes(600), "b": bytes(400)})), 999)
    with pytest.raises(VerificationError, match="not packed as it says"):
        tars.unpack(tars.gunzip(io.BytesIO(b"no gzip at all"), LIMIT), LIMIT)
    monkeypatch.setattr(tars, "MAX_FILES", 2)
    with pytest.raises(VerificationError, match="more than 2 files"):
        tars.unpack(io.BytesIO(packed({"a": b"", "b": b"", "c": b""})), LIMIT)


def test_an_index_of_platforms_and_a_manifest_of_another_kind_are_refused(tmp_path):
    folder = layout(tmp_path / "x")
    listed = images.index(folder)
    (entry,) = listed["manifests"]
    for change, said in (
        ({"mediaType": "application/vnd.oci.image.index.v1+json"}, "the index holds a"),
        (images.replaced(folder, entry, b'{"schemaVersion": 2}'), "malformed"),
        (
            images.replaced(
                folder,
                entry,
                json.dumps({**images.manifest(folder), "mediaType": "text/plain"}).encode(),
            ),
            "something else",
        ),
    ):
        (folder / "index.json").write_text(
            json.dumps({**listed, "manifests": [{**entry, **change}]})
        )
        with pytest.raises(VerificationError, match=said):
            Reader(folder).manifests()


def layout(folder, layer=b"", kind="a.tar"):
    writer = Writer(folder)
    manifest = Manifest(
        schemaVersion=2,
        mediaType=MANIFEST_TYPE,
        config=writer.add(b"{}", "application/vnd.oci.empty.v1+json"),
        layers=[writer.add(layer, kind)],
    )
    writer.finish([writer.manifest(manifest)])
    return folder


def test_a_packed_layer_is_read_as_one_that_is_not(tmp_path):
    content = packed({"a": b"1" * 4000})
    for name, layer, kind in (("x", content, "a.tar"), ("y", gzip.compress(content), "a.tar+gzip")):
        reader = Reader(layout(tmp_path / name, layer, kind))
        assert reader.layer(reader.manifests()[0][1].layers[0]) == {"a": b"1" * 4000}


@pytest.mark.parametrize("kind", ["a.tar+zstd", "a.raw", "text/plain", ""])
def test_a_layer_of_another_kind_is_refused_by_its_name(tmp_path, kind):
    reader = Reader(layout(tmp_path / "x", b"x", kind))
    with pytest.raises(VerificationError, match="is not read here"):
        reader.layer(reader.manifests()[0][1].layers[0])


def test_a_blob_that_is_longer_shorter_other_or_no_file_is_refused(tmp_path):
    reader = Reader(layout(tmp_path / "x", b"abcdef", "a.tar"))
    (layer,) = reader.manifests()[0][1].layers
    path = tmp_path / "x" / images.BLOBS / layer.hexadecimal
    for content, said in ((b"abcdefg", "size"), (b"abcde", "size"), (b"abcdeg", "content")):
        path.write_bytes(content)
        with pytest.raises(VerificationError, match=f"another {said}"):
            reader.blob(layer, LIMIT)
    path.unlink()
    with pytest.raises(VerificationError, match="lacks"):
        reader.blob(layer, LIMIT)
    os.mkfifo(path)
    with pytest.raises(VerificationError, match="no file"):
        reader.blob(layer, LIMIT)
    path.unlink()
    (tmp_path / "elsewhere").write_bytes(b"abcdef")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(VerificationError, match="lacks"):
        reader.blob(layer, LIMIT)


def test_a_folder_of_blobs_that_is_a_link_is_refused(tmp_path):
    layout(tmp_path / "x")
    (tmp_path / "x/blobs").rename(tmp_path / "elsewhere")
    (tmp_path / "x/blobs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(VerificationError, match="is a link"):
        Reader(tmp_path / "x").manifests()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("oci-layout", b'{"imageLayoutVersion": "2.0.0"}'),
        ("oci-layout", b"{"),
        ("index.json", b"[]"),
        ("index.json", b'{"schemaVersion": 2, "manifests": [{"digest": "../x"}]}'),
        ("index.json", b'{"schemaVersion": 1, "manifests": []}'),
        ("index.json", b'{"schemaVersion": 2, "manifests": [' + b"[" * 100_000),
        ("index.json", b" " * ((4 << 20) + 1)),
    ],
)
def test_a_layout_that_is_malformed_is_refused(tmp_path, name, content):
    layout(tmp_path / "x")
    (tmp_path / "x" / name).write_bytes(content)
    with pytest.raises(VerificationError):
        Reader(tmp_path / "x")


@pytest.mark.parametrize("digest", ["sha256:../../etc/passwd", "sha256:" + "G" * 64, "md5:0", ""])
def test_a_digest_is_nothing_but_64_digits(digest):
    with pytest.raises(ValueError, match="digest"):
        Descriptor(mediaType="x", digest=digest, size=0)


def test_a_blob_that_says_that_it_is_large_is_not_read(tmp_path):
    reader = Reader(layout(tmp_path / "x", b"abcdef", "a.tar"))
    large = described(b"abcdef", "a.tar")
    with pytest.raises(VerificationError, match="are allowed"):
        reader.blob(large, 5)
    with pytest.raises(VerificationError, match="are allowed"):
        reader.layer(large, 5)


@settings(max_examples=often(50), deadline=None)
@given(st.text(max_size=300))
def test_any_name_becomes_a_tag_that_registries_take(name):
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", tag(name))
