"""What a coordinator has after a round, and how one difference is made of it: the same for made-up
sites and for real ones.
"""

from typing import Any, NamedTuple

import numpy as np

from casemate.core.errors import VerificationError
from casemate.ml.federated import robust
from casemate.ml.federated.unmasking import Sum

Array = np.ndarray[Any, Any]
MOST_MASKED, MOST_SUM = 2.0**14, 2.0**30
"""Largest numbers that a site may send under masks: of a difference of weights, of a sum over its
rows. What does not fit is refused by the site itself.
"""
SLACK = 0.1
"""By which the weights in a sum may differ, relatively, from those that its sites said they have:
somebody may be erased in between. A site that sends a weight of its own choice is far beyond.
"""


class Heard(NamedTuple):
    """What a coordinator has after a round."""

    names: list[int]
    """Numbers of sites, or of groups."""
    moved: Array
    """Their differences [s, p]."""
    weights: Array
    """What each weighs [s]."""
    sites: list[int]
    """Whose rows are in them."""


def of_sites(moved: dict[int, Array], rows: dict[int, int]) -> Heard:
    """The differences of single sites, which weigh as their rows do.

    Args:
        moved: of each site, float64 [p].
        rows: of each site at least; see `robust.weights_of`.
    """
    places = sorted(moved)
    weights = robust.weights_of([rows[place] for place in places])
    return Heard(places, np.stack([moved[place] for place in places]), weights, places)


def of_sums(sums: dict[int, Sum]) -> Heard:
    """The mean differences of groups that were summed under masks.

    Args:
        sums: of each group, of what `sent` made.
    """
    moved = [found.total[:-1] / found.total[-1] for found in sums.values()]
    weights = np.asarray([found.total[-1] for found in sums.values()])
    shares = weights / weights.sum() if len(weights) else np.zeros(0)
    heard = [site for found in sums.values() for site in found.heard]
    return Heard([*sums], np.array(moved), shares, heard)


def sent(moved: Array, weight: float) -> Array:
    """What a site puts under masks, [p + 1]: its difference [p] times its weight, and the weight,
    so that the sum tells the mean.
    """
    return np.append(moved, 1.0) * weight


def full_of(rows: list[int]) -> float:
    """How many rows weigh 1 under masks, where sites say they have so many; fewer weigh their
    share, more no more.
    """
    return robust.MOST_WEIGHT * float(np.median(rows))


def require_weight(found: Sum, weights: dict[int, float]) -> Sum:
    """The sum.

    Args:
        found: of what `sent` made.
        weights: of each site, as it said before.

    Raises:
        VerificationError: the weights in it are not those of the sites that it is of.
    """
    told = sum(weights[site] for site in found.heard)
    if not abs(float(found.total[-1]) - told) <= SLACK * told:
        raise VerificationError(
            "the sum of a group holds other weights than its sites said they have",
            hint="a site broke the protocol: the group counts for nothing",
        )
    return found
