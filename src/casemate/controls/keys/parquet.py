"""Parquet Modular Encryption under our key-encryption keys, and the names under which columns are
stored.
"""

import base64
import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
from pyarrow import fs

from casemate.controls.keys.interface import KeyProvider
from casemate.core.errors import DataError

ROW_GROUP = 256 * 1024
LOCAL = fs.LocalFileSystem()
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


def stored_as(name: str) -> str:
    """The name under which a column is stored."""
    return name if _NOT_HELD.search(name) is None else "~" + quote(name, safe="")


def outward(schema: pa.Schema) -> pa.Schema:
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


def inward(schema: pa.Schema) -> pa.Schema:
    """The columns as they are stored."""
    stored = {stored_as(name): name for name in schema.names}
    if len(stored) < len(schema.names):
        raise DataError(
            "two columns would be stored under one name", hint="rename the one that begins with ~"
        )
    odd = {short: name for short, name in stored.items() if short != name}
    if not odd:
        return schema
    metadata = {**(schema.metadata or {}), _NAMES: msgspec.json.encode(odd)}
    return pa.schema([field.with_name(stored_as(field.name)) for field in schema], metadata)


def named(rows: Any) -> Any:
    """A table or batch as it was read, under the columns' own names."""
    schema = outward(rows.schema)
    return rows if schema is rows.schema else type(rows).from_arrays(rows.columns, schema=schema)


def decryption(
    folder: Path, name: str, keys: KeyProvider, denied: frozenset[str] = frozenset()
) -> Any:
    """What opens one file of a sealed version."""
    factory = factory_of(keys, folder, denied)
    return factory.file_decryption_properties(
        pe.KmsConnectionConfig(), pe.DecryptionConfiguration(), str(folder / name), LOCAL
    )


def factory_of(keys: KeyProvider, folder: Path, denied: frozenset[str] = frozenset()) -> Any:
    """What wraps and unwraps the data keys of a sealed version."""
    # A factory caches unwrapped keys, so one lives for one call only.
    return pe.CryptoFactory(lambda _config: _Kms(keys, denied, f"table {folder.parent.name}"))


@contextlib.contextmanager
def parquet_writer(
    path: Path, schema: pa.Schema, keys: KeyProvider, classes: dict[str, str]
) -> Iterator[Any]:
    """Writes pieces of rows into one sealed part."""
    by_class: dict[str, list[str]] = {}
    for column in schema.names:
        by_class.setdefault(classes[column], []).append(stored_as(column))
    inner = inward(schema)
    configuration = pe.EncryptionConfiguration(
        footer_key="footer",
        column_keys=by_class,
        encryption_algorithm="AES_GCM_V1",
        data_key_length_bits=256,
        double_wrapping=True,
        internal_key_material=False,
    )
    properties = factory_of(keys, path.parent).file_encryption_properties(
        pe.KmsConnectionConfig(), configuration, str(path), LOCAL
    )
    # A dictionary of numbers that hardly repeat costs time and saves nothing.
    texts = [field.name for field in inner if pa.types.is_string(field.type)]
    options = {"compression": "zstd", "compression_level": 1, "use_dictionary": texts or False}
    with pq.ParquetWriter(path, inner, encryption_properties=properties, **options) as writer:
        yield lambda rows: writer.write_table(
            rows if inner is schema else rows.rename_columns(inner.names), row_group_size=ROW_GROUP
        )
