"""What it costs a gateway that callers say whom a request is about: CPU time a prediction, to make
the pseudonym and to record it.

    python -m bench.privacy.named [--groups 60] [--size 100]

Predictions are recorded as a gateway does it, in groups; alternately without anybody, and with one
person each, the best of five of either.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import msgspec

import casemate
from casemate.controls.audit.predictions import Committer, Prediction, append, request_id
from casemate.operations import scaffold

MADE = {
    "principal": 'Service::"desk"',
    "token": "t" * 16,
    "model": "m@1",
    "part": "live",
    "rows": 1,
    "input": "0" * 64,
    "labels": b"\0\0",
    "probabilities": bytes(8),
    "shown": "all",
    "guards": {},
    "micros": 900,
}


def main() -> None:
    """Record, and say what it cost."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--groups", type=int, default=60)
    parser.add_argument("--size", type=int, default=100)
    said = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "t.csv").write_text("p,a,y\n" + "".join(f"P{n},{n}.5,{n % 2}\n" for n in range(20)))
        scaffold.create(root, scaffold.from_table(root, root / "t.csv", "y"))
        with casemate.open(root) as project:
            best = {False: 1e9, True: 1e9}
            kinds = (False, True) if hasattr(Prediction, "people") else (False,)
            for turn in range(5):
                for named in kinds:
                    cost = _recorded(project, said.groups, said.size, named, turn)
                    best[named] = min(best[named], cost)
    line = f"record_us={best[False]:.2f}"
    print(line + (f" with_a_person_us={best[True]:.2f}" if len(kinds) > 1 else ""))


def _recorded(project: casemate.Project, groups: int, size: int, named: bool, turn: int) -> float:
    """Microseconds of CPU a prediction."""
    root, commit, encoder = project.identifiers.root(), Committer(), msgspec.json.Encoder()
    writer, number = os.urandom(6).hex(), 0
    began = time.process_time()
    for group in range(groups):
        made = []
        for one in range(size):
            number += 1
            identifier, now = request_id(writer, number), time.time()
            if named:
                people = (bytes.fromhex(root.pseudonym(f"P{turn}-{group}-{one}")),)
                body = encoder.encode(Prediction(id=identifier, time=now, people=people, **MADE))
                made.append(commit(number, body, None, people))
            else:
                body = encoder.encode(Prediction(id=identifier, time=now, **MADE))
                made.append(commit(number, body, None))
        with project.database.transaction() as tx:
            append(project.log, tx, writer, made)
    return (time.process_time() - began) / (groups * size) * 1e6


if __name__ == "__main__":
    main()
