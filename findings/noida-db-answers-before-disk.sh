#!/bin/bash
# noida-db 0.2.3 (a stand-in for Elasticsearch): `_bulk` answers 201 for documents that a kill -9 right afterwards loses.
#
# Expected: as Elasticsearch does with index.translog.durability=request, its default
# (https://www.elastic.co/docs/reference/elasticsearch/index-settings/translog): an acknowledged document is on disk.
# Seen: the index itself is gone after a restart; a second later, or after SIGTERM, everything is there. So a test with
# it must not kill it and count.
#
# Exits with an error as soon as this changes.
set -euo pipefail
folder=$(mktemp -d)
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check --no-deps noida-db==0.2.3 2>/dev/null
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
url="http://127.0.0.1:$port"
start() {
  setsid "$folder/env/bin/noida-db" start --data-dir "$folder/data" --only elasticsearch --elasticsearch-port "$port" >/dev/null 2>&1 &
  group=$!
  until curl -fs "$url" >/dev/null; do sleep 0.1; done
}
trap 'kill -KILL -- -$group 2>/dev/null; rm -rf "$folder"' EXIT
start
status=$(printf '{"create":{"_id":"1"}}\n{"message":"line"}\n' |
  curl -fsS -X POST "$url/lines/_bulk" -H 'content-type: application/x-ndjson' --data-binary @- | grep -o '"status":[0-9]*')
kill -KILL -- "-$group"
while curl -fs "$url" >/dev/null; do sleep 0.1; done
start
count=$(curl -s "$url/lines/_count" | grep -o '"count":[0-9]*' || echo "no such index")
echo "answered $status, after kill -9: $count"
[ "$status" = '"status":201' ] && [ "$count" = "no such index" ]
