"""Rows handed out to made-up sites: alike, with unlike shares of classes, or as a column says.

Dirichlet: Hsu, Qi and Brown, Measuring the Effects of Non-Identical Data Distribution for Federated
Visual Classification (2019): the smaller its parameter, the fewer classes a site has.
"""

from typing import Any

import numpy as np

from casemate.core.errors import ConfigError

Array = np.ndarray[Any, Any]
DRAWS = 200
"""Dirichlet shares that are drawn until every site has enough rows."""


def iid(codes: Array, sites: int, chance: np.random.Generator) -> Array:
    """Site of each row, int64 [n], by chance alone; sites of equal size."""
    return np.asarray(chance.permutation(np.arange(len(codes)) % sites))


def dirichlet(
    codes: Array, sites: int, alpha: float, least: int, chance: np.random.Generator
) -> Array:
    """Site of each row, int64 [n]: of each class a site has a share that is drawn.

    Raises:
        ConfigError: in no draw did every site have `least` rows.
    """
    for _ in range(DRAWS):
        found = np.empty(len(codes), dtype=np.int64)
        for one in np.unique(codes):
            at = chance.permutation(np.flatnonzero(codes == one))
            shares = chance.dirichlet(np.full(sites, alpha))
            borders = np.floor(np.cumsum(shares)[:-1] * len(at)).astype(np.int64)
            found[at] = np.searchsorted(borders, np.arange(len(at)), side="right")
        if np.bincount(found, minlength=sites).min() >= least:
            return found
    raise ConfigError(
        f"in {DRAWS} draws no split gave each of {sites} sites {least} rows",
        hint="fewer sites, a larger dirichlet parameter, or a longer table",
    )


def by_values(values: Array, sites: int) -> Array:
    """Site of each row, int64 [n]: rows of one value stay together, values go to whichever site has
    the fewest rows yet, largest first.

    Raises:
        ConfigError: there are fewer values than sites.
    """
    kinds, owner, counts = np.unique(values, return_inverse=True, return_counts=True)
    if len(kinds) < sites:
        raise ConfigError(
            f"the column has {len(kinds)} values, too few for {sites} sites",
            hint=f"--sites {len(kinds)}",
        )
    loads, places = np.zeros(sites, dtype=np.int64), np.empty(len(kinds), dtype=np.int64)
    for kind in np.argsort(-counts, kind="stable"):
        place = int(loads.argmin())
        places[kind], loads[place] = place, loads[place] + counts[kind]
    return np.asarray(places[owner])
