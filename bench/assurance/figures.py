"""How often 95 % intervals hold the true figure, and what drift sees and imagines (Morris, White,
Crowther, Statistics in Medicine 38, 2019).

Tables are drawn from known laws: calibrated and stretched logistic scores with 50, 5 and 2 %
positives, quantities with Laplace's and four other kinds of noise, groups with the same and with
other rates. The true figures are known, or integrated over the law: those of a large sample are too
noisy themselves for the intervals of 100 000 rows.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import special, stats
from sklearn import metrics

from casemate.core.types import ColumnSchema, Interval, Schema
from casemate.stages.assess import calibration, fairness, intervals, quality, regression
from casemate.stages.assess.sample import Sample
from casemate.stages.data.checks import drift
from casemate.stages.data.checks.profile import profile

FIGURES = {
    "coverage of exact 95 % intervals": (">=", 0.935),
    "coverage of other 95 % intervals": ("in", 0.935, 0.965),
    "tables without drift called drifted": ("<=", 0.01),
    "drift seen": (">=", 0.95),
}
EXACT = {"accuracy", "f1", "median_absolute_error", "worst_slice_accuracy", *fairness.OF_CLASSES}
"""Their intervals are never too narrow by construction, and so may be too wide; so is that of a
calibration error of 0, which cannot miss below.
"""
GRID = np.linspace(-7, 7, 40_001)
"""Where the law of the scores is integrated, in deviations."""
POINTS = [
    (200, 0.5),
    (200, 0.05),
    (1000, 0.5),
    (1000, 0.02),
    (10_000, 0.02),
    (100_000, 0.5),
    (100_000, 0.02),
]
"""Rows, and share of positives: never fewer than ten of them."""
Array = np.ndarray[Any, Any]


def run(scale: float) -> dict[str, list[dict[str, Any]]]:
    """Every figure; `scale` 1 takes minutes."""
    points = [
        *_classes(scale),
        *_quantities(scale),
        *_groups(scale),
        *_tied(scale),
        *_repeated(scale),
    ]
    exact = [point for point in points if point["exact"]]
    return {
        "coverage of exact 95 % intervals": exact,
        "coverage of other 95 % intervals": [point for point in points if not point["exact"]],
        "tables without drift called drifted": _false_alarms(scale),
        "drift seen": _seen(scale),
    }


def _rounds(scale: float, rows: int) -> int:
    """Fewer of large tables: 2000 of 200 rows, 300 of 100 000."""
    return max(int(scale * max(300, min(2000, 10_000_000 // rows))), 5)


def _law(place: Array, rate: float, stretch: float) -> tuple[Array, Array]:
    """(true probability, what the model says) of standard normal places: AUC about .84, calibrated
    at stretch 1.
    """
    logits = {0.5: 0.0, 0.05: -3.75, 0.02: -4.85}[rate] + 1.5 * place
    return special.expit(logits), special.expit(stretch * logits)


def stepped(said: Array, steps: int) -> Array:
    """Probabilities in so many steps, as a small tree tells them; 0: as they are."""
    return (np.minimum(np.floor(said * steps), steps - 1) + 0.5) / steps if steps else said


def scored(
    generator: np.random.Generator, rows: int, rate: float, stretch: float = 1.0, steps: int = 0
) -> tuple[Array, Array, Array]:
    """(codes, labels, probabilities) of rows that are drawn."""
    chance, said = _law(generator.standard_normal(rows), rate, stretch)
    said = stepped(said, steps)
    codes = (generator.random(rows) < chance).astype(np.int64)
    return codes, (said > min(0.5, 4 * rate)).astype(np.int64), np.column_stack([1 - said, said])


def true_figures(rate: float, stretch: float, steps: int = 0) -> dict[str, float]:
    """What `quality.figures` estimates: every place of the grid as a positive and as a negative,
    weighted.
    """
    chance, said = _law(GRID, rate, stretch)
    said = stepped(said, steps)
    density = stats.norm.pdf(GRID) / stats.norm.pdf(GRID).sum()
    codes, twice = np.repeat([1, 0], len(GRID)), np.tile(said, 2)
    labels, weight = (
        (twice > min(0.5, 4 * rate)).astype(int),
        np.concatenate([density * chance, density * (1 - chance)]),
    )
    part = np.minimum((np.cumsum(density) * calibration.BINS).astype(int), calibration.BINS - 1)
    gaps = np.bincount(part, density * (chance - said)) / np.bincount(part, density)
    return {
        "roc_auc": float(metrics.roc_auc_score(codes, twice, sample_weight=weight)),
        "average_precision": float(
            metrics.average_precision_score(codes, twice, sample_weight=weight)
        ),
        "f1": float(metrics.f1_score(codes, labels, sample_weight=weight)),
        "brier": float(np.sum(weight * (twice - codes) ** 2)),
        "accuracy": float(np.sum(weight * (labels == codes))),
        "balanced_accuracy": float(
            metrics.balanced_accuracy_score(codes, labels, sample_weight=weight)
        ),
        "log_loss": float(-np.sum(weight * np.log(np.where(codes == 1, twice, 1 - twice)))),
        "calibration_error": float(np.sum(np.bincount(part, density) * gaps**2) ** 0.5),
    }


def _classes(scale: float) -> Iterator[dict[str, Any]]:
    for rows, rate in POINTS:
        for stretch in (1.0, 1.5):
            truth = true_figures(rate, stretch)
            where = f"{rate:.0%} positives" + ("" if stretch == 1.0 else ", too sure")
            yield from _held(
                scale,
                rows,
                where,
                truth,
                lambda g, n=rows, r=rate, s=stretch: quality.figures(*scored(g, n, r, s)),
            )


def _tied(scale: float) -> Iterator[dict[str, Any]]:
    for rows, rate in ((200, 0.5), (1000, 0.05)):
        truth = true_figures(rate, 1.0, 10)
        del truth["calibration_error"]  # its parts are not those of the law
        yield from _held(
            scale,
            rows,
            f"{rate:.0%} positives, ten scores",
            truth,
            lambda g, n=rows, r=rate: quality.figures(*scored(g, n, r, 1.0, 10)),
        )


def repeated(
    generator: np.random.Generator, subjects: int, each: int, law: str
) -> tuple[Array, Array, Array]:
    """(codes, labels, probabilities) of subjects with several rows: with a label of their own, or
    with an intercept.
    """
    place = generator.standard_normal((subjects, each))
    if law == "a label a subject":
        ill = generator.random((subjects, 1)) < 0.4
        codes = np.repeat(ill, each, 1).astype(int)
        place = 1.2 * ill + generator.standard_normal((subjects, 1)) + 0.6 * place - 0.6
    else:
        codes = (
            generator.random(place.shape)
            < special.expit(1.5 * place + 2 * generator.standard_normal((subjects, 1)))
        ).astype(int)
    said = special.expit(1.5 * place.ravel())
    return codes.ravel(), (said > 0.5).astype(int), np.column_stack([1 - said, said])


def _repeated(scale: float) -> Iterator[dict[str, Any]]:
    """Subjects with several rows (intraclass correlation of the label 1, and about .35); the truth
    is that of 500 000 rows.
    """
    for law, subjects, each in (("a label a subject", 50, 10), ("an intercept a subject", 40, 20)):
        codes, labels, probabilities = repeated(
            np.random.default_rng(1), 500_000 // each, each, law
        )
        truth = {
            name: statistic(codes, labels, probabilities)
            for name, statistic in quality.statistics(2).items()
        }
        whose = np.repeat(np.arange(subjects), each)
        yield from _held(
            scale,
            subjects * each,
            law,
            truth,
            lambda g, m=subjects, k=each, of=law, w=whose: quality.figures(
                *repeated(g, m, k, of), w
            ),
        )


def quantities(generator: np.random.Generator, rows: int) -> tuple[Array, Array]:
    """(truth, prediction) [n, 1] with errors of Laplace's law (kurtosis 6)."""
    found = generator.standard_normal((rows, 1))
    return found + 0.7 * generator.laplace(size=(rows, 1)) / 2**0.5, found


