"""A proxy before a server, which loses, cuts, delays and falsifies answers on order."""

import http.client
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HTML = b"<!DOCTYPE html><html><body>Log in to go on</body></html>"

FAILED = (
    "Sun Nov 29 09:09:29 2026: An error occurred. Please check the server log for more information."
)
INSTEAD = {
    "failed": (
        400,
        "application/json",
        json.dumps({"error": {"status": 400, "msg": FAILED}}).encode(),
    ),
    "400 page": (400, "text/html", HTML),
    "html": (200, "text/html", HTML),
    "garbage": (200, "application/json", b'{"a": ' * 100_000),
}
"""Answers that come in place of the server's."""


class FaultyProxy:
    """Hands requests on to `target`; `plan` says what goes wrong with the next ones that match."""

    def __init__(self, target: str) -> None:
        self.target = urlsplit(target)
        self.asked, self.planned, self.lock = [], [], threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def handle_one(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                proxy.serve(self, body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_one

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_):
                """Clients that are gone are what this is about."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.origin = f"http://127.0.0.1:{self.server.server_port}"
        self.url = f"{self.origin}{self.target.path.rstrip('/')}"

    def plan(self, method: str, path: str, fault: str, times: int = 1) -> None:
        """Let `fault` happen to the next `times` requests whose path matches."""
        with self.lock:
            self.planned += [(method, re.compile(path), fault)] * times

    def calm(self) -> None:
        """Nothing goes wrong any more."""
        with self.lock:
            self.planned.clear()

    def _fault(self, method: str, path: str) -> str:
        with self.lock:
            self.asked.append((method, path))
            for at, (verb, pattern, fault) in enumerate(self.planned):
                if verb == method and pattern.search(path):
                    del self.planned[at]
                    return fault
        return ""

    def serve(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        fault = self._fault(handler.command, handler.path)
        if fault.isdigit():
            more = {"retry-after": "1"} if fault in ("429", "503") else {}
            more |= {"location": "http://127.0.0.1:1/"} if fault == "302" else {}
            return self._answer(handler, int(fault), more, b"{}")
        if fault in INSTEAD:
            status, kind, content = INSTEAD[fault]
            return self._answer(handler, status, {"content-type": kind}, content)
        connection = http.client.HTTPConnection(self.target.hostname, self.target.port, timeout=30)
        kept = {n: v for n, v in handler.headers.items() if n.lower() != "host"}
        for name in {"origin", "referer"} & set(map(str.lower, kept)):
            # the server's own address, as where a proxy has the public one
            value = {n.lower(): v for n, v in kept.items()}[name]
            kept = {n: v for n, v in kept.items() if n.lower() != name}
            kept[name] = value.replace(self.origin, f"http://{self.target.netloc}")
        connection.request(handler.command, handler.path, body or None, kept)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        headers = {
            name.lower(): value
            for name, value in answer.getheaders()
            if name.lower() not in ("content-length", "transfer-encoding", "date", "server")
        }
        if fault == "lost":
            handler.connection.close()
            return None
        if fault == "500 afterwards":
            return self._answer(handler, 500, {}, b"{}")
        if fault == "cut":
            return self._answer(handler, answer.status, headers, content[:-5], len(content))
        if fault == "slow":
            return self._drip(handler, answer.status, headers, content)
        if fault == "another":
            content = another(content)
        return self._answer(handler, answer.status, headers, content)

    @staticmethod
    def _answer(handler, status, headers, content, length=None):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        if status != 204:
            handler.send_header("content-length", str(len(content) if length is None else length))
        handler.end_headers()
        if status != 204:
            handler.wfile.write(content)
        handler.close_connection = True

    @staticmethod
    def _drip(handler, status, headers, content):
        """A byte now and then: no step of the connection waits for long, all of it would."""
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(content)))
        handler.end_headers()
        for at in range(len(content)):
            handler.wfile.write(content[at : at + 1])
            handler.wfile.flush()
            time.sleep(0.2)
        handler.close_connection = True

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def another(content: bytes) -> bytes:
    """The answer about the ticket with the next higher number."""
    value = json.loads(content)

    def shift(node):
        for name in ("id", "iid", "number"):
            if isinstance(node.get(name), int):
                node[name] += 1
            elif isinstance(node.get(name), str) and node[name].isdigit():
                node[name] = str(int(node[name]) + 1)

    shift(value)
    if isinstance(value.get("data"), dict):
        shift(value["data"])
    return json.dumps(value).encode()
