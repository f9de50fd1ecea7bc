"""A small server that says that it is a gateway, with faults that a test plants."""

import contextlib
import http.server
import json
import threading
from urllib.parse import parse_qs, urlsplit

from casemate.supply.scanners.running import Doors, Identity, Known, Meter, Target

REFUSED = {"401": {"description": "No credentials"}, "404": {"description": "Nothing"}}
REFUSED |= {"405": {"description": "Another method"}}


def operation(*parameters, **answers):
    """One of the document."""
    said = {"description": "Done", "content": {"application/json": {"schema": {"type": "object"}}}}
    return {
        "get": {"parameters": list(parameters), "responses": {"200": said, **REFUSED, **answers}}
    }


NAME = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "stub", "version": "1"},
    "security": [{"bearer": []}],
    "components": {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}},
    "paths": {
        "/v2": operation({"name": "q", "in": "query", "schema": {"type": "integer"}}),
        "/v2/models/{name}": operation(NAME),
        "/openapi.json": operation(),
    },
}


class Stub:
    """Answers `/v2`, `/v2/models/wdbc` and `/openapi.json`.

    Args:
        faults: of `fails`, `open`, `reflects` and `deaf` (nobody is let in).
    """

    def __init__(self, *faults):
        self.faults, self.asked, self.tokens = faults, [], set()

    def answer(self, path, query, token):
        """(status, content type, body)."""
        known = token == "Bearer s3cret" and "deaf" not in self.faults
        if path == "/openapi.json" and token == "Bearer s3cret":
            return 200, "application/json", json.dumps(DOCUMENT)
        if not known and not ("open" in self.faults and path == "/v2"):
            return 401, "application/json", "{}"
        if path == "/v2" and "q" in query:
            if "fails" in self.faults:
                return 500, "application/json", "{}"
            if "reflects" in self.faults:
                return 200, "text/html", f"<html><body>{query['q'][0]}</body></html>"
        if path in ("/v2", "/v2/models/wdbc"):
            return 200, "application/json", "{}"
        return 404, "application/json", "{}"

    @contextlib.contextmanager
    def running(self, seconds=120.0, requests=20_000, scratch=True):
        """A target that answers."""
        stub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                parts = urlsplit(self.path)
                token = self.headers.get("authorization")
                stub.asked.append(self.path)
                stub.tokens.add(token)
                self.say(*stub.answer(parts.path, parse_qs(parts.query), token))

            def do_POST(self):
                self.rfile.read(int(self.headers.get("content-length") or 0))
                self.say(405, "application/json", "{}")

            def __getattr__(self, name):
                if name.startswith("do_"):
                    return self.do_POST
                raise AttributeError(name)

            def say(self, status, kind, body):
                self.send_response_only(status)
                self.send_header("Content-Type", kind)
                self.send_header("X-Content-Type-Options", "nosniff")
                self.send_header("X-Frame-Options", "DENY")
                self.send_header("Allow", "GET")
                self.send_header("Content-Length", str(len(body.encode())))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body.encode())

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        allowed = ["gateway:read project", "model:read served"]
        one = Identity(
            group="user auditor", uid='User::"a"', kind="User", roles=["auditor"], state="good",
            token="s3cret", allowed=allowed,
        )  # fmt: skip
        known = {"identities": [one], "served": "wdbc", "reference": "wdbc@1"}
        known |= {name: value for name, value in EXTRA.items() if name in Known.__struct_fields__}
        try:
            yield Target(
                url=f"http://127.0.0.1:{server.server_port}",
                ca=None,
                doors=Doors(doors=[], open=[]),
                known=Known(**known),
                meter=Meter(seconds, requests, 10_000.0),
                scratch=scratch,
            )
        finally:
            server.shutdown()
            server.server_close()


EXTRA = {"incident": "", "most_body": 2**20}
"""Of `Known`, what nobody here asks for."""
