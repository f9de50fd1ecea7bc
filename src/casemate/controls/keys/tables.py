"""Sealed tables: Parquet Modular Encryption with column keys, and a signed manifest over the files.

A sealed version is a folder `.casemate/datasets/<name>/<version>/` with `part-00000.parquet` and so
on, their key material (`_KEY_MATERIAL_FOR_part-00000.parquet.json`, wrapped data keys only) and
`manifest.dsse.json`, an in-toto statement with the SHA-256 of each data file. Parquet encryption
catches changed bytes; the manifest catches whole-file swaps. `rest-00000.parquet` and so on, where
there are any, hold rows that training goes on with after those of the parts, in the columns that it
needs; they are read in pieces only.
Spec: https://parquet.apache.org/docs/file-format/data-pages/encryption/

The configuration of Parquet encryption is one text in which `,` `:` `;` divide and blanks at ends
are no part of a name. A column whose name it cannot hold is stored under another one, and the
footer, which is encrypted too, says which is which.
"""

import base64
import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe

from casemate.controls.keys import manifests
from casemate.controls.keys.interface import KeyProvider
from casemate.controls.keys.manifests import MANIFEST, PREDICATE
from casemate.controls.keys.parquet import (
    LOCAL,
    decryption,
    factory_of,
    named,
    outward,
    parquet_writer,
    stored_as,
)
from casemate.core.digest import sha256_file
from casemate.core.errors import DataError, Error, VerificationError
from casemate.core.files import (
    exchange,
    fsync_tree,
    make_folder,
    scratch_folder,
    whole_folder,
    write_atomic,
)
from casemate.core.signatures import Signer, Verifier

PART = "part-00000.parquet"
ROWS, REST = "part", "rest"
"""How names of files begin: of the version's rows, and of those that training goes on with."""
PART_ROWS = 8 * 1024 * 1024


class _Material(msgspec.Struct):
    """What is read of an entry of the key material (its names are the format's)."""

    masterKeyID: str  # noqa: N815
    wrappedDEK: str  # noqa: N815
    doubleWrapping: bool = False  # noqa: N815
    wrappedKEK: str = ""  # noqa: N815


def seal(
    table: pa.Table,
    folder: Path,
    keys: KeyProvider,
    signer: Signer,
    classes: dict[str, str],
    about: dict[str, Any],
    *,
    extends: Path | None = None,
    rest: tuple[Iterable[pa.Table], pa.Schema] | None = None,
) -> None:
    """Write `table` sealed and signed as `folder`; see `seal_stream`."""
    seal_stream(
        [table], table.schema, folder, keys, signer, classes, about, extends=extends, rest=rest
    )


def seal_stream(
    pieces: Iterable[pa.Table | pa.RecordBatch],
    schema: pa.Schema,
    folder: Path,
    keys: KeyProvider,
    signer: Signer,
    classes: dict[str, str],
    about: dict[str, Any],
    *,
    part_rows: int = PART_ROWS,
    extends: Path | None = None,
    rest: tuple[Iterable[pa.Table], pa.Schema] | None = None,
) -> None:
    """Write rows of any number sealed and signed as `folder`, which appears whole or not at all, in
    constant memory.

    Args:
        pieces: the rows, piece by piece, each of the given schema.
        schema: of every piece.
        folder: the version's folder; an existing intact one is kept, a damaged one replaced.
        keys: wraps the data keys, three for every part.
        signer: signs the manifest.
        classes: column class per column name; every column must be listed, none is left in clear.
        about: what the manifest says beside the digests.
        part_rows: rows after which the next file begins.
        extends: an older version with the same columns whose rows come first; its files are shared,
            not copied.
        rest: rows that training goes on with, piece by piece, and their columns.

    Raises:
        VerificationError: the older version does not verify. DataError: a piece or the older
            version has other columns.
    """
    if folder.exists():
        with contextlib.suppress(VerificationError):
            if manifests.check(folder, signer.verifier).get("version") == about["version"]:
                return
        shutil.rmtree(folder)
    with whole_folder(folder) as draft:
        subjects = {} if extends is None else _share(extends, draft, keys, signer.verifier, schema)
        subjects |= _write_parts(draft, len(subjects), pieces, schema, keys, classes, part_rows)
        if rest is not None:
            subjects |= _write_parts(draft, 0, *rest, keys, classes, part_rows, REST)
        write_atomic(draft / MANIFEST, signer.sign_statement(subjects, PREDICATE, about))


