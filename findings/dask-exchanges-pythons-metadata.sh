#!/bin/bash
# dask 2026.8.0 with importlib_metadata 9.1.0, on Python before 3.12: after `import dask`, importlib.metadata is another one.
#
# Expected: the standard library answers as before. A field that a package's metadata does not have is None there (with a
# DeprecationWarning); importlib_metadata's own documentation speaks of its own functions.
# Seen: importlib_metadata takes the finder of the standard library out of use when it is imported, and `import dask` imports
# it. `importlib.metadata.metadata("pip")["License-Expression"]`, or any field that is not there, raises KeyError from then
# on, in code that knows nothing of dask; whether it does depends on who was imported first.
# So fields are read by `get_all`, which answers alike in both.
#
# Exits with an error as soon as this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check dask==2026.8.0 importlib_metadata==9.1.0 2>/dev/null
cat > read.py <<'END'
import importlib.metadata


def field():
    try:
        return importlib.metadata.metadata("dask")["No-Such-Field"]
    except KeyError as error:
        return error


print("before", repr(field()))
import dask  # noqa: E402

print("after import dask", repr(field()))
END
seen=$(env/bin/python -W ignore read.py)
echo "$(env/bin/python -V): $seen"
if env/bin/python -c 'import sys; sys.exit(sys.version_info >= (3, 12))'; then
  [ "$seen" = "before None
after import dask KeyError('No-Such-Field')" ]
fi
