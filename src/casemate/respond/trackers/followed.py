"""What was read of tickets so far: their state, what people said, and trackers that were away.

What people said is foreign and may name somebody: it stands here and not in the log, which has a
digest of it, so that whoever changes a comment is found out and whoever must erase one can.
"""

import secrets
from collections.abc import Iterable
from typing import Any

import msgspec
import sqlalchemy as sa

from casemate.core.digest import sha256
from casemate.core.errors import VerificationError
from casemate.core.store import METADATA
from casemate.core.text import clean
from casemate.core.types import Record
from casemate.respond.trackers.interface import Comment, State
from casemate.respond.trackers.remembered import TICKETS

INDEX = sa.BigInteger().with_variant(sa.Integer, "sqlite")
COMMENTS = sa.Table(
    "ticket_comment",
    METADATA,
    sa.Column("tracker", sa.String, primary_key=True),
    sa.Column("ticket", sa.String, primary_key=True),
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("incident", sa.Integer, nullable=False),
    sa.Column("entry", INDEX, nullable=False),
    sa.Column("account", sa.String),
    sa.Column("created", sa.String),
    sa.Column("text", sa.String),
    sa.Column("salt", sa.String),
    sa.Column("digest", sa.String, nullable=False),
    sa.Index("ticket_comment_of_incident", "incident", "entry"),
)
FAULTS = sa.Table(
    "tracker_fault",
    METADATA,
    sa.Column("tracker", sa.String, primary_key=True),
    sa.Column("since", sa.String, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("due", sa.String, nullable=False),
    sa.Column("text", sa.String, nullable=False),
)
MOST_WORDS = 2_000
"""Characters that are kept of a comment, as of a note: the rest is in the ticket."""
AT_ONCE = 500
"""Values in one statement, as in `respond.tables`."""


class Followed(Record, frozen=True, kw_only=True):
    """A ticket, and how far it was read."""

    tracker: str
    mark: str
    id: str
    url: str
    state: State | None = None
    """That casemate read or made last; None: neither yet."""
    moves: int = 0
    """How often casemate made one: whoever reads meanwhile finds out."""
    assignee: str = ""
    """The account, as the tracker names it."""
    cursor: str = ""
    """Where the next reading begins. It stays a while behind `newest`: comments that are written
    at the same time become visible in any order.
    """
    newest: str = ""
    settled: str = ""
    """When `newest` was read, ISO 8601."""
    lost: bool = False
    """Whether it was told that the ticket cannot be found."""
    closings: int = 0
    """How often people closed it while alerts stood, since they opened it last."""
    looked: str = ""
    """When it was read, ISO 8601."""


class Said(Record, frozen=True, kw_only=True):
    """A comment of somebody, as it was heard."""

    tracker: str
    ticket: str
    id: str
    entry: int
    """Of the log, which has a digest of it."""
    account: str
    created: str
    """As the tracker writes times."""
    text: str
    """At most `MOST_WORDS` characters."""
    is_erased: bool = False


class Fault(Record, frozen=True, kw_only=True):
    """Why a tracker could not be read."""

    tracker: str
    since: str
    """ISO 8601."""
    tries: int
    due: str
    """When it is asked again, ISO 8601."""
    text: str


_FIELDS = [name for name in Followed.__struct_fields__ if name not in ("tracker", "mark")]


def _of(row: Any) -> Followed:
    known = {name: getattr(row, name) for name in Followed.__struct_fields__}
    return Followed(**{name: value for name, value in known.items() if value is not None})


def tickets(tx: sa.Connection, marks: Iterable[str], tracker: str | None = None) -> list[Followed]:
    """Tickets that were made.

    Args:
        tx: any.
        marks: which.
        tracker: of which; default: of all that there ever were.
    """
    every, found = list(marks), []
    there: list[sa.ColumnElement[bool]] = [TICKETS.c.id.is_not(None)]
    there += [] if tracker is None else [TICKETS.c.tracker == tracker]
    for start in range(0, len(every), AT_ONCE):
        part = TICKETS.c.mark.in_(every[start : start + AT_ONCE])
        query = sa.select(TICKETS).where(part, *there).order_by(TICKETS.c.tracker)
        found += [_of(row) for row in tx.execute(query)]
    return found


def write(tx: sa.Connection, one: Followed) -> None:
    """How far it was read."""
    mine = (TICKETS.c.tracker == one.tracker) & (TICKETS.c.mark == one.mark)
    values = {name: getattr(one, name) for name in _FIELDS}
    tx.execute(TICKETS.update().where(mine).values(**values))


def looked(tx: sa.Connection, some: Iterable[Followed], now: str) -> None:
    """That nothing is new in these."""
    for one in some:
        mine = (TICKETS.c.tracker == one.tracker) & (TICKETS.c.mark == one.mark)
        tx.execute(TICKETS.update().where(mine).values(looked=now))


def unheard(tx: sa.Connection, one: Followed, comments: Iterable[Comment]) -> list[Comment]:
    """Those of people that no reading has had."""
    theirs = [comment for comment in comments if not comment.own]
    query = sa.select(COMMENTS.c.id).where(
        COMMENTS.c.tracker == one.tracker,
        COMMENTS.c.ticket == one.id,
        COMMENTS.c.id.in_([comment.id for comment in theirs]),
    )
    known = set(tx.execute(query).scalars()) if theirs else set()
    return [comment for comment in theirs if comment.id not in known]


def rows_of(one: Followed, comments: Iterable[Comment]) -> list[dict[str, Any]]:
    """Rows of comments, without incident and entry; each with a salt, so that what is erased cannot
    be guessed from its digest.
    """
    rows = []
    for comment in comments:
        row = {
            "tracker": one.tracker,
            "ticket": one.id,
            "id": comment.id,
            "account": clean(comment.author, 200),
            "created": clean(comment.created, 40),
            "text": clean(comment.text, MOST_WORDS, lines=True),
            "salt": secrets.token_hex(16),
        }
        rows.append({**row, "digest": _digest(row)})
    return rows


def _digest(row: Any) -> str:
    fields = ("tracker", "ticket", "id", "account", "created", "text", "salt")
    return sha256(msgspec.json.encode([row[name] for name in fields]))


def digest_of(rows: Iterable[Any]) -> str:
    """What the log has of comments that came at once, in the order of their ids."""
    ordered = sorted(rows, key=lambda row: (len(row["id"]), row["id"]))
    return sha256("".join(row["digest"] for row in ordered).encode())


def heard(
    tx: sa.Connection, incident: int, digests: dict[int, str], most: int
) -> tuple[list[Said], int]:
    """(what people said about an incident, oldest first; how many older ones were left out).

    Args:
        tx: any.
        incident: its number.
        digests: of its entries of the log that tell of comments.
        most: how many at most, the newest.

    Raises:
        VerificationError: the catalogue says something else than the log.
    """
    mine = COMMENTS.c.incident == incident
    query = sa.select(COMMENTS).where(mine).order_by(COMMENTS.c.entry.desc(), COMMENTS.c.id)
    rows = list(tx.execute(query.limit(most + 1)).mappings())
    total = tx.execute(sa.select(sa.func.count()).select_from(COMMENTS).where(mine)).scalar_one()
    if len(rows) > most:  # of the oldest entry not all may be here
        rows = [row for row in rows if row["entry"] != rows[-1]["entry"]]
    groups: dict[int, list[Any]] = {}
    for row in rows:
        groups.setdefault(row["entry"], []).append(row)
    complete = len(rows) == total
    for entry in {*groups, *(digests if complete else ())}:
        group = groups.get(entry, [])
        changed = [
            row for row in group if row["text"] is not None and _digest(row) != row["digest"]
        ]
        if changed or digests.get(entry) != digest_of(group):
            raise VerificationError(
                f"comments of incident {incident} are not those of entry {entry} of the log",
                hint="somebody else than casemate wrote them: casemate audit show says when",
            )
    return [_said(row) for entry in sorted(groups) for row in _ordered(groups[entry])], int(
        total
    ) - len(rows)


def erase(tx: sa.Connection, incident: int, account: str) -> int:
    """Take the words and accounts out of comments; with the salt goes what their digests could be
    tried against. How many.

    Args:
        tx: a write transaction.
        incident: its number.
        account: whose; empty: everybody's.
    """
    mine = [COMMENTS.c.incident == incident, COMMENTS.c.text.is_not(None)]
    mine += [COMMENTS.c.account == account] if account else []
    empty = dict.fromkeys(("account", "created", "text", "salt"))
    return tx.execute(COMMENTS.update().where(*mine).values(**empty)).rowcount


def _ordered(group: list[Any]) -> list[Any]:
    return sorted(group, key=lambda row: (len(row["id"]), row["id"]))


def _said(row: Any) -> Said:
    return Said(
        tracker=row["tracker"],
        ticket=row["ticket"],
        id=row["id"],
        entry=row["entry"],
        account=row["account"] or "",
        created=row["created"] or "",
        text=row["text"] or "",
        is_erased=row["text"] is None,
    )


def faults(tx: sa.Connection) -> dict[str, Fault]:
    """Trackers that could not be read when they were asked last, by name."""
    rows = tx.execute(sa.select(FAULTS)).mappings()
    return {row["tracker"]: Fault(**row) for row in rows}


def put_fault(tx: sa.Connection, name: str, fault: Fault | None) -> None:
    """Why one could not be read; None: it could."""
    tx.execute(FAULTS.delete().where(FAULTS.c.tracker == name))
    if fault is not None:
        tx.execute(FAULTS.insert().values(**msgspec.structs.asdict(fault)))
