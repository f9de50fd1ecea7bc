"""One prediction looked at again: who asked, what was answered, whether the model still answers
that bit for bit, and what counted.

What counted: each feature in turn becomes what it usually is, and the probability of the answer, or
the first quantity, is compared (occlusion; Zeiler and Fergus, Visualizing and Understanding
Convolutional Networks, ECCV 2014). It speaks of one feature at a time.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import msgspec
import numpy as np
import pyarrow as pa

from casemate.controls.access.masks import masked
from casemate.controls.audit.predictions import Prediction
from casemate.core.digest import sha256
from casemate.core.errors import ConfigError, RequestError, VerificationError
from casemate.core.types import Profile, SealedDataset
from casemate.ml.frame import Rows, part_of, rows_bytes, rows_from
from casemate.ml.own.asked import OwnCodeFailed
from casemate.operations.acting import operation, reading
from casemate.operations.dataset import Dataset
from casemate.serve.endpoint import Endpoint
from casemate.serve.loading import surroundings
from casemate.serve.protocols import invocations, oip, oip_grpc
from casemate.serve.types import Array
from casemate.stages.release.bundle import PROFILE
from casemate.wiring import Wiring

MOST_FEATURES = 2000
"""Above so many, changing each one asks the model too often for one answer. Chosen."""


@dataclass(frozen=True)
class Counted:
    """What one feature did to the probability of the answer or of the first label, or to the first
    quantity.
    """

    feature: str
    value: float | str | None
    usual: float | str | None
    change: float
    """As answered, less what it is with the usual value."""
    shown: Literal["plain", "masked", "withheld"] = "plain"
    """Whether policy lets the reader see the column: its value and what is usual may be masked, or
    withheld (None).
    """


@dataclass(frozen=True)
class Explained:
    """A prediction looked at again."""

    prediction: Prediction
    time: str
    """ISO 8601."""
    answers: list[tuple[str, float]]
    """Per row the class and its probability, as recorded; of several labels per row each label
    with its class and that one's probability; of a regressor per row each target and
    its quantity.
    """
    outcome: Any | None
    """What really was, per row, if anybody told."""
    replayed: bool | None
    """Whether the signed model gives the same answer, bit for bit; None without the rows."""
    counted: list[Counted]
    """For the row that was asked about, greatest first."""
    withheld: list[str] = field(default_factory=list)
    """Columns that the reader may not see, the target too: then answers and outcome are empty."""


@reading("model:explain")
def newest(project: Wiring, count: int) -> list[Prediction]:
    """The newest predictions; AccessDenied: policy."""
    return list(project.decisions.newest(count))


@operation("model:explain", "Model")
def explain(
    project: Wiring, identifier: str, *, body: bytes | None = None, row: int = 0, most: int = 10
) -> Explained:
    """Look at the prediction of a request again.

    Args:
        project: whose.
        identifier: request id, `x-request-id` of the answer.
        body: the request as it was sent, where the rows were not kept; their digest must be the
            recorded one.
        row: which of its rows to say what counted for.
        most: so many features.

    Raises:
        AccessDenied: policy does not permit it. ConfigError: there is no such prediction, or `body`
            is another request's.
        VerificationError: the record or the model was changed.
    """
    # Asked twice: which model it is about stands in the record, which nobody without any right to
    # explain may have looked up.
    explain.ask(project, kind="Project", unrecorded=True)
    prediction, kept = project.decisions.find(identifier)
    name = prediction.model.partition("@")[0]
    explain.ask(project, name, request=identifier)
    verified = project.registry.verify(prediction.model)
    missing = project.config.data.null_values
    loaded = Endpoint.load(verified, project.config.serve, missing, surroundings(project))
    with contextlib.closing(loaded) as endpoint, _own_code():
        rows = (
            rows_from(kept, endpoint.schema)
            if kept
            else None
            if body is None
            else _given(endpoint, name, body)
        )
        if rows is not None and sha256(rows_bytes(rows)) != prediction.input:
            raise ConfigError(
                "these are not the rows of that request",
                hint="give the body as it was sent, to the last digit",
            )
        profile = (
            msgspec.json.decode(verified.files[PROFILE], type=Profile)
            if PROFILE in verified.files
            else None
        )
        codes = np.frombuffer(prediction.labels, "<u2")
        probabilities = (
            np.frombuffer(prediction.probabilities, endpoint.wire).reshape(len(codes), -1)
            if len(codes)
            else np.empty((0, 0), np.float32)
        )
        if not 0 <= row < max(prediction.rows, 1):
            raise ConfigError(
                f"the request has {prediction.rows} rows, there is no row {row}",
                hint="rows are numbered from 0",
            )
        answered = rows is not None and not prediction.refused
        found = Explained(
            prediction=prediction,
            time=prediction.moment.isoformat(timespec="milliseconds"),
            answers=_answers(endpoint, codes, probabilities),
            outcome=project.decisions.outcome(identifier),
            replayed=(
                _same(endpoint, rows, codes, probabilities)
                if answered and rows is not None
                else None
            ),
            counted=(
                _counted(endpoint, part_of(rows, row, row + 1), profile, most)
                if answered and rows is not None
                else []
            ),
        )
        return _masked(project, verified.card.lineage["run"], found)


@contextlib.contextmanager
def _own_code() -> Iterator[None]:
    """A model's own code that fails is a fault of the model."""
    try:
        yield
    except OwnCodeFailed as error:
        raise VerificationError(
            f"the model does not answer this time: {error}", hint="ask its owner"
        ) from error


