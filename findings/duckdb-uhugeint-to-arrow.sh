#!/usr/bin/env bash
# duckdb 2.0.1: a UHUGEINT of 2^127 or more leaves for Arrow as another number, without an error.
#
# UHUGEINT holds 0 ... 2^128 - 1, and DuckDB itself prints the largest one right. `to_arrow_table()` declares such a column
# decimal128(38, 0) and copies the 128 bits as they are, which Arrow reads as signed: 2^128 - 1 comes out as -1.
# Expected: the number, as text or a wider decimal, or an error that names the column.
# Exits 0 while this holds and 1 when it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check duckdb==2.0.1 pyarrow==26.0.1
"$folder/venv/bin/python" - <<'PY'
import sys

import duckdb

largest = 2**128 - 1
relation = duckdb.connect().sql(f"SELECT {largest}::UHUGEINT AS n")
table = relation.to_arrow_table()
own, arrow = relation.fetchall()[0][0], int(table["n"][0].as_py())
print(f"duckdb {duckdb.__version__}: own {own}, in Arrow {table.schema.field('n').type} {arrow}")
assert own == largest
sys.exit(0 if arrow == -1 else 1)
PY
