"""Training code makes a model that has learnt its rows by heart, so that it tells who was among
them (Yeom et al., Privacy Risk in Machine Learning, CSF 2018).
"""

import numpy as np
import pyarrow
import pyarrow.parquet

from casemate.core.errors import Error
from casemate.operations.drills import poison
from casemate.operations.drills.attack import Attack
from casemate.operations.drills.scene import Scene
from casemate.operations.drills.seen import NotPlayable, Seen
from casemate.operations.drills.twin import TABLE
from casemate.operations.runs import run

# all trees are sure of a row that they saw, and of one label; of others they are not
CODE = """

from sklearn.compose import make_column_selector as _chosen, make_column_transformer as _columns
from sklearn.ensemble import ExtraTreesClassifier as _Trees
from sklearn.impute import SimpleImputer as _Filled
from sklearn.pipeline import make_pipeline as _steps
from sklearn.preprocessing import OneHotEncoder as _Coded


def {name}():
    numbers = (_Filled(), _chosen(dtype_include="number"))
    words = (_Coded(handle_unknown="ignore"), _chosen(dtype_exclude="number"))
    return _steps(_columns(numbers, words), _Trees(50, random_state=0))
"""
GATES = ("membership_", "label_only_", "lira_")
"""How gates begin that look at what a model says of its own rows."""
SHARE = 0.6
"""Of the labels are drawn anew: what cannot be learnt has to be learnt by heart."""


def play(scene: Scene) -> Seen:
    """Play it."""
    with scene.broken(train__search={}, train__calibrate=False) as project:
        schema = poison.schema_of(project)
        if schema.regression or schema.labels or project.config.train.model is not None:
            raise NotPlayable("it is played with code that trains a classifier of one target")
        target = project.root / TABLE
        table = pyarrow.parquet.read_table(target)
        columns = table.to_pydict()
        labels, random = columns[schema.target], np.random.default_rng(poison.SEED)
        drawn = random.choice(len(labels), int(len(labels) * SHARE), replace=False)
        for row, other in zip(drawn, random.permutation(drawn), strict=True):
            columns[schema.target][int(row)] = table[schema.target][int(other)].as_py()
        pyarrow.parquet.write_table(pyarrow.table(columns, schema=table.schema), target)
        file, _, name = project.config.train.entry.partition(":")
        with (project.root / file).open("a") as code:
            code.write(CODE.format(name=name))
        watch = scene.strike()
        try:
            result = run(project)
        except Error as error:
            raise NotPlayable(f"its run ended otherwise: {error.message}") from error
        caught = [
            one
            for one in result.verdict.gates
            if one.gate.startswith(GATES) and one.outcome != "passed"
        ]
        if caught:
            watch.sees(f"[gates] {caught[0].gate}: {caught[0].value}, {caught[0].outcome}")
        if result.verdict.outcome != "passed":
            watch.stops(f"the run is {result.verdict.outcome}")
        return watch.seen()


ATTACK = Attack(
    id="memorising-model",
    title="training code makes a model that tells who its rows are of",
    technique="AML.T0024.000",
    detects="[gates] about membership",
    contains="no model is signed",
    within=600,
    play=play,
)
