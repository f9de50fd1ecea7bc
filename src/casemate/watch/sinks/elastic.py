"""Elasticsearch and what speaks its `_bulk`: every line a `create` into a data stream, with its
`event.id` as `_id`, so that a line that is there already is recognised.

Plain HTTP with plain media types, which every version from 7 on takes: docs/adr/0050.
"""

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from casemate.watch.sinks.interface import Item, Kind, Refusal, Sent, SinkAway, reason_of
from casemate.watch.sinks.template import name_of, template
from casemate.watch.sinks.wire import Place, request, taken

THERE = 409
"""Somebody wrote this `_id` before: this sink, before it died."""
LATER = (401, 403, 404, 408, 429)
"""Statuses of an item that do not lie in the item, beside those from 500 on."""


class _Action(msgspec.Struct, frozen=True):
    status: int
    id: str = msgspec.field(name="_id", default="")
    error: Any = None
    failure_store: str = ""


class _Answer(msgspec.Struct, frozen=True):
    items: list[dict[str, _Action]]


class Elastic:
    """Sends to one data stream."""

    takes: frozenset[Kind] = frozenset({"lines"})

    def __init__(
        self,
        to: Place,
        stream: str,
        user: str | None,
        secret: Callable[[], str] | None,
        *,
        template: bool,
    ) -> None:
        """Without `user` the secret is an API key."""
        self.to, self.stream, self.user, self.secret = to, stream, user, secret
        self.wants_template = template

    def send(self, batch: Sequence[Item]) -> Sent:
        """See `Sender`."""
        headers = self._headers()
        if self.wants_template:
            self._put_template(headers)
            self.wants_template = False
        body = b"".join(
            b'{"create":{"_id":%s}}\n%s\n' % (msgspec.json.encode(item.id), item.raw)
            for item in batch
        )
        reply = request(
            self.to,
            "POST",
            f"/{self.stream}/_bulk",
            body,
            headers | {"content-type": "application/x-ndjson"},
        )
        answer = taken(self.to, reply)
        try:
            actions = [
                action
                for item in msgspec.json.decode(answer, type=_Answer).items
                for action in item.values()
            ]
        except msgspec.DecodeError as error:
            raise SinkAway(f"{self.to.name} did not answer as Elasticsearch does") from error
        if len(actions) != len(batch):
            raise SinkAway(f"{self.to.name} answered about {len(actions)} of {len(batch)} lines")
        return _judged(batch, actions)

    def _put_template(self, headers: dict[str, str]) -> None:
        path = f"/_index_template/{name_of(self.stream)}"
        if request(self.to, "HEAD", path, None, headers).status == 200:
            return
        body = json.dumps(template(self.stream)).encode()
        reply = request(self.to, "PUT", path, body, headers | {"content-type": "application/json"})
        if reply.status == 403:
            raise SinkAway(
                f"{self.to.name} does not let this key put the index template",
                hint="casemate deploy elasticsearch renders it; then set template = false",
            )
        taken(self.to, reply)

    def _headers(self) -> dict[str, str]:
        if self.secret is None:
            return {}
        if self.user is None:
            return {"authorization": f"ApiKey {self.secret()}"}
        both = base64.b64encode(f"{self.user}:{self.secret()}".encode()).decode()
        return {"authorization": f"Basic {both}"}


def _judged(batch: Sequence[Item], actions: Sequence[_Action]) -> Sent:
    """What became of each line, up to the first that has to be sent again."""
    accepted = diverted = left = 0
    refused: list[Refusal] = []
    why = ""
    for at, (item, action) in enumerate(zip(batch, actions, strict=True)):
        if action.status in LATER or action.status >= 500:
            left, why = len(batch) - at, f"it answered {action.status}: {_reason(action)}"
            break
        if action.status == THERE or (200 <= action.status < 300):
            # https://www.elastic.co/docs/manage-data/data-store/data-streams/failure-store
            is_diverted = action.failure_store == "used"
            diverted += is_diverted
            accepted += not is_diverted
        else:
            refused.append(Refusal(id=item.id, reason=f"{action.status}: {_reason(action)}"))
    return Sent(accepted=accepted, refused=refused, diverted=diverted, left=left, why=why)


def _reason(action: _Action) -> str:
    error = action.error
    if isinstance(error, dict):
        return reason_of(f"{error.get('type')}: {error.get('reason')}")
    return reason_of(error or "no reason given")
