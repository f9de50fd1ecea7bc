"""The policies in force: not what lies in the folder, but what somebody who may change policies has
applied.

An edit in `policies/` takes effect when it is applied, under the policies that were in force
before. Only an owner applies what permits more or forbids less: nobody writes himself, or a friend,
a permission.
"""

from dataclasses import dataclass
from typing import Any

import cedarpy
import msgspec
import sqlalchemy as sa

from casemate.controls.access.identity.registered import touch
from casemate.controls.access.policy import Policy
from casemate.core.clock import Clock
from casemate.core.store import METADATA, Store, explained

POLICY_SETS = sa.Table(
    "policy_set",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("version", sa.String, nullable=False),
    sa.Column("texts", sa.JSON, nullable=False),
    sa.Column("by", sa.String, nullable=False),
    sa.Column("time", sa.String, nullable=False),
    info=explained(),
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
        """What is in force; number 0 with nothing of the project's own when nothing was ever
        applied.
        """
        with self.store.reading() as tx:
            row = (
                tx.execute(sa.select(POLICY_SETS).order_by(POLICY_SETS.c.number.desc()).limit(1))
                .mappings()
                .first()
            )
        return PolicySet(0, "", {}, "", "") if row is None else PolicySet(**row)

    def history(self) -> list[PolicySet]:
        """Every applied set, newest first."""
        with self.store.reading() as tx:
            return [
                PolicySet(**row)
                for row in tx.execute(
                    sa.select(POLICY_SETS).order_by(POLICY_SETS.c.number.desc())
                ).mappings()
            ]

    def apply(self, tx: sa.Connection, policy: Policy, texts: dict[str, str], by: str) -> int:
        """Put a validated set in force; returns its number."""
        number = (tx.execute(sa.select(sa.func.max(POLICY_SETS.c.number))).scalar() or 0) + 1
        values = {
            "version": policy.version,
            "texts": texts,
            "by": by,
            "time": self.clock.now().isoformat(),
        }
        tx.execute(POLICY_SETS.insert().values(number=number, **values))
        touch(tx)
        return int(number)


def loosened(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What `after` permits beyond `before`, as policy ids: permits that are new and forbids that
    are gone or changed.

    Trying out requests would not do: a condition on a name or on the time of day hides what a
    policy opens.
    """
    old, new = _policies(before), _policies(after)
    more = [policy for policy in new if policy not in old and policy["effect"] != "forbid"]
    less = [policy for policy in old if policy not in new and policy["effect"] == "forbid"]
    return sorted(
        f"{policy['effect']} {policy.get('annotations', {}).get('id', 'without @id')}"
        for policy in more + less
    )


def _policies(texts: dict[str, str]) -> list[dict[str, Any]]:
    return [
        policy
        for text in texts.values()
        for policy in msgspec.json.decode(cedarpy.policies_to_json_str(text))[
            "staticPolicies"
        ].values()
    ]
