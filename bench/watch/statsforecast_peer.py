"""Runs in statsforecast's own environment: forecasts of AutoETS and SeasonalNaive, as JSON.

python statsforecast_peer.py < CASES

CASES is JSON: a list of {"values", "season", "horizon"}, each a history to be continued.
"""

import json
import os
import sys

os.environ["NIXTLA_ID_AS_COL"] = "1"

import numpy as np
from statsforecast.models import AutoETS, SeasonalNaive


def quantiles(model: object, values: np.ndarray, horizon: int) -> list[list[float]]:
    """The 5 %, 50 % and 95 % quantiles of each step."""
    said = model.fit(values).predict(h=horizon, level=[90])
    return [np.asarray(said[name], float).tolist() for name in ("lo-90", "mean", "hi-90")]


def main() -> None:
    """Print each case's forecasts."""
    found = []
    for case in json.load(sys.stdin):
        values = np.array(case["values"], np.float64)
        # above 24 its ETS knows no season: the library's own limit
        ets = AutoETS(season_length=case["season"] if case["season"] <= 24 else 1)
        naive = SeasonalNaive(season_length=case["season"])
        found.append(
            {
                "AutoETS": quantiles(ets, values, case["horizon"]),
                "SeasonalNaive": quantiles(naive, values, case["horizon"]),
            }
        )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
