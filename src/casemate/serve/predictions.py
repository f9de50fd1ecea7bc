"""What a gateway's client gives: answers about rows of a table, and rows without one."""

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from casemate.serve.rows import Part, Rejected


@dataclass(frozen=True)
class Answers:
    """What a model says about some rows of a table."""

    numbers: list[int]
    """Of each row, its number in the table, from 0."""
    places: list[int]
    """Of each row, its place in the part that was asked about."""
    request: str
    """Request id, for `casemate explain`."""
    columns: dict[str, list[Any]]
    """`label` and `p_CLASS` for each probability that may be seen, of several labels each one's
    name and `p_LABEL`, or the quantities by their targets' names, or noisy counts.
    """

    counts: bool = False
    """Whether these are noisy counts of all rows together, a class each, and nothing of any row."""


@dataclass(frozen=True)
class Predicted:
    """What came of one part of a table."""

    part: Part
    answers: list[Answers]
    rejected: list[Rejected]
    """In the table's order, with those that could not be read."""


@dataclass(frozen=True)
class Predictions:
    """What came of a table."""

    answers: pa.Table
    """`row` (from 0), the answer, `request` and `request_row` (for `casemate explain REQUEST --row
    N`).
    """
    rejected: list[Rejected] = field(default_factory=list)
    """Rows without an answer."""


def columns_of(known: dict[str, Any], outputs: dict[str, Any]) -> dict[str, list[Any]]:
    """The columns of an answer, by what is known of the model and what it gave."""
    labels = known.get("labels") or ["label"]
    said = outputs["label"]["data"] if "label" in outputs else None
    found: dict[str, list[Any]] = (
        {}
        if said is None
        else {name: said[place :: len(labels)] for place, name in enumerate(labels)}
    )
    classes = [f"p_{name}" for name in known.get("labels") or known.get("classes", [])]
    for output, columns in (
        ("probabilities", classes),
        ("prediction", known.get("targets", [])),
        ("count", ["count"]),
    ):
        if output in outputs:
            flat, width = outputs[output]["data"], len(columns)
            found |= {name: flat[place::width] for place, name in enumerate(columns)}
    return found
