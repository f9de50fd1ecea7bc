"""Looking, and what was found."""

import sys
from typing import Any

from casemate.cli.commands import open_for
from casemate.cli.output import emit, printable, table

HEADS = ["finding", "severity", "what", "where", "owner", "due", "seen by", ""]
SHOWN = 12
"""Characters of a fingerprint in tables."""


def scan(arguments: Any, action: str) -> int:
    """Look; 0: nothing graver than may stand, 1: something is, 5: something was not looked at."""

    def progress(text: str) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"{text}\n")

    return _shown(
        arguments, open_for(arguments).scans.scan([action], progress, remote=_remote(arguments))
    )


def reported(arguments: Any) -> int:
    """What somebody else's report says; exit codes are those of a scan."""
    scans = open_for(arguments).scans
    if arguments.action == "sonar":
        return _shown(arguments, scans.ask_sonar())
    return _shown(arguments, scans.add(arguments.file, arguments.source))


def _shown(arguments: Any, found: Any) -> int:
    parts = [
        [part.kind, part.scanner, part.version, part.count, part.found, part.answer]
        for part in found.scan.parts
    ]
    lines = [table(["kind", "scanner", "version", "looked at", "found", "answer"], parts)]
    if found.found:
        lines += ["", table(HEADS, [_row(one) for one in found.found])]
    sources = {part.source for part in found.scan.parts if part.source}
    if sources:
        lines += ["", f"as somebody else says: {', '.join(map(printable, sorted(sources)))}"]
    told = [f"    {printable(one)}" for part in found.scan.parts for one in part.told]
    lines += ["", *told] if told else []
    left = [note for part in found.scan.parts for note in part.notes]
    if left:
        lines += ["", f"left out: {'; '.join(printable(note) for note in left[:10])}"]
    if found.unseen:
        lines += ["", "could not be looked at, which is not clean:"]
        lines += [f"    {printable(one)}" for one in found.unseen]
    if found.untold:
        lines += ["", f"no incident was opened or closed: {printable(found.untold)}"]
    lines += ["", _sentence(found)]
    emit(arguments, found, "\n".join(lines))
    return 5 if found.unseen or found.untold else 1 if found.blocking else 0


def _remote(arguments: Any) -> Any:
    """The gateway that `--target` names; None: a scratch copy."""
    if getattr(arguments, "target", None) is None:
        return None
    from casemate.operations.scans.endpoint.remote import Remote

    return Remote(
        url=arguments.target,
        consent=arguments.consent,
        callers=dict(one.partition("=")[::2] for one in arguments.callers),
        ca=arguments.ca,
    )


def _sentence(found: Any) -> str:
    may = f"{found.threshold} may stand" if found.threshold else "none may stand"
    waived = sum(one.waiver is not None for one in found.found)
    told = f"; incidents that changed: {found.incidents}" if found.incidents else ""
    return (
        f"scan {found.scan.number}: {len(found.found)} findings, {len(found.new)} new, {waived}"
        f" waived, {len(found.blocking)} graver than may stand ({may}){told}"
    )


def _row(one: Any) -> list[Any]:
    finding = one.kept.finding
    where = finding.path
    if finding.line:
        where += f" cell {finding.cell}" if finding.cell else ""
        where += f":{finding.line}"
    state = (
        "gone" if one.kept.gone else "waived" if one.waiver else "overdue" if one.overdue else ""
    )
    if one.outgrown:
        state = f"{state} graver than waived".strip()
    return [
        finding.fingerprint[:SHOWN],
        finding.severity,
        f"{finding.rule}: {finding.message}",
        where,
        one.owner,
        one.due,
        ", ".join(finding.scanners),
        state,
    ]


def listing(arguments: Any) -> int:
    """Findings in a table."""
    found = open_for(arguments).scans.list(gone=arguments.gone)
    scans = [
        [one.number, one.time, one.principal, f"{part.kind}: {part.scanner}", part.answer]
        for one in found.scans
        for part in one.parts
    ]
    text = (
        table(["scan", "time", "by", "what", "answer"], scans) if scans else "nothing was scanned"
    )
    if found.found:
        text += "\n\n" + table(HEADS, [_row(one) for one in found.found])
    emit(arguments, found, text)
    return 0


def show(arguments: Any) -> int:
    """One finding with its history."""
    one = open_for(arguments).scans.show(arguments.finding)
    kept, finding = one.kept, one.kept.finding
    lines = [
        f"{finding.fingerprint}",
        f"{finding.severity} {finding.rule}: {printable(finding.message)}",
        f"where: {printable(_row(one)[3])}",
        f"seen by: {', '.join(finding.scanners)}; also called {', '.join(finding.references) or '-'}",
        f"first seen {kept.first} (scan {kept.first_scan}), last {kept.last} (scan {kept.last_scan})",
        f"owner {printable(one.owner)}, due {one.due}" + (", overdue" if one.overdue else ""),
    ]
    if kept.returned:
        lines.append(f"it was gone and came back {kept.returned} times")
    if kept.gone:
        lines.append(f"gone since {kept.gone}")
    if finding.mend:
        lines.append(f"what to do: {printable(finding.mend)}")
    if one.waiver is not None:
        waiver = one.waiver
        lines.append(f"waived by {waiver.by} until {waiver.until[:10]}: {printable(waiver.reason)}")
    if one.outgrown:
        lines.append(
            f"it was waived as {one.outgrown} and is {finding.severity} now: waive it anew"
        )
    emit(arguments, one, "\n".join(lines))
    return 0
