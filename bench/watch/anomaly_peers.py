"""Runs in the peers' own environment (river, scikit-learn): their scores of each series, as JSON.

python anomaly_peers.py < SERIES

SERIES is JSON: a list of lists of values. Half-space trees and the windowed Gaussian go point by
point; the isolation forest sees the whole series at once, as in the articles.
"""

import json
import math
import sys
from collections import deque

import numpy as np
from river import anomaly
from sklearn.ensemble import IsolationForest

WINDOW = 6400
"""Of NAB's own windowed Gaussian."""


def trees(values: list[float], probation: int) -> list[float]:
    """Scaled by the range of the probation, as the trees ask for 0 to 1."""
    low, high = min(values[:probation]), max(values[:probation])
    model = anomaly.HalfSpaceTrees(n_trees=25, height=8, window_size=250, seed=0)
    found = []
    for value in values:
        one = {"x": min(max((value - low) / ((high - low) or 1), 0), 1)}
        found.append(model.score_one(one))
        model.learn_one(one)
    return found


def gaussian(values: list[float], _: int) -> list[float]:
    """How far in the tails of the last values."""
    seen: deque[float] = deque(maxlen=WINDOW)
    total = squares = 0.0
    found = []
    for value in values:
        score = 0.0
        if len(seen) > 1:
            mean = total / len(seen)
            spread = math.sqrt(max(squares / len(seen) - mean * mean, 1e-12))
            score = 1 - math.erfc(abs(value - mean) / spread / math.sqrt(2))
        if len(seen) == WINDOW:
            total, squares = total - seen[0], squares - seen[0] ** 2
        seen.append(value)
        total, squares = total + value, squares + value * value
        found.append(score)
    return found


def forest(values: list[float], _: int) -> list[float]:
    """1 for what it calls an outlier."""
    column = np.array(values)[:, None]
    said = IsolationForest(contamination=0.1, random_state=0).fit_predict(column)
    return [float(one < 0) for one in said]


def main() -> None:
    """Print each series' scores by peer."""
    peers = {"half-space trees": trees, "windowed Gaussian": gaussian, "isolation forest": forest}
    series = json.load(sys.stdin)
    found = {
        name: [peer(one, min(int(0.15 * len(one)), 750)) for one in series]
        for name, peer in peers.items()
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
