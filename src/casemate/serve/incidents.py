"""Alerts that other systems post, and what people do with incidents, over HTTP."""

import asyncio
import contextlib
import datetime
import functools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from casemate.core.errors import ConfigError, Error, RefusedError, RequestError
from casemate.operations.incidents import Incidents
from casemate.operations.incidents.intake import take
from casemate.respond.alerts import time_of
from casemate.respond.causes import Level
from casemate.respond.readers import Post, read
from casemate.respond.tables import NoIncident
from casemate.serve import bodies
from casemate.serve.admission import Caller
from casemate.serve.bodies import Receive, Scope
from casemate.serve.refusals import NotFound
from casemate.serve.routes import Found
from casemate.serve.types import JSON, Reply, json_of
from casemate.wiring import Wiring

MAX_BODY = 64 * 1024
"""Bytes of what people say about an incident: many times its longest text."""

MOST_TOGETHER = 2_000
"""Alerts in one transaction, from several messages: other writers wait that long, a few tenths of a
second."""


class Conflict(RequestError):
    """The incident is not in a state in which that can be done."""

    code = "CM-CONFLICT"
    http_status = 409


class IncidentBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person says of an incident; which fields count depends on the verb."""

    text: str = ""
    owner: str | None = None
    aware: str | None = None
    personal_data: bool | None = None
    served: str = ""
    severity: Level | None = None
    into: int | None = None

    @property
    def since(self) -> datetime.datetime | None:
        """The time in `aware`; RequestError when it is none."""
        return None if self.aware is None else time_of(self.aware, "aware")


def _assign(incidents: Incidents, number: int, said: IncidentBody) -> object:
    if said.owner is None:
        raise RequestError("say to whom: owner")
    return incidents.assign(number, said.owner)


def _grade(incidents: Incidents, number: int, said: IncidentBody) -> object:
    if said.severity is None:
        raise RequestError("say how severe it is: severity")
    return incidents.grade(number, said.severity, said.text)


def _merge(incidents: Incidents, number: int, said: IncidentBody) -> object:
    if said.into is None:
        raise RequestError("say of which it is part: into")
    return incidents.merge(number, said.into)


VERBS: dict[str, Callable[[Incidents, int, IncidentBody], object]] = {
    "acknowledge": lambda incidents, number, said: incidents.acknowledge(
        number, said.owner, aware=said.since, personal_data=bool(said.personal_data)
    ),
    "contain": lambda incidents, number, said: incidents.contain(number, said.text),
    "recover": lambda incidents, number, said: incidents.recover(number, said.text),
    "close": lambda incidents, number, said: incidents.close(number, said.text),
    "review": lambda incidents, number, said: incidents.review(number, said.text),
    "reopen": lambda incidents, number, said: incidents.reopen(number, said.text),
    "note": lambda incidents, number, said: incidents.note(
        number,
        said.text,
        served=said.served,
        aware=said.since,
        personal_data=said.personal_data,
    ),
    "assign": _assign,
    "severity": _grade,
    "merge": _merge,
}
"""What people do, by the last part of the path (`serve.routes.INCIDENT_VERBS`)."""


class AlertsHeard(msgspec.Struct, frozen=True):
    """What an alerting system is told: that it was heard, and nothing about incidents."""

    alerts: int
    """In its message."""


@dataclass(frozen=True)
class _Waiting:
    """A message that nobody has heard yet."""

    who: str
    post: Post
    heard: asyncio.Future[None]


class IncidentDoor:
    """Answers the routes whose names begin with `incident`."""

    def __init__(self, project: Wiring, most: int) -> None:
        """Say whose.

        Args:
            project: whose.
            most: bytes of a message of an alerting system.
        """
        self.project, self.most = project, most
        self._waiting: deque[_Waiting] = deque()
        self._hearing: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None

    async def answer(self, found: Found, scope: Scope, receive: Receive, caller: Caller) -> Reply:
        """What to say to a request that policy has let through at the door."""
        if found.route.name == "incident-alerts":
            return await self._heard(scope, receive, caller)
        headers = dict(scope["headers"])
        body = b""
        if found.route.method == "POST":
            body = await bodies.read(scope, headers, receive, MAX_BODY)
        bearer = headers.get(b"authorization", b"")[7:].decode("ascii", "replace")
        acting = functools.partial(self._acted, found, bearer, scope.get("certificate"), body)
        return Reply(200, JSON, json_of(await asyncio.to_thread(acting)))

    async def _heard(self, scope: Scope, receive: Receive, caller: Caller) -> Reply:
        headers = dict(scope["headers"])
        body = await bodies.read(scope, headers, receive, self.most)
        body = bodies.inflated(headers, body, self.most)
        post = await asyncio.to_thread(read, body, self.project.clock.now())
        heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(caller.principal.uid, post, heard))
        if self._hearing is None or self._hearing.done():
            self._hearing = asyncio.create_task(self._hear())
        await heard
        return Reply(200, JSON, json_of(AlertsHeard(alerts=len(post.alerts))))

    async def _hear(self) -> None:
        """What came while the last transaction went on is one transaction: alerts joined in any
        order come to the same, and an Alertmanager with a thousand groups posts a thousand
        messages at once.
        """
        while self._waiting:
            who, together, count = self._waiting[0].who, [], 0
            while self._waiting and self._waiting[0].who == who and count < MOST_TOGETHER:
                together.append(self._waiting.popleft())
                count += len(together[-1].post.alerts)
            post = Post(
                alerts=[one for waiting in together for one in waiting.post.alerts],
                over=[one for waiting in together for one in waiting.post.over],
            )
            fault: Exception | None = None
            try:
                taken = await asyncio.to_thread(take, self.project, who, post)
            except Exception as error:  # noqa: BLE001 - every sender hears of it, and sends again
                fault = error
            for waiting in together:
                if waiting.heard.done():  # whoever sent it has gone
                    continue
                if fault is None:
                    waiting.heard.set_result(None)
                else:
                    waiting.heard.set_exception(fault)
            if (
                fault is None
                and taken.incidents
                and (self._telling is None or self._telling.done())
            ):
                # whoever reports does not wait for those who are told
                self._telling = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        with contextlib.suppress(Error):  # what could not leave stays in the outbox
            await asyncio.to_thread(self.project.outbox.send)

    def _acted(self, found: Found, bearer: str, certificate: str | None, body: bytes) -> Any:
        """A person acts with their own session, and policy is asked by each operation."""
        incidents = Incidents(self.project.acting(bearer, certificate))
        try:
            if found.route.name == "incidents":
                return incidents.list()
            number = _number(found.incident)
            if found.route.name == "incident":
                return incidents.show(number)
            said = msgspec.json.decode(body or b"{}", type=IncidentBody)
            return VERBS[found.route.path[-1]](incidents, number, said)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise RequestError(f"the body is not as expected: {error}") from error
        except NoIncident as error:
            raise NotFound(error.message) from error
        except ConfigError as error:
            raise RequestError(error.message) from error
        except RefusedError as error:
            raise Conflict(error.message) from error


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise NotFound("no such incident")
    return int(text)
