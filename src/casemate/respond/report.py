"""An incident for others: its facts, a report in Markdown, and drafts of notices that laws want."""

import datetime

from msgspec import structs

from casemate.config import Law
from casemate.core.markdown import plain
from casemate.core.text import clean
from casemate.core.types import Record
from casemate.respond.alerts import Alert
from casemate.respond.clocks import DUTIES, Clock, Duty
from casemate.respond.states import Change, Heard, Incident

FORMAT = 1
MOST_LISTED = 50
"""Alerts in a report."""


class Line(Record, frozen=True, kw_only=True):
    """One thing that happened: an entry of the log."""

    entry: int
    """Its index: `casemate audit prove` shows to others that the log has it."""
    time: str
    who: str
    """As the log names them; empty for others."""
    action: str
    change: Change


class Facts(Record, frozen=True, kw_only=True):
    """All that is known of an incident."""

    format: int = FORMAT
    project: str
    project_id: str
    incident: Incident
    standing: int
    clocks: list[Clock]
    lines: list[Line]
    alerts: list[Alert]

    def impersonal(self) -> "Facts":
        """The same without who did what."""
        lines = [
            structs.replace(
                line,
                who="",
                change=structs.replace(
                    line.change, owner=_somebody(line.change), heard=_nobody(line.change.heard)
                ),
            )
            for line in self.lines
        ]
        incident = structs.replace(
            self.incident, owner=None if self.incident.owner is None else SOMEBODY
        )
        return structs.replace(self, lines=lines, incident=incident)


SOMEBODY = "(a person)"


def _somebody(change: Change) -> str | None:
    return None if change.owner is None else SOMEBODY


def _nobody(heard: Heard | None) -> Heard | None:
    # a pseudonym of an account can be found by trying accounts
    return None if heard is None else structs.replace(heard, accounts=())


def words(line: Line) -> str:
    """What a line says, for people."""
    change, what = line.change, line.action.partition(":")[2].replace("-", " ")
    parts = [what]
    if change.root:
        parts.append(f"cause {change.root}")
    if change.severity and line.action != "incident:alerts":
        parts.append(f"severity {change.severity}")
    counts = (("joined", change.joined), ("again", change.again), ("ended", change.ended))
    parts += [f"{count} alerts {name}" for name, count in counts if count]
    if change.owner:
        parts.append(f"owner {change.owner}")
    if change.other is not None:
        parts.append(f"incident {change.other}")
    if change.follows is not None:
        parts.append(f"follows incident {change.follows}")
    if change.standing:
        parts.append(f"although {change.standing} alerts stood")
    if change.personal:
        parts.append("personal data is concerned")
    if change.aware:
        parts.append(f"aware since {change.aware[:19]}Z")
    if change.clock:
        parts.append(change.clock)
    if change.heard is not None:
        count = change.heard.comments
        told = f"{count} comment{'s' if count > 1 else ''} in " if count else "by "
        parts.append(f"{told}ticket {change.heard.ticket} of {change.heard.tracker}")
    said = ", ".join(parts)
    return f"{said}: {clean(change.text)}" if change.text else said


def markdown(facts: Facts) -> str:
    """A report on one incident."""
    one = facts.incident
    times = (
        ("opened", one.opened),
        ("acknowledged", one.acknowledged),
        ("contained", one.contained),
        ("recovered", one.recovered),
        ("closed", one.closed),
        ("reviewed", one.reviewed),
    )
    lines = [
        f"# Incident {one.id}: {plain(one.title)}",
        "",
        (
            f"Project {plain(facts.project)}. State {one.state}, severity {one.severity}, cause"
            f" `{_code(one.root)}`. {one.alerts} alerts, of which {facts.standing} stand."
        ),
        "",
        "| step | time (UTC) |",
        "|---|---|",
        *(f"| {name} | {_time(time)} |" for name, time in times if time),
        "",
        "## Clocks",
        "",
        *(
            f"- {clock.id}: {clock.what}, until {clock.due}{' (done)' if clock.done else ''}"
            for clock in facts.clocks
        ),
        "",
        "## What happened",
        "",
        "| entry of the log | time (UTC) | what |",
        "|---|---|---|",
        *(f"| {line.entry} | {line.time} | {plain(words(line))} |" for line in facts.lines),
        "",
        "Each line is an entry of the audit log: `casemate audit prove ENTRY --out FILE`.",
        "",
        "## Alerts",
        "",
        "| name | severity | began | ended | text |",
        "|---|---|---|---|---|",
        *(
            f"| {plain(alert.name)} | {alert.severity} | {_time(alert.began)} |"
            f" {'stands' if alert.stands else _time(alert.ended)} | {plain(alert.text)} |"
            for alert in facts.alerts[:MOST_LISTED]
        ),
    ]
    if len(facts.alerts) > MOST_LISTED:
        lines.append(f"\n{len(facts.alerts) - MOST_LISTED} more alerts are in the JSON export.")
    return "\n".join(lines) + "\n"


