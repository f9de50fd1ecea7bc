#!/usr/bin/env bash
# wapiti3 3.2.3: exit code 0 and a report of nothing where nobody answers; and --max-scan-time bounds the search for pages alone.
#
# The exit code is 0 with findings and without, and also where the connection was refused: the report then has no finding and
# "crawled_pages_nbr": 0. --max-scan-time says "how many seconds you want the scan to last": it ends looking for pages, and attacks go on.
# Expected: another exit code where no page was seen; a scan that lasts no longer than it was told, but for what it writes at its end.
# Exits 0 while this holds and 1 when it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check wapiti3==3.2.3
cd "$folder"
cat > server.py <<'PY'
import http.server
import time

PAGE = b"<html><a href='/a?x=1&y=2&z=3'>a</a></html>"


class Slow(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(0.5)
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
print(server.server_port, flush=True)
server.serve_forever()
PY
venv/bin/python server.py > port &
server=$!
until [ -s port ]; do sleep 0.1; done
common=(--flush-session --store-session session --store-config config -f json --no-bugreport -v 0)
code=0
venv/bin/wapiti -u http://127.0.0.1:1/ -m xss -o nobody.json "${common[@]}" > said 2>&1 || code=$?
start=$(date +%s)
venv/bin/wapiti -u "http://127.0.0.1:$(cat port)/" -m sql,exec -o slow.json --max-scan-time 4 "${common[@]}" > said 2>&1 || true
lasted=$(($(date +%s) - start))
venv/bin/python - "$code" "$lasted" <<'PY'
import json
import sys

report, code, lasted = json.load(open("nobody.json")), int(sys.argv[1]), int(sys.argv[2])
found = sum(len(one) for one in report["vulnerabilities"].values())
print(f"wapiti: nobody there: exit code {code}, {found} findings of {report['infos']['crawled_pages_nbr']} pages; told 4 s, lasted {lasted} s")
sys.exit(0 if code == 0 and not found and lasted > 15 else 1)
PY
