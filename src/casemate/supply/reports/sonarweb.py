"""Asking a SonarQube server for a project's quality gate and issues through its web API.

`api/qualitygates/project_status`, `api/project_analyses/search` and `api/issues/search`, with a
user's token as a bearer's (SonarQube 10 and later, SonarQube Cloud).
"""

import datetime
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec

from casemate.core.errors import TransientError
from casemate.core.http import ask
from casemate.core.text import clean
from casemate.supply.reports import sonar
from casemate.supply.reports.reading import Lines, Report, decoded
from casemate.supply.scanners.interface import CouldNotLook

PAGE = 500
"""Issues of one answer: as many as the server gives."""
MOST_ISSUES = 10_000
"""The server gives no more of one listing, on however many pages."""
MOST_BYTES = 16 * 2**20
"""Of one answer."""
T = TypeVar("T")


class Analysis(msgspec.Struct):
    """One of a project."""

    date: str


class Analyses(msgspec.Struct):
    """What `api/project_analyses/search` answers, the newest first."""

    analyses: list[Analysis]


class Server:
    """One SonarQube server.

    Args:
        url: its address; https, or this machine, as whoever reads the configuration has seen to.
        token: gives the user's token, each time that it is needed.
        timeout: seconds for a step of a connection.
        seconds: for everything.
        ca: PEM file of the only authority that is believed.
    """

    def __init__(
        self,
        url: str,
        token: Callable[[], str],
        timeout: float,
        seconds: float,
        ca: Path | None,
    ) -> None:
        self.url, self.host = url.rstrip("/"), urlsplit(url).hostname or ""
        self._token, self._timeout, self._ca = token, timeout, ca
        self._end = time.monotonic() + seconds

    def report(self, project: str, branch: str, lines: Lines) -> Report:
        """How a project stands there.

        Args:
            project: its key.
            branch: whose; "": the main one.
            lines: of the files here.

        Raises:
            CouldNotLook: the server is away, refuses, or answers something else than documented.
        """
        about = {"branch": branch} if branch else {}
        gate = self._json(
            sonar.Status, "api/qualitygates/project_status", {"projectKey": project, **about}
        )
        newest = self._json(
            Analyses, "api/project_analyses/search", {"project": project, "ps": "1", **about}
        )
        if not newest.analyses:
            raise CouldNotLook(f"{self.host} has never analysed {project}")
        pages = self._issues(project, about)
        return Report(
            [sonar.of_gate(gate, project), *sonar.of_issues(pages, lines, project)],
            _date(newest.analyses[0].date, self.host),
        )

    def _issues(self, project: str, about: dict[str, str]) -> list[sonar.Issues]:
        pages: list[sonar.Issues] = []
        count = 0
        for number in range(1, MOST_ISSUES // PAGE + 1):
            # `componentKeys` is what versions before 10.2 know, and later ones still take
            asked = {"componentKeys": project, "resolved": "false", **about}
            asked |= {"ps": str(PAGE), "p": str(number)}
            page = self._json(sonar.Issues, "api/issues/search", asked)
            pages.append(page)
            count += len(page.issues)
            if count >= page.paging.total or not page.issues:
                break
        return pages  # what is missing by `total` is told with them

    def _json(self, kind: type[T], path: str, query: dict[str, str]) -> T:
        if time.monotonic() > self._end:
            raise CouldNotLook(f"{self.host} did not answer in time", hint="[scan] seconds")
        headers = {
            "accept": "application/json",
            "user-agent": "casemate",
            "authorization": f"Bearer {self._token()}",
        }
        url = f"{self.url}/{path}?{urlencode(query)}"
        try:
            found = ask("GET", url, None, headers, self._timeout, MOST_BYTES + 1, self._ca)
        except TransientError as error:
            raise CouldNotLook(error.message, hint=error.hint) from error
        if found.status != 200:
            hint = {
                401: "renew what [scan.sonar] token refers to",
                403: "let the token's user browse the project",
                404: "check [scan.sonar] url, project and branch",
            }.get(found.status, "see what stands at [scan.sonar] url")
            raise CouldNotLook(f"{self.host} answered {found.status} to {path}", hint=hint)
        if len(found.body) > MOST_BYTES:
            raise CouldNotLook(f"{self.host} answered more than {MOST_BYTES} bytes")
        return decoded(f"answer of {clean(path, 60)}", found.body, kind)


def _date(text: str, host: str) -> datetime.datetime:
    """A time as SonarQube has it: `2026-11-30T08:00:00+0000`."""
    try:
        return datetime.datetime.strptime(text[:40], "%Y-%m-%dT%H:%M:%S%z")
    except ValueError as error:
        raise CouldNotLook(f"{host} dates an analysis {clean(text, 40)!r}") from error
