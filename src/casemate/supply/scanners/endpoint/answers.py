"""What answers give away, and where credentials are taken from: headers, texts of errors, what
tells strangers apart, doors that nobody lists.

After OWASP's API Security Top 10 of 2023 (API8, API9) and its REST security cheat sheet.
"""

import re
from collections.abc import Iterator, Mapping

from casemate.core.types.scan import Grade, ScanKind
from casemate.supply.scanners.endpoint.doors import PUBLIC
from casemate.supply.scanners.endpoint.matrix import ABSENT, ABSENT_INCIDENT, SAFE, place_of
from casemate.supply.scanners.interface import CouldNotLook, Hit, Looked, Place
from casemate.supply.scanners.running import Client, Identity, Reply, Target

TOLD = ("server", "x-powered-by", "x-aspnet-version", "x-generator", "x-runtime", "via", "x-debug")
"""Headers that say what answers, and are of use to nobody but an attacker."""
INSIDE = re.compile(
    rb"Traceback \(most recent|File \"[^\"]+\", line \d+|\.py\", line|site-packages|"
    rb"sqlalchemy|sqlite3\.|psycopg|/home/|/usr/lib/|CEDAR|policy\d+"
)
"""What only the inside of the gateway says."""
ELSEWHERE = ("access_token", "token", "api_key", "apikey", "key", "auth", "authorization", "jwt")
"""Names under which a token in a URL is taken by services that take it there."""
HEADERS = ("X-API-Key", "X-Auth-Token", "Api-Key", "X-Access-Token", "Proxy-Authorization")
ORIGIN = "https://scan.invalid"
HIDDEN = (
    "/docs", "/redoc", "/swagger", "/admin", "/console", "/debug", "/debug/pprof", "/env",
    "/actuator", "/actuator/env", "/server-status", "/graphql", "/.git/config", "/.env", "/trace",
    "/v1/models", "/v2/repository/index", "/v2/models", "/api", "/shutdown", "/config", "/users",
)  # fmt: skip
"""Doors of other services, debuggers and consoles; ours answers that there is no such path."""
BODIES = (b"", b"[", b"{}", b'{"inputs": 1}', b"\xff\xfe", b'{"id": {"a": []}}', b"null")
INERT = (b"[",)
"""What nothing can come of, for a gateway that others use."""
MEND = "see serve/types.py and serve/refusals.py, and what stands in front of the gateway"


class Answers:
    """Looks at what is said, and to whom."""

    id = "casemate-answers"
    kind: ScanKind = "endpoint"

    def look(self, place: Place) -> Looked:
        """See `Scanner.look`."""
        target = place.running()
        found: dict[tuple[str, str, str], Hit] = {}
        unseen: dict[str, str] = {}
        count = 0
        try:
            for hit in _all(target):
                count += 1
                if hit is not None:
                    found.setdefault((hit.rule, hit.path, hit.material), hit)
        except CouldNotLook as error:
            unseen[""] = f"after {count} answers: {error.sentence}"
        return Looked(scanner=self.id, kind=self.kind, version="1", hits=list(found.values()),
                      count=count, unseen=unseen)  # fmt: skip


def _all(target: Target) -> Iterator[Hit | None]:
    owner = target.widest()
    with Client(target) as client:
        for path, reply in _asked(target, client, owner):
            yield None
            yield from _of_headers(path, reply)
            if INSIDE.search(reply.body):
                text = f"{path}: the answer ({reply.status}) tells of the inside of the gateway"
                yield _hit("error-detail", "medium", text, "", "", ["CWE-209", "CWE-497"])
            if reply.status >= 500 and reply.status != 503:
                text = f"{path}: answered {reply.status}"
                yield _hit("error", "medium", text, path, str(reply.status), ["CWE-755"])
        yield from _carried(client, owner)
        yield from _strangers(target, client)
        for path in HIDDEN:
            status = client.ask("GET", path, owner.token).status
            text = f"{path} answers {status}, and is no door that the gateway lists"
            references = ["CWE-489", "CWE-1059", "OWASP-API9:2023"]
            is_door = path in {door.path for door in target.doors.doors}
            odd = status != 404 and not is_door
            yield _hit("door-unknown", "high", text, path, "hidden", references) if odd else None


def _asked(target: Target, client: Client, owner: Identity) -> Iterator[tuple[str, Reply]]:
    """Every door, as somebody who may go everywhere, as nobody, and with bodies that make no sense;
    from another site's page.
    """
    asking = {"Origin": ORIGIN}
    for door in target.doors.doors:
        path = door.path.replace("{incident}", ABSENT_INCIDENT)
        version = target.known.reference.rpartition("@")[2]
        path = path.replace("{name}", target.known.served).replace("{version}", version)
        if door.path.endswith("/end"):
            continue  # whoever asks would be nobody afterwards
        bodies = BODIES if target.scratch else INERT
        for body in (None,) if door.method in SAFE else bodies:
            yield door.path, client.ask(door.method, path, owner.token, body, asking)
        yield door.path, client.ask(door.method, path, "", None, asking)
        cors = {**asking, "Access-Control-Request-Method": door.method}
        yield door.path, client.ask("OPTIONS", path, owner.token, None, cors)
    yield "/", client.ask("GET", "/", owner.token, None, asking)
    yield "/", client.ask("GET", f"/{ABSENT}'\"<script>", owner.token, None, asking)


