"""Sites that lie, for simulations: what they do to their labels before training, or to their
difference after it.

Another attack is another function and a line in one of the two tables.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def label_flip(codes: Array, classes: int, _chance: np.random.Generator) -> Array:
    """Class c becomes k - 1 - c (Fang et al., Local Model Poisoning Attacks, USENIX 2020)."""
    return classes - 1 - codes


def sign_flip(moved: Array, _chance: np.random.Generator) -> Array:
    """The opposite of what was learnt."""
    return -moved


def boost(moved: Array, _chance: np.random.Generator) -> Array:
    """Ten times the opposite: of ten sites one undoes all."""
    return -10.0 * moved


def noise(moved: Array, chance: np.random.Generator) -> Array:
    """Normal numbers three times as long as what was learnt."""
    found = chance.standard_normal(len(moved))
    return np.asarray(found * (3.0 * np.linalg.norm(moved) / np.linalg.norm(found)))


def nan(moved: Array, _chance: np.random.Generator) -> Array:
    """A number that is none."""
    return np.where(np.arange(len(moved)) == 0, np.nan, moved)


OF_LABELS: dict[str, Callable[[Array, int, np.random.Generator], Array]] = {"labelflip": label_flip}
OF_UPDATES: dict[str, Callable[[Array, np.random.Generator], Array]] = {
    "signflip": sign_flip,
    "boost": boost,
    "noise": noise,
    "nan": nan,
}
