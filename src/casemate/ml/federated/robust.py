"""How the sites' differences become one when some of them may lie.

Mean (McMahan et al., AISTATS 2017), coordinate-wise median and trimmed mean (Yin et al., ICML
2018), Krum and multi-Krum (Blanchard et al., NeurIPS 2017), centred clipping (Karimireddy et al.,
ICML 2021), and a bound on norms (Sun et al., Can You Really Backdoor Federated Learning?, 2019).
All of them look at single updates: over masked ones only the mean exists. Where honest sites
differ, `mixed` and `bucketed` go before them, and `ways` remembers what sites did in earlier
rounds.

What each tells besides is evidence, no verdict: sites with other patients differ honestly.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from casemate.core.errors import ConfigError
from casemate.core.types import Record

Array = np.ndarray[Any, Any]
MOST_WEIGHT = 10.0
"""A site weighs at most so many times what the median site does: nobody can check how many rows it
says it has. A judgement.
"""
LONG = 3.0
"""Times the median length from which a difference is called long. A judgement; honest sites of few
or other rows can be it too.
"""
ITERATIONS = 3
"""Of centred clipping: its paper finds one to be enough once a good centre is known."""


class Evidence(Record, frozen=True, kw_only=True):
    """What one site's difference looked like beside the others', and what it counted for."""

    site: int
    """Number of the site."""
    share: float
    """Of the combined difference; 0: it was left out. Of median and trimmed mean: of how many
    coordinates it was among those kept.
    """
    length: float
    """Norm of the difference, over the median of all sites' norms."""
    agreement: float
    """Mean cosine between it and each of the others: below 0 it undoes what they do."""
    suspect: bool
    """It undoes what the others do, or is long."""


class Combined(NamedTuple):
    """One difference made of several."""

    moved: Array
    """Float64 [p]."""
    shares: Array
    """What each site counted for, [s]."""


Combiner = Callable[[Array, Array, int], Combined]
"""(differences [s, p], weights [s] that sum to 1, sites that may lie) -> one."""


def mean(moved: Array, weights: Array, _liars: int) -> Combined:
    """Weighted by rows; one site can move it as far as it likes."""
    return Combined(weights @ moved, weights)