NOISE: dict[str, Callable[[np.random.Generator, Array], Array]] = {
    "normal errors": lambda g, at: g.standard_normal(at.shape),
    "Student's errors": lambda g, at: g.standard_t(5, at.shape) / (5 / 3) ** 0.5,
    "skewed errors": lambda g, at: g.exponential(size=at.shape) - 1,
    "errors that grow": lambda g, at: g.standard_normal(at.shape) * np.abs(at),
}
"""Laws of errors of variance 1, beside Laplace's."""


def uneven(generator: np.random.Generator, rows: int, law: str) -> tuple[Array, Array]:
    """(truth, prediction) [n, 1] with errors of one of the laws of `NOISE`."""
    found = generator.standard_normal((rows, 1))
    return found + 0.7 * NOISE[law](generator, found), found


def _quantities(scale: float) -> Iterator[dict[str, Any]]:
    unit = 0.7 / 2**0.5
    truth = {
        "r2": 1 - 0.49 / 1.49,
        "worst_target_r2": 1 - 0.49 / 1.49,
        "rmse": 0.7,
        "mae": unit,
        "median_absolute_error": unit * float(np.log(2)),
    }
    for rows in (200, 1000, 10_000, 100_000):
        yield from _held(
            scale,
            rows,
            "quantities",
            truth,
            lambda g, n=rows: regression.figures(*quantities(g, n), 300, 0),
        )
    for law in NOISE:
        for rows in (200, 500, 2000):
            yield from _held(
                scale,
                rows,
                law,
                {name: truth[name] for name in ("r2", "rmse")},
                lambda g, n=rows, law=law: regression.figures(*uneven(g, n, law), 300, 0),
            )


