"""Who may connect where the gateway demands certificates of its clients: whoever shows none, or one
that is revoked, over, of another authority or for servers is told nothing, whatever token comes
with it (RFC 5280, section 6; RFC 8446, section 4.4.2).

What a certificate that is good lets its client do is a matter of `matrix`.
"""

import contextlib
import socket

from casemate.core.types.scan import ScanKind
from casemate.supply.scanners.endpoint import calls
from casemate.supply.scanners.endpoint.matrix import place_of
from casemate.supply.scanners.endpoint.protocol import ENDED, QUIET_SECONDS, SILENT, exchange, head
from casemate.supply.scanners.interface import CouldNotLook, Hit, Looked, Place
from casemate.supply.scanners.running import Target

PATH = "/v2"
KEPT_OUT = {"http": (ENDED, SILENT), "grpc": ("UNAVAILABLE", "UNAUTHENTICATED")}
"""What is told to whoever may not connect. gRPC's library looks at no list of what is revoked: such
a client is nobody there.
"""
REFERENCES = ["CWE-295", "CWE-299", "CWE-287", "OWASP-API2:2023"]


class Certificates:
    """Looks at who may connect."""

    id = "casemate-certificates"
    kind: ScanKind = "endpoint"

    def look(self, place: Place) -> Looked:
        """See `Scanner.look`."""
        target = place.running()
        if not target.scratch:
            note = "client certificates: only a scratch copy has those that are no good"
            return Looked(scanner=self.id, kind=self.kind, version="1", notes=[note])
        hits: list[Hit] = []
        unseen: dict[str, str] = {}
        count = 0
        asks = {"http": _over_http, **({"grpc": _over_grpc} if target.grpc else {})}
        try:
            token = target.widest().token
            for way, ask in asks.items():
                # without an answer to a good one, none to the others says nothing
                got = ask(target, target.known.certificate, token)
                if got not in ("200", "OK"):
                    raise CouldNotLook(f"{way}: a good client certificate is told {got}")
                for what, folder in target.known.barred.items():
                    count += 1
                    got = ask(target, folder, token)
                    if got not in KEPT_OUT[way]:
                        hits.append(_hit(way, what, got))
        except CouldNotLook as error:
            unseen[""] = f"after {count} certificates: {error.sentence}"
        return Looked(scanner=self.id, kind=self.kind, version="1", hits=hits, count=count,
                      unseen=unseen)  # fmt: skip


def _over_http(target: Target, certificate: str, token: str) -> str:
    target.meter.take()
    raw = head(f"Authorization: Bearer {token}", "Connection: close", path=PATH)
    with contextlib.suppress(OSError):
        plain = socket.create_connection((target.host, target.port), QUIET_SECONDS)
        with plain, target.context(certificate).wrap_socket(
            plain, server_hostname=target.host
        ) as connection:  # fmt: skip
            return exchange(connection, raw)
    return ENDED


def _over_grpc(target: Target, certificate: str, token: str) -> str:
    with calls.Calls(target, certificate) as ask:
        return ask(calls.SERVER, token)


def _hit(way: str, what: str, got: str) -> Hit:
    return Hit(
        rule="endpoint.client-certificate",
        severity="critical",
        message=f"{what}, with a good token, over {way}: answered {got}, not refused",
        path=place_of("" if way == "http" else f"/{way}"),
        material=f"{way} {what}",
        references=REFERENCES,
        mend="see controls/keys/tls.py and serve/http.py, and what stands in front of the gateway",
    )
