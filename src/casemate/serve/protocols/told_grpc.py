"""Feedback over gRPC: `casemate.Feedback/Tell` takes and gives a `google.protobuf.Struct`, with the
members of the body of `POST /v2/models/NAME/feedback` and `model`. No file of messages is needed:
every gRPC library knows that type.
"""

import json
from typing import Any
from urllib.parse import quote

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct

from casemate.core.errors import RequestError

SERVICE, TELL = "casemate.Feedback", "Tell"


class Told:
    """One call, read when the gateway asks for it: what is wrong with it is refused there."""

    def __init__(self, message: bytes) -> None:
        self._message = message
        self._body = b""

    def path(self) -> str:
        """The path that it means; RequestError: it is no such message."""
        found = Struct()
        try:
            found.ParseFromString(self._message)
            said = json_format.MessageToDict(found)
        except (DecodeError, json_format.Error, RecursionError) as error:
            raise RequestError(f"the message is no google.protobuf.Struct: {error}") from error
        model = said.pop("model", "")
        if not isinstance(model, str) or not model:
            raise RequestError("the message names no model")
        self._body = json.dumps(_whole(said)).encode()
        return f"/v2/models/{quote(model, safe='')}/feedback"

    async def receive(self) -> dict[str, Any]:
        """The body as the gateway's other doors bring it."""
        return {"type": "http.request", "body": self._body, "more_body": False}


def _whole(value: Any) -> Any:
    """A Struct has no whole numbers: 1.0 is class 1."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole(one) for one in value]
    if isinstance(value, dict):
        return {name: _whole(one) for name, one in value.items()}
    return value


def answer(body: bytes) -> bytes:
    """The gateway's JSON as a Struct."""
    return bytes(json_format.Parse(body, Struct()).SerializeToString())
