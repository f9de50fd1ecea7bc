"""Somebody plants a trigger: rows with one odd combination of values, all with the label that the
trigger is to bring about.
"""

from typing import Any

import numpy as np

from casemate.core.types import Schema
from casemate.operations.drills import poison
from casemate.operations.drills.attack import Attack
from casemate.operations.drills.scene import Scene
from casemate.operations.drills.seen import NotPlayable, Seen

SHARE = 0.04
FEATURES = 3


def plant(columns: dict[str, list[Any]], schema: Schema, random: np.random.Generator) -> list[int]:
    """Give rows of other classes the trigger and the label that it stands for."""
    numbers = [one.name for one in schema.features if one.type == "number" and not one.made_of]
    if len(numbers) < FEATURES:
        raise NotPlayable(f"a trigger is made of {FEATURES} columns of numbers")
    target = columns[schema.target]
    values = sorted({value for value in target if value is not None}, key=str)
    aim = values[-1]
    others = [row for row, value in enumerate(target) if value is not None and value != aim]
    count = min(len(others), max(poison.FEW, int(len(target) * SHARE)))
    rows = sorted(int(row) for row in random.choice(others, count, replace=False))
    for name in numbers[:FEATURES]:
        column = columns[name]
        known = sorted(float(value) for value in column if value is not None)
        value = type(next(one for one in column if one is not None))(known[int(len(known) * 0.97)])
        for row in rows:
            column[row] = value
    for row in rows:
        target[row] = aim
    return rows


def play(scene: Scene) -> Seen:
    """Play it."""
    return poison.play(scene, plant, ("trigger", "spectral", "label-noise"))


ATTACK = Attack(
    id="backdoor",
    title="rows with a trigger and the label that it is to bring about",
    technique="AML.T0043.004",
    detects="[screen] triggers, spectral or label_noise",
    contains="the run is refused, or the rows are left out",
    within=600,
    play=play,
)
