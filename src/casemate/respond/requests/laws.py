"""How long laws give for the answer to a request, as data with source and state, and the dates that
follow.

Which law applies is for people to say: a request names it. Dates are of the controller's calendar
(`[access] timezone`), so no hour that is left out or comes twice moves one. A date is the last day
on which something is in time.
"""

import calendar
import datetime
from typing import Literal

from casemate.core.types import Record
from casemate.respond.requests.states import Asked, Kind, Law

Unit = Literal["days", "business-days", "months"]
SATURDAY = 5
EUROPE: tuple[Kind, ...] = (
    *("access", "portability", "rectification", "erasure"),
    *("restriction", "objection", "automated"),
)


class Term(Record, frozen=True, kw_only=True):
    """What a law wants done with a request within a time."""

    id: str
    law: Law
    article: str
    kinds: tuple[Kind, ...]
    what: str
    stops: Literal["confirmed", "over"]
    """What ends it: that the request was confirmed, or that it is answered."""
    count: int
    unit: Unit
    extended: int = 0
    """In all, once it is extended; 0: it cannot be."""
    rolls: bool = False
    """Whether a last day that is none of work moves to the next that is; where the law does not say
    so, the earlier one is the safe one.
    """
    state: str
    """In force since when, and how days are counted; as of November 2026."""
    source: str


TERMS = (
    Term(
        id="gdpr-12-3",
        law="gdpr",
        article="Art. 12(3), for Art. 15 to 22",
        kinds=EUROPE,
        what="tell the person what was done",
        stops="over",
        count=1,
        unit="months",
        extended=3,
        rolls=True,
        state=(
            "in force since 25 May 2018; two further months where complex or many. The same date of"
            " the month, else its last day; on a weekend or holiday the next working day"
            " (Regulation 1182/71 Art. 3; EDPB Guidelines 01/2022, 5.3)"
        ),
        source="Regulation (EU) 2016/679; Regulation (EEC, Euratom) No 1182/71",
    ),
    Term(
        id="ccpa-confirm",
        law="ccpa",
        article="11 CCR 7021(a)",
        kinds=("know", "delete", "correct"),
        what="confirm that the request was received",
        stops="confirmed",
        count=10,
        unit="business-days",
        state="in force; business days are Monday to Friday without holidays",
        source="California Code of Regulations, Title 11, Division 6, Chapter 1",
    ),
    Term(
        id="ccpa-answer",
        law="ccpa",
        article="Cal. Civ. Code 1798.130(a)(2); 11 CCR 7021(b)",
        kinds=("know", "delete", "correct"),
        what="answer the request",
        stops="over",
        count=45,
        unit="days",
        extended=90,
        state="in force; calendar days from receipt, which verifying does not stop",
        source="California Civil Code, Title 1.81.5",
    ),
    Term(
        id="ccpa-opt-out",
        law="ccpa",
        article="11 CCR 7026(f), 7027(g)",
        kinds=("opt-out", "limit"),
        what="stop selling, sharing, or using beyond the limit",
        stops="over",
        count=15,
        unit="business-days",
        state="in force; as soon as feasible, and no later",
        source="California Code of Regulations, Title 11, Division 6, Chapter 1",
    ),
    Term(
        id="ccpa-admt",
        law="ccpa",
        article="11 CCR 7221",
        kinds=("automated",),
        what="stop the automated decisions about the person",
        stops="over",
        count=15,
        unit="business-days",
        state="in force since 1 January 2026; technology in use by then from 1 January 2027",
        source="California Code of Regulations, Title 11, Division 6, Chapter 1",
    ),
    Term(
        id="hipaa-524",
        law="hipaa",
        article="45 CFR 164.524(b)(2)",
        kinds=("access",),
        what="give access, or deny it in writing",
        stops="over",
        count=30,
        unit="days",
        extended=60,
        state="in force since 2003; one extension, told in writing within the first 30 days",
        source="45 CFR Part 164 Subpart E",
    ),
    Term(
        id="hipaa-526",
        law="hipaa",
        article="45 CFR 164.526(b)(2)",
        kinds=("rectification",),
        what="amend, or deny it in writing",
        stops="over",
        count=60,
        unit="days",
        extended=90,
        state="in force since 2003; one extension, told in writing within the first 60 days",
        source="45 CFR Part 164 Subpart E",
    ),
    Term(
        id="lgpd-19",
        law="lgpd",
        article="Art. 19, II",
        kinds=("access",),
        what="give the complete statement",
        stops="over",
        count=15,
        unit="days",
        state="in force since 18 September 2020; for other rights no days are set in the law",
        source="Lei 13.709/2018",
    ),
)
"""Every term that is known; docs/how-to/requests.md shows them."""


SAME: tuple[tuple[Kind, Kind], ...] = (
    ("access", "know"),
    ("portability", "know"),
    ("rectification", "correct"),
    ("erasure", "delete"),
    ("restriction", "limit"),
    ("objection", "opt-out"),
)
"""What the GDPR calls it, and what the CCPA does: under the wrong word a request would lose its
term.
"""


class Clock(Record, frozen=True, kw_only=True):
    """One term of a request, with its date."""

    id: str
    what: str
    due: str
    """The last day that is in time, ISO 8601."""
    first: str
    """The same without extension."""
    done: bool

    def left(self, today: datetime.date) -> int:
        """Days that are left; negative: it is late."""
        return (datetime.date.fromisoformat(self.due) - today).days


def terms_of(law: Law, kind: Kind) -> list[Term]:
    """What a law wants of this kind of request; empty where it knows none."""
    return [one for one in TERMS if one.law == law and kind in one.kinds]


def own_words(law: Law, kind: Kind) -> list[Kind]:
    """What a law that knows no term for a kind of request calls the same, where that has one."""
    others = [own for pair in SAME if kind in pair for own in pair if own != kind]
    return [] if terms_of(law, kind) else [one for one in others if terms_of(law, one)]


def clocks(asked: Asked, holidays: frozenset[datetime.date]) -> list[Clock]:
    """Every term of a request.

    Args:
        asked: in any state.
        holidays: days beside Saturday and Sunday on which the controller does not work.
    """
    received = datetime.date.fromisoformat(asked.received)
    found = []
    for term in terms_of(asked.law, asked.kind):
        first = due(received, term.count, term, holidays)
        is_long = asked.extended is not None and term.extended
        found.append(
            Clock(
                id=term.id,
                what=term.what,
                due=(
                    due(received, term.extended, term, holidays) if is_long else first
                ).isoformat(),
                first=first.isoformat(),
                done=asked.is_over or (term.stops == "confirmed" and asked.confirmed is not None),
            )
        )
    return found


def due(
    received: datetime.date, count: int, term: Term, holidays: frozenset[datetime.date]
) -> datetime.date:
    """The last day of a term that began with a request's receipt."""
    if term.unit == "months":
        day = months_after(received, count)
    elif term.unit == "days":
        day = received + datetime.timedelta(days=count)
    else:
        day = received
        for _ in range(count):
            day = _working(day + datetime.timedelta(days=1), holidays)
    return _working(day, holidays) if term.rolls else day


def months_after(day: datetime.date, count: int) -> datetime.date:
    """The same date so many months later, or that month's last day."""
    number = day.month - 1 + count
    year, month = day.year + number // 12, number % 12 + 1
    return datetime.date(year, month, min(day.day, calendar.monthrange(year, month)[1]))


def _working(day: datetime.date, holidays: frozenset[datetime.date]) -> datetime.date:
    """This day, or the next on which work is done."""
    while day.weekday() >= SATURDAY or day in holidays:
        day += datetime.timedelta(days=1)
    return day
