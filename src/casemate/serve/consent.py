"""Consent over HTTP: a form, a clinic's system or an app tells what people allowed and took back.
Identifiers stand in bodies, never in a path.
"""

import asyncio
import datetime
import functools
from typing import Any

import msgspec

from casemate.core.errors import ConfigError, DataError, RequestError
from casemate.operations.rights.consent import ConsentOf, ImportedConsents, ShownConsent
from casemate.operations.rights.consentfile import time_of
from casemate.serve import bodies
from casemate.serve.bodies import Receive, Scope
from casemate.serve.types import JSON, Reply, json_of
from casemate.wiring import Wiring


class ConsentRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One consent or withdrawal, as a line of a file has it."""

    subject: str
    purpose: str
    time: str
    status: str
    """`given` or `withdrawn`."""
    text: str = ""
    source: str = ""


class ConsentBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What people allowed and took back; all of it is kept or none."""

    records: list[ConsentRecord]


class WithdrawalBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose consent is taken back."""

    subject: str
    purpose: str = ""
    at: str | None = None
    source: str = ""


class SubjectBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose consent is asked for."""

    subject: str


BODIES: dict[str, type[ConsentBody | SubjectBody | WithdrawalBody]] = {
    "consent-add": ConsentBody,
    "consent-show": SubjectBody,
    "consent-withdraw": WithdrawalBody,
}
"""By the name of the route."""


async def answer(project: Wiring, name: str, scope: Scope, receive: Receive, most: int) -> Reply:
    """What to say to a request that policy has let through at the door.

    Args:
        project: whose.
        name: of the route.
        scope: of the request.
        receive: gives its body.
        most: bytes of the body.
    """
    headers = dict(scope["headers"])
    body = bodies.inflated(headers, await bodies.read(scope, headers, receive, most), most)
    bearer = headers.get(b"authorization", b"")[7:].decode("ascii", "replace")
    acting = functools.partial(_acted, project, name, bearer, scope.get("certificate"), body)
    return Reply(200, JSON, json_of(await asyncio.to_thread(acting)))


def _acted(
    project: Wiring, name: str, bearer: str, certificate: str | None, body: bytes
) -> ImportedConsents | ShownConsent:
    """Whoever asks acts with their own session, and policy is asked by each operation."""
    consent = ConsentOf(project.acting(bearer, certificate))
    said = _said(name, body)
    try:
        if isinstance(said, ConsentBody):
            cells: list[dict[str, Any]] = [msgspec.structs.asdict(one) for one in said.records]
            return consent.add(cells)
        if isinstance(said, SubjectBody):
            return consent.show(said.subject)
        at = None if said.at is None else _at(said.at, project)
        return consent.withdraw(said.subject, said.purpose, at=at, source=said.source)
    except (ConfigError, DataError) as error:
        raise RequestError(error.message) from error


def _said(name: str, body: bytes) -> ConsentBody | SubjectBody | WithdrawalBody:
    """The body of a route; RequestError: it is none."""
    try:
        return msgspec.json.decode(body, type=BODIES[name])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        # the decoder quotes a field that it does not know, which may be an identifier
        known = ", ".join(BODIES[name].__struct_fields__)
        inner = ", ".join(ConsentRecord.__struct_fields__)
        more = f", and those of a record {inner}" if name == "consent-add" else ""
        raise RequestError(f"the body is not as expected: its fields are {known}{more}") from None


def _at(text: str, project: Wiring) -> datetime.datetime:
    """When a consent was taken back; RequestError, which does not quote it: it is no such time."""
    try:
        return time_of(text, project.clock.now())
    except ValueError as error:
        raise RequestError(f"at: {error}") from None
