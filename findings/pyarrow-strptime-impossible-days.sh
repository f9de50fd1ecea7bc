#!/bin/bash
# pyarrow 26.0.1: compute.strptime takes days that there are not for days of the next month.
#
# Expected: "31.02.2024" is no date; with error_is_null=True it is null, without it an error, as Python's own strptime says
# ("day is out of range for month"), and as pyarrow's own reader of ISO dates does.
# Seen: "31.02.2024" is 2024-03-02, "30.02.2023" is 2023-03-02 and "31.04.2024" is 2024-05-01, silently in both modes;
# only days above 31 are refused.
#
# Exits with an error as soon as this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1 2>/dev/null
"$folder/env/bin/python" - <<'PY'
import datetime

import pyarrow as pa
import pyarrow.compute as pc

cells = ["31.02.2024", "30.02.2023", "31.04.2024"]
for null in (True, False):
    found = pc.strptime(pa.array(cells), format="%d.%m.%Y", unit="s", error_is_null=null).to_pylist()
    print("error_is_null =", null, [str(one) for one in found])
    if found != [datetime.datetime(2024, 3, 2), datetime.datetime(2023, 3, 2), datetime.datetime(2024, 5, 1)]:
        raise SystemExit("the behaviour has changed")
assert pc.strptime(pa.array(["32.01.2024"]), format="%d.%m.%Y", unit="s", error_is_null=True).to_pylist() == [None]
for cell in cells:
    try:
        datetime.datetime.strptime(cell, "%d.%m.%Y")
    except ValueError:
        continue
    raise SystemExit("Python's strptime takes it too")
try:
    pa.array(["2024-02-31"]).cast(pa.date32())
except pa.ArrowInvalid as error:
    print("ISO:", str(error).split("\n")[0])
else:
    raise SystemExit("the behaviour of ISO dates has changed")
PY
