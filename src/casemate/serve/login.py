"""What people do with their own login over HTTP: passkeys, stepping up, renewing and ending their
session.

Bodies and answers are JSON. `options` are what `navigator.credentials` takes, `passkey` is what it
gives (`toJSON`).
"""

from typing import Any

import msgspec

from casemate.controls.access.acting import Identity
from casemate.controls.access.identity.sessions import Pair, Session
from casemate.controls.access.logins import Logins
from casemate.controls.access.point import PolicyPoint
from casemate.core.errors import RequestError

MAX_BODY = 16 * 1024
"""Bytes of a login's body. Chosen: several times what a passkey answers."""


class LoginBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person says of their own login."""

    passkey: dict[str, Any] | None = None
    code: str | None = None
    refresh: str | None = None


class Login:
    """Answers the routes whose names begin with `login`."""

    def __init__(self, point: PolicyPoint) -> None:
        self.point = point

    def answer(
        self, route: str, bearer: str, certificate: str | None, body: bytes
    ) -> dict[str, Any]:
        """What to say to a request that policy has let through; works on the catalogue, so away
        from the event loop.

        The session is looked up anew: what the gateway remembers of it may be half a second old.

        Args:
            route: its name.
            bearer: the session's acting secret.
            certificate: SHA-256 of the client certificate that came with it.
            body: the request's.

        Raises:
            AccessDenied: the passkey, code or secret is not good, or the call is no person's.
                RequestError: the body makes no sense.
        """
        session, said = self.point.sessions.authenticate(bearer, certificate), _read(body)
        name = session.principal.name
        if route == "login-session":
            return self._about(session)
        if route == "login-passkey-options":
            self.point.own_factor(Identity(session.principal, session))
            return self.point.passkeys.registration(name)
        if route == "login-passkey":
            return self._register(session, said)
        if route == "login-step-up-options":
            return self.point.passkeys.request(name)
        if route == "login-step-up":
            return self._step_up(session, said, bearer, certificate)
        if route == "login-renew":
            return _pair(self.point.sessions.renew(said.refresh or "", certificate))
        with self.point.store.transaction() as tx:
            self.point.sessions.end(tx, session.id, "logged out")
        return {"ended": True}

    def _about(self, session: Session) -> dict[str, Any]:
        age = self.point.situation(Identity(session.principal, session)).mfa_age
        who = {
            "principal": session.principal.uid,
            "roles": list(session.principal.roles),
            "until": session.until.isoformat(),
        }
        return who | {"second_factor": session.principal.mfa, "second_factor_age": age}

    def _register(self, session: Session, said: LoginBody) -> dict[str, Any]:
        principal = self.point.own_factor(Identity(session.principal, session))
        if said.passkey is None:
            raise RequestError("give the passkey that the browser made")
        identifier, codes = self.point.passkeys.register(
            principal.name, said.passkey, first=not principal.mfa
        )
        self.point.audit.record(
            principal.uid, "factor:add", principal.uid, "done", factor=identifier, kind="passkey"
        )
        return {"passkey": identifier, "recovery_codes": codes}

    def _step_up(
        self, session: Session, said: LoginBody, bearer: str, certificate: str | None
    ) -> dict[str, Any]:
        name, passkey, code = session.principal.name, said.passkey, said.code
        if (passkey is None) == (code is None):
            raise RequestError("give either a passkey's answer or a code")

        def check() -> object:
            return (
                self.point.passkeys.verify(name, passkey)
                if passkey is not None
                else self.point.factors.verify(name, code or "")
            )

        Logins(self.point).prove(session.principal, check)
        return _pair(self.point.sessions.step_up(bearer, certificate))


def _read(body: bytes) -> LoginBody:
    try:
        return msgspec.json.decode(body or b"{}", type=LoginBody)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise RequestError(f"the body is not as expected: {error}") from error


def _pair(pair: Pair) -> dict[str, Any]:
    return {"access": pair.access, "refresh": pair.refresh, "until": pair.until.isoformat()}
