"""How a coordinator makes one difference of several, round after round: a robust way, what goes
before it, and what is remembered of the rounds before.

One round of sites that differ says little of them, and many say much (Karimireddy, He and Jaggi,
Learning from History for Byzantine Robust Optimization, ICML 2021). What is remembered are cosines,
as Cao et al. compare them with a clean table's (FLTrust, NDSS 2021); here with the other sites'.
"""

from typing import Any

import numpy as np

from casemate.ml.federated import robust

Array = np.ndarray[Any, Any]
CREDIT = 0.5
"""Most that a site's agreement with the others adds up to: a site that was honest for long uses it
up in some rounds of the opposite. A judgement: unlike sites agree by .1 to .4 in a round.
"""


class Way:
    """How a coordinator makes one difference of several, round after round.

    Args:
        name: one of `robust.COMBINERS`.
        liars: sites that it reckons with.
        mixed: see `robust.mixed`.
        bucket: size of buckets, see `robust.bucketed`; 1: none.
        remembers: leave out, at most `liars` and fewer than half of the sites, those whose
            differences, over all rounds so far, undo what the others do.
        chance: draws buckets.
    """

    def __init__(
        self,
        name: str,
        liars: int,
        *,
        mixed: bool = False,
        bucket: int = 1,
        remembers: bool = False,
        chance: np.random.Generator,
    ) -> None:
        combiner = robust.COMBINERS[name]
        if bucket > 1:
            combiner = robust.bucketed(combiner, bucket, chance)
        self._combiner = robust.mixed(combiner) if mixed else combiner
        self.liars, self.remembers = liars, remembers
        self._credit: dict[int, float] = {}

    def __call__(
        self, sites: list[int], moved: Array, weights: Array
    ) -> tuple[robust.Combined, list[robust.Evidence]]:
        """(one difference of several, what each looked like); nothing is remembered yet.

        Args:
            sites: numbers of the sites, or of groups.
            moved: their differences [s, p].
            weights: what each weighs [s], sum 1.
        """
        agreed = robust.agreements(moved)
        out = self._out(sites, agreed)
        if not out:
            found = self._combiner(moved, weights, self.liars)
            return found, robust.evidence(sites, moved, found.shares, agreed)
        kept = [place for place in range(len(sites)) if place not in out]
        own = weights[kept] / weights[kept].sum()
        found = self._combiner(moved[kept], own, self.liars - len(out))
        shares = np.zeros(len(sites))
        shares[kept] = found.shares
        return robust.Combined(found.moved, shares), robust.evidence(sites, moved, shares, agreed)

    def heard(self, told: list[robust.Evidence]) -> None:
        """Remember a round that counts, whoever combined it."""
        for one in told:
            self._credit[one.site] = self._with(one.site, one.agreement)

    def _with(self, site: int, agreement: float) -> float:
        return min(self._credit.get(site, 0.0) + agreement, CREDIT)

    def _out(self, sites: list[int], agreed: Array) -> list[int]:
        """Places of the sites that are left out."""
        if not self.remembers:
            return []
        credit = np.asarray([self._with(*one) for one in zip(sites, agreed, strict=True)])
        most = min(self.liars, (len(sites) - 1) // 2)
        return [
            int(place) for place in np.argsort(credit, kind="stable")[:most] if credit[place] < 0
        ]
