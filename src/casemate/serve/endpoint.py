"""A model behind the gateway; it can only be built from a `VerifiedModel`."""

import datetime
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from casemate.core import models
from casemate.core.models import Model, OnnxModel
from casemate.core.types import Schema
from casemate.stages.release.bundle import Card, VerifiedModel


@dataclass(frozen=True)
class Endpoint:
    """What answers for one model version."""

    card: Card
    model: Model
    fingerprint: str
    ends: float = math.inf
    """When the first waiver ends that the model passed by, in seconds since 1970."""

    @classmethod
    def load(cls, verified: VerifiedModel) -> "Endpoint":
        """Build the model that the signed card names."""
        card = verified.card
        ends = [datetime.datetime.fromisoformat(until).timestamp() for until in card.waived.values()]
        return cls(card, models.load(verified.files, card.serve_format, card.inputs), verified.fingerprint, min(ends, default=math.inf))

    @property
    def schema(self) -> Schema:
        """The pinned schema."""
        return self.card.inputs

    @property
    def reference(self) -> str:
        """`NAME@VERSION`."""
        return f"{self.card.name}@{self.card.model_version}"

    @property
    def takes_matrix(self) -> bool:
        """Whether all features are numeric, so that one tensor [n, d] is enough."""
        return not self.schema.categories

    def predict_matrix(self, matrix: np.ndarray[Any, Any]) -> tuple[list[str], np.ndarray[Any, Any]]:
        """(class names [n], probabilities [n, k]) for numbers [n, d] in the schema's order."""
        if isinstance(self.model, OnnxModel) and self.model.single:
            return self._named(*self.model.predict_array(np.ascontiguousarray(matrix, dtype=self.model.dtype)))
        names = [column.name for column in self.schema.features]
        return self._named(*self.model.predict(pd.DataFrame(matrix, columns=names)))

    def predict_frame(self, frame: pd.DataFrame) -> tuple[list[str], np.ndarray[Any, Any]]:
        """The same for a feature frame."""
        return self._named(*self.model.predict(frame))

    def _named(self, labels: np.ndarray[Any, Any], probabilities: np.ndarray[Any, Any]) -> tuple[list[str], np.ndarray[Any, Any]]:
        classes = self.schema.classes
        return [classes[int(label)] for label in np.ravel(labels)], np.asarray(probabilities, dtype=np.float32)