def _share(
    older: Path, draft: Path, keys: KeyProvider, verifier: Verifier, schema: pa.Schema
) -> dict[str, str]:
    """Take the files of an older version over; key material is replaced by rotation, never changed,
    so it may be shared too.
    """
    _, subjects = manifests.verified(older, verifier)
    first = next(iter(sorted(subjects)))
    with pq.ParquetFile(
        older / first, decryption_properties=decryption(older, first, keys)
    ) as file:
        if not outward(file.schema_arrow).equals(schema):
            raise DataError(
                f"the rows have other columns or types than {older.parent.name}@{older.name}",
                hint="seal them as a version of their own",
            )
    for name in subjects:
        for path in (older / name, older / f"_KEY_MATERIAL_FOR_{name}.json"):
            os.link(path, draft / path.name)
    return subjects


def _write_parts(
    draft: Path,
    first: int,
    pieces: Iterable[Any],
    schema: pa.Schema,
    keys: KeyProvider,
    classes: dict[str, str],
    part_rows: int,
    kind: str = ROWS,
) -> dict[str, str]:
    """Write parts from number `first` on; name -> SHA-256. Without any row one empty part says what
    the columns are.
    """
    names: list[str] = []
    with contextlib.ExitStack() as stack:
        write: Any = None
        room = 0

        def begin() -> None:
            nonlocal write, room
            stack.close()
            names.append(f"{kind}-{first + len(names):05d}.parquet")
            write, room = (
                stack.enter_context(parquet_writer(draft / names[-1], schema, keys, classes)),
                part_rows,
            )

        for piece in pieces:
            rows = piece if isinstance(piece, pa.Table) else pa.Table.from_batches([piece])
            if not rows.schema.equals(schema):
                raise DataError(
                    "a piece has other columns or types than the first one",
                    hint="bring all pieces into one schema",
                )
            while rows.num_rows:
                if room == 0:
                    begin()
                taken = min(room, rows.num_rows)
                write(rows.slice(0, taken))
                rows, room = rows.slice(taken), room - taken
        if first + len(names) == 0:
            begin()
    return {name: sha256_file(draft / name) for name in names}


def wrapped_keys(folder: Path) -> list[tuple[str, bytes]]:
    """(purpose, wrapped key) of everything in a sealed version's key material; VerificationError
    when it is damaged.
    """
    found = []
    for path in sorted(folder.glob("_KEY_MATERIAL_FOR_*.json")):
        try:
            for text in msgspec.json.decode(path.read_bytes(), type=dict[str, str]).values():
                item = msgspec.json.decode(text, type=_Material)
                found.append(
                    (
                        item.masterKeyID,
                        base64.b64decode(
                            item.wrappedKEK if item.doubleWrapping else item.wrappedDEK
                        ),
                    )
                )
        except ValueError as error:
            raise VerificationError(
                f"the key material {path} was changed", hint="restore it from a backup"
            ) from error
    return found


def rewrap(folder: Path, keys: KeyProvider) -> None:
    """Wrap a sealed version's keys under the active versions; no data file is touched. Each key
    file is replaced atomically.
    """
    for path in sorted(folder.glob("_KEY_MATERIAL_FOR_*.json")):
        with scratch_folder(folder.parent) as scratch:
            (scratch / path.name).write_bytes(path.read_bytes())
            part = scratch / path.name.removeprefix("_KEY_MATERIAL_FOR_").removesuffix(".json")
            factory_of(keys, folder).rotate_master_keys(
                pe.KmsConnectionConfig(), str(part), LOCAL, double_wrapping=True
            )
            write_atomic(path, (scratch / path.name).read_bytes())


def columns_of(folder: Path, keys: KeyProvider, verifier: Verifier, kind: str = ROWS) -> pa.Schema:
    """Names, types and metadata of a sealed version's columns, of a kind of rows that it has;
    VerificationError when it was changed.
    """
    first = min(_own(folder, verifier, kind))
    with (
        _explained(folder),
        pq.ParquetFile(
            folder / first, decryption_properties=decryption(folder, first, keys)
        ) as file,
    ):
        return outward(file.schema_arrow)


