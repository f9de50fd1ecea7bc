"""An auditor's look at the records of several parties."""

import pytest
from msgspec import structs
from tests.unit.controls.test_charters import CARDS, CHARTER, OWNERS

from casemate.controls.federation import cards
from casemate.controls.federation.comparing import compare, record_in
from casemate.controls.federation.messages import RECORD_TYPE, JobRecord, RoundRecord
from casemate.core.errors import ConfigError, VerificationError

JOB = "ab" * 32
ANSWERS = {1: {0: "a0", 1: "a1", 2: "a2"}, 2: {0: "b0", 1: "b1"}}


def round_of(number: int, sites: dict[int, str], **more: object) -> RoundRecord:
    return RoundRecord(number=number, what="train", question=f"q{number}", answers=sites, **more)


HEAD = JobRecord(
    charter=CHARTER.digest,
    job=JOB,
    party=CARDS["centre"].fingerprint,
    rounds=[
        round_of(1, ANSWERS[1], combined="c1"),
        round_of(2, ANSWERS[2], combined="c2", refused={2: "NaN"}),
    ],
    sites=[card.fingerprint for card in CHARTER.sites],
)


def of(site: int) -> JobRecord:
    card = CHARTER.sites[site]
    rounds = [round_of(1, {site: ANSWERS[1][site]})]
    rounds.append(
        round_of(2, {site: ANSWERS[2][site]})
        if site in ANSWERS[2]
        else round_of(2, {site: "b2"}, refused={2: "NaN"})
    )
    return JobRecord(
        charter=CHARTER.digest, job=JOB, party=card.fingerprint, site=site, rounds=rounds
    )


def told(record: JobRecord) -> list[str]:
    """What is different where the first site tells this, and all others the truth."""
    found = compare(CHARTER, [HEAD, record, of(1), of(2)])
    return [f"{one.round} {one.site} {one.what}" for one in found.differences]


def changed(number: int, **how: object) -> JobRecord:
    first = of(0)
    rounds = [structs.replace(r, **how) if r.number == number else r for r in first.rounds]
    return structs.replace(first, rounds=rounds)


def test_parties_that_tell_the_same_differ_in_nothing():
    found = compare(CHARTER, [of(2), HEAD, of(0), of(1)])
    assert (found.differences, found.absent) == ([], [])
    assert (found.rounds, found.answers) == (2, 5)
    assert found.parties == ["centre", "north", "south", "east"]


def test_whoever_was_heard_and_brought_no_record_is_named():
    found = compare(CHARTER, [HEAD, of(1)])
    assert found.absent == ["north", "east"]
    assert (found.answers, found.differences) == (2, [])


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (changed(1, answers={0: "zz"}), "1 north sent another answer"),
        (changed(1, question="other"), "1 north was asked something else"),
        (changed(2, what="gram"), "2 north was asked something else"),
        (changed(2, refused={0: "huge"}), "2 north was told that its answer was not taken, and"),
        (changed(1, heard=[0, 1]), "1 north agreed to a sum of other sites"),
        (structs.replace(of(0), rounds=of(0).rounds[:1]), "2 north has no answer that"),
        (
            structs.replace(of(0), rounds=[*of(0).rounds, round_of(3, {0: "x"})]),
            "3 north answered a round that the coordinator does not have",
        ),
        (structs.replace(of(0), job="cd" * 32), "0 north was sent another job"),
    ],
)
def test_where_a_site_and_the_coordinator_differ_is_named(record, said):
    (only,) = told(record)
    assert only.startswith(said)


def test_a_coordinator_that_hides_or_invents_an_answer_is_found():
    hidden = structs.replace(HEAD, rounds=[round_of(1, {1: "a1", 2: "a2"}), HEAD.rounds[1]])
    (only,) = compare(CHARTER, [hidden, of(0), of(1), of(2)]).differences
    assert (only.round, only.site) == (1, "north")
    assert "says nothing" in only.what
    silent = structs.replace(
        HEAD, rounds=[HEAD.rounds[0], structs.replace(HEAD.rounds[1], refused={0: "x", 2: "NaN"})]
    )
    (only,) = compare(CHARTER, [silent, of(0), of(1), of(2)]).differences
    assert only.what == "was not told that its answer was not taken"
    strange = structs.replace(HEAD, rounds=[round_of(1, {7: "x"})])
    found = compare(CHARTER, [strange, structs.replace(of(0), rounds=[])])
    assert "there is none" in found.differences[0].what


def signed(record: JobRecord, by: str) -> bytes:
    return cards.signed(record, RECORD_TYPE, OWNERS[by][0])


def test_a_record_counts_only_as_its_party_signed_it():
    assert record_in(signed(HEAD, "centre"), CHARTER) == HEAD
    assert record_in(signed(of(0), "north"), CHARTER) == of(0)
    for record, by in (
        (HEAD, "north"),
        (of(0), "centre"),
        (of(0), "south"),
        # one that is called a site's, by whoever is another one
        (structs.replace(of(0), site=1), "north"),
        (structs.replace(of(0), site=-1), "north"),
        (structs.replace(of(0), site=9), "north"),
        (structs.replace(of(0), party=CARDS["south"].fingerprint), "north"),
        (structs.replace(HEAD, charter="00" * 32), "centre"),
    ):
        with pytest.raises(VerificationError):
            record_in(signed(record, by), CHARTER)
    with pytest.raises(VerificationError, match="no record"):
        record_in(b"{}", CHARTER)


def test_a_comparison_needs_the_coordinator_and_somebody_else_once_each():
    for records in ([HEAD], [of(0), of(1)], [HEAD, HEAD], [HEAD, of(0), of(0)], []):
        with pytest.raises(ConfigError):
            compare(CHARTER, records)


def test_a_coordinator_that_is_a_site_has_two_records():
    both = structs.replace(CHARTER, sites=[CARDS["centre"], *CHARTER.sites[1:]])
    head = structs.replace(HEAD, charter=both.digest)
    own = structs.replace(of(0), charter=both.digest, party=CARDS["centre"].fingerprint)
    found = compare(both, [record_in(signed(one, "centre"), both) for one in (head, own)])
    assert found.differences == []
    assert found.answers == 2
