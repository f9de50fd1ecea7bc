"""Model inversion: from a class's name to the picture of its typical member, by climbing the
class's score.

Source: Fredrikson, Jha, Ristenpart, Model Inversion Attacks that Exploit Confidence Information
(CCS 2015). Measured where eps is a share of a pinned range, that is for images: correlation of the
found picture with the mean of the class's training rows, less the correlation with the mean of all
rows.
"""

from typing import Any

import msgspec
import numpy as np
import pandas as pd

from casemate.core.types import Interval, Schema
from casemate.ml.attacks.gradient import Gradient
from casemate.ml.attacks.interface import Array, Target
from casemate.ml.models import Scored
from casemate.stages.assess.sample import Sample

STEPS = 40
"""Of the climb, each at most a twentieth of a pixel's range and shorter towards the end. Chosen for
time.
"""
LEAST_FEATURES = 16
"""Fewest numbers, with ranges, that are called an image: four times four pixels. Chosen."""


class NoImage(ValueError):
    """The features are no image."""


def measure(model: Scored, schema: Schema, members: Sample) -> dict[str, Any]:
    """`correlation` (mean over the classes, with the least and greatest), per class in
    `classes`.
    """
    names = [column.name for column in schema.features]
    low, high = (
        np.array([getattr(column, limit) or 0.0 for column in schema.features])
        for limit in ("min", "max")
    )
    if schema.categories or len(names) < LEAST_FEATURES or not np.all(high >= low):
        raise NoImage(f"{len(names)} features are no image")
    span = np.where(high > low, high - low, 0.0)
    pixels = members.frame.to_numpy(dtype=np.float64)
    everything = pixels.mean(axis=0)
    kinds = len(schema.classes)
    middle = pd.DataFrame(np.repeat(((low + high) / 2)[None], kinds, axis=0), columns=names)
    unlimited = np.full(len(names), np.inf)
    target = Target(
        model,
        middle,
        np.arange(kinds),
        names,
        span,
        low,
        high,
        unlimited,
        unlimited,
        np.zeros(len(names), dtype=bool),
    )
    climber = Gradient()
    if not climber.applies(target):
        raise NoImage("the model has no gradient")
    at, changed = np.arange(kinds), target.start.copy()
    momentum: Array = np.zeros_like(changed)
    for step in range(STEPS):
        slopes = climber._slopes(target, changed, at)  # noqa: SLF001 - the same gradients as the evasion attack
        scale = np.abs(slopes).max(axis=1, keepdims=True)
        momentum = 0.9 * momentum + slopes / np.where(scale > 0, scale, 1.0)
        changed = np.clip(changed + 0.05 * (1 - step / STEPS) * span * momentum, low, high)
    found = []
    for code in range(kinds):
        mean = pixels[members.target == code].mean(axis=0)
        found.append(_correlation(changed[code] - everything, mean - everything))
    figure = Interval(
        value=float(np.mean(found)), low=float(np.min(found)), high=float(np.max(found))
    )
    return {"attack": "miface", "correlation": msgspec.to_builtins(figure), "classes": found}


def _correlation(one: Array, other: Array) -> float:
    if not one.std() or not other.std():
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])
