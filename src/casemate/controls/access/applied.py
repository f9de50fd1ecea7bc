"""The policies in force: not what lies in the folder, but what somebody who may change policies has applied.

An edit in `policies/` takes effect when it is applied, under the policies that were in force before. Whoever applies may not
gain by it, unless they own the project already: nobody writes himself a permission.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from casemate.controls.access.identity.principals import touch
from casemate.controls.access.policy import CLASSES, NEEDED, Policy, Resource, actions
from casemate.controls.access.situation import Situation
from casemate.controls.access.types import Principal
from casemate.core.clock import Clock
from casemate.core.store import METADATA, Store

POLICY_SETS = sa.Table(
    "policy_set",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("version", sa.String, nullable=False),
    sa.Column("texts", sa.JSON, nullable=False),
    sa.Column("by", sa.String, nullable=False),
    sa.Column("time", sa.String, nullable=False),
)


@dataclass(frozen=True)
class PolicySet:
    """The project's own policies as applied."""

    number: int
    version: str
    texts: dict[str, str]
    by: str
    time: str


class Applied:
    """Reads and changes what is in force."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock

    def newest(self) -> PolicySet:
        """What is in force; number 0 with nothing of the project's own when nothing was ever applied."""
        with self.store.reading() as tx:
            row = tx.execute(sa.select(POLICY_SETS).order_by(POLICY_SETS.c.number.desc()).limit(1)).mappings().first()
        return PolicySet(0, "", {}, "", "") if row is None else PolicySet(**row)

    def history(self) -> list[PolicySet]:
        """Every applied set, newest first."""
        with self.store.reading() as tx:
            return [PolicySet(**row) for row in tx.execute(sa.select(POLICY_SETS).order_by(POLICY_SETS.c.number.desc())).mappings()]

    def apply(self, tx: sa.Connection, policy: Policy, texts: dict[str, str], by: str) -> int:
        """Put a validated set in force; returns its number."""
        number = (tx.execute(sa.select(sa.func.max(POLICY_SETS.c.number))).scalar() or 0) + 1
        values = {"version": policy.version, "texts": texts, "by": by, "time": self.clock.now().isoformat()}
        tx.execute(POLICY_SETS.insert().values(number=number, **values))
        touch(tx)
        return int(number)


def gains(before: Policy, after: Policy, principal: Principal, situation: Situation) -> list[str]:
    """What `principal` may do under `after` and may not under `before`, as `ACTION on KIND`."""
    found = []
    for action, kinds in sorted(actions().items()):
        for kind in kinds:
            resource = Resource(kind, "" if kind == "Project" else "*")
            for extra in _contexts(action):
                old, new = (policy.decide(principal, action, resource, situation, **extra) for policy in (before, after))
                if new.allowed and not old.allowed:
                    found.append(f"{action} on {kind}")
    return sorted(set(found))


def _contexts(action: str) -> list[dict[str, str]]:
    needed = NEEDED.get(action, {})
    return [needed | {"column_class": name} for name in CLASSES] if "column_class" in needed else [needed]
