"""Hardening scikit-learn models: attack the training rows, add what was found with the right label,
train again.

Adversarial training by augmentation (Goodfellow, Shlens, Szegedy, ICLR 2015; for estimators without
gradients too). The attack is the assessment's own, within the same limits, on a sample of rows in
every round.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from casemate.core.types import FeatureLimits, Schema
from casemate.ml.attacks.certify import certified
from casemate.ml.attacks.choose import fitting_attacks
from casemate.ml.attacks.interface import Target
from casemate.ml.attacks.surface import attack_surface
from casemate.ml.models import SkopsModel

ROWS = 2_000
"""Rows that each round attacks and learns from again. A judgement: the attack takes most of the
time.
"""
JUDGED = 1_000
"""Rows, a fifth at most, that choose the round: what augmentation buys in one model it costs in
another.
"""
Array = np.ndarray[Any, Any]


def harden(
    estimator: Any,
    rows: tuple[pd.DataFrame, Array],
    schema: Schema,
    limits: FeatureLimits,
    settings: tuple[float, int, int],
    seed: int,
    progress: Callable[[str, int, int], None],
) -> Any:
    """The estimator, fitted on the rows and on what attacks made of them, for as many rounds as
    made it more robust on rows kept aside.

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
    order = generator.permutation(len(codes))
    count = min(JUDGED, len(codes) // 5)
    judged, kept = np.sort(order[:count]), np.sort(order[count:])
    inner, own = frame.iloc[kept].reset_index(drop=True), codes[kept]

    def attacked(model: Any, at: Array, number: int) -> tuple[Target, Array, Array] | None:
        """(what was attacked, its rows at their worst, their margins); None when nothing can be
        changed.
        """
        target = attack_surface(
            SkopsModel(model),
            schema,
            (frame.iloc[at].reset_index(drop=True), codes[at]),
            frame,
            limits,
        )
        if not target.width and not target.choices:
            return None
        best, every = target.start.copy(), np.arange(len(at))
        margins = target.margin(best, every)
        for attack in fitting_attacks(target):
            attack.improve(target, best, margins, eps, steps, seed + number)
        return target, best, margins

    model = clone(estimator).fit(inner, own)
    extra: list[pd.DataFrame] = []
    labels: list[Array] = []
    robust: list[float] = []
    for number in range(rounds + 1):
        progress("hardening", number, rounds)
        told = attacked(model, judged, number) if count else None
        robust.append(_withstood(told[0], told[2], eps) if told else float(number))
        if number == rounds:
            break
        at = np.sort(generator.choice(kept, min(ROWS, len(kept)), replace=False))
        found = attacked(model, at, number)
        if found is None:
            break
        extra.append(found[0].rows(found[1], np.arange(len(at))))
        labels.append(codes[at])
        model = clone(estimator).fit(
            pd.concat([inner, *extra], ignore_index=True), np.concatenate([own, *labels])
        )
    best = int(np.argmax(robust))
    return clone(estimator).fit(
        pd.concat([frame, *extra[:best]], ignore_index=True),
        np.concatenate([codes, *labels[:best]]),
    )


def _withstood(target: Target, margins: Array, eps: float) -> float:
    """Share of the rows that withstood the attack, by a bound where there is one."""
    bound = certified(target, eps)
    return float(np.mean(margins > 0 if bound is None else bound[0] & (margins > 0)))
