"""Federated learning between processes over mutual TLS: seconds a round, plain and under masks.

python bench/owners.py [SITES [ROUNDS]]

Each site is a project of its own with its share of scikit-learn's digits (651 numbers a round); all
run on this machine. A round's time is that between two entries of the coordinator's log.
"""

import contextlib
import datetime
import itertools
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
from sklearn.datasets import load_digits

import casemate
from casemate.controls.federation.cards import charter_in
from casemate.core.types import ColumnSchema, Schema
from casemate.operations import scaffold
from casemate.stages.data import schema as pinned

MODEL = """from sklearn.linear_model import LogisticRegression
def build(): return LogisticRegression(C=10.0)
"""
SECONDS = 600.0
WAYS = {"plain": ["--no-masked"], "masked": ["--masked"]}


def table_of(rows: np.ndarray, codes: np.ndarray) -> pa.Table:
    """Digits as a table with their class in words."""
    numbers = {f"p{place:02}": rows[:, place] for place in range(rows.shape[1])}
    return pa.table({**numbers, "digit": [f"d{code}" for code in codes]})


def made(root: Path, table: pa.Table) -> None:
    """A project with this table."""
    root.mkdir()
    pyarrow.csv.write_csv(table, root / "t.csv")
    scaffold.create(root, scaffold.from_table(root, root / "t.csv", "digit"))
    file = root / "casemate.toml"
    text = re.sub(r"(?m)^(purpose|search) = .*\n", "", file.read_text())
    text = text.replace("[project]\n", '[project]\npurpose = "digits"\n', 1)
    text = re.sub(r"(?ms)^\[data\.columns\].*?(?=^\[)", "", text)
    file.write_text(text + '\n[data.columns]\n"p*" = { min = 0, max = 16 }\n')
    (root / "train.py").write_text(MODEL)


def said(*words: object) -> str:
    """What a command answers."""
    return subprocess.run(
        [sys.executable, "-m", "casemate", *map(str, words)],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip


@contextlib.contextmanager
def started(*commands: list[object]) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Processes that are gone afterwards."""
    found = [
        subprocess.Popen(
            [sys.executable, "-m", "casemate", *map(str, words)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )
        for words in commands
    ]  # fmt: skip
    try:
        yield found
    finally:
        for one in found:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(one.pid, signal.SIGKILL)
            one.wait()


def founded(folder: Path, sites: int) -> None:
    """A coordinator, its sites, and a charter that all have approved."""
    rows, codes = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(codes))
    names = [f"site-{number}" for number in range(sites)]
    made(folder / "centre", table_of(rows, codes))
    for name, part in zip(names, np.array_split(order, sites), strict=True):
        made(folder / name, table_of(rows[part], codes[part]))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    centre = folder / "centre"
    classes = [f"d{code}" for code in range(10)]
    features = [ColumnSchema(name=f"p{place:02}", type="number") for place in range(64)]
    schema = Schema(
        target="digit", classes=classes, rows=len(codes),
        columns=[*features, ColumnSchema(name="digit", type="category")],
    )  # fmt: skip
    (centre / "schema.toml").write_text(pinned.dump(schema))
    cards = []
    for name in names:
        (folder / f"{name}.json").write_text(
            said("federate", "card", name, "--config", folder / name)
        )
        cards += ["--site", folder / f"{name}.json"]
    charter = folder / "wards.charter.json"
    said(
        "federate", "found", "wards", "--as", "centre", "--url", f"https://localhost:{port}", *cards,
        "--config", centre, "-o", charter,
    )  # fmt: skip
    head = charter_in(charter.read_bytes()).coordinator.fingerprint
    code = said("federate", "code", "--config", centre).splitlines()[0]
    for name in names:
        with (folder / name / "casemate.toml").open("a") as file:
            file.write(
                f'\n[federate]\ncoordinators = ["{head}"]\ncode = ["{code}"]\nmasked = false\n'
                "rounds_a_day = 2000\n"
            )
        said("federate", "approve", charter, "--config", folder / name)


def lead(folder: Path, rounds: int, wait: float) -> list[object]:
    """Words of the coordinator's command."""
    return [
        "federate", "lead", "wards", "--config", folder / "centre", "--rounds", rounds,
        "--epochs", 5, "--batch", 16, "--wait", wait,
    ]  # fmt: skip


def join(folder: Path, number: int) -> list[object]:
    """Words of a site's."""
    return ["federate", "join", "wards", "--config", folder / f"site-{number}"]


def jobs(folder: Path) -> set[str]:
    """That have had a round."""
    return {one.job for one in casemate.open(folder / "centre").federated.rounds("wards")}


def seconds(centre: Path, job: str) -> list[float]:
    """Between rounds of a job, as the log has them."""
    moments = [
        datetime.datetime.fromisoformat(one.time)
        for one in casemate.open(centre).federated.rounds("wards")
        if one.job == job
    ]
    return [(after - before).total_seconds() for before, after in itertools.pairwise(moments)]


def main(sites: int = 10, rounds: int = 8) -> None:
    """Plain and masked rounds of one set of sites, twice in turn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        founded(folder, sites)
        found: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(2):
            for way, words in WAYS.items():
                known = jobs(folder)
                joins = [join(folder, number) for number in range(sites)]
                with started([*lead(folder, rounds, 120), *words], *joins) as processes:
                    for one in processes:
                        one.wait(SECONDS)
                (job,) = jobs(folder) - known
                found[way] += seconds(folder / "centre", job)
        for way, each in found.items():
            print(
                f"{way:7} {statistics.median(each):.3f} s a round (median of {len(each)},"
                f" {min(each):.3f} to {max(each):.3f})"
            )
        ratio = statistics.median(found["masked"]) / statistics.median(found["plain"])
        print(f"masked / plain {ratio:.2f}")


if __name__ == "__main__":
    main(*(int(one) for one in sys.argv[1:3]))
