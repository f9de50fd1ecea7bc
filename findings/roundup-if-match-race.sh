#!/bin/bash
# Roundup 2.6.0: two PUTs with the same If-Match both succeed; the later one silently undoes the earlier.
#
# Expected: of two changes of one issue that name the same ETag, one gets 200 and the other 412 "If-Match is missing or does
# not match. Retrieve asset and retry modification if valid.": PUT wants an ETag, and what If-Match is for is that the second
# of two clients does not undo the first (RFC 9110 section 13.1.1). One after the other they are answered so; that is tried first.
# Seen: when both come at once, now and then both get 200 (4 of 12 pairs on two cores) and the title that one client was told
# is there is gone: the ETag is compared when a request begins, in another transaction than the one that writes.
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
# a password is hashed at each request: less of it, so that more pairs meet
sed -i 's/^password_pbkdf2_default_rounds = .*/password_pbkdf2_default_rounds = 1000/' "$folder/t/config.ini"
"$folder/env/bin/roundup-admin" -i "$folder/t" initialise adminpw
user=()
if [ "$(id -u)" = 0 ]; then # as which the server refuses to run
    chown -R nobody "$folder/t"
    user=(-u nobody)
fi
"$folder/env/bin/roundup-server" "${user[@]}" -n 127.0.0.1 -p "$port" "t=$folder/t" >"$folder/log" 2>&1 &
server=$!
python3 - "$web" <<'END'
import base64, json, sys, threading, time, urllib.error, urllib.request

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
etag = call("GET", item)[1]["@etag"]
one_by_one = [call("PUT", item, {"title": title}, etag)[0] for title in ("mine", "yours")]
print("one after the other:", one_by_one)
assert one_by_one == [200, 412]
for number in range(1, 201):
    etag, met, answers = call("GET", item)[1]["@etag"], threading.Barrier(2), {}

    def change(title):
        met.wait()
        answers[title] = call("PUT", item, {"title": title}, etag)[0]

    threads = [threading.Thread(target=change, args=(f"{who} {number}",)) for who in ("mine", "yours")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if list(answers.values()) == [200, 200]:
        print(f"both at once: {answers} in pair {number}; the title is {call('GET', item)[1]['attributes']['title']!r}")
        break
else:
    sys.exit("no pair of 200 had two successes")
END
