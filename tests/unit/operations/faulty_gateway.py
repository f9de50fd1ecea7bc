"""`python faulty_gateway.py FAULT,FAULT -m MODULE WORD …` runs a module of casemate with faults in
the gateway, each as a careless edit of it would make it.
"""

import datetime
import runpy
import ssl
import sys
import traceback
from collections.abc import Callable

Make = Callable[[], None]
FAULTS: dict[str, Make] = {}
OF_CERTIFICATES: dict[str, Make] = {}
OF_ISSUERS_AND_CALLS: dict[str, Make] = {}
ISSUING = ("certificates_for_servers_and_clients",)
"""Faults of whatever makes certificates, not of the gateway."""


def fault(make: Make) -> Make:
    FAULTS[make.__name__] = make
    return make


def of_certificates(make: Make) -> Make:
    OF_CERTIFICATES[make.__name__] = make
    return make


def of_issuers_and_calls(make: Make) -> Make:
    OF_ISSUERS_AND_CALLS[make.__name__] = make
    return make


@fault
def a_door_without_authorisation() -> None:
    from casemate.serve.admission import Admission

    require = Admission.require

    def open_to_all(self, caller, action, resource):
        if action != "metrics:read":
            require(self, caller, action, resource)

    Admission.require = open_to_all


@fault
def a_role_with_too_much() -> None:
    from casemate.serve.admission import Admission

    allows = Admission.allows

    def more(self, caller, action, resource):
        is_more = "monitor" in caller.principal.roles and action == "model:read"
        return is_more or allows(self, caller, action, resource)

    Admission.allows = more


@fault
def old_tls() -> None:
    from casemate.serve import server

    made = server.tls_context

    def old(*given, **named):
        context = made(*given, **named)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        return context

    server.tls_context = old


@fault
def no_bound_on_bodies() -> None:
    from casemate.serve import bodies

    read = bodies.read
    inflated = bodies.inflated
    bodies.read = lambda scope, headers, receive, most: read(scope, headers, receive, 2**40)
    bodies.inflated = lambda headers, body, most: inflated(headers, body, 2**30)


@fault
def errors_with_tracebacks() -> None:
    from casemate.core.errors import AccessDenied
    from casemate.serve.refusals import Refusals

    reply = Refusals.reply

    def told(self, error):
        found = reply(self, error)
        if isinstance(error, AccessDenied):
            return found
        return found._replace(body="".join(traceback.format_exception(error)).encode())

    Refusals.reply = told


def _headers(change: Callable[[list[tuple[bytes, bytes]]], list[tuple[bytes, bytes]]]) -> None:
    from casemate.serve.app import Gateway

    handle = Gateway.handle

    async def changed(self, scope, receive):
        found = await handle(self, scope, receive)
        return found._replace(headers=change(list(found.headers)))

    Gateway.handle = changed


@fault
def no_security_headers() -> None:
    _headers(lambda headers: [one for one in headers if one[0] != b"cache-control"])


@fault
def every_site_may_read() -> None:
    _headers(lambda headers: [*headers, (b"access-control-allow-origin", b"*")])


@fault
def a_server_that_says_its_version() -> None:
    _headers(lambda headers: [*headers, (b"server", b"uvicorn/0.54.0 Python/3.11.7")])


@fault
def tokens_in_urls() -> None:
    from urllib.parse import parse_qs

    from casemate.serve.app import Gateway

    handle = Gateway.handle

    async def taken(self, scope, receive):
        given = parse_qs(scope.get("query_string", b"")).get(b"access_token")
        if given:
            scope["headers"] = [*scope["headers"], (b"authorization", b"Bearer " + given[0])]
        return await handle(self, scope, receive)

    Gateway.handle = taken


@fault
def revoked_credentials() -> None:
    from casemate.controls.access.identity.tokens import TOKENS, Tokens

    authenticate = Tokens.authenticate

    def forgiving(self, token):
        with self.store.reading() as tx:
            row = tx.execute(TOKENS.select().where(TOKENS.c.revoked.is_(True))).first()
        if row is not None:
            with self.store.transaction() as tx:
                tx.execute(TOKENS.update().values(revoked=False))
        return authenticate(self, token)

    Tokens.authenticate = forgiving


@fault
def nobody_hears_of_probing() -> None:
    from casemate.serve.quota import Quota

    Quota._tell = lambda self: self._untold.clear()


