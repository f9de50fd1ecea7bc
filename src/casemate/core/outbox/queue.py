"""The transactional outbox: rows commit with their cause; a sender claims, delivers and marks them.

A claim moves the row's next try into the future, so that a sender which dies while delivering
delays the message but never loses it: delivery is at least once. Tries back off exponentially;
after `attempts` of them a message is dead, stays visible and can be retried by a person.
"""

import datetime
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from casemate.core.clock import Clock
from casemate.core.errors import ConfigError, Error
from casemate.core.outbox.interface import Message, Route
from casemate.core.store import METADATA, Store, decode

OUTBOX = sa.Table(
    "outbox",
    METADATA,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("key", sa.String, nullable=False, unique=True),
    sa.Column("target", sa.String, nullable=False),
    sa.Column("event", sa.String, nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sa.Column("created", sa.String, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("due", sa.String, nullable=False),
    sa.Column("error", sa.String),
    sa.Column("ended", sa.String),
)
MAX_BACKOFF = 86_400.0


@dataclass(frozen=True)
class DeliveryPolicy:
    """How hard a message is tried."""

    attempts: int = 8
    """Deliveries before it is dead."""
    backoff: float = 10.0
    """Seconds before the second one; doubled each time, at most a day."""
    timeout: float = 10.0
    """Seconds one delivery may take."""

    def pause(self, attempts: int) -> float:
        """Seconds to wait after this many attempts."""
        return min(MAX_BACKOFF, self.backoff * 2.0 ** min(attempts - 1, 40))


class Outbox:
    """Queues and sends. `routes` are the receivers of today's configuration."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        routes: list[Route],
        delivery: DeliveryPolicy | None = None,
    ) -> None:
        self.store = store
        self.clock = clock
        self.routes = {route.name: route for route in routes}
        self.delivery = delivery or DeliveryPolicy()

    def enqueue(
        self,
        tx: sa.Connection,
        event: str,
        key: str,
        content: dict[str, Any],
        only: str | None = None,
    ) -> None:
        """Queue for every receiver of `event`, within the caller's transaction; a key that is
        queued already stays as it is.

        Args:
            tx: a write transaction.
            event: what happened.
            key: of the message.
            content: what receivers get.
            only: the receiver that gets it, whatever the others hear.
        """
        now = self.clock.now().isoformat()
        for route in self.routes.values():
            if not (route.hears(event) if only is None else route.name == only):
                continue
            message = Message(key=f"{key}/{route.name}", event=event, created=now, content=content)
            if (
                tx.execute(sa.select(OUTBOX.c.id).where(OUTBOX.c.key == message.key)).first()
                is None
            ):
                row = {
                    "key": message.key,
                    "target": route.name,
                    "event": event,
                    "payload": msgspec.json.encode(message),
                    "created": now,
                }
                tx.execute(OUTBOX.insert().values(**row, state="pending", attempts=0, due=now))

    def send(self, target: str | None = None) -> list[tuple[Message, Error | None]]:
        """Try everything that is due, once; returns each message with the fault that kept it, if
        any.
        """
        done: list[tuple[Message, Error | None]] = []
        tried: set[int] = set()
        while (claimed := self._claim(tried, target)) is not None:
            row, message = claimed
            tried.add(row.id)
            done.append((message, self._deliver(row, message)))
        return done

    def _claim(
        self, tried: set[int], target: str | None
    ) -> tuple[sa.Row[tuple[Any, ...]], Message] | None:
        pending = (
            sa.select(OUTBOX)
            .where(OUTBOX.c.state == "pending", OUTBOX.c.target.in_(self.routes))
            .order_by(OUTBOX.c.id)
        )
        with self.store.reading() as tx:
            if tx.execute(pending).first() is None:
                return None
        now = self.clock.now()
        with self.store.transaction() as tx:
            for row in tx.execute(pending):
                if (
                    row.id in tried
                    or (target is not None and row.target != target)
                    or not self._is_due(row, now)
                ):
                    continue
                away = max(2 * self.delivery.timeout, self.delivery.pause(row.attempts + 1))
                due = (now + datetime.timedelta(seconds=away)).isoformat()
                tx.execute(
                    OUTBOX.update()
                    .where(OUTBOX.c.id == row.id)
                    .values(attempts=row.attempts + 1, due=due)
                )
                return row, decode(row.payload, Message)
        return None

    def _is_due(self, row: sa.Row[tuple[Any, ...]], now: datetime.datetime) -> bool:
        due = datetime.datetime.fromisoformat(row.due)
        # A clock that was set back must not hold a message for longer than its pause.
        return due <= now or (due - now).total_seconds() > max(
            2 * self.delivery.timeout, self.delivery.pause(max(row.attempts, 1))
        )

    def _deliver(self, row: sa.Row[tuple[Any, ...]], message: Message) -> Error | None:
        try:
            self.routes[row.target].deliver(message)
        except Error as error:
            dead = row.attempts + 1 >= self.delivery.attempts
            text = f"{error.code}: {error.message}"[:2000]
            # The claim kept other senders away for the whole delivery; a failed one is due after
            # its pause and no later.
            due = self.clock.now() + datetime.timedelta(
                seconds=self.delivery.pause(row.attempts + 1)
            )
            with self.store.transaction() as tx:
                values = {
                    "error": text,
                    "state": "dead" if dead else "pending",
                    "due": due.isoformat(),
                }
                tx.execute(
                    OUTBOX.update()
                    .where(OUTBOX.c.id == row.id, OUTBOX.c.state == "pending")
                    .values(**values)
                )
            return error
        with self.store.transaction() as tx:
            ended = self.clock.now().isoformat()
            tx.execute(
                OUTBOX.update()
                .where(OUTBOX.c.id == row.id)
                .values(state="sent", error=None, ended=ended)
            )
        return None

    def messages(self, *states: str) -> list[dict[str, Any]]:
        """Every message, oldest first, without its content; `pending`, `sent` and `dead` ones, or
        those in `states`.
        """
        columns = [column for column in OUTBOX.c if column.name != "payload"]
        query = sa.select(*columns).order_by(OUTBOX.c.id)
        if states:
            query = query.where(OUTBOX.c.state.in_(states))
        with self.store.reading() as tx:
            return [dict(row) for row in tx.execute(query).mappings()]

    @staticmethod
    def unsent(tx: sa.Connection, target: str, key: str) -> bool:
        """Whether something whose key begins so waits for a receiver, or is dead.

        Args:
            tx: any.
            target: the receiver.
            key: the beginning; no `%` or `_`.
        """
        query = sa.select(OUTBOX.c.id).where(
            OUTBOX.c.target == target, OUTBOX.c.state != "sent", OUTBOX.c.key.like(f"{key}%")
        )
        return tx.execute(query.limit(1)).first() is not None

    def states(self, key: str) -> list[str]:
        """States of what was queued under a key, one a receiver of today's configuration."""
        keys = [f"{key}/{name}" for name in self.routes]
        query = sa.select(OUTBOX.c.state).where(OUTBOX.c.key.in_(keys))
        with self.store.reading() as tx:
            return list(tx.execute(query).scalars())

    def message(self, identifier: int) -> Message:
        """One message with its content; ConfigError when there is none."""
        with self.store.reading() as tx:
            payload = tx.execute(
                sa.select(OUTBOX.c.payload).where(OUTBOX.c.id == identifier)
            ).scalar()
        if payload is None:
            raise ConfigError(
                f"the outbox has no message {identifier}", hint="`casemate outbox list` shows them"
            )
        return decode(payload, Message)

    def retry(self, tx: sa.Connection, identifiers: list[int]) -> int:
        """Give dead messages a new life, all of them when none are named; pending ones become due
        now. Returns how many.
        """
        where = (
            [OUTBOX.c.id.in_(identifiers), OUTBOX.c.state != "sent"]
            if identifiers
            else [OUTBOX.c.state == "dead"]
        )
        return tx.execute(
            OUTBOX.update()
            .where(*where)
            .values(state="pending", attempts=0, due=self.clock.now().isoformat())
        ).rowcount