def _of_headers(path: str, reply: Reply) -> Iterator[Hit]:
    headers = reply.headers
    for name in TOLD:
        if name in headers:
            text = f"answers have the header {name}: {headers[name][:80]}"
            yield _hit("verbose-header", "low", text, "", name, ["CWE-200", "OWASP-API8:2023"])
    allowed = headers.get("access-control-allow-origin", "")
    if allowed in ("*", ORIGIN, "null"):
        text = f"pages of every site may read answers: access-control-allow-origin: {allowed}"
        grade: Grade = "high" if "access-control-allow-credentials" in headers else "medium"
        yield _hit("cors", grade, text, "", "", ["CWE-942", "OWASP-API8:2023"])
    kind = headers.get("content-type", "")
    if reply.body and not kind:
        text = f"{path}: an answer does not say what it is (content-type)"
        yield _hit("headers", "low", text, "", "content-type", ["CWE-430"])
    if "no-store" not in headers.get("cache-control", "") and path not in PUBLIC:
        text = f"{path}: answers may be kept by whoever passes them on (cache-control: no-store)"
        yield _hit("headers", "medium", text, "", "cache-control", ["CWE-525", "OWASP-API8:2023"])
    if kind.startswith("text/html"):
        yield from _of_page(path, headers)


def _of_page(path: str, headers: Mapping[str, str]) -> Iterator[Hit]:
    policy = headers.get("content-security-policy", "")
    missing = {
        "content-security-policy": bool(policy) and "unsafe-inline" not in policy,
        "x-content-type-options": headers.get("x-content-type-options") == "nosniff",
        "frame-ancestors": "frame-ancestors" in policy or "x-frame-options" in headers,
    }
    for name, there in missing.items():
        if not there:
            text = f"{path}: a page comes without {name}, or with one that allows everything"
            yield _hit("headers", "medium", text, path, name, ["CWE-693", "CWE-1021"])


def _carried(client: Client, owner: Identity) -> Iterator[Hit | None]:
    """Tokens anywhere but in `Authorization`: URLs stand in logs and histories (RFC 6750, section
    5.3), cookies go along with requests of other sites.
    """
    path = "/v2"
    for name in ELSEWHERE:
        status = client.ask("GET", f"{path}?{name}={owner.token}").status
        text = f"a token in the URL (?{name}=) is taken"
        references = ["CWE-598", "OWASP-API2:2023"]
        yield _hit("token-in-url", "high", text, "", name, references) if status != 401 else None
    for name in HEADERS:
        for value in (owner.token, f"Bearer {owner.token}"):
            status = client.ask("GET", path, headers={name: value}).status
            text = f"a token in the header {name} is taken"
            odd = status != 401
            yield _hit("token-elsewhere", "medium", text, "", name, ["CWE-287"]) if odd else None
    for name in ("session", "token", "access", "casemate"):
        status = client.ask("GET", path, headers={"Cookie": f"{name}={owner.token}"}).status
        text = f"a token in the cookie {name} is taken, which other sites' pages send along"
        odd = status != 401
        yield _hit("token-in-cookie", "high", text, "", name, ["CWE-352"]) if odd else None


def _strangers(target: Target, client: Client) -> Iterator[Hit | None]:
    """Whether one kind of bad credentials is told from another (CWE-203, CWE-204)."""
    said: dict[tuple[int, bytes, tuple[str, ...]], str] = {}
    for one in target.known.identities:
        if one.state in ("good", "narrowed"):
            continue
        reply = client.ask("GET", "/v2", one.token)
        kept = tuple(
            f"{name}: {value}" for name, value in sorted(reply.headers.items()) if name != "date"
        )
        said.setdefault((reply.status, reply.body, kept), f"{one.group} ({one.state})")
        yield None
    if len(said) > 1:
        text = f"bad credentials are told apart: {', '.join(sorted(said.values()))}"
        yield _hit("told-apart", "medium", text, "", "", ["CWE-203", "CWE-204", "OWASP-API2:2023"])


def _hit(
    name: str, grade: Grade, text: str, path: str, material: str, references: list[str]
) -> Hit:
    return Hit(
        rule=f"endpoint.{name}",
        severity=grade,
        message=text,
        path=place_of(path),
        material=material,
        references=references,
        mend=MEND,
    )
