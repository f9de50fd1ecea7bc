"""The same statistical work as `casemate run`, as a bare script: no sealing, sandbox, log, signature or registry.

Usage: python bare.py PROJECT. Reads the project's table and train.py, screens, splits, searches, refits and assesses in
one process with the same functions and settings.
"""

import datetime
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
from sklearn.base import clone
from sklearn.model_selection import train_test_split

from casemate import config
from casemate.core.frame import codes_of, features_of
from casemate.core.models import SkopsModel
from casemate.stages.assess import importance, quality, robustness, shift
from casemate.stages.assess.leakage import lira, membership, memorised
from casemate.stages.assess.sample import Sample
from casemate.stages.data import schema as schemas
from casemate.stages.data import source
from casemate.stages.data.checks import balance, leakage, split
from casemate.stages.data.checks.interface import Subject
from casemate.stages.data.checks.profile import profile
from casemate.stages.data.screen.influence import influence
from casemate.stages.data.screen.interface import Rows
from casemate.stages.data.stage import DETECTORS
from casemate.stages.train.search import Models, search
from casemate.stages.train.search import Rows as TrainingRows


class Quiet:
    """Takes progress and says nothing."""

    def progress(self, *_: object) -> None:
        """Nothing."""


def main(root: Path) -> None:
    """Do the work and print the AUC."""
    options = config.load(root / "casemate.toml")
    table, _ = source.read(root / options.data.source, options.data)
    schema, _ = schemas.infer(table, options.data)
    frame, codes = features_of(table, schema), codes_of(table, schema)
    rows = Rows(frame, codes, None, schema, options.train.seed)
    suspects = []
    for switch, detector in DETECTORS.items():
        if getattr(options.screen, switch):
            suspects += detector()(rows, options.screen).rows
    influence(rows, suspects)
    profile(table, schema)
    train, test = train_test_split(np.arange(len(codes)), test_size=options.train.test_share, stratify=codes, random_state=options.train.seed)
    holdout_rows = np.zeros(len(codes), dtype=bool)
    holdout_rows[test] = True
    subject = Subject(table, frame, codes, None, schema, options, datetime.datetime.now(datetime.UTC))
    for check in (balance.check(subject), leakage.check(subject), split.check(subject, holdout_rows, np.zeros(len(codes), dtype=bool))):
        check.findings.clear()
    train_table, test_table = (table.take(pa.array(np.sort(part))) for part in (train, test))
    members, holdout = (Sample(features_of(part, schema), codes_of(part, schema)) for part in (train_table, test_table))
    spec = importlib.util.spec_from_file_location("train", root / "train.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    estimator = module.build()
    params, _, _ = search(Models({"": estimator}), TrainingRows(members.frame, members.target), options.train, root, Quiet())
    model = SkopsModel(clone(estimator).set_params(**params).fit(members.frame, members.target))
    measured = quality.measure(model, schema, holdout, options.assess, options.train.seed)
    sample = members.take(20_000, options.train.seed)
    seed, quiet = options.train.seed, Quiet().progress
    robustness.measure(model, schema, holdout, sample, options.assess, options.robustness, [], seed, quiet)
    membership.measure(model, sample, holdout, options.assess, seed)
    lira.measure(model, model.estimator, sample, holdout, options.assess, seed, quiet)
    shift.shift_auc(sample, holdout, schema, seed)
    importance.measure(model, holdout, seed)
    memorised.nearest(sample.take(5000, seed), holdout.take(5000, seed), list(frame.columns))
    print(f"roc_auc {measured['metrics']['roc_auc']['value']:.6f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
