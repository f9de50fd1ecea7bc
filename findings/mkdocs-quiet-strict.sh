#!/bin/bash
# mkdocs 1.6.1: `mkdocs build --strict --quiet` succeeds where `mkdocs build --strict` fails.
#
# Expected: `--strict` ("Enable strict mode. This will cause MkDocs to abort the build on any warnings") aborts, with or
# without `--quiet` ("Silence warnings"), which is about what is printed; so does `strict: true` in mkdocs.yml.
# Seen: with `--quiet` the page with a broken link is built and the exit status is 0, so a build in CI that is quiet
# checks no link: the counter of warnings sees only what passes the level that `--quiet` sets.
#
# Exits with an error as soon as this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check mkdocs==1.6.1 2>/dev/null
mkdir -p "$folder/site/docs"
cd "$folder/site"
echo 'site_name: example' >mkdocs.yml
printf '# Start\n\n[broken](nowhere.md)\n' >docs/index.md
loud=0
"$folder/env/bin/mkdocs" build --strict >"$folder/log" 2>&1 || loud=$?
grep -q "nowhere.md" "$folder/log"
quiet=0
"$folder/env/bin/mkdocs" build --strict --quiet 2>/dev/null || quiet=$?
echo "--strict: exit $loud; --strict --quiet: exit $quiet"
[ "$loud" -ne 0 ] && [ "$quiet" -eq 0 ]
