"""Deciding about findings."""

from typing import Any

from casemate.cli.commands import open_for
from casemate.cli.output import emit
from casemate.cli.until import moment


def waive(arguments: Any) -> int:
    """Let a finding stand."""
    until = moment(arguments.until)
    found = open_for(arguments).scans.waive(arguments.finding, until, arguments.reason)
    print_ = found.kept.finding.fingerprint
    emit(arguments, {"waived": print_}, f"{print_[:12]} is waived until {until:%Y-%m-%d}")
    return 0


def export(arguments: Any) -> int:
    """Write findings to a file."""
    count = open_for(arguments).scans.export(arguments.file, arguments.form)
    told = {"file": str(arguments.file), "findings": count}
    emit(arguments, told, f"{arguments.file}: {count} findings stand")
    return 0


def plan(arguments: Any) -> int:
    """Write ZAP's plan, and say what is to be done with it."""
    found = open_for(arguments).scans.plan(
        arguments.file,
        arguments.target,
        minutes=arguments.minutes,
        rate=arguments.rate,
        active=not arguments.passive,
        folder=arguments.reports,
        certificate=arguments.certificate,
    )
    lines = [f"{found.file}: ZAP looks at {found.target}, which you must be allowed to attack"]
    lines += [f"    {name}: {what}" for name, what in found.variables.items()]
    if found.properties:
        lines.append(f"    {found.properties}: add certificate.pkcs12.password=…, then -configfile")
    lines.append(
        f"    zap.sh -cmd -autorun {found.file} && casemate scan import {found.report} --from zap"
    )
    emit(arguments, found, "\n".join(lines))
    return 0


def unwaive(arguments: Any) -> int:
    """End its waivers."""
    count = open_for(arguments).scans.unwaive(arguments.finding)
    emit(arguments, {"ended": count}, f"{count} waivers have ended")
    return 0


def advisories(arguments: Any) -> int:
    """Show, import or sign a snapshot; 1: none is here that says anything."""
    scans = open_for(arguments).scans
    if arguments.what == "show":
        held = scans.advisories.show()
        one = held.snapshot
        known = f"{one.count} advisories of {one.ecosystem}, {one.taken}" if one else "no snapshot"
        emit(arguments, held, f"{known}: {held.fault}" if held.fault else known)
        return 1 if held.fault else 0
    if arguments.what == "sign":
        found = scans.advisories.sign(arguments.file)
        told = f"{arguments.file}.sig signs {found.count} advisories of {found.taken}"
    else:
        found = scans.advisories.add(arguments.file)
        told = f"{found.count} advisories of {found.taken} are here"
    emit(arguments, found, told)
    return 0
