"""Federated learning in one process: what rules, robust ways and masks cost and reach.

python bench/federated.py digits         robust ways beside sites that lie, and what masks cost
python bench/federated.py flower PYTHON [SPLIT...]
                                         Flower's strategies on the same updates, beside ours
python bench/federated.py mnist FOLDER [MODEL[:WORD...]...]
                                         AshwinRJ's protocol: 10 rounds, 100 users, C .1, B 10, E 10
python bench/federated.py adult FOLDER   what calibration does where classes are not equally frequent

FOLDER holds mnist.npz and qmnist-train-labels-idx2-int.gz, or adult-train.csv and adult-test.csv;
MODEL is mlp, mlp200 or cnn (default: mlp and cnn); a WORD is a rule (default: fedavg), `calibrated`,
one of the ways to hand rows out (iid, shards, writers: 100 users of five or six writers each,
writer: 539 users; default: the first three), or how many rounds; PYTHON is that of an environment
with flwr 1.41.0. Times are of the processor, one thread.
"""

import gzip
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from casemate.ml.federated import encoding, robust, rules, simulation, splits
from casemate.ml.federated.learners import Learner, LinearLearner, NetworkLearner
from casemate.ml.federated.local import LocalPlan, SiteRows
from casemate.stages.train.sites import scale_of

Array = np.ndarray[Any, Any]
SITES, LIARS = 10, 2
SPLITS = ["iid", "dirichlet:0.5"]
PLAN = LocalPlan(epochs=5, batch=16, rate=0.1)
FLOWER = ("FedAvg", "FedMedian", "FedTrimmedAvg", "Krum", "MultiKrum", "Bulyan")
ROBUST = ("median", "trimmed-mean", "krum", "multi-krum", "centred-clipping")
CALIBRATED = msgspec.structs.replace(PLAN, calibrated=1.0)
WAYS: dict[str, dict[str, Any]] = {
    **{name: {"combine": name} for name in robust.COMBINERS},
    **{f"mix {name}": {"combine": name, "mixed": True} for name in ROBUST},
    **{
        f"bucket {name}": {"combine": name, "bucket": 2}
        for name in ROBUST
        if "krum" not in name  # five buckets are too few for it
    },
    "remember mean": {"remembers": True},
    "remember norm-bound": {"combine": "norm-bound", "remembers": True},
    "calibrated mean": {"plan": CALIBRATED},
    "calibrated remember": {"plan": CALIBRATED, "remembers": True},
}
WITHOUT = {"without liars": {}, "calibrated without": {"plan": CALIBRATED}}
"""The eight honest sites alone."""
USERS = {"iid": 100, "shards": 100, "writers": 100, "writer": 539}
"""Of each way to hand MNIST out; ten take part in a round."""


def handed_out(rows: Array, codes: Array, where: Array, seed: int) -> list[SiteRows]:
    """The rows of each site."""
    count = int(where.max()) + 1
    return [SiteRows(rows[where == i], codes[where == i].copy(), seed + i) for i in range(count)]


def shards(codes: Array, sites: int, chance: np.random.Generator) -> Array:
    """AshwinRJ's non-IID split: rows in order of their class, two shards of 2 * `sites` each."""
    order = np.argsort(codes, kind="stable")
    owners = chance.permutation(np.repeat(np.arange(sites), 2))
    found = np.empty(len(codes), dtype=np.int64)
    for part, owner in zip(np.array_split(order, 2 * sites), owners, strict=True):
        found[part] = owner
    return found


def played(
    learner: Learner, sites: list[SiteRows], held: tuple[Array, Array], **changed: Any
) -> tuple[simulation.Simulated, float]:
    """(what came of it, processor seconds a round)."""
    given: dict[str, Any] = {"rounds": 10, "rule": "fedavg", "combine": "mean", "plan": LocalPlan()}
    design = simulation.Design(**(given | changed))
    begun = time.process_time()
    with np.errstate(all="ignore"):
        told, _ = simulation.simulate(learner, sites, held, design, lambda *_: None)
    return told, (time.process_time() - begun) / len(told.rounds)


