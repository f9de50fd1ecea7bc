"""Checks of what runs: gateway, watcher, incidents, messages."""

from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from casemate.operations.controls.facts import Facts
from casemate.operations.controls.kinds import Seen, check, judged
from casemate.operations.incidents.books import KIND
from casemate.operations.watching.alarms import PREFIX, Alarm
from casemate.operations.watching.looking import Progress
from casemate.respond import tables
from casemate.respond.clocks import clocks
from casemate.respond.states import OPEN
from casemate.watch.levels import FILE, FOLDER
from casemate.watch.telemetry import Telemetry

GRAVE = ("critical", "high")


@check(
    "gateway.tls",
    "The gateway ends TLS itself, with a certificate of the project's authority that is valid now",
    answers="operator",
    mend='[serve] tls = "own", or ask whoever runs the proxy',
)
def tls(facts: Facts) -> Seen:
    """A certificate is issued as `casemate serve` would; a proxy's are the proxy's to say."""
    serve = facts.config.serve
    if serve.tls == "proxy":
        text = '[serve] tls = "proxy": whoever runs the proxy answers for TLS'
        return Seen("inconclusive", text, {"tls": serve.tls})
    authority = facts.project.keystore.authority
    chain, _ = authority.issue_server(serve.names)
    server = x509.load_pem_x509_certificates(chain)[0]
    server.verify_directly_issued_by(authority.certificate)
    ends = min(one.not_valid_after_utc for one in (server, authority.certificate))
    fault = f"its certificates ended on {ends:%Y-%m-%d}" if ends <= facts.now else ""
    return judged(
        fault,
        f"TLS 1.3 for {', '.join(serve.names)}",
        tls=serve.tls,
        authority=authority.certificate.fingerprint(hashes.SHA256()).hex(),
        names=len(serve.names),
    )


@check(
    "gateway.limits",
    "What one caller may ask of a model is limited, per minute and within a window",
    answers="operator",
    mend="[serve.limits] in casemate.toml",
)
def limits(facts: Facts) -> Seen:
    """Against copying a model through its answers, and against who asks others out."""
    table = facts.config.serve.limits
    found = {"requests_per_minute": table.requests_per_minute, "rows": table.rows}
    open_ = [name for name, value in found.items() if value is None]
    fault = f"[serve.limits] {' and '.join(open_)}: without a limit" if open_ else ""
    return judged(fault, "both are limited", **found)


@check(
    "gateway.guards",
    "The gateway answers nothing about categories that no training row could have had",
    answers="operator",
    mend='[serve.guard] unknown = "refuse" in casemate.toml',
)
def guards(facts: Facts) -> Seen:
    """Numbers out of range and rows far from all others are flagged at least, whatever is set."""
    table = facts.config.serve.guard
    found = {name: getattr(table, name) for name in ("outside", "unknown", "unusual")}
    fault = "" if table.unknown == "refuse" else "[serve.guard] unknown: they are answered"
    return judged(fault, "they are refused", **found)


@check(
    "watch.looked",
    "The watcher has looked within `[controls] watch_hours`, and could judge every model",
    answers="operator",
    mend="casemate watch",
)
def looked(facts: Facts) -> Seen:
    """Drift and quality of the service are seen only by who looks."""
    path = facts.project.state / FOLDER / FILE
    if not path.is_file():
        return judged("nobody has ever looked: casemate watch", "", last=None)
    with Telemetry(path) as telemetry:
        last = telemetry.kept("progress", Progress)
        standing = telemetry.all_kept(PREFIX, Alarm).values()
    if last is None:
        return judged("nobody has ever looked: casemate watch", "", last=None)
    hours = facts.config.controls.watch_hours
    late = last.time < facts.before(hours=hours)
    fault = f"the last look was more than {hours:g} hours ago, on {last.time[:16]}" if late else ""
    unjudged = sorted(
        alarm.cause.labels.get("model", "")
        for alarm in standing
        if alarm.ended is None and alarm.cause.name == "unjudged"
    )
    faults = [fault] if fault else []
    if unjudged:
        faults.append(f"could not be judged: {', '.join(unjudged)}")
    said = "; ".join(faults)
    return judged(said, f"on {last.time[:16]}", last=last.time, unjudged=unjudged)


@check(
    "incidents.in-time",
    "No open incident is past a term of the project or of a law",
    answers="operator",
    mend="casemate incident list",
)
def in_time(facts: Facts) -> Seen:
    """Each is held against the log."""
    project = facts.project
    with project.database.reading() as tx:
        found = tables.incidents(tx, tables.INCIDENTS.c.state.in_(OPEN))
        opened = [KIND.history(project, tx, one.id)[0] for one in found]
    now = facts.now.isoformat()
    late = {
        one.id: clock.id
        for one in opened
        for clock in clocks(one, facts.config.incidents)
        if not clock.done and clock.due < now
    }
    told = ", ".join(f"incident {number} ({clock})" for number, clock in late.items())
    fault = f"late: {told}" if late else ""
    return judged(
        fault, f"of {len(opened)} that are open none is late", open=len(opened), late=len(late)
    )


@check(
    "incidents.reviewed",
    "Grave incidents are reviewed within `[controls] review_days` after they were closed",
    answers="operator",
    mend="casemate incident review NUMBER TEXT",
)
def reviewed(facts: Facts) -> Seen:
    """Those of critical and high severity: what was learnt from them is on record."""
    since = facts.before(days=facts.config.controls.review_days)
    project = facts.project
    with project.database.reading() as tx:
        found = tables.incidents(tx, tables.INCIDENTS.c.state == "closed")
        closed = [KIND.history(project, tx, one.id)[0] for one in found]
    meant = [one for one in closed if one.severity in GRAVE and one.merged is None]
    late = [one.id for one in meant if (one.closed or "") < since]
    fault = f"closed before {since[:10]} and not reviewed: {', '.join(map(str, late))}"
    seen: dict[str, Any] = {"closed": len(meant), "late": len(late)}
    return judged(
        fault if late else "", f"of {len(meant)} that wait none does so for too long", **seen
    )


@check(
    "notices.delivered",
    "Nothing that was to be told is left undelivered",
    answers="operator",
    mend="casemate outbox list --state dead, then casemate outbox retry",
)
def delivered(facts: Facts) -> Seen:
    """Messages that were given up."""
    dead = facts.project.outbox.messages("dead")
    targets = sorted({str(one["target"]) for one in dead})
    fault = f"given up: {len(dead)}, to {', '.join(targets)}" if dead else ""
    waiting = len(facts.project.outbox.messages("pending"))
    return judged(fault, f"nothing was given up, {waiting} wait", dead=len(dead), waiting=waiting)


CHECKS = (tls, limits, guards, looked, in_time, reviewed, delivered)
