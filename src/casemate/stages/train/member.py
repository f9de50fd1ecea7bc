"""Inside the sandbox: one site answers one question of a federation from its own rows.

What comes back are numbers alone: the answer, and what the site keeps to itself for later rounds.
A linear model needs no code of anybody: it is what its settings say. Of a network, see
`member_network`.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa

from casemate.core.sandbox.child import Channel, Watch
from casemate.core.types import Record, Schema
from casemate.ml import models
from casemate.ml.federated import drawn, encoding, exact, local, trees
from casemate.ml.federated.learners import Learner, LinearLearner
from casemate.ml.federated.updates import raw
from casemate.ml.frame import codes_of, features_of, groups_of, open_table, target_of

Array = np.ndarray[Any, Any]
ANSWER, CONTROL, OWN = "answer", "control", "own"
"""What is left behind, float64 little-endian: what was asked for, SCAFFOLD's difference, and the
site's own control variate. Of the same names are the last two as they come in, beside `WEIGHTS`.
"""
WEIGHTS = "weights"
BUILT = (models.NETWORK, models.WEIGHTS)
"""What the code of a job leaves of its network, in a process without a row."""


class Task(Record, frozen=True, kw_only=True):
    """One question, as the process is told of it; its numbers are the second table."""

    round: int
    """From 1."""
    what: str
    """As `messages.What`."""
    plan: local.LocalPlan
    """How the site trains in a round."""
    limits: encoding.Limits
    """Of the features."""
    scale: encoding.Scale | None
    """Of numeric features; None: by the limits alone."""
    strength: float
    """scikit-learn's C, of a logistic regression."""
    seed: int
    """Of the order in which rows are taken."""
    counted: float | None
    """How many subjects there are, with noise, where that was counted before."""
    growth: trees.Growth | None = None
    """Of boosted trees: how they are grown."""
    cuts: list[list[int]] = []
    """Of boosted trees: how numbers are cut."""
    apart: int = 0
    """Of boosted trees: see `trees.Site`."""


class Said(Record, frozen=True, kw_only=True):
    """What the process says beside its numbers."""

    rows: int
    """That it computed on."""
    counted: float | None
    """See `Task.counted`."""


Prepare = Callable[[dict[str, Any], Task, Schema, pd.DataFrame], tuple[Learner, Array]]
"""(the model, encoded features [n, d]) of a job, its task, the columns and the rows."""


def main(job: dict[str, Any], _channel: Channel, watch: Watch) -> dict[str, Any]:
    """Answer as a linear model; see `Said`."""
    sys.addaudithook(watch)
    return answered(job, linear)


def linear(
    _job: dict[str, Any], task: Task, schema: Schema, frame: pd.DataFrame
) -> tuple[Learner, Array]:
    """See `Prepare`."""
    learner = LinearLearner(task.limits.width, len(schema.classes), task.strength)
    return learner, encoded(task, frame)


def encoded(task: Task, frame: pd.DataFrame) -> Array:
    """Features as all sites encode them, float64 [n, d]."""
    scale = encoding.declared(task.limits) if task.scale is None else task.scale
    return encoding.encode(frame, task.limits, scale)


def _grown(
    task: Task,
    growth: trees.Growth,
    schema: Schema,
    table: pa.Table,
    frame: pd.DataFrame,
    weights: Array | None,
) -> Array:
    """Sums for boosted trees."""
    site = trees.Site.of(table, frame, schema, task.limits, growth, task.apart)
    asked = trees.Asked(np.zeros(0) if weights is None else weights, task.cuts, 0, None)
    if task.what == "leaves":
        return drawn.noisy_sums(site, asked, task.plan.sigma, task.plan.clip)
    return site(asked)


def answered(job: dict[str, Any], prepare: Prepare) -> dict[str, Any]:
    """Compute what is asked for, and leave it in the outputs' folder.

    Args:
        job: `task`, `schema`, and two tables: the rows, and a column each of `WEIGHTS`, `CONTROL`
            and `OWN` as far as there are some.
        prepare: what a learner is made of.
    """
    task, schema = msgspec.convert(job["task"], Task), msgspec.convert(job["schema"], Schema)
    table, numbers = (open_table(descriptor) for descriptor in job["tables"])
    given = {name: np.array(numbers[name].to_numpy()) for name in numbers.column_names}
    frame = features_of(table, schema)
    found: dict[str, Array] = {}
    counted = task.counted
    with np.errstate(over="ignore", invalid="ignore"):  # of wild rates: refused by whoever asked
        if task.what == "moments":
            found[ANSWER] = task.limits.moments(frame).flat()
        elif task.growth is not None:
            found[ANSWER] = _grown(task, task.growth, schema, table, frame, given.get(WEIGHTS))
        elif task.what == "gram":
            gram, moment = exact.gram_of(encoded(task, frame), target_of(table, schema)[:, 0])
            found[ANSWER] = np.concatenate([gram.ravel(), moment])
        else:
            learner, rows = prepare(job, task, schema, frame)
            codes = codes_of(table, schema)
            if task.what == "sums":
                found[ANSWER] = exact.sums_of(learner, rows, codes, given[WEIGHTS]).flat()  # type: ignore[arg-type]
            else:
                site = local.SiteRows(rows, codes, task.seed, groups_of(table))
                site.control, site.counted = given.get(OWN), task.counted
                moved, control = local.train(
                    learner, site, given[WEIGHTS], task.plan, task.round, given.get(CONTROL)
                )
                found[ANSWER], counted = moved, site.counted
                if control is not None and site.control is not None:
                    found |= {CONTROL: control, OWN: site.control}
    for name, vector in found.items():
        (Path(job["outputs"]) / name).write_bytes(raw(vector))
    said: dict[str, Any] = msgspec.to_builtins(Said(rows=len(frame), counted=counted))
    return said
