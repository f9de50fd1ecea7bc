"""What a site signs of a model: whose it is, and what no attack can have measured."""

import pytest
from msgspec import structs
from tests.unit.controls.test_charters import CHARTER, OWNERS

from casemate.controls.federation import cards
from casemate.controls.federation.messages import RECORD_TYPE
from casemate.controls.federation.statements import STATEMENT_TYPE, Statement, statement_in
from casemate.core.errors import VerificationError
from casemate.core.types import Interval, Leak

LEAK = Leak(attack="loss-threshold", figure=Interval(value=0.55, low=0.5, high=0.6), rows=40)
SAID = Statement(
    charter=CHARTER.digest,
    job="ab" * 32,
    site=0,
    model="cd" * 32,
    leaks={"membership_auc": LEAK},
    time="2026-11-30T00:00:00+00:00",
)


def signed(statement: Statement, by: str = "north", kind: str = STATEMENT_TYPE) -> bytes:
    return cards.signed(statement, kind, OWNERS[by][0])


def leaking(**ends: float) -> Statement:
    figure = structs.replace(LEAK.figure, **ends)
    return structs.replace(SAID, leaks={"membership_auc": structs.replace(LEAK, figure=figure)})


def test_a_statement_comes_back_as_its_site_signed_it():
    assert statement_in(signed(SAID), CHARTER) == SAID


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (signed(SAID, "south"), "another charter, site"),
        (signed(SAID, "centre"), "no statement that a site"),
        (signed(SAID, kind=RECORD_TYPE), "the envelope holds"),
        (signed(structs.replace(SAID, charter="00" * 32)), "another charter"),
        (signed(structs.replace(SAID, version=2)), "version"),
        (signed(SAID).replace(b'"payload":"', b'"payload":"AAAA'), "signature"),
        (b"{}", "no statement that a site"),
        (b"no JSON", "not JSON"),
    ],
)
def test_a_statement_of_somebody_else_or_of_something_else_is_none(content, said):
    with pytest.raises(VerificationError, match=said):
        statement_in(content, CHARTER)


@pytest.mark.parametrize(
    "ends",
    [{"low": 0.57}, {"high": 0.54}, {"high": 1.01}, {"low": -1.5}, {"value": 0.7}],
)
def test_figures_that_no_attack_has_are_refused(ends):
    with pytest.raises(VerificationError, match="figures that no attack has"):
        statement_in(signed(leaking(**ends)), CHARTER)
    for name, attack in (("membership_auc", "\x1b[2J"), ("a b", "loss-threshold")):
        odd = structs.replace(SAID, leaks={name: structs.replace(LEAK, attack=attack)})
        with pytest.raises(VerificationError, match="figures that no attack has"):
            statement_in(signed(odd), CHARTER)
    few = structs.replace(SAID, leaks={"membership_auc": structs.replace(LEAK, rows=0)})
    with pytest.raises(VerificationError, match="figures that no attack has"):
        statement_in(signed(few), CHARTER)