def attacked(ways: dict[str, dict[str, Any]], kinds: list[str]) -> None:
    """Accuracy by robust way and attack, over five splits of digits of each kind."""
    rows, codes = load_digits(return_X_y=True)
    rows = rows / 16.0
    for split in kinds:
        for attack in ("", "signflip", "labelflip", "boost"):
            for way, options in ways.items():
                found, gone = [], LIARS * (way in WITHOUT)
                for seed in range(5):
                    chance = np.random.default_rng(seed)
                    order = chance.permutation(len(codes))
                    inside, out = order[:1347], order[1347:]
                    where = (
                        splits.iid(codes[inside], SITES, chance)
                        if split == "iid"
                        else splits.dirichlet(codes[inside], SITES, 0.5, 20, chance)
                    )
                    sites = handed_out(rows[inside], codes[inside], where, seed)
                    told, _ = played(
                        LinearLearner(64, 10, 10.0),
                        sites[gone:],
                        (rows[out], codes[out]),
                        liars=LIARS,
                        attack="" if gone else attack,
                        attackers=LIARS if attack and not gone else 0,
                        seed=seed,
                        **{"plan": PLAN, **options},
                    )
                    found.append(told.rounds[-1].score)
                print(
                    f"{split:14} {attack or 'honest':10} {way:21} {np.mean(found):.4f}"
                    f" ± {np.std(found):.4f}",
                    flush=True,
                )


