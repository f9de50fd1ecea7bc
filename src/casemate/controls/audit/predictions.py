"""What a served model answered, as it goes into the log: one entry a group of predictions, which
commits to each of them by itself.
"""

import datetime
import hashlib
import os
import secrets
from typing import Any, Literal, NamedTuple

import msgspec
import sqlalchemy as sa

from casemate.controls.audit.entries import INDEX
from casemate.controls.audit.entry import SALT_SIZE
from casemate.controls.audit.log import AuditLog
from casemate.core.digest import sha256
from casemate.core.entry import Entry
from casemate.core.errors import ConfigError, VerificationError
from casemate.core.store import METADATA
from casemate.core.store.prepared import Prepared
from casemate.core.types import Record

GROUPS = sa.Table(
    "decision_group",
    METADATA,
    sa.Column("index", INDEX, primary_key=True, autoincrement=False),
    sa.Column("writer", sa.String, nullable=False),
    sa.Column("first", INDEX, nullable=False),
    sa.Column("last", INDEX, nullable=False),
    sa.Column("time", sa.String, nullable=False),
    sa.Column("commitments", sa.LargeBinary, nullable=False),
    sa.Column("sealed", sa.LargeBinary),
    sa.Column("inputs", sa.LargeBinary),
    sa.Index("decision_group_writer", "writer", "first"),
)
OUTCOMES = sa.Table(
    "decision_outcome",
    METADATA,
    sa.Column("request", sa.String, primary_key=True),
    sa.Column("index", INDEX, nullable=False),
)
PEOPLE = sa.Table(
    "prediction_subject",
    METADATA,
    sa.Column("subject", sa.LargeBinary, primary_key=True),
    sa.Column("index", INDEX, primary_key=True, autoincrement=False),
    sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
    sa.Index("prediction_subject_index", "index"),
    sqlite_with_rowid=False,
)
"""Whom predictions are about, by pseudonym, where their callers said so: an index of what lies
sealed in the groups.
"""
_ADD, _ADD_PEOPLE = Prepared(GROUPS.insert()), Prepared(PEOPLE.insert())
ACTION, FORGOTTEN = "model:predictions", "model:predictions-forgotten"
ERASED = "model:predictions-erased"
HASH = 32
WRITER = 12
"""Characters of a writer's name."""
PREDICTIONS, INPUTS = b"predictions", b"inputs"
MOST_OUTCOME = 24 * 1024
"""Bytes that the outcomes of a request may take: they stand in one log entry."""


class Prediction(Record, frozen=True, kw_only=True):
    """One answer, or one refusal by a guard."""

    id: str
    """Request id, as the caller got it in `x-request-id`."""
    time: float
    """When it was answered, in seconds since 1970."""
    principal: str
    """Who asked."""
    token: str
    """Id of the token or session."""
    model: str
    """`NAME@VERSION`."""
    part: Literal["live", "canary", "shadow"]
    """Why this version was asked."""
    rows: int
    """How many rows."""
    input: str
    """SHA-256 of the rows as the model saw them (`ml.frame.rows_bytes`)."""
    labels: bytes
    """Class numbers, uint16 little-endian [rows]; of a regressor the ranges of its first quantity;
    empty when refused.
    """
    probabilities: bytes
    """float32 little-endian [rows, classes]; of a regressor quantities, float64 [rows, targets];
    empty when refused.
    """
    shown: str
    """What the caller was told of it: `all`, or what `[serve.outputs]` or policy left."""
    guards: dict[str, int]
    """Rows that each guard noticed."""
    refused: str = ""
    """Code of the refusal."""
    micros: int
    """Microseconds from request to answer, without the time that it took to make this record
    durable.
    """
    trace: str = ""
    """Trace id of the caller (W3C Trace Context), or the request id that it sent."""
    people: tuple[bytes, ...] = ()
    """Whom it is about by pseudonym, 32 bytes each, where the caller said so: of every row (empty:
    not said), or one of all rows.
    """

    @property
    def moment(self) -> datetime.datetime:
        """When it was answered."""
        return datetime.datetime.fromtimestamp(self.time, datetime.UTC)


