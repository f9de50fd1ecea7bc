"""Roles that end by themselves: lent, or taken in an emergency and reviewed by somebody else."""

import datetime
import secrets
from dataclasses import dataclass, replace

import sqlalchemy as sa

from casemate.controls.access.identity.registered import touch
from casemate.core.clock import Clock
from casemate.core.errors import ConfigError, RefusedError
from casemate.core.store import METADATA, explained

EMERGENCY = "emergency"
"""The role of a person who broke the glass."""
MAX_REASON = 500
GRANTS = sa.Table(
    "role_grant",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("role", sa.String, nullable=False),
    sa.Column("why", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("by", sa.String, nullable=False),
    sa.Column("since", sa.String, nullable=False),
    sa.Column("until", sa.String, nullable=False),
    sa.Column("reviewer", sa.String),
    sa.Column("review", sa.String),
    info=explained(),
)


@dataclass(frozen=True)
class Grant:
    """A role for a limited time."""

    id: str
    name: str
    """The person who has it."""
    role: str
    why: str
    """`delegation` or `break-glass`."""
    reason: str
    by: str
    since: datetime.datetime
    until: datetime.datetime
    reviewer: str | None
    review: str | None


def grants_of(tx: sa.Connection, name: str | None = None) -> list[Grant]:
    """Every grant with an end, or those of one person, newest first."""
    query = sa.select(GRANTS).order_by(GRANTS.c.since.desc())
    if name is not None:
        query = query.where(GRANTS.c.name == name)
    moment = datetime.datetime.fromisoformat
    return [
        Grant(**{**row, "since": moment(row["since"]), "until": moment(row["until"])})
        for row in tx.execute(query).mappings()
    ]


def end_grants(tx: sa.Connection, clock: Clock, *where: sa.ColumnElement[bool]) -> int:
    """End these grants now; how many had not ended."""
    now = clock.now().isoformat()
    return tx.execute(
        GRANTS.update().where(*where, GRANTS.c.until > now).values(until=now)
    ).rowcount


def lend(
    tx: sa.Connection,
    clock: Clock,
    name: str,
    role: str,
    why: str,
    reason: str,
    by: str,
    lifetime: datetime.timedelta,
) -> Grant:
    """Write a grant; see `principals.Directory.lend`."""
    if not reason.strip() or len(reason) > MAX_REASON:
        raise ConfigError(
            f"a reason of 1 to {MAX_REASON} characters is needed", hint="--reason '...'"
        )
    if lifetime <= datetime.timedelta(0):
        raise ConfigError("the time must be positive")
    if why == "break-glass" and (
        open_ := [g for g in grants_of(tx, name) if g.why == why and g.review is None]
    ):
        raise RefusedError(
            f"an earlier emergency access of {name!r} was not reviewed yet ({open_[0].id})",
            hint="somebody else: casemate access review close",
        )
    now = clock.now()
    made = Grant(
        secrets.token_hex(4),
        name,
        role,
        why,
        reason.strip(),
        by,
        now,
        now + lifetime,
        None,
        None,
    )
    values = {**vars(made), "since": made.since.isoformat(), "until": made.until.isoformat()}
    tx.execute(GRANTS.insert().values(**values))
    touch(tx)
    return made


def close_review(
    tx: sa.Connection, clock: Clock, identifier: str, reviewer: str, finding: str
) -> Grant:
    """Close the review of a broken glass.

    Raises:
        ConfigError: there is no such open review. RefusedError: the reviewer is who broke the
            glass.
    """
    grant = next(
        (
            g
            for g in grants_of(tx)
            if g.id == identifier and g.why == "break-glass" and g.review is None
        ),
        None,
    )
    if grant is None:
        raise ConfigError(
            f"no emergency access {identifier!r} waits for a review",
            hint="`casemate access review`",
        )
    if grant.name == reviewer:
        raise RefusedError(
            "an emergency access is reviewed by somebody else",
            hint="ask an auditor or the owner",
        )
    if not finding.strip() or len(finding) > MAX_REASON:
        raise ConfigError(
            f"a finding of 1 to {MAX_REASON} characters is needed", hint="--finding '...'"
        )
    now = clock.now()
    ended = min(now, grant.until).isoformat()
    tx.execute(
        GRANTS.update()
        .where(GRANTS.c.id == identifier)
        .values(reviewer=reviewer, review=finding.strip(), until=ended)
    )
    touch(tx)
    return replace(grant, reviewer=reviewer, review=finding.strip())
