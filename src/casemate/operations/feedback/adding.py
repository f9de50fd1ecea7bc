"""Taking feedback: all of it, or nothing and every fault at once."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from casemate.controls.access.policy import Resource
from casemate.controls.audit.feedback import Kind, Said, require_sayable
from casemate.controls.audit.predictions import nobodys
from casemate.core.errors import ConfigError, DataError, Error
from casemate.core.types import Record, Schema
from casemate.operations.acting import Acting, operation
from casemate.operations.feedback.table import Fault, Line, lines
from casemate.operations.outcomes import value_of
from casemate.wiring import Wiring

MOST_SHOWN = 1_000
"""Faults that are told one by one; a file with more is another file than was meant."""


class AddedRows(Record, frozen=True, kw_only=True):
    """What became of what was told."""

    rows: int
    """Requests that something was told of."""
    new: int
    same: int
    """Told before by the same source."""
    contradictions: list[str]
    """Requests of which something else had been told: both are kept."""
    source: str


class _Asked(NamedTuple):
    """What of a recorded prediction decides about feedback."""

    model: str
    principal: str
    rows: int


@operation("feedback:add", "Model", also=("model:feedback",))
def add(
    project: Wiring,
    told: Path | str | Mapping[str, Any],
    *,
    source: str = "",
    kind: Kind = "outcome",
    id: str = "request_id",  # noqa: A002 - as the command line calls it
    outcome: str = "outcome",
) -> AddedRows:
    """Keep what really was, or what people say of answers.

    Whoever may `feedback:add` tells of any request of the model, others of their own. A line a row;
    several lines with one request id are its rows in order.

    Args:
        project: whose.
        told: a file of separated values, or an outcome by request id.
        source: where it comes from, as `[feedback.sources]` calls it.
        kind: `outcome`, `correction` (by a person, because the answer was wrong) or `complaint`
            (a note alone); a column `kind` says it line by line, a column `note` has words.
        id: the column of request ids.
        outcome: the column of outcomes.

    Raises:
        AccessDenied: policy, or the source is another's. DataError: lines are wrong, all of them
            named; nothing is kept then.
    """
    acting = _allowed(project, source)
    faults: list[Fault] = []
    told = Path(told) if isinstance(told, str) else told
    found = lines(told, (id, outcome), kind, faults)
    sayings = _sayings(project, acting, found, faults)
    if faults:
        raise _wrong(faults)
    if not sayings:
        raise DataError("nothing is told", hint="a header alone is no feedback")
    kept = project.feedback_kept
    with acting.transaction() as tx:
        added = kept.add(tx, acting.uid, source, sayings)
    return AddedRows(
        rows=len(sayings),
        new=added.new,
        same=added.same,
        contradictions=sorted(set(added.contradictions)),
        source=source or acting.uid,
    )


def _allowed(project: Wiring, source: str) -> Acting:
    name = project.config.project.name
    own = project.point.decide("model:feedback", Resource("Model", name))[1].allowed
    every = project.point.decide("feedback:add", Resource("Model", name))[1].allowed
    if own and not every:
        acting = add.ask(project, name, also="model:feedback", kind="Model", source=source)
    else:
        acting = add.ask(project, name, source=source)
    if not source:
        return acting
    known = project.config.feedback.sources.get(source)
    if known is None:
        named = ", ".join(sorted(project.config.feedback.sources)) or "none is named"
        raise ConfigError(
            f"[feedback.sources] has no {source[:100]!r}", hint=f"name it there; now: {named}"
        )
    if known.principals and acting.uid not in known.principals:
        raise ConfigError(
            f"{acting.uid} may not speak for the source {source}",
            hint=f"[feedback.sources.{source}] principals says who may",
        )
    return acting


def _sayings(
    project: Wiring, acting: Acting, found: list[Line], faults: list[Fault]
) -> list[tuple[Said, str]]:
    asked = {
        one.id: _Asked(one.model, one.principal, one.rows)
        for one, _ in project.decisions.chosen({line.request for line in found})
    }
    every = {
        model: project.point.decide("feedback:add", Resource("Model", model))[1].allowed
        for model in {one.model.partition("@")[0] for one in asked.values()}
    }
    groups: dict[tuple[str, Kind], list[Line]] = {}
    for line in found:
        groups.setdefault((line.request, line.kind), []).append(line)
    schemas = {model: schema_of(project, model) for model in {one.model for one in asked.values()}}
    sayings = []
    for (request, kind), rows in groups.items():
        one = asked.get(request)
        # of another's request no more is said than of one that is not there
        if one is None or not (every[one.model.partition("@")[0]] or one.principal == acting.uid):
            faults += [Fault(line.number, nobodys(request)) for line in rows]
            continue
        schema = schemas[one.model]
        if schema is None:
            faults += [Fault(line.number, f"{one.model} cannot be read") for line in rows]
            continue
        sayings += _said(rows, kind, one, schema, faults)
    return sayings


def schema_of(project: Wiring, reference: str) -> Schema | None:
    """What a model version takes and gives; None where it cannot be read any more."""
    # a gateway that serves what was handed over hears of answers that another version gave before
    for registry in (project.registry, *([project.made] if project.handed else [])):
        with contextlib.suppress(Error):
            return registry.verify(reference).card.inputs
    return None


def _said(
    rows: list[Line], kind: Kind, asked: _Asked, schema: Schema, faults: list[Fault]
) -> list[tuple[Said, str]]:
    """What the lines of one request say; of a request with one row lines that differ contradict."""
    notes = list(dict.fromkeys(line.note for line in rows if line.note))
    parts: list[tuple[Line, list[Any] | None]]
    if kind == "complaint":
        parts = [(line, None) for line in rows]
        texts = [line.note for line in rows]
        if any(line.outcome is not None for line in rows):
            faults.append(Fault(rows[0].number, "a complaint has no outcome"))
            return []
    else:
        values = []
        for line in rows:
            try:
                values.append(value_of(line.outcome, schema))
            except ValueError as error:
                faults.append(Fault(line.number, str(error)))
        if len(values) < len(rows):
            return []
        if asked.rows == 1:
            parts = [(line, [value]) for line, value in zip(rows, values, strict=True)]
            texts = [line.note for line in rows]
        else:
            parts, texts = [(rows[0], values)], [" ".join(notes)]
    found = []
    for (line, value), note in zip(parts, texts, strict=True):
        said = Said(line.request, kind, value, note)
        try:
            require_sayable(said, asked.rows)
        except ConfigError as error:
            faults.append(Fault(line.number, error.message))
            continue
        found.append((said, asked.model))
    return found


def _wrong(faults: list[Fault]) -> DataError:
    ordered = sorted(set(faults))
    shown = [f"line {fault.number}: {fault.text}" for fault in ordered[:MOST_SHOWN]]
    more = len(ordered) - len(shown)
    if more:
        shown.append(f"and {more} more")
    return DataError(
        f"{len(ordered)} lines are wrong, and nothing was kept:\n  " + "\n  ".join(shown),
        hint="correct or leave out these lines, and tell the file again",
    )
