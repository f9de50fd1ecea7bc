#!/bin/bash
# pySigma 2.0.1 with pysigma-backend-sqlite 2.1.1: rules that are read without a word and mean something else than they say.
#
# Expected: what cannot be meant is refused, as pySigma refuses unknown modifiers, and what is translated matches what the rule says.
# Seen, all of them without an error or a warning:
#  1. A key that is there twice is refused by SigmaRule.from_yaml, and by SigmaCollection.from_yaml (what load_ruleset and
#     every converter use) the last one wins: {Image: a, Image: b} is Image = b.
#  2. An empty list is "the field is absent": {User: []} matches every event without a User.
#  3. `timeframe`, which Sigma had before correlations, is ignored: the rule matches single events.
#  4. Correlations group without regard to case, whatever |cased the rules say: ana and Ana are one user.
#  5. |wide makes SQL that no driver of Python takes.
#  6. The SQL of event_count costs the square of the events in a window: twice as many take four times as long.
#
# Exits with an error as soon as one of the first five changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check pysigma==2.0.1 pysigma-backend-sqlite==2.1.1 2>/dev/null
"$folder/env/bin/python" - <<'PY'
import json
import sqlite3
import time

from sigma.backends.sqlite import sqliteBackend
from sigma.collection import SigmaCollection
from sigma.rule import SigmaRule

HEAD = "title: t\nlogsource: {product: p}\n"


def sql(detection, **options):
    text = f"{HEAD}detection:\n  one: {detection}\n  condition: one\n"
    return sqliteBackend(collate_nocase=True, **options).convert(SigmaCollection.from_yaml(text))[0]


def same(number, seen, expected):
    print(number, seen)
    if seen != expected:
        raise SystemExit(f"{number}: the behaviour has changed")


twice = "{Image: a, Image: b}"
same(1, sql(twice), "SELECT * FROM logs WHERE Image='b' COLLATE NOCASE")
try:
    SigmaRule.from_yaml(f"{HEAD}detection:\n  one: {twice}\n  condition: one\n")
except Exception as error:
    same(1, "Duplicate key 'Image'" in str(error), True)
else:
    raise SystemExit("1: SigmaRule takes it too")
same(2, sql("{User: []}"), "SELECT * FROM logs WHERE User IS NULL")
same(3, sql("{User: a}\n  timeframe: 5m"), "SELECT * FROM logs WHERE User='a' COLLATE NOCASE")

base = sqlite3.connect(":memory:")
base.execute("CREATE TABLE logs (timestamp REAL, User TEXT COLLATE NOCASE)")

COUNT = f"""{HEAD}name: base
detection:
  one: {{User|contains: a}}
  condition: one
---
title: many
correlation: {{type: event_count, rules: [base], group-by: [User], timespan: 1h, condition: {{gte: 2}}}}
"""
many = sqliteBackend(timestamp_seconds_expression="{field}").convert(SigmaCollection.from_yaml(COUNT))[-1]
base.executemany("INSERT INTO logs VALUES (?, ?)", [(0, "ana"), (1, "Ana")])
same(4, [json.loads(row[1]) for row in base.execute(many)], [{"User": "ana"}])

try:
    base.execute(sql("{User|wide: abc}"))
except (ValueError, sqlite3.Error) as error:
    same(5, "null character" in str(error), True)
else:
    raise SystemExit("5: the behaviour has changed")

taken = []
for count in (125, 250, 500):
    base.execute("DELETE FROM logs")
    base.executemany("INSERT INTO logs VALUES (?, 'ana')", [(one / 10,) for one in range(count)])
    began = time.monotonic()
    base.execute(many).fetchall()
    taken.append(round(time.monotonic() - began, 2))
print(6, taken, "seconds for 125, 250 and 500 events of one user")
PY
