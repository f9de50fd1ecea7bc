"""The rest of a table of which a declared sample was drawn, for training that goes on with it:
every row that was not drawn and is on the side of training, a piece at a time.

Which side a row is on hangs on what it is, as for drawn rows; where that leaves a doubt it is left
out. So are people of whom a drawn row is held out or left out, and rows with the same features as
such a row: nothing that is measured on is learnt from, and nothing that a person or a screen took
out comes back by a copy. A row that a person took out of another sample stays out, too. Rows are
told from drawn ones by all that they say, not by their numbers, so it does not matter which lines a
reader skips; and every drawn row must be found again.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from casemate.config import Config
from casemate.controls.keys import tables
from casemate.controls.keys.identifiers import PSEUDONYM
from casemate.controls.keys.subjects import Root
from casemate.core.errors import DataError
from casemate.core.types import Finding, Schema, SealedDataset, Sides, Whole
from casemate.ml.frame import features_of, row_hashes, target_of
from casemate.stages.data import parts, sides
from casemate.stages.data.examined import Examined
from casemate.stages.data.review import dropped, row_digests
from casemate.stages.data.tools import DataTools, Mask
from casemate.stages.data.whole import Looked

Array = np.ndarray[Any, Any]


class Rest:
    """Tells, of pieces of the whole table, which rows training may go on with."""

    def __init__(
        self,
        table: pa.Table,
        schema: Schema,
        config: Config,
        how: Sides,
        kept_out: Mask,
        root: Root,
        dropped: list[str],
    ) -> None:
        """Remember the drawn rows.

        Args:
            table: the drawn rows.
            schema: of the data set.
            config: names subject and weight.
            how: the drawn rows were divided.
            kept_out: those that are held out or left out, bool [n].
            root: what sides hang on.
            dropped: digests of rows that people took out of this sample or another.
        """
        self.root, self._dropped = root, dropped
        self._schema, self._how, self._key = schema, how, sides.key_of(root)
        self._subject, self._weight = config.data.subject, config.data.weight
        looks = row_hashes(features_of(table, schema))
        values, counts = np.unique(self._rows(table, looks), return_counts=True)
        self._drawn = values
        self._left = dict(zip(values.tolist(), counts.tolist(), strict=True))
        self._out = np.unique(looks[kept_out])
        self._people = None
        if self._subject is not None:
            self._people = pc.unique(table[self._subject].filter(pa.array(kept_out)))

    @property
    def columns(self) -> list[str]:
        """What training needs of a row."""
        named = [*(column.name for column in self._schema.features), *self._schema.targets]
        return named if self._weight is None else [*named, self._weight]

    def of(self, piece: pa.Table) -> pa.Table:
        """Those rows of the next piece that training may go on with, all columns of them."""
        frame = features_of(piece, self._schema)
        looks = row_hashes(frame)
        kept = self._undrawn(self._rows(piece, looks))
        kept &= ~np.isin(looks, self._out)
        if self._dropped:
            kept &= ~self._taken_out(piece, frame)
        if self._subject is not None:
            people = piece[self._subject]
            kept &= ~np.asarray(pc.is_in(people, self._people))
            place = sides.places(self._key, frame, people)
        else:
            place = sides.alone(self._key, frame[self._how.by])
        return piece.filter(pa.array(kept & sides.beyond(self._how, place)))

    def require_found(self) -> None:
        """After the last piece: DataError when a drawn row was not among them."""
        lost = sum(self._left.values())
        if lost:
            raise DataError(
                f"{lost} of the drawn rows were not found again among all rows",
                hint=(
                    "they read otherwise there, so that which rows are others is not known: declare"
                    ' the type of each column in [data.columns], or set [train] rows = "sample"'
                ),
            )

    def _undrawn(self, rows: Array) -> Mask:
        """Rows that were not drawn, bool [n]; of equal ones so many are taken away as were."""
        kept = np.ones(len(rows), dtype=bool)
        for at in np.flatnonzero(np.isin(rows, self._drawn)).tolist():
            value = int(rows[at])
            if self._left[value]:
                self._left[value] -= 1
                kept[at] = False
        return kept

    def _taken_out(self, piece: pa.Table, frame: pd.DataFrame) -> Mask:
        """Rows that are like one that a person took out, bool [n]."""
        target = target_of(piece, self._schema)
        _, first, of_row = np.unique(
            row_hashes(frame, target), return_index=True, return_inverse=True
        )
        digests = row_digests(frame, target, self.root.pseudonyms, first)
        return np.asarray(np.isin(digests, self._dropped)[of_row])

    def _rows(self, table: pa.Table, looks: Array) -> Array:
        """A hash of all that a row says to training, and of whom, uint64 [n]."""
        more = [*self._schema.targets, *filter(None, [self._weight, self._subject])]
        told = pd.DataFrame({at: _cells(table[name]) for at, name in enumerate(more)})
        rest = pd.util.hash_pandas_object(told, index=False, categorize=True).to_numpy()
        return np.asarray(looks + rest * np.uint64(0x9E3779B97F4A7C15))


def _cells(values: pa.ChunkedArray) -> Array:
    kind = pa.float64() if pa.types.is_floating(values.type) else pa.string()
    return np.asarray(pc.cast(values, kind).to_numpy(zero_copy_only=False))


def of(
    tools: DataTools, found: Examined, before: Any
) -> tuple[Whole | None, tuple[Iterator[pa.Table], pa.Schema] | None]:
    """(what is to be recorded of the whole table; where training is to go on with the rest of it,
    its rows in the columns that training needs, with people as pseudonyms, and their schema).

    Args:
        tools: the stage's.
        found: in the drawn rows.
        before: the source's stamp when it was read first.
    """
    looked, options = found.looked, tools.config.data
    if looked is None or tools.config.train.rows == "sample":
        return None if looked is None else looked.whole, None
    table = found.table.slice(0, looked.drawn)  # without rows of feedback
    kept_out = (found.holdout | found.excluded)[: looked.drawn]
    rest = Rest(
        table,
        found.schema,
        tools.config,
        found.sides,
        kept_out,
        found.root,
        dropped(tools.reviews),
    )
    schema = pa.schema([table.schema.field(name).remove_metadata() for name in rest.columns])
    whole = schema
    if options.subject is not None:
        whole = schema.append(pa.field(PSEUDONYM, pa.binary(32)))
    return msgspec.structs.replace(looked.whole, rest=0), (
        _sealed(tools, rest, looked, (schema, whole), before),
        whole,
    )


def _sealed(
    tools: DataTools,
    rest: Rest,
    looked: Looked,
    schemas: tuple[pa.Schema, pa.Schema],
    before: Any,
) -> Iterator[pa.Table]:
    options, (plain, whole), done = tools.config.data, schemas, 0
    for piece in looked.again():
        tools.progress("sealing rows beside the sample", done, looked.whole.rows)
        done += piece.num_rows
        kept = rest.of(piece)
        if not kept.num_rows:
            continue
        rows = kept.select(rest.columns).cast(plain)
        if options.subject is not None:
            people = kept.select([options.subject])
            whose = tools.identifiers.seal(people, options.subject, [], rest.root)
            rows = rows.append_column(whole.field(PSEUDONYM), whose[PSEUDONYM])
        yield rows
    rest.require_found()
    tools.require_unchanged(before)  # among these and the drawn rows there is none of another file


def counted(tools: DataTools, record: SealedDataset) -> SealedDataset:
    """The record with how many rows were sealed beside the drawn ones, and whose rows these and
    those are in the index.
    """
    folder, verifier = parts.folder_of(tools, record), tools.signer.verifier
    if record.subject is not None:
        people = tables.column(folder, tools.keys, verifier, PSEUDONYM)
        tools.identifiers.rows.note(record.name, record.version, people)
    target = [record.schema.target]
    pieces = tables.scan(folder, tools.keys, verifier, target, kind=tables.REST)
    count = sum(piece.num_rows for piece in pieces)
    whole = None if record.whole is None else msgspec.structs.replace(record.whole, rest=count)
    return msgspec.structs.replace(record, whole=whole, findings=[*record.findings, told(count)])


def told(count: int) -> Finding:
    """That so many rows are learnt from of which less is known."""
    return Finding(
        id="data.unscreened",
        severity="medium",
        confidence="high",
        message=(
            f"{count} rows beside the drawn ones are learnt from ([train] rows): held against"
            " types, limits and rules, but not looked at for copies of each other, wrong labels,"
            " planted triggers or leaks"
        ),
    )
