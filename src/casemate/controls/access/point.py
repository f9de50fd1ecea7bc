"""The policy point: who acts, what is known of the moment, what policy says, and that it is written
down.

Everything that a person or a service asks for passes `require`. Who acts is a session (`casemate
access login`), or, where `[access] local` allows it, the user of this machine as the kernel names
them.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from casemate.controls.access.acting import Identity, own_factor
from casemate.controls.access.anomalies import STOP_RISK, AccessFinding, Anomalies
from casemate.controls.access.applied import Applied, loosened
from casemate.controls.access.identity.accounts import Accounts
from casemate.controls.access.identity.factors import Factors
from casemate.controls.access.identity.principals import Directory
from casemate.controls.access.identity.sessionfile import Kept, SessionFile
from casemate.controls.access.identity.sessions import Bearer, Session, Sessions
from casemate.controls.access.identity.tokens import Tokens
from casemate.controls.access.options import Alert, Options
from casemate.controls.access.own import read_folder
from casemate.controls.access.policy import Decision, Policy, Resource
from casemate.controls.access.situation import Situation, posture_of, zone
from casemate.controls.access.types import Principal, principal_of
from casemate.controls.audit.log import AuditLog
from casemate.controls.keys.interface import KeyProvider
from casemate.core.clock import Clock
from casemate.core.errors import AccessDenied, RefusedError
from casemate.core.store import Store

if TYPE_CHECKING:
    from casemate.controls.access.identity.passkeys import Passkeys


class PolicyPoint:
    """Says who acts, decides by policy what they may, and records what was decided."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        options: Options,
        audit: Callable[[], AuditLog],
        keys: Callable[[], KeyProvider],
        alert: Alert,
        bearer: Bearer | None = None,
        actor: Principal | None = None,
    ) -> None:
        """Nothing is read before it is needed.

        Args:
            store: the catalogue.
            clock: tells the time.
            options: what the configuration says.
            audit: where decisions go.
            keys: wraps the secrets of second factors.
            alert: queues a message for whoever is to hear of an emergency or an anomaly.
            bearer: of whoever acts here; None: whoever logged in on this machine, or else its user.
            actor: a playbook that acts here, instead of anybody who would prove who they are.
        """
        self.store, self.clock, self.options = store, clock, options
        self.directory = Directory(store, clock)
        self.tokens = Tokens(self.directory)
        self.sessions = Sessions(self.directory)
        self.accounts = Accounts(self.directory, options.breached)
        self.applied = Applied(store, clock)
        self._audit, self._keys, self._bearer, self._given = audit, keys, bearer, actor
        self.anomalies = Anomalies(self.directory, options.places, options.bulk_rows, self._told)
        self._alert = alert
        self.session_file = SessionFile(options.project)
        self.pending = False
        """The folder differs from the policies in force, and whoever acts could not apply it."""
        self._actor: Principal | None = None

    @property
    def audit(self) -> AuditLog:
        """The log that decisions go to."""
        return self._audit()

    @cached_property
    def factors(self) -> Factors:
        """The second factors of the people of this project."""
        return Factors(self.directory, self._keys())

    @cached_property
    def passkeys(self) -> "Passkeys":
        """Second factors that a device keeps."""
        from casemate.controls.access.identity.passkeys import Passkeys

        return Passkeys(self.directory, self.options.origin)

    @property
    def actor(self) -> Principal:
        """Who acts here, as far as known: for what goes on after it was decided."""
        return self._actor or self.identify().principal

    def identify(self) -> Identity:
        """Who acts now; AccessDenied when the session is over, or the user of this machine may not
        act without one.
        """
        # somebody who came over the network: what is known of their device is what their login said
        if self._given is not None:
            self._actor = self._given
            return Identity(self._given, None)
        if self._bearer is not None:
            session = self.sessions.authenticate(self._bearer.access, self._bearer.certificate)
            self._actor = session.principal
            return Identity(session.principal, session)
        kept = self.session_file.read()
        if kept is None:
            if not self.options.local:
                raise AccessDenied(
                    "nobody is logged in, and this project takes no user of the machine",
                    hint="casemate access login",
                )
            found = Identity(self.directory.current_user(), None)
        else:
            session = self._session(kept)
            if session.device != self.posture():
                self._end(session, "the device's posture changed")
            found = Identity(session.principal, session)
        self._actor = found.principal
        return found

    def _end(self, session: Session, why: str) -> None:
        with self.store.transaction() as tx:
            self.sessions.end(tx, session.id, why)
            self.audit.append(
                tx,
                session.principal.uid,
                "session:end",
                f'Session::"{session.id}"',
                "done",
                {"reason": why},
            )
        self.audit.publish()
        raise AccessDenied(f"the session has ended: {why}", hint="casemate access login")

    def _session(self, kept: Kept) -> Session:
        try:
            return self.sessions.authenticate(kept.access)
        except AccessDenied:
            with self.session_file.alone():
                newest = self.session_file.read()
                if newest is None:
                    raise
                if newest == kept:  # nobody else has fetched the next pair meanwhile
                    newest = self.session_file.keep(self.sessions.renew(kept.refresh))
            return self.sessions.authenticate(newest.access)

    def situation(
        self, identity: Identity | None = None, *, network: str | None = None
    ) -> Situation:
        """What is known of this moment.

        Args:
            identity: who acts.
            network: from where, for a call that comes over the network; what is known of the device
                is then what its login said.
        """
        session = identity.session if identity else None
        now = self.clock.now()
        age = (
            None
            if session is None or session.mfa is None
            else max(0, int((now - session.mfa).total_seconds()))
        )
        return Situation(
            purpose=self.options.purpose,
            now=now.astimezone(zone(self.options.timezone)),
            environment=self.options.environment,
            mfa_required=self.options.mfa_required,
            mfa_age=age,
            network=network or (session.network if session else None),
            device=(
                self.posture()
                if network is None and self._bearer is None
                else session.device
                if session
                else None
            ),
            risk=(
                0
                if identity is None
                else self.anomalies.risk(
                    identity.principal.uid, at_machine=session is None and network is None
                )
            ),
        )

    def posture(self) -> str | None:
        """What the posture check says of this device; None where there is none."""
        return posture_of(self.options.posture)

    def _told(self, tx: sa.Connection, found: AccessFinding) -> None:
        """A finding goes into the log and to whoever is to hear of it; from `STOP_RISK` on it ends
        the sessions.
        """
        detail = {
            "finding": found.id,
            "kind": found.kind,
            "risk": found.risk,
            "message": found.message,
        }
        self.audit.append(
            tx, found.principal, "access:anomaly", self.resource(Resource()), "done", detail
        )
        self._alert(
            tx, "access:anomaly", f"anomaly/{found.id}", {"principal": found.principal, **detail}
        )
        if found.risk >= STOP_RISK and found.principal.startswith("User"):
            self.sessions.end_all(tx, principal_of(found.principal).name, found.kind)

    @property
    def policy(self) -> Policy:
        """The policies in force; edits in the folder are applied first if whoever acts may
        do that.
        """
        if self._policy is None:
            self._policy = self._in_force()
        return self._policy

    _policy: Policy | None = None

    def forget(self) -> None:
        """Read the policies again at the next decision."""
        self._policy = None

    def in_force(self) -> Policy:
        """The policies as applied, whatever the folder holds."""
        return Policy(self.applied.newest().texts, self.options.project, self.directory.roles())

    def _in_force(self) -> Policy:
        texts, newest = read_folder(self.options.folder), self.applied.newest()
        before = Policy(newest.texts, self.options.project, self.directory.roles())
        if texts == newest.texts:
            return before
        identity = self.identify()
        if not before.decide(
            identity.principal, "policy:change", Resource(), self.situation(identity)
        ).allowed:
            self.pending = True
            return before
        after = Policy(texts, self.options.project, self.directory.roles())
        if loosened(newest.texts, texts) and "owner" not in self.directory.closure(
            identity.principal.roles
        ):
            self.pending = True
            return before
        return self._apply(identity, after, texts)

    def use_in_force(self) -> None:
        """Decide by the policies as applied from now on, whatever the folder holds."""
        self._policy = self.in_force()

    def apply(self) -> int:
        """Put the folder's policies in force; returns the number of the set. Whether whoever acts
        may do that is asked before.

        Raises:
            RefusedError: they would gain by it. ConfigError: a policy is wrong.
        """
        identity = self.identify()
        texts = read_folder(self.options.folder)
        if texts != self.applied.newest().texts:
            self._policy = self._apply(
                identity, Policy(texts, self.options.project, self.directory.roles()), texts
            )
        self.pending = False
        return self.applied.newest().number

    def _apply(self, identity: Identity, after: Policy, texts: dict[str, str]) -> Policy:
        looser = loosened(self.applied.newest().texts, texts)
        if looser and "owner" not in self.directory.closure(identity.principal.roles):
            raise RefusedError(
                f"the policies in {self.options.folder} would permit more than those in force:"
                f" {', '.join(looser[:5])}",
                hint="an owner must apply them: casemate access policy apply",
            )
        audit = self.audit
        with self.store.transaction() as tx:
            number = self.applied.apply(tx, after, texts, identity.principal.uid)
            detail = {
                "number": number,
                "version": after.version,
                "files": sorted(texts),
                "loosened": looser,
            }
            audit.append(
                tx,
                identity.principal.uid,
                "policy:change",
                self.resource(Resource()),
                "done",
                detail,
            )
        audit.publish()
        return after

    def own_factor(self, identity: Identity) -> Principal:
        """Whoever acts, if they may add a factor to their own login; see `acting.own_factor`."""
        return own_factor(identity, self.situation(identity))

    def resource(self, resource: Resource) -> str:
        """The resource's name in the log."""
        return f'{resource.kind}::"{resource.name or self.options.project}"'

    def decide(
        self, action: str, resource: Resource, purpose: str | None = None, **context: Any
    ) -> tuple[Identity, Decision]:
        """(who acts, what policy says, for this purpose instead of the project's); nothing is
        recorded.
        """
        identity = self.identify()
        situation = self.situation(identity)
        if purpose is not None:
            situation = replace(situation, purpose=purpose)
        return identity, self.policy.decide(
            identity.principal, action, resource, situation, **context
        )

    def permitted(
        self,
        action: str,
        resource: Resource = Resource(),  # noqa: B008 - immutable
        *,
        fresh: bool = False,
        **context: Any,
    ) -> tuple[Identity, Decision]:
        """The same if it allows; a denial is recorded and raised as AccessDenied.

        Args:
            action: of the schema.
            resource: about what.
            fresh: a second factor was proven just now, where there is no session to keep that.
            context: what the schema wants to know beside the situation.
        """
        identity = self.identify()
        situation = self.situation(identity)
        if fresh:
            situation = replace(situation, mfa_age=0)
        try:
            return identity, self.policy.require(
                identity.principal, action, resource, situation, **context
            )
        except AccessDenied as error:
            self.audit.record(
                identity.principal.uid,
                action,
                self.resource(resource),
                "denied",
                reason=error.message,
            )
            self.anomalies.count(identity.principal.uid, "denied")
            raise

    def require(
        self,
        action: str,
        resource: Resource = Resource(),  # noqa: B008
        *,
        context: dict[str, Any] | None = None,
        **detail: Any,
    ) -> Principal:
        """Who acts, if policy permits `action`; the decision is recorded either way.

        Args:
            action: of the schema.
            resource: about what.
            context: what the schema wants to know beside the situation.
            detail: goes into the log too.

        Raises:
            AccessDenied: not permitted, with the deciding policy.
        """
        identity, decision = self.permitted(action, resource, **(context or {}))
        told = {
            name: value.uid if isinstance(value, Principal) else value
            for name, value in (context or {}).items()
        }
        extra = {"method": identity.method} if identity.session else {}
        self.audit.record(
            identity.principal.uid,
            action,
            self.resource(resource),
            "allowed",
            policies=list(decision.reasons),
            **told,
            **extra,
            **detail,
        )
        return identity.principal
