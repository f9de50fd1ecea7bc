"""What an auditor sees who has a charter and the records of several parties: whether they tell one
story. Nobody's project is needed, and nobody's word is taken for another's.
"""

from collections.abc import Iterable

import msgspec

from casemate.controls.federation.cards import Card, Charter, opened
from casemate.controls.federation.messages import RECORD_TYPE, JobRecord, RoundRecord
from casemate.core.errors import ConfigError, VerificationError
from casemate.core.signatures import read_envelope
from casemate.core.types import Record


class Difference(Record, frozen=True, kw_only=True):
    """Where two parties tell different things."""

    round: int
    """0: of the job as a whole."""
    site: str
    """Name of the site that it is about; empty: of all."""
    what: str
    """In a sentence."""


class Compared(Record, frozen=True, kw_only=True):
    """What came of comparing records."""

    charter: str
    """Digest of the charter."""
    job: str
    """Digest of the job."""
    rounds: int
    """That were compared."""
    answers: int
    """Answers whose digest both its site and the coordinator have, and alike."""
    parties: list[str]
    """Names of those whose record was there."""
    absent: list[str]
    """Names of sites that were heard and whose record was not there: of their answers only the
    coordinator tells.
    """
    differences: list[Difference]
    """Empty: they tell one story."""


def record_in(content: bytes, charter: Charter) -> tuple[Card, JobRecord]:
    """(whose it is, the record) in a file that one of a charter's parties signed.

    Raises:
        VerificationError: nobody of the charter signed it, or it is of another charter.
    """
    try:
        said = msgspec.json.decode(
            msgspec.convert(read_envelope(content).get("payload"), bytes), type=JobRecord
        )
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise VerificationError(
            "the file is no record of a job", hint="casemate federate rounds NAME --export FILE"
        ) from error
    for card in (charter.coordinator, *charter.sites):
        if card.fingerprint == said.party:
            found = opened(content, RECORD_TYPE, card, JobRecord)
            if found.charter != charter.digest:
                raise VerificationError(
                    f"the record of {card.name} is of another charter",
                    hint="compare records with the charter under which they came about",
                )
            return card, found
    raise VerificationError(
        f"a record is of {said.party[:64]!r}, whom the charter does not know",
        hint="a party whose keys were renewed is another one: compare with its charter",
    )


def compare(charter: Charter, records: Iterable[tuple[Card, JobRecord]]) -> Compared:
    """Whether the parties of a job tell the same of it.

    Args:
        charter: of all.
        records: of the coordinator and of sites; see `record_in`.

    Raises:
        ConfigError: the coordinator's is not among them, there is no other, or one party has two.
    """
    found = {card.fingerprint: record for card, record in records}
    head = found.pop(charter.coordinator.fingerprint, None)
    if head is None or not found:
        raise ConfigError(
            "what is compared are the coordinator's record and those of sites",
            hint="casemate federate audit CHARTER COORDINATOR.json SITE.json …",
        )
    differences: list[Difference] = []
    own = {one.number: one for one in head.rounds}
    places = dict(enumerate(charter.sites))
    heard = {number for one in head.rounds for number in (*one.answers, *one.refused)}
    answers = 0
    for number, card in places.items():
        record = found.get(card.fingerprint)
        if record is None:
            continue
        if record.job != head.job:
            text = "was sent another job than the coordinator says"
            differences.append(Difference(round=0, site=card.name, what=text))
            continue
        fitting, different = _site(number, card.name, own, record.rounds)
        answers += fitting
        differences += different
    strangers = sorted(heard - places.keys())
    differences += [
        Difference(round=0, site="", what=f"the coordinator heard of site {number}: there is none")
        for number in strangers
    ]
    return Compared(
        charter=charter.digest,
        job=head.job,
        rounds=len(own),
        answers=answers,
        parties=[
            charter.coordinator.name,
            *(card.name for card in charter.sites if card.fingerprint in found),
        ],
        absent=[
            card.name
            for number, card in places.items()
            if number in heard and card.fingerprint not in found
        ],
        differences=differences,
    )


def _site(
    number: int, name: str, own: dict[int, RoundRecord], told: list[RoundRecord]
) -> tuple[int, list[Difference]]:
    """(answers that fit, what does not) between a site's rounds and the coordinator's."""
    fitting, found = 0, []

    def differs(place: int, what: str) -> None:
        found.append(Difference(round=place, site=name, what=what))

    for theirs in told:
        place, mine = theirs.number, own.get(theirs.number)
        if mine is None:
            differs(place, "answered a round that the coordinator does not have")
            continue
        if (theirs.question, theirs.what) != (mine.question, mine.what):
            differs(place, "was asked something else than the coordinator says")
        sent, got = theirs.answers.get(number), mine.answers.get(number)
        if sent is not None and sent == got:
            fitting += 1
        elif got is None and number not in mine.refused:
            differs(place, "sent an answer of which the coordinator says nothing")
        elif got is not None:
            differs(place, "sent another answer than the coordinator says it got")
        if (number in theirs.refused) and number not in mine.refused:
            differs(place, "was told that its answer was not taken, and the coordinator took it")
        if number in mine.refused and number not in theirs.refused:
            differs(place, "was not told that its answer was not taken")
    known = {one.number for one in told}
    for place, mine in own.items():
        if number in mine.answers and place not in known:
            differs(place, "has no answer that the coordinator says it got")
    return fitting, found
