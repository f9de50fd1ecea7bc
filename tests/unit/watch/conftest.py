"""Tables for the judges of drift and of performance without labels."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

Made = Callable[..., pd.DataFrame]


@pytest.fixture
def made() -> Made:
    """Rows of a population: numbers, a column of mostly zeros, categories, and a calibrated score
    with its outcome.
    """

    def make(count: int, seed: int = 0, shift: float = 0.0) -> pd.DataFrame:
        generator = np.random.default_rng(seed)
        number = generator.normal(shift, 1, count)
        score = 1 / (1 + np.exp(-2 * number))
        return pd.DataFrame(
            {
                "number": number,
                "zeros": np.where(
                    generator.random(count) < 0.95, 0.0, generator.lognormal(5, 1, count)
                ),
                "kind": generator.choice(["a", "b", "c"], count, p=[0.6, 0.3, 0.1]),
                "score": score,
                "y": (generator.random(count) < score).astype(int),
            }
        )

    return make
