"""How long a gateway takes to read who is restricted, and to learn of one more.

    python -m bench.privacy.restricted [--people 10000]

A project with so many granted restrictions is made; then what a gateway does at its start and each
time that anything is decided is timed: once after its start, once after one more was granted.
"""

import argparse
import tempfile
import time
from pathlib import Path

import casemate
from casemate.operations import scaffold
from casemate.operations.rights.register import REQUESTS, change_of
from casemate.respond.requests import states
from casemate.serve.barred import Barred


def main() -> None:
    """Make the project, read, and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=10_000)
    people = parser.parse_args().people
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        lines = "".join(f"P{n},{n}.5,{n % 2}\n" for n in range(20))
        (root / "t.csv").write_text("patient,a,y\n" + lines)
        scaffold.create(root, scaffold.from_table(root, root / "t.csv", "y"))
        with casemate.open(root) as project:
            _restrict(project, range(people))
            barred = Barred(project)
            first = _timed(barred)
            _restrict(project, range(people, people + 1))
            again, idle = _timed(barred), _timed(barred)
            assert len(barred._people) == people + 1
    print(f"people={people} first_s={first:.3f} one_more_s={again:.3f} nothing_new_s={idle:.4f}")


def _restrict(project: casemate.Project, people: range) -> None:
    root = project.identifiers.root()
    for start in range(people.start, people.stop, 500):
        with project.database.transaction() as tx:
            for one in range(start, min(start + 500, people.stop)):
                opened = change_of(
                    project,
                    subject=root.pseudonym(f"P{one}"),
                    kind="restriction",
                    law="gdpr",
                    received="2026-01-01",
                )
                asked, _ = REQUESTS.written(project, tx, "bench", one + 1, states.OPENED, opened)
                granted = change_of(project)
                REQUESTS.written(project, tx, "bench", asked, states.GRANTED, granted)


def _timed(barred: Barred) -> float:
    began = time.perf_counter()
    barred.follow()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
