"""A server's TLS: 1.3 under a fresh certificate, callers' certificates where they are demanded, and no
key left on disk.
"""

import ssl

import pytest

from casemate.controls.keys.pki import Authority, create_authority
from casemate.controls.keys.tls import tls_context


@pytest.fixture(scope="module")
def authority():
    return Authority(*create_authority("clinic"))


def caller(authority, tmp_path, *, known: bool = False, newest=ssl.TLSVersion.MAXIMUM_SUPPORTED):
    context = ssl.create_default_context(cadata=authority.pem.decode())
    context.maximum_version = newest
    if known:
        chain, key = authority.issue("client", ["ward"], 1, "p256")
        file = tmp_path / "client.pem"
        file.write_bytes(chain + key)
        context.load_cert_chain(file)
    return context


def spoken(server, client, name="localhost"):
    """The client's side once both have shaken hands, in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(to_client, to_server, server_hostname=name)
    far = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = [near, far]
    for _ in range(10):
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                pass
    assert not waiting
    return near, far


def test_a_caller_who_trusts_the_authority_speaks_tls_1_3_and_no_key_is_left(authority, tmp_path):
    near, _ = spoken(tls_context(authority, ["localhost"], tmp_path), caller(authority, tmp_path))
    assert near.version() == "TLSv1.3"
    assert list(tmp_path.iterdir()) == []


def test_a_server_of_another_name_or_an_older_tls_is_refused(authority, tmp_path):
    server = tls_context(authority, ["localhost"], tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        spoken(server, caller(authority, tmp_path), "example.org")
    with pytest.raises(ssl.SSLError, match="PROTOCOL"):
        spoken(server, caller(authority, tmp_path, newest=ssl.TLSVersion.TLSv1_2))


def test_a_certificate_is_demanded_of_callers_where_the_server_says_so(authority, tmp_path):
    server = tls_context(authority, ["localhost"], tmp_path, clients=True)
    _, far = spoken(server, caller(authority, tmp_path, known=True))
    assert far.getpeercert()["subjectAltName"][0][0] == "URI"
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        spoken(server, caller(authority, tmp_path))
    other = Authority(*create_authority("elsewhere"))
    context = caller(authority, tmp_path)
    chain, key = other.issue("client", ["ward"], 1, "p256")
    (tmp_path / "other.pem").write_bytes(chain + key)
    context.load_cert_chain(tmp_path / "other.pem")
    with pytest.raises(ssl.SSLCertVerificationError):
        spoken(server, context)
