"""May a row of feedback teach: what each screen says, put together."""

import dataclasses
import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import numpy as np
import pyarrow as pa

from casemate.config import FeedbackTable, Trust
from casemate.core.types import Finding, Record, Schema
from casemate.ml.frame import features_of
from casemate.stages.data.lessons import REQUEST, SOURCE
from casemate.stages.data.screening import DETECTORS, as_screened, screen_rows
from casemate.stages.data.teach.sources import SURE, SourceSeen
from casemate.stages.data.tools import DataTools

Verdict = Literal["teach", "hold", "quarantine"]
OF_LABELS = ("label_noise", "neighbours", "triggers", "floods")
"""Screens that ask whether labels were made up, switched as `[screen]` says."""
PROVEN = ("medium", "high")
"""What a screen must say of the table before a row that it names is held back: in an uncertain
table many named rows are right, and to hold back what surprises makes a model too sure.
"""
Array = np.ndarray[Any, Any]


class Judged(Record, frozen=True, kw_only=True):
    """One row that somebody told of."""

    request: str
    row: int
    """Of the request, from 0."""
    source: str
    """Who told it first."""
    verdict: Verdict
    because: list[str]
    """Why it does not teach, in words without a value; empty where it does."""
    weight: float
    """How many answers like it it stands for, beside a mean of 1; 0 where it does not teach."""


@dataclass
class Standing:
    """What is said of the rows so far."""

    rows: pa.Table
    """As `lessons` has them, one for each row of a request."""
    quarantined: list[list[str]]
    held: list[list[str]]
    findings: list[Finding] = field(default_factory=list)

    @classmethod
    def of(cls, rows: pa.Table) -> "Standing":
        """Nothing is said yet."""
        count = rows.num_rows
        return cls(rows, [[] for _ in range(count)], [[] for _ in range(count)])

    @property
    def open(self) -> Array:
        """Rows against which nothing is said, bool [n]."""
        return np.array(
            [not a and not b for a, b in zip(self.quarantined, self.held, strict=True)], dtype=bool
        )

    def hold(self, which: Array, why: str) -> None:
        """Hold rows back, bool [n]."""
        for row in np.flatnonzero(which):
            self.held[row].append(why)

    def quarantine(self, which: Array, why: str) -> None:
        """Keep rows away for good, until a person says otherwise, bool [n]."""
        for row in np.flatnonzero(which):
            self.quarantined[row].append(why)

    def verdict(self, row: int) -> Verdict:
        """What becomes of a row."""
        return "quarantine" if self.quarantined[row] else "hold" if self.held[row] else "teach"


def by_source(standing: Standing, seen: list[SourceSeen], trusts: dict[str, Trust]) -> None:
    """What trust and the tests of sources say.

    Args:
        standing: of the rows.
        seen: every source as it was judged.
        trusts: per source.
    """
    sources = np.array(standing.rows[SOURCE].to_pylist(), dtype=object)
    for name, trust in trusts.items():
        if trust == "none":
            standing.quarantine(sources == name, "its source is not trusted")
    for one in seen:
        if not one.turned:
            continue
        text = (
            f"source {one.name}: {one.against} of {one.rows} rows contradict the model, whose"
            f" scores let expect {one.by_model:.0f} and the other sources {one.by_others or 0:.0f};"
            f" chance makes that in one of {1 / max(one.chance, 1e-12):,.0f} looks. It turns"
            " labels, or sees other people than the model learnt from"
        )
        standing.findings.append(
            Finding(
                id="feedback.source",
                severity="high",
                confidence="high",
                message=text,
                location=one.name,
            )
        )
        if trusts.get(one.name) != "full":
            standing.quarantine(sources == one.name, "its source contradicts model and others")
    if len(seen) == 1:
        text = (
            f"all feedback comes from {seen[0].name}: whether it or the model is wrong where they"
            " differ, nothing here can tell"
        )
        standing.findings.append(
            Finding(id="feedback.one-source", severity="medium", confidence="high", message=text)
        )
        if seen[0].chance < SURE and trusts.get(seen[0].name) != "full":
            standing.hold(
                np.ones(len(sources), dtype=bool), "it contradicts the model, and nobody else tells"
            )


def by_share(standing: Standing, table: FeedbackTable) -> None:
    """Hold back what one source tells beyond its share; which of its rows, a hash of the request
    says, so that nobody can choose.
    """
    sources = np.array(standing.rows[SOURCE].to_pylist(), dtype=object)
    requests = standing.rows[REQUEST].to_pylist()
    free = standing.open
    names, counts = np.unique(sources[free].astype(str), return_counts=True)
    if len(names) < 2:
        return
    place = int(counts.argmax())
    others = int(counts.sum() - counts[place])
    most = int(others * table.source_share / max(1 - table.source_share, 1e-9))
    if counts[place] <= most:
        return
    mine = np.flatnonzero(free & (sources == names[place]))
    order = sorted(mine, key=lambda row: hashlib.sha256(requests[row].encode()).digest())
    beyond = np.zeros(len(sources), dtype=bool)
    beyond[order[most:]] = True
    standing.hold(beyond, "its source tells more than its share")
    text = (
        f"source {names[place]} tells {counts[place]} of {counts.sum()} rows; with [feedback]"
        f" source_share {table.source_share:g} it may teach {most}"
    )
    standing.findings.append(
        Finding(
            id="feedback.flood",
            severity="medium",
            confidence="high",
            message=text,
            location=str(names[place]),
        )
    )


def by_screens(
    standing: Standing, tools: DataTools, training: pa.Table, schema: Schema, spared: Array
) -> None:
    """What the label screens say of the rows beside the training set, those already out not among
    them.

    Args:
        standing: of the rows.
        tools: of the data stage.
        training: features and targets of the training rows.
        schema: of both.
        spared: rows of sources with full trust, bool [n].
    """
    mine = np.flatnonzero(standing.open)
    if not len(mine):
        return
    names = [*(column.name for column in schema.features), *schema.targets]
    known = training.select(names)
    told = standing.rows.take(mine).select(names).cast(known.schema)
    both = pa.concat_tables([known, told]).combine_chunks()
    wanted = {name: name in OF_LABELS and getattr(tools.config.screen, name) for name in DETECTORS}
    replace = msgspec.structs.replace
    screen = replace(tools.config.screen, provenance=False, influence=False, **wanted)
    data = replace(tools.config.data, provenance=None, time=None)
    config = replace(tools.config, screen=screen, data=data)
    rows = as_screened(both, features_of(both, schema), None, schema, config)
    found = screen_rows(dataclasses.replace(tools, config=config), rows)
    proven = {one.id.removeprefix("data.") for one in found.findings if one.severity in PROVEN}
    suspects: dict[int, set[str]] = {}
    for suspect in found.rows:
        place = suspect.row - known.num_rows
        if place >= 0 and suspect.reason in proven and not spared[mine[place]]:
            suspects.setdefault(int(mine[place]), set()).add(suspect.reason)
    for row, reasons in suspects.items():
        standing.held[row].append("screened: " + ", ".join(sorted(reasons)))
    standing.findings += [
        replace(
            one, id="feedback." + one.id.removeprefix("data."), message="with it, " + one.message
        )
        for one in found.findings
        if one.severity in PROVEN and one.id.removeprefix("data.") in {*map(_reason, wanted)}
    ]


def _reason(switch: str) -> str:
    return DETECTORS[switch].id