def _masked(project: Wiring, run: str, found: Explained) -> Explained:
    """Without what the reader may not see of the data set that the model learnt from: the same rule
    as for reading its columns.

    Values of general columns go with the right to explain. A run whose data set is unknown here
    shows none of the others.
    """
    record = project.engine.record(run, "data", SealedDataset)
    if record is None:
        raise VerificationError(
            f"the run {run} of this model is not in the catalogue", hint="casemate fsck"
        )
    access = Dataset(project, record).access()
    closed = {name for name in access.withheld if access.classes[name] != "general"}

    def shown(one: Counted) -> Counted:
        if one.feature in closed:
            return replace(one, value=None, usual=None, shown="withheld")
        if (mask := access.masked.get(one.feature)) is None:
            return one
        return replace(
            one,
            value=_mask(one.value, mask, one.feature),
            usual=_mask(one.usual, mask, one.feature),
            shown="masked",
        )

    target = (closed | access.masked.keys()) & {*record.schema.targets}
    answers, outcome = ([], None) if target else (found.answers, found.outcome)
    withheld = sorted(closed & {one.feature for one in found.counted}) + sorted(target)
    return replace(
        found,
        counted=[shown(one) for one in found.counted],
        answers=answers,
        outcome=outcome,
        withheld=withheld,
    )


def _mask(value: float | str | None, mask: str, name: str) -> Any:
    return masked(pa.chunked_array([[value]]), mask, name)[0].as_py()


def _given(endpoint: Endpoint, name: str, body: bytes) -> Rows:
    with contextlib.suppress(RequestError):
        return oip.read(endpoint, name, body, _json_length(body), 10**9).rows
    try:
        return oip_grpc.read(
            endpoint, name, oip_grpc.parsed(oip_grpc.message("ModelInferRequest"), body), 10**9
        ).rows
    except RequestError:
        if body.lstrip()[:1] not in (b"{", b"["):
            return invocations.read(endpoint, body, b"text/csv", 10**9).rows
        with contextlib.suppress(RequestError):
            return invocations.read(endpoint, body, invocations.LINES[0], 10**9).rows
        return invocations.read(endpoint, body, b"application/json", 10**9).rows


def _json_length(body: bytes) -> int | None:
    """Where the JSON of a body ends that has tensors as bytes behind it."""
    try:
        _, end = json.JSONDecoder().raw_decode(body.decode("latin-1"))
    except (ValueError, RecursionError):
        return None
    return None if body[end:].isspace() or end == len(body) else end


def _answers(endpoint: Endpoint, codes: Array, probabilities: Array) -> list[tuple[str, float]]:
    if endpoint.regression:
        return [
            (name, float(value))
            for row in probabilities
            for name, value in zip(endpoint.schema.targets, row, strict=True)
        ]
    if endpoint.labels:
        return [
            (
                f"{name} {pair[code >> place & 1]}",
                float(row[place] if code >> place & 1 else 1 - row[place]),
            )
            for code, row in zip(codes.tolist(), probabilities, strict=True)
            for place, (name, pair) in enumerate(
                zip(endpoint.classes, endpoint.labels, strict=True)
            )
        ]
    return [
        (endpoint.classes[code], float(probabilities[place, code]))
        for place, code in enumerate(codes.tolist())
    ]


def _same(endpoint: Endpoint, rows: Rows, codes: Array, probabilities: Array) -> bool:
    again, other = endpoint.predict(rows)
    return (
        again.tolist() == codes.tolist()
        and other.astype(endpoint.wire).tobytes() == probabilities.tobytes()
    )


def _counted(endpoint: Endpoint, rows: Rows, profile: Profile | None, most: int) -> list[Counted]:
    """Per feature how the probability of the class or of the first label, or the first quantity,
    changes when it becomes usual.

    Usual is the training mean (without a profile the middle of what the schema allows), or the mean
    over all other categories.
    """
    if len(endpoint.features) > MOST_FEATURES:
        return []
    codes, probabilities = endpoint.predict(rows)
    code = 0 if endpoint.regression or endpoint.labels else int(codes[0])
    told = float(probabilities[0, code])
    middles = [
        ((column.min or 0.0) + (column.max or 0.0)) / 2
        for column in endpoint.features
        if column.type != "category"
    ]
    means = iter(middles if profile is None or not profile.mean else profile.mean)
    found = []
    for place, column in enumerate(endpoint.features):
        value = (rows[column.name] if isinstance(rows, dict) else rows[:, place])[0]
        if column.type == "category":
            usual: Any = "any other"
            others: list[Any] = [
                category for category in column.categories or [] if category != value
            ]
        else:
            usual = next(means)
            others = [usual]
        if not others:
            continue
        without = np.mean(
            [
                endpoint.predict(_changed(rows, place, column.name, other))[1][0, code]
                for other in others
            ]
        )
        found.append(
            Counted(
                column.name,
                value if isinstance(value, str) else None if np.isnan(value) else float(value),
                usual,
                told - float(without),
            )
        )
    return sorted(found, key=lambda one: -abs(one.change))[:most]


def _changed(rows: Rows, place: int, name: str, value: Any) -> Rows:
    if isinstance(rows, dict):
        return {**rows, name: np.array([value], dtype=rows[name].dtype)}
    changed = rows.copy()
    changed[:, place] = value
    return changed
