"""Opt-out preference signals: Global Privacy Control (W3C), as 11 CCR 7025 (California) wants it:
who sends it has opted out of sale and sharing, without a form and without a proof of who they are.
"""

from casemate.operations.calendar import today
from casemate.operations.rights.register import REQUESTS, change_of
from casemate.respond.requests import states, tables
from casemate.respond.tables import next_number
from casemate.wiring import Wiring

WHO = "casemate"
HOW = "an opt-out preference signal (Sec-GPC) needs no verification: 11 CCR 7060(b)"
DONE = "honoured when the signal came: no row is taken and no answer given any more"


def sells(project: Wiring) -> bool:
    """Whether the project's purpose is sale or sharing, which the signal is against."""
    return project.config.project.purpose in project.config.serve.sells


def opted_out(project: Wiring, pseudonyms: list[str]) -> list[int]:
    """Write down that people opted out of sale and sharing, each once; the new requests.

    Args:
        project: whose.
        pseudonyms: of people for whom the signal came. Of whoever has opted out already, under
            whichever identifier, nothing is written; somebody who was asked and came back, so that
            it was lifted, opts out anew.
    """
    new = []
    with project.database.transaction() as tx:
        for pseudonym in dict.fromkeys(pseudonyms):
            people = project.aliases.of(tx, pseudonym)
            theirs = tables.REQUESTS.c.subject.in_(people), tables.REQUESTS.c.kind == "opt-out"
            if any(one.state not in ("refused", "lifted") for one in tables.requests(tx, *theirs)):
                continue
            number = next_number(tx, tables.REQUESTS.c.id)
            day = today(project).isoformat()
            opened = change_of(
                project, subject=pseudonym, kind="opt-out", law="ccpa", received=day, text="Sec-GPC"
            )
            asked, _ = REQUESTS.written(project, tx, WHO, number, states.OPENED, opened)
            for action, text in (
                (states.IDENTIFIED, HOW),
                (states.GRANTED, ""),
                (states.FULFILLED, DONE),
            ):
                change = change_of(project, text=text)
                asked, _ = REQUESTS.written(project, tx, WHO, asked, action, change)
            new.append(number)
    if new:
        project.log.publish()
    return new
