"""A tracker in memory behind the real rules of trackers, and a project that has it."""

import contextlib
import datetime
import itertools

import casemate
from casemate.core.errors import BackendError, ConfigError
from casemate.operations.incidents.heard import hear
from casemate.operations.incidents.intake import take
from casemate.respond.alerts import Alert, moment
from casemate.respond.readers import Post
from casemate.respond.trackers.hosted import Held, Hosted, Text
from casemate.respond.trackers.interface import Comment, Reference
from casemate.respond.trackers.remembered import Tickets
from casemate.respond.trackers.web import Nothing

NOW = datetime.datetime(2027, 3, 1, 8, tzinfo=datetime.UTC)
MINUTE = datetime.timedelta(minutes=1)
TABLE = 'trackers.desk={kind="github",project="clinic/models",token="env:DESK",people={ben="root"}}'


class Clock:
    """Shows what it is set to."""

    def __init__(self):
        self.time = NOW

    def now(self):
        return self.time

    def go(self, minutes=1):
        self.time += minutes * MINUTE


class Server:
    """Tickets by number; people and casemate do things with them."""

    def __init__(self):
        self.tickets, self.ids, self.fault = {}, itertools.count(1), None
        self.asked = 0

    def said(self, number, text, who="mia.marder", at=None):
        one = {"id": str(next(self.ids)), "text": text, "who": who, "at": at or "2026-11-29"}
        self.tickets[number]["comments"].append(one)
        return one

    def texts(self, number, who="casemate"):
        return [one["text"] for one in self.tickets[number]["comments"] if one["who"] == who]


class Desk(Hosted):
    """What talks with it; as strict as the real ones are."""

    settles = 1.0

    def __init__(self, server, tickets, table):
        super().__init__("desk", "the desk", None, tickets, table)
        self.server = server

    def _ask(self):
        self.server.asked += 1
        if self.server.fault is not None:
            raise self.server.fault

    def _text(self, ticket, mark):
        return Text(ticket.title, f"{ticket.body}\n{mark}")

    def _find(self, mark):
        self._ask()
        return [
            Reference(id=number, url="")
            for number, one in self.server.tickets.items()
            if mark in one["body"]
        ]

    def _post(self, text, ticket, mark):
        number = str(len(self.server.tickets) + 1)
        self.server.tickets[number] = {
            "title": text.title,
            "body": text.body,
            "state": "open",
            "assignee": "",
            "comments": [],
        }
        return Reference(id=number, url=f"https://desk.test/{number}")

    def _look(self, reference):
        self._ask()
        one = self.server.tickets.get(reference.id)
        if one is None:
            raise Nothing("404", hint="look")
        return Held(
            id=reference.id,
            title=one["title"],
            body=one["body"],
            state=one["state"],
            labels=(),
            assignee=one["assignee"],
        )

    def _write(self, reference, held, change):
        if change.title is not None:
            self.server.tickets[reference.id]["title"] = change.title
        if change.body is not None:
            self.server.tickets[reference.id]["body"] = change.body

    def _comments(self, reference, held):
        return [
            Comment(
                id=one["id"],
                author=one["who"],
                own=one["who"] == "casemate",
                created=one["at"],
                text=one["text"],
            )
            for one in self.server.tickets[reference.id]["comments"]
        ]

    def _comment(self, reference, held, text):
        self.server.said(reference.id, text, "casemate")

    def _turn(self, reference, held, state):
        self.server.tickets[reference.id]["state"] = state

    def _whoami(self):
        return "casemate"

    def _problems(self):
        return []


class Died(BaseException):
    """The process ended here."""


class World:
    """A project whose only tracker is in memory."""

    def __init__(self, root):
        self.project = casemate.open(root, [TABLE])
        self.project.clock = self.clock = Clock()
        self.server = Server()
        table = self.project.config.trackers["desk"]
        tickets = Tickets(self.project.database, self.clock, "desk")
        self.project.tracker = lambda name, seconds=None: Desk(self.server, tickets, table)

    def close(self):
        self.project.close()

    def alert(self, name="Down", ended=False, is_moment=False, source="test", **labels):
        """Somebody says that something is wrong, or over; the number of the incident."""
        began = moment(NOW - MINUTE)
        one = Alert(
            source=source,
            name=name,
            severity="page",
            labels=labels,
            text="seen by zoe.zebra",
            began=moment(self.clock.now()) if not ended else began,
            ended=moment(self.clock.now()) if ended else None,
            is_moment=is_moment,
        )
        taken = take(self.project, "test", Post(alerts=[one]))
        self.project.outbox.send()
        return taken.opened[0] if taken.opened else None

    def read(self):
        """What one look does, and what is then told."""
        self.clock.go()
        (found,) = hear(self.project)
        self.project.outbox.send()
        return found

    def incident(self, number):
        return self.project.incidents.show(number).incident

    def ticket(self, number):
        (one,) = self.project.incidents.show(number).tickets
        return one.id

    def comments(self, number):
        return [one.text for one in self.project.incidents.show(number).comments]

    def words(self, number):
        return [line.change.text for line in self.project.incidents.show(number).lines]

    @contextlib.contextmanager
    def dying(self, last, *, late):
        """Die at a transaction, before or after it was written."""
        store, left = self.project.database, [last]
        whole = store.transaction

        @contextlib.contextmanager
        def transaction():
            left[0] -= 1
            with whole() as tx:
                yield tx
                if left[0] == 0 and not late:
                    raise Died
            if left[0] == 0:
                raise Died

        store.transaction = transaction
        try:
            with contextlib.suppress(Died):
                yield
        finally:
            del store.transaction


def away():
    return BackendError("desk answered 500", hint="later")


def refused():
    return ConfigError("desk answered 401: the token is not accepted", hint="renew it")
