"""Who calls the gateway and what they may do: decided anew at least twice a second, and at once
when anything about access changes.

A call brings a bearer token: a service's, a person's session, or a workload's token of an issuer
that `[access.workloads]` names. Without one a client certificate may stand for a service. What was
verified or decided is kept for `CACHE_SECONDS`; a watch on the catalogue's access epoch forgets it
earlier, so a revocation, a change of roles or another policy holds within that time on every
gateway.
"""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass

from casemate.controls.access.acting import Identity
from casemate.controls.access.identity.jwt import MAX_TOKEN
from casemate.controls.access.identity.sessions import Session
from casemate.controls.access.identity.tokens import TokenLimits
from casemate.controls.access.point import PolicyPoint
from casemate.controls.access.policy import Decision, Resource
from casemate.controls.access.types import Principal
from casemate.controls.audit.commit import GroupCommit
from casemate.core.errors import AccessDenied, BackendError
from casemate.serve.bodies import Scope
from casemate.serve.health import Health
from casemate.serve.quota import Quota

CACHE_SECONDS = 0.5
"""How long what was verified or decided is kept at most; with `WATCH_SECONDS` a revocation holds
within half a second. Chosen.
"""
WATCH_SECONDS = 0.25
"""Between two looks at the catalogue's epoch of access; half of `CACHE_SECONDS`."""
CACHE_SIZE = 10_000
"""Callers, and decisions, that are remembered; a flood of tokens empties the memory and cannot fill
it. Chosen.
"""
MAX_BEARER = 7 + MAX_TOKEN
"""Bytes of an `Authorization` header: `Bearer ` and the longest token."""
PERSON, SERVICE = "cs_", "cm_"
REMEMBERED_SECONDS = 3600.0
"""How long whoever read the metrics may go on while the catalogue is away."""
BLIND_SECONDS = 10.0
"""After so long without a look at the catalogue nobody is let in."""
TELL_SECONDS = 1.0
"""Between two records of the same refusal, so that nobody fills the log; those in between are
counted.
"""
TRUST_SECONDS = 5.0
"""How often keys of issuers are looked after."""


class Unauthenticated(AccessDenied):
    """No valid token came with the request."""

    code = "CM-TOKEN"
    http_status = 401


@dataclass(frozen=True)
class Caller:
    """Whose call it is; made by `Admission.authenticate` only."""

    principal: Principal
    token: str
    """Id of the token or session."""
    limits: TokenLimits
    network: str | None
    session: Session | None


_Key = tuple[bytes, str | None, str | None, str | None]
"""Credentials, address, certificate and service by certificate of a call."""


def _key(scope: Scope) -> _Key:
    """What a call shows; Unauthenticated when it is nothing."""
    given = [value for name, value in scope["headers"] if name == b"authorization"]
    service = scope.get("service")
    if given or service is None:
        if (
            len(given) != 1
            or not given[0].lower().startswith(b"bearer ")
            or len(given[0]) > MAX_BEARER
        ):
            raise Unauthenticated("authentication required")
        service = None
    client = scope.get("client")
    return (
        given[0] if given else b"",
        client[0] if client else None,
        scope.get("certificate"),
        service,
    )


