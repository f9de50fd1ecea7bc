"""Malformed requests by the thousand: no 5xx, no hang, no crash, memory flat (`--full`: fifty
thousand).
"""

import itertools
import json
import random
import socket
import ssl
import time
from pathlib import Path

import pytest
from tests.attacks.test_gateway import Caller, new_token

PATHS = [
    "/v2/models/wdbc/infer",
    "/invocations",
    "/v2/models/wdbc/versions/1/infer",
    "/v2/models/wdbc/feedback",
    "/access/session/renew",
]
GOOD = {"inputs": [{"name": "x", "shape": [1, 30], "datatype": "FP64", "data": [1.0] * 30}]}


def texts(case):
    """JSON that is wrong or odd, and naughty strings."""
    found = [path.read_bytes() for path in sorted(Path(case("vectors/json")).glob("*.json"))]
    for path in sorted(Path(case("vectors/strings")).rglob("*")):
        if path.is_file():
            found += path.read_bytes().split(b"\n")[:700]
    return found


def bodies(vectors, draw):
    """A body: a vector, one inside a request that is otherwise fine, random bytes, or a good one
    that was bitten.
    """
    kind = draw.randrange(5)
    vector = draw.choice(vectors)
    if kind == 0:
        return vector
    if kind == 1:
        return b'{"inputs":' + vector + b"}"
    if kind == 2:
        text = vector.decode("utf-8", "replace")
        odd = draw.choice(
            [
                {
                    "inputs": [
                        {
                            **GOOD["inputs"][0],
                            draw.choice(["name", "datatype", "shape", "data"]): text,
                        }
                    ]
                },
                {"dataframe_records": [{text: 1}]},
                {"inputs": {text: [1]}},
                {**GOOD, "id": text, "outputs": [{"name": text}]},
            ]
        )
        return json.dumps(odd).encode()
    if kind == 3:
        return draw.randbytes(draw.randrange(200))
    good = bytearray(json.dumps(GOOD).encode())
    for _ in range(draw.randrange(1, 4)):
        good[draw.randrange(len(good))] = draw.randrange(256)
    return bytes(good)


def heads(token, body, draw):
    """The bytes of a request: mostly a fair head, sometimes an attack on it."""
    path = draw.choice(PATHS)
    auth = f"Authorization: Bearer {token}\r\n".encode()
    kind = draw.randrange(12)
    odd = {
        0: b"Content-Encoding: gzip\r\n",
        1: (
            b"Inference-Header-Content-Length: "
            + str(draw.choice([0, 5, -1, 10**30, "x"])).encode()
            + b"\r\n"
        ),
        2: b"Transfer-Encoding: chunked\r\n",
        3: b"Content-Type: text/csv\r\n",
        4: b"X: " + draw.randbytes(20).replace(b"\r", b"").replace(b"\n", b"") + b"\r\n",
        5: b"Content-Length: 3\r\n",
        6: b"A" * 70_000 + b": x\r\n",
        7: b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        8: b"Content-Type: " + draw.randbytes(8).hex().encode() + b"\r\n",
    }.get(kind, b"")
    start = (
        draw.choice([b"POST ", b"POST ", b"POST ", b"post ", b"GET ", draw.randbytes(4) + b" "])
        + path.encode()
    )
    if kind == 9:
        start += draw.choice([b"?a=b", b"/../..", b"%00", b"%ff", b"\x80", b" HTTP/1.1 x"])
    return (
        start
        + b" HTTP/1.1\r\nHost: x\r\n"
        + auth
        + odd
        + f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )


