"""The coordinator's side of secure aggregation: it hands messages on, adds up what looks like
chance, and takes off what is left of the masks (see `masking`).
"""

from typing import Any, NamedTuple

import numpy as np

from casemate.core import hybrid
from casemate.core.errors import VerificationError
from casemate.ml.federated.masking import (
    Advert,
    Agreement,
    Masked,
    MaskRefused,
    Revealed,
    Sealed,
    Terms,
    half_of,
    opened_half,
    own_mask,
    pair_mask,
    private_of,
    require,
)
from casemate.ml.federated.ring import Range
from casemate.ml.federated.shares import SECRET, combine

Array = np.ndarray[Any, Any]


class Sum(NamedTuple):
    """What came of a round."""

    total: Array
    """Sum of the updates that were heard, float64 [p]."""
    heard: list[int]
    """Whose they are."""
    error: float
    """By which rounding can have moved a number of it."""


class Gatherer:
    """A coordinator in one round; whoever does not answer a step is simply not in the next one.

    Args:
        terms: of the round.

    Raises:
        MaskRefused: the terms.
    """

    def __init__(self, terms: Terms) -> None:
        self.terms = require(terms)
        self._publics: dict[int, bytes] = {}
        self._sealed: dict[tuple[int, int], Sealed] = {}
        self._shared: list[int] = []
        self._total = np.zeros(terms.size, dtype=np.uint64)
        self._heard: list[int] = []

    def roster(self, adverts: list[Advert]) -> list[Advert]:
        """Step 0 to 1: who takes part, for everybody."""
        self._publics = {one.site: one.public for one in adverts}
        self._enough(len(adverts), "said that they take part")
        return adverts

    def forward(self, sent: dict[int, list[Sealed]]) -> dict[int, list[Sealed]]:
        """Step 1 to 2: what each site that sealed something is to get.

        Raises:
            MaskRefused: too few did, or one sealed in another's name.
        """
        for sender, messages in sent.items():
            named = sorted((one.sender, one.receiver) for one in messages)
            if named != [(sender, other) for other in sorted(self._publics) if other != sender]:
                raise MaskRefused(f"site {sender} did not seal one message for each other site")
            self._sealed |= {(sender, one.receiver): one for one in messages}
        self._shared = sorted(sent)
        self._enough(len(sent), "shared their secrets")
        return {
            receiver: [
                self._sealed[sender, receiver] for sender in self._shared if sender != receiver
            ]
            for receiver in self._shared
        }

    def add(self, masked: Masked) -> None:
        """Step 2: one update under its masks.

        Raises:
            MaskRefused: of a site that is not in this round, or twice, or of another size.
        """
        if masked.site not in self._shared or masked.site in self._heard:
            raise MaskRefused(f"site {masked.site} sends an update that nobody asked for")
        if len(masked.content) != 8 * self.terms.size:
            raise MaskRefused(f"the update of site {masked.site} has another size")
        self._total = self._total + np.frombuffer(masked.content, dtype="<u8")
        self._heard.append(masked.site)

    def heard(self) -> list[int]:
        """Step 2 to 3: whose updates the sum holds; all of them are asked to sign that."""
        self._enough(len(self._heard), "sent an update")
        return sorted(self._heard)

    def agreed(self, agreements: list[Agreement]) -> list[Agreement]:
        """Step 3 to 4: the signatures, for everybody."""
        self._enough(len(agreements), "agreed on who was heard")
        return agreements

    def finish(self, revealed: list[Revealed]) -> Sum:
        """Step 4: the sum.

        Raises:
            MaskRefused, OutOfRange: too few answered, or what they revealed does not fit.
        """
        self._enough(len(revealed), "revealed shares")
        own = {one.site: one.own for one in revealed}
        found = self._total
        for site in self._heard:
            secret = own.get(site)
            if secret is None:
                shares = [one.masks[site] for one in revealed if site in one.masks]
                secret = combine(shares, self.terms.threshold)
            if len(secret) != SECRET:
                raise MaskRefused(f"site {site} reveals a secret of another length")
            found = found - own_mask(self.terms, secret)
        for site in sorted(set(self._shared) - set(self._heard)):
            shares = [one.masters[site] for one in revealed if site in one.masters]
            found = self._without(found, site, combine(shares, self.terms.threshold))
        limits = Range(self.terms.most, len(self._publics))
        total = limits.decode(found, len(self._heard))
        return Sum(total, sorted(self._heard), limits.step / 2 * len(self._heard))

    def _without(self, total: Array, gone: int, master: bytes) -> Array:
        """The sum without the masks that others share with a site that was not heard."""
        private = private_of(master)
        if hybrid.public_of(private) != self._publics[gone]:
            raise MaskRefused(
                f"the shares of site {gone} are not of its secret",
                hint="a site broke the protocol: the round counts for nothing",
            )
        key = hybrid.private_key(private)
        for site in self._heard:
            theirs = opened_half(self.terms, self._sealed[site, gone], key)
            mask = pair_mask(self.terms, site, theirs, gone, half_of(master, site))
            total = total - mask if site < gone else total + mask
        return total

    def _enough(self, count: int, what: str) -> None:
        require_enough(self.terms, count, what)


def require_enough(terms: Terms, count: int, what: str) -> None:
    """Nothing; VerificationError where fewer sites than the threshold did what a step asks for."""
    if count < terms.threshold:
        raise VerificationError(
            f"{count} sites {what}, and it takes {terms.threshold}",
            hint="the round counts for nothing: ask again in another one",
        )