def seal_anew(
    folder: Path,
    keys: KeyProvider,
    signer: Signer,
    classes: dict[str, str],
    change: Callable[[pa.Table], pa.Table] = lambda rows: rows,
) -> None:
    """Encrypt a sealed version under new data keys, for when the old ones may be known; row group
    by row group.

    Args:
        folder: a sealed version; it is replaced as a whole.
        keys: unwraps the old data keys and wraps the new ones.
        signer: signs the new manifest.
        classes: column class per column name.
        change: what becomes of the rows of a group; their number and schema must stay.
    """
    about = manifests.check(folder, signer.verifier)
    with scratch_folder(folder.parent) as scratch:
        draft = make_folder(scratch / folder.parent.name / folder.name)
        for name in sorted(path.name for path in folder.glob("*.parquet")):
            with (
                pq.ParquetFile(
                    folder / name, decryption_properties=decryption(folder, name, keys)
                ) as file,
                parquet_writer(draft / name, outward(file.schema_arrow), keys, classes) as write,
            ):
                for number in range(file.num_row_groups):
                    write(change(named(file.read_row_group(number))))
        subjects = {path.name: sha256_file(path) for path in draft.glob("*.parquet")}
        write_atomic(draft / MANIFEST, signer.sign_statement(subjects, PREDICATE, about))
        fsync_tree(draft)
        exchange(draft, folder)


def read(
    folder: Path,
    keys: KeyProvider,
    verifier: Verifier,
    columns: list[str] | None = None,
    denied: frozenset[str] = frozenset(),
) -> pa.Table:
    """The verified table; only the keys of the columns asked for are unwrapped.

    Args:
        folder: a sealed version.
        keys: unwraps the data keys.
        verifier: the project's signer.
        columns: names to read; default all.
        denied: column classes whose keys are refused.

    Raises:
        VerificationError: the files were changed. DataError: a column of a denied class was asked
            for.
    """
    expected = _own(folder, verifier)
    stored = None if columns is None else [stored_as(name) for name in columns]
    # Hashing lets go of the interpreter's lock and runs beside the decryption; nothing is given
    # away before both are done.
    with ThreadPoolExecutor(1) as pool:
        compared = pool.submit(manifests.compare, folder, expected)
        try:
            with _explained(folder):
                tables = [
                    named(
                        pq.read_table(
                            folder / name,
                            columns=stored,
                            decryption_properties=decryption(folder, name, keys, denied),
                        )
                    )
                    for name in sorted(expected)
                ]
        except VerificationError:
            compared.result()  # a changed file is the better explanation
            raise
        compared.result()
    return tables[0] if len(tables) == 1 else pa.concat_tables(tables)


def scan(
    folder: Path,
    keys: KeyProvider,
    verifier: Verifier,
    columns: list[str] | None = None,
    denied: frozenset[str] = frozenset(),
    kind: str = ROWS,
) -> Iterator[pa.RecordBatch]:
    """The verified rows in pieces of at most 65 536, in constant memory; arguments and faults as in
    `read`. `kind` says which: `ROWS` or `REST`, of which there may be none.
    """
    expected = _own(folder, verifier, kind)
    manifests.compare(folder, expected)
    for name in sorted(expected):
        with (
            _explained(folder),
            pq.ParquetFile(
                folder / name,
                decryption_properties=decryption(folder, name, keys, denied),
                pre_buffer=False,
            ) as file,
        ):
            yield from map(
                named,
                file.iter_batches(
                    columns=None if columns is None else [stored_as(name) for name in columns]
                ),
            )


def scan_all(
    folder: Path, keys: KeyProvider, verifier: Verifier, columns: list[str]
) -> Iterator[pa.RecordBatch]:
    """Rows of both kinds; see `scan`. Those of `REST` may have fewer of the columns."""
    for kind in (ROWS, REST):
        yield from scan(folder, keys, verifier, columns, kind=kind)


def column(folder: Path, keys: KeyProvider, verifier: Verifier, name: str) -> Iterator[Any]:
    """Every value of a column, of rows of both kinds; see `scan`."""
    for piece in scan_all(folder, keys, verifier, [name]):
        yield from piece[0].to_pylist()


def _own(folder: Path, verifier: Verifier, kind: str = ROWS) -> dict[str, str]:
    said, subjects = manifests.manifest(folder, verifier)
    if (said.get("name"), said.get("version")) != (folder.parent.name, folder.name):
        raise VerificationError(
            f"the sealed table {folder} is {said.get('name')}@{said.get('version')}: versions were"
            " swapped",
            hint="restore it from a backup",
        )
    return {name: digest for name, digest in subjects.items() if name.startswith(kind)}


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise DataError(str(error), hint="ask for columns of other classes") from error
    except Error:
        raise
    # ValueError: key material that is no base64 or no text
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise VerificationError(
            f"the sealed table {folder} cannot be decrypted: {error}",
            hint="restore it from a backup",
        ) from error
