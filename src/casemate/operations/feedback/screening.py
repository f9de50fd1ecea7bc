"""Which feedback may teach: joined with the sealed rows, judged by its source and beside the
training set.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from casemate.core.errors import ConfigError
from casemate.core.types import Finding, Record, Schema, SealedDataset
from casemate.ml.frame import sample_rows
from casemate.operations.acting import operation
from casemate.operations.feedback.joined import Joined, join
from casemate.operations.feedback.kept import trust_of
from casemate.stages.data.lessons import REQUEST, SOURCE, WEIGHT
from casemate.stages.data.teach import selection, sources, verdicts
from casemate.stages.data.teach.sources import SourceSeen
from casemate.stages.data.teach.verdicts import Judged, Standing
from casemate.wiring import Wiring

MOST_BESIDE = 20_000
"""Training rows beside which feedback is looked at: trees learn no more from a million."""


class Screened(Record, frozen=True, kw_only=True):
    """What feedback is worth to a model."""

    dataset: str
    """The version beside which it was looked at, `NAME@VERSION`."""
    rows: int
    """Rows of requests that something was told of."""
    verdicts: dict[str, int]
    """Rows that teach, are held back, are in quarantine."""
    sources: list[SourceSeen]
    """The most unlikely first."""
    findings: list[Finding]
    judged: list[Judged]
    """Every row; no values."""


@dataclass(frozen=True)
class Lessons:
    """What may teach, and what was said of all."""

    screened: Screened
    table: pa.Table
    """As `stages.data.lessons` has it."""
    told: list[str]
    """When each of its rows was told first, ISO 8601."""


@operation("feedback:screen")
def screen(project: Wiring) -> Screened:
    """Judge all feedback: what of it would teach, what is held back or in quarantine, and why.

    Raises:
        AccessDenied: policy. ConfigError: nothing was sealed yet. DataError: the model gives
            several answers a row.
    """
    acting = screen.ask(project, unrecorded=True)
    found = judged(project).screened
    turned = [one.name for one in found.sources if one.turned]
    about = f'Project::"{project.config.project.id}"'
    counts = found.verdicts
    acting.record("feedback:screen", about, dataset=found.dataset, named=turned[:20], **counts)
    return found


def judged(project: Wiring) -> Lessons:
    """The same, with the rows that may teach; whoever calls has asked policy."""
    record = project.engine.newest_step("data", SealedDataset)
    if record is None:
        raise ConfigError("no table was sealed yet", hint="casemate run")
    if project.config.train.mode == "private":
        raise ConfigError(
            "private training takes no feedback: what screens say of a row hangs on other rows",
            hint="put what you know into the table",
        )
    schema = record.schema
    joined = join(project, schema)
    standing = Standing.of(joined.rows)
    trusts = {name: trust_of(project, told) for name, told in joined.sources.items()}
    seen = sources.judge(joined.names, joined.against, joined.doubt, joined.alike)
    verdicts.by_source(standing, seen, trusts)
    named = joined.rows[SOURCE].to_pylist()
    spared = np.array([trusts[name] == "full" for name in named], dtype=bool)
    standing.hold(joined.contradicted, "different things were told of it")
    standing.hold(joined.corrected & ~spared, "it is known only because the answer was wrong")
    standing.hold(~fits(joined.rows, schema), "it does not fit the pinned schema")
    verdicts.by_share(standing, project.config.feedback)
    _beside(project, record, standing, spared)
    _told(standing, joined)
    weights = _weights(project, joined, standing)
    rows = [
        Judged(
            request=key.rpartition("/")[0],
            row=joined.numbers[place],
            source=named[place],
            verdict=standing.verdict(place),
            because=standing.quarantined[place] + standing.held[place],
            weight=float(weights[place]),
        )
        for place, key in enumerate(joined.rows[REQUEST].to_pylist())
    ]
    every = [*rows, *joined.without]
    count = Counter(one.verdict for one in every)
    teaching = pa.array([one.verdict == "teach" for one in rows], pa.bool_())
    table = joined.rows.set_column(
        joined.rows.column_names.index(WEIGHT), WEIGHT, pa.array(weights, pa.float64())
    )
    screened = Screened(
        dataset=f"{record.name}@{record.version}",
        rows=len(every),
        verdicts={name: count[name] for name in ("teach", "hold", "quarantine")},
        sources=seen,
        findings=standing.findings,
        judged=every,
    )
    told = [when for when, one in zip(joined.told, rows, strict=True) if one.verdict == "teach"]
    return Lessons(screened, table.filter(teaching), told)


def _weights(project: Wiring, joined: Joined, standing: Standing) -> "np.ndarray[Any, Any]":
    """How many answers each row stands for, beside those that teach with it; 0 of the others."""
    teach = standing.open
    found, findings = selection.weights(joined.known[teach], joined.answered)
    standing.findings += findings
    weights = np.zeros(len(teach))
    weights[teach] = found * project.config.retrain.weight
    return weights


def _beside(
    project: Wiring, record: SealedDataset, standing: Standing, spared: "np.ndarray[Any, Any]"
) -> None:
    """What the label screens say of the rows beside the training set."""
    if not standing.open.any():
        return
    from casemate import pipeline
    from casemate.operations.runs import run_context
    from casemate.supply.rows import SealedRows

    context = run_context(project)
    training = SealedRows(context, record).sourced
    seed = project.config.train.seed
    training = training.take(pa.array(sample_rows(training.num_rows, MOST_BESIDE, seed)))
    tools = pipeline.data_tools(context)
    verdicts.by_screens(standing, tools, training, record.schema, spared)


def _told(standing: Standing, joined: Joined) -> None:
    """Findings about rows that are held for a reason of all feedback together."""
    different, corrected = int(joined.contradicted.sum()), int(joined.corrected.sum())
    if different:
        text = f"different things were told of {different} rows: none of them teaches"
        standing.findings.append(_finding("feedback.contradiction", text))
    if corrected:
        text = (
            f"{corrected} rows are known by corrections alone, so only where the answer was wrong:"
            " to learn from them as from others would turn right answers like theirs too"
        )
        standing.findings.append(_finding("feedback.corrections", text))


def _finding(name: str, text: str) -> Finding:
    return Finding(id=name, severity="medium", confidence="high", message=text)


def fits(rows: pa.Table, schema: Schema) -> "np.ndarray[Any, Any]":
    """Rows within the limits of the pinned schema, bool [n]: a table with others is refused."""
    found = np.ones(rows.num_rows, dtype=bool)
    for column in schema.features:
        values = rows[column.name]
        if column.type == "number":
            numbers = values.to_numpy(zero_copy_only=False).astype(float)
            found &= ~(numbers < (-np.inf if column.min is None else column.min))
            found &= ~(numbers > (np.inf if column.max is None else column.max))
            missing = np.isnan(numbers)
        else:
            cells = values.to_pylist()
            missing = np.array([cell is None for cell in cells], dtype=bool)
            if column.categories is not None:
                allowed = {*column.categories, None}
                found &= np.array([cell in allowed for cell in cells], dtype=bool)
        if not column.nullable:
            found &= ~missing
    return found
