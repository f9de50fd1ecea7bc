"""`[scan]`: what is looked at for weaknesses, by what, and how long findings may stand."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from casemate.config.sonar import SonarTable
from casemate.config.table import Count, Days, Table
from casemate.core.http import is_private
from casemate.core.types.scan import STILL, ScanKind

Period = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,2} (hour|day|week)s?$(?!\n)")]


class DueTable(Table, frozen=True, kw_only=True):
    """`[scan.due]`: until a finding is mended, by severity."""

    critical: Annotated[Days, Meta(description="Days for a critical finding.")] = 2
    high: Annotated[Days, Meta(description="Days for one of high severity.")] = 14
    medium: Annotated[Days, Meta(description="Days for one of medium severity.")] = 60
    low: Annotated[Days, Meta(description="Days for one of low severity.")] = 180


class EndpointTable(Table, frozen=True, kw_only=True):
    """`[scan.endpoint]`: how much a scan of a running gateway may ask of it."""

    seconds: Annotated[
        float, Meta(description="Seconds that all its scanners take at most.", gt=0, le=3600)
    ] = 180.0
    requests: Annotated[Count, Meta(description="Requests that all its scanners send at most.")] = (
        50_000
    )
    rate: Annotated[float, Meta(description="Requests a second at most.", gt=0, le=100_000)] = (
        2000.0
    )
    start_seconds: Annotated[
        float, Meta(description="Seconds that a scratch copy may take to answer.", gt=0, le=600)
    ] = 60.0
    tools: Annotated[
        list[Literal["schemathesis", "wapiti"]],
        Meta(
            description=(
                "Other people's scanners that look too, each of which then must be there; they are"
                " found as `[scan] tools` says."
            )
        ),
    ] = []


class ScanTable(Table, frozen=True, kw_only=True):
    """Scans: `casemate scan`."""

    kinds: Annotated[
        list[ScanKind],
        Meta(
            description=(
                "What `casemate scan all` looks at, and what `[gates] scan` asks for; `endpoint`"
                " lets it start a scratch copy of the gateway."
            ),
            min_length=1,
        ),
    ] = msgspec.field(default_factory=lambda: list(STILL))
    tools: Annotated[
        str | None,
        Meta(
            description=(
                "Folder with the programs of other people's scanners; default: beside this Python,"
                " then `PATH`."
            )
        ),
    ] = None
    exclude: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=300)]],
        Meta(
            description=(
                "Patterns of paths below the project's folder that are left out, such as"
                " `data/*`; every scan says what it left out."
            )
        ),
    ] = []
    history: Annotated[
        bool, Meta(description="Look for secrets in every commit of git too, not in files alone.")
    ] = True
    seconds: Annotated[
        float,
        Meta(description="Seconds that one process of a scanner may take.", gt=0, le=3600),
    ] = 300.0
    within_days: Annotated[
        Days, Meta(description="Days after which a scan is too old for `[gates] scan`.")
    ] = 7
    every: Annotated[
        Period | None,
        Meta(
            description=(
                'How often everything in `kinds` is to be looked at, such as `"1 week"`: a scan'
                " that did not happen in time is an alarm, and a control that fails."
            )
        ),
    ] = None
    incidents: Annotated[
        Literal["critical", "high", "medium", "low", "none"],
        Meta(
            description=(
                "The least grave finding that is an incident while it stands and nobody waived it;"
                " `none`: none is."
            )
        ),
    ] = "high"
    advisories_within_days: Annotated[
        Days,
        Meta(description="Days after which a snapshot of advisories is too old to say anything."),
    ] = 7
    advisories_keys: Annotated[
        list[str],
        Meta(
            description=(
                "Files with both public keys of who signs snapshots of advisories; default: this"
                " project's own."
            ),
            max_length=2,
        ),
    ] = []
    reports: Annotated[
        list[Literal["zap", "sonar", "sarif"]],
        Meta(
            description=(
                "Whose reports `[gates] scan` asks for, each imported within `within_days`."
            )
        ),
    ] = []
    sonar: Annotated[SonarTable, Meta(description="The SonarQube server that is asked.")] = (
        SonarTable()
    )
    endpoint: Annotated[
        EndpointTable, Meta(description="How much a running gateway may be asked.")
    ] = EndpointTable()
    licences: Annotated[
        list[str],
        Meta(
            description=(
                "Licences that installed packages may have, as SPDX ids or as packages say them;"
                " others are findings. Empty: nobody looks."
            )
        ),
    ] = []
    due: Annotated[DueTable, Meta(description="Days until a finding is mended, by severity.")] = (
        DueTable()
    )
    owners: Annotated[
        dict[ScanKind, str],
        Meta(
            description=(
                'Who sees to findings, such as `{ code = "ana" }`; default: a shipped role.'
            )
        ),
    ] = {}


def impossible_scan(table: ScanTable) -> list[str]:
    """What of `[scan]` does not go together."""
    server = table.sonar
    if not server.url:
        return []
    problems = [
        f"[scan.sonar] {option}: a server needs it"
        for option in ("project", "token")
        if not getattr(server, option)
    ]
    if not is_private(server.url):
        problems.append("[scan.sonar] url must be https; http is allowed to this machine only")
    return problems
