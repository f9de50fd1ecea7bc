"""Predictions about one person, where their callers said whom they were about."""

import contextlib
import datetime
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from casemate.controls.audit.predictions import Prediction
from casemate.core.errors import Error
from casemate.core.types import Record
from casemate.stages.release.bundle import CARD, Card
from casemate.wiring import Wiring


class Told(Record, frozen=True, kw_only=True):
    """Predictions about a person by one model version for one caller."""

    model: str
    """`NAME@VERSION`."""
    part: str
    """`shadow`: nobody heard them."""
    by: str
    """Who asked."""
    purpose: str
    """For which the version was made, as its signed card says; empty: the version is gone."""
    count: int
    """How many requests."""
    first: str
    last: str
    """When the first and the last were answered, ISO 8601 in UTC."""


class Answer(Record, frozen=True, kw_only=True):
    """One prediction about a person, as their copy has it."""

    request: str
    """Its number, as the caller got it."""
    time: str
    model: str
    part: str
    by: str
    purpose: str
    told: list[dict[str, Any]]
    """What the model said of each of their rows; without names where its card is gone."""
    refused: str
    """Why nothing was answered."""
    rows: int
    """Rows of the request, also those of others."""


def told(project: Wiring, pseudonyms: Sequence[str]) -> list[Told]:
    """What was told about a person, by model version and caller.

    Args:
        project: whose.
        pseudonyms: under which the person is known.

    Raises:
        VerificationError: a record was changed.
    """
    found: dict[tuple[str, str, str], list[Prediction]] = {}
    for one in project.told.about(pseudonyms):
        found.setdefault((one.model, one.part, one.principal), []).append(one)
    cards = _cards(project, {model for model, _, _ in found})
    return [
        Told(
            model=model,
            part=part,
            by=by,
            purpose=cards[model].purpose if model in cards else "",
            count=len(some),
            first=_moment(min(one.time for one in some)),
            last=_moment(max(one.time for one in some)),
        )
        for (model, part, by), some in sorted(found.items())
    ]


def answers(project: Wiring, pseudonyms: Sequence[str]) -> Iterator[Answer]:
    """Every prediction about a person, oldest first, with what was said of their rows alone."""
    theirs = set(map(bytes.fromhex, pseudonyms))
    found = list(project.told.about(pseudonyms))
    cards = _cards(project, {one.model for one in found})
    for one in found:
        card = cards.get(one.model)
        yield Answer(
            request=one.id,
            time=one.moment.isoformat(timespec="milliseconds"),
            model=one.model,
            part=one.part,
            by=one.principal,
            purpose="" if card is None else card.purpose,
            told=[_said(one, row, card) for row in _rows(one, theirs)],
            refused=one.refused,
            rows=one.rows,
        )


def _rows(one: Prediction, theirs: set[bytes]) -> list[int]:
    """Which rows of a request are about a person; none where nothing was answered."""
    if not one.labels and not one.probabilities:
        return []
    whose = one.people * one.rows if len(one.people) == 1 else one.people
    return [row for row, subject in enumerate(whose) if subject in theirs]


def _said(one: Prediction, row: int, card: Card | None) -> dict[str, Any]:
    """What was said of one row, in the names of the model's card."""
    if card is None:
        return {}
    schema = card.inputs
    wire = "<f8" if schema.regression else "<f4"
    values = np.frombuffer(one.probabilities, wire).reshape(one.rows, -1)[row].tolist()
    if schema.regression:
        return dict(zip(schema.targets, values, strict=False))
    code = int(np.frombuffer(one.labels, "<u2")[row])
    if schema.labels:
        pairs = zip(schema.targets, schema.labels, values, strict=False)
        return {
            name: {"label": pair[code >> place & 1], "probability of yes": value}
            for place, (name, pair, value) in enumerate(pairs)
        }
    classes = schema.classes or schema.targets
    return {
        "label": classes[code],
        "probabilities": dict(zip(classes, values, strict=False)),
    }


def _cards(project: Wiring, models: set[str]) -> dict[str, Card]:
    """`NAME@VERSION` -> card, of those that are there and can be read."""
    found: dict[str, Card] = {}
    for one in project.registry.list():
        if one.reference in models and CARD in one.release.files:
            with contextlib.suppress(Error):
                found[one.reference] = project.registry.card(one.release)
    return found


def _moment(time: float) -> str:
    return datetime.datetime.fromtimestamp(time, datetime.UTC).isoformat(timespec="seconds")