class Line:
    """A connection that is opened again when the gateway closes it."""

    def __init__(self, running):
        self.running, self.context, self.socket = (
            running,
            ssl.create_default_context(cafile=str(running.ca)),
            None,
        )

    def ask(self, content):
        """The status of the answer; None when the connection was closed without one."""
        if self.socket is None:
            self.socket = self.context.wrap_socket(
                socket.create_connection(("127.0.0.1", self.running.port), timeout=15),
                server_hostname="127.0.0.1",
            )
        try:
            self.socket.sendall(content)
            answer = b""
            while b"\r\n\r\n" not in answer:
                more = self.socket.recv(65536)
                if not more:
                    raise ConnectionResetError
                answer += more
            head, _, body = answer.partition(b"\r\n\r\n")
            length = next(
                (
                    int(line[15:])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length:")
                ),
                0,
            )
            while len(body) < length:
                body += self.socket.recv(65536) or b" " * length
        except (ConnectionError, ssl.SSLError, TimeoutError) as error:
            assert not isinstance(error, TimeoutError), content[:300]
            self.close()
            return None
        if b"connection: close" in head.lower():
            self.close()
        return int(answer[9:12])

    def close(self):
        if self.socket is not None:
            self.socket.close()
        self.socket = None


def memory(pid):
    return (
        sum(
            int(line.split()[1])
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            if line.startswith("Pss:")
        )
        / 1024
    )


def test_malformed_requests_are_refused_and_nothing_else_happens(gateway, case, scale):
    running, project = gateway
    token = new_token(project, "fuzzer")[0]
    vectors, draw, line = texts(case), random.Random(7), Line(running)
    count, seen, first = scale(1500, 50_000), {}, None
    for number in range(count):
        request = heads(token, bodies(vectors, draw), draw)
        status = line.ask(request)
        assert status is None or status < 500, (status, request[:500])
        seen[status] = seen.get(status, 0) + 1
        # what is left over of a request must not become the next one
        if draw.random() < 0.3 or b"Content-Length: 3\r\n" in request:
            line.close()
        if number == count // 3:
            first = memory(running.process.pid)
    line.close()
    assert seen.get(400, 0) > count / 4
    assert memory(running.process.pid) - first < 30
    assert running.process.poll() is None
    began = time.monotonic()
    assert Caller(running, new_token(project, "after")[0])("POST", PATHS[0], GOOD)[0] == 200
    assert time.monotonic() - began < 2
    project.decisions.check()


SMUGGLED = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"Content-Length: 0x5\r\n",
        b" Content-Length: 5\r\n",
        b"X: a\nContent-Length: 5\r\n",
    ],
)
def test_a_request_whose_length_is_in_doubt_is_refused_and_its_connection_ends(gateway, head):
    running, project = gateway
    token = new_token(project, "smuggler")[0]
    line = Line(running)
    line.ask(
        b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
        + token.encode()
        + b"\r\n\r\n"
    )
    line.socket.sendall(
        b"POST /v2/models/wdbc/infer HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
        + token.encode()
        + b"\r\n"
        + head
        + b"\r\n0\r\n\r\n"
        + SMUGGLED
    )
    answer = b""
    line.socket.settimeout(15)
    try:
        while more := line.socket.recv(65536):
            answer += more
    except (ConnectionError, ssl.SSLError):
        pass
    line.close()
    statuses = [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert statuses in ([], [400]), answer


def test_pipelined_requests_are_answered_in_their_order(gateway):
    running, project = gateway
    token = new_token(project, "pipe")[0].encode()
    line = Line(running)
    line.ask(
        b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + b"\r\n\r\n"
    )
    paths = list(
        itertools.islice(
            itertools.cycle([b"/v2", b"/v2/health/live", b"/v2/models/none", b"/version"]), 40
        )
    )
    line.socket.sendall(
        b"".join(
            b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + b"\r\n\r\n"
            for path in paths
        )
    )
    answer = b""
    while answer.count(b"HTTP/1.1 ") < len(paths) or not answer.rstrip().endswith(b"0.1.0"):
        more = line.socket.recv(65536)
        assert more, answer[-300:]
        answer += more
        if answer.count(b"HTTP/1.1 ") == len(paths):
            break
    line.close()
    assert [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]] == [
        200 if path != b"/v2/models/none" else 404 for path in paths
    ]