def new_writer() -> str:
    """A name for a process that numbers requests."""
    return secrets.token_hex(WRITER // 2)


def request_id(writer: str, number: int) -> str:
    """What a caller gets as `x-request-id`; `numbered` reads it."""
    return f"{writer}-{number:x}"


def numbered(identifier: str) -> tuple[str, int]:
    """(writer, number) of a request id; ConfigError when it is none."""
    writer, _, number = identifier.partition("-")
    try:
        if len(writer) != WRITER or len(number) > 12:
            raise ValueError
        return writer, int(number, 16)
    except ValueError as error:
        raise ConfigError(
            f"{identifier[:100]!r} is no request id",
            hint="it stands in the header x-request-id of the answer",
        ) from error


def nobodys(identifier: str) -> str:
    """What is said of a request that is not there, or not the asker's: the same."""
    return f"no prediction {identifier[:100]!r}"


class Committed(NamedTuple):
    """A prediction, ready for the log."""

    number: int
    """Of its request; ascending within a writer."""
    salt: bytes
    body: bytes
    """`Prediction` as JSON."""
    commitment: bytes
    rows: bytes | None
    """What it was made from, where that is kept."""
    people: tuple[bytes, ...] = ()
    """`Prediction.people`."""


class Committer:
    """Commits to predictions one by one, so that the group needs no work for each."""

    DRAWN = 256

    def __init__(self) -> None:
        self._salts = b""
        self._at = 0

    def __call__(
        self, number: int, body: bytes, rows: bytes | None, people: tuple[bytes, ...] = ()
    ) -> Committed:
        """The prediction with a salt of its own and its commitment."""
        if self._at >= len(self._salts):
            self._salts, self._at = os.urandom(SALT_SIZE * self.DRAWN), 0
        salt = self._salts[self._at : self._at + SALT_SIZE]
        self._at += SALT_SIZE
        return Committed(number, salt, body, commitment(salt, body), rows, people)


def commitment(salt: bytes, body: bytes) -> bytes:
    """SHA-256 of salt and prediction, 32 bytes."""
    return hashlib.sha256(salt + body).digest()


def append(log: AuditLog, tx: sa.Connection, writer: str, group: list[Committed]) -> int:
    """Append a group within the caller's transaction; returns the index of its entry.

    Args:
        log: the log.
        tx: a write transaction.
        writer: who numbered the requests.
        group: the predictions, ascending by number.
    """
    commitments = b"".join([one.commitment for one in group])
    first, last = group[0].number, group[-1].number
    detail = {
        "writer": writer,
        "first": first,
        "count": len(group),
        "commitments": sha256(commitments),
    }
    (index,) = log.append_many(tx, [("casemate", ACTION, "Gateway", "done", detail)])

    def seal(content: Any, kind: bytes) -> bytes:
        return log.bodies.seal(
            tx, [(index, os.urandom(SALT_SIZE), msgspec.msgpack.encode(content))], kind
        )[0]

    inputs = (
        seal([one.rows or b"" for one in group], INPUTS) if any(one.rows for one in group) else None
    )
    sealed = seal([(one.salt, one.body) for one in group], PREDICTIONS)
    row = {
        "index": index,
        "writer": writer,
        "first": first,
        "last": last,
        "time": log.clock.now().isoformat(),
    }
    _ADD(tx, [{**row, "commitments": commitments, "sealed": sealed, "inputs": inputs}])
    about = [
        {"subject": subject, "index": index, "place": place}
        for place, one in enumerate(group)
        if one.people
        for subject in set(one.people) - {b""}
    ]
    if about:
        _ADD_PEOPLE(tx, about)
    return index


def require_told(entry: Entry, row: Any) -> None:
    """The entry commits to the row beside it, and to whose predictions it holds."""
    told, here = entry.detail, row["commitments"]
    count = len(here) // HASH
    if (told["commitments"], told["writer"], told["first"], told["count"]) != (
        sha256(here),
        row["writer"],
        row["first"],
        count,
    ):
        raise VerificationError(
            f"log entry {entry.index} does not commit to the predictions beside it",
            hint="restore a backup",
        )
