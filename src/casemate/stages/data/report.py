"""The data report: what was found, as a page for people and as JSON for programs. No value of a
single row is in it.
"""

import itertools
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from casemate.controls.privacy.disclosure import FEWEST
from casemate.core import figures as vocabulary
from casemate.core.findings import ranked
from casemate.core.page import NOTHING, Bar, Chart, Section, page
from casemate.core.types import Finding, RuleChecked, Schema, SealedDataset, Whole
from casemate.stages.data.checks import drift
from casemate.stages.data.checks.profile import TableProfile, bin_names

if TYPE_CHECKING:
    from casemate.stages.data.examined import Examined

MOST_PLOTS = 40
"""Columns that are drawn, and that are listed as moved: those that moved most come first. A
judgement: more is not read.
"""
MOST_LABELS, MOST_LABEL = 4, 12
"""Categories that are named below a picture, and characters of each."""
LEAST_DRIFT = 0.01
"""Stability index from which a column is named in the page."""


def draw(
    record: SealedDataset, profiles: bytes, before: bytes, least: int = FEWEST
) -> dict[str, bytes]:
    """`report.html` and `report.json`.

    Args:
        record: the sealed data set.
        profiles: its columns' profiles as JSON.
        before: those of the version it was compared with; an empty list when there is none.
        least: fewest rows that a count may stand for.
    """
    columns = msgspec.json.decode(profiles, type=list[TableProfile])
    older = msgspec.json.decode(before, type=list[TableProfile])
    told = drift.check(older, columns, record.reference)[1] if older else []
    shown = _shown(columns, record.schema)
    sections = [
        _findings(record.findings),
        Section(
            "Under suspicion",
            _suspicion_text(record),
            heads=["detector", "rows"],
            rows=[[n, count] for n, count in record.quarantined.items()],
        ),
        _figures(record.figures),
        *_rules(record.rules),
    ]
    if told:
        ranked = sorted(
            (row for row in told if float(row["index"]) >= LEAST_DRIFT),
            key=lambda row: -float(row["index"]),
        )
        moved = [[row["column"], row["index"], row["p"]] for row in ranked[:MOST_PLOTS]]
        text = "Stability index: 0.1 some, 0.25 much." if moved else "No column moved."
        sections.append(
            Section(
                f"Drift since {record.reference}", text, heads=["column", "index", "p"], rows=moved
            )
        )
    sections += _whole(record.whole)
    heads = ["column", "type", "rows", "missing", "mean", "deviation"]
    rest = f"{_rest(least)} A line is what it was in the reference."
    sections.append(
        Section(
            "Columns",
            rest,
            heads=heads,
            rows=[_line(column) for column in shown],
            charts=_charts(shown, older, least),
        )
    )
    lead = (
        f"{record.rows} rows, {len(record.schema.features)} features, target"
        f" {', '.join(record.schema.targets)}; {record.holdout} rows are held out"
        + (
            f", {record.dropped} more were taken out of the hold-out by decision."
            if record.dropped
            else "."
        )
    )
    content = {
        "dataset": f"{record.name}@{record.version}",
        "reference": record.reference,
        "findings": record.findings,
        "figures": record.figures,
        "holdout": record.holdout,
        "dropped": record.dropped,
        "excluded": record.excluded,
        "quarantined": record.quarantined,
        "rules": record.rules,
        "whole": record.whole,
        "drift": told,
        "columns": [_masked(column, least) for column in shown],
    }
    return {
        "report.html": page(f"Data report: {record.name}@{record.version}", lead, sections),
        "report.json": (
            msgspec.json.format(msgspec.json.encode(content, order="deterministic"), indent=2)
            + b"\n"
        ),
    }


def looked_at(
    source: str,
    said: list[str],
    found: "Examined",
    heads: list[str],
    columns: list[list[Any]],
    suspects: dict[str, int],
    least: int = FEWEST,
) -> bytes:
    """The page of a table that was looked at, before anything is sealed: what was said of it in the
    terminal, and its columns' pictures.

    Args:
        source: what it is.
        said: sentences.
        found: what was seen.
        heads: of `columns`.
        columns: a line a column.
        suspects: rows under suspicion, by detector.
        least: fewest rows that a count may stand for.
    """
    rows = [[name, count] for name, count in suspects.items()]
    sections = [
        Section("Summary", points=said),
        _findings(found.findings),
        Section(
            "Under suspicion", "" if rows else "No row.", heads=["detector", "rows"], rows=rows
        ),
        Section(
            "Columns",
            _rest(least),
            heads=heads,
            rows=columns,
            charts=_charts(_shown(found.profiles, found.schema), [], least),
        ),
        _figures(found.figures),
        *_rules(found.rules),
    ]
    return page(
        f"Data check: {source}",
        "Nothing is sealed yet: this is what a run would begin with.",
        sections,
    )


def _shown(columns: list[TableProfile], schema: Schema) -> list[TableProfile]:
    hidden = {column.name for column in schema.columns if column.column_class != "general"}
    return [column for column in columns if column.name not in hidden]


def _rest(least: int) -> str:
    text = (
        f"Counts below {least} are not shown; columns of class sensitive or identifier have no"
        " picture. "
    )
    return text + "Pictures: rows per unit over the column's range, or per value."


def _charts(shown: list[TableProfile], older: list[TableProfile], least: int) -> list[Chart]:
    known = {column.name: column for column in older}
    return [_chart(column, known.get(column.name), least) for column in shown[:MOST_PLOTS]]


def _findings(found: list[Finding]) -> Section:
    rows = [[one.severity, one.message, one.location] for one in ranked(found)]
    return Section(
        "Findings", "" if rows else "Nothing to look at.", heads=["", "what", "where"], rows=rows
    )


