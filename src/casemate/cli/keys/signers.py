"""`casemate keys signer`."""

from typing import Any

from casemate.cli.options import common


def signer_arguments(actions: Any) -> None:
    """Options of what is done with signers."""
    actions.add_parser(
        "list", help="the present signer and all former ones", parents=[common(nested=True)]
    )
    rotate = actions.add_parser(
        "rotate",
        help="sign with new keys; what was signed stays valid",
        parents=[common(nested=True)],
    )
    rotate.add_argument(
        "--compromised",
        metavar="TIME",
        help="since when others may have had the present keys: later signatures count no more",
    )
    distrust = actions.add_parser(
        "distrust", help="declare a former signer compromised", parents=[common(nested=True)]
    )
    distrust.add_argument("number", type=int, help="as `list` shows it")
    distrust.add_argument(
        "since", metavar="TIME", help="such as 2026-11-23T09:30:00Z, or 12h for twelve hours ago"
    )


def sign(arguments: Any, project: Any) -> int:
    """List signers, sign with new keys, declare a former signer compromised."""
    from casemate.cli.output import emit, table
    from casemate.controls.audit.query import parse_time
    from casemate.core.errors import ConfigError

    now = project.clock.now()
    if arguments.what == "list":
        value = project.keys.signers()
        rows = [
            [
                one.number,
                one.fingerprint[:32],
                *((said or "")[:19] for said in (one.since, one.retired, one.compromised)),
            ]
            for one in value
        ]
        emit(
            arguments,
            value,
            table(["signer", "SHA-256", "since", "retired", "compromised since"], rows),
        )
        return 0
    rotating = arguments.what == "rotate"
    given = arguments.compromised if rotating else arguments.since
    since = None if given is None else parse_time(given, now)
    if since is not None and since > now:
        raise ConfigError(
            f"{given!r} is in the future",
            hint="a compromise is declared from when it may have begun",
        )
    if rotating or since is None:
        fresh = project.keys.new_signer(since)
        told = f"signer {fresh.number} signs from now on; give others the new .casemate/public"
        number = fresh.number
    else:
        number = arguments.number
        project.keys.distrust(number, since)
        told = (
            f"signer {number} is compromised since {since.isoformat()}; give others the new"
            " .casemate/public"
        )
    emit(arguments, {"number": number, "compromised": since and since.isoformat()}, told)
    return 0
