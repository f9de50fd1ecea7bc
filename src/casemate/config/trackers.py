"""`[trackers.NAME]`: where tickets about incidents are made."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from casemate.config.table import Authority, Table
from casemate.core.http import is_private
from casemate.core.types import Severity

Kind = Literal["roundup", "jira-cloud", "jira-data-center", "gitlab", "github", "webhook", "mail"]
NEEDED: dict[str, tuple[str, ...]] = {
    "roundup": ("url", "user", "token"),
    "jira-cloud": ("url", "project", "token"),
    "jira-data-center": ("url", "project", "token"),
    "gitlab": ("url", "project", "token"),
    "github": ("project", "token"),
    "webhook": ("url", "token"),
    "mail": ("to",),
}
"""What each kind cannot do without."""
Account = Annotated[str, Meta(min_length=1, max_length=200)]
Label = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,49}$(?!\n)")]
Token = Annotated[str, Meta(pattern=r"^(env|file|vault|aws-sm):.+$(?!\n)")]
"""A reference, so that nobody writes the token itself into the file; nobody is there to be asked
for it either.
"""


class TrackerTable(Table, frozen=True, kw_only=True):
    """One place for tickets."""

    kind: Annotated[Kind, Meta(description="What stands there.")]
    url: Annotated[
        str,
        Meta(
            description=(
                "Base of its address, https (http to this machine only), such as"
                " `https://gitlab.example.org`; the webhook's address. GitHub: default"
                " `https://api.github.com`."
            ),
            pattern=r"^(https?://[^\s?#@]+)?$(?!\n)",
        ),
    ] = ""
    project: Annotated[
        str,
        Meta(
            description="JIRA: the project's key. GitLab: path or number. GitHub: `OWNER/NAME`.",
            pattern=r"^([A-Za-z0-9_][A-Za-z0-9._/-]{0,199})?$(?!\n)",
        ),
    ] = ""
    user: Annotated[
        str,
        Meta(
            description=(
                "Roundup: login. JIRA Cloud: mail address of the account that an API token belongs"
                " to; without it the token is sent as a bearer's."
            ),
            pattern=r"^[^\s:]{0,200}$(?!\n)",
        ),
    ] = ""
    token: Annotated[
        Token | None,
        Meta(
            description=(
                "Reference to the token (Roundup: password; webhook: key of the signature):"
                " `env:NAME`, `file:PATH`, `vault:…` or `aws-sm:…`."
            ),
        ),
    ] = None
    issue_type: Annotated[
        str, Meta(description="JIRA: type of the issues.", min_length=1, max_length=100)
    ] = "Task"
    labels: Annotated[
        list[Label], Meta(description="Of every ticket, beside `casemate` and the severity.")
    ] = []
    severities: Annotated[
        list[Severity], Meta(description="Incidents of which severities get a ticket there.")
    ] = msgspec.field(default_factory=lambda: ["low", "medium", "high"])
    people: Annotated[
        dict[Account, str],
        Meta(
            description=(
                "Accounts of the tracker, and which user of the project each is: whoever a ticket"
                " is assigned to owns the incident. JIRA Cloud: account ids."
            ),
            max_length=1000,
        ),
    ] = {}
    ca: Authority = None
    timeout: Annotated[
        float, Meta(description="Seconds that a step of a request may take.", gt=0, le=120)
    ] = 10.0
    to: Annotated[str, Meta(description="Mail: address.")] = ""
    server: Annotated[str, Meta(description="Mail: HOST:PORT of the SMTP server.")] = "localhost:25"
    sender: Annotated[str, Meta(description="Mail: From address.")] = "casemate@localhost"

    @property
    def host(self) -> str:
        """Of the address, for people."""
        return urlsplit(self.url).hostname or ""


def impossible_trackers(trackers: dict[str, TrackerTable]) -> list[str]:
    """What of `[trackers]` does not go together."""
    problems = []
    for name, table in trackers.items():
        problems += [
            f"[trackers.{name}] {option}: a {table.kind} needs it"
            for option in NEEDED[table.kind]
            if not getattr(table, option)
        ]
        if table.url and not is_private(table.url):
            problems.append(
                f"[trackers.{name}] url: {table.host} must be https; http is allowed to this"
                " machine only"
            )
        if table.kind == "github" and table.project and table.project.count("/") != 1:
            problems.append(f"[trackers.{name}] project: {table.project!r} is not OWNER/NAME")
        if table.kind.startswith("jira") and "/" in table.project:
            problems.append(f"[trackers.{name}] project: {table.project!r} is no project's key")
    return problems
