#!/bin/bash
# Roundup 2.6.0: an issue that was deleted over REST is still shown; only lists leave it out.
#
# Expected: after DELETE of /rest/data/issue/N (200), GET of it answers 404 or 410, as every other tracker does, or says in its
# attributes that it is retired.
# Seen: GET answers 200 with the same attributes as before, also with @protected=true, none of which tells; a PUT with the ETag of
# that answer gets 409. Only the list, GET /rest/data/issue?id=N, is empty. Whoever keeps a ticket's number must ask the list too.
#
# Exits with an error as soon as this changes.
set -euo pipefail
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
chmod 755 "$folder"
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check roundup==2.6.0 2>/dev/null
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
web="http://127.0.0.1:$port/t/"
"$folder/env/bin/roundup-admin" -i "$folder/t" install classic sqlite \
    "tracker_web=$web,mail_domain=x.test,mail_host=localhost,admin_email=a@x.test" >/dev/null
"$folder/env/bin/roundup-admin" -i "$folder/t" initialise adminpw
user=()
if [ "$(id -u)" = 0 ]; then # as which the server refuses to run
    chown -R nobody "$folder/t"
    user=(-u nobody)
fi
"$folder/env/bin/roundup-server" "${user[@]}" -n 127.0.0.1 -p "$port" "t=$folder/t" >"$folder/log" 2>&1 &
server=$!
python3 - "$web" <<'END'
import base64, json, sys, time, urllib.error, urllib.request

web = sys.argv[1]
HEADERS = {
    "X-Requested-With": "rest", "Origin": web.removesuffix("/t/"), "Referer": web, "Content-Type": "application/json",
    "Authorization": "Basic " + base64.b64encode(b"admin:adminpw").decode(),
}

def call(method, path, body=None, etag=None):
    headers = HEADERS | ({"If-Match": etag} if etag else {})
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{web}rest/data/{path}", content, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())["data"]
    except urllib.error.HTTPError as error:
        return error.code, None

for _ in range(300):
    try:
        call("GET", "issue")
        break
    except OSError:
        time.sleep(0.1)
item = "issue/" + call("POST", "issue", {"title": "first"})[1]["id"]
number = item.removeprefix("issue/")
status, before = call("GET", item + "?@protected=true")
assert [row["id"] for row in call("GET", f"issue?id={number}")[1]["collection"]] == [number]
deleted = call("DELETE", item, None, before["@etag"])[0]
status, after = call("GET", item + "?@protected=true")
assert (deleted, status) == (200, 200), (deleted, status)
assert set(after["attributes"]) == set(before["attributes"]), "something new is told of it"
told = {name: value for name, value in after["attributes"].items() if value != before["attributes"][name]}
changed = call("PUT", item, {"title": "second"}, after["@etag"])[0]
listed = call("GET", f"issue?id={number}")[1]["collection"]
print(f"deleted: {deleted}; then GET: {status}, other attributes: {told}; PUT: {changed}; listed: {listed}")
assert (changed, listed) == (409, [])
END