def _time(time: str | None) -> str:
    return "" if time is None else datetime.datetime.fromisoformat(time).strftime("%F %T")


def _code(text: str) -> str:
    return clean(text).replace("`", "'")


GAP = "_to be filled in by {}_"
CONTROLLER, OFFICER = "the controller", "the privacy officer"
PROVIDER, MAKER = "the provider of the AI system", "the manufacturer"
HEADINGS: dict[Law, tuple[str, tuple[tuple[str, str], ...]]] = {
    "gdpr": (
        "Notification of a personal data breach to the supervisory authority (Art. 33(3) GDPR)",
        (
            ("Nature of the breach", "nature"),
            ("Categories and approximate number of data subjects", OFFICER),
            ("Categories and approximate number of personal data records", OFFICER),
            ("Name and contact details of the data protection officer", CONTROLLER),
            ("Likely consequences", OFFICER),
            ("Measures taken or proposed", "measures"),
            ("Reasons for a delay beyond 72 hours", "delay"),
        ),
    ),
    "hipaa": (
        "Breach notification to individuals (45 CFR 164.404(c)(1))",
        (
            ("What happened, date of the breach and of its discovery", "nature"),
            ("Types of unsecured protected health information involved", OFFICER),
            ("Steps individuals should take to protect themselves", OFFICER),
            ("What is done to investigate, mitigate and prevent", "measures"),
            ("Contact procedures", "the covered entity"),
        ),
    ),
    "ai-act": (
        "Report of a serious incident to the market surveillance authority (Art. 73 AI Act)",
        (
            ("AI system and provider", "system"),
            ("Description and date of the serious incident", "nature"),
            ("Harm, and the persons or infrastructure concerned", PROVIDER),
            ("Causal link, established or reasonably likely", "cause"),
            ("Corrective action taken or intended", "measures"),
        ),
    ),
    "cra": (
        "Early warning and notification to the CSIRT and ENISA (Art. 14 CRA)",
        (
            ("Product with digital elements", "system"),
            ("Member States in which it is available", MAKER),
            ("General nature of the vulnerability or the incident", "nature"),
            ("Whether unlawful or malicious acts are suspected", MAKER),
            ("Corrective or mitigating measures taken", "measures"),
            ("Measures that users can take", MAKER),
        ),
    ),
}
"""Law -> (title, (heading, the fact that fills it, or who does))."""


def drafts(facts: Facts, laws: list[Law]) -> str:
    """Drafts of the notices that these laws want, as far as facts go.

    Args:
        facts: of the incident.
        laws: as `[incidents] laws` names them.
    """
    known = {
        "nature": _nature(facts),
        "measures": _measures(facts),
        "system": f"{plain(facts.project)} ({plain(facts.project_id)}), cause"
        f" `{_code(facts.incident.root)}`. " + GAP.format(PROVIDER),
        "cause": f"Alerts point to `{_code(facts.incident.root)}`. " + GAP.format(PROVIDER),
        "delay": _delay(facts),
    }
    parts = []
    for law in laws:
        title, headings = HEADINGS[law]
        mine = [duty for duty in DUTIES if duty.law == law]
        parts += [f"# DRAFT: {title}", "", *(_deadline(facts, duty) for duty in mine), ""]
        for heading, content in headings:
            parts += [f"## {heading}", "", known.get(content, GAP.format(content)), ""]
    return "\n".join(parts)


def _deadline(facts: Facts, duty: Duty) -> str:
    clock = next((one for one in facts.clocks if one.id == duty.id), None)
    when = "its clock does not run" if clock is None else f"due {clock.due}"
    return f"- {duty.article}: {duty.what}; {when}. {duty.state} ({duty.source})."


def _nature(facts: Facts) -> str:
    one = facts.incident
    aware = "" if one.aware is None else f" Known since {_time(one.aware)} UTC."
    names = ", ".join(sorted({plain(alert.name) for alert in facts.alerts})[:20])
    return (
        f"{plain(one.title)}. Detected {_time(one.opened)} UTC by casemate from {one.alerts}"
        f" alerts ({names}).{aware} " + GAP.format(OFFICER)
    )


def _measures(facts: Facts) -> str:
    one = facts.incident
    steps = (("contained", one.contained), ("recovered", one.recovered), ("closed", one.closed))
    told = [f"{name} {_time(time)} UTC" for name, time in steps if time]
    return f"{', '.join(told) or 'none on record yet'}. " + GAP.format("the incident's owner")


def _delay(facts: Facts) -> str:
    return (
        GAP.format(CONTROLLER)
        if "gdpr-33" in facts.incident.overdue
        else "Not applicable: the clock has not run out on record."
    )
