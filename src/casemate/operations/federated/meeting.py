"""A coordinator's half of the conversation, without a network: who has come, what each site is
asked, and what it answered.

Each site has at most one turn at a time. It is handed the same turn until it has answered, so that
a site which lost the reply, or was killed, goes on; an answer is looked at once, by whoever asked,
and counts once. Whoever misses a deadline is asked again when it has been heard of again.

A site is known by its number, which the transport proves (`listening`); nothing that a message
says of its sender is believed beyond that.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from casemate.controls.federation import cards, messages
from casemate.controls.federation.messages import (
    Ask,
    Cannot,
    FromCoordinator,
    FromSite,
    Given,
    Hello,
    Next,
    No,
    Over,
    Ready,
    Told,
    Wait,
    Welcome,
)  # fmt: skip
from casemate.core.digest import sha256
from casemate.core.errors import Error
from casemate.core.text import clean, listed
from casemate.ml.federated.updates import UpdateRefused
from casemate.operations.federated.places import Asked, Place

POLL_SECONDS = 20.0
"""After which a site that waits for its turn is told to ask again: shorter than what idle
connections live, longer than what a question costs.
"""
MOST_ROWS = 2**53
NAMED = 20
"""Sites that a message names."""
Check = Callable[[int, Given], Any]
"""(site, its answer) -> what is taken of it; an Error: nothing is."""


class TooFewSites(Error):
    """Fewer sites are there, or answer, than a round needs."""

    code = "CM-FEW-SITES"
    exit_code = 1
    who = "whoever runs the sites, or leads"


@dataclass
class Answers:
    """What came of one question, or of one step."""

    taken: dict[int, Any] = field(default_factory=dict)
    """By site: what the check made of its answer."""
    refused: dict[int, str] = field(default_factory=dict)
    """By site: why it counts for nothing."""
    complaints: dict[int, set[int]] = field(default_factory=dict)
    """By site: which others cannot open what it sealed for them."""


class Meeting:
    """Sites of one job, for as long as it takes.

    Whoever leads calls `await_sites`, `collect`, `tell` and `dismiss` from one thread; the
    transport calls `hear` from any.

    Args:
        charter: who the sites are.
        job: what is learnt.
        signed: the job as the coordinator signed it.
        poll: seconds that a site is kept waiting for its turn.
    """

    def __init__(
        self, charter: cards.Charter, job: messages.Job, signed: bytes, poll: float = POLL_SECONDS
    ) -> None:
        self.charter, self.job, self.poll = charter, job, poll
        self._signed = signed
        self._places = [Place(card) for card in charter.sites]
        self._changed = threading.Condition()
        self._waiting: set[int] = set()
        """Sites whose answer is still to come."""
        self._answers = Answers()
        self._check: Check = _unasked
        self._over: Over | None = None
        self._stopped = False

    def hear(self, site: int, message: FromSite) -> FromCoordinator:
        """What a site gets for a message; may take `poll` seconds.

        Args:
            site: its number, as its certificate proves.
            message: what it says.
        """
        place = self._places[site]
        with self._changed:
            place.met = True
            if place.absent:
                place.absent = False
                self._changed.notify_all()
        if isinstance(message, Hello):
            return self._hello(site, message)
        if messages.job_of(message) != self.job.id:
            return No(why="there is no such job here: say hello first")
        if place.key is None and isinstance(message, Next | Given) and self._over is None:
            # this coordinator was started again: the site introduces itself once more
            return Welcome(site=site, job=self._signed)
        if isinstance(message, Next):
            return self._next(place)
        if self._over is not None:
            return self._end(place)
        if isinstance(message, Ready):
            return self._ready(site, message)
        if isinstance(message, Given):
            return self._given(site, message)
        assert isinstance(message, Cannot)  # noqa: S101 - the last one that there is
        return self._cannot(site, message)

    def _hello(self, site: int, message: Hello) -> FromCoordinator:
        if message.version != messages.VERSION:
            return No(why=f"this coordinator speaks version {messages.VERSION}")
        if message.charter != self.charter.digest:
            return No(
                why="that is another charter than this one's: approve the one of its coordinator"
            )
        with self._changed:
            place = self._places[site]
            place.versions = dict(list(message.versions.items())[:32])
            return self._end(place) if self._over else Welcome(site=site, job=self._signed)

    def _end(self, place: Place) -> Over:
        """What has become of the job; the site knows it now."""
        assert self._over is not None  # noqa: S101 - asked for then only
        with self._changed:
            place.dismissed = True
            self._changed.notify_all()
            return self._over

    def _ready(self, site: int, message: Ready) -> FromCoordinator:
        place = self._places[site]
        try:
            kind = messages.INTRODUCTION_TYPE
            said = cards.opened(message.introduction, kind, place.card, messages.Introduction)
            key = Ed25519PublicKey.from_public_bytes(said.key)
        except (Error, ValueError):
            return No(why="its project did not sign this introduction")
        if (said.charter, said.job, said.site) != (self.charter.digest, self.job.id, site):
            return No(why="the introduction is of another charter, job or site")
        if not (0 if self.job.epsilon else 1) <= message.rows <= MOST_ROWS:
            return No(why="nobody trains on so many rows")
        with self._changed:
            anew = message.introduction != place.introduction
            place.introduction, place.key = message.introduction, key
            place.rows, place.gone = message.rows, ""
            if anew and place.asked is not None and _masked(place.asked):
                # the secrets of its masks ended with the process that made them
                self._drop(site, "it began anew in the middle of the round")
            self._changed.notify_all()
        return Wait()

    def _next(self, place: Place) -> FromCoordinator:
        until = time.monotonic() + self.poll
        with self._changed:
            while True:
                if place.told:
                    return place.told.popleft()
                if self._over is not None:
                    return self._end(place)
                if place.asked is not None and not place.reading:
                    return place.asked
                left = until - time.monotonic()
                if left <= 0 or self._stopped:
                    return Wait()
                self._changed.wait(left)

    def _given(self, site: int, message: Given) -> FromCoordinator:
        place, digest = self._places[site], sha256(msgspec.msgpack.encode(message))
        with self._changed:
            if place.answered is not None and place.answered[:2] == (message.turn, digest):
                return place.answered[2]  # it was heard, and the reply was lost
            if place.asked is None or place.asked.turn != message.turn:
                return No(why="nobody asked for that now: an answer counts once, in its turn")
            if place.reading:
                return No(why="an answer to that is being read")
            place.reading, check = True, self._check
        found, why = None, ""
        try:
            found = check(site, message)
        except Error as error:
            why = error.sentence
        finally:
            with self._changed:
                place.reading = False
                self._changed.notify_all()
        reply: FromCoordinator = No(why=why) if why else Wait()
        with self._changed:
            if place.asked is None or place.asked.turn != message.turn:  # it took too long
                return No(why="the round went on without this answer")
            place.answered = (message.turn, digest, reply)
            if why:
                self._drop(site, why)
            else:
                self._answers.taken[site] = found
                self._settled(site)
        # what comes next is the reply: half as many requests as asking for it
        return reply if why else self._next(place)

    def _cannot(self, site: int, message: Cannot) -> FromCoordinator:
        place, why = self._places[site], clean(f"{message.code[:60]}: {message.why}")
        with self._changed:
            if message.round == 0:
                place.gone = why
            elif place.asked is None or place.asked.turn.round != message.round:
                return No(why="nobody asked for that round now")
            if place.asked is not None:
                if message.sealer is not None:
                    self._answers.complaints.setdefault(message.sealer, set()).add(site)
                self._drop(site, why)
            self._changed.notify_all()
        return Wait()

    def _drop(self, site: int, why: str) -> None:
        """What was asked of a site comes to nothing."""
        self._answers.refused[site] = why
        self._settled(site)

    def _settled(self, site: int) -> None:
        self._places[site].asked = None
        self._waiting.discard(site)
        self._changed.notify_all()

    def present(self) -> list[int]:
        """Numbers of the sites that can be asked now."""
        with self._changed:
            return [site for site, place in enumerate(self._places) if place.ready]

    def await_sites(
        self,
        least: int,
        seconds: float,
        wanted: list[int] | None = None,
        *,
        everybody: bool = True,
        heard: Callable[[str], None] = lambda _: None,
    ) -> list[int]:
        """Numbers of the sites that can be asked.

        Args:
            least: of them.
            seconds: how long to wait.
            wanted: numbers of those that may be asked; default: all.
            everybody: wait for all that may still come, and not for `least` alone.
            heard: hears who is waited for, each time that it changes.

        Raises:
            TooFewSites: fewer came than `least`.
        """
        until = time.monotonic() + seconds
        among = sorted(range(len(self._places)) if wanted is None else wanted)
        told: list[int] = []
        with self._changed:
            while True:
                found = [site for site in among if self._places[site].ready]
                hoped = [site for site in among if not self._places[site].gone]
                left = until - time.monotonic()
                enough = len(found) == len(hoped) or (not everybody and len(found) >= least)
                if enough or len(hoped) < least or left <= 0:
                    break
                late = [site for site in hoped if site not in found]
                if late != told:
                    told = late
                    heard(f"waiting for {self._named(late)}")
                self._changed.wait(left)
            if len(found) >= least:
                return found
            late = [site for site in hoped if site not in found]
            gone = [f"{one.card.name}: {one.gone}" for one in self._places if one.gone]
        why = [*gone, *([f"not there: {self._named(late)}"] if late else [])]
        raise TooFewSites(
            f"{len(found)} of {len(self._places)} sites are there, and it takes {least}"
            f" ({'; '.join(why)})",
            hint=("mend it where it is said" if gone else "casemate federate join at the sites")
            + "; the same command goes on where it stopped, and --fresh begins another job",
        )

    def collect(self, asked: Mapping[int, Asked], check: Check, seconds: float) -> Answers:
        """Ask sites, and take what they answer until all have or the time is over.

        Args:
            asked: what each site is asked.
            check: what is taken of an answer; called in the thread of whoever brings it.
            seconds: how long to wait.
        """
        until = time.monotonic() + seconds
        with self._changed:
            self._answers, self._check = Answers(), check
            self._waiting = set(asked)
            for site, message in asked.items():
                place = self._places[site]
                place.asked = message
                if place.gone or place.key is None:
                    self._drop(site, place.gone or "it has not come")
            self._changed.notify_all()
            while self._waiting and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            for site in sorted(self._waiting):
                self._places[site].absent = True
                self._drop(site, f"no answer within {seconds:g} s")
            self._check = _unasked
            return self._answers

    def tell(self, site: int, told: Told) -> None:
        """Let a site hear what became of its answer."""
        with self._changed:
            self._places[site].told.append(told)
            self._changed.notify_all()

    def dismiss(self, over: Over, seconds: float) -> None:
        """End the job, and wait until the sites that have come know it: one that still reads its
        table, computes, or was late, comes for its next turn, and would call in vain for long.

        Args:
            over: what they hear.
            seconds: how long to wait at most.
        """
        until = time.monotonic() + seconds
        with self._changed:
            self._over = over
            self._changed.notify_all()
            while (left := until - time.monotonic()) > 0 and any(
                place.met and not place.gone and not place.dismissed for place in self._places
            ):
                self._changed.wait(left)

    def stop(self) -> None:
        """Keep nobody waiting any more: whoever leads goes, whether the job is over or not."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _named(self, sites: list[int]) -> str:
        return listed([self.name_of(site) for site in sites], NAMED)

    def name_of(self, site: int) -> str:
        """What its card calls a site."""
        return self._places[site].card.name

    def rows_of(self, site: int) -> int:
        """What it says it has; 1 where noise covers that too."""
        return 1 if self.job.epsilon else self._places[site].rows

    def versions_of(self, site: int) -> dict[str, str]:
        """Of packages that compute there."""
        return self._places[site].versions

    def introduction_of(self, site: int) -> tuple[bytes, Ed25519PublicKey]:
        """(its signed introduction, the key in it)."""
        place = self._places[site]
        assert place.key is not None  # noqa: S101 - who is present has one
        return place.introduction, place.key


def _masked(asked: Asked) -> bool:
    return not isinstance(asked, Ask) or asked.terms is not None


def _unasked(site: int, _given: Given) -> Any:
    raise UpdateRefused(f"nobody asked site {site} for anything")
