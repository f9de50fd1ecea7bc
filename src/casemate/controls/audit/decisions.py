"""What a served model answered, to whom: one log entry a group of predictions, which commits to
each of them by itself.

The entry holds the SHA-256 of the group's commitments; a commitment is SHA-256(salt || prediction).
The predictions lie sealed beside it, so one of them can be shown to somebody without the others,
and deleted after its time while the log still verifies.
"""

import bisect
import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from casemate.controls.audit import verifying
from casemate.controls.audit.log import AuditLog
from casemate.controls.audit.predictions import (
    ACTION,
    FORGOTTEN,
    GROUPS,
    HASH,
    INPUTS,
    OUTCOMES,
    PEOPLE,
    PREDICTIONS,
    Prediction,
    commitment,
    nobodys,
    numbered,
    require_told,
)
from casemate.core.errors import ConfigError, VerificationError

_BATCH = 200
_FEW = 8
"""Groups whose predictions are in memory at once: each has thousands under load."""


@dataclass(frozen=True)
class Group:
    """Predictions that were recorded together."""

    index: int
    """Their log entry."""
    bodies: list[bytes]
    """`Prediction` as JSON each, verified."""


class Decisions:
    """Reading predictions back, and forgetting them."""

    def __init__(self, log: AuditLog) -> None:
        self.log = log

    def find(self, identifier: str) -> tuple[Prediction, bytes | None]:
        """(prediction, its rows where they were kept) of a request id: what the caller was
        answered, not what a shadow said beside it.

        Raises:
            ConfigError: there is none, or its time is over. VerificationError: it is not what the
                log committed to.
        """
        writer, number = numbered(identifier)
        near = (GROUPS.c.writer == writer, GROUPS.c.first <= number, GROUPS.c.last >= number)
        with self.log.store.reading() as tx:
            over = False
            for row in tx.execute(sa.select(GROUPS).where(*near)).mappings().all():
                predictions = self.opened(tx, row)
                over |= not predictions
                for place, (_, body) in enumerate(predictions):
                    over |= not body
                    prediction = None if not body else msgspec.json.decode(body, type=Prediction)
                    if prediction is None or prediction.id != identifier:
                        continue
                    if prediction.part != "shadow":
                        self._require_committed(row)
                        return prediction, self._inputs(tx, row, place)
        raise ConfigError(
            nobodys(identifier) + (" is kept any more" if over else ""),
            hint=(
                "[serve] keep_days says how long they are kept, and an erasure takes them out"
                if over
                else "only calls to infer have one; see x-request-id"
            ),
        )

    def newest(self, count: int) -> Iterator[Prediction]:
        """The last predictions, newest first."""
        query = (
            sa.select(GROUPS).where(GROUPS.c.sealed.is_not(None)).order_by(GROUPS.c.index.desc())
        )
        start = None
        while count > 0:
            with self.log.store.reading() as tx:
                rows = (
                    tx.execute(
                        (query if start is None else query.where(GROUPS.c.index < start)).limit(
                            _BATCH
                        )
                    )
                    .mappings()
                    .all()
                )
                groups = [self.opened(tx, row) for row in rows]
            for group in groups:
                for _, body in reversed(group):
                    if not body:
                        continue
                    yield msgspec.json.decode(body, type=Prediction)
                    count -= 1
                    if not count:
                        return
            if not rows:
                return
            start = int(rows[-1]["index"])

    def groups(self, after: int, until: int | None = None) -> Iterator[Group]:
        """Every group of predictions behind a log entry, oldest first; a group that was forgotten
        has none.

        Args:
            after: index of a log entry.
            until: the last entry to look at; None: to the end.

        Raises:
            VerificationError: they were changed.
        """
        query = sa.select(GROUPS).order_by(GROUPS.c.index).limit(_FEW)
        if until is not None:
            query = query.where(GROUPS.c.index <= until)
        while True:
            with self.log.store.reading() as tx:
                rows = tx.execute(query.where(GROUPS.c.index > after)).mappings().all()
                found = [
                    Group(row["index"], [body for _, body in self.opened(tx, row) if body])
                    for row in rows
                ]
            yield from found
            if len(rows) < _FEW:
                return
            after = int(rows[-1]["index"])

    def between(self, since: str, until: str) -> Iterator[tuple[bytes, bytes | None]]:
        """(prediction as JSON, its rows where they were kept) of groups that were recorded in a
        stretch of time, verified.

        Args:
            since: ISO 8601.
            until: the same, exclusive.
        """
        last = -1
        query = sa.select(GROUPS).where(GROUPS.c.time >= since, GROUPS.c.time < until)
        query = query.order_by(GROUPS.c.index).limit(_FEW)
        while True:
            with self.log.store.reading() as tx:
                rows = tx.execute(query.where(GROUPS.c.index > last)).mappings().all()
                found = [
                    (body, None if inputs is None else inputs[place])
                    for row in rows
                    for inputs in [self._all_inputs(tx, row)]
                    for place, (_, body) in enumerate(self.opened(tx, row))
                    if body
                ]
            yield from found
            if len(rows) < _FEW:
                return
            last = int(rows[-1]["index"])

    def chosen(self, identifiers: Iterable[str]) -> Iterator[tuple[Prediction, bytes | None]]:
        """(prediction, its rows where they were kept) of those requests that are known, each group
        opened once; identifiers that are none are passed over.

        Raises:
            VerificationError: a prediction is not what the log committed to.
        """
        wanted: dict[str, dict[int, str]] = {}
        for identifier in identifiers:
            with contextlib.suppress(ConfigError):
                writer, number = numbered(identifier)
                wanted.setdefault(writer, {})[number] = identifier
        for writer, numbers in wanted.items():
            ordered, after = sorted(numbers), -1
            query = sa.select(GROUPS).where(
                GROUPS.c.writer == writer,
                GROUPS.c.last >= ordered[0],
                GROUPS.c.first <= ordered[-1],
            )
            query, names = query.order_by(GROUPS.c.index).limit(_FEW), set(numbers.values())
            while True:
                with self.log.store.reading() as tx:
                    rows = tx.execute(query.where(GROUPS.c.index > after)).mappings().all()
                    found = [one for row in rows for one in self._among(tx, row, ordered, names)]
                yield from found
                if len(rows) < _FEW:
                    break
                after = int(rows[-1]["index"])

    def _among(
        self, tx: sa.Connection, row: Any, ordered: list[int], names: set[str]
    ) -> list[tuple[Prediction, bytes | None]]:
        """Those of a group that are called `names`, where its numbers can hold one of `ordered`."""
        place = bisect.bisect_left(ordered, row["first"])
        if place == len(ordered) or ordered[place] > row["last"]:
            return []
        self._require_committed(row)
        inputs, found = self._all_inputs(tx, row), []
        for number, (_, body) in enumerate(self.opened(tx, row)):
            if not body:
                continue
            prediction = msgspec.json.decode(body, type=Prediction)
            if prediction.id in names and prediction.part != "shadow":
                found.append((prediction, None if inputs is None else inputs[number] or None))
        return found

    def contents(self) -> Iterator[tuple[int, bytes]]:
        """(log entry, what is kept beside it, decrypted): every prediction, and every request's
        rows where they were kept.
        """
        with self.log.store.reading() as tx:
            for row in tx.execute(sa.select(GROUPS).order_by(GROUPS.c.index)).mappings():
                yield from ((row["index"], body) for _, body in self.opened(tx, row))
                if row["inputs"] is not None:
                    _, content = self.log.bodies.open(tx, row["index"], row["inputs"], INPUTS)
                    yield from (
                        (row["index"], rows)
                        for rows in msgspec.msgpack.decode(content, type=list[bytes])
                    )

    def check(self) -> int:
        """Verify the log's groups and what lies beside them; returns how many predictions there
        are.

        Raises:
            VerificationError: predictions were changed, or removed before anybody forgot them.
        """
        return verifying.check(self.log, self.opened)

    def forget(self, predictions_before: str, inputs_before: str) -> int:
        """Delete predictions, and the rows kept with them, that are older than these times (ISO
        8601); returns how many groups changed.

        The commitments stay, so that the log still verifies, and it says that they were forgotten.
        What is too old is looked for without a lock and deleted in small steps, so that nobody's
        prediction waits for it.
        """
        changed = 0
        for column, before in (
            (GROUPS.c.inputs, inputs_before),
            (GROUPS.c.sealed, predictions_before),
        ):
            last = -1
            while True:
                old = sa.select(GROUPS.c.index).where(
                    GROUPS.c.index > last, GROUPS.c.time < before, column.is_not(None)
                )
                with self.log.store.reading() as tx:
                    indexes = list(tx.execute(old.order_by(GROUPS.c.index).limit(_BATCH)).scalars())
                if not indexes:
                    break
                with self.log.store.transaction() as tx:
                    if not changed:  # first, so that nothing is ever gone without a word
                        detail = {"predictions": predictions_before, "inputs": inputs_before}
                        self.log.append(tx, "casemate", FORGOTTEN, "Gateway", "done", detail)
                    gone = (
                        {"inputs": None}
                        if column is GROUPS.c.inputs
                        else {"inputs": None, "sealed": None}
                    )
                    tx.execute(GROUPS.update().where(GROUPS.c.index.in_(indexes)).values(**gone))
                    if column is GROUPS.c.sealed:
                        tx.execute(PEOPLE.delete().where(PEOPLE.c.index.in_(indexes)))
                changed, last = changed + len(indexes), indexes[-1]
        return changed

    def seal_anew(self) -> None:
        """Seal everything again under the newest data key."""
        start = -1
        while True:
            with self.log.store.transaction() as tx:
                rows = (
                    tx.execute(
                        sa.select(GROUPS)
                        .where(GROUPS.c.index > start)
                        .order_by(GROUPS.c.index)
                        .limit(_BATCH)
                    )
                    .mappings()
                    .all()
                )
                for row in rows:
                    kinds = {"sealed": PREDICTIONS, "inputs": INPUTS}
                    anew = {
                        name: self._sealed_anew(tx, row["index"], row[name], kind)
                        for name, kind in kinds.items()
                        if row[name] is not None
                    }
                    if anew:
                        tx.execute(
                            GROUPS.update().where(GROUPS.c.index == row["index"]).values(**anew)
                        )
            if not rows:
                return
            start = int(rows[-1]["index"])

    def _sealed_anew(self, tx: sa.Connection, index: int, sealed: bytes, kind: bytes) -> bytes:
        salt, content = self.log.bodies.open(tx, index, sealed, kind)
        return self.log.bodies.seal(tx, [(index, salt, content)], kind)[0]

    def outcome(self, identifier: str) -> Any | None:
        """What really was, as `feedback` told; None when nobody has."""
        with self.log.store.reading() as tx:
            index = tx.execute(
                sa.select(OUTCOMES.c.index).where(OUTCOMES.c.request == identifier)
            ).scalar()
        return None if index is None else next(self.log.entries(index)).detail["outcome"]

    def opened(self, tx: sa.Connection, row: Any) -> list[tuple[bytes, bytes]]:
        """(salt, prediction as JSON), in the order of the commitments, both empty of one that an
        erasure took out; nothing when their time is over.
        """
        if row["sealed"] is None:
            return []
        _, content = self.log.bodies.open(tx, row["index"], row["sealed"], PREDICTIONS)
        predictions = msgspec.msgpack.decode(content, type=list[tuple[bytes, bytes]])
        made = b"".join(
            commitment(salt, body) if body else row["commitments"][place * HASH :][:HASH]
            for place, (salt, body) in enumerate(predictions)
        )
        if made != row["commitments"]:
            raise VerificationError(
                f"predictions of log entry {row['index']} were changed after they were written",
                hint="restore a backup",
            )
        return predictions

    def _inputs(self, tx: sa.Connection, row: Any, place: int) -> bytes | None:
        inputs = self._all_inputs(tx, row)
        return None if inputs is None else inputs[place]

    def _all_inputs(self, tx: sa.Connection, row: Any) -> list[bytes] | None:
        """The rows of each prediction of a group; None where they are not kept."""
        if row["inputs"] is None:
            return None
        _, content = self.log.bodies.open(tx, row["index"], row["inputs"], INPUTS)
        return msgspec.msgpack.decode(content, type=list[bytes])

    def _require_committed(self, row: Any) -> None:
        entry = next(self.log.entries(row["index"]), None)
        if entry is None or entry.action != ACTION:
            raise VerificationError(
                f"log entry {row['index']} does not commit to the predictions beside it",
                hint="restore a backup",
            )
        require_told(entry, row)
