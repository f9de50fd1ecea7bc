"""Everybody that a scan asks as: made in a scratch copy, known to nobody else, gone with it.

Run as a program in the scratch copy (`python -m`), with a home of its own, it makes the copy's
keys, catalogue, log and accounts, and prints who they are and what policy lets them do.
"""

import datetime
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from casemate import config as configuration
from casemate.controls.access.acting import Identity as Acting
from casemate.controls.access.identity.sessions import SESSIONS
from casemate.controls.access.identity.tokens import TOKENS, TokenLimits
from casemate.controls.access.policy import Policy, Resource, actions
from casemate.controls.access.types import Principal
from casemate.core.types import Record
from casemate.operations import founding
from casemate.operations.scans.endpoint import vouched
from casemate.supply.scanners.endpoint.matrix import ABSENT
from casemate.supply.scanners.running import Identity, Known, State
from casemate.wiring import Wiring

HOURS = datetime.timedelta(hours=1)
NETWORK = "203.0.113.0/24"
"""Documentation's own network (RFC 5737), which no caller comes from."""
NARROW = "gateway:read"
ATTACKS = ("extraction", "probing", "evasion", "membership")
"""`supply.scanners.endpoint.abuse.ATTACKS`, which takes a second to import."""
HELD = ("auditor", "client")
"""Whose credentials are also there revoked, expired and so on: a person's and a service's."""


_Made = tuple[Identity, tuple[str, ...]]
"""Somebody, and the models that they may ask."""


class Wanted(Record, frozen=True, kw_only=True):
    """What the scan asks for."""

    accounts: int
    """Of each kind with each role: whoever is refused too often becomes an anomaly, so that many
    questions are shared among several who may the same.
    """
    roles: dict[str, list[str]]
    """The project's own roles, each with those that it includes."""
    actions: list[str]
    """What is asked of the policy engine."""
    served: str
    """The model, as callers name it."""
    model: str
    """Its name."""
    most_body: int
    """Bytes."""
    reference: str
    certificates: bool = False
    """Whether the gateway demands certificates of its clients."""


class Accounts:
    """Makes them."""

    def __init__(self, project: Wiring, wanted: Wanted) -> None:
        self.project, self.wanted = project, wanted
        self.point = project.point

    def known(self) -> Known:
        """Make everybody; who they are."""
        with self.project.database.transaction() as tx:
            for role, includes in self.wanted.roles.items():
                self.point.directory.define(tx, role, includes)
        self.point.forget()
        policy = self.point.in_force()
        with self.project.database.transaction() as tx:
            roles = sorted(policy.roles)
            abusers = {
                name: self._service(tx, "client for abuse", "client", f"scan-{name}")[0]
                for name in ATTACKS
            }
            made = [*self._people(tx, roles), *self._services(tx, roles), *self._spoilt(tx)]
            made += [(one, ("*",)) for one in vouched.Issuers(self.project, tx).identities()]
            shown = vouched.Shown(self.project, tx) if self.wanted.certificates else None
            if shown is not None:
                made += [(one, ("*",)) for one in shown.identities(self.wanted.accounts)]
            own, barred = (shown.own(), shown.barred()) if shown is not None else ("", {})
        allowed = [
            permitted(self.project, policy, one, models, self.wanted.actions, self.wanted.model)
            for one, models in made
        ]
        return Known(
            identities=[*allowed, *strangers()],
            served=self.wanted.served,
            reference=self.wanted.reference,
            most_body=self.wanted.most_body,
            abusers=abusers,
            certificate=own,
            barred=barred,
        )

    def _people(self, tx: sa.Connection, roles: list[str]) -> Iterator[_Made]:
        for role in roles:
            for number in range(self.wanted.accounts):
                yield self._person(tx, f"user {role}", f"scan-{role}-{number}", [role])
        yield self._person(tx, "user without a role", "scan-nobody", [])

    def _person(self, tx: sa.Connection, group: str, name: str, roles: list[str]) -> _Made:
        made = self.point.directory.add(tx, name, roles)
        token = self.point.sessions.begin(tx, name, "password").access
        found = Identity(
            group=group, uid=made.uid, kind="User", roles=roles, state="good", token=token
        )
        return found, ()

    def _services(self, tx: sa.Connection, roles: list[str]) -> Iterator[_Made]:
        for role in roles:
            for number in range(self.wanted.accounts):
                yield self._service(tx, f"service {role}", role, f"scan-{role}-{number}")
        for role in ("client", "analyst"):
            group, name = f"service {role} of other models", f"scan-{role}-other"
            yield self._service(tx, group, role, name, ("scan-other",))
        narrow = TokenLimits(actions=(NARROW,))
        found, models = self._service(
            tx, "service owner narrowed", "owner", "scan-owner-narrow", limits=narrow
        )
        yield msgspec.structs.replace(found, state="narrowed"), models

    def _service(
        self,
        tx: sa.Connection,
        group: str,
        role: str,
        name: str,
        models: tuple[str, ...] = ("*",),
        limits: TokenLimits | None = None,
    ) -> _Made:
        token, _ = self.point.tokens.create(tx, name, [role], list(models), HOURS, limits)
        uid = Principal("Service", name, ()).uid
        found = Identity(
            group=group, uid=uid, kind="Service", roles=[role], state="good", token=token
        )
        return found, models

    def _spoilt(self, tx: sa.Connection) -> Iterator[_Made]:
        """Credentials that were good, or would be from somewhere else."""
        past = (self.project.clock.now() - HOURS).isoformat()
        changes: dict[State, dict[str, Any]] = {
            "revoked": {"revoked": True},
            "expired": {"expires": past},
        }
        for role in HELD:
            for state, change in changes.items():
                name = f"scan-{role}-{state}"
                one, _ = self._service(tx, f"service {role}", role, name)
                tx.execute(TOKENS.update().where(TOKENS.c.service == name).values(**change))
                yield msgspec.structs.replace(one, state=state), ()
        ends: dict[State, dict[str, Any]] = {
            "ended": {"revoked": "logged out"},
            "expired": {"until": past},
        }
        for state, change in ends.items():
            name = f"scan-auditor-{state}"
            one, _ = self._person(tx, "user auditor", name, ["auditor"])
            tx.execute(SESSIONS.update().where(SESSIONS.c.name == name).values(**change))
            yield msgspec.structs.replace(one, state=state), ()
        bound = TokenLimits(networks=(NETWORK,))
        one, _ = self._service(tx, "service owner", "owner", "scan-owner-bound", limits=bound)
        yield msgspec.structs.replace(one, state="elsewhere"), ()


