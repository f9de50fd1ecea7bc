"""`casemate scan import`: reports of other people's scanners become findings of the one model."""

import datetime
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, get_args

from msgspec import structs

from casemate.core.digest import sha256
from casemate.core.errors import ConfigError
from casemate.core.text import clean
from casemate.core.types.scan import ScanKind
from casemate.operations.acting import operation
from casemate.operations.scans.looking import Result, keep, require_said
from casemate.supply.reports import sarif, sonar, zap
from casemate.supply.reports.reading import Lines, Report, answer, content, scanner_of
from casemate.supply.reports.sonarweb import Server
from casemate.supply.scanners.interface import MOST_WORDS, CouldNotLook, Looked, bounded
from casemate.wiring import Wiring

Source = Literal["zap", "sonar", "sarif"]
SOURCES: tuple[Source, ...] = get_args(Source)
KINDS: dict[Source, ScanKind] = {"zap": "endpoint", "sonar": "code", "sarif": "code"}
AHEAD = datetime.timedelta(days=1)
"""How much later than now a report's own clock may be."""


@operation("scan:run")
def add(project: Wiring, file: Path, source: Source) -> Result:
    """Take a report in: what it says becomes findings, under a name that says whose word it is.
    What is no whole report of its tool is kept as one that says nothing, and blocks.

    Args:
        project: whose.
        file: the report, below 32 MiB.
        source: whose format: `zap` (traditional JSON or XML), `sonar` (generic issues of either
            format, an answer of `api/issues/search` or `api/qualitygates/project_status`), `sarif`.

    Raises:
        AccessDenied: policy. ConfigError: there is no such file or format, or `-s` sets what is
            looked at.
    """
    require_said(project)
    if source not in SOURCES:
        raise ConfigError(
            f"there is no format {source[:80]!r}", hint=f"one of {', '.join(SOURCES)}"
        )
    acting = add.ask(project, file=file.name[:200], source=source)
    digests: list[str] = []

    def read() -> Report:
        whole = content(file)
        digests.append(sha256(whole))
        return _readers(project)[source](whole)

    answers = heard(project, source, read)
    which = clean(f"{file.name}, SHA-256 {digests[0][:16]}", 200) if digests else ""
    answers = [structs.replace(one, source=which) for one in answers]
    said = {"file": file.name[:200], "report": digests[0] if digests else ""}
    return keep(project, acting, "scan:imported", answers, source=source, **said)


@operation("scan:run")
def ask_sonar(project: Wiring) -> Result:
    """Ask the SonarQube server of `[scan.sonar]` how the project stands there: each condition of
    its quality gate that fails, and each open issue, becomes a finding. A server that is away,
    refuses, has never analysed the project or not within `[scan] within_days`, has said nothing.

    Raises:
        AccessDenied: policy. ConfigError: no server is named, its token cannot be read, or `-s`
            sets what is looked at.
    """
    require_said(project)
    table = project.config.scan.sonar
    acting = ask_sonar.ask(project, about=table.project)
    if not table.url:
        raise ConfigError(
            "[scan.sonar] names no server", hint="set url, project and token = env:NAME"
        )
    server = Server(
        table.url,
        functools.partial(project.read_secret, table.token or ""),
        table.timeout,
        project.config.scan.seconds,
        None if table.ca is None else project.root / table.ca,
    )
    lines = Lines(project.root)
    answers = heard(
        project,
        "sonar",
        lambda: server.report(table.project, table.branch, lines),
        sonar.names(table.project),
    )
    answers = [structs.replace(one, source=server.host) for one in answers]
    return keep(project, acting, "scan:imported", answers, source="sonar", server=server.host)


def heard(
    project: Wiring, source: Source, read: Callable[[], Report], about: Sequence[str] = ("",)
) -> list[Looked]:
    """What a report says, whatever happens when it is read.

    Args:
        project: whose.
        source: whose report.
        read: gives it.
        about: what it would have been about, as far as that is known before.
    """
    try:
        report = read()
        late = _late(project, report.made)
        answers = [bounded(one) for one in report.looked]
        return [structs.replace(one, unseen={**one.unseen, **late}) for one in answers]
    except CouldNotLook as error:
        why = error.sentence
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001 - a report that breaks its reader has said nothing
        why = f"the report could not be read: {type(error).__name__}: {error}"
    unseen = {"": clean(why, MOST_WORDS)}
    return [answer(scanner_of(source, one), KINDS[source], [], unseen=unseen) for one in about]


def _late(project: Wiring, made: datetime.datetime | None) -> dict[str, str]:
    """Why a report is too old to say anything, or none of a time that was."""
    if made is None:
        return {}
    now, days = project.clock.now(), project.config.scan.within_days
    if made > now + AHEAD:
        return {"time": f"the report is of {made:%Y-%m-%d}, which is to come"}
    if made < now - datetime.timedelta(days=days):
        return {"time": f"the report is of {made:%Y-%m-%d}, older than {days} days"}
    return {}


def _readers(project: Wiring) -> dict[Source, Callable[[bytes], Report]]:
    lines = Lines(project.root)
    return {
        "zap": zap.read,
        "sonar": lambda whole: sonar.read(whole, lines),
        "sarif": lambda whole: sarif.read(whole, lines, str(project.root.resolve())),
    }
