"""A model behind the gateway; it can only be built from a `VerifiedModel`."""

import datetime
import math
import time
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from casemate.config import ServeTable
from casemate.core import models
from casemate.core.frame import Rows
from casemate.core.models import Model, OnnxModel
from casemate.core.types import Profile, Schema
from casemate.serve.screen import Screen
from casemate.serve.types import Array
from casemate.stages.release.bundle import PROFILE, Card, VerifiedModel

SLOW = 0.001
"""Seconds for one row from which a model runs in a thread, so that its callers do not hold up the others."""
INLINE_SECONDS = 0.005
"""The same for all rows of a batch, by what a row of a large one takes."""


class Endpoint:
    """What answers for one model version."""

    def __init__(self, card: Card, model: Model, fingerprint: str, profile: Profile | None, table: ServeTable) -> None:
        """Wire it; `load` is how to make one."""
        self.card = card
        self.model = model
        self.fingerprint = fingerprint
        self.name, self.version = card.name, str(card.model_version)
        self.reference = f"{card.name}@{card.model_version}"
        self.schema: Schema = card.inputs
        self.classes = self.schema.classes
        self.takes_matrix = not self.schema.categories
        """Whether all features are numeric, so that one tensor [n, d] is enough."""
        self.screen = Screen(self.schema, profile, table.guard)
        ends = [datetime.datetime.fromisoformat(until).timestamp() for until in card.waived.values()]
        self.ends = min(ends, default=math.inf)
        """When the first waiver ends that the model passed by, in seconds since 1970."""
        self.withdrawn = ""
        """Why it does not answer any more."""
        self.row_seconds = math.inf
        """Time of one row in a batch."""
        self.slow = True

    @classmethod
    def load(cls, verified: VerifiedModel, table: ServeTable) -> "Endpoint":
        """Build the model that the signed card names, and see how fast it is."""
        card = verified.card
        profile = msgspec.json.decode(verified.files[PROFILE], type=Profile) if PROFILE in verified.files else None
        made = cls(card, models.load(verified.files, card.serve_format, card.inputs), verified.fingerprint, profile, table)
        made._measure()
        return made

    def _measure(self) -> None:
        """Time one row and many, on rows in the middle of what is allowed; they also warm the model up."""
        times = {}
        for count in (1, 1, 100):
            rows = example(self.schema, count)
            began = time.perf_counter()
            self.predict(rows)
            times[count] = time.perf_counter() - began
        self.slow, self.row_seconds = times[1] > SLOW, times[100] / 100

    def in_thread(self, count: int) -> bool:
        """Whether so many rows would hold up the event loop."""
        return self.slow or self.row_seconds * count > INLINE_SECONDS

    def predict(self, rows: Rows) -> tuple[Array, Array]:
        """(class numbers int64 [n], probabilities float32 [n, k]) for rows in the schema's order."""
        model = self.model
        if isinstance(model, OnnxModel) and model.single and isinstance(rows, np.ndarray):
            codes, probabilities = model.predict_array(rows if rows.dtype == model.dtype else rows.astype(model.dtype))
        elif isinstance(model, OnnxModel) and not model.single:
            names = [column.name for column in self.schema.features]
            codes, probabilities = model.predict_columns(rows if isinstance(rows, dict) else dict(zip(names, rows.T, strict=True)))
        else:
            codes, probabilities = model.predict(self._frame(rows))
        return np.ravel(codes), np.asarray(probabilities, dtype=np.float32)

    def _frame(self, rows: Rows) -> pd.DataFrame:
        if isinstance(rows, dict):
            return pd.DataFrame({name: pd.Series(values, dtype=values.dtype) for name, values in rows.items()})
        return pd.DataFrame(rows, columns=[column.name for column in self.schema.features])


def example(schema: Schema, count: int) -> Rows:
    """Rows that the schema allows, all alike."""
    values: dict[str, Any] = {}
    for column in schema.features:
        if column.type == "category":
            values[column.name] = np.array([(column.categories or [""])[0]] * count, dtype=object)
        else:
            values[column.name] = np.full(count, ((column.min or 0.0) + (column.max or 0.0)) / 2)
    return values if schema.categories else np.column_stack(list(values.values()))


def joined(parts: list[Rows]) -> Rows:
    """The rows of several requests to one model, below one another."""
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], dict):
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}  # type: ignore[index]
    return np.concatenate(parts)  # type: ignore[arg-type]
