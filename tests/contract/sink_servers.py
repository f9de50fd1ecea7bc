"""Receivers that behave as they are told: well, busy, silent, slow, wrong."""

import http.server
import json
import socketserver
import ssl
import threading

POISON = "poison"
"""A line with this word in its message is refused."""


class Receiver:
    """A server of one kind on a free port; `mode` says how it behaves from now on."""

    def __init__(self, kind, folder=None):
        self.kind, self.mode, self.after = kind, "well", ""
        self.lines, self.requests, self.headers = {}, 0, {}
        self.over = threading.Event()
        handler = _Syslog if kind == "syslog" else _Http
        self.server = _Server(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.server.receiver = self
        self.context = None
        if folder is not None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(folder / "server.pem", folder / "server.key")
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        plain, secure = ("tcp", "tls") if self.kind == "syslog" else ("http", "https")
        scheme = plain if self.context is None else secure
        return f"{scheme}://127.0.0.1:{self.server.server_address[1]}"

    def close(self):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()

    def take(self, identity, message):
        """How often it got a line; -1: it refuses it."""
        if POISON in message:
            return -1
        self.lines[identity] = self.lines.get(identity, 0) + 1
        return self.lines[identity]


class _Server(socketserver.ThreadingTCPServer):
    def handle_error(self, request, client_address):
        """Whoever goes while it is answered is no fault here."""


class _Handler:
    """Wraps the connection, and misbehaves where that needs no protocol."""

    def setup(self):
        self.receiver = self.server.receiver
        if self.receiver.context is not None:
            try:
                self.request = self.receiver.context.wrap_socket(self.request, server_side=True)
            except OSError:
                self.request.close()
                raise
        super().setup()

    def handle(self):
        mode = self.receiver.mode
        if mode == "silent":
            self.receiver.over.wait(60)
        elif mode == "garbage":
            self.request.recv(65536)
            self.request.sendall(b"\x00SSH-2.0-no\r\n\r\n" * 3)
        elif mode == "cut":
            self.request.recv(1000)
            # unread content makes the kernel reset the connection
            self.request.close()
        elif mode == "drips":
            self.request.recv(1000)
            while not self.receiver.over.wait(0.05):
                self.request.sendall(b"H")
        else:
            super().handle()


class _Http(_Handler, http.server.BaseHTTPRequestHandler):
    def finish(self):
        try:
            super().finish()
        except OSError:
            pass

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.send_response(200)
        self.end_headers()

    def do_PUT(self):
        self._answer(200, {"acknowledged": True})

    def do_POST(self):
        receiver = self.receiver
        receiver.requests += 1
        receiver.headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(self.headers["content-length"]))
        if receiver.mode == "html":
            return self._answer(200, None, b"<html>maintenance</html>")
        if receiver.mode.isdigit():
            return self._answer(int(receiver.mode), {"error": "told so"})
        return getattr(self, f"_{receiver.kind}")(body)

    def _answer(self, status, value, raw=b""):
        content = raw or json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        if self.receiver.after:
            self.send_header("retry-after", self.receiver.after)
        self.end_headers()
        self.wfile.write(content)

    def _elasticsearch(self, body):
        rows = [json.loads(row) for row in body.splitlines()]
        items = []
        for action, row in zip(rows[::2], rows[1::2], strict=True):
            name = action["create"]["_id"]
            if self.receiver.mode == "partly" and items:
                error = {"type": "es_rejected_execution_exception", "reason": "queue is full"}
                items.append({"create": {"_id": name, "status": 429, "error": error}})
                continue
            count = self.receiver.take(name, row["message"])
            item = {"_id": name, "status": 201 if count == 1 else 409 if count > 1 else 400}
            if count < 0:
                item["error"] = {"type": "document_parsing_exception", "reason": "no such thing"}
            if self.receiver.mode == "diverts":
                item |= {"status": 201, "failure_store": "used"}
            items.append({"create": item})
        self._answer(200, {"errors": True, "items": items, "took": 1})

    def _splunk(self, body):
        events = [json.loads(row)["event"] for row in body.split(b"\n")]
        for at, event in enumerate(events):
            if POISON in event["message"]:
                said = {"text": "Invalid data format", "code": 6, "invalid-event-number": at}
                return self._answer(400, said)
        for event in events:
            self.receiver.take(event["event.id"], event["message"])
        return self._answer(200, {"text": "Success", "code": 0})

    def _otlp(self, body):
        rejected = 0
        for record in json.loads(body)["resourceLogs"][0]["scopeLogs"][0]["logRecords"]:
            name = next(
                one["value"]["stringValue"]
                for one in record["attributes"]
                if one["key"] == "log.record.uid"
            )
            rejected += self.receiver.take(name, record["body"]["stringValue"]) < 0
        partial = {"rejectedLogRecords": str(rejected), "errorMessage": "no such thing"}
        self._answer(200, {"partialSuccess": partial} if rejected else {})


class _Syslog(_Handler, socketserver.BaseRequestHandler):
    def handle(self):
        if self.receiver.mode == "well":
            self._read()
        else:
            super().handle()

    def _read(self):
        content = b""
        while part := self.request.recv(65536):
            content += part
        while content:
            length, _, rest = content.partition(b" ")
            message, content = rest[: int(length)].decode(), rest[int(length) :]
            name = message.partition('event.id="')[2].partition('"')[0]
            self.receiver.take(name, message)
        if isinstance(self.request, ssl.SSLSocket):
            self.request.unwrap()
