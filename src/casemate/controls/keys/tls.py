"""How a certificate of the project's authority becomes the settings of a server's TLS."""

import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from casemate.controls.keys.pki import Authority


def tls_context(
    authority: Authority, names: list[str], folder: Path, *, clients: bool = False
) -> ssl.SSLContext:
    """A server's TLS settings with a fresh certificate for `names`.

    Args:
        authority: issues it.
        names: what clients call this server.
        folder: private; takes two files for a moment.
        clients: demand a certificate of the same authority from every client.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["http/1.1"])
    if clients:
        demand(context, [authority.pem.decode()])
    load_certificate(context, authority, names, folder)
    return context


def demand(context: ssl.SSLContext, authorities: Iterable[str]) -> None:
    """Let no client connect without a certificate of one of these authorities, PEM."""
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    for trusted in authorities:
        context.load_verify_locations(cadata=trusted)


def load_certificate(
    context: ssl.SSLContext, authority: Authority, names: list[str], folder: Path
) -> None:
    """Issue a certificate and load it; the files that Python's ssl needs exist for a
    moment, 0600.
    """
    chain, key = authority.issue_server(names)
    with moment(folder, chain) as chain_file, moment(folder, key) as key_file:
        context.load_cert_chain(chain_file, key_file)


@contextlib.contextmanager
def moment(folder: Path, content: bytes) -> Iterator[str]:
    """A file with this content that is there for the block only, 0600: Python's ssl reads keys from
    files alone.
    """
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".tls-") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(content)
        file.flush()
        yield file.name
