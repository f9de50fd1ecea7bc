"""The same statistical work as `casemate run`, as a bare script: no sealing, sandbox, log,
signature or registry.

Usage: python bare.py PROJECT. Reads the project's table and train.py, screens, checks, splits,
searches, refits and assesses in one process with the same functions and settings; nothing is
written, and no ONNX export is made or compared.
"""

import datetime
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
from sklearn.base import clone

from casemate import config
from casemate.controls.keys.identifiers import Root
from casemate.ml.frame import features_of, sample_rows, target_of, wanted
from casemate.ml.models import SkopsModel
from casemate.stages.assess import worker
from casemate.stages.assess.sample import Sample
from casemate.stages.assess.work import Work
from casemate.stages.data import stage as data
from casemate.stages.data.tools import DataTools
from casemate.stages.train import entry
from casemate.stages.train.folds import Rows
from casemate.stages.train.look import problem
from casemate.stages.train.search import search
from casemate.stages.train.stored import stored
from casemate.supply.rows import MEMBERS


class Quiet:
    """Takes progress and says nothing."""

    def progress(self, *_: object) -> None:
        """Nothing."""


def examined(root: Path, options: config.Config) -> data.Examined:
    """The table: read, checked, screened and divided as the data stage does it; only what would be
    kept is not.
    """
    keys: Any = None
    nowhere: Any = SimpleNamespace(candidate=Root.drawn)
    tools = DataTools(
        root,
        options,
        root,
        keys,
        keys,
        nowhere,
        keys,
        datetime.datetime.now(datetime.UTC),
        Quiet().progress,
        None,
    )
    return data.examine(tools)


def trained(
    root: Path, options: config.Config, schema: Any, rows: Sample
) -> tuple[SkopsModel, dict[str, Any]]:
    """The chosen model, fitted, and what the assessment is to know of its cross-validation."""
    job = {"train": msgspec.to_builtins(options.train)}
    models = entry.build(root, options.train.entry, job, schema).for_mode(
        options.train.mode, options.train.search
    )
    for estimator in models.by_name.values():
        if problem(estimator, rows.frame, wanted(rows.target)):
            raise SystemExit("a model that could not be stored")
    told = Rows(rows.frame, rows.target)
    params, history, metric = search(models, told, options.train, root, Quiet())
    fitted = clone(models.made(params)).fit(rows.frame, wanted(rows.target))
    best = max(history, key=lambda candidate: candidate.mean)
    return SkopsModel(stored(fitted, rows.frame)), {"scores": best.scores, "metric": metric}


def assessed(
    options: config.Config,
    schema: Any,
    model: SkopsModel,
    cv: dict[str, Any],
    samples: list[Sample],
) -> Work:
    """Every measurement of the assess stage."""
    job = {
        "schema": msgspec.to_builtins(schema),
        "assess": msgspec.to_builtins(options.assess),
        "robustness": msgspec.to_builtins(options.robustness),
        "gate_eps": [gate.eps for gate in options.gates.values() if gate.eps],
        "seed": options.train.seed,
        "least": options.privacy.min_group,
        "protected": [
            column.name for column in schema.columns if options.data.column(column.name).protected
        ],
        "cv": cv,
        "promised": None,
        "wishes": {
            "costs": options.train.costs_of(schema.classes),
            "ordinal": bool(options.data.ordinal),
            "quantile": options.train.quantile,
        },
        "monotone": {},
        "guard": {name: getattr(options.serve.guard, name) for name in ("outside", "unknown")},
        "previous": None,
        "further": [],
        "inputs": "/nowhere",
    }
    work = Work(job, Quiet())
    work.__dict__ |= {"model": model, "samples": samples, "files": {}}  # nothing is read from files
    for name, part in worker.PARTS.items():
        worker._attempt(work, name, part)
    return work


def main(root: Path) -> None:
    """Do the work and print the AUC."""
    options = config.load(root / "casemate.toml")
    found = examined(root, options)
    frame, target = features_of(found.table, found.schema), target_of(found.table, found.schema)
    training, holdout = (
        np.flatnonzero(~found.holdout & ~found.excluded),
        np.flatnonzero(found.holdout & ~found.excluded),
    )
    rows = Sample(frame, target)
    model, cv = trained(root, options, found.schema, rows.of(training))
    members = training[sample_rows(len(training), MEMBERS, options.train.seed)]
    work = assessed(
        options, found.schema, model, cv, [rows.of(holdout), rows.of(members), rows.of(holdout[:0])]
    )
    if "metrics" not in work.found:
        raise SystemExit("; ".join(work.inconclusive))
    print(
        f"roc_auc {work.found['metrics']['roc_auc']['value']:.6f}; not measured:"
        f" {'; '.join(work.inconclusive)}"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
