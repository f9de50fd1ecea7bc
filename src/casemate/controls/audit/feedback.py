"""What really was, and what people say of answers: kept beside the log, one entry each.

The entry says who told, of which request and what, never a note; the note lies sealed beside it,
bound to the entry. Nothing is overwritten: who says another thing of the same request contradicts,
and both stay. The first outcome of a request is the one that the watcher counts.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import msgspec
import sqlalchemy as sa

from casemate.controls.audit.decisions import Decisions
from casemate.controls.audit.entries import INDEX
from casemate.controls.audit.entry import SALT_SIZE
from casemate.controls.audit.predictions import MOST_OUTCOME, OUTCOMES, Prediction
from casemate.core.errors import ConfigError
from casemate.core.store import METADATA
from casemate.core.types import Record

Kind = Literal["outcome", "correction", "complaint"]
KINDS: tuple[Kind, ...] = ("outcome", "correction", "complaint")
FEEDBACK = sa.Table(
    "feedback",
    METADATA,
    sa.Column("index", INDEX, primary_key=True, autoincrement=False),
    sa.Column("request", sa.String, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("source", sa.String, nullable=False),
    sa.Column("principal", sa.String, nullable=False),
    sa.Column("time", sa.String, nullable=False),
    sa.Column("contradicts", sa.Boolean, nullable=False),
    sa.Column("sealed", sa.LargeBinary),
    sa.Index("feedback_request", "request"),
)
FIRST, OTHER = "model:feedback", "feedback:added"
"""Actions in the log: the first outcome of a request, which the watcher counts, and all else."""
CONTRADICTED = "contradicted"
SEALED = b"feedback"
MOST_TELLINGS = 20
"""Different things that one source tells of one request: an outcome, a few corrections and
complaints. Chosen.
"""
MOST_NOTE = 4_000
"""Characters of a note: what a person has to say of one answer, and no document."""
_WRITTEN = 5_000
"""Rows that are in memory a second time, sealed, while all are written."""
_AT_ONCE = 500
"""Requests asked of the catalogue in one statement: SQLite takes 999 parameters."""


class Said(NamedTuple):
    """What somebody says of a request."""

    request: str
    kind: Kind
    value: list[Any] | None
    """Per row a class, a quantity or several; None of a complaint."""
    note: str = ""


class Told(Record, frozen=True, kw_only=True):
    """What is kept of it."""

    index: int
    """Its log entry."""
    request: str
    kind: Kind
    source: str
    """As it was named; empty: the principal alone."""
    principal: str
    time: str
    """ISO 8601."""
    contradicts: bool
    """Whether something else had been told of the request before."""
    value: list[Any] | None
    note: str

    @property
    def who(self) -> str:
        """The source with who spoke for it: nobody is blamed for what another one said in their
        name.
        """
        return f"{self.source} ({self.principal})" if self.source else self.principal


@dataclass
class Added:
    """What became of what was said."""

    new: int = 0
    same: int = 0
    """Told before by the same source."""
    contradictions: list[str] = field(default_factory=list)
    """Requests of which something else had been told; kept beside it."""


def plain(value: list[Any] | None) -> str:
    """A value for comparing: `1`, `"1"` and `1.0` are one."""

    def one(said: Any) -> Any:
        if isinstance(said, list):
            return [one(part) for part in said]
        try:
            return float(said)
        except (TypeError, ValueError):
            return said

    return msgspec.json.encode(one(value)).decode()


NOTHING = plain(None)
"""Of complaints, and of what was forgotten, which contradicts nothing any more."""


def _telling(
    kind: Kind, source: str, principal: str, value: list[Any] | None, note: str
) -> tuple[str, str, str, str, str]:
    """By which tellings are the same: of an outcome the note is no part."""
    return kind, source, principal, plain(value), note if kind == "complaint" else ""


def require_sayable(said: Said, rows: int) -> None:
    """ConfigError when a value or note is none that can be kept of a request with so many rows."""
    if said.kind not in KINDS:
        raise ConfigError(
            f"{said.kind!r} is no kind of feedback", hint="one of " + ", ".join(KINDS)
        )
    if len(said.note) > MOST_NOTE:
        raise ConfigError(f"a note has at most {MOST_NOTE} characters", hint="shorten it")
    if said.kind == "complaint":
        if said.value is not None or not said.note.strip():
            raise ConfigError(
                "a complaint is a note without an outcome", hint="a correction has an outcome"
            )
        return
    if said.value is None:
        raise ConfigError(f"the {said.kind} is missing", hint="say what really was")
    if not all(one.isprintable() for one in said.value if isinstance(one, str)) or (
        len(msgspec.json.encode(said.value)) > MOST_OUTCOME
    ):
        raise ConfigError(
            f"outcomes are printable texts or numbers, at most {MOST_OUTCOME} bytes of JSON",
            hint="ask about fewer rows at once",
        )
    if len(said.value) != rows:
        raise ConfigError(
            f"the request had {rows} rows, {len(said.value)} outcomes are given",
            hint="one a row, in order",
        )


class Feedback:
    """Keeps what is said of answers, and reads it back."""

    def __init__(self, decisions: Decisions) -> None:
        self.decisions, self.log = decisions, decisions.log

    def tell(self, principal: str, said: Said, prediction: Prediction) -> Added:
        """Keep what is said of one answer; ConfigError when it does not fit."""
        require_sayable(said, prediction.rows)
        with self.log.store.transaction() as tx:
            return self.add(tx, principal, "", [(said, prediction.model)])

    def add(
        self, tx: sa.Connection, principal: str, source: str, sayings: Sequence[tuple[Said, str]]
    ) -> Added:
        """Keep what is said of requests, all of it in the caller's transaction.

        Args:
            tx: a write transaction.
            principal: who tells.
            source: as it is named, or "".
            sayings: each with the model version that answered; they fit their requests.

        Raises:
            ConfigError: it told `MOST_TELLINGS` different things of a request before.
        """
        known = self._known(tx, [said.request for said, _ in sayings])
        added = Added()
        kept: list[Any] = []
        now = self.log.clock.now().isoformat(timespec="seconds")
        for said, model in sayings:
            before = known.setdefault(said.request, [])
            mine = _telling(said.kind, source, principal, said.value, said.note)
            if mine in before:
                added.same += 1
                continue
            if sum(one[1:3] == mine[1:3] for one in before) >= MOST_TELLINGS:
                raise ConfigError(
                    f"{said.request}: {MOST_TELLINGS} things were told of it by"
                    f" {source or principal} before",
                    hint="the first is what counts; `casemate feedback show` has them all",
                )
            values = {value for _, _, _, value, _ in before if value != NOTHING}
            against = said.value is not None and bool(values - {mine[3]})
            first = said.kind == "outcome" and not any(one[0] == "outcome" for one in before)
            before.append(mine)
            added.new += 1
            if against:
                added.contradictions.append(said.request)
            detail: dict[str, Any] = {"request": said.request}
            detail |= {} if said.value is None else {"outcome": said.value}
            detail |= {"source": source} if source else {}
            detail |= {} if said.kind == "outcome" else {"kind": said.kind}
            outcome = CONTRADICTED if against else "done"
            action = FIRST if first else OTHER
            entry = principal, action, f'Model::"{model}"', outcome, detail
            kept.append((entry, (said, against, first)))
            if len(kept) == _WRITTEN:
                self._write(tx, principal, source, now, kept)
                kept = []
        self._write(tx, principal, source, now, kept)
        return added

    def _write(
        self, tx: sa.Connection, principal: str, source: str, now: str, kept: list[Any]
    ) -> None:
        if not kept:
            return
        indexes = self.log.append_many(tx, [entry for entry, _ in kept])
        contents = [
            (index, os.urandom(SALT_SIZE), msgspec.msgpack.encode((said.value, said.note)))
            for index, (_, (said, _, _)) in zip(indexes, kept, strict=True)
        ]
        sealed = self.log.bodies.seal(tx, contents, SEALED)
        tx.execute(
            FEEDBACK.insert(),
            [
                {
                    "index": index,
                    "request": said.request,
                    "kind": said.kind,
                    "source": source,
                    "principal": principal,
                    "time": now,
                    "contradicts": against,
                    "sealed": body,
                }
                for index, body, (_, (said, against, _)) in zip(indexes, sealed, kept, strict=True)
            ],
        )
        firsts = [
            {"request": said.request, "index": index}
            for index, (_, (said, _, first)) in zip(indexes, kept, strict=True)
            if first
        ]
        if firsts:
            tx.execute(OUTCOMES.insert(), firsts)

    def _known(self, tx: sa.Connection, requests: list[str]) -> dict[str, list[tuple[str, ...]]]:
        found: dict[str, list[tuple[str, ...]]] = {}
        wanted = list(dict.fromkeys(requests))
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            query = sa.select(FEEDBACK).where(FEEDBACK.c.request.in_(some))
            kept = set()
            for row in tx.execute(query).mappings():
                told = self._told(tx, row)
                kept.add(told.index)
                telling = _telling(told.kind, told.source, told.principal, told.value, told.note)
                found.setdefault(told.request, []).append(telling)
            older = sa.select(OUTCOMES).where(OUTCOMES.c.request.in_(some))
            for row in tx.execute(older).mappings():
                if row["index"] not in kept:  # told before feedback had a table of its own
                    told = self._older(row["request"], row["index"])
                    telling = _telling(told.kind, "", told.principal, told.value, "")
                    found.setdefault(told.request, []).append(telling)
        return found

    def _older(self, request: str, index: int) -> Told:
        entry = next(self.log.entries(index))
        return Told(
            index=index,
            request=request,
            kind="outcome",
            source="",
            principal=entry.principal,
            time=entry.time,
            contradicts=False,
            value=entry.detail["outcome"],
            note="",
        )

    def _told(self, tx: sa.Connection, row: Any) -> Told:
        value, note = None, ""
        if row["sealed"] is not None:
            _, content = self.log.bodies.open(tx, row["index"], row["sealed"], SEALED)
            value, note = msgspec.msgpack.decode(content, type=tuple[list[Any] | None, str])
        kept = {name: row[name] for name in row if name != "sealed"}
        return Told(**kept, value=value, note=note)

    def all(self, request: str | None = None) -> Iterator[Told]:
        """Everything that was told, oldest first, or what was told of one request; what was
        forgotten has neither value nor note.
        """
        with self.log.store.reading() as tx:
            query = sa.select(OUTCOMES).where(OUTCOMES.c.index.not_in(sa.select(FEEDBACK.c.index)))
            if request is not None:
                query = query.where(OUTCOMES.c.request == request)
            older = [
                (int(row["index"]), str(row["request"]))
                for row in tx.execute(query.order_by(OUTCOMES.c.index)).mappings()
            ]
        for index, one in older:
            yield self._older(one, index)
        last = -1
        while True:
            query = sa.select(FEEDBACK).where(FEEDBACK.c.index > last)
            if request is not None:
                query = query.where(FEEDBACK.c.request == request)
            with self.log.store.reading() as tx:
                rows = tx.execute(query.order_by(FEEDBACK.c.index).limit(_AT_ONCE)).mappings().all()
                found = [self._told(tx, row) for row in rows]
            yield from found
            if len(rows) < _AT_ONCE:
                return
            last = int(rows[-1]["index"])

    def contents(self) -> Iterator[tuple[int, bytes]]:
        """(log entry, value and note as JSON) of all that is kept: for who looks for a person."""
        for told in self.all():
            yield told.index, msgspec.json.encode([told.value, told.note])

    def forget(self, before: str) -> int:
        """Delete values and notes that are older than a time (ISO 8601); that something was told
        stays.
        """
        old = FEEDBACK.c.time < before, FEEDBACK.c.sealed.is_not(None)
        with self.log.store.transaction() as tx:
            return int(tx.execute(FEEDBACK.update().where(*old).values(sealed=None)).rowcount)

    def seal_anew(self) -> None:
        """Seal everything again under the newest data key."""
        last = -1
        while True:
            query = sa.select(FEEDBACK.c.index, FEEDBACK.c.sealed).where(
                FEEDBACK.c.index > last, FEEDBACK.c.sealed.is_not(None)
            )
            with self.log.store.transaction() as tx:
                rows = tx.execute(query.order_by(FEEDBACK.c.index).limit(_AT_ONCE)).all()
                for index, sealed in rows:
                    salt, content = self.log.bodies.open(tx, index, sealed, SEALED)
                    (anew,) = self.log.bodies.seal(tx, [(index, salt, content)], SEALED)
                    tx.execute(
                        FEEDBACK.update().where(FEEDBACK.c.index == index).values(sealed=anew)
                    )
            if not rows:
                return
            last = int(rows[-1][0])


def sources(told: Iterable[Told]) -> dict[str, list[Told]]:
    """What each source told, in the order in which the sources came."""
    found: dict[str, list[Told]] = {}
    for one in told:
        found.setdefault(one.who, []).append(one)
    return found