def permitted(
    project: Wiring,
    policy: Policy,
    one: Identity,
    models: tuple[str, ...],
    wanted: Sequence[str],
    model: str,
) -> Identity:
    """Somebody, with what the policy engine says when it is asked directly.

    Args:
        project: whose.
        policy: in force.
        one: who.
        models: that they may ask, of a service.
        wanted: actions.
        model: that is served.
    """
    if one.state not in ("good", "narrowed"):
        return one
    name = one.uid.partition('"')[2].rstrip('"')
    principal = Principal(one.kind, name, tuple(one.roles), models)
    situation = project.point.situation(Acting(principal, None), network="127.0.0.1")
    asked = {
        "project": Resource(),
        "served": Resource("Model", model),
        "absent": Resource("Model", ABSENT),
    }
    allowed = [
        f"{action} {what}"
        for action in wanted
        if one.state == "good" or action == NARROW
        for what, resource in asked.items()
        if resource.kind in actions().get(action, ())
        and policy.decide(principal, action, resource, situation).allowed
    ]
    return msgspec.structs.replace(one, allowed=allowed)


def strangers() -> Iterator[Identity]:
    """Whose credentials nobody knows."""
    unknown = {
        "service unknown": "cm_00000000_" + "A" * 43,
        "user unknown": "cs_" + "A" * 43,
        "workload unknown": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJvd25lciJ9.",
    }
    for group, token in unknown.items():
        yield Identity(group=group, uid="", kind="", roles=[], state="unknown", token=token)
    token = "scan"
    nonsense = Identity(group="nonsense", uid="", kind="", roles=[], state="nonsense", token=token)
    yield nonsense
    yield msgspec.structs.replace(nonsense, group="no credential", state="none", token="")


def main(root: Path) -> None:
    """Make a project of the folder, and everybody in it; print them."""
    wanted = msgspec.json.decode(sys.stdin.buffer.read(), type=Wanted)
    founding.begin(root)
    folder, config = configuration.locate(root)
    with Wiring(folder, config) as project:
        known = Accounts(project, wanted).known()
    sys.stdout.buffer.write(msgspec.json.encode(known))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
