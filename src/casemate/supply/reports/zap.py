"""Reports of ZAP (https://www.zaproxy.org): "Traditional JSON Report" and "Traditional XML Report".

Both come from the same template: of each site its alerts, of each alert every instance. JSON has
its texts escaped for HTML; `created` is there since 2.14.
"""

from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from casemate.core.types.scan import Grade
from casemate.supply.reports.reading import (
    Report,
    answer,
    decoded,
    moment,
    plain,
    scanner_of,
)
from casemate.supply.scanners.interface import CouldNotLook, Hit, Looked

TOOL = "zap"
NAMES = {"ZAP", "OWASP ZAP"}
GRADES: dict[str, Grade] = {"1": "low", "2": "medium", "3": "high"}
"""https://www.zaproxy.org/docs/constants/: 0 is informational, which is left out and counted."""
MOST_DEPTH = 30
"""Levels of XML; a report has seven."""
MOST_TEXT = 100_000
"""Characters of one text in it."""
Number = Annotated[str, Meta(pattern=r"^-?[0-9]{1,9}$(?!\n)")]


class Instance(msgspec.Struct):
    """Where an alert was raised."""

    uri: str
    method: str
    param: str = ""


class Alert(msgspec.Struct):
    """What is wrong."""

    pluginid: Number
    name: str
    riskcode: Annotated[str, Meta(pattern=r"^[0-3]$(?!\n)")]
    instances: list[Instance]
    alertRef: str = ""  # noqa: N815 - ZAP's name
    cweid: str = ""
    solution: str = ""
    systemic: bool | str = False


class Site(msgspec.Struct):
    """One that was looked at."""

    name: str = msgspec.field(name="@name")
    alerts: list[Alert]


class Document(msgspec.Struct):
    """The report."""

    version: str = msgspec.field(name="@version")
    site: list[Site]
    programName: str = msgspec.field(name="@programName", default="ZAP")  # noqa: N815 - ZAP's name
    created: str | None = None


def read(content: bytes) -> Report:
    """What a report says, in JSON or XML.

    Raises:
        CouldNotLook: it is none of ZAP's, or says nothing about any site.
    """
    if content.lstrip()[:1] == b"<":
        document = _of_xml(content)
        text: Callable[[str], str] = str
    else:
        document, text = decoded("traditional JSON report of ZAP", content, Document), plain
    if document.programName not in NAMES:
        raise CouldNotLook(f"this is a report of {document.programName[:60]!r}, not of ZAP")
    if not document.site:
        raise CouldNotLook(
            "the report is about no site: ZAP reached none",
            hint="see that ZAP could sign in and import the OpenAPI document",
        )
    looked = [_site(one, document.version, text) for one in document.site]
    return Report(looked, moment(document.created))


def _site(site: Site, version: str, text: Callable[[str], str]) -> Looked:
    origin = _origin(site.name)
    hits = [hit for one in site.alerts for hit in _hits(one, origin, text)]
    told = sum(one.riskcode == "0" for one in site.alerts)
    notes = [f"{told} informational alerts: they are no weaknesses"] if told else []
    return answer(scanner_of(TOOL, origin), "endpoint", hits, version=version, notes=notes)


def _hits(alert: Alert, origin: str, text: Callable[[str], str]) -> list[Hit]:
    if alert.riskcode not in GRADES:
        return []
    rule = f"zap.{alert.alertRef or alert.pluginid}"
    name = plain(text(alert.name))

    def hit(path: str, where: str, method: str, param: str) -> Hit:
        return Hit(
            rule=rule,
            severity=GRADES[alert.riskcode],
            message=name + where,
            path=path,
            material=f"{method} {param}".strip(),
            references=[f"CWE-{alert.cweid}"]
            if alert.cweid.isdigit() and alert.cweid != "0"
            else [],
            mend=plain(alert.solution),
        )

    if str(alert.systemic).lower() == "true":  # everywhere: ZAP lists a few places of many
        return [hit(origin, ": everywhere", "", "")]
    if not alert.instances:
        raise CouldNotLook(f"the alert {name[:80]!r} says not where it was raised")
    found = []
    for one in alert.instances:
        # what was sent and answered may hold a token, and is not kept: neither is a query's value
        method, param = text(one.method)[:20], text(one.param)[:100]
        path = _path(text(one.uri), origin)
        where = f": {method}" + (f", parameter {param}" if param else "")
        found.append(hit(path, where, method, param))
    return found


