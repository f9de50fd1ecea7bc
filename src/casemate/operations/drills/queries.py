"""Asking a model many questions, as somebody does who copies it or turns it inside out."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from casemate.operations.drills import response
from casemate.operations.drills.scene import Gateway, Scene
from casemate.operations.drills.seen import NotPlayable, Seen

ROWS, REQUESTS = 25, 60
"""Of a request, and how many are asked before the attack has what it wants."""
SEED = 71


def values(feature: Any) -> tuple[float, float]:
    """Between which numbers a feature lies."""
    low = 0.0 if feature.min is None else float(feature.min)
    high = low + 1.0 if feature.max is None else float(feature.max)
    return low, high


def anything(gateway: Gateway) -> Iterator[list[list[Any]]]:
    """Rows that cover all that the model takes, evenly: what a copy is trained on (Tramèr et al.,
    Stealing Machine Learning Models via Prediction APIs, USENIX Security 2016).
    """
    random = np.random.default_rng(SEED)
    while True:
        yield [[_any(one, random) for one in gateway.features] for _ in range(ROWS)]


def neighbours(gateway: Gateway) -> Iterator[list[list[Any]]]:
    """One row again and again, with a single value changed: how a way over a model's border is
    found, and what it says of one person.
    """
    random = np.random.default_rng(SEED)
    row, features = gateway.row(), gateway.features
    while True:
        rows = []
        for _ in range(ROWS):
            place = int(random.integers(len(features)))
            row = [*row]
            row[place] = _any(features[place], random)
            rows.append(row)
        yield rows


def _any(feature: Any, random: "np.random.Generator") -> Any:
    if feature.type == "category":
        return str(random.choice(feature.categories or [""]))
    return float(random.uniform(*values(feature)))


def play(scene: Scene, service: str, asked: Iterator[list[list[Any]]], gateway: Gateway) -> Seen:
    """Ask until somebody notices, or until all was asked.

    Args:
        scene: of the drill.
        service: a name for the caller.
        asked: questions.
        gateway: which is asked.
    """
    token, _ = gateway.token(service)
    watch = scene.strike()
    answered = 0
    with gateway.opened() as connection:
        for _ in range(REQUESTS):
            answer = gateway.predict(token, next(asked), connection=connection)
            if answer.status == 200:
                answered += ROWS
            elif answer.status == 422:  # a guard refuses such rows
                continue
            elif answer.status == 429:
                watch.sees(f"[serve.limits]: 429 after {answered} rows")
                watch.stops("[serve.limits]")
                return watch.seen()
            elif answer.status in (401, 403):
                break
            else:
                raise NotPlayable(f"the gateway answers {answer.status}: {answer.body[:120]!r}")

    def refused() -> bool:
        return gateway.predict(token, next(asked)).status in (401, 403, 429)

    seen = response.risen(watch, gateway, service, "model-probing", refused)
    return replace(seen, said=f"{answered} rows were answered; {seen.said}".rstrip("; "))
