"""Hardening scikit-learn models: attack the training rows, add what was found with the right label, train again.

Adversarial training by augmentation (Goodfellow, Shlens, Szegedy, ICLR 2015; for estimators without gradients too). The attack is
the assessment's own, within the same limits, on a sample of rows in every round.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from casemate.core.attacks.aim import aim
from casemate.core.attacks.gradient import Gradient
from casemate.core.attacks.search import Search
from casemate.core.models import SkopsModel
from casemate.core.types import Limits, Schema

ROWS = 2_000
Array = np.ndarray[Any, Any]


def harden(
    estimator: Any,
    rows: tuple[pd.DataFrame, Array],
    schema: Schema,
    limits: Limits,
    settings: tuple[float, int, int],
    seed: int,
    progress: Callable[[str, int, int], None],
) -> Any:
    """The estimator, fitted on the rows and on what attacks made of them.

    Args:
        estimator: with its parameters chosen.
        rows: feature frame [n] and class numbers [n].
        schema: names the features and their pinned ranges.
        limits: what an attacker can change.
        settings: (eps, steps of the attack, rounds).
        seed: of the sample.
        progress: hears how far it is.
    """
    frame, codes = rows
    eps, steps, rounds = settings
    generator = np.random.default_rng(seed)
    model = clone(estimator).fit(frame, codes)
    extra: list[pd.DataFrame] = []
    labels: list[Array] = []
    for number in range(rounds):
        progress("hardening", number, rounds)
        at = np.sort(generator.choice(len(codes), min(ROWS, len(codes)), replace=False))
        target = aim(SkopsModel(model), schema, (frame.iloc[at].reset_index(drop=True), codes[at]), frame, limits)
        if not target.width and not target.choices:
            break
        best, every = target.start.copy(), np.arange(len(at))
        margins = target.margin(best, every)
        for attack in (Gradient(1), Search()):
            if attack.applies(target):
                attack.improve(target, best, margins, eps, steps, seed + number)
        extra.append(target.rows(best, every))
        labels.append(codes[at])
        model = clone(estimator).fit(pd.concat([frame, *extra], ignore_index=True), np.concatenate([codes, *labels]))
    return model
