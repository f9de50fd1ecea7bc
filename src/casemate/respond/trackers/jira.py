"""JIRA, what both products have in common: issues, comments, transitions.

A ticket is found by a label of its own, its mark: labels are exact in JQL, and whoever may edit
issues can set them only. JIRA has no conditional requests.
"""

import base64
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from casemate.core.errors import ConfigError
from casemate.respond.trackers import markup
from casemate.respond.trackers.hosted import Change, Held, Hosted, Text
from casemate.respond.trackers.interface import Comment, Reference, State, Ticket
from casemate.respond.trackers.web import MAX_PAGES, TooLong, other, part

PAGE = 50
"""Issues or comments of one page: both products give as many."""
RIGHTS = {
    "CREATE_ISSUES": "make issues",
    "EDIT_ISSUES": "edit issues",
    "ADD_COMMENTS": "comment on issues",
    "TRANSITION_ISSUES": "close issues",
}


class _Category(msgspec.Struct):
    key: str


class _Status(msgspec.Struct):
    name: str
    statusCategory: _Category  # noqa: N815 - JIRA's name, as those below


class Account(msgspec.Struct):
    """A person or service; Cloud knows an account id only, Data Center a name."""

    accountId: str = ""  # noqa: N815
    name: str = ""

    @property
    def known(self) -> str:
        """As comments and assignees name it."""
        return self.accountId or self.name


class _Fields(msgspec.Struct):
    labels: list[str] = []
    summary: str = ""
    description: Any = None
    status: _Status | None = None
    assignee: Account | None = None


class Issue(msgspec.Struct):
    """An issue, with the fields that were asked for."""

    id: str
    key: str
    fields: _Fields = msgspec.field(default_factory=_Fields)


class _Said(msgspec.Struct):
    id: str
    created: str
    body: Any = None
    author: Account | None = None


class _Comments(msgspec.Struct):
    comments: list[_Said]
    total: int


class _Transition(msgspec.Struct):
    id: str
    name: str
    to: _Status


class _Transitions(msgspec.Struct):
    transitions: list[_Transition]


class _Right(msgspec.Struct):
    havePermission: bool  # noqa: N815


class _Rights(msgspec.Struct):
    permissions: dict[str, _Right]


class _Type(msgspec.Struct):
    id: str
    name: str


class _Project(msgspec.Struct):
    key: str
    issueTypes: list[_Type] = []  # noqa: N815


