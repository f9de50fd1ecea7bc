"""Columns that a table in several files keeps in the names of folders, `year=2024/month=01/`, as
Hive, Spark and Dask write it: https://arrow.apache.org/docs/python/dataset.html.
"""

import re
from collections.abc import Callable, Sequence
from urllib.parse import unquote

import pyarrow as pa

from casemate.core.errors import DataError
from casemate.stages.data.files import naming, several
from casemate.stages.data.files.content import File

MISSING = "__HIVE_DEFAULT_PARTITION__"
"""What Hive writes in the place of a missing value."""
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})")
"""What is a number in all folders is one; `01` is not."""


class Partitions:
    """What the names of folders say of each file's rows."""

    def __init__(self, files: Sequence[tuple[File, Sequence[str]]]) -> None:
        """Read the names.

        Args:
            files: each with the folders that it lies in, below the table's own.

        Raises:
            DataError: not every file lies in folders of the same columns, or a column has no name.
        """
        self._said = [_said(folders) for _, folders in files]
        self.names = list(self._said[0]) if self._said else []
        for (file, _), said in zip(files, self._said, strict=True):
            if list(said) != self.names:
                first = files[0][0]
                raise DataError(
                    f"{file} and {first} lie in folders that name other columns:"
                    f" {_shown(said)} and {_shown(self.names)}",
                    hint="bring the files into folders alike, or write the columns into the files",
                )
        self._numbers = {
            name
            for name in self.names
            if all(said[name] is None or _WHOLE.fullmatch(said[name] or "") for said in self._said)
            and any(said[name] is not None for said in self._said)
        }

    def of(self, at: int) -> tuple[tuple[str, str | None], ...]:
        """(name, value) by column, of the file at a place."""
        return tuple(self._said[at].items())

    def added(self, table: pa.Table, at: int, file: File, kept: Callable[[str], bool]) -> pa.Table:
        """The rows of the file at a place with these columns behind its own.

        Args:
            table: what the file holds.
            at: its place among the files.
            file: for the words of a refusal.
            kept: whether a column's cells are kept letter by letter.

        Raises:
            DataError: the file has such a column itself.
        """
        for name, value in self.of(at):
            if name in table.column_names:
                raise DataError(
                    f"{name!r} is a column of {file}, and one in the names of its folders",
                    hint="rename the folders, so that it is known which of them counts",
                )
            number = name in self._numbers and not kept(name)
            kind = pa.int64() if number else pa.string()
            cell = pa.scalar(int(value) if number and value is not None else value, kind)
            table = table.append_column(name, pa.repeat(cell, table.num_rows))
        return table


def parted(where: File | Sequence[File]) -> tuple[list[File], Partitions]:
    """(the files of a table, what the names of their folders say); see `several.paths`."""
    located = several.located(where)
    return [file for file, _ in located], Partitions(located)


def _said(folders: Sequence[str]) -> dict[str, str | None]:
    """Column -> value of the folders that name any."""
    found: dict[str, str | None] = {}
    for name, divider, value in (folder.partition("=") for folder in folders):
        if not divider:
            continue
        known = naming.cleaned([unquote(name)])[0]
        if not unquote(name).strip() or known in found:
            raise DataError(
                f"the folders {'/'.join(folders)} name no column, or one of them twice",
                hint="name them COLUMN=VALUE, each column once",
            )
        found[known] = None if value == MISSING else unquote(value)
    return found


def _shown(names: Sequence[str] | dict[str, str | None]) -> str:
    return ", ".join(map(repr, names)) or "none"
