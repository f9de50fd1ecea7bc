"""Feedback joined with what was answered, and with the sealed rows that were asked about."""

import datetime
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from casemate.controls.audit.feedback import Told, plain
from casemate.controls.audit.predictions import Prediction
from casemate.core.errors import DataError
from casemate.core.types import MISSING_CATEGORY, Schema
from casemate.ml.frame import Rows, edges_of, only, rows_from
from casemate.operations.outcomes import value_of
from casemate.operations.watching.models import Catalogue
from casemate.stages.data.lessons import REQUEST, SOURCE, TIME, WEIGHT
from casemate.stages.data.teach.sources import FAR, Array, strata
from casemate.stages.data.teach.verdicts import Judged
from casemate.wiring import Wiring

MOST_ANSWERS = 500_000
"""Answers that are counted for what is known of which: a larger sample moves no weight."""
PIECE = 50_000
"""Answers that are in memory at once."""
MOST_TOLD = 200_000
"""Requests whose feedback is judged together, the newest: what is older has taught."""

MINUTES = 600
"""Seconds after an answer by which its group is on record."""
UNSAID = "its outcome is none of the model's"


@dataclass
class Joined:
    """Feedback as arrays."""

    names: Array
    """Of statements: who told, text [s]."""
    against: Array
    """Whether it contradicts the model, bool [s]."""
    doubt: Array | None
    """The probability that the model gave to be wrong, [s]; None of quantities."""
    alike: Array
    """Stratum, int64 [s]."""
    rows: pa.Table
    """Rows with what was told of them, a row for each row of a request that can teach."""
    numbers: list[int]
    """Of these, the place in the request."""
    told: list[str]
    """When each of these was told first, ISO 8601."""
    known: Array
    """Stratum of these, int64 [n]."""
    contradicted: Array
    """Whether different things were told of them, bool [n]."""
    corrected: Array
    """Whether they are known by corrections alone, bool [n]."""
    answered: Counter[int]
    """Answers of the model per stratum, those without outcome included."""
    sources: dict[str, Told] = field(default_factory=dict)
    """One that each source told."""
    without: list[Judged] = field(default_factory=list)
    """Rows that cannot teach."""


@dataclass
class _Statement:
    told: Told
    row: int
    code: float
    """What was told: class number or quantity."""
    answer: float
    """What the model said."""
    surety: float


def join(project: Wiring, schema: Schema) -> Joined:
    """All feedback of the project's model.

    Args:
        project: whose.
        schema: of the data set that is to learn from it.

    Raises:
        DataError: the model gives several answers a row.
    """
    if len(schema.targets) > 1:
        raise DataError(
            "feedback on several targets or labels a row is kept, and does not teach yet",
            hint="put it into the table",
        )
    requests: dict[str, list[Told]] = {}
    for one in project.feedback_kept.all():
        if one.value is not None:
            requests.setdefault(one.request, []).append(one)
    for request in [*requests][:-MOST_TOLD]:
        del requests[request]
    catalogue = Catalogue(project)
    statements: list[_Statement] = []
    rows: list[tuple[Rows, list[float]]] = []
    kept: list[tuple[Told, int, float, bool, bool]] = []
    without: list[Judged] = []
    for prediction, content in project.decisions.chosen(requests):
        told = requests.pop(prediction.id)
        why = _useless(project, catalogue, prediction, content, schema)
        if why or content is None:
            without += [_held(told[0], row, why) for row in range(prediction.rows)]
            continue
        first = _statements(told, prediction, schema, statements)
        without += [
            _held(told[0], row, UNSAID) for row in range(prediction.rows) if row not in first
        ]
        if not first:
            continue
        different = len({plain(one.value) for one in told}) > 1
        corrected = all(one.kind == "correction" for one in told)
        found = only(rows_from(content, schema), [*first])
        rows.append((found, [prediction.time] * len(first)))
        kept += [(told[0], row, code, different, corrected) for row, code in first.items()]
    gone = "its request is not kept any more"
    without += [_held(told[0], 0, gone) for told in requests.values()]
    return _arrays(project, schema, statements, rows, kept, without)


def _useless(
    project: Wiring,
    catalogue: Catalogue,
    prediction: Prediction,
    content: bytes | None,
    schema: Schema,
) -> str:
    if prediction.model.partition("@")[0] != project.config.project.name:
        return "it is another model's"
    if prediction.refused:
        return "a guard refused the request"
    if content is None:
        return "its rows are not kept: [serve] inputs"
    watched = catalogue(prediction.model)
    if watched is None:
        return "its model cannot be read"
    ours, theirs = ([(c.name, c.type) for c in one.features] for one in (schema, watched.schema))
    if ours != theirs or watched.schema.classes != schema.classes:
        return "its model takes other features or gives other classes"
    return ""


def _held(told: Told, row: int, why: str) -> Judged:
    return Judged(
        request=told.request, row=row, source=told.who, verdict="hold", because=[why], weight=0.0
    )


def _statements(
    told: list[Told], prediction: Prediction, schema: Schema, statements: list[_Statement]
) -> dict[int, float]:
    """What each teller told first of each row, added; returns what the first one told, by row,
    without rows of which somebody told what the model could not have said.
    """
    answers, surety = answers_of(prediction.labels, prediction.probabilities, schema)
    places = {name: code for code, name in enumerate(schema.classes)}
    found: dict[int, dict[str, _Statement]] = {}
    refused: set[int] = set()
    for one in told:
        for row in range(prediction.rows):
            try:
                said = value_of((one.value or [])[row], schema)
            except (ValueError, IndexError):
                refused.add(row)
                continue
            code = float(places[said] if places else said)
            statement = _Statement(one, row, code, float(answers[row]), float(surety[row]))
            found.setdefault(row, {}).setdefault(one.who, statement)
    for row in refused:
        found.pop(row, None)
    statements += [one for row in sorted(found) for one in found[row].values()]
    return {row: next(iter(found[row].values())).code for row in sorted(found)}


