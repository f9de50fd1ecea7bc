"""Sealed objects on moto that answers as Ceph 16.2.15 (Debian 12) was seen to, 2026-11-30: RGW
compares an `If-Match` with an ETag that it keeps without quotes, minds no condition where it joins
parts nor in a bucket that keeps versions, and takes no body without a length.
"""

import base64
import contextlib
import hashlib
import os

import pytest
from tests.contract.conftest import _fresh_place

from casemate.core.blobs import S3Blobs, S3Place, require_conditions
from casemate.core.blobs.client import PART
from casemate.core.errors import BackendError, BusyError, TransientError


def _answer(request, status, content=b""):
    """As botocore has it of a server."""
    from botocore.awsrequest import AWSResponse

    class Raw:
        def stream(self, *_, **__):
            yield content

    return AWSResponse(request.url, status, {}, Raw())


def _refusal(request, status, code):
    return _answer(request, status, f"<Error><Code>{code}</Code></Error>".encode())


@pytest.fixture
def blobs(aws, tmp_path):
    """A place in it, empty."""
    blobs = S3Blobs(_fresh_place(aws), tmp_path / "scratch")

    def as_ceph(request, event_name, **_):
        operation = event_name.rpartition(".")[2]
        if operation == "CompleteMultipartUpload":
            for name in ("If-None-Match", "If-Match"):
                request.headers.pop(name, None)
        said = _text(request.headers.get("If-Match", ""))
        if operation == "PutObject" and said.startswith('"'):
            return _refusal(request, 412, "PreconditionFailed")
        return None

    blobs._s3.meta.events.register("before-send.s3", as_ceph)
    return blobs


def _text(value):
    return value.decode() if isinstance(value, bytes) else str(value)


def put(blobs, name, content, *, over=False):
    with blobs.draft() as draft:
        draft.file.write(content)
        return draft.commit(name, replace=over)


def test_a_server_that_takes_an_etag_without_quotes_alone_changes_what_nobody_else_changed(blobs):
    require_conditions(blobs)
    blobs.create("ab/c.key", b"one")
    blobs.replace("ab/c.key", b"one", b"two")
    assert blobs.read("ab/c.key") == b"two"
    with pytest.raises(BusyError):
        blobs.replace("ab/c.key", b"one", b"three")
    assert blobs.read("ab/c.key") == b"two"
    assert blobs.names() == ["ab/c.key"]


def test_a_large_object_is_not_written_over_where_joining_parts_minds_no_condition(blobs):
    first, second = os.urandom(PART + 1), os.urandom(PART + 1)
    assert put(blobs, "ab/c", first)
    assert not put(blobs, "ab/c", second)
    assert blobs.read("ab/c") == first
    assert put(blobs, "ab/c", second, over=True)
    assert blobs.read("ab/c") == second
    held = blobs.call("list_objects_v2", Prefix=blobs.place.prefix)["Contents"]
    assert [one["Key"] for one in held] == [f"{blobs.place.prefix}ab/c"]
    assert not blobs.call("list_multipart_uploads").get("Uploads")


def test_a_large_object_goes_in_parts_where_joining_them_minds_a_condition(aws, tmp_path):
    blobs = S3Blobs(_fresh_place(aws), tmp_path / "scratch")
    assert put(blobs, "ab/c", b"1" * (PART + 1))
    assert blobs.call("head_object", "ab/c")["ETag"].endswith('-2"')


def test_an_object_too_large_for_one_request_of_such_a_server_is_refused_with_what_to_do(blobs):
    blobs._s3.meta.events.register(
        "before-send.s3.PutObject",
        lambda request, **_: (
            _refusal(request, 400, "EntityTooLarge")
            if int(_text(request.headers["Content-Length"])) > PART
            else None
        ),
    )
    with pytest.raises(BackendError, match="EntityTooLarge") as caught:
        put(blobs, "ab/c", b"1" * (PART + 1))
    assert "use another server" in caught.value.hint


@pytest.mark.parametrize(
    ("ignored", "said"),
    [
        ({"If-None-Match"}, "ignores If-None-Match"),
        ({"If-Match"}, "ignores If-Match"),
    ],
)
def test_a_server_that_minds_one_condition_and_not_the_other_is_found_out(
    aws, tmp_path, ignored, said
):
    blobs = S3Blobs(_fresh_place(aws), tmp_path / "scratch")

    def forget(request, **_):
        for name in ignored:
            request.headers.pop(name, None)

    blobs._s3.meta.events.register("before-send.s3.PutObject", forget)
    with pytest.raises(BackendError, match=said):
        require_conditions(blobs)
    assert "Contents" not in blobs.call("list_objects_v2", Prefix=blobs.place.prefix)


def test_a_server_that_refuses_every_if_match_is_found_out(aws, tmp_path):
    blobs = S3Blobs(_fresh_place(aws), tmp_path / "scratch")
    blobs._s3.meta.events.register(
        "before-send.s3.PutObject",
        lambda request, **_: (
            _refusal(request, 412, "PreconditionFailed") if "If-Match" in request.headers else None
        ),
    )
    with pytest.raises(BackendError, match="although nothing changed") as caught:
        require_conditions(blobs)
    assert "without versions" in caught.value.hint
    assert "Contents" not in blobs.call("list_objects_v2", Prefix=blobs.place.prefix)


def test_what_goes_over_https_has_a_length_and_a_digest_that_any_server_compares(tmp_path):
    place = S3Place("ready", "p/", "https://s3.example.org", "us-east-1", "AK", "SK")
    blobs, sent = S3Blobs(place, tmp_path), []

    def keep(request, **_):
        sent.append((request.method, {n.lower(): _text(v) for n, v in request.headers.items()}))
        return _answer(request, 200)

    blobs._s3.meta.events.register("before-send.s3", keep)
    with contextlib.suppress(KeyError):  # no ETag comes back
        blobs.create("ab/c", b"content")
        put(blobs, "ab/d", b"more", over=True)
    assert [method for method, _ in sent] == ["PUT", "PUT"]
    for (_, headers), content in zip(sent, (b"content", b"more"), strict=True):
        assert headers["content-length"] == str(len(content))
        assert headers["content-md5"] == base64.b64encode(hashlib.md5(content).digest()).decode()
        assert "transfer-encoding" not in headers
        assert "x-amz-trailer" not in headers


def test_an_answer_that_breaks_off_while_a_key_is_replaced_is_told_as_such(blobs, monkeypatch):
    from botocore.exceptions import ReadTimeoutError

    blobs.create("ab/c.key", b"one")
    called = blobs.call

    def broken(method, name=None, **words):
        answer = called(method, name, **words)
        if method == "get_object":

            def read(*_):
                raise ReadTimeoutError(endpoint_url="http://127.0.0.1")

            answer["Body"].read = read
        return answer

    monkeypatch.setattr(blobs, "call", broken)
    with pytest.raises(TransientError, match="broke off"):
        blobs.replace("ab/c.key", b"one", b"two")


def test_a_server_whose_certificate_is_not_trusted_is_told_with_what_names_its_authority(blobs):
    from botocore.exceptions import SSLError

    def untrusted(request, **_):
        raise SSLError(endpoint_url=request.url, error="CERTIFICATE_VERIFY_FAILED")

    blobs._s3.meta.events.register("before-send.s3", untrusted)
    with pytest.raises(TransientError, match="CERTIFICATE_VERIFY_FAILED") as caught:
        blobs.read("ab/c")
    assert "AWS_CA_BUNDLE" in caught.value.hint
