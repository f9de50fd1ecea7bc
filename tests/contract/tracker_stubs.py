"""Stubs of trackers whose servers cannot be had here, as their documentation describes them: JIRA
Cloud and Data Center, GitLab, GitHub. They keep what they are given, and are strict about it.

Sources: developer.atlassian.com (REST v3, v2, Atlassian Document Format, search and reconcile),
docs.gitlab.com/api (issues, notes, users, projects), docs.github.com/rest (2022-11-28).
"""

import base64
import itertools
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN, USER = "t0ken-of-the-tracker", "desk@example.org"
WHEN = "2026-11-29T08:00:00.000+0000"


class Refusal(Exception):
    """An answer that is none of success."""

    def __init__(self, status, body=None, headers=None):
        self.status, self.body, self.headers = status, body or {}, headers or {}


class Stub:
    """A server of one project, called `project`. `routes` are (method, pattern, function)."""

    page = 2
    """Things of a page: small, so that there is more than one."""

    def __init__(self):
        self.issues, self.numbers, self.lock = {}, itertools.count(1), threading.RLock()
        self.blind = False
        """Whether what was made is not found yet."""
        self.ids = itertools.count(1)
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                stub.serve(self, body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_one

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def serve(self, handler, body):
        parts = urlsplit(handler.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        headers = {name.lower(): value for name, value in handler.headers.items()}
        try:
            with self.lock:
                self.admit(headers)
                status, more, value = self.route(handler.command, parts.path, query, body)
        except Refusal as refusal:
            status, more, value = refusal.status, refusal.headers, refusal.body
        content = b"" if status == 204 else json.dumps(value).encode()
        handler.send_response(status)
        for name, one in {"content-type": "application/json", **more}.items():
            handler.send_header(name, one)
        if status != 204:
            handler.send_header("content-length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def route(self, method, path, query, body):
        value = json.loads(body) if body else {}
        for verb, pattern, call in self.routes:
            match = re.fullmatch(pattern, path)
            if verb == method and match:
                answer = call(self, query, value, *map(unquote, match.groups()))
                return answer if isinstance(answer, tuple) else (200, {}, answer)
        raise Refusal(404, self.missing)

    def issue(self, number):
        found = self.issues.get(str(number))
        if found is None:
            raise Refusal(404, self.missing)
        return found

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    # what people do there, and what one sees

    def all(self):
        """(title, text, state, labels, comments) of every ticket."""
        return [
            (one["title"], self.text_of(one["body"]), one["state"], one["labels"],
             [self.text_of(said["body"]) for said in one["comments"]])
            for one in self.issues.values()
        ]  # fmt: skip

    def text_of(self, body):
        return body or ""

    def edit(self, number, **changes):
        with self.lock:
            self.issue(number).update(changes)

    def said(self, number, text, who="ben"):
        with self.lock:
            one = {"id": next(self.ids), "body": self.body_of(text), "author": who}
            self.issue(number)["comments"].append(one)

    def body_of(self, text):
        return text

    def make(self, title, body, labels):
        number = str(next(self.numbers))
        self.issues[number] = {
            "number": number,
            "title": title,
            "body": body,
            "labels": labels,
            "state": "open",
            "assignee": None,
            "comments": [],
        }
        return self.issues[number]


class JiraStub(Stub):
    """Both products; ids and keys are different things."""

    missing = {"errorMessages": ["Issue does not exist or you do not have permission to see it."]}
    rights = ("CREATE_ISSUES", "EDIT_ISSUES", "ADD_COMMENTS", "TRANSITION_ISSUES")
    project, api, me = "OPS", "", {}

    def fields(self, one, wanted):
        done = one["state"] == "closed"
        name, key = ("Done", "done") if done else ("To Do", "new")
        every = {
            "labels": one["labels"],
            "summary": one["title"],
            "description": one["body"],
            "status": {"name": name, "statusCategory": {"key": key, "name": name}},
            "assignee": self.account(one["assignee"]) if one["assignee"] else None,
            "updated": WHEN,
        }
        return {name: every[name] for name in wanted if name in every}

    def shown(self, one, wanted):
        value = {"id": str(10000 + int(one["number"])), "key": f"OPS-{one['number']}"}
        return (
            value
            | {"self": f"{self.url}/x"}
            | ({"fields": self.fields(one, wanted)} if wanted else {})
        )

    def one(self, identifier):
        return self.issue(int(identifier) - 10000 if identifier.isdigit() else identifier[4:])

    def create(self, query, value):
        fields = value["fields"]
        if fields["project"] != {"key": self.project}:
            raise Refusal(
                400, {"errorMessages": [], "errors": {"project": "valid project is required"}}
            )
        if fields["issuetype"] not in ({"name": "Task"}, {"id": "3"}):
            raise Refusal(
                400, {"errorMessages": [], "errors": {"issuetype": "Specify a valid issue type"}}
            )
        if "\n" in fields["summary"] or len(fields["summary"]) > 255:
            raise Refusal(400, {"errors": {"summary": "The summary is invalid"}})
        if any(" " in label for label in fields["labels"]):
            raise Refusal(
                400, {"errors": {"labels": "The label contains spaces which is invalid."}}
            )
        self.valid(fields["description"])
        made = self.make(fields["summary"], fields["description"], list(fields["labels"]))
        return 201, {}, self.shown(made, ())

    def show(self, query, value, identifier):
        return self.shown(self.one(identifier), query.get("fields", "summary").split(","))

    def change(self, query, value, identifier):
        found = self.one(identifier)
        for name, new in value.get("fields", {}).items():
            if name == "description":
                self.valid(new)
            found[{"summary": "title", "description": "body"}[name]] = new
        for verb in value.get("update", {}).get("labels", []):
            ((what, label),) = verb.items()
            kept = [one for one in found["labels"] if one != label]
            found["labels"] = [*kept, label] if what == "add" else kept
        return 204, {}, None

    def found(self, jql):
        match = re.fullmatch(r'project = "(\w+)" AND labels = "([^" ]+)" ORDER BY created ASC', jql)
        if match is None:
            raise Refusal(400, {"errorMessages": ["Error in the JQL Query"]})
        if self.blind or match[1] != self.project:
            return []
        return [one for one in self.issues.values() if match[2] in one["labels"]]

    def comments(self, query, value, identifier):
        said = list(self.one(identifier)["comments"])
        if query.get("orderBy") == "-created":
            said.reverse()
        start, most = int(query.get("startAt", 0)), min(int(query.get("maxResults", 50)), self.page)
        shown = [self.comment(one) for one in said[start : start + most]]
        return {"startAt": start, "maxResults": most, "total": len(said), "comments": shown}

    def comment(self, one):
        who = self.account(one["author"])
        return {"id": str(one["id"]), "body": one["body"], "author": who, "created": WHEN}

    def say(self, query, value, identifier):
        self.valid(value["body"])
        one = {"id": next(self.ids), "body": value["body"], "author": "casemate"}
        self.one(identifier)["comments"].append(one)
        return 201, {}, self.comment(one)

    def ways(self, query, value, identifier):
        closed = self.one(identifier)["state"] == "closed"
        name, to, key = ("Back", "To Do", "new") if closed else ("Finish", "Done", "done")
        start = {
            "id": "11",
            "name": "Start",
            "to": {"name": "Doing", "statusCategory": {"key": "indeterminate"}},
        }
        way = {"id": "21", "name": name, "to": {"name": to, "statusCategory": {"key": key}}}
        return {"expand": "transitions", "transitions": [start, way]}

    def go(self, query, value, identifier):
        if value["transition"]["id"] == "21":
            found = self.one(identifier)
            found["state"] = "open" if found["state"] == "closed" else "closed"
        return 204, {}, None

    def permissions(self, query, value):
        asked = query["permissions"].split(",")
        given = {name: {"key": name, "havePermission": name in self.rights} for name in asked}
        return {"permissions": given}

    def about(self, query, value, key):
        if key != self.project:
            raise Refusal(404, {"errorMessages": [f"No project could be found with key '{key}'."]})
        types = [{"id": "3", "name": "Task"}, {"id": "4", "name": "Bug"}]
        return {"id": "10000", "key": key, "name": "Operations", "issueTypes": types}

    def myself(self, query, value):
        return self.account("casemate")

    def common(api):
        """Routes that both have."""
        one = rf"/{api}/issue/([^/]+)"
        return [
            ("POST", rf"/{api}/issue", JiraStub.create),
            ("GET", one, JiraStub.show),
            ("PUT", one, JiraStub.change),
            ("GET", rf"{one}/comment", JiraStub.comments),
            ("POST", rf"{one}/comment", JiraStub.say),
            ("GET", rf"{one}/transitions", JiraStub.ways),
            ("POST", rf"{one}/transitions", JiraStub.go),
            ("GET", rf"/{api}/mypermissions", JiraStub.permissions),
            ("GET", rf"/{api}/project/([^/]+)", JiraStub.about),
            ("GET", rf"/{api}/myself", JiraStub.myself),
        ]


class JiraCloudStub(JiraStub):
    """REST v3: documents, account ids, a search without totals; the old search is gone."""

    kind = "jira-cloud"

    def admit(self, headers):
        expected = "Basic " + base64.b64encode(f"{USER}:{TOKEN}".encode()).decode()
        if headers.get("authorization") != expected:
            raise Refusal(401, {"errorMessages": ["Client must be authenticated"]})

    def account(self, who):
        return {"accountId": f"5b10a2844c20165700ede21g:{who}", "displayName": who, "active": True}

    def gone(self, query, value):
        raise Refusal(
            410,
            {
                "errorMessages": [
                    "The requested API has been removed. Please migrate to the /rest/api/3/search/jql API."
                ]
            },
        )

    def search(self, query, value):
        if not value.get("jql"):
            raise Refusal(400, {"errorMessages": ["Unbounded JQL queries are not allowed here."]})
        found = self.found(value["jql"])
        start = int(value.get("nextPageToken", "0"))
        size = min(value.get("maxResults", 50), self.page)
        wanted = value.get("fields", ())
        issues = [self.shown(one, wanted) for one in found[start : start + size]]
        if not wanted:
            issues = [{"id": one["id"]} for one in issues]
        last = start + size >= len(found)
        return {"issues": issues, "isLast": last} | (
            {} if last else {"nextPageToken": str(start + size)}
        )

    def valid(self, document):
        check_document(document)

    def text_of(self, body):
        return text_of(body)

    def body_of(self, text):
        return {
            "type": "doc",
            "version": 1,
            "content": [{"type": "paragraph", "content": [{"type": "text", "text": text}]}],
        }

    routes = [
        *JiraStub.common("rest/api/3"),
        ("POST", "/rest/api/3/search/jql", search),
        ("GET", "/rest/api/3/search", gone),
        ("POST", "/rest/api/3/search", gone),
        ("GET", "/rest/api/2/search", gone),
    ]


class JiraDataCenterStub(JiraStub):
    """REST v2: wiki text, names, a search with totals."""

    kind = "jira-data-center"

    def admit(self, headers):
        if headers.get("authorization") != f"Bearer {TOKEN}":
            raise Refusal(401, {"errorMessages": ["You are not authenticated."]})

    def account(self, who):
        return {"name": who, "key": f"JIRAUSER{len(who)}", "displayName": who.title()}

    def search(self, query, value):
        found = self.found(query["jql"])
        start, size = int(query.get("startAt", 0)), min(int(query.get("maxResults", 50)), self.page)
        issues = [
            self.shown(one, query["fields"].split(",")) for one in found[start : start + size]
        ]
        return {"startAt": start, "maxResults": size, "total": len(found), "issues": issues}

    def valid(self, text):
        if not isinstance(text, str) or len(text) > 32_767:
            raise Refusal(400, {"errors": {"description": "Operation value must be a string"}})

    routes = [*JiraStub.common("rest/api/2"), ("GET", "/rest/api/2/search", search)]


def text_of(node):
    """The text of a document, by its nodes."""
    if node.get("type") == "hardBreak":
        return "\n"
    inside = [text_of(child) for child in node.get("content", [])]
    return node.get("text", "") + ("\n\n" if node.get("type") == "doc" else "").join(inside)


def check_document(node, inside="document"):
    """What of the Atlassian Document Format JIRA refuses: INVALID_INPUT."""
    allowed = {"document": {"doc"}, "doc": {"paragraph"}, "paragraph": {"text", "hardBreak"}}
    wrong = (
        not isinstance(node, dict)
        or node.get("type") not in allowed[inside]
        or (node["type"] == "doc" and node.get("version") != 1)
        or (node["type"] == "text" and not node.get("text"))
        or set(node) - {"type", "version", "content", "text"}
    )
    if wrong:
        raise Refusal(400, {"errorMessages": ["INVALID_INPUT"]})
    for child in node.get("content", []):
        check_document(child, node["type"])


class GitLabStub(Stub):
    """REST v4, one project `ml/models` with the number 7."""

    kind = "gitlab"
    missing = {"message": "404 Not found"}
    project, level, archived = "ml/models", 30, False

    def admit(self, headers):
        if headers.get("private-token") != TOKEN:
            raise Refusal(401, {"message": "401 Unauthorized"})

    def user(self, who):
        return {"id": len(who), "username": who, "name": who.title(), "state": "active"}

    def shown(self, one):
        return {
            "id": 5000 + int(one["number"]),
            "iid": int(one["number"]),
            "project_id": 7,
            "title": one["title"],
            "description": one["body"],
            "state": "opened" if one["state"] == "open" else "closed",
            "labels": one["labels"],
            "assignees": [self.user(one["assignee"])] if one["assignee"] else [],
            "web_url": f"{self.url}/ml/models/-/issues/{one['number']}",
            "updated_at": WHEN,
            "moved_to_id": one.get("moved"),
        }

    def there(self, project):
        if project not in (self.project, "7"):
            raise Refusal(404, {"message": "404 Project Not Found"})

    def paged(self, values, query):
        number, size = int(query.get("page", 1)), min(int(query.get("per_page", 20)), self.page)
        part = values[(number - 1) * size : number * size]
        more = str(number + 1) if number * size < len(values) else ""
        return 200, {"x-next-page": more, "x-page": str(number)}, part

    def listing(self, query, value, project):
        self.there(project)
        found = list(self.issues.values())
        if "labels" in query:
            found = [one for one in found if set(query["labels"].split(",")) <= set(one["labels"])]
        if "search" in query and query.get("in") == "description":
            found = [one for one in found if query["search"] in one["body"]]
        found = [] if self.blind else found
        return self.paged([self.shown(one) for one in reversed(found)], query)

    def create(self, query, value, project):
        self.there(project)
        if not value.get("title") or len(value["title"]) > 255:
            raise Refusal(400, {"message": {"title": ["is too long (maximum is 255 characters)"]}})
        made = self.make(value["title"], value.get("description", ""), value["labels"].split(","))
        return 201, {}, self.shown(made)

    def show(self, query, value, project, number):
        self.there(project)
        return self.shown(self.issue(number))

    def change(self, query, value, project, number):
        self.there(project)
        known = {"title", "description", "add_labels", "remove_labels", "state_event"}
        if not value or set(value) - known:
            raise Refusal(
                400,
                {
                    "error": "title, description, ... are missing, at least one parameter must be provided"
                },
            )
        found = self.issue(number)
        found["title"] = value.get("title", found["title"])
        found["body"] = value.get("description", found["body"])
        gone = value.get("remove_labels", "").split(",")
        new = [one for one in value.get("add_labels", "").split(",") if one]
        found["labels"] = [one for one in found["labels"] if one not in gone] + new
        found["state"] = {"close": "closed", "reopen": "open", None: found["state"]}[
            value.get("state_event")
        ]
        return self.shown(found)

    def note(self, one):
        return {
            "id": one["id"], "body": one["body"], "author": self.user(one["author"]), "created_at": WHEN,
            "system": one.get("system", False), "noteable_type": "Issue",
        }  # fmt: skip

    def notes(self, query, value, project, number):
        said = [self.note(one) for one in self.issue(number)["comments"]]
        return self.paged(said if query.get("sort") == "asc" else said[::-1], query)

    def say(self, query, value, project, number):
        one = {"id": next(self.ids), "body": value["body"], "author": "casemate"}
        self.issue(number)["comments"].append(one)
        return 201, {}, self.note(one)

    def about(self, query, value, project):
        self.there(project)
        access = {"project_access": {"access_level": self.level}, "group_access": None}
        return {
            "id": 7,
            "path_with_namespace": self.project,
            "archived": self.archived,
            "permissions": access,
            "issues_access_level": "enabled",
        }

    _one = r"/api/v4/projects/([^/]+)/issues/(\d+)"
    routes = [
        ("GET", r"/api/v4/projects/([^/]+)/issues", listing),
        ("POST", r"/api/v4/projects/([^/]+)/issues", create),
        ("GET", _one, show),
        ("PUT", _one, change),
        ("GET", _one + "/notes", notes),
        ("POST", _one + "/notes", say),
        ("GET", r"/api/v4/projects/([^/]+)", about),
        ("GET", "/api/v4/user", lambda self, *_: self.user("casemate")),
    ]


class GitHubStub(Stub):
    """REST of 2022-11-28, one repository `clinic/models`."""

    kind = "github"
    missing = {"message": "Not Found", "documentation_url": "https://docs.github.com/rest"}
    project, triage, finished = "clinic/models", True, True

    def admit(self, headers):
        if headers.get("authorization") != f"Bearer {TOKEN}":
            raise Refusal(401, {"message": "Bad credentials"})
        if headers.get("x-github-api-version") != "2022-11-28" or not headers.get("user-agent"):
            raise Refusal(403, {"message": "Request forbidden by administrative rules."})

    def user(self, who):
        return {"login": who, "id": len(who), "type": "User"}

    def shown(self, one):
        return {
            "id": 900_000 + int(one["number"]),
            "number": int(one["number"]),
            "title": one["title"],
            "body": one["body"],
            "state": one["state"],
            "state_reason": "completed" if one["state"] == "closed" else None,
            "labels": [{"id": 1, "name": label, "color": "ededed"} for label in one["labels"]],
            "assignee": self.user(one["assignee"]) if one["assignee"] else None,
            "user": self.user("casemate"),
            "html_url": f"{self.url}/clinic/models/issues/{one['number']}",
            "updated_at": WHEN,
        } | ({"pull_request": {"url": f"{self.url}/x"}} if one.get("pull") else {})

    def paged(self, values, query):
        number, size = int(query.get("page", 1)), min(int(query.get("per_page", 30)), self.page)
        part = values[(number - 1) * size : number * size]
        last = number * size >= len(values)
        return 200, {} if last else {"link": f'<{self.url}/x?page={number + 1}>; rel="next"'}, part

    def listing(self, query, value):
        found = [one for one in self.issues.values() if query["labels"] in one["labels"]]
        found = [] if self.blind else found[::-1]
        assert (query["state"], query["sort"], query["direction"]) == ("all", "created", "desc")
        return self.paged([self.shown(one) for one in found], query)

    def search(self, query, value):
        match = re.fullmatch(
            r'"(\w+)" in:body repo:clinic/models is:issue label:casemate', query["q"]
        )
        if match is None:
            raise Refusal(422, {"message": "Validation Failed"})
        found = [one for one in self.issues.values() if match[1] in one["body"] and not self.blind]
        return {
            "total_count": len(found),
            "incomplete_results": not self.finished,
            "items": [self.shown(one) for one in found],
        }

    def create(self, query, value):
        if len(value["title"]) > 256:
            raise Refusal(422, {"message": "Validation Failed", "errors": [{"field": "title"}]})
        labels = value["labels"] if self.triage else []
        return 201, {}, self.shown(self.make(value["title"], value["body"], list(labels)))

    def show(self, query, value, number):
        return self.shown(self.issue(number))

    def change(self, query, value, number):
        found = self.issue(number)
        if set(value) - {"title", "body", "state", "state_reason"}:
            raise Refusal(422, {"message": "Validation Failed"})
        found.update({name: new for name, new in value.items() if name != "state_reason"})
        return self.shown(found)

    def label(self, query, value, number):
        found = self.issue(number)
        found["labels"] += [one for one in value["labels"] if one not in found["labels"]]
        return [{"name": one} for one in found["labels"]]

    def unlabel(self, query, value, number, label):
        found = self.issue(number)
        if label not in found["labels"]:
            raise Refusal(404, {"message": "Label does not exist"})
        found["labels"].remove(label)
        return [{"name": one} for one in found["labels"]]

    def comment(self, one):
        return {
            "id": one["id"],
            "body": one["body"],
            "user": self.user(one["author"]),
            "created_at": WHEN,
        }

    def comments(self, query, value, number):
        return self.paged([self.comment(one) for one in self.issue(number)["comments"]], query)

    def say(self, query, value, number):
        one = {"id": next(self.ids), "body": value["body"], "author": "casemate"}
        self.issue(number)["comments"].append(one)
        return 201, {}, self.comment(one)

    def about(self, query, value):
        return {
            "full_name": self.project,
            "has_issues": True,
            "archived": False,
            "permissions": {"pull": True, "triage": self.triage},
        }

    _issues = r"/repos/clinic/models/issues"
    routes = [
        ("GET", _issues, listing),
        ("POST", _issues, create),
        ("GET", _issues + r"/(\d+)", show),
        ("PATCH", _issues + r"/(\d+)", change),
        ("POST", _issues + r"/(\d+)/labels", label),
        ("DELETE", _issues + r"/(\d+)/labels/([^/]+)", unlabel),
        ("GET", _issues + r"/(\d+)/comments", comments),
        ("POST", _issues + r"/(\d+)/comments", say),
        ("GET", "/search/issues", search),
        ("GET", "/repos/clinic/models", about),
        ("GET", "/user", lambda self, *_: self.user("casemate")),
    ]
