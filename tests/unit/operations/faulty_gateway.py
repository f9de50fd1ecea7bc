"""`python faulty_gateway.py FAULT,FAULT -m MODULE WORD …` runs a module of casemate with faults in
the gateway, each as a careless edit of it would make it.
"""

import runpy
import ssl
import sys
import traceback
from collections.abc import Callable

FAULTS: dict[str, Callable[[], None]] = {}


def fault(make: Callable[[], None]) -> Callable[[], None]:
    FAULTS[make.__name__] = make
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


def main() -> None:
    names, module, words = sys.argv[1], sys.argv[3], sys.argv[4:]
    if module == "casemate":
        for name in filter(None, names.split(",")):
            FAULTS[name]()
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
