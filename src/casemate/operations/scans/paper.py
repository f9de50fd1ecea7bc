"""Findings as one HTML page for people, which needs nothing else and runs nothing: what others
wrote stands in it as text.
"""

from collections import Counter
from collections.abc import Sequence

from casemate.core.page import NOTHING, Section, page
from casemate.core.text import clean
from casemate.core.types.scan import GRADES
from casemate.operations.scanned import Standing
from casemate.respond.findings import Scanned

HEADS = ["severity", "rule", "what", "where", "first seen", "owner", "due", "what to do", "finding"]
SHOWN = 12
"""Characters of a fingerprint."""


def drawn(name: str, scans: Sequence[Scanned], found: Sequence[Standing]) -> bytes:
    """The page, UTF-8.

    Args:
        name: of the project.
        scans: the last one of each kind.
        found: findings, the gravest first.
    """
    open_ = [one for one in found if one.open]
    waived = [one for one in found if not one.kept.gone and one.waiver is not None]
    counts = Counter(one.kept.finding.severity for one in open_)
    told = ", ".join(f"{counts[grade]} {grade}" for grade in GRADES if counts[grade]) or "none"
    late = sum(one.overdue for one in open_)
    unseen = [
        [part.kind, part.scanner, place or "all of it", why]
        for scan in scans
        for part in scan.parts
        for place, why in part.unseen.items()
    ]
    lead = f"Findings that stand: {told}; overdue: {late}; waived: {len(waived)}."
    if unseen:
        lead += f" Not looked at, which is not clean: {len(unseen)}."
    heads = ["scan", "time", "kind", "scanner", "answer", "left out"]
    return page(
        f"What scans of {clean(name)} found",
        lead,
        [
            _table("Could not be looked at", ["kind", "scanner", "what", "why"], unseen),
            _table("Findings", HEADS, [_row(one) for one in open_]),
            _table("Waived", [*HEADS, "by, until, why"], [_waived(one) for one in waived]),
            _table("Scans", heads, _scans(scans)),
        ],
    )


def _table(title: str, heads: list[str], rows: list[list[str]]) -> Section:
    return Section(title, "" if rows else "None.", heads=heads if rows else [], rows=rows)


def _row(one: Standing) -> list[str]:
    finding = one.kept.finding
    where = finding.path or finding.package or NOTHING
    if finding.line:
        where += (f", cell {finding.cell}" if finding.cell else "") + f":{finding.line}"
    due = f"{one.due}, overdue" if one.overdue else one.due
    if one.outgrown:
        due += f"; waived as {one.outgrown}, which holds no more"
    references = f" ({', '.join(finding.references)})" if finding.references else ""
    texts = (
        *(finding.severity, finding.rule, finding.message + references, where),
        *(one.kept.first[:10], one.owner, due, finding.mend or NOTHING),
        finding.fingerprint[:SHOWN],
    )
    return [clean(text) for text in texts]


def _waived(one: Standing) -> list[str]:
    waiver = one.waiver
    told = f"{waiver.by}, {waiver.until[:10]}: {waiver.reason}" if waiver else NOTHING
    return [*_row(one), clean(told)]


def _scans(scans: Sequence[Scanned]) -> list[list[str]]:
    return [
        [
            *(str(scan.number), scan.time, part.kind, part.scanner, part.answer),
            "; ".join(part.notes) or NOTHING,
        ]
        for scan in scans
        for part in scan.parts
    ]
