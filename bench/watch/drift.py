"""Drift: false alarms in simulated quarters, and how soon injected shifts are found.

python bench/watch/drift.py [WINDOWS]

WINDOWS is how many windows without change are drawn for each table (default 4000); quarters are
then made of these windows, drawn anew with their seeds printed.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from casemate.watch.budget import FalseAlarms
from casemate.watch.drift import JOINT, Reference

CASES = Path(__file__).parents[3] / "shared" / "cases" / "datasets"
BUDGET = "1 per 90 days"
QUARTERS = 100
JOINT_SHARE = 10
"""One in so many windows is also looked at by the classifier, which is dear."""


def elec() -> pd.DataFrame:
    """Electricity prices in random order: no change is left in them."""
    frame = pd.read_csv(CASES / "drift_elec2" / "elec.csv").drop(columns="target")
    return frame.sample(frac=1.0, random_state=0, ignore_index=True)


def adult() -> pd.DataFrame:
    """Numbers, most of them zeros in two columns, and categories with gaps."""
    frame = pd.read_csv(
        CASES / "adult" / "adult-train.csv", header=None, skipinitialspace=True, na_values="?"
    )
    frame.columns = [f"c{at}" for at in frame.columns]
    return frame.drop(columns="c14").sample(frac=1.0, random_state=0, ignore_index=True)


def telemetry(days: int, seed: int, rows: int = 60) -> pd.DataFrame:
    """Hours of requests whose features follow the time of day and wander a little, without any
    change over the weeks.
    """
    generator = np.random.default_rng(seed)
    hours = np.arange(days * 24)
    wander = np.zeros(len(hours))
    for at in range(1, len(hours)):
        wander[at] = 0.9 * wander[at - 1] + generator.normal(0, 0.1)
    cycle = np.repeat(np.sin(2 * np.pi * hours / 24) + wander, rows)
    size = len(cycle)
    return pd.DataFrame(
        {
            "load": cycle + generator.normal(0, 1, size),
            "size": np.exp(0.3 * cycle + generator.normal(0, 1, size)),
            "count": generator.poisson(np.exp(1 + 0.2 * cycle)),
            "kind": np.where(generator.random(size) < 0.3 + 0.1 * np.tanh(cycle), "web", "batch"),
        }
    )


def quiet(
    name: str, reference: pd.DataFrame, window: Callable[[int], pd.DataFrame], count: int
) -> None:
    """Print the law of the windows' smallest family-wise chances, and the quarters' alarms."""
    hourly = FalseAlarms.parse(BUDGET, 24)
    judged = Reference(reference, list(reference.columns), alarms=hourly)
    look = judged.checks
    start = time.perf_counter()
    alarms, smallest = np.zeros(count, bool), np.ones(count)
    joint = judged._joint
    for at in range(count):
        if at % JOINT_SHARE:
            judged._joint = lambda *_: SILENT  # type: ignore[method-assign]
        else:
            judged._joint = joint  # type: ignore[method-assign]
        found = judged.window(window(at))
        alarms[at] = bool(found.findings)
        smallest[at] = judged.smallest
    print(look, start, JOINT, alarms, smallest)
