"""Global Privacy Control at the gateway (W3C, https://w3c.github.io/gpc/): the header `Sec-GPC` and
the support resource `/.well-known/gpc.json`.

A caller passes the header on that a person's browser sent. It is about sale and sharing: where the
project's purpose is one of `[serve] sells`, nothing is answered, and whom the request names has
opted out from then on. Elsewhere it changes nothing.
"""

import asyncio
from collections.abc import Mapping

from casemate.core.errors import RequestError
from casemate.operations.rights import signals
from casemate.serve.types import JSON, Reply, json_of
from casemate.wiring import Wiring

HEADER = b"sec-gpc"


class OptedOut(RequestError):
    """A person has opted out of sale and sharing, which the model is for."""

    code = "CM-OPTED-OUT"
    http_status = 451
    who = "the caller: do not ask for this person"


class Signals:
    """Heeds the signal, where `[serve] gpc` says that the gateway does."""

    def __init__(self, project: Wiring) -> None:
        self._project = project
        self._since = project.config.serve.gpc
        self._sells = bool(self._since) and signals.sells(project)

    async def heed(self, headers: Mapping[bytes, bytes], people: tuple[bytes, ...]) -> None:
        """Refuse what the signal is against.

        Args:
            headers: of the request.
            people: whom it is about by pseudonym, where it says so.

        Raises:
            OptedOut: the signal came, and the project's purpose is sale or sharing.
        """
        if not self._sells or headers.get(HEADER) != b"1":  # the only value that means anything
            return
        named = [one.hex() for one in people if one]
        if named:
            await asyncio.to_thread(signals.opted_out, self._project, named)
        raise OptedOut("the person has opted out of sale and sharing (Sec-GPC)")

    def support(self) -> Reply:
        """The support resource; 404 where nothing is said."""
        if not self._since:
            return Reply(404, JSON, b'{"error":"no such path"}')
        return Reply(200, JSON, json_of({"gpc": True, "lastUpdate": self._since}))