def _origin(url: str) -> str:
    """`https://HOST:PORT` of an address, without who it says to be."""
    try:
        parts = urlsplit(url[:2000])
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        parts, port = urlsplit(""), ""
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CouldNotLook(f"{url[:80]!r} is no site")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{port}"


def _path(url: str, origin: str) -> str:
    """An address without its query, which may hold what nobody else is to see."""
    try:
        return origin + (urlsplit(url[:2000]).path or "/")
    except ValueError:
        return origin


def _of_xml(content: bytes) -> Document:
    """The same document from XML, by a parser that takes no document type, and so no entities.

    Raises:
        CouldNotLook: it has one, is too deep, or is no report.
    """
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import DefusedXMLParser

    target = _Target()
    parser = DefusedXMLParser(target=target, forbid_dtd=True)
    try:
        for start in range(0, len(content), 65536):
            parser.feed(content[start : start + 65536])
        built = parser.close()
    except DefusedXmlException as error:
        raise CouldNotLook(
            "the report has a document type or entities, which no report of ZAP has",
            hint="take it from ZAP itself",
        ) from error
    except (ParseError, ValueError, LookupError) as error:
        raise CouldNotLook(f"this is no traditional XML report of ZAP: {error}") from error
    try:
        return msgspec.convert(built, Document)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise CouldNotLook(f"this is no traditional XML report of ZAP: {error}") from error


class _Target:
    """Builds what `Document` is made of, while it is read; keeps only what it knows."""

    LISTS = {"site": ("site", ["OWASPZAPReport"]),
             "alertitem": ("alerts", ["OWASPZAPReport", "site", "alerts"]),
             "instance": ("instances", ["OWASPZAPReport", "site", "alerts", "alertitem",
                                        "instances"])}  # fmt: skip
    TEXTS = {"pluginid", "alertRef", "name", "riskcode", "cweid", "solution", "systemic",
             "uri", "method", "param"}  # fmt: skip

    def __init__(self) -> None:
        self.path: list[str] = []
        self.open: list[dict[str, Any]] = []
        self.whole: dict[str, Any] = {}
        self.text: list[str] = []
        self.size = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        if len(self.path) >= MOST_DEPTH:
            raise ValueError(f"it has more than {MOST_DEPTH} levels")
        if not self.path:
            if tag != "OWASPZAPReport":
                raise ValueError(f"it begins with <{tag[:40]}>")
            known: dict[str, Any] = {"@version": attributes.get("version"), "site": []}
            self.whole = known | {"@programName": attributes.get("programName", "ZAP")}
            self.whole["created"] = attributes.get("created")
            self.open = [self.whole]
        elif tag in self.LISTS and self.LISTS[tag][1] == self.path:
            made: dict[str, Any] = {}
            if tag == "site":
                made = {"@name": attributes.get("name"), "alerts": []}
            elif tag == "alertitem":
                made = {"instances": []}
            self.open[-1][self.LISTS[tag][0]].append(made)
            self.open.append(made)
        self.path.append(tag)
        self.text, self.size = [], 0

    def data(self, text: str) -> None:
        """A part of a text."""
        self.size += len(text)
        if self.size <= MOST_TEXT:
            self.text.append(text)

    def end(self, tag: str) -> None:
        """An element ends."""
        self.path.pop()
        if tag in self.LISTS and self.LISTS[tag][1] == self.path:
            self.open.pop()
        elif tag in self.TEXTS and self.path[-1:] in (["alertitem"], ["instance"]):
            self.open[-1][tag] = "".join(self.text)
        self.text, self.size = [], 0

    def close(self) -> dict[str, Any]:
        """The whole."""
        return self.whole
