"""Whether a canary does worse than the live version: by its errors, refusals and time, and by what
it answers.
"""

import math

import numpy as np

from casemate.config import CanaryTable
from casemate.serve.versions import Statistics

SLACK = 1e-6
"""Share of a mean that rounding may move it by."""


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
