#!/usr/bin/env bash
# bandit 1.9.4: exit code 0 where the file that it was told to look at is not there; and files are named otherwise than asked for.
#
# Exit code 1 means findings, 0 means none. A path that does not exist is one of `errors` in the report, and the exit code is 0,
# so a job that spells a name wrong is green for ever. In the report `./a.py` is called `././a.py`.
# Expected: an exit code of its own, or 1; names as they were given.
# Exits 0 while this holds and 1 when it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check bandit==1.9.4
cd "$folder"
echo 'x = 1' > a.py
code=0
venv/bin/bandit -q -f json ./a.py ./b.py > report.json 2> said || code=$?
venv/bin/python - "$code" <<'PY'
import json
import sys

report, code = json.load(open("report.json")), int(sys.argv[1])
errors = [(one["filename"], one["reason"]) for one in report["errors"]]
print(f"bandit: exit code {code}, errors {errors}, looked at {sorted(report['metrics'])}")
sys.exit(0 if code == 0 and errors and "././a.py" in report["metrics"] else 1)
PY
