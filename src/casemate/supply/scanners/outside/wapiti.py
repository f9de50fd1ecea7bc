"""What a gateway does with attacks on its web side, by wapiti (https://wapiti-scanner.github.io).

It ends with exit code 0 whatever it finds, and also where nobody answered, with a report of nothing
(3.2.3); what it sent, the token too, stands in its report. So the report is read and not kept, the
relay has the token, and a fault that was made for it must be found.
"""

import re
from urllib.parse import urlsplit

import msgspec

from casemate.core.text import clean
from casemate.core.types.scan import Grade, ScanKind
from casemate.supply.scanners.endpoint.matrix import place_of
from casemate.supply.scanners.interface import CouldNotLook, Hit, Looked, Place
from casemate.supply.scanners.outside.described import concrete, document, roles, values_of
from casemate.supply.scanners.outside.relay import PROBE, Relay
from casemate.supply.scanners.outside.schemathesis import LEAST_SECONDS, left
from casemate.supply.scanners.process import find, parsed, run

MODULES = ("crlf", "exec", "file", "http_headers", "methods", "redirect", "sql", "xss")
"""None that lets the gateway call, or look up, a server of wapiti's authors (ssrf, log4shell)."""
GRADES: dict[int, Grade] = {1: "low", 2: "medium", 3: "high", 4: "critical"}
PROBED_BY = "xss"
FAILED = "Internal Server Error"
"""Any status from 500 on, such as a door that is closed for now."""
HALTED = ("Max scan time was reached", "Max attack time was reached")
TOLD = {
    "get": {
        "operationId": "casemate-probe",
        "parameters": [
            {"name": "shown", "in": "query", "required": True, "schema": {"type": "string"}}
        ],
        "responses": {"200": {"description": "Done"}},
    }
}
_CWE = re.compile(r"^CWE-[1-9][0-9]{0,4}\b")


class _Class(msgspec.Struct):
    ref: dict[str, str] = {}


class _Found(msgspec.Struct):
    method: str
    path: str
    info: str
    level: int
    module: str
    parameter: str | None = None


class _Infos(msgspec.Struct):
    version: str
    crawled_pages_nbr: int


class _Report(msgspec.Struct):
    """What `-f json` writes; `additionals` are no weaknesses."""

    classifications: dict[str, _Class]
    vulnerabilities: dict[str, list[_Found]]
    anomalies: dict[str, list[_Found]]
    infos: _Infos


class Wapiti:
    """Looks at a gateway as whoever may ask for most."""

    id = "wapiti"
    kind: ScanKind = "endpoint"

    def look(self, place: Place) -> Looked:
        """See `Scanner.look`."""
        target = place.running()
        if not target.scratch:
            note = "only a scratch copy is attacked by wapiti"
            return Looked(scanner=self.id, kind=self.kind, notes=[note])
        find(place, "wapiti")
        offered = document(target)
        groups = roles(target, offered)
        if not groups:
            raise CouldNotLook("nobody may ask for anything that the document describes")
        may, those = next(iter(groups.items()))
        one = those[0]
        seconds = int(min(left(target), place.seconds))
        if seconds < LEAST_SECONDS:
            raise CouldNotLook("the scan's time is over", hint="[scan.endpoint] seconds")
        relay = Relay(target, lambda *_: one, always=True)
        values = values_of(target)
        with relay.open():
            described = concrete(offered, sorted(may), values, relay.url, TOLD)
            report, said = _report(place, relay, described, seconds)
        hits = _hits(report, failed=relay.failed)
        unseen = relay.why_not()
        if not any(hit.path == place_of(PROBE) and hit.rule.endswith(PROBED_BY) for hit in hits):
            unseen |= {"": "it does not find a fault that was made for it"}
        if report.infos.crawled_pages_nbr < len(may):
            unseen["pages"] = f"{report.infos.crawled_pages_nbr} of {len(may)} were looked at"
        if any(words in said for words in HALTED):
            unseen["time"] = f"it did not end within {seconds} s"
        return Looked(
            scanner=self.id,
            kind=self.kind,
            version=clean(report.infos.version, 40).removeprefix("Wapiti "),
            hits=[hit for hit in hits if hit.path != place_of(PROBE)],
            count=relay.statuses.total(),
            unseen=unseen,
        )


def _report(place: Place, relay: Relay, described: bytes, seconds: int) -> tuple[_Report, str]:
    document = place.folder("wapiti-document") / "openapi.json"
    document.write_bytes(described)
    # its time for a scan is that of looking for pages alone; each module has one of its own
    share = max(1, seconds // (len(MODULES) + 1))
    words = [
        *("-u", f"{relay.url}/", "--swagger", str(document), "-m", ",".join(MODULES)),
        *("--flush-session", "--store-session", "session", "--store-config", "config"),
        *("--scope", "folder", "-d", "2", "--tasks", "2", "--timeout", "20", "--no-bugreport"),
        *("--max-scan-time", str(share), "--max-attack-time", str(share)),
        *("-v", "0", "-f", "json", "-o", "report.json"),
    ]
    ran = run(place, "wapiti", words, own_folder=True, port=relay.port)
    if ran.code != 0:  # which it is with findings and without
        raise CouldNotLook(f"wapiti ended with exit code {ran.code}: {ran.errors[-200:]}")
    said = ran.output.decode(errors="replace") + ran.said()
    return parsed("wapiti", ran.file("report.json"), _Report), said


def _hits(report: _Report, *, failed: bool) -> list[Hit]:
    """Its findings; `failed`: the gateway failed at all, which the relay knows."""
    found: dict[tuple[str, ...], Hit] = {}
    for name, listed in [*report.vulnerabilities.items(), *report.anomalies.items()]:
        about = report.classifications.get(name, _Class())
        for one in listed if failed or name != FAILED else ():
            grade = GRADES.get(one.level)
            if grade is None:
                raise CouldNotLook(f"wapiti knows a level {one.level}")
            parameter = one.parameter or ""
            path = place_of(urlsplit(one.path).path)
            material = f"{name} {one.method} {parameter}"
            hit = Hit(
                rule=f"wapiti.{one.module[:40]}",
                severity=grade,
                message=f"{name}: {one.method}" + (f", parameter {parameter}" if parameter else ""),
                path=path,
                material=material,
                references=[word[0] for key in about.ref if (word := _CWE.match(key))],
            )
            found.setdefault((path, material), hit)
    return list(found.values())