def _groups(scale: float) -> Iterator[dict[str, Any]]:
    for rows in (200, 1000, 10_000, 100_000):
        for rates in ((0.4, 0.4), (0.3, 0.5), (0.4, 0.4, 0.4, 0.4), (0.2, 0.4, 0.4, 0.6)):
            truth = dict.fromkeys(fairness.OF_CLASSES, max(rates) - min(rates))
            if len(rates) == 4 and rows < 400:
                continue  # a group has fewer than twenty rows a class: no figure
            yield from _held(
                scale,
                rows,
                f"{len(rates)} groups, rates {min(rates)} to {max(rates)}",
                truth,
                lambda g, n=rows, r=rates: _fair(g, n, r),
            )
        yield from _held(
            scale,
            rows,
            "4 slices",
            {"worst_slice_accuracy": 0.7},
            lambda g, n=rows: {"worst_slice_accuracy": _worst(g, n)},
        )


def _fair(
    generator: np.random.Generator, rows: int, rates: tuple[float, ...]
) -> dict[str, Interval]:
    groups = np.arange(rows) % len(rates)
    codes = np.arange(rows) // len(rates) % 2
    labels = (generator.random(rows) < np.array(rates)[groups]).astype(np.int64)
    schema = Schema(target="y", classes=["0", "1"], columns=[ColumnSchema(name="g", type="number")])
    return fairness.measure(
        (labels, labels), Sample(pd.DataFrame({"g": groups.astype(float)}), codes), schema, ["g"]
    )[0]


def _worst(generator: np.random.Generator, rows: int) -> Interval:
    count = rows // 4
    hits = [int(generator.binomial(count, share)) for share in (0.7, 0.8, 0.8, 0.9)]
    return intervals.least(lambda level: [intervals.share(right, count, level) for right in hits])


