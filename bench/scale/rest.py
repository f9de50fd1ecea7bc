"""A model that learns from a sample of 6 million rows, and one that goes on with all others: `python
bench/scale/rest.py [ROWS] [FOLDER]`.

Each way is a run of its own, in a process of its own, on the same file: what it takes beside a run
of the sample alone, the peak of memory of the largest process (the kernel's figure), and the AUC on
the same held-out rows. Nine hundred wards have an effect each, of which a sample shows little.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import longtable

ROWS, SAMPLE, WARDS = 6_000_000, 100_000, 900
CODE = """
from sklearn.compose import make_column_transformer
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

def build(columns):
    codes = OneHotEncoder(handle_unknown="ignore")
    encoded = make_column_transformer((StandardScaler(), columns.numbers), (codes, columns.categories))
    return Pipeline([("columns", encoded), ("clf", SGDClassifier(loss="log_loss", alpha=1e-6))])
"""


def make(path: Path, rows: int) -> None:
    """Each ward has an effect."""
    import numpy as np

    effects = np.random.default_rng(7).standard_normal(WARDS)
    longtable.write(
        path,
        rows,
        WARDS,
        lambda draw, x, wards: x[0] + effects[wards] + draw.logistic(size=len(wards)),
    )


def one(folder: str) -> None:
    """In a process of its own: seconds by stage, rows gone on with, AUC, bytes."""
    import casemate
    from casemate.core.types import TrainedModel

    project = casemate.open(folder)
    begin = time.perf_counter()
    run = project.run()
    seconds = time.perf_counter() - begin
    took = {step.name: step.seconds for step in project.runs.show(run.id).finished}
    auc = run.assessment.metrics["roc_auc"]
    own, theirs = (
        resource.getrusage(who).ru_maxrss * 1024
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    beyond = project.engine.record(run.id, "train", TrainedModel).went_on
    figures = [auc.value, auc.low, auc.high]
    print(json.dumps([seconds, took, beyond.rows if beyond else 0, figures, own, theirs]))


def main() -> int:
    """Print what each way takes and gives."""
    from casemate.operations import scaffold

    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as name:
        folder = Path(name)
        os.environ["HOME"] = name  # keys of a project that is thrown away
        make(folder / "t.csv", SAMPLE)
        scaffold.create(folder, scaffold.from_table(folder, folder / "t.csv", "y"))
        settings = (folder / "casemate.toml").read_text()
        settings = settings.replace("[data]", f"[data]\nsample = {SAMPLE}", 1)
        settings = "\n".join(line for line in settings.split("\n") if not line.startswith("search"))
        (folder / "casemate.toml").write_text(settings + "\n[run]\nmemory_gb = 2\n")
        (folder / "train.py").write_text(CODE)
        make(folder / "t.csv", rows)
        print(f"{rows} rows, {(folder / 't.csv').stat().st_size / 1e6:.0f} MB", flush=True)
        for way in ("sample", "all"):
            if way == "all":
                settings = (folder / "casemate.toml").read_text()
                settings = settings.replace("[train]", '[train]\nrows = "all"', 1)
                (folder / "casemate.toml").write_text(settings)
            command = [sys.executable, __file__, "--one", name]
            said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            seconds, took, beyond, auc, own, theirs = json.loads(said.splitlines()[-1])
            stages = ", ".join(f"{stage} {took[stage]:.1f} s" for stage in took)
            print(
                f"{way}\t{seconds:.1f} s ({stages})\twent on with {beyond} rows"
                f"\tAUC {auc[0]:.4f} ({auc[1]:.4f} to {auc[2]:.4f})"
                f"\t{own / 2**20:.0f} MiB at most, the largest child {theirs / 2**20:.0f}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2])
    else:
        sys.exit(main())
