"""A site's side of secure aggregation: the coordinator learns the sum of all updates, and none of
them.

Bonawitz et al., Practical Secure Aggregation for Privacy-Preserving Machine Learning, CCS 2017,
with the steps against an active coordinator (signed keys, agreement on who was heard). Each pair of
sites shares a mask that one adds and the other takes off; each site adds one of its own. Whoever
drops out is replaced by Shamir shares: of a site that was not heard, the secret of its pair masks;
of one that was heard and then vanished, its own mask; of no site ever both. Here a pair's mask
comes of two random halves, one from each, that are sealed for the other (HPKE, MLKEM768-X25519)
with a key made for the round from the same secret.

What it hides is what one site sent. The sum it does not hide, nor what the sum tells of a site
whose fellows collude: fewer than `threshold` sites learn nothing more than their own share.
"""

import secrets
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from cryptography.exceptions import InvalidTag

from casemate.core import hybrid
from casemate.core.errors import VerificationError
from casemate.core.types import Record
from casemate.ml.federated.ring import Range, derived, stream
from casemate.ml.federated.shares import HALF, SECRET, Share, split

Array = np.ndarray[Any, Any]
MOST_MEMBERS = 256
"""Sites of one sum: each seals something for each other. Larger rounds go in groups."""
LEAST_MEMBERS = 3
"""With two, the sum tells each the other's update."""
Sign = Callable[[bytes], bytes]
Verify = Callable[[int, bytes, bytes], None]
"""(site, message, signature); VerificationError if the site did not sign it."""


class MaskRefused(VerificationError):
    """Somebody in a secure aggregation asks for, or sends, what the protocol does not have."""

    code = "CM-MASK-REFUSED"
    who = "whoever sent it; a coordinator that asks for it is not to be trusted"


class Terms(Record, frozen=True, kw_only=True):
    """What a coordinator proposes and each site checks before it says anything."""

    session: str
    """Name of the federation."""
    round: int
    """Number of the round."""
    size: int
    """Numbers of an update."""
    most: float
    """Largest absolute value of one."""
    threshold: int
    """Sites that must be heard, and that it takes to replace one that drops out."""
    version: int = 1
    """Version of the protocol."""


class Advert(Record, frozen=True, kw_only=True):
    """Step 0: a site's key for this round."""

    site: int
    public: bytes
    """Of the hybrid pair."""
    signature: bytes
    """The site's, over terms, number and key: a coordinator cannot slip in keys of its own."""


class Sealed(Record, frozen=True, kw_only=True):
    """Step 1: what one site tells another, through the coordinator."""

    sender: int
    receiver: int
    content: bytes


class Masked(Record, frozen=True, kw_only=True):
    """Step 2: an update that looks like chance."""

    site: int
    content: bytes
    """Uint64, little-endian."""


class Agreement(Record, frozen=True, kw_only=True):
    """Step 3: a site's signature over who was heard."""

    site: int
    signature: bytes


class Revealed(Record, frozen=True, kw_only=True):
    """Step 4: what takes the masks off the sum."""

    site: int
    own: bytes
    """Secret of the site's own mask."""
    masks: dict[int, Share]
    """Shares of the own masks of sites that were heard."""
    masters: dict[int, Share]
    """Shares of the pair masks of sites that were not."""


class _Told(msgspec.Struct, forbid_unknown_fields=True):
    """What is inside of a `Sealed`."""

    half: bytes
    master: Share
    mask: Share


def require(terms: Terms, least: int = LEAST_MEMBERS) -> Terms:
    """The terms.

    Raises:
        MaskRefused: a sum under them could be that of one site.
    """
    if terms.version != 1 or not 0 < len(terms.session) <= 64 or terms.round < 1:
        raise MaskRefused("the round's terms have no session, no number or another version")
    if not max(LEAST_MEMBERS, least) <= terms.threshold <= MOST_MEMBERS:
        raise MaskRefused(
            f"the coordinator would be content with a sum of {terms.threshold} sites, and"
            f" {max(LEAST_MEMBERS, least)} are the least here",
            hint="a sum of few tells each one's update",
        )
    if terms.size < 1:
        raise MaskRefused("the round's terms are of updates without numbers")
    return terms


def advertised(terms: Terms, site: int, public: bytes) -> bytes:
    """What a site signs in step 0."""
    return msgspec.msgpack.encode(["casemate secagg advert 1", terms, site, public])


