"""Sealed tables: Parquet Modular Encryption with column keys, and a signed manifest over the files.

A sealed version is a folder `.casemate/datasets/<name>/<version>/` with `part-00000.parquet` and so
on, their key material (`_KEY_MATERIAL_FOR_part-00000.parquet.json`, wrapped data keys only) and
`manifest.dsse.json`, an in-toto statement with the SHA-256 of each data file. Parquet encryption
catches changed bytes; the manifest catches whole-file swaps.
Spec: https://parquet.apache.org/docs/file-format/data-pages/encryption/

The configuration of Parquet encryption is one text in which `,` `:` `;` divide and blanks at ends
are no part of a name. A column whose name it cannot hold is stored under another one, and the
footer, which is encrypted too, says which is which.
"""

import base64
import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
from pyarrow import fs

from casemate.controls.keys import manifests
from casemate.controls.keys.interface import KeyProvider
from casemate.controls.keys.manifests import MANIFEST, PREDICATE
from casemate.core.digest import sha256_file
from casemate.core.errors import DataError, Error, VerificationError
from casemate.core.files import (
    DRAFT,
    exchange,
    fsync_folder,
    fsync_tree,
    make_folder,
    scratch_folder,
    write_atomic,
)
from casemate.core.signatures import Signer, Verifier

PART = "part-00000.parquet"
PART_ROWS = 8 * 1024 * 1024
ROW_GROUP = 256 * 1024
_LOCAL = fs.LocalFileSystem()
_NOT_HELD = re.compile(r"[,:;]|^\s|\s$|^$")
_NAMES = b"casemate.names"
"""Metadata of a part: stored name -> name, as JSON, of the columns that have two."""


class _Kms(pe.KmsClient):  # type: ignore[misc]
    """Lets pyarrow wrap its data keys through a KeyProvider."""

    def __init__(self, keys: KeyProvider, denied: frozenset[str], resource: str) -> None:
        super().__init__()
        self.keys, self.denied, self.resource = keys, denied, resource

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:
        return base64.b64encode(self.keys.wrap(master_key_identifier, key_bytes, self.resource))

    def unwrap_key(self, wrapped_key: str, master_key_identifier: str) -> bytes:
        if master_key_identifier in self.denied:
            raise PermissionError(f"columns of class {master_key_identifier!r} are withheld")
        return self.keys.unwrap(master_key_identifier, base64.b64decode(wrapped_key), self.resource)


class _Material(msgspec.Struct):
    """What is read of an entry of the key material (its names are the format's)."""

    masterKeyID: str  # noqa: N815
    wrappedDEK: str  # noqa: N815
    doubleWrapping: bool = False  # noqa: N815
    wrappedKEK: str = ""  # noqa: N815


def _stored(name: str) -> str:
    """The name under which a column is stored."""
    return name if _NOT_HELD.search(name) is None else "~" + quote(name, safe="")


def _outward(schema: pa.Schema) -> pa.Schema:
    """A stored part's columns under their own names; parts that were sealed before there were two
    have no other.
    """
    metadata = dict(schema.metadata or {})
    names = msgspec.json.decode(metadata.pop(_NAMES, b"{}"), type=dict[str, str])
    return (
        pa.schema(
            [field.with_name(names.get(field.name, field.name)) for field in schema],
            metadata or None,
        )
        if names
        else schema
    )


def _inward(schema: pa.Schema) -> pa.Schema:
    """The columns as they are stored."""
    stored = {_stored(name): name for name in schema.names}
    if len(stored) < len(schema.names):
        raise DataError(
            "two columns would be stored under one name", hint="rename the one that begins with ~"
        )
    odd = {short: name for short, name in stored.items() if short != name}
    if not odd:
        return schema
    metadata = {**(schema.metadata or {}), _NAMES: msgspec.json.encode(odd)}
    return pa.schema([field.with_name(_stored(field.name)) for field in schema], metadata)


def _named(rows: Any) -> Any:
    """A table or batch as it was read, under the columns' own names."""
    schema = _outward(rows.schema)
    return rows if schema is rows.schema else type(rows).from_arrays(rows.columns, schema=schema)


def _decryption(
    folder: Path, name: str, keys: KeyProvider, denied: frozenset[str] = frozenset()
) -> Any:
    factory = _factory(keys, folder, denied)
    return factory.file_decryption_properties(
        pe.KmsConnectionConfig(), pe.DecryptionConfiguration(), str(folder / name), _LOCAL
    )


def _factory(keys: KeyProvider, folder: Path, denied: frozenset[str] = frozenset()) -> Any:
    # A factory caches unwrapped keys, so one lives for one call only.
    return pe.CryptoFactory(lambda _config: _Kms(keys, denied, f"table {folder.parent.name}"))


