"""What was made of one person's data: how long the question takes in a large catalogue, and whether
the answer is right.

    python -m bench.privacy.affected [--rows 1000000] [--sets 20] [--models 50] [--people 200000]

The catalogue is generated, through the classes that a run writes with: data sets of so many rows
each, in which every person has rows or not by chance, models made of random ones. The truth is what
the generator drew. Table files are not: the question opens none.
"""

import argparse
import hashlib
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

import casemate
from casemate.core.digest import sha256
from casemate.core.lease import RUNS, new_owner
from casemate.core.steps import STEPS
from casemate.core.types import Lineage, Release, Schema, SealedDataset, Verdict
from casemate.operations import scaffold
from casemate.operations.project import Project
from casemate.operations.rights.affected import Affected

PRESENT = 0.5
"""Chance that a person is in a data set at all: else every answer would be everything."""


class Truth(NamedTuple):
    """What was drawn."""

    rows: dict[str, np.ndarray]
    """Data set -> number of rows of each person, int [people]."""
    models: dict[str, str]
    """`NAME@VERSION` -> data set."""


def name_of(person: int) -> str:
    """The identifier of a person."""
    return f"person-{person:08d}"


def build(root: Path, rows: int, sets: int, models: int, people: int, seed: int = 0) -> Truth:
    """A project with such a catalogue in a new folder."""
    drawn = np.random.default_rng(seed)
    (root / "t.csv").write_text("a,y\n" + "".join(f"{n}.5,{n % 2}\n" for n in range(20)))
    scaffold.create(root, scaffold.from_table(root, root / "t.csv", "y"))
    project = casemate.open(root)
    token = project.identifiers.root()
    known = np.array([bytes.fromhex(token.pseudonym(name_of(n))) for n in range(people)])
    truth = Truth({}, {})
    for number in range(sets):
        name = f"set-{number:02d}"
        present = np.flatnonzero(drawn.random(people) < PRESENT)
        whose = drawn.choice(present, rows)
        truth.rows[name] = np.bincount(whose, minlength=people)
        project.identifiers.rows.note(name, _version(name), known[whose].tolist())
        _run(project, name, rows)
    for number in range(models):
        name = f"set-{int(drawn.integers(sets)):02d}"
        model = f"model-{number % 10}"
        version = project.registry.next_version(model)
        _model(project, model, version, name, number)
        truth.models[f"{model}@{version}"] = name
    project.close()
    return truth


def _version(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def _run(project: Project, name: str, rows: int) -> None:
    record = SealedDataset(
        name=name,
        version=_version(name),
        source_digest="0" * 64,
        rows=rows,
        schema=Schema(target="y", classes=["0", "1"], columns=[]),
        quarantined={},
        quarantine="",
        excluded=0,
        split="",
        holdout=0,
        statistics={},
        findings=[],
        figures={},
        subject="person",
    )
    now, content = project.clock.now().isoformat(), msgspec.json.encode(record)
    row = {"id": f"run-{name}", "inputs": name, "principal": "x", "state": "passed", "started": now}
    step = {"run": f"run-{name}", "name": "data", "record": content, "digest": sha256(content)}
    with project.database.transaction() as tx:
        tx.execute(RUNS.insert().values(**row, **new_owner(), token=1))
        tx.execute(STEPS.insert().values(**step, finished=now, seconds=0.0, inputs=name))


def _model(project: Project, model: str, version: int, name: str, number: int) -> None:
    digests = {
        f"{one}_digest": "0" * 64
        for one in ("source", "code", "config", "environment", "train", "assess")
    }
    release = Release(
        model=model,
        model_version=version,
        verdict=Verdict(outcome="passed", gates=[]),
        lineage=Lineage(
            run=f"train-{number}", dataset=name, dataset_version=_version(name), **digests
        ),
        files={},
        bundle="0" * 64,
    )
    with project.database.transaction() as tx:
        project.registry.register(tx, release, project.clock.now().isoformat())


def wrong(found: Affected, truth: Truth, person: int) -> list[str]:
    """What the answer has too much, too little or with other counts."""
    said = {f"{one.dataset}": one.rows for one in found.versions}
    true = {name: int(rows[person]) for name, rows in truth.rows.items() if rows[person]}
    models = {one.model for one in found.models}
    of = {model for model, name in truth.models.items() if name in true}
    runs = {f"run-{name}" for name in true}
    return [
        *(f"rows {name}" for name in said.keys() | true.keys() if said.get(name) != true.get(name)),
        *(f"model {name}" for name in models ^ of),
        *(f"run {name}" for name in set(found.runs) ^ runs),
    ]


def main() -> None:
    """Build, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--sets", type=int, default=20)
    parser.add_argument("--models", type=int, default=50)
    parser.add_argument("--people", type=int, default=200_000)
    parser.add_argument("--asked", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        began = time.perf_counter()
        truth = build(root, options.rows, options.sets, options.models, options.people)
        built = time.perf_counter() - began
        times, faults = [], []
        for person in np.random.default_rng(1).integers(options.people, size=options.asked):
            began = time.perf_counter()
            with casemate.open(root) as project:
                found = project.privacy.affected(name_of(int(person)))
            times.append(time.perf_counter() - began)
            faults += wrong(found, truth, int(person))
        files = (root / ".casemate").glob("catalog.db*")
        size = sum(path.stat().st_size for path in files) / 2**20
    print(f"built in {built:.0f} s; catalogue {size:.0f} MiB; {pa.cpu_count()} cores")
    print(
        f"affected, opened anew each time: median {np.median(times):.2f} s,"
        f" worst {max(times):.2f} s; {options.asked} people, {len(faults)} wrong"
    )


if __name__ == "__main__":
    main()