def _held(
    scale: float,
    rows: int,
    where: str,
    truth: dict[str, float],
    draw: Callable[[np.random.Generator], dict[str, Interval]],
) -> Iterator[dict[str, Any]]:
    """One point a figure: how often the interval held the truth, was all above it, and all below
    it.
    """
    generator, rounds = np.random.default_rng([rows, *where.encode()]), _rounds(scale, rows)
    above, below, seen = (dict.fromkeys(truth, 0.0) for _ in range(3))
    for _ in range(rounds):
        told = draw(generator)
        for name, one in ((name, told[name]) for name in truth):
            above[name] += one.low > truth[name]
            below[name] += one.high < truth[name]
            seen[name] += one.value
    for name, true in truth.items():
        yield {
            "series": name,
            "x": rows,
            "where": where,
            "value": 1 - (above[name] + below[name]) / rounds,
            "above": above[name] / rounds,
            "below": below[name] / rounds,
            "bias": seen[name] / rounds - true,
            "exact": name in EXACT or (name == "calibration_error" and true == 0),
            "rounds": rounds,
        }


LAWS: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "normal": lambda g, n: g.standard_normal(n),
    "counts": lambda g, n: g.poisson(3, n).astype(float),
    "96 % zeros": lambda g, n: np.where(g.random(n) < 0.96, 0.0, g.lognormal(3, 1, n)),
    "codes": lambda g, n: g.choice([1.0, 2.0, 3.0], n),
}
MOVES: dict[str, Callable[[Array, np.random.Generator], Array]] = {
    "code 3 becomes 9": lambda v, _: np.where(v == 3, 9.0, v),
    "positives x 100": lambda v, _: v * 100,
    "half a deviation up": lambda v, _: v + 0.5 * v.std(),
    "half a deviation down": lambda v, _: v - 0.5 * v.std(),
    "a third missing": lambda v, g: np.where(g.random(len(v)) < 1 / 3, np.nan, v),
}
SEEN = [
    ("codes", "code 3 becomes 9"), ("96 % zeros", "positives x 100"),
    ("normal", "half a deviation up"), ("normal", "half a deviation down"),
    ("counts", "a third missing"),
]  # fmt: skip


def _alarm(before: Array, after: Array, whose: Array | None = None) -> bool:
    schema = Schema(target="y", classes=["0", "1"], columns=[ColumnSchema(name="v", type="number")])
    first, second = (
        pa.table({"v": pa.array(values, pa.float64(), from_pandas=True)})
        for values in (before, after)
    )
    pinned = profile(first, schema, None, whose)
    return (
        drift.check(pinned, profile(second, schema, pinned, whose), "before")[0].figures["drift"]
        > drift.SOME
    )


def _false_alarms(scale: float) -> list[dict[str, Any]]:
    points = []
    for name, law in LAWS.items():
        for rows in (200, 2000, 20_000):
            generator, rounds = np.random.default_rng(rows), _rounds(scale, 10_000)
            alarms = sum(_alarm(law(generator, rows), law(generator, rows)) for _ in range(rounds))
            points.append({"series": name, "x": rows, "value": alarms / rounds, "rounds": rounds})
    for subjects in (100, 500):
        generator, rounds, whose = (
            np.random.default_rng(subjects),
            _rounds(scale, 10_000),
            np.repeat(np.arange(subjects), 20),
        )
        alarms = sum(
            _alarm(*(_by_subject(generator, subjects, 20) for _ in range(2)), whose)
            for _ in range(rounds)
        )
        points.append(
            {
                "series": "subjects of 20 rows",
                "x": 20 * subjects,
                "value": alarms / rounds,
                "rounds": rounds,
            }
        )
    return points


def _by_subject(generator: np.random.Generator, subjects: int, each: int) -> Array:
    return np.repeat(generator.standard_normal(subjects), each) + 0.2 * generator.standard_normal(
        subjects * each
    )


def _seen(scale: float) -> list[dict[str, Any]]:
    points = []
    for law, move in SEEN:
        for rows in (500, 2000, 20_000):
            generator, rounds = np.random.default_rng(rows), _rounds(scale / 5, 10_000)
            pairs = (
                (LAWS[law](generator, rows), MOVES[move](LAWS[law](generator, rows), generator))
                for _ in range(rounds)
            )
            points.append(
                {
                    "series": move,
                    "x": rows,
                    "value": sum(_alarm(*pair) for pair in pairs) / rounds,
                    "rounds": rounds,
                }
            )
    return points
