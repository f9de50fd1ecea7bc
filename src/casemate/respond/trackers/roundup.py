"""Roundup: its REST interface (https://www.roundup-tracker.org/docs/rest.html), schema `classic`.

A ticket is found by its mark at the end of the title, the only text that Roundup searches as a
query of its database. The body is the first message; what it says later are further ones. A change
names the ETag of what was read: an edit in between is refused, but for one at the same moment
(`findings/roundup-if-match-race.sh`).

An author and a date are always given: messages made without them keep none, and an issue with such
a message is refused ("nosy multilink value ([None])"). A change with a message says the status too,
or the classic schema opens closed issues again. Titles hold no square brackets: Roundup's mail
interface takes them, in the subject of a reply, for orders (`[assignedto=admin]`).
"""

import datetime
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

import msgspec

from casemate.core.errors import ConfigError
from casemate.respond.trackers import guard
from casemate.respond.trackers.hosted import TRIES, Change, Held, Hosted, Text
from casemate.respond.trackers.interface import Comment, Reference, Seen, State, Ticket
from casemate.respond.trackers.web import MAX_PAGES, Conflict, Nothing, TooLong, other, part

PRIORITY = {"high": "critical", "medium": "urgent", "low": "bug"}
"""Of the classic schema, which has `feature` and `wish` below."""
CLOSED = ("resolved", "done-cbb")
"""Statuses of the classic schema that end an issue."""
OPEN = ("in-progress", "chatting", "unread")
"""The first that there is opens it again."""
SAID = 50
"""Newest messages that are compared with one that is to be said: five pages of ten."""
TOGETHER = 20
"""Messages of one request, whose address would be too long for more of them."""


def at_home(url: str) -> dict[str, str]:
    """Headers by which Roundup tells a program from a page of another site."""
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}"
    return {"x-requested-with": "rest", "origin": origin, "referer": url.rstrip("/") + "/"}


class _Linked(msgspec.Struct):
    id: str
    name: str = ""
    username: str = ""


class _Attributes(msgspec.Struct):
    title: str
    status: _Linked | None = None
    assignedto: _Linked | None = None
    priority: _Linked | None = None
    keyword: list[_Linked] = []
    messages: list[_Linked] = []


class _Item(msgspec.Struct):
    id: str
    type: str
    attributes: _Attributes


class _Row(msgspec.Struct):
    id: str
    title: str | None = None
    name: str = ""
    content: Any = None
    date: str | None = None
    author: _Linked | None = None


class _Collection(msgspec.Struct):
    collection: list[_Row]


class _List(msgspec.Struct):
    data: _Collection


class _One(msgspec.Struct):
    data: _Item


class _Made(msgspec.Struct):
    data: _Linked