def _figures(found: dict[str, float]) -> Section:
    """In the order of the vocabulary, with what they mean."""
    rows = [
        [name, vocabulary.shown(name, found[name]), vocabulary.meaning(name)]
        for _, names in vocabulary.grouped(list(found))
        for name in names
    ]
    return Section(
        "Figures", vocabulary.DATA.lead, heads=["figure", "value", "what it means"], rows=rows
    )


def _rules(rules: list[RuleChecked]) -> list[Section]:
    rows = [[rule.name, rule.check, rule.rows, rule.broken, rule.unknown] for rule in rules]
    return (
        [Section("Rules", heads=["rule", "check", "rows", "broken", "cannot be told"], rows=rows)]
        if rows
        else []
    )


def _whole(whole: Whole | None) -> list[Section]:
    """What all rows show, of which the others sections know those that were drawn."""
    if whole is None:
        return []
    rows: list[list[Any]] = []
    for name, missing in whole.missing.items():
        found = whole.statistics.get(name, {})
        shown = [found.get(one, NOTHING) for one in ("mean", "std", "min", "max")]
        rows.append([name, f"{missing:.2%}", *shown])
    counts = "; ".join(
        f"{name}: " + ", ".join(f"{label} {'few' if n < 0 else n}" for label, n in counted.items())
        for name, counted in whole.classes.items()
    )
    text = f"{whole.text}, of {whole.read} in the source. {counts}".strip()
    heads = ["column", "missing", "mean", "deviation", "least", "greatest"]
    return [Section("Whole table", text, heads=heads, rows=rows)]


def _suspicion_text(record: SealedDataset) -> str:
    if not record.quarantined:
        return "No row."
    kept = (
        f"{record.excluded - record.dropped} rows are left out of training, none of the hold-out"
        f" but what a person dropped ({record.dropped})."
    )
    return kept + " `casemate data quarantine list` names the rows; a data steward decides."


def _masked(column: TableProfile, least: int) -> TableProfile:
    """Without small counts, nor the one that could be reckoned from all others."""
    few = [0 < count < least for count in column.counts]
    if sum(few) == 1 and len(few) > 1:
        few[
            min(
                (place for place, count in enumerate(column.counts) if count >= least),
                key=lambda place: column.counts[place],
                default=0,
            )
        ] = True
    counts = [-1 if hidden else count for count, hidden in zip(column.counts, few, strict=True)]
    labels = (
        [
            label if count >= least else "(rare)"
            for label, count in zip(column.labels, column.counts, strict=True)
        ]
        if column.labels
        else []
    )
    return msgspec.structs.replace(column, counts=counts, labels=labels)


def _line(column: TableProfile) -> list[Any]:
    mean, std = (NOTHING if value is None else value for value in (column.mean, column.std))
    return [column.name, column.kind, column.rows, column.missing, mean, std]


def _chart(column: TableProfile, older: TableProfile | None, least: int) -> Chart:
    """Numbers over a true axis, as rows per unit where ranges have different widths; categories
    side by side. The reference beside them.
    """
    masked = _masked(column, least)
    before = (
        _masked(older, least)
        if older is not None and len(older.counts) == len(masked.counts)
        else None
    )
    if (
        column.kind != "number"
        or column.low is None
        or column.high is None
        or column.high <= column.low
    ):
        places = [
            (index / len(masked.counts), 0.9 / len(masked.counts))
            for index in range(len(masked.counts))
        ]
        ours, theirs = _shares(masked), None if before is None else _shares(before)
        names = bin_names(masked)
        below = (
            [name[:MOST_LABEL] for name in names]
            if len(names) <= MOST_LABELS
            else [names[0][:MOST_LABEL], f"… {len(names)}"]
        )
    else:
        borders = [column.low, *column.edges, column.high]
        spread = column.high - column.low
        below = [f"{column.low:.4g}", f"{column.high:.4g}"]
        if column.edges:
            places = [
                ((left - column.low) / spread, (right - left) / spread)
                for left, right in itertools.pairwise(borders)
            ]
            ours, theirs = (
                _density(masked, borders),
                (None if before is None else _density(before, borders)),
            )
            names = [f"{left:.4g} to {right:.4g}" for left, right in itertools.pairwise(borders)]
        else:  # few values, each its own bar
            width = float(min(np.diff(column.values), default=spread)) / spread / 2
            places = [
                (float((value - column.low) / spread) * (1 - width), width)
                for value in column.values
            ]
            ours, theirs = _shares(masked), None if before is None else _shares(before)
            names = [f"{value:.4g}" for value in column.values]
    top = max([*ours, *(theirs or []), 1e-12])
    bars = [
        Bar(name, left, width, height / top, None if theirs is None else theirs[index] / top)
        for index, (name, (left, width), height) in enumerate(
            zip(names, places, ours, strict=False)
        )
    ]
    return Chart(column.name, bars, below)


def _shares(column: TableProfile) -> list[float]:
    return [max(count, 0) / max(column.rows, 1) for count in column.counts]


def _density(column: TableProfile, borders: list[float]) -> list[float]:
    """Share of the rows per unit in each range, the frequent values counted where they lie."""
    shares = _shares(column)
    # without what lies beyond the ends
    own, ranges = shares[: len(column.values)], shares[len(column.values) + 1 : -1]
    for value, share in zip(column.values, own, strict=True):
        ranges[
            min(max(int(np.searchsorted(borders, value, side="right")) - 1, 0), len(ranges) - 1)
        ] += share
    return [
        share / max(right - left, 1e-300)
        for share, (left, right) in zip(ranges, itertools.pairwise(borders), strict=True)
    ]
