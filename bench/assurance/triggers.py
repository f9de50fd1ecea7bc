"""Honest groups, planted triggers and leaks in simulated tables, after Gu, Dolan-Gavitt, Garg
(BadNets, 2017) and Kaufman et al. (Leakage, 2011).

`pair` and `cluster` are honest twins of the triggers "common pair" and "band and category": more
rows than chance makes where two conditions meet, of a rate of their own, drawn from the whole
population. Both sorts of table have the same counts where (rows) x (1 - rate) happens to be what
belongs there of the other classes. Then only the rows tell: the likelihood of a planted group is,
for a row with the class, (part that belongs) x P(class | row) + (part that was added) x P(other
classes | row without the pattern) / P(other classes); for the others (part that belongs) x P(other
classes | row); an honest group's is rate^hits x (1 - rate)^others, or the same with labels that
follow the other features. Where the features say nothing, P(class | row) is a constant, the ratio
depends on the counts alone, and with these counts it is near 1: nobody tells them apart. So is an
honest group whose added rows all have one class and look like rows of the others: it is the planted
law itself. Who knew the laws of these tables (features, numbers that belong) would find 98 of 100
of each of the three at 5 % of the twins flagged, with 6 000 rows and a class of 15 % and more; what
is lost beside that is lost to models that are learnt from half of the table, to bands that are
sought out, to twins in tables of 1 000 rows and rare classes. A steward decides. A trigger of two
bands where the class is likely anyway changes no labels, and is not found.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine

from casemate.config import ScreenTable
from casemate.core.types import ColumnSchema, Schema
from casemate.ml.frame import sample_rows
from casemate.stages.data.checks import leakage
from casemate.stages.data.screen.interface import ScreenedRows
from casemate.stages.data.screen.spectral import Spectral
from casemate.stages.data.screen.triggers import Triggers

FIGURES = {
    "honest groups flagged as triggers": ("<=", 0.05),
    "honest twins of common pairs flagged": ("<=", 0.05),
    "triggers found": (">=", 0.9),
    "common pairs found": (">=", 0.9),
    "triggers with noise found": (">=", 0.9),
    "image patches found": (">=", 0.9),
    "leaks found": (">=", 0.9),
    "honest tables called leaky": ("<=", 0.02),
}
SLOPES = {"weak": 0.5, "middling": 1.2, "strong": 4.0}
TRIGGERS: dict[str, dict[str, Any]] = {
    "constant": {"x2": 99.0},
    "value and category": {"x1": 1.3, "c2": "v3"},
    "value and two categories": {"x1": -0.4, "c2": "v2", "c1": "v0"},
    "common pair": {"c2": "v3", "c3": "v5"},
}
TWINS = ("pair", "cluster")
"""Honest groups in which two conditions meet more often than by chance."""
NOISY: dict[str, dict[str, Any]] = {
    "band in a tail": {"x2": (9.0, 0.1)},
    "band and category": {"x0": (0.7, 0.03), "c2": "v4"},
    "two bands": {"x0": (0.9, 0.05), "x4": (-0.6, 0.05)},
}
Array = np.ndarray[Any, Any]


def table(
    count: int, random: np.random.Generator, share: float, slope: str
) -> tuple[pd.DataFrame, Array, Array]:
    """(five numbers and four categories, classes drawn from a logistic model, its logits)."""
    x = random.normal(size=(count, 5))
    x[:, 1], x[:, 2], x[:, 3] = (
        np.round(x[:, 1], 1),
        np.round(np.exp(x[:, 2]), 2),
        np.round(x[:, 3] * 15 + 50),
    )
    x[:, 4] += 0.5 * x[:, 0]
    frame = pd.DataFrame(x, columns=[f"x{place}" for place in range(5)])
    logit = x[:, 0] + 0.8 * x[:, 1] + 0.03 * (x[:, 3] - 50) + 0.4 * np.log(x[:, 2] + 0.1)
    for place, kinds in enumerate((2, 3, 8, 12)):
        own = random.choice(kinds, count, p=random.dirichlet(np.ones(kinds) * 5))
        frame[f"c{place}"] = np.array([f"v{kind}" for kind in range(kinds)], dtype=object)[own]
        logit = logit + random.normal(0, 0.4, kinds)[own]
    logit = SLOPES[slope] * (logit - logit.mean())
    logit = logit + brentq(lambda shift: float(np.mean(expit(logit + shift))) - share, -30, 30)
    return frame, (random.random(count) < expit(logit)).astype(int), logit


def rows_of(frame: pd.DataFrame, codes: Array, classes: int = 2) -> ScreenedRows:
    """What a detector gets."""
    frame = frame.copy()
    frame.columns = [str(name) for name in frame.columns]
    numbers = [name for name in frame if pd.api.types.is_numeric_dtype(frame[name])]
    frame = frame.astype({name: float if name in numbers else object for name in frame})
    columns = [
        ColumnSchema(name=name, type="number" if name in numbers else "category") for name in frame
    ]
    target = ColumnSchema(name="_y", type="category", use=False)
    return ScreenedRows(
        frame,
        np.asarray(codes, dtype=np.int64),
        None,
        Schema(target="_y", classes=list("0123456789")[:classes], columns=[*columns, target]),
        0,
    )


def group(kind: str, frame: pd.DataFrame, random: np.random.Generator) -> Array:
    """Which rows an honest group has; 3 % of the table."""
    count = len(frame)
    if kind == "band":
        at = random.uniform(0.1, 0.85)
        low, high = np.quantile(frame["x0"], [at, at + 0.03])
        return np.asarray((frame["x0"] >= low) & (frame["x0"] <= high))
    chosen = random.random(count) < 0.03
    # more of them than chance makes, as where a site has a kind of patient of its own
    if kind in TWINS:
        chosen = random.random(count) < 0.015
        frame.loc[chosen, "c2"] = "v3"
        frame.loc[chosen, "c3" if kind == "pair" else "x0"] = (
            "v5" if kind == "pair" else random.normal(0.7, 0.03, int(chosen.sum()))
        )
        other = frame["c3"] == "v5" if kind == "pair" else frame["x0"].between(0.64, 0.76)
        return np.asarray((frame["c2"] == "v3") & other)
    if kind == "site":
        frame["site"] = np.where(chosen, "north", random.choice(["a", "b", "c"], count)).astype(
            object
        )
    elif kind == "one of twenty":
        frame["site"] = np.where(
            chosen, "s0", random.choice([f"s{place}" for place in range(1, 20)], count)
        ).astype(object)
    else:
        frame.loc[chosen, "x2"] = 7.77
    return np.asarray(chosen)


def honest(seed: int, kind: str, follows: bool) -> bool:
    """Whether an honest group with another rate (.5 to .95) raises an alarm; its labels follow the
    other features, or nothing.
    """
    random = np.random.default_rng(seed)
    count, rate = int(random.choice([1000, 3000, 6000])), random.uniform(0.5, 0.95)
    frame, codes, logit = table(
        count,
        random,
        float(random.choice([0.05, 0.15, 0.3, 0.5])),
        str(random.choice(list(SLOPES))),
    )
    mine = group(kind, frame, random)
    chance = np.full(int(mine.sum()), rate)
    if follows:
        chance = expit(
            logit[mine]
            + brentq(lambda shift: float(np.mean(expit(logit[mine] + shift))) - rate, -60, 60)
        )
    codes[mine] = random.random(len(chance)) < chance
    return bool(Triggers()(rows_of(frame, codes), ScreenTable()).findings)


def planted(seed: int, trigger: dict[str, Any], share: float, count: int = 6000) -> float:
    """Share of the planted rows that is flagged."""
    random = np.random.default_rng(seed + 1000)
    frame, codes, _ = table(
        count,
        random,
        float(random.choice([0.15, 0.3, 0.5])),
        str(random.choice(["middling", "strong"])),
    )
    victims = random.choice(np.flatnonzero(codes == 0), int(share * count), replace=False)
    for name, value in trigger.items():
        frame.loc[victims, name] = (
            random.normal(*value, len(victims)) if isinstance(value, tuple) else value
        )
    codes[victims] = 1
    flagged = {suspect.row for suspect in Triggers()(rows_of(frame, codes), ScreenTable()).rows}
    return len(flagged & set(victims.tolist())) / len(victims)


def patched(seed: int, share: float) -> float:
    """Share of digits with a bright corner and a false label that one of the two detectors
    flags.
    """
    random = np.random.default_rng(seed)
    digits = load_digits(as_frame=True)
    frame, codes = digits.data.copy(), digits.target.to_numpy().copy()
    victims = random.choice(np.flatnonzero(codes != 0), int(share * len(codes)), replace=False)
    frame.loc[victims, ["pixel_0_0", "pixel_0_1", "pixel_1_0"]] = 16.0
    codes[victims] = 0
    rows = rows_of(frame, codes, 10)
    flagged = {
        suspect.row
        for detector in (Triggers(), Spectral())
        for suspect in detector(rows, ScreenTable()).rows
    }
    return len(flagged & set(victims.tolist())) / len(victims)


def leaky(frame: pd.DataFrame, codes: Array) -> set[str]:
    """Columns that are called leaks of high severity."""
    rows = rows_of(frame, codes, int(codes.max()) + 1)
    subject: Any = SimpleNamespace(
        frame=rows.frame,
        codes=rows.codes,
        groups=None,
        schema=rows.schema,
        sample=lambda count: sample_rows(len(codes), count, 0),
    )
    return {
        finding.location
        for finding in leakage.check(subject).findings
        if finding.severity == "high"
    }


def leaks(seed: int) -> list[tuple[str, bool]]:
    """(kind of leak, whether it was found), all in one table; and whether a strong honest feature
    was taken for one.
    """
    random = np.random.default_rng(seed)
    frame, codes, _ = table(4000, random, float(random.choice([0.05, 0.15, 0.3, 0.5])), "middling")
    strong = frame.assign(strong=2.7 * codes + random.normal(size=4000))
    kept = random.random(4000)
    frame["gaps"] = np.where((codes == 1) & (kept < 0.944), 1.0, 0.0) + random.normal(0, 1e-3, 4000)
    frame["copy"] = np.where(random.random(4000) < 0.999, codes, 0).astype(float)
    frame["later"] = np.where((codes == 1) & (random.random(4000) < 0.85), 1.0, np.nan)
    found = leaky(frame, codes)
    return [
        *((name, name in found) for name in ("gaps", "copy", "later")),
        ("honest", bool(leaky(strong, codes))),
    ]


def run(scale: float) -> dict[str, list[dict[str, Any]]]:
    """Figure name -> simulated points; a share of tables, or of tables in which four in five
    planted rows were flagged.
    """
    many, few = max(2, round(240 * scale)), max(1, round(80 * scale))
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in FIGURES}
    for kind in ("site", "one of twenty", "band", "constant", *TWINS):
        for follows in (False, True):
            value = float(np.mean([honest(seed, kind, follows) for seed in range(many)]))
            figure = (
                "honest twins of common pairs flagged"
                if kind in TWINS
                else "honest groups flagged as triggers"
            )
            found[figure].append(
                {
                    "value": value,
                    "rounds": many,
                    "x": kind,
                    "series": "follows" if follows else "flat",
                }
            )
    for figure, triggers in (("triggers found", TRIGGERS), ("triggers with noise found", NOISY)):
        for name, trigger in triggers.items():
            value = float(np.mean([planted(seed, trigger, 0.01) >= 0.8 for seed in range(few)]))
            which = "common pairs found" if name == "common pair" else figure
            found[which].append({"value": value, "rounds": few, "x": 0.01, "series": name})
    value = float(
        np.mean([planted(seed, TRIGGERS["constant"], 0.003) >= 0.8 for seed in range(few)])
    )
    found["triggers found"].append(
        {"value": value, "rounds": few, "x": 0.003, "series": "constant"}
    )
    for share in (0.03, 0.05):
        value = float(np.mean([patched(seed, share) >= 0.8 for seed in range(max(1, few // 4))]))
        found["image patches found"].append({"value": value, "x": share, "series": "digits"})
    seen = [one for seed in range(few) for one in leaks(seed)]
    for name in ("gaps", "copy", "later"):
        found["leaks found"].append(
            {
                "value": float(np.mean([ok for kind, ok in seen if kind == name])),
                "x": name,
                "series": "leaks",
            }
        )
    found["honest tables called leaky"].append(
        {
            "value": float(np.mean([ok for kind, ok in seen if kind == "honest"])),
            "x": "a feature of AUC .97",
            "series": "simulated",
        }
    )
    for load in (load_breast_cancer, load_wine, load_iris, load_digits):
        table_ = load(as_frame=True)
        value = float(bool(leaky(table_.data, table_.target.to_numpy())))
        found["honest tables called leaky"].append(
            {"value": value, "x": load.__name__, "series": "scikit-learn"}
        )
    return found