def median(moved: Array, _weights: Array, _liars: int) -> Combined:
    """Of each coordinate, all sites alike."""
    return _trimmed(moved, (len(moved) - 1) // 2)


def trimmed_mean(moved: Array, _weights: Array, liars: int) -> Combined:
    """Of each coordinate, without the `liars` least and greatest, all sites alike."""
    require("trimmed-mean", len(moved), liars)
    return _trimmed(moved, liars)


def krum(moved: Array, _weights: Array, liars: int) -> Combined:
    """The one difference that lies nearest to its neighbours; of honest sites that differ it takes
    one and forgets the rest.
    """
    return _nearest(moved, liars, 1, "krum")


def multi_krum(moved: Array, _weights: Array, liars: int) -> Combined:
    """The mean of the s - `liars` - 2 differences that lie nearest to their neighbours."""
    return _nearest(moved, liars, max(len(moved) - liars - 2, 1), "multi-krum")


def centred_clipping(moved: Array, _weights: Array, _liars: int) -> Combined:
    """The mean of differences that are pulled to a centre, at most as far as the median one is
    away.
    """
    centre = _trimmed(moved, (len(moved) - 1) // 2).moved
    shares = np.zeros(len(moved))
    for _ in range(ITERATIONS):
        apart = moved - centre
        lengths = np.linalg.norm(apart, axis=1)
        radius = float(np.median(lengths))
        shares = np.where(lengths <= radius, 1.0, radius / np.maximum(lengths, 1e-300)) / len(moved)
        centre = centre + shares @ apart
    return Combined(centre, shares)


def norm_bound(moved: Array, weights: Array, _liars: int) -> Combined:
    """The weighted mean of differences that are shortened to the median length: a liar is heard no
    louder than others, and still heard.
    """
    lengths = np.linalg.norm(moved, axis=1)
    shares = weights * np.minimum(1.0, np.median(lengths) / np.maximum(lengths, 1e-300))
    return Combined(shares @ moved, shares)


COMBINERS: dict[str, Combiner] = {
    "mean": mean,
    "median": median,
    "trimmed-mean": trimmed_mean,
    "krum": krum,
    "multi-krum": multi_krum,
    "centred-clipping": centred_clipping,
    "norm-bound": norm_bound,
}
"""Every way by its name on the command line."""


def mixed(combiner: Combiner) -> Combiner:
    """The same way over means of neighbours: each difference is replaced by the mean of the
    s - `liars` ones that lie nearest to it, itself among them.

    Where honest sites differ, robust ways alone throw away what only few know; means of neighbours
    differ less (Allouah et al., Fixing by Mixing, AISTATS 2023).
    """

    def found(moved: Array, weights: Array, liars: int) -> Combined:
        order = np.argsort(_squares(moved), axis=1, kind="stable")[:, : len(moved) - liars]
        near = np.zeros((len(moved), len(moved)))
        np.put_along_axis(near, order, 1.0 / order.shape[1], axis=1)
        over = combiner(near @ moved, weights, liars)
        return Combined(over.moved, over.shares @ near)

    return found


def bucketed(combiner: Combiner, size: int, chance: np.random.Generator) -> Combiner:
    """The same way over means of buckets of `size` differences, drawn anew each time.

    Means of a few differ less than the few do, and a liar spoils one bucket (Karimireddy, He and
    Jaggi, Byzantine-Robust Learning on Heterogeneous Datasets via Bucketing, ICLR 2022).
    """

    def found(moved: Array, weights: Array, liars: int) -> Combined:
        buckets = np.array_split(chance.permutation(len(moved)), buckets_of(len(moved), size))
        means = np.zeros((len(buckets), len(moved)))
        for place, bucket in enumerate(buckets):
            means[place, bucket] = 1.0 / len(bucket)
        own = np.asarray([weights[bucket].sum() for bucket in buckets])
        over = combiner(means @ moved, own, liars)
        return Combined(over.moved, over.shares @ means)

    return found


def buckets_of(sites: int, size: int) -> int:
    """How many buckets of `size` so many sites are; the last ones may be smaller."""
    return -(-sites // size)


def require(name: str, sites: int, liars: int) -> None:
    """Nothing.

    Raises:
        ConfigError: so many sites are too few for this way to stand `liars` of them.
    """
    if name == "trimmed-mean":
        _require(sites > 2 * liars, name, 2 * liars + 1, sites)
    elif name in ("krum", "multi-krum"):
        _require(sites > 2 * liars + 2, name, 2 * liars + 3, sites)


def weights_of(rows: list[int]) -> Array:
    """What sites weigh that say they have so many rows, [s], sum 1; see `MOST_WEIGHT`."""
    counts = np.asarray(rows, dtype=np.float64)
    held = np.minimum(counts, MOST_WEIGHT * np.median(counts))
    return np.asarray(held / held.sum())


def agreements(moved: Array) -> Array:
    """Mean cosine of each difference [s, p] and each of the others, [s]; with no other, 1.

    Each other site counts alike, whatever its length: a liar moves it by a share of one.
    """
    lengths = np.linalg.norm(moved, axis=1, keepdims=True)
    units = moved / np.where(lengths > 0, lengths, 1.0)
    cosines = units @ units.T
    others = max(len(moved) - 1, 1)
    return np.asarray((cosines.sum(axis=1) - (len(moved) > 1) * np.diag(cosines)) / others)


def evidence(sites: list[int], moved: Array, shares: Array, agreed: Array) -> list[Evidence]:
    """What the differences [s, p] of `sites` look like beside each other.

    Args:
        sites: their numbers.
        moved: their differences.
        shares: what each counted for [s].
        agreed: their `agreements`.
    """
    lengths = np.linalg.norm(moved, axis=1)
    usual = float(np.median(lengths)) or 1.0
    found = []
    for place, site in enumerate(sites):
        long, agreement = float(lengths[place]) / usual, float(agreed[place])
        found.append(
            Evidence(
                site=site,
                share=float(shares[place]),
                length=long,
                agreement=agreement,
                suspect=agreement < 0 or long > LONG,
            )
        )
    return found


def _trimmed(moved: Array, cut: int) -> Combined:
    order = np.argsort(moved, axis=0, kind="stable")
    kept = order[cut : len(moved) - cut]
    found = np.take_along_axis(moved, kept, axis=0).mean(axis=0)
    counts = np.bincount(kept.ravel(), minlength=len(moved))
    return Combined(found, counts / counts.sum())


def _nearest(moved: Array, liars: int, chosen: int, name: str) -> Combined:
    count = len(moved)
    require(name, count, liars)
    apart = _squares(moved)
    np.fill_diagonal(apart, np.inf)
    scores = np.sort(apart, axis=1)[:, : count - liars - 2].sum(axis=1)
    kept = np.argsort(scores, kind="stable")[:chosen]
    shares = np.zeros(count)
    shares[kept] = 1.0 / chosen
    return Combined(shares @ moved, shares)


def _squares(moved: Array) -> Array:
    """Squared distances of the differences, [s, s]; exactly 0 to itself."""
    squares = np.einsum("ij,ij->i", moved, moved)
    apart = np.maximum(squares[:, None] + squares[None] - 2 * moved @ moved.T, 0.0)
    np.fill_diagonal(apart, 0.0)
    return np.asarray(apart)


def _require(enough: bool, name: str, least: int, count: int) -> None:
    if not enough:
        raise ConfigError(
            f"{name} needs {least} sites so that what may lie stays a minority, and {count}"
            " answered",
            hint="more sites, or fewer that may lie (--liars)",
        )
