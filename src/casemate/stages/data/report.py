"""The data report: what was found, as a page for people and as JSON for programs. No value of a single row is in it."""

from typing import Any

import msgspec

from casemate.controls.privacy.disclosure import FEWEST
from casemate.core.page import Chart, Section, page
from casemate.core.types import SealedDataset
from casemate.stages.data.checks import drift
from casemate.stages.data.checks.profile import Profile, bin_names

MOST_PLOTS = 40


def draw(record: SealedDataset, profiles: bytes, before: bytes, least: int = FEWEST) -> dict[str, bytes]:
    """`report.html` and `report.json`.

    Args:
        record: the sealed data set.
        profiles: its columns' profiles as JSON.
        before: those of the version it was compared with; an empty list when there is none.
        least: fewest rows that a count may stand for.
    """
    columns = msgspec.json.decode(profiles, type=list[Profile])
    older = msgspec.json.decode(before, type=list[Profile])
    told = drift.check(older, columns, record.reference)[1] if older else []
    hidden = {column.name for column in record.schema.columns if column.column_class != "general"}
    shown = [column for column in columns if column.name not in hidden]
    sections = [
        Section("Findings", "" if record.findings else "Nothing to look at.", ["", "what", "where"], _findings(record)),
        Section("Under suspicion", _suspicion_text(record), ["detector", "rows"], [[name, count] for name, count in record.quarantined.items()]),
        Section("Figures", "", ["figure", "value"], [[name, value] for name, value in sorted(record.figures.items())]),
    ]
    if record.rules:
        rows = [[rule["name"], rule["check"], rule["rows"], rule["broken"], rule["unknown"]] for rule in record.rules]
        sections.append(Section("Rules", "", ["rule", "check", "rows", "broken", "cannot be told"], rows))
    if told:
        moved = [[row["column"], row["index"], row["p"]] for row in sorted(told, key=lambda row: -float(row["index"]))[:MOST_PLOTS]]
        sections.append(Section(f"Drift since {record.reference}", "Stability index: 0.1 some, 0.25 much.", ["column", "index", "p"], moved))
    rest = f"Counts below {least} are not shown; columns of class sensitive or identifier are left out."
    known = {column.name: column for column in older}
    charts = [_chart(column, known.get(column.name), least) for column in shown[:MOST_PLOTS]]
    sections.append(Section("Columns", rest, ["column", "type", "rows", "missing", "mean", "deviation"], [_line(column) for column in shown], charts))
    lead = (
        f"{record.rows} rows, {len(record.schema.features)} features, target {', '.join(record.schema.targets)}; "
        f"{record.holdout} rows are held out" + (f", {record.dropped} more were taken out of the hold-out by decision." if record.dropped else ".")
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
        "drift": told,
        "columns": [_masked(column, least) for column in shown],
    }
    return {
        "report.html": page(f"Data report: {record.name}@{record.version}", lead, sections),
        "report.json": msgspec.json.format(msgspec.json.encode(content, order="deterministic"), indent=2) + b"\n",
    }


def _findings(record: SealedDataset) -> list[list[Any]]:
    ranks = {"high": 0, "medium": 1, "low": 2}
    ordered = sorted(record.findings, key=lambda finding: ranks[finding.severity])
    return [[finding.severity, finding.message, finding.location] for finding in ordered]


def _suspicion_text(record: SealedDataset) -> str:
    if not record.quarantined:
        return "No row."
    kept = f"{record.excluded - record.dropped} rows are left out of training, none of the hold-out but what a person dropped ({record.dropped})."
    return kept + " `casemate data quarantine list` names the rows; a data steward decides."


def _masked(column: Profile, least: int) -> Profile:
    """Without small counts, nor the one that could be reckoned from all others."""
    few = [0 < count < least for count in column.counts]
    if sum(few) == 1 and len(few) > 1:
        few[min((place for place, count in enumerate(column.counts) if count >= least), key=lambda place: column.counts[place], default=0)] = True
    counts = [-1 if hidden else count for count, hidden in zip(column.counts, few, strict=True)]
    labels = [label if count >= least else "(rare)" for label, count in zip(column.labels, column.counts, strict=True)] if column.labels else []
    return msgspec.structs.replace(column, counts=counts, labels=labels)


def _line(column: Profile) -> list[Any]:
    return [column.name, column.kind, column.rows, column.missing, column.mean, column.std]


def _chart(column: Profile, older: Profile | None, least: int) -> Chart:
    """Shares per bin or category, the reference's beside them, as heights between 0 and 1."""
    masked = _masked(column, least)
    ours = [max(count, 0) / max(column.rows, 1) for count in masked.counts]
    theirs: list[float] = []
    if older is not None and len(older.counts) == len(ours):
        theirs = [max(count, 0) / max(older.rows, 1) for count in _masked(older, least).counts]
    top = max([*ours, *theirs, 1e-9])
    return Chart(column.name, bin_names(masked), [value / top for value in ours], [value / top for value in theirs])
