"""A model behind the gateway; it can only be built from a `VerifiedModel`."""

import datetime
import math
import time
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pandas as pd

from casemate.config import ServeTable
from casemate.core.errors import VerificationError
from casemate.core.sandbox.session import Surroundings
from casemate.core.types import Profile, Schema
from casemate.ml import models
from casemate.ml.frame import NO_LABEL, Rows, part_of, range_names, range_of
from casemate.ml.models import Model, OnnxModel
from casemate.ml.own.asked import OwnCodeFailed
from casemate.respond.holds import Hold
from casemate.serve.cells import Cells
from casemate.serve.guard import Guard
from casemate.serve.types import Array
from casemate.stages.release.bundle import PROFILE, Card, VerifiedModel

if TYPE_CHECKING:
    from casemate.serve.barred import Barred
    from casemate.serve.called import Raw

SLOW = 0.001
"""Seconds for one row from which a model runs in a thread, so that its callers do not hold up the
others.
"""
SIZES = (2, 5, 16)
"""Batches on which it is seen whether an answer depends on company."""
PATIENCE = 10
"""How many times longer than usual a batch may take: on a busy machine, or with rows that are
slower than others.
"""
INLINE_SECONDS = 0.005
"""The same for all rows of a batch, by what a row of a large one takes."""


