"""Taking out what people said on tickets: it is theirs, and may name others."""

from casemate.operations.acting import operation
from casemate.respond import tables
from casemate.respond.trackers import followed
from casemate.respond.trouble import pseudonym
from casemate.wiring import Wiring


@operation("incident:erase")
def erase(project: Wiring, number: int, account: str = "") -> int:
    """Take comments of tickets out of an incident; that there were some, and a salted digest of
    each, stays. How many were taken out. What stands in the tracker is for the tracker to erase.

    Args:
        project: whose.
        number: of the incident.
        account: of the tracker, whose comments are meant; default: everybody's.

    Raises:
        AccessDenied: policy. ConfigError: there is no such incident.
    """
    acting = erase.ask(project, incident=number)
    with acting.transaction() as tx:
        tables.incident(tx, number)
        count = followed.erase(tx, number, account)
        about = f'Project::"{project.config.project.id}"'
        whose = pseudonym(account) if account else ""
        acting.append(tx, "incident:erased", about, incident=number, account=whose, comments=count)
    return count
