"""Noisy statistics of one column by OpenDP: counts per bin or category, mean; the exact values
never leave this function.

Counts: one row (or subject, who then counts once) changes one bin by one, so discrete Laplace noise
of scale 1 / epsilon is added to every bin (Ghosh, Roughgarden, Sundararajan, STOC 2009). A mean is
the noisy sum of values clipped to declared bounds over the noisy count, half of epsilon each.
"""

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa

from casemate.core.errors import BackendError, ConfigError
from casemate.core.types import Record


class Noisy(Record, frozen=True, kw_only=True):
    """What is told about a column."""

    column: str
    """Its name."""
    labels: list[str]
    """Bins or categories."""
    counts: list[int]
    """Noisy rows (or subjects) per bin; may be negative, because cutting at zero would be another
    statistic.
    """
    mean: float | None
    """Noisy mean of a number."""
    epsilon: float
    """What it cost."""
    scale: float
    """Scale of the noise of every count."""


def require_declared(name: str, limits: Any) -> None:
    """ConfigError when nothing is declared about a column."""
    if not limits:
        raise ConfigError(
            f"nothing is declared about {name!r}",
            hint=(
                "[data.columns] min and max, or categories: they must not be computed from private"
                " rows"
            ),
        )


def noisy(
    values: pa.ChunkedArray, name: str, limits: Any, epsilon: float, owners: Any = None
) -> Noisy:
    """Histogram, and mean of a number.

    Args:
        values: the column.
        name: its name.
        limits: (least, greatest) of a number, or the list of declared categories.
        epsilon: budget; a third goes to the mean of a number.
        owners: subject per row; each counts with one row.

    Raises:
        BackendError: OpenDP is not installed. ConfigError: nothing is declared about the column.
    """
    dp = require_opendp()
    require_declared(name, limits)
    kept = (
        np.arange(len(values))
        if owners is None
        else np.unique(np.asarray(owners), return_index=True)[1]
    )
    column = values.combine_chunks().take(pa.array(kept))
    histogram = epsilon * 2 / 3 if isinstance(limits, tuple) else epsilon
    mean = None
    if isinstance(limits, tuple):
        low, high = limits
        numbers = column.to_numpy(zero_copy_only=False).astype(np.float64)
        numbers = np.clip(numbers[~np.isnan(numbers)], low, high)
        cut = np.linspace(low, high, 11)
        labels = [f"{one:g} to {two:g}" for one, two in itertools.pairwise(cut)]
        exact = np.histogram(numbers, cut)[0]
        mean = _mean(dp, numbers, low, high, epsilon / 3)
    else:
        labels = [*limits, "(other)"]
        texts = Counter(column.to_pylist())
        declared = [texts[label] for label in limits]
        exact = np.array([*declared, texts.total() - sum(declared)])
    scale = 1.0 / histogram
    return Noisy(
        column=name,
        labels=labels,
        counts=noisy_counts([int(count) for count in exact], scale),
        mean=mean,
        epsilon=epsilon,
        scale=scale,
    )


def noisy_counts(exact: list[int], scale: float) -> list[int]:
    """Counts with discrete Laplace noise of `scale` on each of them; BackendError when OpenDP is
    not installed.
    """
    dp = require_opendp()
    space = dp.vector_domain(dp.atom_domain(T=int)), dp.l1_distance(T=int)
    return list((space >> dp.m.then_laplace(scale))(exact))


def require_opendp() -> Any:
    """OpenDP's prelude; BackendError when it is not installed."""
    try:
        import opendp.prelude as dp
    except ImportError as error:
        raise BackendError(
            "OpenDP is not installed", hint='pip install "casemate[private]"'
        ) from error
    dp.enable_features("contrib")
    return dp


def _mean(dp: Any, numbers: Any, low: float, high: float, epsilon: float) -> float:
    """Noisy sum over noisy count; both as whole numbers of a fine grid, so that no floating-point
    bit tells anything.
    """
    grain = (high - low) / 2**20 or 1.0
    whole = int(np.round((numbers - low) / grain).sum())
    single = dp.atom_domain(T="i64"), dp.absolute_distance(T="i64")
    total = (single >> dp.m.then_laplace(2**20 * 2 / epsilon))(whole)
    count = (single >> dp.m.then_laplace(2 / epsilon))(len(numbers))
    return float(np.clip(low + total * grain / max(count, 1), low, high))
