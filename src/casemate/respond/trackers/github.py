"""GitHub and GitHub Enterprise Server: REST
(https://docs.github.com/rest/issues?apiVersion=2022-11-28).

A ticket is found by its mark among the issues with casemate's label, which only people who may
triage can set: the newest ones in the list, which is a query of the database, older ones by search,
which lags. GitHub has no conditional writes.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from casemate.core.errors import TransientError
from casemate.respond.trackers import guard, markup
from casemate.respond.trackers.hosted import Change, Held, Hosted, Text
from casemate.respond.trackers.interface import Comment, Reference, State, Ticket
from casemate.respond.trackers.web import Nothing, other, part

VERSION = {"accept": "application/vnd.github+json", "x-github-api-version": "2022-11-28"}
URL = "https://api.github.com"
RECENT = 300
"""Newest issues that are looked through: a search has seen what is older than these long ago."""


class _User(msgspec.Struct):
    login: str


class _Label(msgspec.Struct):
    name: str | None = None


class _Issue(msgspec.Struct):
    number: int
    html_url: str
    title: str
    state: str
    body: str | None = None
    labels: list[_Label | str] = []
    assignee: _User | None = None
    pull_request: Any = None

    @property
    def names(self) -> tuple[str, ...]:
        """Of its labels."""
        names = (one if isinstance(one, str) else one.name for one in self.labels)
        return tuple(name for name in names if name)


class _Found(msgspec.Struct):
    incomplete_results: bool
    items: list[_Issue]


class _Said(msgspec.Struct):
    id: int
    created_at: str
    body: str | None = None
    user: _User | None = None


class _Repository(msgspec.Struct):
    full_name: str
    has_issues: bool = True
    archived: bool = False
    permissions: dict[str, bool] = {}


class GitHub(Hosted):
    """Issues of one repository, `OWNER/NAME`."""

    settles = 300.0
    """Replicas of the list, and how long a search index may lag; GitHub promises nothing."""

    @property
    def _repository(self) -> str:
        owner, _, name = self._table.project.partition("/")
        return f"repos/{part(owner)}/{part(name)}"

    def _one(self, reference: Reference) -> str:
        return f"{self._repository}/issues/{part(reference.id)}"

    def _text(self, ticket: Ticket, mark: str) -> Text:
        return Text(markup.quiet(ticket.title), markup.fenced(f"{ticket.body}\n\n{mark}"))

    def _find(self, mark: str) -> list[Reference]:
        found = [one for one in self._recent() if self._has(one, mark)]
        if not found:
            words = f'"{mark}" in:body repo:{self._table.project} is:issue label:{guard.OURS}'
            query = {"q": words, "per_page": 100}
            said = self._web.json(_Found, "GET", "search/issues", query=query)
            if said.incomplete_results:
                raise TransientError(
                    f"{self._web.host}: the search was not finished", hint="the outbox tries again"
                )
            found = [one for one in said.items if self._has(one, mark)]
        return [self._reference(one) for one in found]

    def _recent(self) -> Iterator[_Issue]:
        query = {"labels": guard.OURS, "state": "all", "sort": "created", "direction": "desc"}
        seen = 0
        for page in self._web.pages(list[_Issue], f"{self._repository}/issues", query):
            yield from page
            seen += len(page)
            if seen >= RECENT:
                return

    @staticmethod
    def _has(issue: _Issue, mark: str) -> bool:
        return issue.pull_request is None and mark in (issue.body or "")

    def _reference(self, issue: _Issue) -> Reference:
        return Reference(id=str(issue.number), url=self._web.page_of(issue.html_url))

    def _post(self, text: Text, ticket: Ticket, mark: str) -> Reference:
        body = {"title": text.title, "body": text.body, "labels": list(self._wanted(ticket))}
        made = self._web.json(_Issue, "POST", f"{self._repository}/issues", body)
        if not self._has(made, mark):
            raise other(self._web.host)
        return self._reference(made)

    def _look(self, reference: Reference) -> Held:
        issue = self._web.json(_Issue, "GET", self._one(reference))
        if str(issue.number) != reference.id or issue.pull_request is not None:
            raise other(self._web.host)
        return Held(
            id=reference.id,
            title=issue.title,
            body=issue.body or "",
            state="closed" if issue.state == "closed" else "open",
            labels=issue.names,
            assignee=issue.assignee.login if issue.assignee else "",
        )

    def _write(self, reference: Reference, held: Held, change: Change) -> None:
        text = {"title": change.title, "body": change.body}
        body = {name: value for name, value in text.items() if value is not None}
        if body:
            self._patch(reference, body)
        if change.add:
            labels = {"labels": list(change.add)}
            self._web.json(list[_Label], "POST", f"{self._one(reference)}/labels", labels)
        for label in change.remove:
            try:
                self._web.ask("DELETE", f"{self._one(reference)}/labels/{part(label)}")
            except Nothing:  # somebody else has taken it away
                continue

    def _patch(self, reference: Reference, body: dict[str, str]) -> None:
        changed = self._web.json(_Issue, "PATCH", self._one(reference), body)
        if str(changed.number) != reference.id:
            raise other(self._web.host)

    def _comments(self, reference: Reference, held: Held) -> Iterable[Comment]:
        me = self._me()
        for page in self._web.pages(list[_Said], f"{self._one(reference)}/comments", {}):
            for one in page:
                author = one.user.login if one.user else ""
                yield Comment(
                    id=str(one.id),
                    author=author,
                    own=bool(me) and author == me,
                    created=one.created_at,
                    text=one.body or "",
                )

    def _comment(self, reference: Reference, held: Held, text: str) -> None:
        body = {"body": markup.fenced(text)}
        self._web.json(_Said, "POST", f"{self._one(reference)}/comments", body)

    def _shown(self, text: str) -> str:
        return markup.fenced(text)

    def _turn(self, reference: Reference, held: Held, state: State) -> None:
        reason = "completed" if state == "closed" else "reopened"
        self._patch(reference, {"state": state, "state_reason": reason})

    def _whoami(self) -> str:
        return self._web.json(_User, "GET", "user").login

    def _problems(self) -> Iterable[str]:
        found = self._web.json(_Repository, "GET", self._repository)
        if found.archived:
            yield f"{self._table.project} is archived: unarchive it, or name another repository"
        if not found.has_issues:
            yield f"{self._table.project} has no issues: enable them in its settings"
        if not any(
            found.permissions.get(right) for right in ("admin", "maintain", "push", "triage")
        ):
            yield (
                f"the account may not label issues of {found.full_name}: GitHub drops labels"
                " silently then, and unlabelled ones are not found again; give it the role Triage"
            )
