"""The curve of robust accuracy over eps, and how far the attack itself can be trusted."""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from casemate.config import AssessTable, RobustnessTable
from casemate.core.attacks.aim import aim
from casemate.core.attacks.certify import certified, smoothed
from casemate.core.attacks.decision import Decision
from casemate.core.attacks.gradient import Gradient
from casemate.core.attacks.interface import Array, Attack, Quantity, Target
from casemate.core.attacks.search import Search
from casemate.core.models import Scored
from casemate.core.types import Schema
from casemate.stages.assess.sample import Sample, share, spread_of

HIDDEN = 0.1
"""Share of rows that only attacks without gradients break, from which gradients count as masked."""


def measure(
    model: Scored,
    schema: Schema,
    holdout: Sample,
    members: Sample,
    options: AssessTable,
    limits: RobustnessTable,
    gate_eps: list[float],
    seed: int,
    progress: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """Robust accuracy per eps.

    Returns:
        `curve`: per eps `robust_accuracy` with interval, `changed` (share of rows whose margin the attack lowered),
        `distance` (mean of the largest move in units of eps), `noise_accuracy` (under random moves of the same size: an
        attack must be stronger), `certified_accuracy` where a method gives one (never above the attack's figure);
        `attacks`, `rows`, `clean_accuracy`, `masked` (share of rows that only gradient-free attacks broke);
        `inconclusive` when the attack changed nothing, because then it has shown nothing.
    """
    sample = holdout.take(options.attack_rows, seed)
    tolerance = limits.tolerance * spread_of(holdout.target) if schema.regression else None
    target = aim(model, schema, (sample.frame, sample.target), members.frame, limits, tolerance)
    if not target.width and not target.choices:
        return {"inconclusive": "the attacker can change no feature", "curve": []}
    if limits.unit == "range" and target.width and not target.spread.any():
        return {"inconclusive": "no feature has a pinned range, and [robustness] unit is range", "curve": []}
    rows = np.arange(len(sample.target))
    start, best = target.start, target.start.copy()
    clean = target.margin(start, rows)
    margins = clean.copy()
    attacks: list[Attack] = [Gradient(limits.restarts), Search(), Decision(limits.decision_rows)]
    attacks = [attack for attack in attacks if attack.applies(target)]
    curve = []
    masked = 0.0
    sizes = sorted({*options.eps, *gate_eps})
    for number, eps in enumerate(sizes):
        progress(f"attacking with eps {eps:g}", number, len(sizes))
        for attack in attacks:
            before = margins > 0
            attack.improve(target, best, margins, eps, options.attack_steps, seed + number)
            if attack.name != Gradient.name and any(other.name == Gradient.name for other in attacks):
                masked = max(masked, float(np.mean(before & (margins <= 0))))
        curve.append(_point(target, eps, best, margins, clean, seed))
        _certify(target, eps, curve[-1], limits, margins)
    result: dict[str, Any] = {
        "curve": curve,
        "attacks": [attack.name for attack in attacks],
        "rows": len(rows),
        "clean_accuracy": float(np.mean(clean > 0)),
        "unit": "standard deviations of each feature" if limits.unit == "deviation" else "pinned range of each feature",
        "masked": masked,
    }
    if schema.regression:
        result["tolerance"] = limits.tolerance
    if not any(point["changed"] for point in curve):
        result["inconclusive"] = "the attack changed nothing"
    if limits.smoothing and not schema.regression:
        values = smoothed(target, limits.smoothing, sizes, limits.certify_rows, limits.samples, seed)
        result["smoothed"] = {"sigma": limits.smoothing, "norm": "L2", "radii": sizes, "accuracy": values}
    return result


def _point(target: Target, eps: float, best: Array, margins: Array, clean: Array, seed: int) -> dict[str, Any]:
    start, count = target.start, len(margins)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.where(target.spread > 0, target.spread, np.inf)
        moved = np.nan_to_num(np.abs(best[:, : target.width] - start[:, : target.width]) / spread)
    lower, upper = target.ball(eps)
    noisy = start.copy()
    noisy[:, : target.width] = lower + np.random.default_rng(seed).random(lower.shape) * (upper - lower)
    noisy = target.legal(noisy, lower, upper)
    robust = share(int(np.sum(margins > 0)), count)
    return {
        "eps": eps,
        "robust_accuracy": robust.value,
        "robust_accuracy_interval": msgspec.to_builtins(robust),
        "changed": float(np.mean(margins < clean)),
        "distance": float(moved.max(axis=1).mean()) if target.width else 0.0,
        "noise_accuracy": float(np.mean(target.margin(noisy, np.arange(count)) > 0)),
    }


def _certify(target: Target, eps: float, point: dict[str, Any], limits: RobustnessTable, margins: Array) -> None:
    found = certified(target, eps) if limits.certify_rows and not isinstance(target, Quantity) else None
    if found is None:
        return
    keeps, method = found
    # What was broken cannot be certified: rounding in the model's arithmetic may differ from the bound's in the last bit.
    keeps = keeps & (margins > 0)
    figure = share(int(keeps.sum()), len(keeps))
    point["certified_accuracy"] = figure.value
    point["certified_accuracy_interval"] = msgspec.to_builtins(figure)
    point["certified_by"] = method
