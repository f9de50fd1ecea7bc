"""Anomalies: the score on NAB's series beside peers, false alarms in simulated quarters, the cost.

CASEMATE_PEERS=PYTHON python bench/watch/anomalies.py [QUARTERS [NAB]]

PYTHON is that of an environment with river and scikit-learn; without it the peers are left out,
visibly. QUARTERS are simulated for each kind of stream (default 100; 0: none). NAB is a folder of
the corpus (default: the 21 series beside the repository). Peers get the threshold that is best for
them on these very series; ours has its defaults, which say one in five hundred points by chance,
and the figures with a half and with twice as many points beside them.
"""

import json
import os
import subprocess
import sys
import time
from datetime import UTC
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import nab

from casemate.watch.anomalies import Detector

BUDGET = "1 per 90 days"
HOURS = 90 * 24
OTHERS = ("1 per 40 points", "1 per 150 points")
"""Budgets around the default, which show how much it decides."""
PEER = os.environ.get("CASEMATE_PEERS", "")


def streams(seed: int) -> dict[str, np.ndarray]:
    """A quarter of hours of each kind, none of which changes."""
    draw = np.random.default_rng(seed)
    hours = np.arange(HOURS)
    day = np.sin(2 * np.pi * hours / 24)
    noise = draw.normal(size=HOURS)
    wander = np.zeros(HOURS)
    for at in range(1, HOURS):
        wander[at] = 0.8 * wander[at - 1] + noise[at]
    is_weekend = hours // 24 % 7 >= 5
    return {
        "a day and noise": 50 + 10 * day + 3 * noise,
        "noise": 50 + noise,
        "a day and noise that wanders": 50 + 6 * day + wander,
        "lognormal": np.exp(3 + 0.5 * day + 0.4 * noise),
        "counts": draw.poisson(np.exp(2.5 + 0.8 * day)).astype(float),
        "small counts": draw.poisson(0.3, HOURS).astype(float),
        "t with 4 degrees of freedom": 50 + 6 * day + draw.standard_t(4, HOURS),
        "a week": 100 + 20 * day * np.where(is_weekend, 0.3, 1) - 10 * is_weekend + 4 * noise,
        "on and off": np.where((hours % 24 >= 9) & (hours % 24 < 18), 80.0, 20.0) + 2 * noise,
        "noisier by day": 50 + 20 * day + 2 * (1 + 2 * (day > 0)) * noise,
    }


def quarters(count: int) -> None:
    """Print in what share of quarters without a change the budget holds."""
    alarms: dict[str, list[int]] = {}
    for seed in range(count):
        for kind, values in streams(seed).items():
            detector = Detector(false_alarms=BUDGET)
            found = [
                detector.update(3600.0 * at, one).anomaly for at, one in enumerate(values.tolist())
            ]
            alarms.setdefault(kind, []).append(sum(found))
    for kind, each in alarms.items():
        print(
            f"{kind}: {np.mean(each):.2f} alarms in a quarter of hours, at most one in"
            f" {np.mean(np.array(each) <= 1):.0%} of {count}"
        )


def ours(series: list[nab.Series], **options: str) -> dict[str, list[int]]:
    """Rows with an alarm, by series."""
    found, points, start = {}, 0, time.process_time()
    for one in series:
        detector = Detector(**options)
        times = [moment.replace(tzinfo=UTC).timestamp() for moment in one.times]
        judged = [detector.update(*point) for point in zip(times, one.values, strict=True)]
        found[one.name] = [at for at, said in enumerate(judged) if said.anomaly]
        points += len(times)
    each = (time.process_time() - start) / points * 1e6
    print(f"{len(series)} series, {points} points, {each:.0f} microseconds of CPU a point")
    return found


def spread(series: list[nab.Series], alarms: dict[str, list[int]]) -> None:
    """Print each series, and how the score changes with the series that are looked at."""
    standard = nab.PROFILES["standard"]
    for one in series:
        raw = nab.raw(len(one.times), one.windows, alarms[one.name], standard)
        print(f"  {one.name}: {raw:.2f} of {len(one.windows)}")
    without = [
        nab.score([one for one in series if one is not other], alarms, standard) for other in series
    ]
    halves = [nab.score(series[at::2], alarms, standard) for at in range(2)]
    print(
        f"without any one series {min(without):.1f} to {max(without):.1f}; every second series"
        f" {halves[0]:.1f}, the others {halves[1]:.1f}"
    )


def shown(name: str, series: list[nab.Series], alarms: dict[str, list[int]]) -> None:
    """Print the three scores of one way to alarm."""
    scores = ", ".join(
        f"{kind} {nab.score(series, alarms, profile):.1f}" for kind, profile in nab.PROFILES.items()
    )
    print(f"{name}: {scores}; {sum(len(one) for one in alarms.values())} alarms")


def best(series: list[nab.Series], scores: list[list[float]]) -> dict[str, list[int]]:
    """The alarms of the threshold that scores most in the standard profile."""
    marks = np.unique(np.quantile(np.concatenate(scores), 1 - np.geomspace(1e-5, 0.2, 40)))
    tried = [
        {
            one.name: np.flatnonzero(np.array(each) >= mark).tolist()
            for one, each in zip(series, scores, strict=True)
        }
        for mark in marks
    ]
    return max(tried, key=lambda alarms: nab.score(series, alarms, nab.PROFILES["standard"]))


def peers(series: list[nab.Series]) -> None:
    """Print what the others score."""
    if not PEER:
        print("peers: skipped, CASEMATE_PEERS names no environment with river and scikit-learn")
        return
    script = Path(__file__).parent / "anomaly_peers.py"
    done = subprocess.run(
        [PEER, str(script)],
        input=json.dumps([one.values for one in series]),
        capture_output=True,
        text=True,
        timeout=3000,
        check=True,
    )
    for name, scores in json.loads(done.stdout).items():
        if name == "isolation forest":  # says itself what is an outlier
            alarms = {
                one.name: [at for at, score in enumerate(each) if score]
                for one, each in zip(series, scores, strict=True)
            }
        else:
            alarms = best(series, scores)
        shown(name, series, alarms)


def main(count: int, folder: Path) -> None:
    """Print every figure."""
    series = nab.corpus(folder)
    alarms = ours(series)
    shown("casemate", series, alarms)
    spread(series, alarms)
    for budget in OTHERS:
        shown(f"casemate, {budget}", series, ours(series, false_alarms=budget))
    peers(series)
    quarters(count)


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 100,
        Path(sys.argv[2]) if len(sys.argv) > 2 else nab.FOLDER,
    )
