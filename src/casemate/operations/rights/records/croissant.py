"""A data set's metadata as JSON-LD in Croissant 1.1 of MLCommons, so that others' tools find
columns, types and licence; no value of the table is in it.

Spec: https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html
"""

from pathlib import PurePath
from typing import Any

import msgspec

from casemate.core.text import clean
from casemate.core.types import ColumnSchema, SealedDataset
from casemate.operations.rights.records.facts import Facts

CONFORMS = "http://mlcommons.org/croissant/1.1"
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""As the specification has it, key by key."""
TYPES = {"number": "sc:Float", "category": "sc:Text", "text": "sc:Text", "time": "sc:DateTime"}
FORMATS = {
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".parquet": "application/x-parquet",
}
TABLE = "table"


def croissant(facts: Facts, dataset: SealedDataset) -> bytes:
    """The data set's metadata, JSON-LD in UTF-8."""
    controller = facts.controller
    found: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS,
        "name": _text(dataset.name),
        "version": f"0.0.0+{dataset.version}",
        "description": _described(facts, dataset),
        "datePublished": facts.now.date().isoformat(),
        "url": controller.url or f"urn:casemate:{facts.config.project.id}:{dataset.name}",
        "license": _text(controller.licence or "not stated"),
        "citeAs": _text(f"{dataset.name}, version {dataset.version}"),
        "distribution": [],
        "recordSet": [],
        "rai:personalSensitiveInformation": [
            _text(f"{one.name}: {one.column_class}")
            for one in dataset.schema.columns
            if one.column_class != "general"
        ],
    }
    if controller.name:
        found["creator"] = {"@type": "sc:Organization", "name": _text(controller.name)}
    source = facts.config.data.source
    name = PurePath(source).name if isinstance(source, str) and "://" not in source else ""
    if kind := FORMATS.get(PurePath(name).suffix.lower()):
        found["distribution"] = [_file(name, kind, dataset)]
        found["recordSet"] = [_rows(dataset)]
    # so that nobody's column ends the script element of a page that it is put into
    text = msgspec.json.format(msgspec.json.encode(found)).decode()
    return text.replace("<", "\\u003c").replace(">", "\\u003e").encode() + b"\n"


def _text(text: str) -> str:
    return clean(text)


def _described(facts: Facts, dataset: SealedDataset) -> str:
    words = facts.controller.purpose or facts.config.project.purpose
    left = "" if dataset.basis is None else f" Processed on: {dataset.basis.legal}."
    return _text(f"{words}.{left} {len(dataset.schema.columns)} columns; sealed by casemate.")


def _file(name: str, kind: str, dataset: SealedDataset) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": TABLE,
        "name": _text(name),
        "description": "The table that was read; whoever has it compares its digest.",
        "contentUrl": _text(name),
        "encodingFormat": kind,
        "sha256": dataset.source_digest,
    }


def _rows(dataset: SealedDataset) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "rows",
        "name": "rows",
        "field": [
            _field(place, one)
            for place, one in enumerate(dataset.schema.columns)
            if not one.made_of
        ],
    }


def _field(place: int, one: ColumnSchema) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"rows/{place}",  # by its place: a column may be called anything
        "name": _text(one.name),
        "description": f"{one.type}, {one.column_class}",
        "dataType": TYPES[one.type],
        "source": {"fileObject": {"@id": TABLE}, "extract": {"column": one.name}},
    }
