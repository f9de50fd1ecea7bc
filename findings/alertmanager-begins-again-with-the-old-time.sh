#!/bin/bash
# prometheus-alertmanager 0.25.0 (Debian 12): an episode that ended is told again with its old beginning.
#
# Expected: `startsAt` and `fingerprint` of webhook messages tell episodes apart, so that a message about a beginning
# which comes after that episode's end can only be a late copy.
# Seen: an alert that nobody renews in time (Prometheus away for longer than `endsAt`) is told as resolved; when its
# sender comes back and still says the same beginning, the webhook gets it as firing with the same `startsAt` and the same
# `fingerprint`. No field of the message says that it is newer: a firing alert's `endsAt` is written as the year 1. Whoever
# lets the end win, as protection against repeated and late messages, never hears of it again.
#
# Exits with an error as soon as this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill "$manager" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
hook=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat > am.yml <<END
route: {receiver: r, group_wait: 1s, group_interval: 1s, repeat_interval: 1h}
receivers: [{name: r, webhook_configs: [{url: "http://127.0.0.1:$hook/"}]}]
END
prometheus-alertmanager --config.file=am.yml --storage.path=am --cluster.listen-address= \
  --web.listen-address="127.0.0.1:$port" 2> log &
manager=$!
python3 - "$port" "$hook" <<'PY'
import datetime, http.server, json, queue, sys, threading, time, urllib.request

port, hook = sys.argv[1:]
heard = queue.Queue()


class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        for one in json.loads(self.rfile.read(int(self.headers["content-length"])))["alerts"]:
            heard.put(one)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(hook)), Hook)
threading.Thread(target=server.serve_forever, daemon=True).start()
now = datetime.datetime.now(datetime.timezone.utc)


def say(seconds):
    """The sender renews the alert for so long; its beginning stays."""
    ends = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    alert = {"labels": {"alertname": "X"}, "startsAt": now.isoformat(), "endsAt": ends.isoformat()}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v2/alerts", json.dumps([alert]).encode(), {"content-type": "application/json"}
    )
    for _ in range(100):
        try:
            urllib.request.urlopen(request).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("no Alertmanager")


say(4)
first, over = heard.get(timeout=60), heard.get(timeout=60)
say(60)
again = heard.get(timeout=60)
print([(one["status"], one["startsAt"], one["endsAt"], one["fingerprint"]) for one in (first, over, again)])
assert [one["status"] for one in (first, over, again)] == ["firing", "resolved", "firing"]
same = {(one["startsAt"], one["fingerprint"]) for one in (first, over, again)}
if len(same) != 1 or not again["endsAt"].startswith("0001-"):
    raise SystemExit("the messages can be told apart: the behaviour has changed")
PY
