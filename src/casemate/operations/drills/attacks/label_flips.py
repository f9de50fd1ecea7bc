"""Somebody who may write to the source turns the labels of one row in twelve."""

from typing import Any

import numpy as np

from casemate.core.types import Schema
from casemate.operations.drills import poison
from casemate.operations.drills.attack import Attack
from casemate.operations.drills.scene import Scene
from casemate.operations.drills.seen import Seen

SHARE = 1 / 12


def flip(columns: dict[str, list[Any]], schema: Schema, random: np.random.Generator) -> list[int]:
    """Turn labels of rows that carry one."""
    target = columns[schema.target]
    labelled = [row for row, value in enumerate(target) if value is not None]
    count = max(poison.FEW, int(len(labelled) * SHARE))
    rows = sorted(int(row) for row in random.choice(labelled, count, replace=False))
    values = sorted({value for value in target if value is not None}, key=str)
    for row in rows:
        target[row] = values[(values.index(target[row]) + 1) % len(values)]
    return rows


def play(scene: Scene) -> Seen:
    """Play it."""
    return poison.play(scene, flip, ("label-noise",))


ATTACK = Attack(
    id="label-flips",
    title="labels of one row in twelve are turned at the source",
    technique="AML.T0020",
    detects="[screen] label_noise names most of them",
    within=600,
    play=play,
)
