"""A site's side of secure aggregation: the coordinator learns the sum of all updates, and none of
them.

Bonawitz et al., Practical Secure Aggregation for Privacy-Preserving Machine Learning, CCS 2017,
with the steps against an active coordinator (signed keys, agreement on who was heard). Each pair of
sites shares a mask that one adds and the other takes off; each site adds one of its own. Whoever
drops out is replaced by Shamir shares: of a site that was not heard, the secret of its pair masks;
of one that was heard and then vanished, its own mask; of no site ever both. Here a pair's mask
comes of two random halves, one from each, that are sealed for the other (HPKE, MLKEM768-X25519)
with a key made for the round from the same secret. Shares are sealed for another key, which comes
of no secret that is shared: else each site that is said to have dropped out would give away its
shares of all others.

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
    sealer: int | None = None
    """The site that sealed what cannot be opened; None: it is about something else."""


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
    """Of the hybrid pair that others can bring back, for halves of masks."""
    box: bytes
    """Of the one that nobody can, for shares."""
    signature: bytes
    """The site's, over terms, number and keys: a coordinator cannot slip in keys of its own."""


class Sealed(Record, frozen=True, kw_only=True):
    """Step 1: what one site tells another, through the coordinator."""

    sender: int
    receiver: int
    half: bytes
    """Of the mask that both share, for the receiver's `public`."""
    shares: bytes
    """Of the sender's two secrets, for the receiver's `box`."""


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


class _Shares(msgspec.Struct, forbid_unknown_fields=True):
    """What is inside of `Sealed.shares`."""

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


def advertised(terms: Terms, site: int, public: bytes, box: bytes) -> bytes:
    """What a site signs in step 0."""
    return msgspec.msgpack.encode(["casemate secagg advert 1", terms, site, public, box])


def agreed(terms: Terms, heard: list[int]) -> bytes:
    """What a site signs in step 3."""
    return msgspec.msgpack.encode(["casemate secagg heard 1", terms, heard])


def info(terms: Terms, what: str, sender: int, receiver: int) -> bytes:
    """What a sealed `half` or `shares` is bound to."""
    return msgspec.msgpack.encode(
        [f"casemate secagg {what} 1", terms.session, terms.round, sender, receiver]
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
        self._key, self._box = hybrid.pair()
        self._step = 0
        self._roster: list[int] = []
        self._halves: dict[int, bytes] = {}
        self._shares: dict[int, _Shares] = {}
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
        signature = self._sign(advertised(self.terms, self.site, self._public, self._box))
        return Advert(site=self.site, public=self._public, box=self._box, signature=signature)

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
        mine = [(one.public, one.box) for one in roster if one.site == self.site]
        if mine != [(self._public, self._box)]:
            raise MaskRefused("the coordinator shows another key as this site's")
        for one in roster:
            signed = advertised(self.terms, one.site, one.public, one.box)
            self._verify(one.site, signed, one.signature)
        self._roster = sorted(sites)
        masters = split(self._master, self.terms.threshold, len(sites))
        masks = split(self._own, self.terms.threshold, len(sites))
        keys = {one.site: (one.public, one.box) for one in roster}
        sent = []
        for place, receiver in enumerate(self._roster):
            shares = _Shares(masters[place], masks[place])
            if receiver == self.site:
                self._shares[receiver] = shares
                continue
            half = half_of(self._master, receiver)
            public, box = keys[receiver]
            sealed = Sealed(
                sender=self.site,
                receiver=receiver,
                half=self._sealed("half", receiver, public, half),
                shares=self._sealed("shares", receiver, box, msgspec.msgpack.encode(shares)),
            )
            sent.append(sealed)
        return sent

    def _sealed(self, what: str, receiver: int, public: bytes, content: bytes) -> bytes:
        try:
            key = hybrid.public_key(public)
        except ValueError as error:
            raise MaskRefused(f"a key of site {receiver} is none") from error
        return hybrid.SUITE.encrypt(content, key, info=info(self.terms, what, self.site, receiver))

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
        key, box = hybrid.private_key(self._private), hybrid.private_key(self._key)
        for one in sealed:
            known = one.sender in self._roster and one.sender not in self._halves
            if one.receiver != self.site or one.sender == self.site or not known:
                raise MaskRefused(f"a message of site {one.sender} is not for this site, or twice")
            self._halves[one.sender] = opened_half(self.terms, one, key)
            self._shares[one.sender] = opened_shares(self.terms, one, box)
        if len(self._shares) < self.terms.threshold:
            raise MaskRefused(
                f"{len(self._shares)} sites would be in the sum, {self.terms.threshold} must be",
                hint="the coordinator asks for the sum of few",
            )
        found = found + own_mask(self.terms, self._own)
        for sender, half in self._halves.items():
            mask = pair_mask(self.terms, self.site, half_of(self._master, sender), sender, half)
            found = found + mask if self.site < sender else found - mask
        return Masked(site=self.site, content=found.astype("<u8").tobytes())

    def agree(self, heard: list[int]) -> Agreement:
        """Step 3: whose update the sum will hold, signed.

        Raises:
            MaskRefused: too few, unknown ones, or not this site.
        """
        self._next(3)
        known = set(heard) <= set(self._shares)
        if self.site not in heard or sorted(set(heard)) != heard or not known:
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
        gone = sorted(set(self._shares) - set(self._heard))
        return Revealed(
            site=self.site,
            own=self._own,
            masks={one: self._shares[one].mask for one in self._heard},
            masters={one: self._shares[one].master for one in gone},
        )


def opened_half(terms: Terms, sealed: Sealed, key: Any) -> bytes:
    """The sender's half of the mask of two sites, 32 bytes.

    Raises:
        MaskRefused: the sender did not seal it for this round and receiver, or it is none.
    """
    half = _opened(terms, "half", sealed, sealed.half, key)
    if len(half) != SECRET:
        raise _complaint(sealed, "has other lengths")
    return half


def opened_shares(terms: Terms, sealed: Sealed, key: Any) -> _Shares:
    """The receiver's shares of the sender's secrets.

    Raises:
        MaskRefused: the sender did not seal them for this round and receiver, or they are none.
    """
    content = _opened(terms, "shares", sealed, sealed.shares, key)
    try:
        found = msgspec.msgpack.decode(content, type=_Shares)
    except msgspec.MsgspecError as error:
        raise _complaint(sealed, "are no shares") from error
    lengths = {len(half) for share in (found.master, found.mask) for half in share.halves}
    if lengths != {HALF}:
        raise _complaint(sealed, "has other lengths")
    return found


def _opened(terms: Terms, what: str, sealed: Sealed, content: bytes, key: Any) -> bytes:
    try:
        return hybrid.SUITE.decrypt(
            content, key, info=info(terms, what, sealed.sender, sealed.receiver)
        )
    except (InvalidTag, ValueError) as error:
        raise _complaint(sealed, f"for site {sealed.receiver} cannot be opened") from error


def _complaint(sealed: Sealed, what: str) -> MaskRefused:
    found = MaskRefused(f"what site {sealed.sender} sealed {what}")
    found.sealer = sealed.sender
    return found
