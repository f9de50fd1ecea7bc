"""A round under masks, as its coordinator leads it: five steps of every group at once, in which
whoever falls silent is simply not in the next one (see `ml.federated.masking`).

What one site sends is looked at before others get it: a bad signature, key or message counts as
silence of that site, where it would make all the others refuse.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from casemate.controls.federation.messages import (
    Ask,
    Given,
    Hand,
    Heard,
    Question,
    Reveal,
    Roster,
    Turn,
    session_of,
)
from casemate.core import hybrid
from casemate.core.digest import sha256
from casemate.core.errors import VerificationError
from casemate.ml.federated import masking
from casemate.ml.federated.masking import Advert, Agreement, Masked, MaskRefused, Revealed, Sealed
from casemate.ml.federated.secure import threshold_of, verifier
from casemate.ml.federated.shares import HALF, SECRET, Share
from casemate.ml.federated.unmasking import Gatherer, Sum
from casemate.operations.federated.meeting import Meeting
from casemate.operations.federated.places import Asked

S = TypeVar("S", Advert, Masked, Agreement, Revealed)
MOST_SEALED = 4096
"""Bytes of one sealed message: a key encapsulation of 1120, two shares and what is around them."""


@dataclass
class Summed:
    """What came of a masked round."""

    sums: dict[int, Sum] = field(default_factory=dict)
    """By group."""
    answers: dict[int, str] = field(default_factory=dict)
    """By site in a sum: SHA-256 of its masked update, as msgpack."""
    refused: dict[int, str] = field(default_factory=dict)
    """By site: why it is in none."""
    lost: list[str] = field(default_factory=list)
    """Why groups came to nothing."""
    accused: dict[int, str] = field(default_factory=dict)
    """By site whose group came to nothing: that too many others cannot open what it sealed."""


class _Group:
    """Sites that are summed together."""

    def __init__(self, sites: list[int], terms: masking.Terms, meeting: Meeting) -> None:
        self.sites, self.terms = sites, terms
        self.gatherer = Gatherer(terms)
        told = {site: meeting.introduction_of(site) for site in sites}
        self.introductions = [introduction for introduction, _ in told.values()]
        self._verify = verifier({site: key for site, (_, key) in told.items()})
        self.roster: list[Advert] = []
        self.sealed: dict[int, list[Sealed]] = {}
        self.heard: list[int] = []
        self.agreements: list[Agreement] = []
        self.digests: dict[int, str] = {}

    # what each step's answer must be

    def advert(self, site: int, given: Given) -> Advert:
        found = _one(given.advert, site)
        signed = masking.advertised(self.terms, site, found.public, found.box)
        for key in (found.public, found.box):
            try:
                # some points are refused only when they are used
                hybrid.SUITE.encrypt(b"", hybrid.public_key(key), info=b"")
            except ValueError as error:
                raise MaskRefused("a key of the round is none") from error
        self._verify(site, signed, found.signature)
        return found

    def shares(self, site: int, given: Given) -> list[Sealed]:
        named = [(one.sender, one.receiver) for one in given.sealed]
        others = sorted(one.site for one in self.roster if one.site != site)
        if sorted(named) != [(site, other) for other in others]:
            raise MaskRefused("it did not seal one message for each other site")
        if any(max(len(one.half), len(one.shares)) > MOST_SEALED for one in given.sealed):
            raise MaskRefused("it sealed something larger than shares are")
        return given.sealed

    def masked(self, site: int, given: Given) -> Masked:
        found = _one(given.masked, site)
        if len(found.content) != 8 * self.terms.size:
            raise MaskRefused(
                f"{len(found.content)} bytes are no update of {self.terms.size} numbers"
            )
        return found

    def agreement(self, site: int, given: Given) -> Agreement:
        found = _one(given.agreement, site)
        self._verify(site, masking.agreed(self.terms, self.heard), found.signature)
        return found

    def revealed(self, site: int, given: Given) -> Revealed:
        found = _one(given.revealed, site)
        gone = sorted(set(self.sealed) - set(self.heard))
        number = sorted(one.site for one in self.roster).index(site) + 1
        shares = [*found.masks.values(), *found.masters.values()]
        if sorted(found.masks) != self.heard or sorted(found.masters) != gone:
            raise MaskRefused("it reveals shares of other sites than were asked for")
        if len(found.own) != SECRET or not all(_fits(share, number) for share in shares):
            raise MaskRefused("what it reveals has another form")
        return found

    # what it is asked in each step, and what is done with the answers

    def reached(self, step: int, taken: dict[int, Any]) -> None:
        """Take what a step brought; VerificationError where too few are left."""
        if step == 0:
            self.roster = self.gatherer.roster([taken[site] for site in sorted(taken)])
        elif step == 1:
            self.sealed = self.gatherer.forward(taken)
        elif step == 2:
            for site in sorted(taken):
                self.gatherer.add(taken[site])
                self.digests[site] = sha256(msgspec.msgpack.encode(taken[site]))
            self.heard = self.gatherer.heard()
        elif step == 3:
            self.agreements = self.gatherer.agreed([taken[site] for site in sorted(taken)])

    def accused(self, complaints: dict[int, set[int]]) -> dict[int, str]:
        """Sites of whom more complain than the threshold lets lie, and how many do.

        Fewer may lie to have an honest site left out; of that many the round loses no more than
        those who complain.
        """
        members = set(self.sites)
        counted = {site: len(complaints.get(site, set()) & members) for site in self.sites}
        return {
            site: f"{count} of {len(members) - 1} other sites cannot open what it sealed for them"
            for site, count in counted.items()
            if count > len(members) - self.terms.threshold
        }

    def checks(self) -> list[Callable[[int, Given], Any]]:
        """By step."""
        return [self.advert, self.shares, self.masked, self.agreement, self.revealed]

    def asked(self, step: int, turn: Turn, site: int) -> Asked:
        """What a site gets in a step after the first."""
        if step == 1:
            return Roster(turn=turn, adverts=self.roster)
        if step == 2:
            return Hand(turn=turn, sealed=self.sealed[site])
        if step == 3:
            return Heard(turn=turn, heard=self.heard)
        return Reveal(turn=turn, agreements=self.agreements)


def summed(
    meeting: Meeting,
    question: Question,
    groups: list[list[int]],
    attempt: int,
    seconds: float,
    least: int,
    opening: Callable[[list[list[int]]], None],
) -> Summed:
    """The sums of groups, and of no site alone.

    Args:
        meeting: the sites.
        question: what every site is asked.
        groups: numbers of the sites that are summed together.
        attempt: at this round: its masks are its own.
        seconds: that each step may take.
        least: sites that must be in all sums together before one is opened.
        opening: hears whose sums sites are about to help to open, before they are asked to: of a
            round they help with one sum.
    """
    found = Summed()
    alive: dict[int, _Group] = {}
    for name, sites in enumerate(groups):
        terms = masking.Terms(
            session=session_of(question, attempt),
            round=question.round,
            size=question.size,
            most=question.most,
            threshold=threshold_of(len(sites)),
        )
        alive[name] = _Group(sites, terms, meeting)
    at = {site: group for group in alive.values() for site in group.sites}
    members = {name: group.sites for name, group in alive.items()}
    for step in range(5):
        if step == 4:
            count = sum(len(group.heard) for group in alive.values())
            if count < least:
                found.lost.append(f"the sums would be of {count} sites, and {least} must be")
                break
            opening([group.heard for group in alive.values()])
        turn = Turn(job=question.job, round=question.round, attempt=attempt, step=step)
        asked: dict[int, Asked] = {}
        for name, group in alive.items():
            for site in members[name]:
                asked[site] = (
                    Ask(
                        turn=turn,
                        question=question,
                        terms=group.terms,
                        introductions=group.introductions,
                    )
                    if step == 0
                    else group.asked(step, turn, site)
                )

        def check(site: int, given: Given, step: int = step) -> Any:
            return at[site].checks()[step](site, given)

        answers = meeting.collect(asked, check, seconds)
        found.refused |= answers.refused
        for name, group in list(alive.items()):
            found.accused |= group.accused(answers.complaints)
            members[name] = [site for site in members[name] if site in answers.taken]
            mine = {site: answers.taken[site] for site in members[name]}
            try:
                if step == 4:
                    found.sums[name] = group.gatherer.finish([*mine.values()])
                else:
                    group.reached(step, mine)
            except VerificationError as error:
                found.lost.append(error.sentence)
                del alive[name]
    for name, one in found.sums.items():
        found.answers |= {site: alive[name].digests[site] for site in one.heard}
    # whoever fell silent after its update was heard is in the sum all the same
    found.refused = {site: why for site, why in found.refused.items() if site not in found.answers}
    return found


def _one(found: S | None, site: int) -> S:
    """What a step asks for, of the site itself."""
    if found is None or found.site != site:
        raise MaskRefused("the answer lacks what this step asks for, or is in another's name")
    return found


def _fits(share: Share, number: int) -> bool:
    return share.number == number and [len(half) for half in share.halves] == [HALF, HALF]
