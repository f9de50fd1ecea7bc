"""The safeguards of the HIPAA Security Rule (45 CFR 164.308 to 164.316), standard by standard: what
is done by casemate, and what is for others to say.
"""

from casemate.operations.rights.records import stated
from casemate.operations.rights.records.document import ENTITY, SECURITY, Known, Point
from casemate.operations.rights.records.facts import Facts
from casemate.operations.rights.records.stated import point

LAW = "45 CFR 164.308, 164.310, 164.312, 164.314, 164.316 (HIPAA Security Rule)"
STATE = "as of 2013, in force in November 2026; the proposal of January 2025 (90 FR 898) is no law"
NAME = "hipaa"


def report(facts: Facts) -> list[Point]:
    """Every standard."""
    return [*_administrative(facts), *_physical(facts), *_technical(facts), *_papers(facts)]


def _point(facts: Facts, number: str, title: str, known: list[Known], missing: str) -> Point:
    return point(facts, NAME, f"164.{number}", title, known, missing, ENTITY)


def _administrative(facts: Facts) -> list[Point]:
    config = facts.config
    officer, no_officer = stated.words(facts, "officer", "who is the security official")
    retention = facts.said(
        "[keys] max_age_days", f"keys are overdue after {config.keys.max_age_days} days"
    )
    backups = facts.counted("backup:created", "backups")
    drills = facts.counted("backup:restored", "restorations from a backup")
    return [
        _point(
            facts,
            "308(a)(1)",
            "Security management: risk analysis and management",
            [*stated.handled(facts), retention],
            "the risk analysis and what was decided of each risk (the impact assessment is a part)",
        ),
        point(
            facts,
            NAME,
            "164.308(a)(2)",
            "Who is responsible for security",
            officer,
            no_officer,
            SECURITY,
        ),
        _point(
            facts, "308(a)(3)", "Workforce security", _people(facts), "hiring, leaving, supervision"
        ),
        _point(
            facts,
            "308(a)(4)",
            "Access to information is authorised",
            facts.counted("dataset:read", "readings of rows that policy let through"),
            "why each role needs its access",
        ),
        _point(facts, "308(a)(5)", "Awareness and training", [], "training of staff"),
        _point(
            facts,
            "308(a)(6)",
            "Security incidents",
            [
                facts.said(
                    "[incidents] laws", f"clocks of: {', '.join(config.incidents.laws) or 'none'}"
                )
            ],
            "procedures for people"
            if config.incidents.laws
            else "procedures, and [incidents] laws",
        ),
        point(
            facts,
            NAME,
            "164.308(a)(7)",
            "Contingency: backup and restoration",
            backups + drills,
            "the plan for emergencies, and who carries it out",
            ENTITY,
            [
                text
                for text, there in (
                    ("no backup is on record", backups),
                    ("no restoration from a backup is on record here", drills),
                )
                if not there
            ],
        ),
        _point(facts, "308(a)(8)", "Evaluation", [], "the periodic evaluation"),
        _point(facts, "308(b)", "Business associates", [], "contracts with business associates"),
    ]


def _physical(facts: Facts) -> list[Point]:
    provider = facts.config.keys.provider
    return [
        _point(facts, "310(a)", "Access to facilities", [], "buildings and rooms"),
        _point(facts, "310(b)", "Use of workstations", [], "rules for workstations"),
        _point(facts, "310(c)", "Security of workstations", [], "protection of workstations"),
        _point(
            facts,
            "310(d)",
            "Devices and media",
            [facts.said("[keys] provider", f"tables and models are sealed by keys of: {provider}")],
            "disposal and re-use of devices",
        ),
    ]


def _technical(facts: Facts) -> list[Point]:
    config = facts.config
    access = [
        facts.said("[access] mfa", f"who needs a second factor: {config.access.mfa}"),
        facts.said(
            "[access] local", f"users of the machine act as themselves: {config.access.local}"
        ),
        *facts.counted("access:break-glass", "uses of emergency access"),
    ]
    log = Known(
        text=f"{facts.entries} entries, each in a signed tree, verified for this record",
        source=f"checkpoint, root {facts.checkpoint}",
    )
    return [
        _point(
            facts,
            "312(a)",
            "Access control: unique names, emergency access, log-off, encryption",
            [*access, *_people(facts)],
            "",
        ),
        _point(facts, "312(b)", "Audit controls", [log], ""),
        _point(
            facts,
            "312(c)",
            "Integrity",
            [
                log,
                *(
                    [Known(text=facts.signed, source=facts.evidence("release"))]
                    if facts.signed
                    else []
                ),
            ],
            "",
        ),
        _point(
            facts,
            "312(d)",
            "Authentication",
            [facts.said("[access.providers]", _providers(facts))],
            "",
        ),
        _point(
            facts,
            "312(e)",
            "Security of transmission",
            [facts.said("[serve] tls", f"TLS of the gateway: {config.serve.tls}")],
            "transmission outside of casemate",
        ),
    ]


def _papers(facts: Facts) -> list[Point]:
    return [
        _point(facts, "314(a)", "Contracts of business associates", [], "what contracts say"),
        _point(facts, "316(a)", "Policies and procedures", [], "the entity's written policies"),
        _point(
            facts,
            "316(b)",
            "Documentation kept for six years",
            [
                facts.said(
                    "[retention] keep_days",
                    f"runs with their evidence: {facts.config.retention.keep_days} days after their"
                    " end",
                )
            ],
            "that documents are kept for six years",
        ),
    ]


def _people(facts: Facts) -> list[Known]:
    found = facts.project.point.directory.principals()
    users = [one for one in found if one.kind == "User"]
    return [
        Known(
            text=f"people and services that may act: {len(found)}, of which {len(users)} people",
            source="catalogue, directory of principals, bound to the log",
        )
    ]


def _providers(facts: Facts) -> str:
    names = ", ".join(facts.config.access.providers)
    own = "passwords and second factors of casemate"
    return f"{own}, and providers: {names}" if names else own
