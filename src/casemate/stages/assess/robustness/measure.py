"""The curve of robust accuracy over eps, and how far the attack itself can be trusted."""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from casemate.config import AssessTable, RobustnessTable
from casemate.core.types import Finding, Schema
from casemate.ml.attacks.certify import certified, smoothed
from casemate.ml.attacks.choose import fitting_attacks
from casemate.ml.attacks.gradient import Gradient
from casemate.ml.attacks.interface import Array, Attack, Target, keep_better
from casemate.ml.attacks.second import Toolbox
from casemate.ml.attacks.surface import attack_surface
from casemate.ml.attacks.thresholds import Thresholds
from casemate.ml.models import Scored
from casemate.stages.assess.intervals import share_of
from casemate.stages.assess.sample import Sample, spread_of
from casemate.stages.assess.subjects import Groups

WIDE = 0.2
"""Share of rows that neither an attack breaks nor a bound covers, from which it is told."""
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
        `curve`: per eps `robust_accuracy` with interval, `changed` (share of rows whose margin the
            attack lowered),
        `distance` (mean of the largest move in units of eps), `noise_accuracy` (under random moves
        of the same size: an attack must be stronger), `certified_accuracy` where a method gives one
        (never above the attack's figure); `attacks`, the `strongest` (it broke most rows) and the
        `budget` of each: rows that it asked the model about (`queries`), points and parts of boxes
        that it compared in trees that it read (`compared`), rows that it broke; `rows`,
        `clean_accuracy`, `masked` (share of rows that only gradient-free attacks broke), `gap`
        (most that attacks leave standing and no bound covers); `inconclusive` when the attack
        changed nothing, because then it has shown nothing.
    """
    sample = holdout.take(options.attack_rows, seed)
    tolerance = limits.tolerance * spread_of(holdout.target) if schema.regression else None
    asking = Asked(model)
    target = attack_surface(
        asking, schema, (sample.frame, sample.target), members.frame, limits, tolerance
    )
    if not target.width and not target.choices:
        return {"inconclusive": "the attacker can change no feature", "curve": []}
    if limits.unit == "range" and target.width and not target.spread.any():
        return {
            "inconclusive": "no feature has a pinned range, and [robustness] unit is range",
            "curve": [],
        }
    campaign = Campaign(
        target, fitting_attacks(target, limits.restarts, limits.decision_rows, prove=True), asking
    )
    opinion = Toolbox(limits.decision_rows) if limits.second_opinion == "art" else None
    if opinion is not None and not opinion.applies(target):
        opinion = None
    curve = []
    sizes = sorted({*options.eps, *gate_eps})
    for number, eps in enumerate(sizes):
        progress(f"attacking with eps {eps:g}", number, len(sizes))
        proof = certified(target, eps) if limits.certify_rows and not schema.regression else None
        keeps = campaign.attack(
            eps, None if proof is None else proof[0], options.attack_steps, seed + number
        )
        second = (
            _second(campaign, opinion, keeps, eps, options.attack_steps, seed + number)
            if opinion
            else {}
        )
        keeps &= campaign.margins > 0
        point = _point(target, eps, campaign, seed, sample.groups) | second
        curve.append(
            point | (_certificate(keeps, proof[1], sample.groups) if proof is not None else {})
        )
    result: dict[str, Any] = {
        "curve": curve,
        **campaign.told(),
        "rows": len(sample.target),
        "subjects": sample.subjects,
        "unit": (
            "standard deviations of each feature"
            if limits.unit == "deviation"
            else "pinned range of each feature"
        ),
    }
    gaps = [
        point["robust_accuracy"] - point["certified_accuracy"]
        for point in curve
        if "certified_accuracy" in point
    ]
    if gaps:
        result["gap"] = max(gaps)
    if schema.regression:
        result["tolerance"] = limits.tolerance
    if campaign.attacked and not any(point["changed"] for point in curve):
        result["inconclusive"] = "the attack changed nothing"
    result |= _heard(opinion, limits, curve) if limits.second_opinion == "art" else {}
    if limits.smoothing and not schema.regression:
        values = smoothed(
            target, limits.smoothing, sizes, limits.certify_rows, limits.samples, seed
        )
        result["smoothed"] = {
            "sigma": limits.smoothing,
            "norm": "L2",
            "radii": sizes,
            "accuracy": values,
        }
    return result


def findings(found: dict[str, Any]) -> list[Finding]:
    """What the figures say against themselves: hidden gradients, and a wide gap between attacks and
    bounds.
    """
    told = []
    if found.get("gap", 0.0) >= WIDE:
        points = [point for point in found["curve"] if "certified_accuracy" in point]
        wide = max(points, key=lambda point: point["robust_accuracy"] - point["certified_accuracy"])
        text = (
            f"at eps {wide['eps']:g} attacks leave {wide['robust_accuracy']:.0%} of the rows right,"
            f" and bounds cover only {wide['certified_accuracy']:.0%}: the truth lies between."
            " Where it matters, gate on certified_accuracy"
        )
        told.append(
            Finding(id="assess.robustness-gap", severity="low", confidence="high", message=text)
        )
    if found.get("masked", 0.0) >= HIDDEN:
        text = (
            f"{found['masked']:.0%} of the rows withstand gradients and fall without them: the"
            " model hides its gradients, it is not robust"
        )
        told.append(
            Finding(
                id="assess.masked-gradients", severity="medium", confidence="high", message=text
            )
        )
    return told


class Campaign:
    """All attacks on some rows, eps after eps; what one eps found is where the next begins."""

    def __init__(self, target: Target, attacks: list[Attack], asking: "Asked") -> None:
        self.target, self.attacks, self.asking = target, attacks, asking
        self.best = target.start.copy()
        self.clean = target.margin(self.best, np.arange(len(target.codes)))
        self.margins = self.clean.copy()
        self.budget = {attack.name: {"queries": 0, "compared": 0, "broke": 0} for attack in attacks}
        self.masked = 0.0
        self.attacked = 0

    def attack(self, eps: float, bound: Array | None, steps: int, seed: int) -> Array:
        """Every attack in turn on the rows that stand and that no bound holds; which rows are
        proved to stand, [n].
        """
        proved = (
            np.zeros(len(self.margins), dtype=bool) if bound is None else bound & (self.margins > 0)
        )
        self.attacked += int(np.sum(~proved & (self.margins > 0)))
        held = np.where(proved, -np.inf, self.margins)  # attacks leave alone what is broken already
        spared = proved.copy()
        for attack in self.attacks:
            before, asked = held > 0, self.asking.queries
            attack.improve(self.target, self.best, held, eps, steps, seed)
            broken = before & (held <= 0)
            spent = self.budget[attack.name]
            spent["queries"] += self.asking.queries - asked
            spent["broke"] += int(broken.sum())
            if attack.name != Gradient.name and Gradient.name in self.budget:
                self.masked = max(self.masked, float(np.mean(broken)))
            if isinstance(attack, Thresholds):
                spent["compared"] = attack.looked
                proved |= attack.proved
        self.margins = np.where(spared, self.margins, held)
        return np.asarray(proved & (self.margins > 0))

    def told(self) -> dict[str, Any]:
        """What was done, for the evidence."""
        return {
            "attacks": [attack.name for attack in self.attacks],
            "strongest": max(self.budget, key=lambda name: self.budget[name]["broke"]),
            "budget": self.budget,
            "clean_accuracy": float(np.mean(self.clean > 0)),
            "masked": self.masked,
        }


def _second(
    campaign: Campaign, opinion: Toolbox, keeps: Array, eps: float, steps: int, seed: int
) -> dict[str, Any]:
    """What the second opinion leaves by itself, from the unattacked rows; what it breaks is
    broken.
    """
    best, margins = campaign.target.start.copy(), campaign.clean.copy()
    asked = campaign.asking.queries
    opinion.improve(campaign.target, best, margins, eps, steps, seed)
    every = np.arange(len(margins))
    keep_better(campaign.best, campaign.margins, best, margins, every)
    told = {
        "by": "art",
        "robust_accuracy": float(np.mean(margins > 0)),
        "queries": campaign.asking.queries - asked,
        "changed": float(np.mean(margins < campaign.clean)),
        "open": float(np.mean((campaign.clean > 0) & ~keeps)),
    }
    return {"second_opinion": told}


def _heard(
    opinion: Toolbox | None, limits: RobustnessTable, curve: list[dict[str, Any]]
) -> dict[str, Any]:
    """Which attacks of the second opinion broke how many rows, and whether it has shown
    anything.
    """
    if opinion is None:
        return {
            "inconclusive": (
                "the second opinion has no attack on quantities, nor where no number can be moved"
            )
        }
    told: dict[str, Any] = {"second_opinion": {"by": limits.second_opinion, "broke": opinion.broke}}
    points = [point["second_opinion"] for point in curve]
    if any(point["open"] for point in points) and not any(point["changed"] for point in points):
        told["inconclusive"] = "the second opinion changed nothing"
    return told


def _point(
    target: Target, eps: float, campaign: Campaign, seed: int, groups: Groups
) -> dict[str, Any]:
    best, margins, clean = campaign.best, campaign.margins, campaign.clean
    start, count = target.start, len(margins)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.where(target.spread > 0, target.spread, np.inf)
        moved = np.nan_to_num(np.abs(best[:, : target.width] - start[:, : target.width]) / spread)
    lower, upper = target.ball(eps)
    noisy = start.copy()
    noisy[:, : target.width] = lower + np.random.default_rng(seed).random(lower.shape) * (
        upper - lower
    )
    noisy = target.legal(noisy, lower, upper)
    robust = share_of(margins > 0, groups)
    return {
        "eps": eps,
        "robust_accuracy": robust.value,
        "robust_accuracy_interval": msgspec.to_builtins(robust),
        "changed": float(np.mean(margins < clean)),
        "distance": float(moved.max(axis=1).mean()) if target.width else 0.0,
        "noise_accuracy": float(np.mean(target.margin(noisy, np.arange(count)) > 0)),
    }


def _certificate(keeps: Array, method: str, groups: Groups) -> dict[str, Any]:
    """What no attack can break; what was broken is not among it, because rounding may differ
    between model and bound in the last bit.
    """
    figure = share_of(keeps, groups)
    return {
        "certified_accuracy": figure.value,
        "certified_accuracy_interval": msgspec.to_builtins(figure),
        "certified_by": method,
    }


class Asked:
    """A model that counts the rows that it is asked about."""

    def __init__(self, model: Scored) -> None:
        self.model = model
        self.queries = 0

    def predict(self, frame: pd.DataFrame) -> tuple[Array, Array]:
        """See `Model.predict`."""
        self.queries += len(frame)
        return self.model.predict(frame)

    def scores(self, frame: pd.DataFrame) -> Array:
        """See `Scored.scores`."""
        self.queries += len(frame)
        return self.model.scores(frame)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.model, name)
        if name != "margin_gradient":
            return found

        def counted(frame: pd.DataFrame, *more: Any) -> Any:
            self.queries += len(frame)
            return found(frame, *more)

        return counted