def agreed(terms: Terms, heard: list[int]) -> bytes:
    """What a site signs in step 3."""
    return msgspec.msgpack.encode(["casemate secagg heard 1", terms, heard])


def info(terms: Terms, sender: int, receiver: int) -> bytes:
    """What a sealed message is bound to."""
    return msgspec.msgpack.encode(
        ["casemate secagg share 1", terms.session, terms.round, sender, receiver]
    )


def half_of(master: bytes, receiver: int) -> bytes:
    """A site's half of the mask that it shares with `receiver`."""
    return derived(master, f"half for {receiver}")


def private_of(master: bytes) -> bytes:
    """The private half of a site's key for the round."""
    return derived(master, "key", hybrid.PRIVATE)


def pair_mask(terms: Terms, one: int, its: bytes, other: int, theirs: bytes) -> Array:
    """The mask of two sites, from the half of each, uint64 [p]; the lower number adds it."""
    (low, first), (high, second) = sorted([(one, its), (other, theirs)])
    purpose = f"pair {terms.session} {terms.round} {low} {high}"
    return stream(derived(first + second, purpose), terms.size)


def own_mask(terms: Terms, secret: bytes) -> Array:
    """A site's own mask, uint64 [p]."""
    return stream(derived(secret, f"own {terms.session} {terms.round}"), terms.size)