class Endpoint:
    """What answers for one model version."""

    barred: "Barred | None" = None
    """About whom it does not answer; None: nobody follows that."""

    def __init__(
        self,
        card: Card,
        model: Model,
        fingerprint: str,
        digest: str,
        profile: Profile | None,
        table: ServeTable,
        missing: Collection[str] = (),
    ) -> None:
        """Wire it; `load` is how to make one."""
        self.card = card
        self.model = model
        self.fingerprint, self.digest = fingerprint, digest
        self.name, self.version = card.name, str(card.model_version)
        self.reference = f"{card.name}@{card.model_version}"
        self.schema: Schema = card.inputs
        self.features = self.schema.features
        self.regression = self.schema.regression
        self.profile = profile
        self._edges = np.array([] if profile is None else profile.edges)
        self.labels = self.schema.labels
        """Of several labels a row the two classes of each, yes last; none: there is one target."""
        self.classes = (
            range_names(self._edges)
            if self.regression
            else self.schema.classes or self.schema.targets
        )
        """What a row can be said to be: a class, the range that its first quantity lies in, or
        what it can carry: labels.
        """
        self.wire = "<f8" if self.regression else "<f4"
        """How answers are recorded."""
        self.takes_matrix = not self.schema.categories
        """Whether all features are numeric, so that one tensor [n, d] is enough."""
        self.cells = {column.name: Cells(column, missing) for column in self.features}
        """By input, in the schema's order: how callers may write its values."""
        self.raw: Raw | None = None
        if card.reading is not None:  # a gateway whose callers send features reads no tables
            from casemate.serve import called

            self.raw = called.Raw(card.reading, self.cells)
        """How features are read from the table's own columns; None: they come ready."""
        self.extra = table.extra
        self.guard = Guard(self.schema, profile, table.guard)
        ends = [
            datetime.datetime.fromisoformat(until).timestamp() for until in card.waived.values()
        ]
        self.ends = min(ends, default=math.inf)
        """When the first waiver ends that the model passed by, in seconds since 1970."""
        self.faults: dict[str, str] = {}
        """Why it does not answer any more: by kind (`signature`, `stuck`, `code`, `held`), what
        happened.
        """
        self.withdrawn = ""
        """The first of them."""
        self.label_only = False
        """Whether a hold keeps probabilities from its callers."""
        self.suspect = False
        """Whether it has stood still once: from then on it never computes where others wait for the
        same thread.
        """
        self._patience = table.stuck
        self.row_seconds = math.inf
        """Time of one row in a batch."""
        self.slow = True
        self.steady = False
        """Whether a row gets the same answer, to the last bit, whatever rows are asked about with
        it.
        """

    @classmethod
    def load(
        cls,
        verified: VerifiedModel,
        table: ServeTable,
        missing: Collection[str] = (),
        surroundings: Surroundings = Surroundings(),  # noqa: B008 - frozen
    ) -> "Endpoint":
        """Build the model that the signed card names, and see how fast it is.

        Args:
            verified: the model.
            table: the `[serve]` table.
            missing: texts that mean a missing value.
            surroundings: of the sandbox, where the model has code of its own.

        Raises:
            SandboxError: it has, and this kernel cannot confine it.
        """
        card = verified.card
        profile = (
            msgspec.json.decode(verified.files[PROFILE], type=Profile)
            if PROFILE in verified.files
            else None
        )
        model: Model
        if card.code:
            from casemate.serve.confined import ConfinedModel

            model = ConfinedModel(verified, surroundings)
        else:
            own = card.labels == "own"
            model = models.load(verified.files, card.serve_format, card.inputs, card.order, own=own)
        made = cls(
            card,
            model,
            verified.fingerprint,
            verified.digest,
            profile,
            table,
            missing,
        )
        try:
            made._measure()
        except OwnCodeFailed as error:
            made.close()
            raise VerificationError(
                f"{made.reference} does not answer in its sandbox: {error}",
                hint="what its code needs must work without files, network and training rows",
            ) from error
        return made

    def _measure(self) -> None:
        """Time one row and many, which also warms the model up, and see whether rows may share a
        batch and be replayed alone.
        """
        times = {}
        for count in (1, 1, 100):
            rows = example(self.schema, count)
            began = time.perf_counter()
            self.predict(rows)
            times[count] = time.perf_counter() - began
        # a sandbox that has to be started again takes seconds
        self.slow = times[1] > SLOW or bool(self.card.code)
        self.row_seconds = times[100] / 100
        rows = example(self.schema, max(SIZES), np.random.default_rng(0))
        alone = [self.predict(part_of(rows, place, place + 1))[1][0] for place in range(max(SIZES))]
        self.steady = all(
            np.array_equal(
                self.predict(part_of(rows, 0, size))[1], np.array(alone[:size]), equal_nan=True
            )
            for size in SIZES
        )

    def carried(self, code: int) -> list[str]:
        """What the answer `code` says that a row is: its class, or the labels that it carries."""
        if not self.labels:
            return [self.classes[code]]
        names = [name for place, name in enumerate(self.classes) if code >> place & 1]
        return names or [NO_LABEL]

    def judge(self, kind: str, fault: str) -> bool:
        """Withdraw it, or take that back when `fault` is empty; returns whether this kind of fault
        is new, which a hold does not hide.
        """
        is_known = self.faults.pop(kind, None) is not None
        if fault:
            self.faults[kind] = fault
        self.withdrawn = next(iter(self.faults.values()), "")
        return bool(fault) and not is_known

    def hold(self, holds: Iterable[Hold]) -> None:
        """Let exactly these holds of the project count."""
        on = {one.what: one.reason for one in holds if one.covers(one.what, self.reference)}
        self.judge("held", on.get("answers", ""))
        self.label_only = "probabilities" in on

    @property
    def tried(self) -> str:
        """What the model's own code tried that its sandbox refuses; empty while it tried
        nothing.
        """
        return str(getattr(self.model, "tried", ""))

    def close(self) -> None:
        """Ask no more; ends the sandbox of a model that has one."""
        getattr(self.model, "close", lambda: None)()

    def in_thread(self, count: int) -> bool:
        """Whether so many rows would hold up the event loop."""
        return self.slow or self.suspect or self.row_seconds * count > INLINE_SECONDS

    def allowance(self, count: int) -> float:
        """Seconds within which so many rows are answered, or the model stands still."""
        return self._patience + PATIENCE * self.row_seconds * count

    def predict(self, rows: Rows) -> tuple[Array, Array]:
        """(class numbers int64 [n], probabilities float32 [n, k]) for rows in the schema's order.

        Of a regressor: the numbers of the ranges that its first quantity lies in, and quantities
        float64 [n, m]. Of several labels: numbers whose bit `1 << place` is a label's yes, and
        probabilities of yes float32 [n, m].
        """
        model = self.model
        if isinstance(model, OnnxModel) and model.single and isinstance(rows, np.ndarray):
            codes, probabilities = model.predict_array(
                rows if rows.dtype == model.dtype else rows.astype(model.dtype)
            )
        elif isinstance(model, OnnxModel) and not model.single:
            names = [column.name for column in self.features]
            codes, probabilities = model.predict_columns(
                rows if isinstance(rows, dict) else dict(zip(names, rows.T, strict=True))
            )
        else:
            codes, probabilities = model.predict(self._frame(rows))
        if self.regression:
            return range_of(self._edges, probabilities[:, 0]), probabilities
        if self.labels:
            codes = codes @ (1 << np.arange(len(self.labels)))
        return np.ravel(codes), np.asarray(probabilities, dtype=np.float32)

    def _frame(self, rows: Rows) -> pd.DataFrame:
        if isinstance(rows, dict):
            return pd.DataFrame(
                {name: pd.Series(values, dtype=values.dtype) for name, values in rows.items()}
            )
        return pd.DataFrame(rows, columns=[column.name for column in self.features])


def example(schema: Schema, count: int, generator: np.random.Generator | None = None) -> Rows:
    """Rows that the schema allows: the middle of everything, or drawn evenly."""
    values: dict[str, Any] = {}
    for column in schema.features:
        if column.type == "category":
            known = column.categories or [""]
            values[column.name] = np.array(
                (
                    [known[0]] * count
                    if generator is None
                    else [known[i] for i in generator.integers(len(known), size=count)]
                ),
                dtype=object,
            )
        else:
            low, high = column.min or 0.0, column.max or 0.0
            values[column.name] = (
                np.full(count, (low + high) / 2)
                if generator is None
                else generator.uniform(low, max(low, high), count)
            )
    return values if schema.categories else np.column_stack(list(values.values()))
