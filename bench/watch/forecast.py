"""Forecasts of a day on NAB's series, beside AutoETS and SeasonalNaive on the same histories.

CASEMATE_STATSFORECAST=PYTHON python bench/watch/forecast.py

PYTHON is that of an environment with statsforecast 2; without it its figures are left out, visibly.
Each series is continued from ten points of its second half; the rest is what is compared.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import nab

from casemate.watch.forecasts import quantiles

PEER = os.environ.get("CASEMATE_STATSFORECAST", "")
SHARES = (0.05, 0.5, 0.95)
ORIGINS = 10


def loss(said: np.ndarray, actual: np.ndarray) -> float:
    """The mean pinball loss of the three quantiles."""
    gaps = actual - said
    level = np.array(SHARES)[:, None]
    return float(np.maximum(level * gaps, (level - 1) * gaps).mean())


def cases() -> list[tuple[str, np.ndarray, np.ndarray]]:
    """(series, history, the day that followed)."""
    found = []
    for one in nab.corpus():
        values = np.array(one.values)
        day = 48 if "nyc_taxi" in one.name else 288
        half = len(values) / 2
        for at in range(ORIGINS):
            now = int(half + (half - day) * at / (ORIGINS - 1))
            found.append((one.name, values[:now], values[now : now + day]))
    return found


def peer(all_cases: list[tuple[str, np.ndarray, np.ndarray]]) -> dict[str, list[np.ndarray]]:
    """What statsforecast says, by model; nothing where it is not installed."""
    if not PEER:
        print("peers: skipped, CASEMATE_STATSFORECAST names no environment with statsforecast")
        return {}
    asked = [
        {"values": history.tolist(), "season": len(actual), "horizon": len(actual)}
        for _, history, actual in all_cases
    ]
    script = Path(__file__).parent / "statsforecast_peer.py"
    done = subprocess.run(
        [PEER, str(script)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=6000,
        check=True,
    )
    said = json.loads(done.stdout)
    return {name: [np.array(one[name]) for one in said] for name in said[0]}


def main() -> None:
    """Print every figure."""
    all_cases = cases()
    start = time.perf_counter()
    own = [quantiles(past, len(real), len(real), SHARES) for _, past, real in all_cases]
    print(f"{(time.perf_counter() - start) / len(own):.2f} s a forecast")
    others = peer(all_cases)
    names = list(dict.fromkeys(name for name, _, _ in all_cases))
    held, ratios = [], {name: [] for name in others}
    for name in names:
        mine = [at for at, case in enumerate(all_cases) if case[0] == name]
        inside = [
            np.mean((own[at][0] <= all_cases[at][2]) & (all_cases[at][2] <= own[at][2]))
            for at in mine
        ]
        held.append(np.mean(inside))
        lost = np.mean([loss(own[at], all_cases[at][2]) for at in mine])
        line = f"{name}: 90 % intervals hold {held[-1]:.1%}"
        for other, said in others.items():
            theirs = np.mean([loss(said[at], all_cases[at][2]) for at in mine])
            ratios[other].append(lost / theirs)
            line += f", loss {lost / theirs:.3f} x {other}"
        print(line)
    print(f"all: 90 % intervals hold {np.mean(held):.1%} of points")
    for other, each in ratios.items():
        better = sum(one < 1 for one in each)
        print(f"loss {np.median(each):.3f} x {other} (median), less in {better} of {len(each)}")


if __name__ == "__main__":
    main()
