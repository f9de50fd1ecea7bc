"""What an auditor sees who has a charter and the records of several parties: whether they tell one
story. Nobody's project is needed, and nobody's word is taken for another's.
"""

from collections.abc import Sequence

import msgspec

from casemate.controls.federation import COORDINATOR
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


def said_in(content: bytes) -> JobRecord:
    """The record in a file, whoever signed it; nothing of it is to be believed yet.

    Raises:
        VerificationError: the file is none.
    """
    try:
        return msgspec.json.decode(
            msgspec.convert(read_envelope(content).get("payload"), bytes), type=JobRecord
        )
    except (msgspec.MsgspecError, ValueError, RecursionError, VerificationError) as error:
        raise VerificationError(
            "this is no record of a job",
            hint="a party writes its own: casemate federate rounds NAME --export FILE",
        ) from error


def record_in(content: bytes, charter: Charter) -> JobRecord:
    """The record in a file that one of a charter's parties signed.

    Raises:
        VerificationError: nobody of the charter signed it, or it is of another charter.
    """
    card = party_of(said_in(content), charter)
    found = opened(content, RECORD_TYPE, card, JobRecord)
    if found.charter != charter.digest:
        raise VerificationError(
            f"the record of {card.name} is of another charter",
            hint="compare records with the charter under which they came about",
        )
    return found


def party_of(record: JobRecord, charter: Charter) -> Card:
    """Whose record it says it is; VerificationError: the charter does not know them."""
    known = dict(enumerate(charter.sites)) | {COORDINATOR: charter.coordinator}
    card = known.get(record.site)
    if card is None or card.fingerprint != record.party:
        raise VerificationError(
            f"a record is of {record.party[:64]!r}, whom the charter does not know",
            hint="a party whose keys were renewed is another one: compare with its charter",
        )
    return card


def compare(charter: Charter, records: Sequence[JobRecord]) -> Compared:
    """Whether the parties of a job tell the same of it.

    Args:
        charter: of all.
        records: of the coordinator and of sites; see `record_in`.

    Raises:
        ConfigError: the coordinator's is not among them, there is no other, or one party has two.
    """
    found = {record.site: record for record in records}
    if COORDINATOR not in found or len(found) < 2 or len(found) < len(records):
        raise ConfigError(
            "what is compared are the coordinator's record and those of sites, one of each",
            hint="casemate federate audit CHARTER COORDINATOR.json SITE.json …",
        )
    head = found.pop(COORDINATOR)
    own = {one.number: one for one in head.rounds}
    heard = {number for one in head.rounds for number in (*one.answers, *one.refused)}
    differences = [
        Difference(round=0, site="", what=f"the coordinator heard of site {number}: there is none")
        for number in sorted(heard - set(range(len(charter.sites))))
    ]
    answers = 0
    for number, record in sorted(found.items()):
        name = charter.sites[number].name
        if record.job != head.job:
            text = "was sent another job than the coordinator says"
            differences.append(Difference(round=0, site=name, what=text))
            continue
        fitting, different = _site(number, name, own, record.rounds)
        answers += fitting
        differences += different
    return Compared(
        charter=charter.digest,
        job=head.job,
        rounds=len(own),
        answers=answers,
        parties=[charter.coordinator.name, *(charter.sites[place].name for place in sorted(found))],
        absent=[
            card.name
            for number, card in enumerate(charter.sites)
            if number in heard and number not in found
        ],
        differences=differences,
    )


def _site(
    number: int, name: str, own: dict[int, RoundRecord], told: list[RoundRecord]
) -> tuple[int, list[Difference]]:
    """(answers that fit, what does not) between a site's rounds and the coordinator's."""
    fitting, found = 0, []
    for theirs in told:
        mine = own.get(theirs.number)
        said = (
            ["answered a round that the coordinator does not have"]
            if mine is None
            else _round(number, theirs, mine)
        )
        fitting += mine is not None and theirs.answers.get(number) == mine.answers.get(number, "")
        found += [Difference(round=theirs.number, site=name, what=what) for what in said]
    known = {one.number for one in told}
    found += [
        Difference(round=place, site=name, what="has no answer that the coordinator says it got")
        for place, mine in own.items()
        if number in mine.answers and place not in known
    ]
    return fitting, found


def _round(number: int, theirs: RoundRecord, mine: RoundRecord) -> list[str]:
    """What a site and the coordinator tell differently of one round."""
    said = []
    if (theirs.question, theirs.what) != (mine.question, mine.what):
        said.append("was asked something else than the coordinator says")
    sent, got = theirs.answers.get(number), mine.answers.get(number)
    if got is None and number not in mine.refused:
        said.append("sent an answer of which the coordinator says nothing")
    elif got is not None and sent != got:
        said.append("sent another answer than the coordinator says it got")
    if not set(theirs.heard) <= set(mine.heard):
        said.append("agreed to a sum of other sites than the coordinator says")
    if number in theirs.refused and number not in mine.refused:
        said.append("was told that its answer was not taken, and the coordinator took it")
    if number in mine.refused and number not in theirs.refused:
        said.append("was not told that its answer was not taken")
    return said
