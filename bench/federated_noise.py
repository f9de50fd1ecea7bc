"""Boosted trees with noise at ten sites, beside the same without noise and a logistic regression with
as much noise: Adult, delta 1e-6, a row is what is covered. Or a logistic regression at more sites
where the whole site is covered.

python bench/federated_noise.py FOLDER [sites]      FOLDER holds adult-train.csv, adult-test.csv

Means of drawn noise and splits of rows. Plans are the better ones of some thirty for trees and two
dozen for the logistic regression, tried on the same test rows: a search that nobody paid for.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from federated_trees import Table, adult
from msgspec import structs
from sklearn.metrics import roc_auc_score

from casemate.ml.federated import drawn, encoding, local, splits
from casemate.ml.federated.growing import grow
from casemate.ml.federated.learners import LinearLearner
from casemate.ml.federated.local import LocalPlan, SiteRows
from casemate.ml.federated.simulation import Design, simulate
from casemate.ml.federated.trees import Asked, Growth, Site
from casemate.ml.learn.accountant import sigma_for

Array = np.ndarray[Any, Any]
SITES, DELTA, DRAWS = 10, 1e-6, 3
PLANS = {
    "100 trees of depth 3": Growth(trees=100, depth=3, rate=0.5, l2=1.0, bins=255, least=20),
    "200 trees of depth 4": Growth(trees=200, depth=4, rate=0.3, l2=1.0, bins=255, least=20),
}
LINEAR = LocalPlan(epochs=5, rate=4.0, momentum=0.9)
ROUNDS = 10
WHOLE = LocalPlan(epochs=3, rate=1.0, clip=0.4, unit="site")
WHOLE_ROUNDS = 5


def figures(scores: Array, truth: Array) -> tuple[float, float]:
    """(AUC, accuracy)."""
    return float(roc_auc_score(truth, scores)), float(np.mean((scores > 0) == truth))


def trees(table: Table, where: Array, growth: Growth, epsilon: float, seed: int) -> Array:
    """Scores of the held rows."""
    whole = Site(table.frame, table.target, table.limits, 2, growth)
    sites = [whole.part(where == place) for place in range(SITES)]
    plan = drawn.planned(LocalPlan(), growth, epsilon, DELTA)

    def ask(asked: Asked) -> tuple[Array, int]:
        told = [drawn.noisy_sums(one, asked, plan.sigma, plan.clip) for one in sites]
        return np.asarray(np.sum(told, axis=0)), SITES

    forest = drawn.grow(growth, table.limits, 2, plan.sigma * plan.clip, seed, ask)
    return forest.scores(forest.bins.of(table.held))[:, 0]


def linear(table: Table, where: Array, epsilon: float, plan: LocalPlan, rounds: int) -> Array:
    """Scores of the held rows."""
    scale = encoding.declared(table.limits)
    rows, held = (encoding.encode(one, table.limits, scale) for one in (table.frame, table.held))
    sigma = sigma_for(epsilon, DELTA, local.noisy_sums(plan, rounds)) if epsilon else 0.0
    plan = structs.replace(plan, sigma=sigma)
    learner = LinearLearner(table.limits.width, 2, 1.0)
    sites = [
        SiteRows(rows[where == place], table.target[where == place])
        for place in range(int(where.max()) + 1)
    ]
    design = Design(rounds=rounds, rule="fedavg", combine="mean", plan=plan, epsilon=epsilon)
    _, weights = simulate(learner, sites, (held, table.truth), design, lambda *_: None)
    chances = learner.answers(weights, held)[:, 1]
    return np.asarray(chances - 0.5)


def main(folder: Path) -> None:
    """Print all of it."""
    table = adult(folder)
    growth = Growth(trees=100, depth=4, rate=0.1, l2=0.0, bins=255, least=20)
    whole = Site(table.frame, table.target, table.limits, 2, growth)
    forest = grow(growth, table.limits, 2, whole)
    auc, right = figures(forest.scores(forest.bins.of(table.held))[:, 0], table.truth)
    print(f"without noise: AUC {auc:.4f}, accuracy {right:.4f}", flush=True)
    for epsilon in (1.0, 2.0, 4.0):
        found: dict[str, list[tuple[float, float]]] = {}
        for seed in range(DRAWS):
            where = splits.iid(table.target, SITES, np.random.default_rng(seed))
            for name, plan in PLANS.items():
                scores = trees(table, where, plan, epsilon, seed)
                found.setdefault(name, []).append(figures(scores, table.truth))
            scores = linear(table, where, epsilon, LINEAR, ROUNDS)
            found.setdefault("logistic regression", []).append(figures(scores, table.truth))
        for name, each in found.items():
            auc, right = np.mean(each, axis=0)
            spread = np.std(each, axis=0)[0]
            print(
                f"epsilon {epsilon:g} {name:22} AUC {auc:.4f} (± {spread:.4f}), accuracy {right:.4f}",
                flush=True,
            )


def whole_sites(folder: Path) -> None:
    """Print what is learnt where noise covers all rows of a site; epsilon 0: no noise."""
    table = adult(folder)
    for count in (10, 100, 256, 1_000):
        for epsilon in (0.0, 2.0, 4.0, 8.0):
            found = []
            for seed in range(DRAWS):
                where = splits.iid(table.target, count, np.random.default_rng(seed))
                scores = linear(table, where, epsilon, WHOLE, WHOLE_ROUNDS)
                found.append(figures(scores, table.truth))
            auc, right = np.mean(found, axis=0)
            spread = np.std(found, axis=0)[0]
            print(
                f"{count} sites, epsilon {epsilon:g}: AUC {auc:.4f} (± {spread:.4f}),"
                f" accuracy {right:.4f}",
                flush=True,
            )


if __name__ == "__main__":
    (whole_sites if sys.argv[2:] == ["sites"] else main)(Path(sys.argv[1]))