class Member:
    """One site in one round; each step once, in order.

    Args:
        terms: of the round.
        site: its number.
        sign: with the key that other sites know it by.
        verify: whether another site signed something.
        least: sites that the site's own policy wants in a sum.

    Raises:
        MaskRefused: the terms.
    """

    def __init__(
        self, terms: Terms, site: int, sign: Sign, verify: Verify, least: int = LEAST_MEMBERS
    ) -> None:
        self.terms, self.site = require(terms, least), site
        self._sign, self._verify = sign, verify
        self._master, self._own = secrets.token_bytes(SECRET), secrets.token_bytes(SECRET)
        self._private = private_of(self._master)
        self._public = hybrid.public_of(self._private)
        self._step = 0
        self._roster: list[int] = []
        self._told: dict[int, _Told] = {}
        self._kept: _Told | None = None
        self._heard: list[int] = []

    def _next(self, step: int) -> None:
        if self._step != step:
            raise MaskRefused(
                f"the coordinator asks for step {step}, and step {self._step} is next",
                hint="a round does not go back, and no step is done twice",
            )
        self._step += 1

    def advertise(self) -> Advert:
        """Step 0: a key for this round."""
        self._next(0)
        signature = self._sign(advertised(self.terms, self.site, self._public))
        return Advert(site=self.site, public=self._public, signature=signature)

    def share(self, roster: list[Advert]) -> list[Sealed]:
        """Step 1: for each other site a half of the common mask, and shares of the site's secrets.

        Raises:
            MaskRefused: too few sites, one twice, a key that its site did not sign, or a threshold
                at which two groups of sites could be told different things.
        """
        self._next(1)
        sites = [one.site for one in roster]
        if len(set(sites)) != len(sites) or not self.terms.threshold <= len(sites) <= MOST_MEMBERS:
            raise MaskRefused(
                f"the coordinator names {len(set(sites))} sites; {self.terms.threshold} to"
                f" {MOST_MEMBERS} may take part"
            )
        if 3 * self.terms.threshold <= 2 * len(sites):
            raise MaskRefused(
                f"a threshold of {self.terms.threshold} of {len(sites)} sites would let the"
                " coordinator learn both secrets of one",
                hint="more than two thirds",
            )
        mine = [one.public for one in roster if one.site == self.site]
        if mine != [self._public]:
            raise MaskRefused("the coordinator shows another key as this site's")
        for one in roster:
            self._verify(one.site, advertised(self.terms, one.site, one.public), one.signature)
        self._roster = sorted(sites)
        masters = split(self._master, self.terms.threshold, len(sites))
        masks = split(self._own, self.terms.threshold, len(sites))
        publics = {one.site: one.public for one in roster}
        sent = []
        for place, receiver in enumerate(self._roster):
            told = _Told(half_of(self._master, receiver), masters[place], masks[place])
            if receiver == self.site:
                self._kept = told
                continue
            try:
                key = hybrid.public_key(publics[receiver])
            except ValueError as error:
                raise MaskRefused(f"the key of site {receiver} is none") from error
            content = hybrid.SUITE.encrypt(
                msgspec.msgpack.encode(told), key, info=info(self.terms, self.site, receiver)
            )
            sent.append(Sealed(sender=self.site, receiver=receiver, content=content))
        return sent

    def mask(self, sealed: list[Sealed], vector: Array) -> Masked:
        """Step 2: the update under its masks.

        Args:
            sealed: what the other sites sealed for this one.
            vector: float64 [p].

        Raises:
            MaskRefused: too few sites, or a message that its sender did not write for this site.
            OutOfRange: a number does not fit; nothing is clipped.
        """
        self._next(2)
        if len(vector) != self.terms.size:
            raise MaskRefused(f"the update has {len(vector)} numbers, not {self.terms.size}")
        found = Range(self.terms.most, len(self._roster)).encode(vector)
        key = hybrid.private_key(self._private)
        for one in sealed:
            known = one.sender in self._roster and one.sender not in self._told
            if one.receiver != self.site or one.sender == self.site or not known:
                raise MaskRefused(f"a message of site {one.sender} is not for this site, or twice")
            self._told[one.sender] = opened(self.terms, one, key)
        if len(self._told) + 1 < self.terms.threshold:
            raise MaskRefused(
                f"{len(self._told) + 1} sites would be in the sum, {self.terms.threshold} must be",
                hint="the coordinator asks for the sum of few",
            )
        found = found + own_mask(self.terms, self._own)
        for sender, told in self._told.items():
            mask = pair_mask(
                self.terms, self.site, half_of(self._master, sender), sender, told.half
            )
            found = found + mask if self.site < sender else found - mask
        return Masked(site=self.site, content=found.astype("<u8").tobytes())

    def agree(self, heard: list[int]) -> Agreement:
        """Step 3: whose update the sum will hold, signed.

        Raises:
            MaskRefused: too few, unknown ones, or not this site.
        """
        self._next(3)
        known = {*self._told, self.site}
        if self.site not in heard or sorted(set(heard)) != heard or not set(heard) <= known:
            raise MaskRefused("the coordinator names sites that are not in this round")
        if len(heard) < self.terms.threshold:
            raise MaskRefused(
                f"the coordinator asks for the sum of {len(heard)} sites, and"
                f" {self.terms.threshold} must be in it",
                hint="a sum of few tells each one's update",
            )
        self._heard = heard
        return Agreement(site=self.site, signature=self._sign(agreed(self.terms, heard)))

    def reveal(self, agreements: list[Agreement]) -> Revealed:
        """Step 4: the site's own mask, and shares; of each other site one of two.

        Raises:
            MaskRefused: too few sites agreed on the same list.
        """
        self._next(4)
        signers = {one.site for one in agreements}
        enough = len(signers) == len(agreements) >= self.terms.threshold
        if not enough or not signers <= set(self._heard):
            raise MaskRefused(
                f"{len(signers)} sites agreed on who was heard, {self.terms.threshold} must",
                hint="the coordinator may have told others something else",
            )
        for one in agreements:
            self._verify(one.site, agreed(self.terms, self._heard), one.signature)
        told = dict(self._told)
        if self._kept is not None:
            told[self.site] = self._kept
        return Revealed(
            site=self.site,
            own=self._own,
            masks={one: told[one].mask for one in self._heard},
            masters={one: told[one].master for one in sorted(set(told) - set(self._heard))},
        )


def opened(terms: Terms, sealed: Sealed, key: Any) -> _Told:
    """What one site told another.

    Raises:
        MaskRefused: it did not, or told nonsense.
    """
    try:
        content = hybrid.SUITE.decrypt(
            sealed.content, key, info=info(terms, sealed.sender, sealed.receiver)
        )
        found = msgspec.msgpack.decode(content, type=_Told)
    except (InvalidTag, ValueError, msgspec.MsgspecError) as error:
        raise MaskRefused(
            f"what site {sealed.sender} sealed for site {sealed.receiver} cannot be opened"
        ) from error
    lengths = {len(half) for share in (found.master, found.mask) for half in share.halves}
    if len(found.half) != SECRET or lengths != {HALF}:
        raise MaskRefused(f"what site {sealed.sender} sealed has other lengths")
    return found
