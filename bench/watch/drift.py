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
from casemate.watch.drift import Reference

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
    """Print how often windows without any change alarm, and in how many quarters that is within
    the budget.
    """
    start = time.perf_counter()
    alarms, least = [], []
    for joint in (False, True):
        judged = Reference(
            reference,
            list(reference.columns),
            alarms=FalseAlarms.parse(BUDGET, HOURLY),
            is_joint=joint,
        )
        for at in range(count // JOINT_SHARE if joint else count):
            found = judged.window(window(at))
            least.append(found.least)
            alarms.append(bool(found.findings))
    law = ", ".join(f"{np.mean(np.array(least) <= at):.4f} at {at:g}" for at in (0.1, 0.01))
    drawn = np.random.default_rng(1).integers(0, len(alarms), (QUARTERS, 90 * 24))
    kept = np.mean(np.array(alarms)[drawn].sum(axis=1) <= 1)
    print(
        f"{name}: {sum(alarms)} alarms in {len(alarms)} windows; at most one in {kept:.0%} of"
        f" {QUARTERS} quarters; family-wise chances {law}; {time.perf_counter() - start:.0f} s"
    )


def injected(frame: pd.DataFrame, reference: int, number: str, category: str) -> None:
    """Print in what share of windows of each size each shift is found, with an hourly budget."""
    judged = Reference(
        frame.iloc[:reference],
        list(frame.columns),
        alarms=FalseAlarms.parse(BUDGET, HOURLY),
        is_ordered=False,
    )
    rest = frame.iloc[reference:]
    spread = float(frame[number].std())
    for kind, change in CHANGES.items():
        shares = []
        for size in SIZES:
            found = 0
            for seed in range(SEEDS):
                generator = np.random.default_rng(seed)
                rows = rest.sample(size, random_state=seed).reset_index(drop=True)
                shifted = change(
                    rows, number if "categ" not in kind else category, spread, generator
                )
                found += bool(judged.window(shifted).findings)
            shares.append(f"{found / SEEDS:.0%} at {size}")
        print(f"{kind}: found in {', '.join(shares)} rows")


def moved(rows: pd.DataFrame, name: str, spread: float, _: np.random.Generator) -> pd.DataFrame:
    """Half a deviation more."""
    return rows.assign(**{name: rows[name] + spread / 2})


def renamed(rows: pd.DataFrame, name: str, _: float, draw: np.random.Generator) -> pd.DataFrame:
    """A category that is new, in 2 % of rows."""
    return rows.assign(**{name: rows[name].mask(draw.random(len(rows)) < 0.02, "new")})


def emptied(rows: pd.DataFrame, name: str, _: float, draw: np.random.Generator) -> pd.DataFrame:
    """A gap in 5 % of rows."""
    return rows.assign(**{name: rows[name].mask(draw.random(len(rows)) < 0.05)})


def scaled(rows: pd.DataFrame, name: str, _: float, __: np.random.Generator) -> pd.DataFrame:
    """Another unit: months instead of years."""
    return rows.assign(**{name: rows[name] * 12})


def partly(rows: pd.DataFrame, name: str, _: float, draw: np.random.Generator) -> pd.DataFrame:
    """Another unit in 5 % of rows."""
    return rows.assign(**{name: rows[name].mask(draw.random(len(rows)) < 0.05, rows[name] * 12)})


CHANGES = {
    "half a deviation": moved,
    "new category at 2 %": renamed,
    "missing at 5 %": emptied,
    "another unit": scaled,
    "another unit at 5 %": partly,
}
SIZES = (100, 200, 300, 500, 1000)
SEEDS = 20


def harmless(count: int) -> None:
    """Print how many windows of a moved population page, where the model is as good as before."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    frame = adult()
    raw = pd.read_csv(CASES / "adult" / "adult-train.csv", header=None, skipinitialspace=True)
    outcome = raw[14].sample(frac=1.0, random_state=0, ignore_index=True) == ">50K"
    frame["y"] = outcome.astype(int)
    features = [name for name in frame if name != "y"]
    numbers = frame[features].select_dtypes("number").columns
    model = HistGradientBoostingClassifier(max_iter=60, random_state=0)
    model.fit(frame.loc[:11999, numbers], frame.loc[:11999, "y"])
    frame["p"] = model.predict_proba(frame[numbers])[:, 1]
    judged = Reference(
        frame.iloc[12000:20000],
        features,
        alarms=FalseAlarms.parse(BUDGET, HOURLY),
        score="p",
        target="y",
    )
    rest = frame.iloc[20000:]
    # more of the public service and of the educated, whom the model knows as well
    weights = np.where(rest["c1"].isin(["State-gov", "Local-gov", "Federal-gov"]), 3.0, 1.0)
    pages = notes = 0
    for seed in range(count):
        window = rest.sample(1000, weights=weights, random_state=seed).drop(columns="y")
        found = judged.window(window)
        pages, notes = pages + found.page, notes + (bool(found.findings) and not found.page)
    print(f"a population move that does not hurt: {pages} pages, {notes} notes in {count} windows")


def main(count: int) -> None:
    """Print every figure."""
    table = elec()
    quiet("elec2", table[:20000], lambda at: table[20000:].sample(300, random_state=at), count)
    table = adult()
    quiet("adult", table[:10000], lambda at: table[10000:].sample(300, random_state=at), count)
    before, after = telemetry(60, 0), telemetry(90, 1)
    hours = np.random.default_rng(0).permutation(90 * 24)
    quiet(
        "telemetry",
        before,
        lambda at: after.iloc[60 * hours[at % len(hours)] :][:60],
        min(count, len(hours)),
    )
    injected(adult(), 10000, "c0", "c6")
    harmless(30)


HOURLY = 24.0
if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4000)
