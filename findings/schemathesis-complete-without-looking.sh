#!/usr/bin/env bash
# schemathesis 4.32.5: "complete": true, exit code 0 and "No issues found" where the time limit came before most operations were tried.
#
# With --max-time the run stops; the report has "stop_reason": "max_time", and beside it "complete": true and "exit_code": 0, though
# operations were skipped with "Time limit reached". A job that goes by the exit code, or by `complete`, is green for what was not tried.
# (--max-time is no upper bound either: fuzzing is repeated until it is spent.) Here a service that answers slowly, with an operation that fails.
# Expected: an exit code of its own, or `complete` false, where selected operations were not tested.
# Exits 0 while this holds and 1 when it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check schemathesis==4.32.5
cd "$folder"
cat > server.py <<'PY'
import http.server
import json
import time

answers = {"200": {"description": "Done"}}
paths = {f"/{name}": {"get": {"responses": answers}} for name in ("a", "b", "c", "fails")}
document = {"openapi": "3.1.0", "info": {"title": "slow", "version": "1"}, "paths": paths}


class Slow(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/openapi.json":
            time.sleep(3)
        body = json.dumps(document if self.path == "/openapi.json" else {}).encode()
        self.send_response(500 if self.path == "/fails" else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
print(server.server_port, flush=True)
server.serve_forever()
PY
venv/bin/python server.py > port &
server=$!
until [ -s port ]; do sleep 0.1; done
code=0
venv/bin/schemathesis run "http://127.0.0.1:$(cat port)/openapi.json" --phases fuzzing --checks not_a_server_error --max-time 2 \
  --generation-database none --report json --report-json-path report.json > said 2>&1 || code=$?
venv/bin/python - "$code" <<'PY'
import json
import sys

report, code = json.load(open("report.json")), int(sys.argv[1])
done = report["operations"]
print(f"schemathesis: exit code {code}, complete {report['complete']}, {report['stop_reason']}, tested {done['tested']} of {done['selected']}")
sys.exit(0 if code == 0 and report["complete"] and done["tested"] < done["selected"] else 1)
PY
