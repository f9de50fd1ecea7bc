"""Who calls the gateway and what they may do: decided anew at least twice a second, and at once when anything about access changes.

A call brings a service's token or a person's session as a bearer token. What was verified or decided is kept for
`CACHE_SECONDS`; a watch on the catalogue's access epoch forgets it earlier, so a revocation, a change of roles or another
policy holds within that time on every gateway.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from casemate.controls.access.point import Identity, PolicyPoint
from casemate.controls.access.policy import Decision, Resource
from casemate.controls.access.sessions import Session
from casemate.controls.access.tokens import Limits
from casemate.controls.access.types import Principal
from casemate.controls.audit.log import GroupCommit
from casemate.core.errors import AccessDenied, Error, RequestError

CACHE_SECONDS = 0.5
WATCH_SECONDS = 0.25
CACHE_SIZE = 10_000
MAX_BEARER = 200
PERSON = "cs_"


class Unauthenticated(AccessDenied):
    """No valid token came with the request."""

    code = "CM-TOKEN"
    http_status = 401


class TooMany(RequestError):
    """The token's rate is used up."""

    code = "CM-RATE"
    http_status = 429


@dataclass(frozen=True)
class Caller:
    """Whose call it is; made by `Guard.authenticate` only."""

    principal: Principal
    token: str
    """Id of the token or session."""
    limits: Limits
    network: str | None
    session: Session | None


class Guard:
    """Authenticates and decides."""

    def __init__(self, point: PolicyPoint, audit: GroupCommit) -> None:
        self.point = point
        self.audit = audit
        self.policy = point.in_force()
        self.epoch = point.directory.epoch()
        self.lifetime = CACHE_SECONDS
        """Seconds that what was verified or decided is kept, unless the epoch moves earlier."""
        self._callers: dict[tuple[bytes, str | None, str | None], tuple[float, Caller]] = {}
        self._decisions: dict[tuple[str, str | None, str, Resource], tuple[float, Decision]] = {}
        self._allowance: dict[str, tuple[float, float]] = {}

    def authenticate(self, scope: dict[str, Any]) -> Caller:
        """The caller; Unauthenticated, with one text for every reason, when there is no good token from this address with this certificate."""
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1 or not given[0].lower().startswith(b"bearer ") or len(given[0]) > MAX_BEARER:
            raise Unauthenticated("authentication required")
        client = scope.get("client")
        key = (given[0], client[0] if client else None, scope.get("certificate"))
        now = time.monotonic()
        cached = self._callers.get(key)
        if cached is None or cached[0] <= now:
            if len(self._callers) >= CACHE_SIZE:
                self._callers.clear()
            cached = self._callers[key] = (now + self.lifetime, self._verified(*key))
        caller = cached[1]
        if caller.limits.rate is not None:
            self._spend(caller.token, caller.limits.rate, now)
        return caller

    def _verified(self, header: bytes, network: str | None, certificate: str | None) -> Caller:
        token = header[7:].decode("ascii", "replace")
        try:
            if token.startswith(PERSON):
                session = self.point.sessions.authenticate(token, certificate)
                return Caller(session.principal, session.id, Limits(), network, session)
            service = self.point.tokens.authenticate(token)
        except AccessDenied as error:
            raise Unauthenticated("authentication required") from error
        if not service.limits.admits(network, certificate):
            self.audit.append(service.principal.uid, "access:authenticate", "Gateway", "denied", {"token": service.token_id, "reason": "elsewhere"})
            raise Unauthenticated("authentication required")
        return Caller(service.principal, service.token_id, service.limits, network, None)

    def _spend(self, token: str, rate: int, now: float) -> None:
        """Token bucket: a minute's allowance at most, refilled evenly."""
        left, since = self._allowance.get(token, (float(rate), now))
        left = min(float(rate), left + (now - since) * rate / 60.0)
        if left < 1.0:
            self._allowance[token] = (left, now)
            raise TooMany("more requests than this token allows")
        self._allowance[token] = (left - 1.0, now)

    def require(self, caller: Caller, action: str, resource: Resource) -> None:
        """AccessDenied, recorded, when policy or the token does not permit it."""
        key = (caller.token, caller.network, action, resource)
        now = time.monotonic()
        cached = self._decisions.get(key)
        if cached is None or cached[0] <= now:
            if len(self._decisions) >= CACHE_SIZE:
                self._decisions.clear()
            cached = self._decisions[key] = (now + self.lifetime, self._decided(caller, action, resource))
        if not cached[1].allowed:
            self.audit.append(caller.principal.uid, action, self.point.resource(resource), "denied", {"policies": list(cached[1].reasons)})
            raise AccessDenied(f"{action} is not permitted")

    def _decided(self, caller: Caller, action: str, resource: Resource) -> Decision:
        if caller.limits.actions and action not in caller.limits.actions:
            return Decision(False, ("token-limits",))
        situation = self.point.situation(Identity(caller.principal, caller.session), network=caller.network)
        return self.policy.decide(caller.principal, action, resource, situation)

    async def watch(self) -> None:
        """Look at the epoch for ever; forget everything when it moved."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                epoch = await loop.run_in_executor(None, self.point.directory.epoch)
                if epoch == self.epoch:
                    continue
                policy = await loop.run_in_executor(None, self.point.in_force)
            except Error:
                continue  # what is cached runs out, and nothing new can be verified without the catalogue
            self.policy, self.epoch = policy, epoch
            self._callers.clear()
            self._decisions.clear()
