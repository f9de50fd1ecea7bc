"""What callers do beside asking models: say what really was, and see to their own login."""

import asyncio

import msgspec

from casemate.controls.audit.decisions import Decisions
from casemate.controls.audit.feedback import Added, Feedback, Said
from casemate.controls.audit.predictions import nobodys
from casemate.core.errors import ConfigError, RequestError
from casemate.core.types import Schema
from casemate.operations.feedback.adding import schema_of
from casemate.operations.outcomes import value_of
from casemate.serve import bodies, consent
from casemate.serve.admission import Caller
from casemate.serve.bodies import Receive, Scope
from casemate.serve.incidents import IncidentDoor
from casemate.serve.login import MAX_BODY, Login
from casemate.serve.signals import Signals
from casemate.serve.types import JSON, FeedbackBody, Reply, json_of
from casemate.wiring import Wiring


class Errands:
    """Does them for callers who may."""

    def __init__(self, decisions: Decisions, login: Login, project: Wiring, max_body: int) -> None:
        self.decisions, self.login, self.max_body = decisions, login, max_body
        self.incidents = IncidentDoor(project, max_body)
        self._project = project
        self.signals = Signals(project)
        self._schemas: dict[str, Schema] = {}

    async def consent(self, route: str, scope: Scope, receive: Receive) -> Reply:
        """See `serve.consent`."""
        return await consent.answer(self._project, route, scope, receive, self.max_body)

    async def feedback(self, scope: Scope, receive: Receive, caller: Caller, model: str) -> Reply:
        """What really was, for an earlier request of the same caller."""
        try:
            headers = dict(scope["headers"])
            body = await bodies.read(scope, headers, receive, self.max_body)
            said = msgspec.json.decode(
                bodies.inflated(headers, body, self.max_body), type=FeedbackBody
            )
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise RequestError(f"the body is not as expected: {error}") from error
        uid = caller.principal.uid
        value = said.outcome if isinstance(said.outcome, list) else [said.outcome]

        def attach() -> Added:
            """Beside the decision, if it is the caller's own."""
            found, _ = self.decisions.find(said.id)
            if found.principal != uid or found.model.partition("@")[0] != model:
                raise ConfigError(nobodys(said.id))
            schema = self._schema(found.model)
            try:
                values = [value_of(one, schema) for one in value]
            except ValueError as error:
                raise ConfigError(str(error)) from error
            return Feedback(self.decisions).tell(
                uid, Said(said.id, said.kind, values, said.note), found
            )

        try:
            added = await asyncio.to_thread(attach)
        except ConfigError as error:
            raise RequestError(error.message) from error
        against = {"contradicts": True} if added.contradictions else {}
        return Reply(200, JSON, json_of({"id": said.id, "recorded": True} | against))

    def _schema(self, reference: str) -> Schema:
        """What a version takes and gives: it never changes, so each is verified once."""
        known = self._schemas.get(reference) or schema_of(self._project, reference)
        if known is None:
            raise ConfigError(f"{reference} cannot be read: nothing can be told of its answers")
        self._schemas[reference] = known
        return known

    async def own_login(self, route: str, method: str, scope: Scope, receive: Receive) -> bytes:
        """What a person does about their own login."""
        headers = dict(scope["headers"])
        body = await bodies.read(scope, headers, receive, MAX_BODY) if method == "POST" else b""
        bearer = headers.get(b"authorization", b"")[7:].decode("ascii", "replace")
        return json_of(
            await asyncio.to_thread(
                self.login.answer, route, bearer, scope.get("certificate"), body
            )
        )
