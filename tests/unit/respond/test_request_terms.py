"""The terms of laws for requests: each date by hand, on both sides of months, years, holidays and
changes of the clock.
"""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.respond.requests.laws import TERMS, clocks, terms_of
from casemate.respond.requests.states import Asked

day = datetime.date.fromisoformat
CHRISTMAS = frozenset(map(day, ["2026-12-25", "2026-12-26", "2027-01-01"]))
THANKS = frozenset(map(day, ["2026-11-26", "2026-11-27", "2026-12-25"]))


def dates(law, kind, received, holidays=frozenset(), *, extended=False):
    asked = Asked(
        id=1,
        subject="s",
        kind=kind,
        law=law,
        received=received,
        extended="2026-01-01" if extended else None,
    )
    return {one.id: one.due for one in clocks(asked, holidays)}


@pytest.mark.parametrize(
    ("received", "holidays", "first", "extended"),
    [
        ("2026-03-05", frozenset(), "2026-04-06", "2026-06-05"),  # 5 April 2026 is a Sunday
        ("2026-08-31", frozenset(), "2026-09-30", "2026-11-30"),  # no 31 September
        ("2026-01-31", frozenset(), "2026-03-02", "2026-04-30"),  # 28 February 2026 is a Saturday
        ("2027-11-30", frozenset(), "2027-12-30", "2028-02-29"),  # leap day
        ("2026-12-31", frozenset(), "2027-02-01", "2027-03-31"),  # 31 January 2027 is a Sunday
        ("2026-11-25", CHRISTMAS, "2026-12-28", "2027-02-25"),  # Christmas, then a weekend
        ("2026-10-25", frozenset(), "2026-11-25", "2027-01-25"),  # clocks go back in Europe
        ("2026-03-29", frozenset(), "2026-04-29", "2026-06-29"),  # clocks go forward
    ],
)
def test_gdpr_counts_a_month_by_its_date_and_ends_on_a_working_day(
    received, holidays, first, extended
):
    for kind in ("access", "portability", "rectification", "erasure", "restriction", "objection"):
        assert dates("gdpr", kind, received, holidays) == {"gdpr-12-3": first}
        assert dates("gdpr", kind, received, holidays, extended=True) == {"gdpr-12-3": extended}
    assert dates("gdpr", "automated", received, holidays) == {"gdpr-12-3": first}


@pytest.mark.parametrize(
    ("received", "holidays", "confirm", "answer", "extended", "opt_out"),
    [
        # Monday; ten working days are two weeks
        ("2026-06-01", frozenset(), "2026-06-15", "2026-07-16", "2026-08-30", "2026-06-22"),
        # a Saturday: Monday is the first working day
        ("2026-06-06", frozenset(), "2026-06-19", "2026-07-21", "2026-09-04", "2026-06-26"),
        # two days of Thanksgiving are no working days; 45 days are days
        ("2026-11-20", THANKS, "2026-12-08", "2027-01-04", "2027-02-18", "2026-12-15"),
    ],
)
def test_ccpa_confirms_and_stops_in_business_days_and_answers_in_days(
    received, holidays, confirm, answer, extended, opt_out
):
    for kind in ("know", "delete", "correct"):
        found = dates("ccpa", kind, received, holidays)
        assert found == {"ccpa-confirm": confirm, "ccpa-answer": answer}
        found = dates("ccpa", kind, received, holidays, extended=True)
        assert found == {"ccpa-confirm": confirm, "ccpa-answer": extended}
    for kind in ("opt-out", "limit"):
        found = dates("ccpa", kind, received, holidays, extended=True)
        assert found == {"ccpa-opt-out": opt_out}, "it cannot be extended"
    assert dates("ccpa", "automated", received, holidays) == {"ccpa-admt": opt_out}


@pytest.mark.parametrize(
    ("received", "access", "access_extended", "amend", "amend_extended"),
    [
        ("2026-06-01", "2026-07-01", "2026-07-31", "2026-07-31", "2026-08-30"),
        ("2028-02-01", "2028-03-02", "2028-04-01", "2028-04-01", "2028-05-01"),
    ],
)
def test_hipaa_counts_days_and_extends_once(
    received, access, access_extended, amend, amend_extended
):
    assert dates("hipaa", "access", received) == {"hipaa-524": access}
    assert dates("hipaa", "access", received, extended=True) == {"hipaa-524": access_extended}
    assert dates("hipaa", "rectification", received) == {"hipaa-526": amend}
    assert dates("hipaa", "rectification", received, extended=True) == {"hipaa-526": amend_extended}


@pytest.mark.parametrize(
    ("received", "due"), [("2026-06-01", "2026-06-16"), ("2026-12-20", "2027-01-04")]
)
def test_lgpd_counts_fifteen_days(received, due):
    assert dates("lgpd", "access", received, extended=True) == {"lgpd-19": due}
    assert terms_of("lgpd", "erasure") == []


@given(
    st.dates(datetime.date(2020, 1, 1), datetime.date(2100, 1, 1)),
    st.sampled_from(TERMS),
    st.frozensets(st.dates(datetime.date(2020, 1, 1), datetime.date(2100, 6, 1)), max_size=30),
)
def test_a_date_comes_after_receipt_never_earlier_with_holidays_or_an_extension(
    received, term, holidays
):
    kind = term.kinds[0]
    plain = dates(term.law, kind, received.isoformat())[term.id]
    with_holidays = dates(term.law, kind, received.isoformat(), holidays)[term.id]
    longer = dates(term.law, kind, received.isoformat(), holidays, extended=True)[term.id]
    assert received.isoformat() < plain <= with_holidays <= longer


def test_every_term_has_source_and_state_and_no_two_share_a_name():
    assert len({one.id for one in TERMS}) == len(TERMS)
    assert all(one.source and one.state and one.article and one.kinds for one in TERMS)
