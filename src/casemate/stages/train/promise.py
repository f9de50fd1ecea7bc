"""What private training is bounded by, and what it spent."""

from typing import Any

import msgspec

from casemate.config import Config
from casemate.core.errors import TrainingError
from casemate.core.types import MISSING_CATEGORY, Finding, Schema
from casemate.ml.learn.accountant import Gaussians
from casemate.stages.train import diagram, told
from casemate.stages.train.tools import TrainTools

_NOISE = (1e-3, 1e9)
"""Sigma at least and at most: far wider than what `accountant.sigma_for` gives (0.1 to a
million).
"""
UNCOVERED = (
    "people of the hold-out, whom the figures are about; what casemate.toml declares; that the run"
    " came to an end; what stays inside, such as the data report and the attacks on training rows"
)
"""What epsilon says nothing of; see docs/how-to/private-training.md."""


def bounds_of(schema: Schema, config: Config) -> dict[str, Any]:
    """What bounds the features of a network: declared limits where there are some, else the pinned
    ones.
    """
    numbers: dict[str, tuple[float, float]] = {}
    categories: dict[str, list[str]] = {}
    for column in schema.features:
        said = config.data.column(column.name)
        if column.type == "category":
            categories[column.name] = [
                *(said.categories or column.categories or []),
                MISSING_CATEGORY,
            ]
        else:
            low = said.min if said.min is not None else column.min
            high = said.max if said.max is not None else column.max
            numbers[column.name] = (
                low if low is not None else 0.0,
                high if high is not None else 1.0,
            )
    return {"numbers": numbers, "categories": categories}


def promised(schema: Schema, config: Config) -> dict[str, Any]:
    """What private training is bounded by; the data stage made the schema of declarations alone."""
    table = config.privacy
    # [privacy] rows is about the whole table; a rehearsal and a training count on the same number.
    units = (
        None if table.rows is None else max(1, round(table.rows * (1 - config.train.test_share)))
    )
    return {
        **bounds_of(schema, config),
        "epsilon": table.epsilon,
        "delta": table.delta,
        "clip": table.clip,
        "units": units,
    }


def spent(tools: TrainTools, reported: dict[str, Any]) -> dict[str, Any]:
    """What the training process says of its noise, recounted here; TrainingError when it is more
    than was paid.
    """
    from casemate.ml.learn.accountant import MOST_STEPS, epsilon, replacing, second_opinion

    table = tools.config.privacy
    events = msgspec.convert(reported.get("events", []), list[Gaussians])
    possible = all(
        _NOISE[0] <= one.sigma <= _NOISE[1] and 1 <= one.steps <= MOST_STEPS and 0 < one.rate <= 1
        for one in events
    )
    if len(events) > 1 or not possible:  # what is reckoned here must be quick and finite
        raise msgspec.ValidationError("noise that no training of ours makes")
    if not events:
        text = "the private training did not say what it spent"
        raise TrainingError(text, hint="do not write to its output", plain=text)
    found, other = epsilon(events, table.delta), second_opinion(events, table.delta)
    if found > table.epsilon * 1.001:
        text = f"the training spent epsilon {found:.4f}, {table.epsilon:g} was paid"
        raise TrainingError(text, hint="do not change casemate's code in train.py", plain=text)
    tools.payment.settle(found, events)
    unit = "row" if tools.config.data.subject is None else "subject"
    return {
        "epsilon": found,
        "delta": table.delta,
        "unit": unit,
        "neighbours": f"one {unit} added or removed",
        "replacing": replacing(events, table.delta),
        "events": msgspec.to_builtins(events),
        "accountants": {"pld": found, "rdp": other},
        "not_covered": UNCOVERED,
    }


def left_out(steps: list[str]) -> list[Finding]:
    """What private training made of a pipeline: of its last step the kind only."""
    if not steps:
        return []
    named = ", ".join(
        dict.fromkeys(name if name in told.known() else diagram.UNNAMED for name in steps)
    )
    text = (
        f"private training uses none of the pipeline's steps before the last ({named}): it scales,"
        " bins and encodes by the declared limits itself"
    )
    return [
        Finding(
            id="train.steps-unused",
            severity="medium",
            confidence="high",
            message=text,
            location="train.py",
        )
    ]
