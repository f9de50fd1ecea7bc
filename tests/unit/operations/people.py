"""People of three towns whose illness a model foretells, and answers about them on record."""

import time

import numpy as np
import pandas as pd
from bench.watch import traffic

from casemate.watch.telemetry import DAY

BEGAN = (time.time() // DAY + 1) * DAY
"""The next midnight, UTC: projects of tests are made now."""
ROWS = 1_500


def population(rows: int, seed: int, *, older: float = 0.0, turned: bool = False) -> pd.DataFrame:
    drawn = np.random.default_rng(seed)
    age = drawn.normal(50 + older, 10, rows).round()
    town = drawn.choice(["rome", "oslo", "kiel"], rows, p=[0.5, 0.3, 0.2])
    dose = drawn.gamma(2.0, 10.0, rows).round(1)
    z = 0.12 * (age - 50) + 0.8 * (town == "oslo") - 0.5
    outcome = np.where(drawn.random(rows) < 1 / (1 + np.exp(z if turned else -z)), "ill", "well")
    return pd.DataFrame({"age": age, "town": town, "dose": dose, "outcome": outcome})


def day(number: int, count: int) -> np.ndarray:
    return BEGAN + number * DAY + np.linspace(60, DAY - 60, count)


def ask(root, frame, number, **options):
    """Let the model answer all rows of a day."""
    project = traffic.opened(root, BEGAN)
    return traffic.answer(project, "t@1", frame, day(number, len(frame)), **options)
