"""Seconds a round between processes of this machine with Flower: under the sites of `owners.py`, and
alone.

python bench/federated_rounds.py carried PROGRAMS [SITES]   masked rounds, carried by Flower with TLS
python bench/federated_rounds.py flower PROGRAMS [SITES]    Flower's FedAvg with TLS, without casemate

PROGRAMS is the `bin` of an environment with flwr 1.41.0. A round is from one end to the next, by the
clock; the first one, in which processes start, is not counted.
"""

import itertools
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import owners
from sklearn.datasets import load_digits

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.interop.flower import Flower, flower

ROUNDS = int(os.environ.get("ROUNDS", "5"))
APP = {
    "pyproject.toml": """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "digits"
version = "1.0.0"
license = "Apache-2.0"
dependencies = []
[tool.flwr.app]
publisher = "bench"
[tool.flwr.app.components]
serverapp = "digits.server:app"
clientapp = "digits.client:app"
[tool.flwr.app.config]
sites = 10
""",
    "digits/__init__.py": "",
    "digits/client.py": """
import numpy as np
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(message, context):
    found = np.load(context.node_config["rows"])
    rows, codes = found["rows"], found["codes"]
    (weights,) = message.content["arrays"].to_numpy_ndarrays()
    weights = weights.copy()
    chance = np.random.default_rng(0)
    for _ in range(5):
        for batch in np.array_split(chance.permutation(len(rows)), max(len(rows) // 16, 1)):
            scores = rows[batch] @ weights
            shares = np.exp(scores - scores.max(axis=1, keepdims=True))
            shares /= shares.sum(axis=1, keepdims=True)
            shares[np.arange(len(batch)), codes[batch]] -= 1
            weights -= 0.1 * rows[batch].T @ shares / len(batch)
    content = {"arrays": ArrayRecord([weights]), "metrics": MetricRecord({"num-examples": len(rows)})}
    return Message(RecordDict(content), reply_to=message)
""",
    "digits/server.py": """
import time
import numpy as np
from flwr.app import ArrayRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


class Timed(FedAvg):
    def aggregate_train(self, number, replies):
        found = super().aggregate_train(number, replies)
        with open(PLACE, "a") as file:
            file.write(f"{time.time()}\\n")
        return found


@app.main()
def main(grid, context):
    sites = context.run_config["sites"]
    strategy = Timed(fraction_evaluate=0.0, min_train_nodes=sites, min_available_nodes=sites)
    strategy.start(grid=grid, initial_arrays=ArrayRecord([np.zeros((65, 10))]), num_rounds=ROUNDS)
""",
}


def said(what: str, took: list[float]) -> None:
    """The figure."""
    print(
        f"{what}: {statistics.median(took):.2f} s a round"
        f" (least {min(took):.2f}, most {max(took):.2f}, {len(took)} rounds)",
        flush=True,
    )


def carried(folder: Path, sites: int, running: Flower) -> list[float]:
    """Seconds of each round of a job of casemate's."""
    owners.founded(folder, sites)
    lead = f"unix:{folder}/lead.sock"
    words = ["deploy", "flower", folder / "wire", "--lead", lead, "--config", folder / "centre"]
    owners.said(*words)
    for number in range(sites):
        running.node(f"node-{number}", f'casemate="{folder}/{number}.sock"')
    running.flwr("run", folder / "wire", "tls")
    joins = [
        [*owners.join(folder, number), "--through", folder / f"{number}.sock"]
        for number in range(sites)
    ]
    lead_words = [*owners.lead(folder, ROUNDS, 900), "--listen", lead]
    with owners.started(lead_words, *joins) as processes:
        for one in processes:
            assert one.wait(1800) == 0
    (job,) = owners.jobs(folder)
    return owners.seconds(folder / "centre", job)


def alone(folder: Path, sites: int, running: Flower) -> list[float]:
    """Seconds of each round of Flower's FedAvg."""
    place = folder / "ends"
    rows, codes = load_digits(return_X_y=True)
    rows = np.column_stack([rows / 16, np.ones(len(rows))])
    for number in range(sites):
        np.savez(folder / f"{number}.npz", rows=rows[number::sites], codes=codes[number::sites])
    for name, text in APP.items():
        file = folder / "app" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        for old, new in {"ROUNDS": str(ROUNDS), "PLACE": repr(str(place))}.items():
            text = text.replace(old, new)  # noqa: PLW2901
        file.write_text(text.replace("sites = 10", f"sites = {sites}"))
    for number in range(sites):
        running.node(f"n{number}", f'rows="{folder}/{number}.npz"')
    running.flwr("run", folder / "app", "tls")
    until = time.monotonic() + 1800
    while not place.exists() or len(place.read_text().split()) < ROUNDS:
        assert time.monotonic() < until, (folder / "link.log").read_text()
        time.sleep(1)
    ends = [float(one) for one in place.read_text().split()]
    return [after - before for before, after in itertools.pairwise(ends)]


WAYS = {"carried": carried, "flower": alone}


def main(what: str, programs: str, sites: str = "10") -> None:
    """One of the two."""
    with tempfile.TemporaryDirectory(prefix="b") as made:
        folder = Path(made)
        with flower(Path(programs), folder) as running:
            said(f"{what}, {sites} sites", WAYS[what](folder, int(sites), running))


if __name__ == "__main__":
    main(*sys.argv[1:])