def seal(
    table: pa.Table,
    folder: Path,
    keys: KeyProvider,
    signer: Signer,
    classes: dict[str, str],
    about: dict[str, Any],
    *,
    extends: Path | None = None,
) -> None:
    """Write `table` sealed and signed as `folder`; see `seal_stream`."""
    seal_stream([table], table.schema, folder, keys, signer, classes, about, extends=extends)


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

    Raises:
        VerificationError: the older version does not verify. DataError: a piece or the older
            version has other columns.
    """
    if folder.exists():
        with contextlib.suppress(VerificationError):
            if manifests.check(folder, signer.verifier).get("version") == about["version"]:
                return
        shutil.rmtree(folder)
    make_folder(folder.parent)
    draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=DRAFT))
    try:
        subjects = {} if extends is None else _share(extends, draft, keys, signer.verifier, schema)
        subjects |= _write_parts(draft, len(subjects), pieces, schema, keys, classes, part_rows)
        write_atomic(draft / MANIFEST, signer.sign_statement(subjects, PREDICATE, about))
        fsync_tree(draft)
        os.replace(draft, folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    fsync_folder(folder.parent)


def _share(
    older: Path, draft: Path, keys: KeyProvider, verifier: Verifier, schema: pa.Schema
) -> dict[str, str]:
    """Take the files of an older version over; key material is replaced by rotation, never changed,
    so it may be shared too.
    """
    _, subjects = manifests.verified(older, verifier)
    first = next(iter(sorted(subjects)))
    with pq.ParquetFile(
        older / first, decryption_properties=_decryption(older, first, keys)
    ) as file:
        if not _outward(file.schema_arrow).equals(schema):
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
            names.append(f"part-{first + len(names):05d}.parquet")
            write, room = (
                stack.enter_context(_parquet_writer(draft / names[-1], schema, keys, classes)),
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


@contextlib.contextmanager
def _parquet_writer(
    path: Path, schema: pa.Schema, keys: KeyProvider, classes: dict[str, str]
) -> Iterator[Any]:
    by_class: dict[str, list[str]] = {}
    for column in schema.names:
        by_class.setdefault(classes[column], []).append(_stored(column))
    inner = _inward(schema)
    configuration = pe.EncryptionConfiguration(
        footer_key="footer",
        column_keys=by_class,
        encryption_algorithm="AES_GCM_V1",
        data_key_length_bits=256,
        double_wrapping=True,
        internal_key_material=False,
    )
    properties = _factory(keys, path.parent).file_encryption_properties(
        pe.KmsConnectionConfig(), configuration, str(path), _LOCAL
    )
    # A dictionary of numbers that hardly repeat costs time and saves nothing.
    texts = [field.name for field in inner if pa.types.is_string(field.type)]
    options = {"compression": "zstd", "compression_level": 1, "use_dictionary": texts or False}
    with pq.ParquetWriter(path, inner, encryption_properties=properties, **options) as writer:
        yield lambda rows: writer.write_table(
            rows if inner is schema else rows.rename_columns(inner.names), row_group_size=ROW_GROUP
        )


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
            _factory(keys, folder).rotate_master_keys(
                pe.KmsConnectionConfig(), str(part), _LOCAL, double_wrapping=True
            )
            write_atomic(path, (scratch / path.name).read_bytes())


def columns_of(folder: Path, keys: KeyProvider, verifier: Verifier) -> pa.Schema:
    """Names, types and metadata of a sealed version's columns; VerificationError when it was
    changed.
    """
    first = min(_own(folder, verifier))
    with (
        _explained(folder),
        pq.ParquetFile(
            folder / first, decryption_properties=_decryption(folder, first, keys)
        ) as file,
    ):
        return _outward(file.schema_arrow)


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
                    folder / name, decryption_properties=_decryption(folder, name, keys)
                ) as file,
                _parquet_writer(draft / name, _outward(file.schema_arrow), keys, classes) as write,
            ):
                for number in range(file.num_row_groups):
                    write(change(_named(file.read_row_group(number))))
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
    stored = None if columns is None else [_stored(name) for name in columns]
    # Hashing lets go of the interpreter's lock and runs beside the decryption; nothing is given
    # away before both are done.
    with ThreadPoolExecutor(1) as pool:
        compared = pool.submit(manifests.compare, folder, expected)
        try:
            with _explained(folder):
                tables = [
                    _named(
                        pq.read_table(
                            folder / name,
                            columns=stored,
                            decryption_properties=_decryption(folder, name, keys, denied),
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
) -> Iterator[pa.RecordBatch]:
    """The verified rows in pieces of at most 65 536, in constant memory; arguments and faults as in
    `read`.
    """
    expected = _own(folder, verifier)
    manifests.compare(folder, expected)
    for name in sorted(expected):
        with (
            _explained(folder),
            pq.ParquetFile(
                folder / name,
                decryption_properties=_decryption(folder, name, keys, denied),
                pre_buffer=False,
            ) as file,
        ):
            yield from map(
                _named,
                file.iter_batches(
                    columns=None if columns is None else [_stored(name) for name in columns]
                ),
            )


def _own(folder: Path, verifier: Verifier) -> dict[str, str]:
    said, subjects = manifests.manifest(folder, verifier)
    if (said.get("name"), said.get("version")) != (folder.parent.name, folder.name):
        raise VerificationError(
            f"the sealed table {folder} is {said.get('name')}@{said.get('version')}: versions were"
            " swapped",
            hint="restore it from a backup",
        )
    return subjects


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
