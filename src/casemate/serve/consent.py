"""Consent over HTTP: a form, a clinic's system or an app tells what people allowed and took back.
Identifiers stand in bodies, never in a path.
"""

import asyncio
import functools
from typing import Any

import msgspec

from casemate.core.errors import ConfigError, DataError, RequestError
from casemate.operations.rights.consent import ConsentOf, ImportedConsents, ShownConsent
from casemate.respond.alerts import time_of
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
    try:
        if name == "consent-add":
            records = msgspec.json.decode(body, type=ConsentBody).records
            cells: list[dict[str, Any]] = [msgspec.structs.asdict(one) for one in records]
            return consent.add(cells)
        if name == "consent-show":
            return consent.show(msgspec.json.decode(body, type=SubjectBody).subject)
        said = msgspec.json.decode(body, type=WithdrawalBody)
        at = None if said.at is None else time_of(said.at, "at")
        return consent.withdraw(said.subject, said.purpose, at=at, source=said.source)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        # the decoder's words name the field and not the value, which may be an identifier
        raise RequestError(f"the body is not as expected: {error}") from error
    except (ConfigError, DataError) as error:
        raise RequestError(error.message) from error