class Roundup(Hosted):
    """Issues of one Roundup tracker."""

    settles = 60.0
    """Its search is a query of the database; so long may a request go on that was given up."""

    def _one(self, reference: Reference) -> str:
        return f"rest/data/issue/{part(reference.id)}"

    def _text(self, ticket: Ticket, mark: str) -> Text:
        title = ticket.title.replace("[", "(").replace("]", ")")
        return Text(f"{title} ({mark})", ticket.body)

    def _rows(self, kind: str, query: dict[str, Any]) -> Iterator[_Row]:
        for page in range(1, MAX_PAGES + 1):
            more = {"@verbose": 2, "@page_size": 100, "@page_index": page, "@sort": "id"}
            found = self._web.json(_List, "GET", f"rest/data/{kind}", query={**more, **query})
            yield from found.data.collection
            if len(found.data.collection) < 100:
                return
        raise self._web.too_long(kind)

    def _find(self, mark: str) -> list[Reference]:
        rows = self._rows("issue", {"title": mark, "@fields": "title"})
        return [self._reference(row.id) for row in rows if mark in (row.title or "")]

    def _reference(self, identifier: str) -> Reference:
        return Reference(id=identifier, url=f"{self._web.base}/issue{part(identifier)}")

    def _named(self, kind: str) -> dict[str, str]:
        """The ids of statuses, priorities or keywords by name."""
        return {row.name: row.id for row in self._rows(kind, {"@fields": "name"})}

    def _message(self, text: str) -> str:
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d.%H:%M:%S")
        body = {"content": text, "author": self._id(), "date": now}
        return self._web.json(_Made, "POST", "rest/data/msg", body).data.id

    def _id(self) -> str:
        path = f"rest/data/user/{part(self._table.user)}"
        return self._web.json(_Made, "GET", path, query={"@fields": "username"}).data.id

    def _post(self, text: Text, ticket: Ticket, mark: str) -> Reference:
        body: dict[str, Any] = {"title": text.title, "messages": [self._message(text.body)]}
        priority = self._named("priority").get(PRIORITY[ticket.severity])
        if priority is not None:
            body["priority"] = priority
        keywords = self._named("keyword")
        body["keyword"] = [keywords[one] for one in self._wanted(ticket) if one in keywords]
        return self._reference(self._web.json(_Made, "POST", "rest/data/issue", body).data.id)

    def _look(self, reference: Reference) -> Held:
        answer = self._web.ask("GET", self._one(reference), query={"@verbose": 2})
        item = self._web.decoded(_One, answer).data
        if item.id != reference.id or item.type != "issue":
            raise other(self._web.host)
        said = item.attributes
        status = said.status.name if said.status else ""
        return Held(
            id=item.id,
            title=said.title,
            body="",
            state="closed" if status in CLOSED else "open",
            labels=tuple(one.name for one in said.keyword),
            assignee=said.assignedto.username if said.assignedto else "",
            etag=answer.headers.get("etag", ""),
            more=(
                said.status.id if said.status else "",
                said.priority.name if said.priority else "",
                *sorted((one.id for one in said.messages), key=int),
            ),
        )

    def read(self, reference: Reference, cursor: str = "") -> Seen:
        """See `Tracker.read`. A retired issue is shown as if nothing were; only lists leave it out
        (`findings/roundup-retired-is-shown.sh`).
        """
        seen = super().read(reference, cursor)
        there = self._rows("issue", {"id": reference.id, "@fields": "title"})
        if not any(row.id == reference.id for row in there):
            raise Nothing(
                f"{self._web.host}: issue {reference.id} was retired", hint="restore it there"
            )
        return seen

    def _change(self, held: Held, ticket: Ticket, text: Text) -> tuple[Change, list[str]]:
        _, known = self._tickets.written(held.id)
        told: list[str] = []
        title = self._newer(held.title, known.title, text.title, told, ticket.title)
        if text.written.body != known.body:
            told.append(ticket.body)
        keywords = self._named("keyword")
        add = tuple(
            keywords[one]
            for one in self._wanted(ticket)
            if one in keywords and one not in held.labels
        )
        # a priority that is none of ours was set by somebody who knows better
        ours = held.more[1] in PRIORITY.values() and held.more[1] != PRIORITY[ticket.severity]
        return Change(title, None, add, (), ticket.severity if ours else None), told

    def _write(self, reference: Reference, held: Held, change: Change) -> None:
        body: dict[str, Any] = {}
        if change.title is not None:
            body["title"] = change.title
        if change.add:
            body["keyword"] = [*self._kept(held), *change.add]
        if change.severity is not None:
            wanted = self._named("priority").get(PRIORITY[change.severity])
            body |= {} if wanted is None else {"priority": wanted}
        if body:
            self._put(reference, held, body)

    def _kept(self, held: Held) -> list[str]:
        known = self._named("keyword")
        return [known[one] for one in held.labels if one in known]

    def _put(self, reference: Reference, held: Held, body: dict[str, Any]) -> None:
        self._web.ask("PUT", self._one(reference), body, headers={"if-match": held.etag})

    def _comments(self, reference: Reference, held: Held) -> Iterable[Comment]:
        return self._messages(held.more[3:])

    def _newest(self, reference: Reference, held: Held) -> Iterable[Comment]:
        return self._messages(held.more[2:][-SAID:])

    def _messages(self, identifiers: tuple[str, ...]) -> Iterator[Comment]:
        for start in range(0, len(identifiers), TOGETHER):
            for row in self._together(list(identifiers[start : start + TOGETHER])):
                author = row.author.username if row.author else ""
                yield Comment(
                    id=row.id,
                    author=author,
                    own=author == self._table.user,
                    created=row.date or "",
                    text=row.content if isinstance(row.content, str) else "",
                )

    def _together(self, wanted: list[str]) -> list[_Row]:
        """Messages, of one request where they are short enough; one that is too long alone, and so
        none of ours, without its text.
        """
        fields = "content,author,date"
        try:
            rows = self._msg(wanted, fields)
        except TooLong:
            if len(wanted) == 1:
                return self._msg(wanted, "author,date")
            half = len(wanted) // 2
            return [*self._together(wanted[:half]), *self._together(wanted[half:])]
        if any(row.id not in wanted for row in rows):
            raise other(self._web.host)
        return rows

    def _msg(self, wanted: list[str], fields: str) -> list[_Row]:
        return list(self._rows("msg", {"id": wanted, "@verbose": 3, "@fields": fields}))

    def _comment(self, reference: Reference, held: Held, text: str) -> None:
        message = self._message(text)
        for _ in range(TRIES):
            body = {"messages": [*held.more[2:], message], "status": held.more[0]}
            try:
                self._put(reference, held, body)
            except Conflict:
                held = self._look(reference)
                continue
            return
        raise self._restless(reference)

    def _turn(self, reference: Reference, held: Held, state: State) -> None:
        known = self._named("status")
        wanted = [known[one] for one in (CLOSED if state == "closed" else OPEN) if one in known]
        if not wanted:
            names = ", ".join(CLOSED if state == "closed" else OPEN)
            raise ConfigError(
                f"{self.where} has none of the statuses {names}", hint="add one of them there"
            )
        self._put(reference, held, {"status": wanted[0]})

    def _whoami(self) -> str:
        self._id()
        return self._table.user

    def _problems(self) -> Iterable[str]:
        known = self._named("keyword")
        for label in (guard.OURS, *self._table.labels):
            if label not in known:
                yield f"there is no keyword {label!r}: make it, tickets go without it"
        if not set(CLOSED) & set(statuses := self._named("status")):
            yield f"no status of {', '.join(statuses)} ends an issue: add 'resolved'"
