"""Exact unlearning of a forest on Adult: how much faster than a fit without the row, at which price,
and whether the two are equal.

    python -m bench.privacy.unlearning [--rows 1] [--repeats 15]

Both are timed in one process, in turn, so that the figure is a ratio. An ordinary random forest of
100 trees stands beside it, fitted on the same columns.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.preprocessing import OneHotEncoder

from casemate.estimators import UnlearnableForestClassifier
from casemate.ml.models import dump_skops

ADULT = Path(__file__).parents[2].parent / "shared" / "cases" / "datasets" / "adult"
TARGET = 14


def tables() -> tuple[Any, Any, Any, Any]:
    """(rows to learn [32561, d], whether each earns more, rows to test [16281, d], the same)."""
    read = {"header": None, "skipinitialspace": True}
    taught, asked = (pd.read_csv(ADULT / f"adult-{name}.csv", **read) for name in ("train", "test"))
    words = [name for name in range(TARGET) if not pd.api.types.is_numeric_dtype(taught[name])]
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(taught[words])
    found = []
    for frame in (taught, asked):
        numbers = frame.drop(columns=[*words, TARGET]).to_numpy(np.float32)
        found.append(np.hstack([numbers, encoder.transform(frame[words]).astype(np.float32)]))
        found.append(frame[TARGET].str.startswith(">50K").to_numpy().astype(int))
    return tuple(found)  # type: ignore[return-value]


def timed(work: Any) -> tuple[float, Any]:
    """(seconds, what it gave)."""
    began = time.perf_counter()
    made = work()
    return time.perf_counter() - began, made


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1, help="rows that go at once")
    parser.add_argument("--repeats", type=int, default=15)
    given = parser.parse_args()
    X, y, asked, truth = tables()  # noqa: N806 - as scikit-learn has it
    drawn = np.random.default_rng(0)
    took, ordinary = timed(lambda: RandomForestClassifier(100, random_state=0).fit(X, y))
    anew, quick, equal, scores = [], [], 0, []
    for seed in range(given.repeats):
        gone = drawn.choice(len(X), given.rows, replace=False)
        rest = np.delete(X, gone, axis=0), np.delete(y, gone)
        fitted = UnlearnableForestClassifier(random_state=seed).fit(X, y)
        quick.append(timed(lambda: fitted.unlearn(gone))[0])  # noqa: B023 - called at once
        seconds, again = timed(lambda: UnlearnableForestClassifier(random_state=seed).fit(*rest))  # noqa: B023
        anew.append(seconds)
        equal += dump_skops(fitted.as_sklearn()) == dump_skops(again.as_sklearn())
        scores.append(figures(fitted, asked, truth))
    usual = figures(ordinary, asked, truth)
    mean = np.mean(scores, axis=0)
    print(f"{given.rows} rows of {len(X)}, {given.repeats} forests of 400 trees, 20 hold a row")
    print(f"unlearning {np.median(quick):.3f} s, a fit without them {np.median(anew):.3f} s")
    print(f"ratio {np.median(np.array(anew) / np.array(quick)):.1f}")
    print(f"against an ordinary random forest, {took:.2f} s: {took / np.median(quick):.1f}")
    print(f"equal to the last byte: {equal} of {given.repeats}")
    print(
        f"accuracy {mean[0]:.4f}, ordinary {usual[0]:.4f}: {100 * (mean[0] - usual[0]):+.2f} points"
    )
    print(f"AUC {mean[1]:.4f}, ordinary {usual[1]:.4f}: {100 * (mean[1] - usual[1]):+.2f} points")


def figures(model: Any, asked: Any, truth: Any) -> tuple[float, float]:
    """(accuracy, AUC) on rows that it never saw."""
    probability = model.predict_proba(asked)[:, 1]
    return accuracy_score(truth, probability > 0.5), roc_auc_score(truth, probability)


if __name__ == "__main__":
    main()
