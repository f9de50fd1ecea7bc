"""Checks of who may do what. People are counted, never named: results leave the house."""

from casemate.controls.access.explain import Explainer, read_table
from casemate.controls.access.review import waiting
from casemate.controls.access.types import Principal
from casemate.core.errors import ConfigError
from casemate.operations.controls.facts import Facts
from casemate.operations.controls.kinds import Seen, check, judged

GRAVE = ("owner", "approver", "custodian", "privacy-officer")
"""Roles whose people decide what cannot be taken back."""


def _people(facts: Facts) -> list[Principal]:
    return [one for one in facts.project.point.directory.principals() if one.kind == "User"]


@check(
    "access.owners",
    "No more people are owner than `[controls] owners`",
    answers="owner",
    mend="casemate access role withdraw NAME owner",
)
def owners(facts: Facts) -> Seen:
    """Owners may do everything: what somebody does all day needs a smaller role."""
    most = facts.config.controls.owners
    count = sum("owner" in one.roles for one in _people(facts))
    fault = f"{count} people are owner, of {most} that may be" if count > most else ""
    return judged(fault, f"{count}, of {most} that may be", owners=count, most=most)


@check(
    "access.factors",
    "Who approves, keeps keys, owns or erases needs a second factor",
    answers="owner",
    mend='casemate access factor add totp, or [access] mfa = "required"',
)
def factors(facts: Facts) -> Seen:
    """By `[access] mfa = "required"`, or because each of them has enrolled one."""
    meant = [one for one in _people(facts) if set(one.roles) & set(GRAVE)]
    without = sum(not one.mfa for one in meant)
    required = facts.config.access.mfa == "required"
    fault = (
        f'{without} of {len(meant)} have none, and [access] mfa is not "required"'
        if without and not required
        else ""
    )
    said = "it is required of everybody" if required else "each of them has one"
    return judged(fault, said, people=len(meant), without=without, required=required)


@check(
    "access.login",
    "People act after a login, not as whoever uses this machine",
    answers="owner",
    mend="[access] local = false in casemate.toml, once everybody has an account",
)
def login(facts: Facts) -> Seen:
    """`[access] local` off, so that an account of the machine is no account of the project."""
    local = facts.config.access.local
    fault = "[access] local: whoever is a user of this machine acts without a login"
    return judged(fault if local else "", "nobody acts without one", local=local)


@check(
    "access.stale",
    "No account with a role has done nothing for `[controls] stale_days`",
    answers="owner",
    mend="casemate access review report says whose; casemate access user disable NAME",
)
def stale(facts: Facts) -> Seen:
    """By the log's last entry of each; one that was made later is not stale yet."""
    since = facts.before(days=facts.config.controls.stale_days)
    made = {row.uid: row.created for row in facts.project.point.directory.rows()}
    everybody = [one for one in facts.project.point.directory.principals() if one.roles]
    idle = [one for one in everybody if (facts.walked.seen.get(one.uid) or made[one.uid]) < since]
    kinds = {kind: sum(one.kind == kind for one in idle) for kind in ("User", "Service")}
    fault = (
        f"{kinds['User']} people and {kinds['Service']} services have done nothing since"
        f" {since[:10]}"
        if idle
        else ""
    )
    return judged(fault, f"none of {len(everybody)} is stale", idle=kinds, of=len(everybody))


@check(
    "access.emergencies",
    "Emergency access is reviewed within `[controls] review_days`",
    answers="auditor",
    mend="casemate access review report, then casemate access review close",
)
def emergencies(facts: Facts) -> Seen:
    """What waits longer."""
    since = facts.before(days=facts.config.controls.review_days)
    grants = waiting(facts.project.point.directory.grants())
    late = sum(one.since.isoformat() < since for one in grants)
    fault = f"waiting since before {since[:10]}: {late}" if late else ""
    return judged(
        fault,
        f"of {len(grants)} that wait none does so for too long",
        waiting=len(grants),
        late=late,
    )


@check(
    "access.findings",
    "Access that is not as usual is looked into within `[controls] review_days`",
    answers="auditor",
    mend="casemate access finding list, then casemate access finding close",
)
def findings(facts: Facts) -> Seen:
    """What nobody has closed, whether or not it still counts as a risk."""
    since = facts.before(days=facts.config.controls.review_days)
    everything = facts.project.point.anomalies.list(closed=True)
    opened = [one for one in everything if one.closed is None]
    late = sum(one.time.isoformat() < since for one in opened)
    fault = f"open since before {since[:10]}: {late}" if late else ""
    return judged(
        fault,
        f"of {len(opened)} that are open none is so for too long",
        open=len(opened),
        late=late,
    )


@check(
    "access.policies",
    "The policies in force answer every expectation of `[controls] expectations` as it says",
    answers="owner",
    mend="[controls] expectations in casemate.toml; casemate access test FILE says which",
)
def policies(facts: Facts) -> Seen:
    """A table without a denial proves little, so it needs one of each."""
    name = facts.config.controls.expectations
    if not name:
        return judged("[controls] expectations names no table: nobody tests the policies", "")
    point = facts.project.point
    explainer = Explainer(
        point.policy, point.applied.newest().texts, point.directory, point.situation()
    )
    try:
        expected = read_table(facts.project.root / name)
        wrong = sum(not is_right for _, _, is_right in explainer.test(expected))
    except ConfigError as error:  # whose text may have a name of the table
        text = "the table of [controls] expectations cannot be answered: casemate access test FILE"
        return Seen("inconclusive", text, {"fault": error.code})
    denials = sum(not one.allow for one in expected)
    faults = [f"{wrong} of {len(expected)} are answered otherwise"] if wrong else []
    if denials in (0, len(expected)):
        faults.append("the table needs something permitted and something denied")
    seen = {"expectations": len(expected), "denials": denials, "otherwise": wrong}
    return judged("; ".join(faults), f"all {len(expected)} are", **seen)


CHECKS = (owners, factors, login, stale, emergencies, findings, policies)
