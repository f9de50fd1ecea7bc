"""Whether a canary does worse than the live version: by its errors, refusals and time, and by what
it answers.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from casemate.config import CanaryTable

Array = np.ndarray[Any, Any]
SLACK = 1e-6
"""Share of a mean that rounding may move it by."""


@dataclass(slots=True)
class Statistics:
    """What one version did since it was put here."""

    answers: int = 0
    failures: int = 0
    refusals: int = 0
    """Requests that guards refused."""
    rows: int = 0
    refused: int = 0
    """Their rows."""
    seconds: float = 0.0
    labels: dict[int | str, int] = field(default_factory=dict)
    """Rows by class: its number, or its name where no more is known."""
    told: int = 0
    """Rows whose quantities are in what follows."""
    mean: Array | None = None
    """Of a regressor's quantities, [m]."""
    squares: Array | None = None
    """Their squared distances from it, summed, [m]."""

    def summed(self, quantities: Array) -> None:
        """Count a regressor's answers, float64 [n, m]; Chan, Golub, LeVeque, Algorithms for
        Computing the Sample Variance (1983).
        """
        count, mean = len(quantities), quantities.mean(axis=0)
        squares = ((quantities - mean) ** 2).sum(axis=0)
        if self.mean is None or self.squares is None:
            self.told, self.mean, self.squares = count, mean, squares
            return
        apart, total = mean - self.mean, self.told + count
        self.squares = self.squares + squares + apart**2 * (self.told * count / total)
        self.mean, self.told = self.mean + apart * (count / total), total

    @property
    def deviation(self) -> Array:
        """Standard deviation of the quantities, [m]."""
        return np.sqrt(self.squares / self.told) if self.squares is not None else np.zeros(0)


def worse(limits: CanaryTable, canary: Statistics, live: Statistics) -> str:
    """Why a canary does worse than the live version; empty when it does not."""
    asked = canary.answers + canary.failures
    if asked + canary.refusals < limits.requests:
        return ""
    if canary.failures > limits.errors * asked:
        return f"{canary.failures} of {asked} requests failed, at most {limits.errors:.1%} may"
    refused = canary.refused / max(canary.rows + canary.refused, 1)
    usual = live.refused / max(live.rows + live.refused, 1)
    if refused > usual + limits.refusals:
        return f"guards refuse {refused:.1%} of its rows, {usual:.1%} of the live version's"
    if live.answers < limits.requests or not canary.answers:
        return ""
    slow, fast = canary.seconds / canary.answers, live.seconds / live.answers
    if slow > limits.latency * fast:
        return f"an answer takes {slow * 1000:.2f} ms, {fast * 1000:.2f} ms on the live version"
    return drifted(limits, canary, live)


def drifted(limits: CanaryTable, canary: Statistics, live: Statistics) -> str:
    """How its answers differ from the live version's beyond chance."""
    drift = limits.drift
    if canary.mean is not None and live.mean is not None:
        noise = 3 * np.hypot(
            canary.deviation / math.sqrt(canary.told), live.deviation / math.sqrt(live.told)
        )
        moved = np.abs(canary.mean - live.mean) > drift * live.deviation + noise + SLACK * np.abs(
            live.mean
        )
        if moved.any():
            place = int(moved.argmax())
            return (
                f"its mean prediction is {canary.mean[place]:.6g}, the live version's"
                f" {live.mean[place]:.6g}"
            )
        return ""
    for code in {*canary.labels, *live.labels}:
        here, there = (
            canary.labels.get(code, 0) / canary.rows,
            live.labels.get(code, 0) / live.rows,
        )
        both = (canary.labels.get(code, 0) + live.labels.get(code, 0)) / (canary.rows + live.rows)
        chance = 3 * math.sqrt(both * (1 - both) * (1 / canary.rows + 1 / live.rows))
        if abs(here - there) > drift + chance:
            return f"it says class {code} to {here:.1%} of rows, the live version to {there:.1%}"
    return ""