class Admission:
    """Lets calls in: says whose each is, and whether policy and the token permit what it
    asks for.
    """

    def __init__(
        self, point: PolicyPoint, audit: GroupCommit, quota: Quota, health: Health
    ) -> None:
        self.point = point
        self.audit = audit
        self.quota = quota
        self._health = health
        self.policy = point.in_force()
        self.epoch = point.directory.epoch()
        self.lifetime = CACHE_SECONDS
        """Seconds that what was verified or decided is kept, unless the epoch moves earlier."""
        self._callers: dict[_Key, tuple[float, Caller]] = {}
        self._decisions: dict[tuple[str, str | None, str, Resource], tuple[float, Decision]] = {}
        self._denials: Counter[str] = Counter()
        self._told: dict[tuple[str, str, str], float] = {}
        """When a refusal of (caller, action, resource) was recorded last."""
        self._untold: Counter[tuple[str, str, str]] = Counter()
        self._blind_since: float | None = None
        self._readers: dict[_Key, tuple[float, Caller]] = {}
        """Who was allowed to read the metrics, and until when that is remembered."""
        self.workloads = point.options.workloads()
        self._trust()

    def authenticate(self, scope: Scope, *, counted: bool = True) -> Caller:
        """The caller; Unauthenticated, with one text for every reason, when there is no good token
        from this address with this certificate.

        Args:
            scope: of the request.
            counted: whether it is one more request of the caller, and not a second look at the
                same.
        """
        if self._blind_since is not None and time.monotonic() - self._blind_since > BLIND_SECONDS:
            raise BackendError(
                "changes of access cannot be seen", hint="see that the catalogue answers"
            )
        key = _key(scope)
        now = time.monotonic()
        cached = self._callers.get(key)
        if cached is None or cached[0] <= now:
            self._require_sight()
            if len(self._callers) >= CACHE_SIZE:
                # All at once: what is remembered is cheap to verify again, and a list in order of
                # age would cost each request.
                self._callers.clear()
            cached = self._callers[key] = (now + self.lifetime, self._verified(*key))
        caller = cached[1]
        if not counted:
            return caller
        if caller.limits.rate is not None:
            self.quota.rate(caller.token, caller.limits.rate)
        if self.quota.table.requests_per_minute is not None:
            self.quota.rate(caller.principal.uid, self.quota.table.requests_per_minute)
        return caller

    def _require_sight(self) -> None:
        """BackendError while the watch cannot see the catalogue: whoever asked it here would keep
        the whole event loop waiting for a server that says nothing.
        """
        if self._blind_since is not None:
            raise BackendError(
                "the catalogue cannot be read", hint="see that the database server runs"
            )

    def _verified(
        self, header: bytes, network: str | None, certificate: str | None, service: str | None
    ) -> Caller:
        try:
            caller = (
                self._by_certificate(service, network)
                if service
                else self._by_token(header[7:].decode("ascii", "replace"), network, certificate)
            )
        except AccessDenied as error:
            # The reason is not told: whoever guesses must not learn how near he was.
            raise Unauthenticated("authentication required") from error
        if network is not None:
            self.point.anomalies.seen(caller.principal.uid, network)
        return caller

    def _by_certificate(self, name: str, network: str | None) -> Caller:
        found = self.point.directory.of_certificate(name)
        if found is None:
            raise AccessDenied("no service has this certificate")
        return Caller(found, f"certificate:{name}", TokenLimits(), network, None)

    def _by_token(self, token: str, network: str | None, certificate: str | None) -> Caller:
        if token.startswith(PERSON):
            session = self.point.sessions.authenticate(token, certificate)
            return Caller(session.principal, session.id, TokenLimits(), network, session)
        if not token.startswith(SERVICE) and self.workloads is not None:
            name, _ = self.workloads.authenticate(token)
            found = self.point.directory.find("Service", name)
            if found is None:
                raise AccessDenied("the service is not registered")
            return Caller(found, f"workload:{name}", TokenLimits(), network, None)
        service = self.point.tokens.authenticate(token)
        if not service.limits.admits(network, certificate):
            self.audit.append(
                service.principal.uid,
                "access:authenticate",
                "Gateway",
                "denied",
                {"token": service.token_id, "reason": "elsewhere"},
            )
            raise AccessDenied("the token is bound to another place")
        return Caller(service.principal, service.token_id, service.limits, network, None)

    def remember(self, scope: Scope, caller: Caller) -> None:
        """This caller was allowed to read the metrics just now."""
        if len(self._readers) >= CACHE_SIZE:
            self._readers.clear()
        self._readers[_key(scope)] = (time.monotonic() + REMEMBERED_SECONDS, caller)

    def remembered(self, scope: Scope) -> Caller | None:
        """Who was allowed to read the metrics with these credentials not long ago: when the
        catalogue is away, its faults must be seen.
        """
        until, caller = self._readers.get(_key(scope), (0.0, None))
        return caller if until > time.monotonic() else None

    def require(self, caller: Caller, action: str, resource: Resource) -> None:
        """AccessDenied, recorded, when policy or the token does not permit it."""
        if not self.allows(caller, action, resource):
            raise self.denied(caller, action, resource)

    def denied(self, caller: Caller, action: str, resource: Resource) -> AccessDenied:
        """What to raise where it is not permitted; the refusal is counted and recorded, the same
        ones once a second so that nobody fills the log.
        """
        # Counted in memory and told by the watch: a flood of refusals must not write to the
        # catalogue at each.
        self._denials[caller.principal.uid] += 1
        what, now = (caller.principal.uid, action, self.point.resource(resource)), time.monotonic()
        if now - self._told.get(what, -TELL_SECONDS) < TELL_SECONDS:
            self._untold[what] += 1
        else:
            self._told[what] = now
            reasons = list(self._decision(caller, action, resource).reasons)
            self.audit.append(*what, "denied", {"policies": reasons})
        return AccessDenied(f"{action} is not permitted")

    def _tell(self) -> None:
        """Record how many refusals were like one that is on record."""
        untold, self._untold = self._untold, Counter()
        for what, count in untold.items():
            self.audit.append(*what, "denied", {"more": count})
        now = time.monotonic()
        self._told = {what: told for what, told in self._told.items() if now - told < TELL_SECONDS}

    def allows(self, caller: Caller, action: str, resource: Resource) -> bool:
        """Whether policy and the token permit it."""
        return self._decision(caller, action, resource).allowed

    def _decision(self, caller: Caller, action: str, resource: Resource) -> Decision:
        key = (caller.token, caller.network, action, resource)
        now = time.monotonic()
        cached = self._decisions.get(key)
        if cached is None or cached[0] <= now:
            self._require_sight()
            if len(self._decisions) >= CACHE_SIZE:
                self._decisions.clear()
            cached = self._decisions[key] = (
                now + self.lifetime,
                self._decided(caller, action, resource),
            )
        return cached[1]

    def _decided(self, caller: Caller, action: str, resource: Resource) -> Decision:
        if caller.limits.actions and action not in caller.limits.actions:
            return Decision(False, ("token-limits",))
        situation = self.point.situation(
            Identity(caller.principal, caller.session), network=caller.network
        )
        return self.policy.decide(caller.principal, action, resource, situation)

    async def watch(self) -> None:
        """Look at the epoch for ever; forget everything when it moved. What takes time is done
        beside the requests.
        """
        loop, looked, told = asyncio.get_running_loop(), time.monotonic(), time.monotonic()
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if time.monotonic() - told >= TELL_SECONDS:
                told = time.monotonic()
                self._tell()
            try:
                await self._look()
                self._blind_since = None
                self._health.well("catalogue")
            except Exception as error:  # noqa: BLE001 - whatever it was: the watch goes on, and without sight nobody is let in for long
                self._health.failed("catalogue", error)
                self._blind_since = self._blind_since or time.monotonic()
            if self.workloads is not None and time.monotonic() - looked >= TRUST_SECONDS:
                looked = time.monotonic()
                try:
                    await loop.run_in_executor(None, self._trust)
                    self._health.well("issuers")
                except Exception as error:  # noqa: BLE001 - keys that are not fetched grow too old by themselves
                    self._health.failed("issuers", error)
                    self.audit.append(
                        "casemate",
                        "access:issuer",
                        "Gateway",
                        "failed",
                        {"fault": type(error).__name__},
                    )

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        denials, self._denials = self._denials, Counter()
        try:
            for uid in list(denials):
                await loop.run_in_executor(
                    None, self.point.anomalies.count, uid, "denied", denials[uid]
                )
                del denials[uid]
        finally:
            # what is not on record is counted the next time; until then nobody sees
            self._denials.update(denials)
        epoch = await loop.run_in_executor(None, self.point.directory.epoch)
        if epoch != self.epoch:
            policy = await loop.run_in_executor(None, self.point.in_force)
            self.policy, self.epoch = policy, epoch
            self._callers.clear()
            self._readers.clear()
            self._decisions.clear()

    def _trust(self) -> None:
        """Fetch the keys of issuers that are due; what could not be fetched is recorded."""
        for issuer, error in self.workloads.refresh() if self.workloads else ():
            self.audit.append(
                "casemate",
                "access:issuer",
                "Gateway",
                "failed",
                {"issuer": issuer, "fault": error.code},
            )