def answers_of(labels: bytes, outputs: bytes, schema: Schema) -> tuple[Array, Array]:
    """(class numbers or quantities, probability of the answer; ones of quantities), [rows] each."""
    if schema.regression:
        values = np.frombuffer(outputs, "<f8")
        return values, np.ones(len(values))
    codes = np.frombuffer(labels, "<u2").astype(np.int64)
    each = np.frombuffer(outputs, "<f4").reshape(len(codes), -1)
    return codes, each.max(axis=1).astype(float)


def _arrays(
    project: Wiring,
    schema: Schema,
    statements: list[_Statement],
    rows: list[tuple[Rows, list[float]]],
    kept: list[tuple[Told, int, float, bool, bool]],
    without: list[Judged],
) -> Joined:
    codes = np.array([one.code for one in statements])
    answers = np.array([one.answer for one in statements])
    surety = np.array([one.surety for one in statements])
    if schema.regression:
        error = np.abs(codes - answers)
        against = error > (np.quantile(error, FAR) if len(error) else 0.0)
        edges = edges_of(answers) if len(answers) else np.empty(0)
        alike = strata(np.searchsorted(edges, answers), surety)
    else:
        edges, against = np.empty(0), codes != answers
        alike = strata(answers.astype(np.int64), surety)
    places = {(one.told.request, one.row): number for number, one in enumerate(statements)}
    known = np.array([alike[places[told.request, row]] for told, row, *_ in kept], dtype=np.int64)
    table = _table(schema, rows, kept)
    times = [time for _, each in rows for time in each]
    return Joined(
        names=np.array([one.told.who for one in statements], dtype=object),
        against=against,
        doubt=None if schema.regression else 1.0 - surety,
        alike=alike,
        rows=table,
        numbers=[row for _, row, *_ in kept],
        told=[told.time for told, *_ in kept],
        known=known,
        contradicted=np.array([different for *_, different, _ in kept], dtype=bool),
        corrected=np.array([corrected for *_, corrected in kept], dtype=bool),
        answered=_answered(project, schema, edges, min(times), max(times)) if times else Counter(),
        sources={one.told.who: one.told for one in statements},
        without=without,
    )


def _table(
    schema: Schema,
    rows: list[tuple[Rows, list[float]]],
    kept: list[tuple[Told, int, float, bool, bool]],
) -> pa.Table:
    columns: dict[str, Any] = {}
    for place, column in enumerate(schema.features):
        parts = [
            found[column.name] if isinstance(found, dict) else found[:, place] for found, _ in rows
        ]
        values = np.concatenate(parts) if parts else np.empty(0)
        if column.type == "category":
            texts = [None if value == MISSING_CATEGORY else value for value in values]
            columns[column.name] = pa.array(texts, pa.string())
        else:
            numbers = values.astype(float)
            columns[column.name] = pa.array(numbers, pa.float64(), mask=np.isnan(numbers))
    codes = [code for _, _, code, *_ in kept]
    columns[schema.target] = (
        pa.array(codes, pa.float64())
        if schema.regression
        else pa.array([schema.classes[int(code)] for code in codes], pa.string())
    )
    columns[REQUEST] = pa.array([f"{told.request}/{row}" for told, row, *_ in kept], pa.string())
    columns[SOURCE] = pa.array([told.who for told, *_ in kept], pa.string())
    times = [time for _, each in rows for time in each]
    columns[TIME] = pa.array(times, pa.float64())
    columns[WEIGHT] = pa.array([1.0] * len(kept), pa.float64())
    return pa.table(columns)


class _Answer(msgspec.Struct, frozen=True):
    model: str
    part: str
    time: float
    labels: bytes
    probabilities: bytes
    refused: str = ""


def _answered(
    project: Wiring, schema: Schema, edges: Array, since: float, until: float
) -> Counter[int]:
    """Answers of the model per stratum, in the stretch of time in which outcomes are known."""
    ends = [
        datetime.datetime.fromtimestamp(time, datetime.UTC).isoformat()
        for time in (since - 1, until + MINUTES)
    ]
    decode, name = msgspec.json.Decoder(_Answer).decode, project.config.project.name
    found: Counter[int] = Counter()
    total, labels, outputs = 0, [], []
    for body, _ in project.decisions.between(*ends):
        one = decode(body)
        if one.refused or one.part == "shadow" or one.model.partition("@")[0] != name:
            continue
        if not since <= one.time <= until or total >= MOST_ANSWERS:
            continue
        labels.append(one.labels)
        outputs.append(one.probabilities)
        total += 1
        if len(labels) >= PIECE:
            found += _counted(schema, edges, labels, outputs)
            labels, outputs = [], []
    return found + _counted(schema, edges, labels, outputs)


def _counted(
    schema: Schema, edges: Array, labels: list[bytes], outputs: list[bytes]
) -> Counter[int]:
    if not labels:
        return Counter()
    answers, surety = answers_of(b"".join(labels), b"".join(outputs), schema)
    of = np.searchsorted(edges, answers) if schema.regression else answers
    kinds, counts = np.unique(strata(np.asarray(of, dtype=np.int64), surety), return_counts=True)
    return Counter(dict(zip(kinds.tolist(), counts.tolist(), strict=True)))