class Jira(Hosted):
    """Issues of one project."""

    api: str
    """Where the interface begins, such as `rest/api/3`."""

    @abstractmethod
    def _markup(self, text: str) -> Any:
        """Text as a description or comment."""

    @abstractmethod
    def _plain(self, body: Any) -> str:
        """What `Text.body` and `_shown` are compared with."""

    @abstractmethod
    def _search(self, jql: str) -> Iterator[Issue]:
        """Issues with key and labels."""

    def _one(self, reference: Reference) -> str:
        return f"{self.api}/issue/{part(reference.id)}"

    def _text(self, ticket: Ticket, mark: str) -> Text:
        return Text(ticket.title, self._shown(ticket.body))

    def _shown(self, text: str) -> str:
        return self._plain(self._markup(text))

    def _find(self, mark: str) -> list[Reference]:
        jql = f'project = "{self._table.project}" AND labels = "{mark}" ORDER BY created ASC'
        return [self._reference(one) for one in self._search(jql) if mark in one.fields.labels]

    def _reference(self, issue: Issue) -> Reference:
        return Reference(id=issue.id, url=f"{self._web.base}/browse/{part(issue.key)}")

    def _post(self, text: Text, ticket: Ticket, mark: str) -> Reference:
        fields = {
            "project": {"key": self._table.project},
            "issuetype": {"name": self._table.issue_type},
            "summary": text.title,
            "description": self._markup(ticket.body),
            "labels": [*self._wanted(ticket), mark],
        }
        made = self._web.json(Issue, "POST", f"{self.api}/issue", {"fields": fields})
        if made.key.rpartition("-")[0] != self._table.project:
            raise other(self._web.host)
        return self._reference(made)

    def _look(self, reference: Reference) -> Held:
        query = {"fields": "summary,description,labels,status,assignee"}
        issue = self._web.json(Issue, "GET", self._one(reference), query=query)
        fields = issue.fields
        if issue.id != reference.id or fields.status is None:
            raise other(self._web.host)
        return Held(
            id=reference.id,
            title=fields.summary,
            body=self._plain(fields.description),
            state="closed" if fields.status.statusCategory.key == "done" else "open",
            labels=tuple(fields.labels),
            assignee=fields.assignee.known if fields.assignee else "",
        )

    def _change(self, held: Held, ticket: Ticket, text: Text) -> tuple[Change, list[str]]:
        change, told = super()._change(held, ticket, text)
        body = None if change.body is None else ticket.body
        return Change(change.title, body, change.add, change.remove), told

    def _write(self, reference: Reference, held: Held, change: Change) -> None:
        body: dict[str, Any] = {"fields": {}, "update": {}}
        if change.title is not None:
            body["fields"]["summary"] = change.title
        if change.body is not None:
            body["fields"]["description"] = self._markup(change.body)
        verbs = [{"add": one} for one in change.add] + [{"remove": one} for one in change.remove]
        if verbs:
            body["update"]["labels"] = verbs
        self._web.ask("PUT", self._one(reference), body)

    def _comments(self, reference: Reference, held: Held) -> Iterable[Comment]:
        return self._said(reference, MAX_PAGES)

    def _newest(self, reference: Reference, held: Held) -> Iterable[Comment]:
        return self._said(reference, 2)

    def _said(self, reference: Reference, pages: int) -> Iterator[Comment]:
        """Comments, newest first; servers that know no pages of them give all at once."""
        me, start, size = self._me(), 0, PAGE
        while start < pages * PAGE:
            query = {"startAt": start, "maxResults": size, "orderBy": "-created"}
            path = f"{self._one(reference)}/comment"
            try:
                page = self._web.json(_Comments, "GET", path, query=query)
            except TooLong:
                if size == 1:
                    raise
                size = max(1, size // 10)
                continue
            for one in page.comments:
                author = one.author.known if one.author else ""
                yield Comment(
                    id=one.id,
                    author=author,
                    own=bool(me) and author == me,
                    created=one.created,
                    text=self._plain(one.body),
                )
            start += len(page.comments)
            if not page.comments or start >= page.total:
                return
        if pages == MAX_PAGES:
            raise self._web.too_long("comments of a ticket")

    def _comment(self, reference: Reference, held: Held, text: str) -> None:
        body = {"body": self._markup(text)}
        self._web.json(_Said, "POST", f"{self._one(reference)}/comment", body)

    def _turn(self, reference: Reference, held: Held, state: State) -> None:
        path = f"{self._one(reference)}/transitions"
        ways = self._web.json(_Transitions, "GET", path).transitions
        wanted = ("done",) if state == "closed" else ("new", "indeterminate")
        fits = [one for kind in wanted for one in ways if one.to.statusCategory.key == kind]
        if not fits:
            names = ", ".join(one.name for one in ways)[:200] or "none"
            raise ConfigError(
                f"{self.where}: no transition of issue {reference.id} leads to {state!r}"
                f" (there are: {names})",
                hint="the account needs the right, and the workflow a way",
            )
        self._web.ask("POST", path, {"transition": {"id": fits[0].id}})

    def _whoami(self) -> str:
        return self._web.json(Account, "GET", f"{self.api}/myself").known

    def _problems(self) -> Iterable[str]:
        project = self._web.json(_Project, "GET", f"{self.api}/project/{part(self._table.project)}")
        if self._table.issue_type not in (names := [one.name for one in project.issueTypes]):
            wanted, known = self._table.issue_type, ", ".join(names)
            yield f"{project.key} has no issue type {wanted!r}: it has {known}"
        query = {"projectKey": self._table.project, "permissions": ",".join(RIGHTS)}
        found = self._web.json(_Rights, "GET", f"{self.api}/mypermissions", query=query)
        for right, meaning in RIGHTS.items():
            if not (given := found.permissions.get(right)) or not given.havePermission:
                yield f"the account may not {meaning} in {self._table.project}: give it {right}"


def basic(user: str, token: str) -> str:
    """An `Authorization` header of user and token."""
    return "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()


class _Page(msgspec.Struct):
    """One page of Cloud's search: no total, a token where there is another one."""

    issues: list[Issue]
    nextPageToken: str | None = None  # noqa: N815
    isLast: bool | None = None  # noqa: N815


class JiraCloud(Jira):
    """JIRA Cloud: REST v3, whose texts are documents."""

    api = "rest/api/3"
    settles = 900.0
    """Its search lags by seconds to minutes
    (https://developer.atlassian.com/cloud/jira/platform/search-and-reconcile).
    """

    def _markup(self, text: str) -> Any:
        return markup.document(text)

    def _plain(self, body: Any) -> str:
        return markup.plain(body)

    def _search(self, jql: str) -> Iterator[Issue]:
        token: str | None = None
        for _ in range(MAX_PAGES):
            body: dict[str, Any] = {"jql": jql, "fields": ["labels"], "maxResults": PAGE}
            if token:
                body["nextPageToken"] = token
            page = self._web.json(_Page, "POST", f"{self.api}/search/jql", body)
            yield from page.issues
            token = page.nextPageToken
            if not token or page.isLast:
                return
        raise self._web.too_long("a search")


class _Results(msgspec.Struct):
    """One page of Data Center's search."""

    issues: list[Issue]
    total: int


class JiraDataCenter(Jira):
    """JIRA Data Center and Server: REST v2, whose texts are wiki text."""

    api = "rest/api/2"
    settles = 300.0
    """The index of the other nodes of a cluster lags."""

    def _markup(self, text: str) -> Any:
        return markup.wiki(text)

    def _plain(self, body: Any) -> str:
        return body if isinstance(body, str) else ""

    def _search(self, jql: str) -> Iterator[Issue]:
        start = 0
        for _ in range(MAX_PAGES):
            query = {"jql": jql, "startAt": start, "maxResults": PAGE, "fields": "labels"}
            page = self._web.json(_Results, "GET", f"{self.api}/search", query=query)
            yield from page.issues
            start += len(page.issues)
            if not page.issues or start >= page.total:
                return
        raise self._web.too_long("a search")
