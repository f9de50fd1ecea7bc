"""Seconds a round between processes of this machine: sites of digits and their coordinator by
themselves, over Flower, and Flower alone.

python bench/federated_rounds.py own [SITES]                casemate's own TLS
python bench/federated_rounds.py carried PROGRAMS [SITES]   the same, carried by Flower with TLS
python bench/federated_rounds.py flower PROGRAMS [SITES]    Flower's FedAvg with TLS, without casemate

PROGRAMS is the `bin` of an environment with flwr 1.41.0. A round is from one end to the next, by the
clock; the first one, in which processes start, is not counted.
"""

import contextlib
import itertools
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.interop.flower import Flower, flower, free_port

import casemate
from casemate.controls.federation.cards import charter_in
from casemate.core.types import ColumnSchema, Schema
from casemate.operations import scaffold
from casemate.stages.data import schema as pinned
from casemate.stages.train.training_code import code_digest

ROUNDS = int(os.environ.get("ROUNDS", "5"))
CODE = "from sklearn.linear_model import LogisticRegression\ndef build(): return LogisticRegression()\n"
NAMES = [f"p{number}" for number in range(64)]
COLUMNS = Schema(
    target="y",
    classes=[f"d{number}" for number in range(10)],
    columns=[
        *(ColumnSchema(name=name, type="number", min=0, max=16) for name in NAMES),
        ColumnSchema(name="y", type="category"),
    ],
)
POLICY = (
    '\n[federate]\ncoordinators = ["{}"]\ncode = ["{}"]\nleast_rows = 20\nrounds_a_day = 1000\n'
)
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


def tables(sites: int) -> list[pd.DataFrame]:
    """Digits, handed out."""
    rows, codes = load_digits(return_X_y=True)
    found = pd.DataFrame(rows, columns=NAMES)
    found["y"] = [f"d{code}" for code in codes]
    found = found.sample(frac=1, random_state=0)
    return [found.iloc[number::sites] for number in range(sites)]


def owners(folder: Path, sites: int) -> tuple[list[str], str]:
    """Projects that have agreed; (names of the sites, URL)."""
    names = [f"s{number}" for number in range(sites)]
    for name, table in zip(["centre", *names], [tables(2)[0], *tables(sites)], strict=True):
        root = folder / name
        root.mkdir()
        table.to_csv(root / "t.csv", index=False)
        scaffold.create(root, scaffold.from_table(root, root / "t.csv", "y"))
        file = root / "casemate.toml"
        limits = '\n[data.columns]\n"p*" = { min = 0, max = 16 }\n'
        text = file.read_text().replace('purpose = "unspecified"', 'purpose = "research"')
        text = re.sub(r"(?ms)^\[data\.columns\].*?(?=^\[)", "", text)
        file.write_text(text + limits)
        (root / "train.py").write_text(CODE)
        (root / "schema.toml").write_text(pinned.dump(COLUMNS))
    centre = casemate.open(folder / "centre")
    url = f"https://127.0.0.1:{free_port()}"
    cards = [casemate.open(folder / name).federated.card(name) for name in names]
    signed = centre.federated.found("digits", url=url, sites=cards, called="centre")
    head = charter_in(signed).coordinator.fingerprint
    code = code_digest(centre.root, centre.config)
    for name in names:
        with (folder / name / "casemate.toml").open("a") as file:
            file.write(POLICY.format(head, code))
        casemate.open(folder / name).federated.approve(signed)
    return names, url


def started(folder: Path, name: str, *words: str) -> subprocess.Popen[bytes]:
    """`casemate federate`, with these words."""
    log = (folder / f"{name}.log").open("wb")
    command = [sys.executable, "-m", "casemate", "federate", *words, "--config", name]
    return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=os.environ | {})


def said(what: str, ends: list[float]) -> None:
    """The figure."""
    took = [after - before for before, after in itertools.pairwise(ends)]
    print(
        f"{what}: {statistics.median(took):.2f} s a round"
        f" (least {min(took):.2f}, most {max(took):.2f}, {len(took)} rounds)",
        flush=True,
    )


def learnt(folder: Path, sites: int, running: Flower | None) -> list[float]:
    """When each round of a job ended."""
    names, _ = owners(folder, sites)
    words = ["--rule", "fedavg", "--rounds", str(ROUNDS), "--wait", "900"]
    processes = []
    if running is not None:
        words += ["--listen", f"unix:{folder}/lead.sock"]
        carried(folder, names, running)
    processes.append(started(folder, "centre", "lead", "digits", *words))
    for name in names:
        through = ["--through", f"{folder}/{name}.sock"] if running is not None else []
        processes.append(started(folder, name, "join", "digits", *through))
    try:
        for one in processes:
            assert one.wait(1800) == 0, [file.read_text() for file in folder.glob("*.log")]
    finally:
        for one in processes:
            one.kill()
    rounds = casemate.open(folder / "centre").federated.rounds("digits")
    return [datetime.fromisoformat(one.time).timestamp() for one in rounds]


def carried(folder: Path, names: list[str], running: Flower) -> None:
    """Flower's side of it."""
    words = ["deploy", "flower", str(folder / "wire"), "--lead", f"unix:{folder}/lead.sock"]
    command = [sys.executable, "-m", "casemate", *words, "--config", str(folder / "centre")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    for name in names:
        running.node(f"node-{name}", f'casemate="{folder}/{name}.sock"')
    running.flwr("run", folder / "wire", "tls")


def alone(folder: Path, sites: int, running: Flower) -> list[float]:
    """When each round of Flower's FedAvg ended."""
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
    return [float(one) for one in place.read_text().split()]


def main(what: str, *words: str) -> None:
    """One of the three."""
    programs = Path(words[0]) if what != "own" else None
    sites = int(words[1 if programs else 0]) if len(words) > (1 if programs else 0) else 10
    with tempfile.TemporaryDirectory(prefix="b") as made, contextlib.ExitStack() as stack:
        folder = Path(made)
        running = stack.enter_context(flower(programs, folder)) if programs else None
        if what == "flower":
            assert running is not None
            said(f"flower, {sites} sites", alone(folder, sites, running))
        else:
            said(f"{what}, {sites} sites, masked", learnt(folder, sites, running))


if __name__ == "__main__":
    main(*sys.argv[1:])
