#!/bin/bash
# compliance-trestle 5.2.0: `import-ap` that refers to a resource of the same document is not seen as a reference.
#
# Expected: OSCAL lets `import-ap/href` of assessment results be a fragment with the UUID of a resource in `back-matter`. So a document whose
#           only resource is referred to by it has no resource that nothing refers to; and where no resource has that UUID, the reference dangles.
# Seen:     `trestle validate` warns of the first, which is sound ("Resources have 1 uuids and 1 are not referenced by model"), and says VALID
#           without that warning of the second when the resource is left out. Whoever reads warnings as faults drops the resource, and is then
#           told that all is well.
#
# Needs: bash, Python 3.11 or newer.
#
# Exits with an error as soon as this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check compliance-trestle==5.2.0 2>/dev/null
python3 - "$folder" <<'PYTHON'
import json
import pathlib
import sys

plan = "c372795e-c933-5659-b7ff-1bea9ed9cb32"
results = {
    "uuid": "3b7783dd-9f98-552e-9785-b5882c42f8ee",
    "metadata": {"title": "t", "last-modified": "2026-11-29T16:00:00Z", "version": "1", "oscal-version": "1.1.3"},
    "import-ap": {"href": f"#{plan}"},
    "results": [
        {
            "uuid": "4a8fb4a4-cc40-5e61-8372-3abe60765212",
            "title": "t",
            "description": "d",
            "start": "2026-11-29T16:00:00Z",
            "reviewed-controls": {"control-selections": [{"include-all": {}}]},
        }
    ],
    "back-matter": {"resources": [{"uuid": plan, "title": "the plan", "description": "d"}]},
}
folder = pathlib.Path(sys.argv[1])
(folder / "sound.json").write_text(json.dumps({"assessment-results": results}))
del results["back-matter"]
(folder / "loose.json").write_text(json.dumps({"assessment-results": results}))
PYTHON
mkdir "$folder/work"
cd "$folder/work"
trestle="$folder/venv/bin/trestle"
"$trestle" init --local > /dev/null 2>&1
for name in sound loose; do
  "$trestle" import -f "$folder/$name.json" -o "$name" > "$folder/$name.log" 2>&1
  "$trestle" validate -t assessment-results -n "$name" >> "$folder/$name.log" 2>&1
  grep -q VALID "$folder/$name.log"
done
grep -q "1 are not referenced by model" "$folder/sound.log" || { echo "the sound document is taken as sound now"; exit 1; }
if grep -qi "referenced" "$folder/loose.log"; then
  echo "the dangling reference is told now"
  exit 1
fi
echo "as described: a reference by import-ap is not seen, and one to nothing is not missed"