@of_certificates
def revocations_not_looked_at() -> None:
    from casemate.serve.http import Revocations

    Revocations.revoked = lambda self, serial: False


def _tls(change: Callable[[ssl.SSLContext], None]) -> None:
    from casemate.serve import server

    made = server.tls_context

    def changed(*given, **named):
        context = made(*given, **named)
        change(context)
        return context

    server.tls_context = changed


@of_certificates
def certificates_asked_for_and_not_demanded() -> None:
    # seen only together with the fault above: without a number nobody is let in either
    def asked_for(context):
        context.verify_mode = ssl.CERT_OPTIONAL

    _tls(asked_for)


@of_certificates
def an_authority_too_many() -> None:
    # whose certificate lies where the scan has put it
    _tls(lambda context: context.load_verify_locations("certificates/foreign/cert.pem"))


@of_certificates
def certificates_that_are_over() -> None:
    def timeless(context):
        context.verify_flags |= 0x200000  # X509_V_FLAG_NO_CHECK_TIME

    _tls(timeless)


@of_certificates
def certificates_for_servers_and_clients() -> None:
    from casemate.controls.keys.pki import USES

    USES["server"] = USES["node"]


@of_certificates
def a_certificate_above_a_token() -> None:
    from casemate.core.errors import AccessDenied
    from casemate.serve import admission

    key, verified = admission._key, admission.Admission._verified

    def above(self, header, network, certificate, service):
        try:
            return verified(self, header, network, certificate, service)
        except AccessDenied:
            return verified(self, header, network, certificate, None)

    admission._key = lambda scope: (*key(scope)[:3], scope.get("service"))
    admission.Admission._verified = above


@of_issuers_and_calls
def tokens_bound_to_nothing() -> None:
    from casemate.controls.access.identity.tokens import TokenLimits

    TokenLimits.admits = lambda self, address, certificate: True


@of_issuers_and_calls
def sessions_bound_to_nothing() -> None:
    from types import SimpleNamespace

    from casemate.controls.access.identity.sessions import Sessions

    kept = Sessions._row

    def unbound(self, *given):
        row = kept(self, *given)
        return row and SimpleNamespace(**{**row._mapping, "certificate": None})

    Sessions._row = unbound


@of_issuers_and_calls
def every_certificate_is_a_service() -> None:
    from casemate.controls.access.identity.principals import Directory

    Directory.of_certificate = lambda self, name: self.find("Service", name)


def _claims(change: Callable[[dict, list], None]) -> None:
    """`change` is given the claims of a token and what it is held against: issuer, audience, now."""
    import base64
    import json

    from casemate.controls.access.identity import jwt

    verify = jwt.verify

    def careless(token, keys, *against):
        part = token.split(".")[1]
        held = list(against)
        change(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))), held)
        return verify(token, keys, *held)

    jwt.verify = careless


@of_issuers_and_calls
def workloads_for_any_audience() -> None:
    def any_audience(claims, held):
        held[1] = claims["aud"]

    _claims(any_audience)


@of_issuers_and_calls
def workloads_that_are_over() -> None:
    def timeless(claims, held):
        held[2] = datetime.datetime.fromtimestamp(claims["exp"] - 1, datetime.UTC)

    _claims(timeless)


@of_issuers_and_calls
def workloads_signed_by_nobody() -> None:
    import base64

    from casemate.controls.access.identity import jwt

    def unsigned(token, keys):
        part = token.split(".")[1]
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))

    jwt.check_signature = unsigned


@of_issuers_and_calls
def refusals_that_calls_lose() -> None:
    from casemate.serve import grpc

    settle = grpc._settle

    async def lost(reply, context):
        if reply.status != 403:
            await settle(reply, context)

    grpc._settle = lost


@of_issuers_and_calls
def a_call_that_nobody_lists() -> None:
    from casemate.serve import grpc

    handler = grpc.grpc.method_handlers_generic_handler

    def more(service, calls):
        return handler(service, {**calls, "RepositoryIndex": next(iter(calls.values()))})

    grpc.grpc.method_handlers_generic_handler = more


def main() -> None:
    names, module, words = sys.argv[1], sys.argv[3], sys.argv[4:]
    every = {**FAULTS, **OF_CERTIFICATES, **OF_ISSUERS_AND_CALLS}
    for name in filter(None, names.split(",")):
        if module == "casemate" or name in ISSUING:
            every[name]()
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
