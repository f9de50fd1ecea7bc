"""The curve of robust accuracy over eps."""

from collections.abc import Callable
from typing import Any

import numpy as np

from casemate.config import AssessTable
from casemate.core.models import SkopsModel
from casemate.core.types import Schema
from casemate.stages.assess.robustness.gradient import Gradient
from casemate.stages.assess.robustness.interface import Attack, Target
from casemate.stages.assess.robustness.search import Search
from casemate.stages.assess.sample import Sample

ATTACKS: tuple[type[Attack], ...] = (Gradient, Search)


def measure(
    model: SkopsModel,
    schema: Schema,
    holdout: Sample,
    members: Sample,
    options: AssessTable,
    gate_eps: list[float],
    seed: int,
    progress: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """Robust accuracy per eps.

    Returns:
        `curve` (eps, robust_accuracy, changed: share of rows whose margin the attack lowered, distance: mean of the
        largest move in standard deviations), `attacks`, `rows`, `clean_accuracy`; `inconclusive` when the attack
        changed nothing, because then it has shown nothing.
    """
    names = [column.name for column in schema.features if column.type == "number"]
    if not names:
        return {"inconclusive": "no numeric feature to attack", "curve": []}
    sample = holdout.take(options.attack_rows, seed)
    spread = np.nan_to_num(members.frame[names].std(ddof=0).to_numpy(dtype=np.float64))
    low, high = (
        np.array([default if (value := getattr(schema.column(name), limit)) is None else value for name in names])
        for limit, default in (("min", -np.inf), ("max", np.inf))
    )
    target = Target(model, sample.frame, sample.codes, names, spread, low, high)
    rows = np.arange(len(sample.codes))
    start, best = target.start, target.start.copy()
    clean = target.margin(start, rows)
    margins = clean.copy()
    attacks = [attack() for attack in ATTACKS]
    attacks = [attack for attack in attacks if attack.applies(target)]
    curve = []
    sizes = sorted({*options.eps, *gate_eps})
    for number, eps in enumerate(sizes):
        progress(f"attacking with eps {eps:g}", number, len(sizes))
        for attack in attacks:
            best, margins = attack.improve(target, best, margins, eps, options.attack_steps, seed + number)
        with np.errstate(invalid="ignore", divide="ignore"):
            moved = np.nan_to_num(np.abs(best - start) / np.where(spread > 0, spread, np.inf))
        curve.append(
            {
                "eps": eps,
                "robust_accuracy": float(np.mean(margins > 0)),
                "changed": float(np.mean(margins < clean)),
                "distance": float(moved.max(axis=1).mean()),
            }
        )
    result: dict[str, Any] = {
        "curve": curve,
        "attacks": [attack.name for attack in attacks],
        "rows": len(rows),
        "clean_accuracy": float(np.mean(clean > 0)),
        "unit": "standard deviations of each feature",
    }
    if not any(point["changed"] for point in curve):
        result["inconclusive"] = "the attack changed nothing"
    return result
