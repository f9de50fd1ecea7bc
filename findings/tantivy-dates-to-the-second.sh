#!/usr/bin/env bash
# tantivy 0.27.0 (Python): `order_by_field` on a date sorts by whole seconds, while the stored value keeps its fraction.
#
# `add_date_field` of the bindings has no precision, and the schema that it writes says "seconds". Three documents of one
# second, at .300, .900 and .100, come back in the order in which they were added, each with the key of the full second.
# Whoever asks for the newest lines of a log gets the newest second's in any order. Beside the date we index milliseconds
# as an integer. Expected: an argument for the precision, or an order that follows what is stored.
# Exits 0 while this holds and 1 when it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check tantivy==0.27.0
"$folder/venv/bin/python" - <<'PY'
import datetime
import sys

import tantivy

schema = tantivy.SchemaBuilder().add_date_field("time", stored=True, fast=True).build()
index = tantivy.Index(schema)
writer = index.writer(15_000_000, 1)
for milliseconds in (300, 900, 100):
    document = tantivy.Document()
    time = datetime.datetime(2026, 1, 1, microsecond=milliseconds * 1000, tzinfo=datetime.UTC)
    document.add_date("time", time)
    writer.add_document(document)
writer.commit()
index.reload()
searcher = index.searcher()
hits = searcher.search(tantivy.Query.all_query(), order_by_field="time").hits
stored = [searcher.doc(address).get_first("time").microsecond // 1000 for _, address in hits]
keys = {key for key, _ in hits}
print(f"tantivy 0.27.0: newest first by the date: {stored}, of {len(keys)} key")
sys.exit(0 if stored != [900, 300, 100] and len(keys) == 1 else 1)
PY
