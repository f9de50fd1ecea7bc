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


def unwaive(arguments: Any) -> int:
    """End its waivers."""
    count = open_for(arguments).scans.unwaive(arguments.finding)
    emit(arguments, {"ended": count}, f"{count} waivers have ended")
    return 0
