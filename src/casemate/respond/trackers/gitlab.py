"""GitLab: REST v4 (https://docs.gitlab.com/api/issues, https://docs.gitlab.com/api/notes).

A ticket is found by its mark in the description among the issues with casemate's label, which only
members with a role can set. GitLab has no conditional requests.
"""

from collections.abc import Iterable

import msgspec

from casemate.respond.trackers import guard, markup
from casemate.respond.trackers.hosted import Change, Held, Hosted, Text
from casemate.respond.trackers.interface import Comment, Reference, State, Ticket
from casemate.respond.trackers.web import other, part

REPORTER = 20
"""The least role that may set labels of an issue."""


class _User(msgspec.Struct):
    id: int
    username: str


class _Issue(msgspec.Struct):
    id: int
    iid: int
    web_url: str
    title: str
    state: str
    description: str | None = None
    labels: list[str] = []
    assignees: list[_User] = []
    moved_to_id: int | None = None


class _Note(msgspec.Struct):
    id: int
    body: str
    created_at: str
    system: bool = False
    author: _User | None = None


class _Level(msgspec.Struct):
    access_level: int = 0


class _Permissions(msgspec.Struct):
    project_access: _Level | None = None
    group_access: _Level | None = None


class _Project(msgspec.Struct):
    id: int
    path_with_namespace: str
    archived: bool = False
    issues_access_level: str = "enabled"
    permissions: _Permissions | None = None


class GitLab(Hosted):
    """Issues of one GitLab project."""

    settles = 60.0
    """The list of issues is a query of the database, perhaps of a replica that is behind."""

    @property
    def _issues(self) -> str:
        return f"api/v4/projects/{part(self._table.project)}/issues"

    def _one(self, reference: Reference) -> str:
        return f"{self._issues}/{part(reference.id)}"

    def _text(self, ticket: Ticket, mark: str) -> Text:
        return Text(markup.quiet(ticket.title), markup.fenced(f"{ticket.body}\n\n{mark}"))

    def _find(self, mark: str) -> list[Reference]:
        query = {"labels": guard.OURS, "search": mark, "in": "description"}
        pages = self._web.pages(list[_Issue], self._issues, query)
        found = [issue for page in pages for issue in page]
        return [self._reference(one) for one in found if mark in (one.description or "")]

    def _reference(self, issue: _Issue) -> Reference:
        return Reference(id=str(issue.iid), url=self._web.page_of(issue.web_url))

    def _post(self, text: Text, ticket: Ticket, mark: str) -> Reference:
        body = {"title": text.title, "description": text.body}
        body["labels"] = ",".join(self._wanted(ticket))
        made = self._web.json(_Issue, "POST", self._issues, body)
        if mark not in (made.description or ""):
            raise other(self._web.host)
        return self._reference(made)

    def _look(self, reference: Reference) -> Held:
        issue = self._web.json(_Issue, "GET", self._one(reference))
        if str(issue.iid) != reference.id:
            raise other(self._web.host)
        return Held(
            id=reference.id,
            title=issue.title,
            body=issue.description or "",
            state="closed" if issue.state == "closed" else "open",
            labels=tuple(issue.labels),
            assignee=issue.assignees[0].username if issue.assignees else "",
            is_moved=issue.moved_to_id is not None,
        )

    def _write(self, reference: Reference, held: Held, change: Change) -> None:
        body = {"title": change.title, "description": change.body}
        body |= {"add_labels": ",".join(change.add), "remove_labels": ",".join(change.remove)}
        self._put(reference, {name: value for name, value in body.items() if value})

    def _put(self, reference: Reference, body: dict[str, str | None]) -> None:
        changed = self._web.json(_Issue, "PUT", self._one(reference), body)
        if str(changed.iid) != reference.id:
            raise other(self._web.host)

    def _comments(self, reference: Reference, held: Held) -> Iterable[Comment]:
        return self._notes(reference, newest=False)

    def _newest(self, reference: Reference, held: Held) -> Iterable[Comment]:
        return self._notes(reference, newest=True)

    def _notes(self, reference: Reference, *, newest: bool) -> list[Comment]:
        query = {"sort": "desc" if newest else "asc", "order_by": "created_at"}
        me, found = self._me(), []
        for page in self._web.pages(list[_Note], f"{self._one(reference)}/notes", query):
            found += [_heard(note, me) for note in page if not note.system]
            if newest:
                break
        return found

    def _comment(self, reference: Reference, held: Held, text: str) -> None:
        self._web.json(
            _Note, "POST", f"{self._one(reference)}/notes", {"body": markup.fenced(text)}
        )

    def _shown(self, text: str) -> str:
        return markup.fenced(text)

    def _turn(self, reference: Reference, held: Held, state: State) -> None:
        self._put(reference, {"state_event": "close" if state == "closed" else "reopen"})

    def _whoami(self) -> str:
        return self._web.json(_User, "GET", "api/v4/user").username

    def _problems(self) -> Iterable[str]:
        project = self._web.json(_Project, "GET", f"api/v4/projects/{part(self._table.project)}")
        if project.archived:
            yield f"{self._table.project} is archived: unarchive it, or name another project"
        if project.issues_access_level == "disabled":
            yield f"{self._table.project} has no issues: enable them in its settings"
        levels = project.permissions or _Permissions()
        given = [one.access_level for one in (levels.project_access, levels.group_access) if one]
        if max(given, default=0) < REPORTER:
            yield (
                "the account may not label issues, and unlabelled ones are not found again: give it"
                f" the role Reporter in {project.path_with_namespace}"
            )


def _heard(note: _Note, me: str) -> Comment:
    author = note.author.username if note.author else ""
    return Comment(
        id=str(note.id),
        author=author,
        own=bool(me) and author == me,
        created=note.created_at,
        text=note.body,
    )
