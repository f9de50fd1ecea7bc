"""Mean and deviation of numbers that come in pieces."""

import math
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc


@dataclass
class Moments:
    """Count, mean and variance of numbers that come in pieces, put together as Chan, Golub and
    LeVeque say: Updating formulae and a pairwise algorithm for computing sample variances, 1979.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    """Sum of the squared distances from the mean."""

    def add(self, values: pa.ChunkedArray) -> None:
        """The next piece, float64; what is missing does not count."""
        count = len(values) - values.null_count
        if not count:
            return
        mean, total = pc.mean(values).as_py(), self.count + count
        apart = mean - self.mean
        self.squares += pc.variance(values).as_py() * count
        self.squares += apart * apart * self.count * count / total
        self.mean += apart * count / total
        self.count = total

    @property
    def deviation(self) -> float:
        """The standard deviation of them as a whole population."""
        return math.sqrt(self.squares / self.count)
