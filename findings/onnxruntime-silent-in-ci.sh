#!/usr/bin/env bash
# onnxruntime 1.32.0, the wheel for Linux x86_64: it is silent in CI and talks everywhere else, so a test of silence that runs in CI is
# green for the wrong reason.
#
# Expected: a process that has only imported the library, and runs no model, sends nothing and leaves nothing behind; what it does in CI
#           it does elsewhere; `onnxruntime.disable_telemetry_events()` or DO_NOT_TRACK=1 ends it.
# Seen:     the import writes a device id and a database below ~/.cache/Microsoft/DeveloperTools, and nine seconds later the process
#           resolves mobile.events.data.microsoft.com and connects to it; with CI=true it does neither, which Privacy.md in the wheel does
#           not say; DO_NOT_TRACK=1 changes nothing; disable_telemetry_events() comes after the first event was queued and the files were
#           made (Privacy.md: it suppresses "non-essential" events). Only ORT_DISABLE_TELEMETRY=1 before the import stops both.
#
# The packages are installed first; what is tried then runs in a network namespace of its own, with the loopback device only and a
# resolver of our own there, so that nothing is sent to anybody. Needs: bash, unshare with user namespaces, ip, Python 3.11 or newer.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check onnxruntime==1.32.0

cat > "$folder/resolver.py" <<'PYTHON'
"""Answers every query with an address that is routed to nobody, and notes the names in the file that it is given."""
import socket, struct, sys

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
while True:
    packet, asker = server.recvfrom(4096)
    labels, at = [], 12
    while packet[at]:
        labels.append(packet[at + 1 : at + 1 + packet[at]].decode())
        at += 1 + packet[at]
    with open(sys.argv[1], "a") as names:
        names.write(".".join(labels) + "\n")
    known = packet[at + 1 : at + 3] == b"\0\1"
    answer = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + socket.inet_aton("203.0.113.7") if known else b""
    server.sendto(packet[:2] + struct.pack("!5H", 0x8180, 1, known, 0, 0) + packet[12 : at + 5] + answer, asker)
PYTHON

cat > "$folder/inside.sh" <<'SHELL'
# inside.sh FOLDER NAME CODE [VARIABLE=VALUE]: run CODE where nothing leaves, with an empty home; leaves NAME.names and NAME.files
set -eu
folder=$1 name=$2 code=$3
shift 3
ip link set lo up
ip route add local 0.0.0.0/0 dev lo
mount --bind "$folder/resolv.conf" /etc/resolv.conf
: > "$folder/$name.names"
python3 "$folder/resolver.py" "$folder/$name.names" &
resolver=$!
sleep 0.5
mkdir "$folder/$name.home"
env -i PATH=/usr/bin:/bin HOME="$folder/$name.home" "$@" "$folder/venv/bin/python" -c "$code"
kill "$resolver"
find "$folder/$name.home" -type f > "$folder/$name.files"
SHELL
echo "nameserver 127.0.0.1" > "$folder/resolv.conf"

try() { unshare --user --map-root-user --net --mount sh "$folder/inside.sh" "$folder" "$@"; }
wait='import time; time.sleep(14)'
try imported "import onnxruntime; $wait" &
try disabled "import onnxruntime; onnxruntime.disable_telemetry_events(); $wait" &
try untracked "import onnxruntime; $wait" DO_NOT_TRACK=1 &
try switched "import onnxruntime; $wait" ORT_DISABLE_TELEMETRY=1 &
try ci "import onnxruntime; $wait" CI=true &
wait

failed=0
for name in imported disabled untracked switched ci; do
  looked_up=$(sort -u "$folder/$name.names" | tr '\n' ' ')
  written=$(wc -l < "$folder/$name.files")
  echo "$name: looked up: ${looked_up:-nothing}; files written: $written"
  case $name in
    switched | ci) [ -z "$looked_up" ] && [ "$written" -eq 0 ] || failed=1 ;;
    *) [ "$looked_up" = "mobile.events.data.microsoft.com " ] && [ "$written" -ge 2 ] || failed=1 ;;
  esac
done
[ "$failed" -eq 0 ] || { echo "the behaviour is no longer the one described above"; exit 1; }