def flower(python: str, kinds: list[str]) -> None:
    """Flower's strategies as ways to combine, on the very updates that ours get."""
    peer = subprocess.Popen(
        [python, Path(__file__).with_name("federated_peer.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert peer.stdin is not None and peer.stdout is not None
    asks, answers = peer.stdin, peer.stdout

    def combiner(strategy: str) -> robust.Combiner:
        def combine(moved: Array, weights: Array, liars: int) -> robust.Combined:
            # Bulyan takes 4 f + 3 sites, and there are 10
            liars = min(liars, (len(moved) - 3) // 4) if strategy == "Bulyan" else liars
            asked = {"strategy": strategy, "sites": len(moved), "numbers": moved.shape[1]}
            asked |= {"rows": weights.tolist(), "liars": liars}
            asks.write(json.dumps(asked).encode() + b"\n" + moved.astype("<f8").tobytes())
            asks.flush()
            size = int(answers.readline())
            assert size == moved.shape[1], f"{strategy} skipped the round"
            return robust.Combined(np.frombuffer(answers.read(8 * size)), np.zeros(len(moved)))

        return combine

    theirs: dict[str, dict[str, Any]] = {}
    for name in FLOWER:
        robust.COMBINERS[f"flwr {name}"] = combiner(name)
        theirs[f"flwr {name}"] = {"combine": f"flwr {name}"}
    attacked({**theirs, **WAYS, **WITHOUT}, kinds)
    asks.close()
    peer.wait()


def digits() -> None:
    """Robust ways beside sites that lie; seconds a round, plain and masked."""
    attacked({**WAYS, **WITHOUT}, SPLITS)
    rows, codes = load_digits(return_X_y=True)
    rows = rows / 16.0
    where = splits.iid(codes, SITES, np.random.default_rng(0))
    sites = handed_out(rows, codes, where, 0)
    for name, changed in (
        ("plain", {}),
        ("masked", {"masked": True}),
        ("masked, 2 silent", {"masked": True, "silent": 2, "step": "mask"}),
        ("exact", {"rule": "exact"}),
        ("exact, masked", {"rule": "exact", "masked": True}),
    ):
        told, seconds = played(
            LinearLearner(64, 10, 10.0), sites, (rows, codes), plan=PLAN, **changed
        )
        off = "" if told.off is None else f", off {told.off:.1e}"
        rounding = "" if told.rounding is None else f", rounding {told.rounding:.1e}"
        print(f"{name:18} {seconds:.3f} s a round, {told.numbers} numbers{off}{rounding}")
    pooled = LogisticRegression(C=10.0, tol=1e-9, max_iter=9_000).fit(rows, codes)
    print(f"pooled scikit-learn {pooled.score(rows, codes):.4f}")


def mnist(folder: Path, models: list[str]) -> None:
    """AshwinRJ's protocol, and writers of QMNIST as users."""
    import torch
    from torch import nn

    from casemate.ml.learn.layers import describe

    torch.set_num_threads(1)
    found = np.load(folder / "mnist.npz")
    rows = (found["x_train"].reshape(-1, 784) / np.float32(255)).astype(np.float32)
    codes = found["y_train"].astype(np.int64)
    held = (
        (found["x_test"].reshape(-1, 784) / np.float32(255)).astype(np.float32),
        found["y_test"].astype(np.int64),
    )
    with gzip.open(folder / "qmnist-train-labels-idx2-int.gz") as file:
        raw = file.read()
    writers = np.frombuffer(raw[12:], ">i4").reshape(60_000, 8)[:, 2]
    networks = {
        "mlp": nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 10)),
        "mlp200": nn.Sequential(nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 10)),
        "cnn": nn.Sequential(
            nn.Unflatten(1, (1, 28, 28)),
            *(nn.Conv2d(1, 16, 5), nn.MaxPool2d(2), nn.ReLU()),
            *(nn.Conv2d(16, 32, 5), nn.MaxPool2d(2), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(512, 10)),
        ),
    }
    for asked in models:
        model, *words = asked.split(":")
        rule = next((word for word in words if word in rules.RULES), "fedavg")
        rounds = next((int(word) for word in words if word.isdigit()), 10)
        for split in [word for word in words if word in USERS] or ["iid", "shards", "writers"]:
            users, chance = USERS[split], np.random.default_rng(0)
            if split == "iid":
                where = splits.iid(codes, users, chance)
            elif split == "shards":
                where = shards(codes, users, chance)
            else:
                where = splits.by_values(writers, users)
            learner = NetworkLearner([list(one) for one in describe(networks[model])], 10)
            sites = handed_out(rows, codes, where, 0)
            calibrated = float("calibrated" in words)
            plan = LocalPlan(epochs=10, batch=10, rate=0.01, momentum=0.5, calibrated=calibrated)
            told, seconds = played(
                learner, sites, held, plan=plan, share=10 / users, rule=rule, rounds=rounds
            )
            accuracies = " ".join(f"{one.score:.4f}" for one in told.rounds)
            print(f"{asked} {split:8} {accuracies}  {seconds:.1f} s a round", flush=True)


def adult(folder: Path) -> None:
    """A table of which a quarter is of the rarer class: what calibration does to its scores."""
    from federated_trees import adult as read

    table = read(folder)
    everybody = np.zeros(len(table.target), dtype=np.int64)
    scale = scale_of(table.limits, table.frame, everybody)
    rows, held = (encoding.encode(one, table.limits, scale) for one in (table.frame, table.held))
    for split in SPLITS:
        for name, plan in (("plain", PLAN), ("calibrated", CALIBRATED)):
            found = []
            for seed in range(3):
                chance = np.random.default_rng(seed)
                where = (
                    splits.iid(table.target, SITES, chance)
                    if split == "iid"
                    else splits.dirichlet(table.target, SITES, 0.5, 20, chance)
                )
                learner = LinearLearner(rows.shape[1], 2)
                design = simulation.Design(
                    rounds=10, rule="fedavg", combine="mean", plan=plan, seed=seed
                )
                sites = handed_out(rows, table.target, where, seed)
                _, weights = simulation.simulate(
                    learner, sites, (held, table.truth), design, lambda *_: None
                )
                scores = learner.answers(weights, held)[:, 1]
                right = (scores > 0.5) == table.truth
                balanced = np.mean([right[table.truth == kind].mean() for kind in (0, 1)])
                area = roc_auc_score(table.truth, scores)
                found.append([right.mean(), balanced, area, scores.mean() - table.truth.mean()])
            told = " ".join(f"{one:.4f}" for one in np.mean(found, axis=0))
            print(
                f"{split:14} {name:10} accuracy, balanced accuracy, AUC, mean score less share:"
                f" {told}",
                flush=True,
            )


if __name__ == "__main__":
    if sys.argv[1] == "digits":
        digits()
    elif sys.argv[1] == "adult":
        adult(Path(sys.argv[2]))
    elif sys.argv[1] == "flower":
        flower(sys.argv[2], sys.argv[3:] or SPLITS)
    else:
        mnist(Path(sys.argv[2]), sys.argv[3:] or ["mlp", "cnn"])
