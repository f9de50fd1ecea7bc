"""The register of consent as JSON-LD: terms of the W3C Data Privacy Vocabulary 2.1 in the structure
that its guide gives for records of ISO/IEC TS 27560:2023.
"""

import datetime
from collections.abc import Sequence
from typing import Any

import msgspec

from casemate.config import PrivacyTable, ProjectTable
from casemate.controls.privacy.consents import Consent

VERSION = "2.1"
FORM = "casemate-consent-1"
CONTEXT = {
    "dpv": "https://w3id.org/dpv#",
    "dct": "http://purl.org/dc/terms/",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}
NOT_COVERED = (
    "notices: the version of the text alone, not its words, languages or form",
    "categories of personal data, processing, recipients, storage, jurisdiction: not in this file",
    "how consent was expressed, and by whom for somebody else",
    "expiry of consent",
    "identity of controllers: the project's name stands for them",
    "not checked against ISO/IEC TS 27560:2023 itself, whose text is not free",
)
"""What a record of the standard has and this file lacks."""


def document(
    project: ProjectTable,
    privacy: PrivacyTable,
    records: Sequence[Consent],
    now: datetime.datetime,
) -> bytes:
    """The register as one document.

    Args:
        project: whose.
        privacy: which texts count.
        records: by person and purpose in the order in which they count.
        now: the time.
    """
    histories: dict[tuple[str, str], list[Consent]] = {}
    for one in records:
        histories.setdefault((one.subject, one.purpose), []).append(one)
    found = {
        "@context": CONTEXT | {"casemate": f"urn:casemate:{FORM}#"},
        "@id": f"urn:casemate:{project.id}:consent",
        "dct:conformsTo": f"https://w3id.org/dpv/{VERSION}",
        "casemate:form": FORM,
        "casemate:notCovered": list(NOT_COVERED),
        "dct:created": _time(now.astimezone(datetime.UTC).isoformat(timespec="seconds")),
        "@graph": [
            _record(project, privacy, place, history)
            for place, history in enumerate(histories.values())
        ],
    }
    return msgspec.json.format(msgspec.json.encode(found)) + b"\n"


def _record(
    project: ProjectTable, privacy: PrivacyTable, place: int, history: list[Consent]
) -> dict[str, Any]:
    newest = history[-1]
    basis = privacy.basis.get(newest.purpose)
    return {
        "@id": f"urn:casemate:{project.id}:consent:{place}",
        "@type": "dpv:ConsentRecord",
        "dpv:hasDataSubject": f"urn:casemate:{project.id}:subject:{newest.subject}",
        "dpv:hasDataController": project.name,
        "dpv:hasPurpose": newest.purpose,
        "dpv:hasLegalBasis": "dpv:Consent",
        "casemate:textsThatCount": [] if basis is None else list(basis.texts),
        "dpv:hasConsentStatus": [_status(one) for one in history],
    }


def _status(one: Consent) -> dict[str, Any]:
    found: dict[str, Any] = {
        "@type": "dpv:ConsentGiven" if one.given else "dpv:ConsentWithdrawn",
        "dpv:isIndicatedAtTime": _time(one.time),
    }
    if one.text:
        found["dpv:hasNotice"] = one.text
    if one.source:
        found["dct:source"] = one.source
    return found


def _time(text: str) -> dict[str, str]:
    return {"@type": "xsd:dateTime", "@value": text}
