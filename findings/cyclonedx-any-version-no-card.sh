#!/bin/bash
# cyclonedx-python-lib 11.12.0: the strict validator of one version takes documents of any other, and a model's card is lost without a word.
#
# Expected: JsonStrictValidator(V1_7) refuses a document that says that it is of 1.6 or 9.9; what Bom.from_json reads, make_outputter
# writes again, or one of them says what it leaves out.
# Seen:
#  1. The schemas do not fix `specVersion`, and the validator does not compare it: "1.6", "1.7" and "9.9" are all valid 1.6, and valid 1.7.
#     So "validated as 1.7" says nothing of which version a document claims: compare the number yourself.
#  2. `modelCard` of a machine-learning model and `data` of a data set are read and not written again, without an error or a warning.
#
# Exits with an error as soon as one of them changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check 'cyclonedx-python-lib[json-validation]==11.12.0' 2>/dev/null
"$folder/env/bin/python" -W error - <<'PY'
import json

from cyclonedx.model.bom import Bom
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

DOCUMENT = {
    "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
    "bomFormat": "CycloneDX",
    "specVersion": "1.6",
    "version": 1,
    "components": [
        {
            "type": "machine-learning-model",
            "name": "m",
            "modelCard": {"modelParameters": {"task": "classification"}},
        },
        {"type": "data", "name": "d", "data": [{"type": "dataset", "name": "d"}]},
    ],
}


def same(number, seen, expected):
    print(number, seen)
    if seen != expected:
        raise SystemExit(f"{number}: the behaviour has changed")


for version in (SchemaVersion.V1_6, SchemaVersion.V1_7):
    judge = JsonStrictValidator(version)
    said = {
        name: judge.validate_str(json.dumps(DOCUMENT | {"specVersion": name})) is None
        for name in ("1.6", "1.7", "9.9")
    }
    same(1, said, {"1.6": True, "1.7": True, "9.9": True})

outputter = make_outputter(Bom.from_json(DOCUMENT), OutputFormat.JSON, SchemaVersion.V1_6)
written = json.loads(outputter.output_as_string())["components"]
same(2, sorted({key for one in written for key in one}), ["bom-ref", "name", "type"])
PY
