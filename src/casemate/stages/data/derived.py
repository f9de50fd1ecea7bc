"""Features that are made of one column, row by row: calendar parts of a time, the mark of a
censored number, hashed words of a text.

Nothing is learnt here, so a row gives the same features at training, assessment and serving; what
they are made of stands in `[data.columns]`. A model takes the made features as numbers, which every
estimator and ONNX hold.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from casemate.config import ColumnTable, DataTable
from casemate.core.errors import ConfigError, DataError
from casemate.stages.data import notation

WORDS = 16
"""Hashed words a text column: enough to tell frequent words apart, few enough for small tables
(Weinberger et al., Feature hashing for large scale multitask learning, 2009).
"""
_APART = r"[^\pL\pN_]+"
LIMITS = {
    "month": (1.0, 12.0),
    "weekday": (0.0, 6.0),
    "hour": (0.0, 23.0),
    "censored": (-1.0, 1.0),
    "words": (0.0, 1.0),
}
"""What a part can be, whatever the data shows."""


def _made(options: DataTable, names: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """(name, what it is made of, part) of every feature that `[data.columns]` asks for."""
    for source in names:
        said = options.column(source)
        if source in options.targets or options.identifies(source):
            continue
        if said.censored:
            yield f"{source}_censored", source, "censored"
        for part in said.parts:
            for name in (
                [f"{source}_word{place:02d}" for place in range(WORDS)]
                if part == "words"
                else [f"{source}_{part}"]
            ):
                yield name, source, part


def names(options: DataTable, columns: Sequence[str]) -> list[str]:
    """What the features made of `columns` are called, in order."""
    return [name for name, _, _ in _made(options, columns)]


def declared(options: DataTable, columns: Sequence[str]) -> DataTable:
    """`options` with an entry for every made feature: its column's class, and the limits that its
    part has by nature.

    What `[data.columns]` says of a made feature itself goes before.
    """
    known = dict(options.columns)
    for name, source, part in _made(options, columns):
        said, origin = options.column(name), options.column(source)
        low, high = LIMITS.get(part, (None, None))
        known[name] = msgspec.structs.replace(
            said,
            column_class=said.column_class or origin.column_class,
            type="number",
            use=origin.use if said.use is None else said.use,
            min=low if said.min is None else said.min,
            max=high if said.max is None else said.max,
            parts=[],
        )
    return msgspec.structs.replace(options, columns=known)


def origins(options: DataTable, columns: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Made feature -> (what it is made of, part)."""
    return {name: (source, part) for name, source, part in _made(options, columns)}


def add(table: pa.Table, options: DataTable, written: dict[str, pa.ChunkedArray]) -> pa.Table:
    """`table` with the made features at its end.

    Args:
        table: typed columns.
        options: the `[data]` table.
        written: cells as text of the columns that are `censored`.

    Raises:
        ConfigError: `since` names no time column.
        DataError: the table has a column of a made feature's name.
    """
    columns = table.column_names
    for name, source, part in _made(options, columns):
        if name in columns:
            raise DataError(
                f"the table has a column {name!r}, which is what the {part} of {source!r} is"
                " called",
                hint="rename it",
            )
        if part == "censored":
            made = notation.flags(written[source])
        elif part == "words":
            if name.endswith("00"):
                words = _words(table[source])
            made = words[int(name[-2:])]
        else:
            made = _calendar(table, source, part, options.column(source))
        table = table.append_column(name, made)
    return table


def _calendar(table: pa.Table, source: str, part: str, said: ColumnTable) -> pa.ChunkedArray:
    times = table[source]
    if not pa.types.is_temporal(times.type):
        raise ConfigError(
            f"[data.columns] {source}: parts are made of times, and it is none",
            hint='type = "time"',
        )
    times = times.cast(pa.timestamp("us"))
    if part == "days":
        return pc.divide(
            pc.subtract(_since(table, source, said).cast(pa.int64()), times.cast(pa.int64())).cast(
                pa.float64(), safe=False
            ),  # 9999-12-31 has more microseconds than a float64 has digits
            86_400e6,
        )
    parts = {"year": pc.year, "month": pc.month, "weekday": pc.day_of_week, "hour": pc.hour}
    return parts[part](times).cast(pa.float64())


def _since(table: pa.Table, source: str, said: ColumnTable) -> Any:
    """The time that days are counted to: a column's, or one for all rows."""
    if said.since in table.column_names and pa.types.is_temporal(table[said.since].type):
        return table[said.since].cast(pa.timestamp("us"))
    try:
        return pa.scalar(said.since, pa.string()).cast(pa.timestamp("us"))
    except pa.ArrowInvalid as error:
        raise ConfigError(
            f"[data.columns] {source}: since = {said.since!r} is no time column and no date",
            hint="such as 2026-01-31",
        ) from error


def _words(values: pa.ChunkedArray) -> list[pa.Array]:
    """Whether a cell has a word with each hash: float64 0 or 1, one array [n] a hash."""
    cells = _joined(pc.utf8_lower(pc.fill_null(values.cast(pa.string()), "")))
    split = pc.split_pattern_regex(cells, _APART)
    places, words = pc.list_parent_indices(split), pc.list_flatten(split)
    coded = _joined(words).dictionary_encode()
    known = coded.dictionary.to_pylist()
    hashes = np.array(
        [
            int(hashlib.blake2b(word.encode(), digest_size=8).hexdigest(), 16) % WORDS
            for word in known
        ],
        dtype=np.int64,
    )
    found = np.zeros((len(values), WORDS))
    written = np.array([bool(word) for word in known], dtype=bool)[coded.indices.to_numpy()]
    found[_joined(places).to_numpy()[written], hashes[coded.indices.to_numpy()][written]] = 1.0
    return [pa.array(found[:, place]) for place in range(WORDS)]


def _joined(values: Any) -> Any:
    return pa.concat_arrays(values.chunks) if isinstance(values, pa.ChunkedArray) else values
