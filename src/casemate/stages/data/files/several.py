"""One table in several files: the same columns in each, in the order of their names."""

import os
import stat
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NoReturn

import pyarrow as pa

from casemate.core.errors import ConfigError, DataError
from casemate.core.types import Finding
from casemate.stages.data.files.content import File, size_of

MOST = 10_000
"""Files of one table. A judgement, and what `[data] source` takes as a list: each is opened, and
its columns are compared with those of the first.
"""


def paths(where: File | Sequence[File]) -> list[File]:
    """The files, a folder's by name; what begins with a dot or an underscore is none.

    Raises:
        ConfigError: there is no such file, or none in the folder.
    """
    return [file for file, _ in located(where)]


def located(where: File | Sequence[File]) -> list[tuple[File, Sequence[str]]]:
    """The same, each with the folders that it lies in below the one that is named."""
    found: list[tuple[File, Sequence[str]]] = []
    for one in where if isinstance(where, Sequence) else [where]:
        if not isinstance(one, Path):  # it was looked for in its bucket
            found.append((one, one.folders))
        elif one.is_dir():
            inside = _inside(one)
            require_any(one, inside)
            found += [(path, path.relative_to(one).parts[:-1]) for path in inside]
        elif one.is_file():
            found.append((one, ()))
        else:
            raise ConfigError(
                f"[data] source: no such file {one}",
                hint="the path is relative to the project's folder",
            )
    if len(found) > MOST:
        raise ConfigError(f"a table of more than {MOST} files", hint="join them")
    return found


def _inside(folder: Path) -> list[Path]:
    """A folder's files by name; links to folders are followed, as those to files are.

    Raises:
        ConfigError: something in it cannot be looked at, or would be in the table twice.
    """
    found: list[Path] = []
    met: set[tuple[int, int]] = set()
    for place, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        about = os.stat(place)
        if (about.st_dev, about.st_ino) in met:
            raise ConfigError(
                f"{place} is a folder of the table already, by another name",
                hint="take the link out, so that no row is there twice",
            )
        met.add((about.st_dev, about.st_ino))
        folders[:] = [name for name in folders if not is_hidden([name])]
        for name in names:
            if is_hidden([name]):
                continue
            path = os.path.join(place, name)
            try:
                mode = os.stat(path).st_mode
            except OSError as error:
                _refuse(error)
            if stat.S_ISREG(mode):
                found.append(Path(path))
        if len(found) > MOST:
            break
    return sorted(found)


def _refuse(error: OSError) -> NoReturn:
    """What cannot be looked at may hold rows."""
    raise ConfigError(
        f"{error.filename} cannot be read: {error.strerror}",
        hint="let this user read all of the table's folder, or name its parts that are wanted",
    ) from error


def is_hidden(parts: Sequence[str]) -> bool:
    """Whether a file of a folder is none of the table's, by its name or a folder's there."""
    return any(part.startswith((".", "_")) for part in parts)


def require_any(folder: Path | str, inside: Sequence[object]) -> None:
    """ConfigError when a folder has no file of a table."""
    if not inside:
        raise ConfigError(
            f"there is no file in {folder}",
            hint="put the table's there: what begins with a dot or _ counts as none",
        )


def require_bounded(files: Sequence[File], most: int) -> None:
    """None is empty, and together they are not larger than `[data] max_bytes`."""
    total = 0
    for path in files:
        size = size_of(path)
        total += size
        if size == 0:
            raise DataError(f"{path} is empty", hint="export the table again")
    if total > most:
        what = files[0] if len(files) == 1 else f"{len(files)} files together"
        raise DataError(
            f"{what} has {total} bytes, more than [data] max_bytes",
            hint="raise max_bytes if this is intended",
        )


def read(
    files: Sequence[File], one: Callable[[int, Collection[str]], pa.Table], findings: list[Finding]
) -> pa.Table:
    """The rows of all files.

    Args:
        files: in order.
        one: reads the file at a place among them, with the columns that are to stay text.
        findings: what was told of earlier tries is taken out of it.

    Raises:
        DataError: a file has other columns than the first; the message names it.
    """
    before = len(findings)
    tables = [one(at, ()) for at in range(len(files))]
    order = tables[0].column_names
    for path, table in zip(files, tables, strict=True):
        if sorted(table.column_names) != sorted(order):
            odd = sorted({*table.column_names} ^ {*order})
            shown = ", ".join(map(repr, odd[:5]))
            raise DataError(
                f"{path} is of another table than {files[0].name}: only one of them has {shown}",
                hint="take it out, or name its columns alike",
            )
    kinds = {
        name: {str(table.schema.field(name).type) for table in tables} - {"null"} for name in order
    }
    mixed = {name for name, found in kinds.items() if "string" in found and len(found) > 1}
    if mixed:  # a file without a word in it reads as numbers what is text in the next one
        del findings[before:]
        tables = [one(at, mixed) for at in range(len(files))]
    try:
        return pa.concat_tables(
            [table.select(order) for table in tables], promote_options="permissive"
        ).combine_chunks()
    except pa.ArrowException as error:
        name = next((name for name, found in kinds.items() if len(found) > 1), "")
        raise DataError(
            f"column {name!r} is of another type in some of the files:"
            f" {', '.join(sorted(kinds[name]))}",
            hint="write it alike",
        ) from error
